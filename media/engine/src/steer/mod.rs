//! The engine with one socket per worker: a BPF program hands all ports of a worker to it, and packets
//! leave with headers of our own, past the stack where the way is known.
//!
//! ```text
//!   sk_lookup ─▶ mux: recvmmsg ─▶ batch ─▶ ┬─ frames: the neighbour is known     (AF_PACKET)
//!   (port → worker)                        ├─ packets: the kernel finds the way  (raw sockets)
//!                                          └─ a socket for one packet: larger than the path is wide
//! ```
//!
//! A port is a number here and no socket. Raw sockets carry what stays on this host, what has no
//! Ethernet around it, and what has a neighbour that is not known yet: the kernel asks for it then.

mod lane;
mod mux;

use crate::batch::{Batch, Packet, PortId};
use crate::by_port::ByPort;
use crate::clock;
use crate::datapath::{Carried, Datapath};
use crate::io::{Faults, PacketIo};
use crate::kernel::{Kernel, KernelError};
use crate::portable::Portable;
use crate::routes::{Hop, Link, Routes};
use crate::socket;
use crate::sys::{self, Bell, Epoll, Ready};
use crate::wire::Template;
use crate::xdp::Below;
use lane::{Lane, Way};
use mux::Mux;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// One worker's sockets and ports.
#[derive(Debug)]
pub(crate) struct Steer {
    worker: usize,
    /// Asked only when a port opens or closes.
    kernel: Arc<Mutex<Kernel>>,
    epoll: Epoll,
    ready: Box<[Ready]>,
    bell: Arc<Bell>,
    mux: Mux,
    outward: Outward,
    routes: Routes,
    ports: ByPort<Port>,
    /// The addresses that ports are open on, with how many.
    addresses: Vec<(IpAddr, u16, usize)>,
    /// For ports that the programs have no room for.
    by_socket: Option<Portable>,
    /// Whose turn it is to come first, where there are two.
    socket_first: bool,
    /// How often ICMP errors may still have routes asked for anew, until [`PacketIo::look_around`].
    doubts: u8,
    lost: Option<String>,
    faults: Faults,
    /// Packets that the kernel threw away, as of the last look around.
    thrown_away: u32,
}

/// One of our ports, and the way of what leaves from it: two lines of a cache, in which no other's are.
#[derive(Debug)]
#[repr(align(64))]
struct Port {
    dscp: u8,
    outlet: Option<Outlet>,
}

const _: () = assert!(size_of::<Option<Port>>() == 128);

/// The way to a far side, as long as nothing changes.
#[derive(Debug)]
struct Outlet {
    to: SocketAddr,
    generation: u32,
    by: By,
}

#[derive(Debug)]
enum By {
    /// A frame, if the packet is at most so large.
    Frame {
        template: Template,
        interface: u32,
        room: u16,
    },
    /// The kernel brings it there.
    Packet {
        template: Template,
    },
    /// A socket of its own, for what we cannot write headers for.
    Socket,
    Nowhere,
}

/// What leaves with headers of our own.
#[derive(Debug)]
struct Outward {
    frames: Lane,
    v4: Lane,
    /// `None` where the system has no IPv6.
    v6: Option<Lane>,
    id: u16,
}

/// Words that epoll hands back.
const BELL: u64 = 0;
const ARRIVED: u64 = 1;
/// Receives that bring an error instead of packets, before a turn ends.
const ERRORS_PER_TURN: usize = 8;
/// Packets of a batch that are too large and get a socket each: one costs as much as several that leave with
/// headers of our own, so that a batch of nothing else would hold up everybody's voice, which is never that
/// large.
const SINGLY_PER_BATCH: u32 = 8;
/// Anybody can send an ICMP error, and a route costs some microseconds to ask for.
const DOUBTS_PER_SECOND: u8 = 8;

impl Steer {
    pub(crate) fn new(
        worker: usize,
        bell: Arc<Bell>,
        kernel: Arc<Mutex<Kernel>>,
    ) -> Result<Self, KernelError> {
        let (mux, epoll) = (Mux::new()?, Epoll::new()?);
        epoll.add(bell.fd(), BELL)?;
        epoll.add(mux.fd(), ARRIVED)?;
        locked(&kernel).set_socket(worker, mux.fd())?;
        Ok(Self {
            worker,
            kernel,
            epoll,
            ready: vec![Ready::NONE; 4].into(),
            bell,
            mux,
            outward: Outward {
                frames: Lane::of_frames()?,
                v4: Lane::of_ipv4()?,
                v6: Lane::of_ipv6().ok(),
                id: 0,
            },
            routes: Routes::new()?,
            ports: ByPort::new(),
            addresses: Vec::new(),
            by_socket: None,
            socket_first: false,
            doubts: DOUBTS_PER_SECOND,
            lost: None,
            faults: Faults::default(),
            thrown_away: 0,
        })
    }

    /// Whether so many workers can have what this takes beside its programs, which AF_XDP stands on as well;
    /// or why not.
    pub(crate) fn try_for(kernel: &Arc<Mutex<Kernel>>, workers: usize) -> Result<(), String> {
        let last = workers.saturating_sub(1);
        let bell = Bell::new().map_err(KernelError::Io);
        match bell.and_then(|bell| Self::new(last, Arc::new(bell), Arc::clone(kernel))) {
            Ok(_) => Ok(()),
            Err(KernelError::Io(why)) => {
                Err(format!("its sockets cannot be had (CAP_NET_RAW, AF_PACKET): {why}"))
            }
            Err(why) => Err(why.to_string()),
        }
    }

    /// Has a port carried by a socket of its own, for a reason.
    fn open_socket(
        &mut self,
        port: PortId,
        at: SocketAddr,
        dscp: u8,
        why: &KernelError,
    ) -> io::Result<()> {
        let by_socket = match &mut self.by_socket {
            Some(by_socket) => by_socket,
            none => {
                let by_socket = Portable::new(Arc::clone(&self.bell), why.to_string().into())?;
                self.epoll.add(by_socket.fd(), ARRIVED)?;
                none.insert(by_socket)
            }
        };
        by_socket.open(port, at, dscp)
    }

    /// Fills a batch from the worker's socket, and says whether there may be more.
    fn receive_steered(&mut self, batch: &mut Batch) -> bool {
        let Self { mux, ports, addresses, faults, routes, doubts, .. } = self;
        let room = batch.spares().len();
        for _ in 0..ERRORS_PER_TURN {
            let received = mux.receive(batch.spares(), |packet, to| {
                packet.port = port_at(ports, addresses, to);
            });
            match received {
                Ok(count) => {
                    (0..count).for_each(|_| batch.take());
                    return count == room;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // ICMP errors about what we sent.
                Err(_) => {
                    let (count, too_large) = mux.errors();
                    faults.receive += count.max(1);
                    if too_large && *doubts > 0 {
                        *doubts -= 1;
                        routes.doubt();
                    }
                }
            }
        }
        true
    }

    fn receive_by_socket(&mut self, batch: &mut Batch) -> bool {
        self.by_socket.as_mut().is_some_and(|by_socket| by_socket.receive(batch))
    }
}

/// Which of our ports a datagram was sent to: one of the address itself comes before one of all
/// addresses. What has none belongs to a call that has just ended.
///
/// Where there is no choice the port is not looked at: it is in no cache, and whose it is others know.
fn port_at(ports: &ByPort<Port>, addresses: &[(IpAddr, u16, usize)], to: SocketAddr) -> PortId {
    let number = to.port();
    let find = |wanted: &dyn Fn(&IpAddr) -> bool| {
        let found = addresses.iter().find(|(ip, ..)| wanted(ip));
        found.map(|(_, address, _)| PortId { address: *address, number })
    };
    let own = find(&|ip| *ip == to.ip());
    let of_all = find(&|ip| ip.is_unspecified() && ip.is_ipv4() == to.is_ipv4());
    match (own, of_all) {
        (Some(own), Some(of_all)) if ports.get(own).is_none() => of_all,
        (Some(port), _) | (None, Some(port)) => port,
        (None, None) => PortId { address: u16::MAX, number },
    }
}

/// Where a port that is open is bound.
fn bound_at(addresses: &[(IpAddr, u16, usize)], port: PortId) -> Option<SocketAddr> {
    let (ip, ..) = addresses.iter().find(|(_, address, _)| *address == port.address)?;
    Some(SocketAddr::new(*ip, port.number))
}

impl PacketIo for Steer {
    fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()> {
        if self.ports.get(port).is_some() || self.has_socket(port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // A number that another process has bound is not ours to take.
        socket::is_free(at)?;
        let taken = locked(&self.kernel).take_port(at, self.worker);
        match taken {
            Ok(()) => {
                self.ports.set(port, Some(Port { dscp, outlet: None }));
                let known =
                    self.addresses.iter_mut().find(|(.., address, _)| *address == port.address);
                match known {
                    Some((_, _, ports)) => *ports += 1,
                    None => self.addresses.push((at.ip(), port.address, 1)),
                }
                Ok(())
            }
            Err(KernelError::Taken) => Err(io::ErrorKind::AddrInUse.into()),
            Err(why) => self.open_socket(port, at, dscp, &why),
        }
    }

    fn close(&mut self, port: PortId) {
        match self.ports.get(port) {
            Some(_) => {
                if let Some(at) = bound_at(&self.addresses, port) {
                    locked(&self.kernel).leave_port(at, self.worker);
                }
                self.ports.set(port, None);
                for (_, address, ports) in &mut self.addresses {
                    *ports -= usize::from(*address == port.address);
                }
                self.addresses.retain(|(_, _, ports)| *ports > 0);
            }
            None => {
                if let Some(by_socket) = &mut self.by_socket {
                    by_socket.close(port);
                }
            }
        }
    }

    fn receive(&mut self, batch: &mut Batch) -> bool {
        self.routes.follow_in_time(clock::now().mono);
        let mut more = false;
        if self.socket_first {
            more |= self.receive_by_socket(batch);
        }
        more |= self.receive_steered(batch);
        if !self.socket_first {
            more |= self.receive_by_socket(batch);
        }
        self.socket_first = self.by_socket.is_some() && !self.socket_first;
        more
    }

    fn send(&mut self, batch: &mut Batch) {
        let Self { outward, routes, ports, addresses, by_socket, faults, .. } = self;
        batch.packets().iter().for_each(|packet| ports.prefetch(packet.port));
        let mut singly = Singly { left: SINGLY_PER_BATCH };
        for at in 0..batch.packets().len() {
            let Some(packet) = batch.packets_mut().get_mut(at).filter(|packet| packet.send) else {
                continue;
            };
            let Some(port) = ports.get_mut(packet.port) else {
                match by_socket {
                    Some(by_socket) => by_socket.send_one(packet),
                    None => faults.send += 1,
                }
                continue;
            };
            let (dscp, id) = (port.dscp, packet.port);
            let bound = || bound_at(addresses, id);
            match port.way_to(&packet.peer, bound, routes) {
                By::Frame { template, interface, room }
                    if packet.slot().len() <= usize::from(*room) =>
                {
                    let way = Way { interface: *interface, id: outward.next_id() };
                    outward.frames.push_frame(at, packet, template, way);
                }
                By::Packet { template } => {
                    let from = template.source();
                    let (way, id) = ((from, packet.peer), outward.next_id());
                    let lane = match from {
                        IpAddr::V4(_) => Some(&mut outward.v4),
                        IpAddr::V6(_) => outward.v6.as_mut(),
                    };
                    match lane {
                        Some(lane) => lane.push_packet(at, packet, template, way, id),
                        None => faults.send += 1,
                    }
                }
                by @ (By::Frame { .. } | By::Socket) => {
                    let too_large = matches!(by, By::Frame { .. });
                    // What is before it of the same stream is not to come behind it.
                    outward.flush(batch.packets(), ports, addresses, &mut singly, faults);
                    let sent = batch.packets().get(at).zip(bound());
                    let sent = sent.is_some_and(|(packet, at)| match too_large {
                        true => singly.send(packet, at, dscp),
                        false => by_own_socket(packet, at, dscp).is_ok(),
                    });
                    faults.send += u64::from(!sent);
                }
                By::Nowhere => faults.send += 1,
            }
        }
        outward.flush(batch.packets(), ports, addresses, &mut singly, faults);
    }

    fn await_ring(&mut self) {
        self.bell.await_ring();
    }

    fn wait(&mut self) {
        // Level-triggered: packets that end the wait are still there for `receive`.
        if self.epoll.ready(&mut self.ready, true).iter().any(|ready| ready.word() == BELL) {
            self.bell.silence();
        }
        self.bell.is_awake();
    }

    fn wait_at_most(&mut self, longest: Duration) {
        let ready = self.epoll.ready_within(&mut self.ready, longest);
        if ready.iter().any(|ready| ready.word() == BELL) {
            self.bell.silence();
        }
        self.bell.is_awake();
    }

    fn ready_at(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.fd())
    }

    fn look_around(&mut self) {
        self.routes.follow();
        self.routes.confirm();
        self.doubts = DOUBTS_PER_SECOND;
        let before = std::mem::replace(&mut self.thrown_away, self.mux.thrown_away());
        self.faults.receive += u64::from(self.thrown_away.wrapping_sub(before));
        self.check();
    }

    fn check(&mut self) {
        // Another worker may have it in hand for as long as a driver takes to be given a program: packets do
        // not wait for that, and what is lost is seen next time.
        let kernel = match self.kernel.try_lock() {
            Ok(kernel) => kernel,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !kernel.steers() {
            self.lost = Some("the program that hands ports to workers was taken away".to_owned());
        }
    }

    fn carries(&self, port: PortId) -> Carried {
        match &self.by_socket {
            Some(by_socket) if by_socket.has(port) => by_socket.carries(port),
            _ => Carried { by: Datapath::Steer, why_not_faster: "".into() },
        }
    }

    fn datapath(&self, port: PortId) -> Datapath {
        if self.has_socket(port) { Datapath::Portable } else { Datapath::Steer }
    }

    fn lost(&self) -> Option<String> {
        self.lost.clone()
    }

    fn faults(&self) -> Faults {
        let by_socket = self.by_socket.as_ref().map(PacketIo::faults);
        self.faults.and(by_socket.unwrap_or_default())
    }
}

impl Below for Steer {
    fn routes(&mut self) -> &mut Routes {
        &mut self.routes
    }
}

impl Steer {
    fn has_socket(&self, port: PortId) -> bool {
        self.by_socket.as_ref().is_some_and(|by_socket| by_socket.has(port))
    }
}

impl Drop for Steer {
    fn drop(&mut self) {
        // The maps outlive this worker; its ports go with it. The socket leaves its map by being closed.
        let mut kernel = locked(&self.kernel);
        for at in self.ports.ports().filter_map(|port| bound_at(&self.addresses, port)) {
            kernel.leave_port(at, self.worker);
        }
    }
}

impl Port {
    /// The way to a far side, found anew where it may be another one by now.
    fn way_to(
        &mut self,
        to: &SocketAddr,
        bound: impl FnOnce() -> Option<SocketAddr>,
        routes: &mut Routes,
    ) -> &By {
        let generation = routes.generation();
        let known = self.outlet.as_ref();
        if known.is_none_or(|known| known.to != *to || known.generation != generation) {
            let by = bound().map_or(By::Nowhere, |at| By::find(at, *to, self.dscp, routes));
            self.outlet = Some(Outlet { to: *to, generation, by });
        }
        self.outlet.as_ref().map_or(&By::Nowhere, |outlet| &outlet.by)
    }
}

impl By {
    #[cold]
    fn find(at: SocketAddr, to: SocketAddr, dscp: u8, routes: &mut Routes) -> Self {
        let hop = routes.hop(at.ip(), to.ip());
        match hop {
            Hop::Unreachable => Self::Nowhere,
            Hop::Ready(link) if !link.loopback => {
                // The device adds the tag, and counts the packet as its own.
                let link = Link { vlan: None, interface: link.device, ..link };
                let from = SocketAddr::new(link.from, at.port());
                Template::new(Some(&link), from, to, dscp).map_or(Self::Nowhere, |template| {
                    let room = link.mtu.saturating_sub(template.ip_len() as u16);
                    Self::Frame { template, interface: link.device, room }
                })
            }
            Hop::Ready(_) | Hop::Asking(_) => {
                let Some(from) = routes.source(at.ip(), to.ip()) else { return Self::Socket };
                let template = Template::new(None, SocketAddr::new(from, at.port()), to, dscp);
                template.map_or(Self::Nowhere, |template| Self::Packet { template })
            }
        }
    }
}

impl Outward {
    fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// Sends what is to be sent. What turns out to be larger than its interface takes is sent as the
    /// kernel sends such packets.
    fn flush(
        &mut self,
        packets: &[Packet],
        ports: &ByPort<Port>,
        addresses: &[(IpAddr, u16, usize)],
        singly: &mut Singly,
        faults: &mut Faults,
    ) {
        let mut refused = |at: usize, error: io::Error| {
            let too_large = error.raw_os_error() == Some(libc::EMSGSIZE);
            let sent = too_large
                && packets.get(at).is_some_and(|packet| {
                    let port = ports.get(packet.port).zip(bound_at(addresses, packet.port));
                    port.is_some_and(|(port, at)| singly.send(packet, at, port.dscp))
                });
            faults.send += u64::from(!sent);
        };
        self.frames.flush(packets, &mut refused);
        self.v4.flush(packets, &mut refused);
        if let Some(v6) = &mut self.v6 {
            v6.flush(packets, &mut refused);
        }
    }
}

/// Sends a packet by a socket that is there for it alone: the kernel cuts it into fragments, or writes the
/// headers that we cannot. None is kept: whoever carries the port after us has to find it free.
fn by_own_socket(packet: &Packet, at: SocketAddr, dscp: u8) -> io::Result<()> {
    let socket = socket::bind(at, dscp)?;
    sys::send_to(socket.as_fd(), packet.slot().packet(), packet.peer)
}

/// Packets that are larger than their path is wide, which a voice packet never is.
struct Singly {
    /// How many more of this batch.
    left: u32,
}

impl Singly {
    /// Whether it was sent: beyond the bound none is.
    fn send(&mut self, packet: &Packet, at: SocketAddr, dscp: u8) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        by_own_socket(packet, at, dscp).is_ok()
    }
}

/// The maps are whole even where a worker has panicked with them in hand.
fn locked(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
