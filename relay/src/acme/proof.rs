//! How an authority is shown that a name is ours: a file over HTTP (RFC 8555, 8.3), a certificate over TLS
//! (RFC 8737), or a record in DNS (RFC 8555, 8.4) that a program of the operator's writes.

use super::Failure;
use crate::config::Challenge;
use axum::Router;
use axum::extract::{Path as Part, State};
use axum::http::StatusCode;
use axum::routing::get;
use certs::acme::{Proofs, proof_config};
use instant_acme::{ChallengeType, KeyAuthorization};
use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Validators that are answered at once; there are a handful, from several networks.
const VALIDATORS_MAX: usize = 64;
/// What one of them takes.
const VALIDATION_MAX: Duration = Duration::from_secs(10);
/// What a program takes to write a record.
const HOOK_MAX: Duration = Duration::from_secs(120);
/// How often it is asked whether it has.
const HOOK_GLANCE: Duration = Duration::from_millis(50);
/// Octets of what it complains.
const COMPLAINT_MAX: u64 = 400;

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

/// Proofs that are shown until it ends.
pub(super) enum Proof {
    Http { tokens: Tokens, server: JoinHandle<()> },
    TlsAlpn { proofs: Proofs, server: JoinHandle<()> },
    Dns { hook: PathBuf, settle: Duration, records: Vec<(String, String)> },
}

type Tokens = Arc<Mutex<HashMap<String, String>>>;

impl Drop for Proof {
    fn drop(&mut self) {
        // The port is free again, however the order ended.
        if let Self::Http { server, .. } | Self::TlsAlpn { server, .. } = self {
            server.abort();
        }
    }
}

impl Proof {
    /// Is ready to show some.
    pub(super) async fn begin(challenge: &Challenge) -> Result<Self, Failure> {
        match challenge {
            Challenge::Http(at) => {
                let listener = bind(*at).await?;
                let tokens = Tokens::default();
                let router = Router::new()
                    .route("/.well-known/acme-challenge/{token}", get(token))
                    .with_state(Arc::clone(&tokens));
                let server = tokio::spawn(async move {
                    if let Err(error) = axum::serve(listener, router).await {
                        tracing::warn!(%error, "proofs are not served any more");
                    }
                });
                Ok(Self::Http { tokens, server })
            }
            Challenge::TlsAlpn(at) => {
                let listener = bind(*at).await?;
                let proofs = Proofs::default();
                let config = proof_config(proofs.clone());
                let config = config.map_err(|error| Failure::Proof(error.to_string()))?;
                let server = tokio::spawn(show_in_tls(listener, TlsAcceptor::from(config)));
                Ok(Self::TlsAlpn { proofs, server })
            }
            Challenge::Dns(hook, settle) => {
                Ok(Self::Dns { hook: hook.clone(), settle: *settle, records: Vec::new() })
            }
        }
    }

    /// Shows that `name` is ours.
    pub(super) async fn show(
        &mut self,
        name: &str,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<(), Failure> {
        match self {
            Self::Http { tokens, .. } => {
                let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(token.to_owned(), authorization.as_str().to_owned());
                Ok(())
            }
            Self::TlsAlpn { proofs, .. } => {
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
                run(hook, "add", &record.0, &record.1).await
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
        if let Self::Dns { hook, records, .. } = self {
            for (name, value) in records.drain(..) {
                if let Err(failure) = run(hook, "remove", &name, &value).await {
                    tracing::warn!(%failure, name, "a record stays in DNS");
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

async fn token(
    State(tokens): State<Tokens>,
    Part(token): Part<String>,
) -> Result<String, StatusCode> {
    let tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.get(&token).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn show_in_tls(listener: TcpListener, tls: TlsAcceptor) {
    let room = Arc::new(Semaphore::new(VALIDATORS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    validated(tls, stream).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a validator could not be accepted");
                tokio::time::sleep(HOOK_GLANCE).await;
            }
        }
    }
}

/// The certificate in the handshake is the proof; nothing is said after it (RFC 8737, 3).
async fn validated(tls: TlsAcceptor, stream: TcpStream) {
    use tokio::io::AsyncWriteExt as _;
    let shown = async {
        if let Ok(mut stream) = tls.accept(stream).await {
            let _ = stream.shutdown().await;
        }
    };
    let _ = tokio::time::timeout(VALIDATION_MAX, shown).await;
}

/// Has the operator's program write a record, or take it away.
pub(super) async fn run(hook: &Path, what: &str, name: &str, value: &str) -> Result<(), Failure> {
    let told = |said: String| Failure::Proof(format!("{} {what} {name}: {said}", hook.display()));
    let mut child = Command::new(hook)
        .args([what, name, value])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| told(error.to_string()))?;
    let complaint = child.stderr.take();
    // Read to its end, lest the program waits for us.
    let complaint = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = complaint {
            let _ = pipe.by_ref().take(COMPLAINT_MAX).read_to_end(&mut said);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let ended = async {
        loop {
            match child.try_wait() {
                Ok(None) => tokio::time::sleep(HOOK_GLANCE).await,
                ended => return ended,
            }
        }
    };
    let status = match tokio::time::timeout(HOOK_MAX, ended).await {
        Ok(Ok(Some(status))) => status,
        Ok(Ok(None)) => return Err(told("it is not known how it ended".to_owned())),
        Ok(Err(error)) => return Err(told(error.to_string())),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(told("has not ended in time".to_owned()));
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = complaint.await.unwrap_or_default();
    Err(told(format!("{status}: {said}")))
}
