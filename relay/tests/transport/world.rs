//! One host under test, and far sides to it.

use b2bua::io::{Flow, Hop, Target};
use b2bua::plan::{Cidr, Listener, Node, NumberIndex, Plan, Roots, Transport, Trunk, TrunkKind};
use bytes::Bytes;
use certs::lab::{Authority, Leaf};
use certs::{ClientIdentity, Identities, Identity};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sip_core::Message;
use sip_core::transaction::ClientId;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tollgate::alarms::Alarms;
use tollgate::transport::{Event, Events, Runtimes, Transports};

/// The name Teams' certificate must carry.
pub(crate) const TEAMS: &str = "sip.pstnhub.microsoft.com";
/// Our own name.
pub(crate) const SBC: &str = "sbc1.example.net";

/// What should happen happens at once; this ends a test in which it does not.
pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it never happened")
}

/// The host: listeners `udp`, `tcp` and `tls` on free ports of 127.0.0.1. Trunk `colt` is on udp,
/// `bt` on tcp, `teams` on tls; each admits 127.0.0.1 only.
pub(crate) struct World {
    pub(crate) transports: Transports,
    pub(crate) events: Events,
    pub(crate) plan: Plan,
    pub(crate) identities: Identities,
    /// Issued the certificate of Teams; the host believes it.
    pub(crate) microsoft: Authority,
    pub(crate) dir: PathBuf,
    pub(crate) alarms: Alarms,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut Plan)) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transport").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let microsoft = Authority::new("Microsoft").unwrap();
        let roots = microsoft.write_root(&dir, "roots").unwrap();
        let mut plan = plan(Roots::File(roots));
        change(&mut plan);
        let own = load(&dir, "sbc", &microsoft.leaf(&[SBC]).unwrap());
        let identities = Identities::new([("own".to_owned(), own)]);

        // All tasks of a test run on its one thread, so that its counters are its own.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        let guard = metrics::set_default_local_recorder(recorder);

        let (runtimes, alarms) = (Runtimes::current(), Alarms::new());
        let (transports, events) = Transports::start_on(
            runtimes,
            Arc::new(plan.clone()),
            identities.clone(),
            alarms.clone(),
        )
        .unwrap();
        Self {
            transports,
            events,
            plan,
            identities,
            microsoft,
            dir,
            alarms,
            metrics,
            _recorder: guard,
        }
    }

    /// Where a listener is.
    pub(crate) fn at(&self, listener: &str) -> SocketAddr {
        self.transports.local_addr(listener).unwrap()
    }

    pub(crate) fn apply(&mut self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan);
        self.transports.apply(Arc::new(self.plan.clone()), self.identities.clone()).unwrap();
    }

    /// Other certificates under the same plan.
    pub(crate) fn identify(&mut self, named: &[(&str, &Arc<Identity>)]) {
        let named = named.iter().map(|(name, one)| ((*name).to_owned(), Arc::clone(one)));
        self.identities = Identities::new(named);
        self.apply(|_| {});
    }

    /// What stands for an operator to see.
    pub(crate) fn alarm(&self, word: &str) -> Option<String> {
        let all = self.alarms.list().into_iter();
        all.filter(|it| it.word == word).map(|it| it.text).next()
    }

    /// The next message that came in.
    pub(crate) async fn message(&mut self) -> (Flow, Message) {
        match soon(self.events.recv()).await {
            Some(Event::Message { flow, message, .. }) => (flow, message),
            other => panic!("no message but {other:?}"),
        }
    }

    /// The next report that something could not be sent.
    pub(crate) async fn failure(&mut self) -> (ClientId, String) {
        match soon(self.events.recv()).await {
            Some(Event::SendFailed { client, why }) => (client, why),
            other => panic!("no failure but {other:?}"),
        }
    }

    pub(crate) fn nothing_came_in(&mut self) {
        if let Some(event) = self.events.try_recv() {
            panic!("{event:?}");
        }
    }

    pub(crate) fn send(&self, hop: Hop, text: &str, client: u64) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.transports.send(hop, bytes, Some(ClientId(client)));
    }

    /// A counter's value by its line in the exposition.
    pub(crate) fn counted(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    pub(crate) fn refusals(&self, listener: &str, reason: &str) -> u64 {
        let labels = format!("listener=\"{listener}\",reason=\"{reason}\"");
        self.counted(&format!("tollgate_peer_refusals_total{{{labels}}}"))
    }

    pub(crate) fn discards(&self, reason: &str) -> u64 {
        self.counted(&format!("tollgate_sip_discards_total{{reason=\"{reason}\"}}"))
    }

    /// Teams, with a good certificate, connected.
    pub(crate) async fn teams(&self) -> TlsStream<TcpStream> {
        let leaf = self.microsoft.leaf(&[TEAMS]).unwrap();
        self.tls(Some(&leaf)).await.unwrap()
    }

    /// Teams, with a good certificate, connected by this name of ours.
    pub(crate) async fn tls_to(&self, name: &str) -> TlsStream<TcpStream> {
        let leaf = self.microsoft.leaf(&[TEAMS]).unwrap();
        self.dial(Some(&leaf), name).await.unwrap()
    }

    /// A TLS client that shows `leaf` and believes everybody.
    pub(crate) async fn tls(&self, leaf: Option<&Leaf>) -> std::io::Result<TlsStream<TcpStream>> {
        self.dial(leaf, SBC).await
    }

    async fn dial(&self, leaf: Option<&Leaf>, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = soon(TcpStream::connect(self.at("tls"))).await?;
        self.secure_to(leaf, name, stream).await
    }

    /// TLS over a connection that is there.
    pub(crate) async fn secure(
        &self,
        leaf: Option<&Leaf>,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.secure_to(leaf, SBC, stream).await
    }

    async fn secure_to(
        &self,
        leaf: Option<&Leaf>,
        name: &str,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let shown = match leaf {
            Some(leaf) => Identities::new([("own".to_owned(), load(&self.dir, "peer", leaf))]),
            None => Identities::default(),
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(certs::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believer))
            .with_client_cert_resolver(Arc::new(ClientIdentity::new(shown, "own")));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

pub(crate) fn load(dir: &Path, name: &str, leaf: &Leaf) -> Arc<Identity> {
    let (chain, key) = leaf.write(dir, name).unwrap();
    Arc::new(Identity::load(&chain, &key).unwrap())
}

pub(crate) fn listener(name: &str, transport: Transport) -> Listener {
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let certificate = (transport == Transport::Tls).then(|| "own".to_owned());
    Listener { name: name.to_owned(), transport, bind, advertise: bind, certificate }
}

fn trunk(name: &str, listener: usize, kind: TrunkKind, roots: Roots) -> Trunk {
    Trunk {
        name: name.to_owned(),
        kind,
        listener,
        sources: vec![Cidr { network: IpAddr::from([127, 0, 0, 1]), length: 32 }],
        peer_names: vec![TEAMS.to_owned()],
        roots,
        ..Trunk::default()
    }
}

fn plan(roots: Roots) -> Plan {
    Plan {
        generation: 1,
        node: Node {
            fqdn: SBC.to_owned(),
            shutdown_deadline: Duration::from_secs(10),
            calls_max: 10,
        },
        media: Default::default(),
        media_workers: 1,
        transcoders: 1,
        listeners: vec![
            listener("udp", Transport::Udp),
            listener("tcp", Transport::Tcp),
            listener("tls", Transport::Tls),
        ]
        .into(),
        trunks: vec![
            trunk("colt", 0, TrunkKind::Carrier, roots.clone()),
            trunk("bt", 1, TrunkKind::Carrier, roots.clone()),
            trunk("teams", 2, TrunkKind::Teams, roots),
        ]
        .into(),
        tenants: Default::default(),
        fqdns: Default::default(),
        numbers: NumberIndex::default(),
        absent: Default::default(),
        rates: Default::default(),
        block: Default::default(),
        resolve: Default::default(),
    }
}

/// A request of OPTIONS with this Call-ID.
pub(crate) fn options(call_id: &str) -> String {
    options_via(call_id, "SIP/2.0/TCP peer.example;branch=z9hG4bK1")
}

pub(crate) fn options_via(call_id: &str, via: &str) -> String {
    format!(
        "OPTIONS sip:{SBC} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:{TEAMS}>;tag=1\r\nTo: <sip:{SBC}>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

pub(crate) fn call_id(message: &Message) -> String {
    String::from_utf8_lossy(message.headers().call_id()).into_owned()
}

/// A target on a listener of [`World`].
pub(crate) fn target(trunk: &str, transport: Transport, address: SocketAddr) -> Target {
    Target {
        trunk: trunk.into(),
        listener: transport.param().into(),
        transport,
        address,
        server_name: (transport == Transport::Tls).then(|| TEAMS.into()),
        own_name: None,
    }
}

/// Connects from another address of this host.
pub(crate) async fn connect_from(source: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    soon(socket.connect(to)).await
}

pub(crate) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    soon(stream.write_all(text.as_bytes())).await.unwrap();
    soon(stream.flush()).await.unwrap();
}

/// Reads until `text` is whole, which must be the next that comes.
pub(crate) async fn expect<S: AsyncRead + Unpin>(stream: &mut S, text: &str) {
    let mut read = vec![0; text.len()];
    soon(stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), text);
}

/// All that comes until the far side closes, by whatever means.
pub(crate) async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut read = Vec::new();
    let _ = soon(stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

/// Believes every server: it is the host's own checks that are tested.
#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        certs::provider().signature_verification_algorithms.supported_schemes()
    }
}
