//! How an authority is shown that a name is ours: a file over HTTP (RFC 8555, 8.3), a certificate over TLS
//! (RFC 8737), or a record in DNS (RFC 8555, 8.4) that a program of the operator's writes.

use super::{Failure, hook};
use crate::config::Challenge;
use crate::http::{self, Answer, Bounds};
use certs::acme::{Proofs, proof_config};
use http_body_util::Full;
use hyper::{Method, StatusCode};
use instant_acme::{ChallengeType, KeyAuthorization};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Of validators; there are a handful, from several networks.
const VALIDATING: Bounds = Bounds { connections: 64, life: Duration::from_secs(10) };
/// Where validators look (RFC 8555, 8.3).
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// The kind of proof as ACME calls it.
pub(super) fn kind(challenge: &Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http(_) => ChallengeType::Http01,
        Challenge::TlsAlpn(_) => ChallengeType::TlsAlpn01,
        Challenge::Dns(..) => ChallengeType::Dns01,
    }
}

/// The same in words.
pub(super) const fn word(challenge: &Challenge) -> &'static str {
    match challenge {
        Challenge::Http(_) => "http-01",
        Challenge::TlsAlpn(_) => "tls-alpn-01",
        Challenge::Dns(..) => "dns-01",
    }
}

/// Where validators come to: one listener for each address, as long as an order shows something there.
#[derive(Clone, Default)]
pub(super) struct Doors(Arc<tokio::sync::Mutex<HashMap<SocketAddr, Door>>>);

/// An address that is listened on.
struct Door {
    orders: usize,
    shown: Shown,
    server: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        // The port is free again, however the orders ended.
        self.server.abort();
    }
}

/// What is shown there, of all orders.
#[derive(Clone)]
pub(super) enum Shown {
    Tokens(Tokens),
    Proofs(Proofs),
}

type Tokens = Arc<Mutex<HashMap<String, String>>>;

impl Doors {
    /// Has validators find what is shown at `at`, or joins those who have.
    async fn open(&self, at: SocketAddr, over_tls: bool) -> Result<Shown, Failure> {
        let mut doors = self.0.lock().await;
        if let Some(door) = doors.get_mut(&at) {
            if matches!(door.shown, Shown::Proofs(_)) != over_tls {
                return Err(Failure::Proof(format!("{at} shows proofs of another kind")));
            }
            door.orders += 1;
            return Ok(door.shown.clone());
        }
        let listener = bind(at).await?;
        let (shown, server) = match over_tls {
            false => {
                let tokens = Tokens::default();
                let shown = Arc::clone(&tokens);
                // One request to a connection is all that a validator has.
                let shown = move |stream| {
                    let shown = Arc::clone(&shown);
                    http::answer_one(stream, move |method, path| answer(&shown, method, path))
                };
                (Shown::Tokens(tokens), tokio::spawn(http::serve(listener, VALIDATING, shown)))
            }
            true => {
                let proofs = Proofs::default();
                let config = proof_config(proofs.clone());
                let config = config.map_err(|error| Failure::Proof(error.to_string()))?;
                let tls = TlsAcceptor::from(config);
                let shown = move |stream| show_in_tls(tls.clone(), stream);
                (Shown::Proofs(proofs), tokio::spawn(http::serve(listener, VALIDATING, shown)))
            }
        };
        doors.insert(at, Door { orders: 1, shown: shown.clone(), server });
        Ok(shown)
    }

    /// An order shows nothing there any more.
    async fn leave(&self, at: SocketAddr) {
        let mut doors = self.0.lock().await;
        let Some(door) = doors.get_mut(&at) else { return };
        door.orders -= 1;
        if door.orders == 0
            && let Some(mut door) = doors.remove(&at)
        {
            door.server.abort();
            // The port is free once it has ended, and the next order may want it at once.
            let _ = (&mut door.server).await;
        }
    }
}

/// Proofs of one order, which are shown until it ends.
pub(super) enum Proof {
    /// At an address, these tokens or names.
    At {
        at: SocketAddr,
        doors: Doors,
        shown: Shown,
        own: Vec<String>,
    },
    Dns {
        hook: PathBuf,
        settle: Duration,
        records: Vec<(String, String)>,
    },
}

impl Proof {
    /// Is ready to show some.
    pub(super) async fn begin(challenge: &Challenge, doors: &Doors) -> Result<Self, Failure> {
        let (at, over_tls) = match challenge {
            Challenge::Http(at) => (*at, false),
            Challenge::TlsAlpn(at) => (*at, true),
            Challenge::Dns(hook, settle) => {
                let (hook, settle) = (hook.clone(), *settle);
                return Ok(Self::Dns { hook, settle, records: Vec::new() });
            }
        };
        let shown = doors.open(at, over_tls).await?;
        Ok(Self::At { at, doors: doors.clone(), shown, own: Vec::new() })
    }

    /// Shows that `name` is ours.
    pub(super) async fn show(
        &mut self,
        name: &str,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<(), Failure> {
        match self {
            Self::At { shown: Shown::Tokens(tokens), own, .. } => {
                own.push(token.to_owned());
                let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(token.to_owned(), authorization.as_str().to_owned());
                Ok(())
            }
            Self::At { shown: Shown::Proofs(proofs), own, .. } => {
                own.push(name.to_owned());
                let digest = authorization.digest();
                let digest = digest.as_ref().try_into();
                let digest: [u8; 32] =
                    digest.map_err(|_| Failure::Proof("a digest has 32 octets".to_owned()))?;
                proofs.show(name, &digest).map_err(|error| Failure::Proof(error.to_string()))
            }
            Self::Dns { hook, records, .. } => {
                let record = (format!("_acme-challenge.{name}"), authorization.dns_value());
                // First: what failed half way is to be taken away as well.
                records.push(record.clone());
                hook::run(hook, "add", &record.0, &record.1).await
            }
        }
    }

    /// Waits until what is shown can be seen everywhere.
    pub(super) async fn settle(&self) {
        if let Self::Dns { settle, records, .. } = self
            && !records.is_empty()
        {
            tokio::time::sleep(*settle).await;
        }
    }

    /// Shows nothing any more.
    pub(super) async fn end(&mut self) {
        match self {
            Self::At { at, doors, shown, own } => {
                for one in own.drain(..) {
                    match shown {
                        Shown::Tokens(tokens) => {
                            let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
                            tokens.remove(&one);
                        }
                        Shown::Proofs(proofs) => proofs.hide(&one),
                    }
                }
                doors.leave(*at).await;
            }
            Self::Dns { hook, records, .. } => {
                for (name, value) in records.drain(..) {
                    if let Err(failure) = hook::run(hook, "remove", &name, &value).await {
                        tracing::warn!(%failure, name, "a record stays in DNS");
                    }
                }
            }
        }
    }
}

async fn bind(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).await.map_err(|error| {
        Failure::Proof(format!(
            "{at} cannot be bound, where the authority looks for proofs: {error}"
        ))
    })
}

fn answer(tokens: &Tokens, method: &Method, path: &str) -> Answer {
    let tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = path.strip_prefix(WELL_KNOWN).filter(|_| *method == Method::GET);
    match shown.and_then(|token| tokens.get(token)) {
        Some(authorization) => Answer::new(Full::from(authorization.clone())),
        None => http::bare(StatusCode::NOT_FOUND),
    }
}

/// The certificate in the handshake is the proof; nothing is said after it (RFC 8737, 3).
async fn show_in_tls(tls: TlsAcceptor, stream: TcpStream) {
    use tokio::io::AsyncWriteExt as _;
    if let Ok(mut stream) = tls.accept(stream).await {
        let _ = stream.shutdown().await;
    }
}
