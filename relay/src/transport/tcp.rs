//! Connections: accepted behind the source gate, or opened for a target.

use super::admission::{Admitted, InForce, Place, per_source_max};
use super::flow::Outgoing;
use super::stream::{self, Role};
use super::tls::Secured;
use super::{ACCEPT_PAUSE, Shared, clock, refused, tls};
use b2bua::io::{Flow, Target};
use b2bua::plan::Transport;
use certs::Identity;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsStream;

/// A listening socket that does not block.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own, or none.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the run before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted: all of a region's proxies coming back at once.
const BACKLOG: i32 = 1024;

/// Accepts connections until the task is stopped. A stranger's is closed without an octet.
pub(super) async fn accept(
    shared: Arc<Shared>,
    listener: Arc<str>,
    socket: tokio::net::TcpListener,
) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let knock = shared.knocks.is_one(clock::now().mono, remote);
                match admit(&shared, &listener, remote) {
                    Ok(entrant) => {
                        let entrant = Entrant { knock, ..entrant };
                        tokio::spawn(enter(Arc::clone(&shared), entrant, stream));
                    }
                    Err(reason) => {
                        tracing::debug!(%listener, %remote, reason, knock, "connection was refused");
                        if !knock {
                            refused(&listener, reason);
                        }
                    }
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                tracing::warn!(%listener, %error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        if shared.core.is_closed() {
            return;
        }
    }
}

/// A connection that passed the source gate.
struct Entrant {
    listener: Arc<str>,
    transport: Transport,
    remote: SocketAddr,
    /// It was announced, and is no peer's.
    knock: bool,
    admitted: Admitted,
    connection: Place,
    handshake: Place,
    /// What it was admitted under.
    begun: Arc<InForce>,
}

fn admit(
    shared: &Shared,
    listener: &Arc<str>,
    remote: SocketAddr,
) -> Result<Entrant, &'static str> {
    let force = shared.force.load_full();
    let source = remote.ip();
    let admitted = force.admit(listener, source).ok_or("source")?;
    let bound = force.bound(listener).ok_or("source")?;
    let max = per_source_max(admitted.kind);
    Ok(Entrant {
        listener: Arc::clone(listener),
        transport: bound.transport,
        remote,
        knock: false,
        connection: bound.connections.enter(source, max.connections).ok_or("limit")?,
        handshake: bound.handshakes.enter(source, max.handshakes).ok_or("limit")?,
        admitted,
        begun: Arc::clone(&force),
    })
}

/// Checks the peer and runs the flow to its end.
async fn enter(shared: Arc<Shared>, entrant: Entrant, stream: TcpStream) {
    let Entrant { listener, transport, remote, knock, admitted, connection, handshake, begun } =
        entrant;
    let _connection = connection;
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%listener, %remote, %error, "connection ended at once");
        return;
    }
    let trunk = admitted.trunk;
    let open = |shared: &Arc<Shared>, secured: Option<Secured>| {
        let flow = Flow {
            id: shared.flows.number(),
            listener: Arc::clone(&listener),
            transport,
            remote,
            trunk: Arc::clone(&trunk),
        };
        let queue = shared.flows.accept(flow.clone(), secured);
        // Entered first, looked at again then: no swap of the plan can fall between unseen.
        shared.look_again(&begun, flow.id);
        (flow, queue)
    };
    match transport {
        Transport::Tls => {
            let names = (&*listener, &*trunk);
            let secured = tls::accept(&shared, &begun, names, knock, stream).await;
            let Some((stream, secured)) = secured else { return };
            drop(handshake);
            let (flow, queue) = open(&shared, Some(secured));
            // It has listeners that may go.
            drop(begun);
            run(shared, flow, stream, queue, Role::Accepted).await;
        }
        Transport::Tcp | Transport::Udp => {
            drop(handshake);
            let (flow, queue) = open(&shared, None);
            drop(begun);
            run(shared, flow, stream, queue, Role::Accepted).await;
        }
    }
}

/// Runs an open flow to its end on the thread of the core: a message from another would wake that one
/// on its way in, and this one on its way out.
async fn run<S: Connection>(
    shared: Arc<Shared>,
    flow: Flow,
    mut stream: S,
    queue: mpsc::Receiver<Outgoing>,
    role: Role,
) {
    let core = shared.runtimes.core.clone();
    let running = core.spawn(async move {
        match move_here(stream.socket()) {
            Ok(()) => stream::run(shared, flow, stream, queue, role).await,
            Err(error) => shared.close(&flow, queue, &error.to_string()).await,
        }
    });
    // It ends before its time only with the runtime, and then so do we.
    let _ = running.await;
}

/// What carries a flow.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    fn socket(&mut self) -> &mut TcpStream;
}

impl Connection for TcpStream {
    fn socket(&mut self) -> &mut TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn socket(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Has the runtime that is current watch the socket, rather than the one where it was opened.
fn move_here(socket: &mut TcpStream) -> io::Result<()> {
    let same = socket2::SockRef::from(&*socket).try_clone()?;
    *socket = TcpStream::from_std(same.into())?;
    Ok(())
}

/// How a target is reached under the plan in force.
pub(super) struct Way {
    from: IpAddr,
    tls: Option<WayTls>,
    /// What it was found under.
    begun: Arc<InForce>,
}

struct WayTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The certificate that we show, if we are asked to.
    shown: Arc<Identity>,
}

impl Way {
    pub(super) fn to(force: &Arc<InForce>, target: &Target) -> Result<Self, String> {
        let begun = Arc::clone(force);
        let closed = || format!("listener {} is closed", target.listener);
        let (_, bound) = force.listeners.get(&target.listener).ok_or_else(closed)?;
        let from = bound.local.ip();
        if target.transport != Transport::Tls {
            return Ok(Self { from, tls: None, begun });
        }
        let no_tls = || format!("trunk {} has no TLS", target.trunk);
        let trunk = force.plan.trunk_named(&target.trunk).ok_or_else(no_tls)?;
        let config = force.tls.client(trunk).ok_or_else(no_tls)?;
        let name = certs::server_name(target.server_name.as_deref(), target.address.ip())
            .map_err(|error| error.to_string())?;
        let own_name = target.own_name.as_deref();
        let shown = force.tls.identity(trunk, &force.identities, own_name).ok_or_else(no_tls)?;
        Ok(Self { from, tls: Some(WayTls { config, name, shown }), begun })
    }

    /// The certificate that we show there.
    pub(super) fn shown(&self) -> Option<Arc<Identity>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.shown))
    }
}

/// From the first SYN to the end of the TLS handshake: what a call can wait before the next target
/// is tried (TDR-FO-001).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Opens the connection that `flow` was entered for and runs it to its end.
pub(super) async fn dial(
    shared: Arc<Shared>,
    flow: Flow,
    target: Target,
    way: Way,
    queue: mpsc::Receiver<Outgoing>,
) {
    let to = format!("{} to {}", target.transport.param(), target.address);
    let begun = Arc::clone(&way.begun);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(&shared, &target, way));
    let connected = connected.await.unwrap_or_else(|_| Err("no connection in time".to_owned()));
    match connected {
        Ok(Connected::Tcp(stream)) => {
            drop(begun);
            run(shared, flow, stream, queue, Role::Opened).await;
        }
        Ok(Connected::Tls(stream, secured)) => {
            shared.flows.secure(flow.id, secured);
            shared.look_again(&begun, flow.id);
            drop(begun);
            run(shared, flow, *stream, queue, Role::Opened).await;
        }
        Err(why) => {
            tracing::debug!(trunk = %flow.trunk, %to, %why, "no flow could be opened");
            shared.close(&flow, queue, &format!("{to}: {why}")).await;
        }
    }
}

enum Connected {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>, Secured),
}

async fn connect(shared: &Shared, target: &Target, way: Way) -> Result<Connected, String> {
    let stream = connect_from(way.from, target.address).await.map_err(|error| error.to_string())?;
    prepare(&stream).map_err(|error| error.to_string())?;
    match way.tls {
        Some(WayTls { config, name, shown }) => {
            let names = (&*target.listener, &*target.trunk);
            let (stream, secured) =
                tls::connect(shared, names, &config, (name, shown), stream).await?;
            Ok(Connected::Tls(Box::new(stream), secured))
        }
        None => Ok(Connected::Tcp(stream)),
    }
}

/// From the listener's address where it has one: far sides admit us by it.
async fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !from.is_unspecified() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

/// No waiting for more to send, and a dead far side is found out (TDR-CON-006).
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// TDR-CON-006.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-CON-006.
    #[tokio::test]
    async fn a_connection_waits_for_nothing_and_is_probed_once_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }
}
