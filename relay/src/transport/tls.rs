//! TLS with certificates on both sides: each trunk has its own idea of whom it believes.

use super::admission::InForce;
use super::{Shared, StartError, refused};
use crate::alarms::{self, Subject};
use b2bua::plan::{self, Plan, Transport, Trunk};
use certs::{
    ClientIdentity, Identities, Identity, PeerRefusal, Roots, ServerIdentity, Strangers, Trust,
};
use rustls::pki_types::{CertificateDer, ServerName};
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
    /// Without the certificate that is shown: that is chosen for each connection.
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    trust: Trust,
    /// The listener's own certificate.
    certificate: String,
    strangers: Strangers,
}

/// What a TLS connection was built on.
pub(super) struct Secured {
    /// What we have shown.
    pub(super) shown: Arc<Identity>,
    /// What the far side has shown; empty before the handshake is done.
    pub(super) peer: Vec<CertificateDer<'static>>,
}

impl Tls {
    /// Makes the set-ups of all TLS trunks of `plan`.
    pub(super) fn new(plan: &Plan) -> Result<Self, StartError> {
        let mut roots: HashMap<plan::Roots, Roots> = HashMap::new();
        let mut trunks = HashMap::new();
        for (index, trunk) in plan.trunks.iter().enumerate() {
            let Some(listener) = plan.listeners.get(trunk.listener) else { continue };
            if listener.transport != Transport::Tls {
                continue;
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
            let strangers = Strangers::default();
            let server = ServerIdentity::new(Identities::default(), "");
            let server = certs::server_config_noting(server, &trust, strangers.clone());
            let client = ClientIdentity::new(Identities::default(), "");
            let client = certs::client_config_noting(client, &trust.roots, strangers.clone());
            let tls = TrunkTls {
                server: server.map_err(of_trunk)?,
                client: client.map_err(of_trunk)?,
                trust,
                certificate: listener.certificate.clone().unwrap_or_default(),
                strangers,
            };
            trunks.insert(index, tls);
        }
        Ok(Self { trunks })
    }

    /// None at all.
    pub(super) fn none() -> Self {
        Self { trunks: HashMap::new() }
    }

    /// For a connection that comes in: what it is answered with, and what will tell which certificate that was.
    pub(super) fn server(
        &self,
        trunk: usize,
        identities: &Identities,
    ) -> Option<(Arc<ServerConfig>, Arc<ServerIdentity>)> {
        let tls = self.trunks.get(&trunk)?;
        let shown = Arc::new(ServerIdentity::new(identities.clone(), &tls.certificate));
        let mut config = ServerConfig::clone(&tls.server);
        config.cert_resolver = Arc::clone(&shown) as _;
        Some((Arc::new(config), shown))
    }

    /// For connections that go out, but for the certificate that is shown ([`connect`]).
    pub(super) fn client(&self, trunk: usize) -> Option<Arc<ClientConfig>> {
        self.trunks.get(&trunk).map(|tls| Arc::clone(&tls.client))
    }

    /// What is shown by who goes by `name` on a trunk (TDR-CON-005).
    pub(super) fn identity(
        &self,
        trunk: usize,
        identities: &Identities,
        name: Option<&str>,
    ) -> Option<Arc<Identity>> {
        identities.choose(name, &self.trunks.get(&trunk)?.certificate)
    }

    fn strangers(&self, trunk: usize) -> Option<&Strangers> {
        self.trunks.get(&trunk).map(|tls| &tls.strangers)
    }

    pub(super) fn trust(&self, trunk: usize) -> Option<&Trust> {
        self.trunks.get(&trunk).map(|tls| &tls.trust)
    }
}

/// The roots that are meant.
pub(crate) fn load(roots: &plan::Roots) -> Result<Roots, certs::FileError> {
    match roots {
        plan::Roots::System => Roots::system(),
        plan::Roots::Microsoft => Ok(Roots::microsoft()),
        plan::Roots::File(path) => Roots::file(path),
        plan::Roots::All(several) => {
            let several: Result<Vec<Roots>, _> = several.iter().map(load).collect();
            Ok(Roots::all(&several?))
        }
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

/// The handshake with a far side that connected. `None`: refused, counted unless it is a `knock`, and
/// closed with an alert where one fits.
pub(super) async fn accept(
    shared: &Shared,
    force: &InForce,
    (listener, trunk): (&str, &str),
    knock: bool,
    stream: TcpStream,
) -> Option<(TlsStream<TcpStream>, Secured)> {
    let remote = stream.peer_addr().ok();
    let index = force.plan.trunk_named(trunk)?;
    let (config, chosen) = force.tls.server(index, &force.identities)?;
    let handshake = TlsAcceptor::from(config).accept(stream).into_fallible();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let peer = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let peer = peer.iter().map(|one| one.clone().into_owned()).collect();
            let secured = Secured { shown: chosen.shown()?, peer };
            Some((TlsStream::Server(stream), secured))
        }
        Ok(Err((error, stream))) => {
            if knock {
                tracing::debug!(listener, trunk, ?remote, %error, "somebody has knocked");
                linger(stream).await;
                return None;
            }
            let refusal = peer_refusal(&error);
            let reason = refusal.map_or("tls", PeerRefusal::as_str);
            let from = remote.map(tracing::field::display);
            tracing::warn!(listener, trunk, remote = from, reason, %error, "peer was refused");
            refused(listener, reason);
            if let (Some(refusal), Some(remote)) = (refusal, remote) {
                let who = remote.ip().to_string();
                alarm(shared, (&force.tls, index), trunk, refusal, &who);
            }
            linger(stream).await;
            None
        }
        Err(_) if knock => None,
        Err(_) => {
            tracing::warn!(listener, trunk, ?remote, "TLS handshake took too long");
            refused(listener, "timeout");
            None
        }
    }
}

/// The handshake with a far side that we connected to.
pub(super) async fn connect(
    shared: &Shared,
    (listener, trunk): (&str, &str),
    config: &ClientConfig,
    (name, shown): (ServerName<'static>, Arc<Identity>),
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Secured), String> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(ClientIdentity::of(Arc::clone(&shown)));
    let dialled = match &name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        _ => stream.peer_addr().map(|it| it.ip().to_string()).unwrap_or_default(),
    };
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => {
            let peer = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let peer = peer.iter().map(|one| one.clone().into_owned()).collect();
            Ok((TlsStream::Client(stream), Secured { shown, peer }))
        }
        Err(error) => match peer_refusal(&error) {
            Some(refusal) => {
                refused(listener, refusal.as_str());
                let force = shared.force.load();
                if let Some(index) = force.plan.trunk_named(trunk) {
                    alarm(shared, (&force.tls, index), trunk, refusal, &dialled);
                }
                Err(format!("peer was refused: {refusal} ({error})"))
            }
            None => Err(format!("TLS failed: {error}")),
        },
    }
}

fn peer_refusal(error: &io::Error) -> Option<PeerRefusal> {
    PeerRefusal::of(error.get_ref()?.downcast_ref::<rustls::Error>()?)
}

/// Somebody whom the trunk's sources let in was refused: an attack from there, or a far side that has
/// changed, which costs calls until somebody sees to it (TDR-CRT-021, TDR-TLS-008).
fn alarm(
    shared: &Shared,
    (tls, index): (&Tls, usize),
    trunk: &str,
    refusal: PeerRefusal,
    who: &str,
) {
    let names = || tls.trust(index).map(|trust| trust.names.join(", ")).unwrap_or_default();
    let text = match refusal {
        PeerRefusal::UnknownIssuer => match tls.strangers(index).and_then(Strangers::last) {
            Some(stranger) => format!(
                "{who} shows a certificate whose chain ends at \"{}\" (last certificate shown: SHA-1 {}), \
                 which is none of the trunk's roots; if it is to be believed, add that root to them: \
                 roots = [..., \"new-root.pem\"]",
                stranger.issuer, stranger.sha1
            ),
            None => format!("{who} shows a certificate from none of the trunk's roots"),
        },
        PeerRefusal::NameMismatch => {
            format!("{who} shows a certificate with none of the names {}: peer_names", names())
        }
        PeerRefusal::Expired => {
            format!("{who} shows a certificate that is expired or not valid yet")
        }
        PeerRefusal::NoCertificate => format!("{who} shows no certificate"),
        PeerRefusal::BadCertificate => format!("{who} shows a certificate that cannot be used"),
        PeerRefusal::TlsVersion => format!("{who} speaks no TLS from 1.2 on"),
    };
    shared.note_refusal(trunk);
    shared.alarms.raise(alarms::PEER_REFUSED, Subject::Trunk(trunk.to_owned()), &text);
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
