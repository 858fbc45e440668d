//! The emulated sides over real sockets: each agent is driven by a task of its own.

use crate::clock;
use crate::transport::{self, Events, StartError, Transports};
use b2bua::io::{Flow, FlowId, Target};
use b2bua::plan::{
    Cidr, Listener, Node, NumberIndex, Plan, Roots, Shared, SrtpPolicy, Tenants, Trunk, TrunkKind,
};
use bytes::Bytes;
use certs::Identities;
use emulate::{Agent, Event, Hop, Input, MediaPlan, Output};
use media::Now;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sip_core::Message;
use sip_core::transaction::ClientId;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Datagrams that wait for an agent, a call: two seconds of it.
const PACKETS_PER_CALL: usize = 128;
/// Events that a scenario may be behind: it reads them as they come.
const EVENTS_MAX: usize = 1024;
/// Orders that wait for an agent: one a scenario.
const ORDERS_MAX: usize = 64;
/// How long a connection of ours is quiet before it is closed, where each transaction gets a fresh one.
const QUIET: Duration = Duration::from_millis(500);
/// Larger than any RTP packet here.
const DATAGRAM_OCTETS: usize = 2048;
/// How long a side may take to send what is queued when it ends.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// Something to do with an agent.
type Order = Box<dyn FnOnce(&mut Agent, Now) + Send>;

/// How a side reaches the SBC, and is reached.
pub(crate) struct Access {
    /// The side's name.
    pub(crate) name: &'static str,
    /// Its addresses by name.
    pub(crate) listeners: Vec<(String, SocketAddr)>,
    /// Its transport.
    pub(crate) transport: b2bua::plan::Transport,
    /// Where the SBC's messages come from.
    pub(crate) sources: Vec<Cidr>,
    /// The names of which the SBC's certificate carries one.
    pub(crate) names: Vec<String>,
    /// Whose certificates are believed.
    pub(crate) roots: Roots,
    /// The side's certificate, called as the side.
    pub(crate) identities: Identities,
    /// Where its media ports are.
    pub(crate) media: MediaPorts,
    /// Whether connections are closed as soon as nothing is awaited on them, as Microsoft may do
    /// (TDR-CON-009).
    pub(crate) fresh_connections: bool,
}

/// Where a side looks for media ports, and for how many calls.
#[derive(Clone, Debug)]
pub(crate) struct MediaPorts {
    pub(crate) address: IpAddr,
    pub(crate) ports: RangeInclusive<u16>,
    /// Calls that the side can have at once.
    pub(crate) calls: usize,
}

/// What a side plays and listens for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tones {
    pub(crate) plays_hz: u32,
    pub(crate) expects_hz: u32,
}

/// Why a side cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerFailure {
    #[error(transparent)]
    Transport(#[from] StartError),
    #[error("media of {name} on {address}: {error}")]
    Media { name: &'static str, address: IpAddr, error: io::Error },
}

/// An emulated side that is running.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    orders: mpsc::Sender<Order>,
    events: broadcast::Sender<Event>,
    transports: Transports,
    driver: JoinHandle<()>,
    listening: Vec<JoinHandle<()>>,
}

impl Peer {
    /// Binds everything and runs the agent that `make` makes. Called inside a tokio runtime.
    pub(crate) fn start(
        access: Access,
        tones: Tones,
        make: impl FnOnce(MediaPlan, ChaCha20Rng) -> Agent,
    ) -> Result<Self, PeerFailure> {
        let name = access.name;
        let address = access.media.address;
        let failed = |error| PeerFailure::Media { name, address, error };
        let (packets, incoming) = mpsc::channel(PACKETS_PER_CALL * access.media.calls.max(1));
        let mut sockets = HashMap::new();
        let mut listening = Vec::new();
        for socket in media_sockets(&access.media).map_err(failed)? {
            socket.set_nonblocking(true).map_err(failed)?;
            let socket = Arc::new(UdpSocket::from_std(socket).map_err(failed)?);
            let port = socket.local_addr().map_err(failed)?.port();
            listening.push(tokio::spawn(listen(Arc::clone(&socket), port, packets.clone())));
            sockets.insert(port, socket);
        }
        let mut rtp_ports: Vec<u16> =
            sockets.keys().copied().filter(|port| port % 2 == 0).collect();
        rtp_ports.sort_unstable();
        let media = MediaPlan {
            address,
            rtp_ports,
            plays_hz: tones.plays_hz,
            expects_hz: tones.expects_hz,
        };
        let agent = make(media, ChaCha20Rng::from_os_rng());
        let plan = Arc::new(plan(&access));
        let (transports, sip) = Transports::start(plan, access.identities.clone())?;
        let wire = Wire {
            transports: transports.clone(),
            listeners: access.listeners.iter().map(|(n, at)| (*at, n.as_str().into())).collect(),
            transport: access.transport,
            fresh_connections: access.fresh_connections,
            asked: HashMap::new(),
            sockets,
        };
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let driver = tokio::spawn(drive(agent, wire, sip, incoming, ordered, events.clone()));
        Ok(Self { name, orders, events, transports, driver, listening })
    }

    /// What happens at the agent from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Does something with the agent; `None` if it is not running any more.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Agent, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let order: Order = Box::new(move |agent, now| {
            let _ = done.send(act(agent, now));
        });
        self.orders.send(order).await.ok()?;
        result.await.ok()
    }

    /// Ends.
    pub(crate) async fn stop(self) {
        let Self { orders, transports, driver, listening, .. } = self;
        drop(orders);
        transports.shutdown(FLUSH_MAX).await;
        driver.abort();
        for task in listening {
            task.abort();
        }
    }
}

/// A datagram that came to a media port.
struct Packet {
    local_port: u16,
    from: SocketAddr,
    octets: Bytes,
}

async fn listen(socket: Arc<UdpSocket>, local_port: u16, packets: mpsc::Sender<Packet>) {
    let mut buffer = [0; DATAGRAM_OCTETS];
    loop {
        // An error is that of an earlier datagram of ours, which found nobody (ICMP).
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let octets = Bytes::copy_from_slice(&buffer[..len]);
        if packets.send(Packet { local_port, from, octets }).await.is_err() {
            return;
        }
    }
}

/// Feeds the agent, drains it, arms its timer.
async fn drive(
    mut agent: Agent,
    mut wire: Wire,
    mut sip: Events,
    mut packets: mpsc::Receiver<Packet>,
    mut orders: mpsc::Receiver<Order>,
    events: broadcast::Sender<Event>,
) {
    loop {
        while let Some(output) = agent.poll_output() {
            match output {
                Output::Send { hop, bytes, client } => wire.send(hop, bytes, client),
                Output::SendPacket { from_port, to, octets } => wire.play(from_port, to, &octets),
                // Nobody may be listening just now.
                Output::Event(event) => drop(events.send(event)),
            }
        }
        let due = agent.poll_timeout();
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => order(&mut agent, now()),
                None => return,
            },
            event = sip.recv() => match event {
                Some(event) => wire.take(&mut agent, event),
                None => return,
            },
            Some(Packet { local_port, from, octets }) = packets.recv() => {
                agent.handle_input(now(), Input::Packet { local_port, from, octets });
            }
            () = sleep_until(due) => agent.handle_timeout(now()),
        }
    }
}

async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The time as the agents are told it.
fn now() -> Now {
    let b2bua::Now { mono, wall } = clock::now();
    Now { mono, wall }
}

/// The sockets of one side, addressed as its agent does.
struct Wire {
    transports: Transports,
    listeners: Vec<(SocketAddr, Arc<str>)>,
    transport: b2bua::plan::Transport,
    fresh_connections: bool,
    /// Requests that wait for their answers, by where they came from and went.
    asked: HashMap<(SocketAddr, SocketAddr), Arc<AtomicUsize>>,
    sockets: HashMap<u16, Arc<UdpSocket>>,
}

impl Wire {
    fn send(&mut self, hop: Hop, bytes: Bytes, client: Option<ClientId>) {
        let Some((_, name)) = self.listeners.iter().find(|(local, _)| *local == hop.local) else {
            return;
        };
        let (listener, trunk) = (Arc::clone(name), Arc::clone(name));
        let (transport, remote) = (self.transport, hop.remote);
        if client.is_some() {
            self.asked.entry((hop.local, remote)).or_default().fetch_add(1, Ordering::Relaxed);
        }
        let hop = match hop.flow {
            Some(id) => {
                let flow = Flow { id: FlowId(id), listener, transport, remote, trunk };
                b2bua::io::Hop::Flow { flow, otherwise: None }
            }
            None => b2bua::io::Hop::Target(Target {
                trunk,
                listener,
                transport,
                address: remote,
                server_name: hop.server_name,
                own_name: None,
            }),
        };
        self.transports.send(hop, bytes, client);
    }

    /// A packet that the socket does not take now is lost, as on any network.
    fn play(&self, from_port: u16, to: SocketAddr, octets: &[u8]) {
        if let Some(socket) = self.sockets.get(&from_port) {
            let _ = socket.try_send_to(octets, to);
        }
    }

    fn take(&mut self, agent: &mut Agent, event: transport::Event) {
        let input = match event {
            transport::Event::Message { flow, message, .. } => {
                let local = self.listeners.iter().find(|(_, name)| *name == flow.listener);
                let Some(local) = local.map(|(local, _)| *local) else { return };
                let transport = match flow.transport {
                    b2bua::plan::Transport::Udp => emulate::Transport::Udp,
                    b2bua::plan::Transport::Tcp => emulate::Transport::Tcp,
                    b2bua::plan::Transport::Tls => emulate::Transport::Tls,
                };
                self.answered((local, flow.remote), flow.id, &message);
                self.show(agent, flow.id, &message);
                let hop = Hop {
                    transport,
                    local,
                    remote: flow.remote,
                    server_name: None,
                    flow: Some(flow.id.0),
                };
                Input::Message { hop, message }
            }
            transport::Event::SendFailed { client, why } => {
                tracing::info!(why, "a request could not be sent");
                Input::SendFailed { client }
            }
        };
        agent.handle_input(now(), input);
    }

    /// Tells what certificate a request came under: its Contact is judged by it (TDR-CON-005).
    fn show(&self, agent: &mut Agent, flow: FlowId, message: &Message) {
        if let Message::Request(_) = message
            && let Some(names) = self.transports.peer_names(flow)
        {
            agent.handle_input(now(), Input::Shown { flow: flow.0, names });
        }
    }

    /// Closes a connection of ours soon after the last answer that was awaited on it: what is on its way
    /// meanwhile is still taken.
    fn answered(&mut self, way: (SocketAddr, SocketAddr), flow: FlowId, message: &Message) {
        let Message::Response(response) = message else { return };
        let Some(waiting) = self.asked.get(&way).filter(|_| response.status >= 200) else { return };
        let one_less = |waiting: usize| waiting.checked_sub(1);
        let before = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if self.fresh_connections && before == Ok(1) {
            let (transports, waiting) = (self.transports.clone(), Arc::clone(waiting));
            tokio::spawn(async move {
                tokio::time::sleep(QUIET).await;
                if waiting.load(Ordering::Relaxed) == 0 {
                    transports.close(flow);
                }
            });
        }
    }
}

/// Sockets for so many calls: RTP on even ports, RTCP above each.
fn media_sockets(media: &MediaPorts) -> io::Result<Vec<std::net::UdpSocket>> {
    let mut sockets = Vec::with_capacity(2 * media.calls);
    for port in media.ports.clone().step_by(2) {
        if sockets.len() == 2 * media.calls {
            break;
        }
        let bind = |port| std::net::UdpSocket::bind(SocketAddr::new(media.address, port));
        if let (Ok(rtp), Some(rtcp)) = (bind(port), port.checked_add(1)) {
            sockets.extend(bind(rtcp).map(|rtcp| [rtp, rtcp]).into_iter().flatten());
        }
    }
    match sockets.is_empty() {
        true => Err(io::ErrorKind::AddrInUse.into()),
        false => Ok(sockets),
    }
}

/// The SBC's transports serve a plan; this is the one in which the far side is the SBC: a trunk for
/// each address, believed by its certificate.
fn plan(access: &Access) -> Plan {
    let tls = access.transport == b2bua::plan::Transport::Tls;
    let listener = |(name, address): &(String, SocketAddr)| Listener {
        name: name.clone(),
        transport: access.transport,
        bind: *address,
        advertise: *address,
        certificate: tls.then(|| access.name.to_owned()),
    };
    let trunk = |(listener, (name, _)): (usize, &(String, SocketAddr))| Trunk {
        name: name.clone(),
        kind: TrunkKind::Carrier,
        listener,
        sources: access.sources.clone(),
        srtp: SrtpPolicy::Preferred,
        peer_names: access.names.clone(),
        roots: access.roots.clone(),
        ..Trunk::default()
    };
    Plan {
        generation: 0,
        node: Node {
            fqdn: access.name.to_owned(),
            shutdown_deadline: FLUSH_MAX,
            calls_max: access.media.calls,
        },
        media: Shared::default(),
        media_workers: 0,
        transcoders: 0,
        listeners: access.listeners.iter().map(listener).collect(),
        trunks: access.listeners.iter().enumerate().map(trunk).collect(),
        tenants: Tenants::default(),
        fqdns: Default::default(),
        numbers: NumberIndex::default(),
        absent: Default::default(),
        rates: Shared::default(),
        block: Default::default(),
        resolve: Default::default(),
    }
}
