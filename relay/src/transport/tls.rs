//! TLS with certificates on both sides: each trunk has its own idea of whom it believes.

use super::{StartError, refused};
use b2bua::plan::{self, Plan, Transport, Trunk};
use certs::{ClientIdentity, Identities, PeerRefusal, Roots, ServerIdentity, Trust};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// TLS set-ups of a plan, made once: each listener's trunk is known by the source address before
/// the handshake, so each handshake checks the peer against one trunk only.
pub(super) struct Tls {
    trunks: HashMap<usize, TrunkTls>,
}

struct TrunkTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    trust: Trust,
}

impl Tls {
    /// Makes the set-ups of all TLS trunks of `plan`.
    pub(super) fn new(plan: &Plan, identities: &Identities) -> Result<Self, StartError> {
        let mut roots: HashMap<plan::Roots, Roots> = HashMap::new();
        let mut trunks = HashMap::new();
        for (index, trunk) in plan.trunks.iter().enumerate() {
            let Some(listener) = plan.listeners.get(trunk.listener) else { continue };
            if listener.transport != Transport::Tls {
                continue;
            }
            let certificate = listener.certificate.as_deref().unwrap_or_default();
            if identities.named(certificate).is_none() {
                return Err(StartError::NoCertificate {
                    listener: listener.name.clone(),
                    certificate: certificate.to_owned(),
                });
            }
            let of_trunk = |source| StartError::Roots { trunk: trunk.name.clone(), source };
            let roots = match roots.get(&trunk.roots) {
                Some(known) => known.clone(),
                None => {
                    let loaded = load(&trunk.roots).map_err(of_trunk)?;
                    roots.entry(trunk.roots.clone()).or_insert(loaded).clone()
                }
            };
            let trust = Trust { roots, names: peer_names(trunk) };
            let of_trunk = |source| StartError::Tls { trunk: trunk.name.clone(), source };
            let server = ServerIdentity::new(identities.clone(), certificate);
            let client = ClientIdentity::new(identities.clone(), certificate);
            let tls = TrunkTls {
                server: certs::server_config(server, &trust).map_err(of_trunk)?,
                client: certs::client_config(client, &trust.roots).map_err(of_trunk)?,
                trust,
            };
            trunks.insert(index, tls);
        }
        Ok(Self { trunks })
    }

    /// None at all.
    pub(super) fn none() -> Self {
        Self { trunks: HashMap::new() }
    }

    pub(super) fn server(&self, trunk: usize) -> Option<Arc<ServerConfig>> {
        self.trunks.get(&trunk).map(|tls| Arc::clone(&tls.server))
    }

    pub(super) fn client(&self, trunk: usize) -> Option<Arc<ClientConfig>> {
        self.trunks.get(&trunk).map(|tls| Arc::clone(&tls.client))
    }

    pub(super) fn trust(&self, trunk: usize) -> Option<&Trust> {
        self.trunks.get(&trunk).map(|tls| &tls.trust)
    }
}

fn load(roots: &plan::Roots) -> Result<Roots, certs::FileError> {
    match roots {
        plan::Roots::System => Roots::system(),
        plan::Roots::File(path) => Roots::file(path),
    }
}

/// A trunk that names no peers is believed under the names it is reached at.
fn peer_names(trunk: &Trunk) -> Vec<String> {
    if trunk.peer_names.is_empty() {
        trunk.targets.iter().map(|target| target.host.clone()).collect()
    } else {
        trunk.peer_names.clone()
    }
}

/// A handshake that takes longer is not one: three round trips and some arithmetic.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The handshake with a far side that connected. `None`: refused, counted, and closed with an
/// alert where one fits.
pub(super) async fn accept(
    config: Arc<ServerConfig>,
    listener: &str,
    trunk: &str,
    stream: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    let remote = stream.peer_addr().ok();
    let handshake = TlsAcceptor::from(config).accept(stream).into_fallible();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Some(TlsStream::Server(stream)),
        Ok(Err((error, stream))) => {
            let reason = peer_refusal(&error).map_or("tls", PeerRefusal::as_str);
            tracing::warn!(listener, trunk, ?remote, reason, %error, "peer was refused");
            refused(listener, reason);
            linger(stream).await;
            None
        }
        Err(_) => {
            tracing::warn!(listener, trunk, ?remote, "TLS handshake took too long");
            refused(listener, "timeout");
            None
        }
    }
}

/// The handshake with a far side that we connected to.
pub(super) async fn connect(
    listener: &str,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(TlsStream::Client(stream)),
        Err(error) => match peer_refusal(&error) {
            Some(refusal) => {
                refused(listener, refusal.as_str());
                Err(format!("peer was refused: {refusal} ({error})"))
            }
            None => Err(format!("TLS failed: {error}")),
        },
    }
}

fn peer_refusal(error: &io::Error) -> Option<PeerRefusal> {
    PeerRefusal::of(error.get_ref()?.downcast_ref::<rustls::Error>()?)
}

/// Closing at once with octets unread would reset the connection, and the far side's operator would
/// never see the alert that says what is wrong.
async fn linger(mut stream: TcpStream) {
    let farewell = async {
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        let mut left = LINGER_OCTETS;
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<(), io::Error>(())
    };
    // Whatever comes of it, the connection closes now.
    let _ = tokio::time::timeout(LINGER_TIMEOUT, farewell).await;
}

const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A TLS record and some: what a far side may have sent before it saw the alert.
const LINGER_OCTETS: usize = 64 * 1024;
