//! The engine that takes packets where the driver has them and gives them to it: AF_XDP.
//!
//! ```text
//!  card ─▶ queue ─▶ `to_queue` ─┬─▶ receive ring ─▶ batch ─▶ transmit ring ─▶ card
//!                               └─▶ stack ─▶ the engine below ─┘  └─▶ the engine below ─▶ stack
//! ```
//!
//! Each worker has sockets of its own, at the queues that are its own, and frames of its own: a packet
//! is received into one, changed in it and sent from it, and user space copies nothing. What the
//! program passes (fragments, a queue of another worker, senders on this host) comes by the engine
//! below, and what has no way out here leaves by it: the neighbour is not known yet, the packet is too
//! large, the interface has no such socket.

mod attached;
mod frames;
pub(crate) mod interface;
mod ring;
mod rules;
mod socket;
mod umem;

use crate::batch::{Batch, Packet, PortId};
use crate::by_port::ByPort;
use crate::datapath::{Carried, Datapath};
use crate::io::{Faults, PacketIo, Turn};
use crate::kernel::Kernel;
use crate::pace::TICK;
use crate::routes::{Hop, Routes};
use crate::sys::{Bell, Watch};
use crate::wire::{self, Template};
pub(crate) use attached::NOT_NATIVE;
use attached::{Attached, Bound};
use frames::{Arrived, Frames};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An engine that follows routes, as the one over it wants to know them as well.
pub(crate) trait Below: PacketIo {
    /// What the kernel has told of them, as of the last look.
    fn routes(&mut self) -> &mut Routes;
}

/// AF_XDP over another engine.
pub(crate) struct Xdp {
    below: Box<dyn Below>,
    bell: Arc<Bell>,
    watch: Watch,
    attached: Attached,
    frames: Frames,
    ports: ByPort<Port>,
    /// Raised whenever ways out may have changed.
    epoch: u32,
    /// The generation of the routes that `epoch` goes with, and the layout that interfaces were looked at in.
    generation: u32,
    layout: u32,
    /// The socket that is asked first next time.
    first: u8,
    below_turns: BelowTurns,
    /// Of the packets that leave with headers of ours.
    ip_id: u16,
    faults: Faults,
    /// Packets that the kernel had for us and threw away, as of the last look around.
    thrown_away: u64,
    /// Packets that came in elsewhere than at a queue of ours, as of then.
    astray: u64,
    /// Turns until interfaces are looked at, where something is wrong with one.
    look_in: Option<u16>,
}

/// A worker's part in the queues of interfaces.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Which worker, from 0, and of how many.
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    /// Interfaces whose driver does not run the program have the stack run it.
    pub(crate) generic: bool,
    /// Where ports will be bound: interfaces with these have their sockets from the start, and a card is told.
    pub(crate) media: Arc<[IpAddr]>,
}

/// One of our ports, and where its packets last went: two lines of a cache, in which no other's are.
#[derive(Debug)]
#[repr(align(64))]
struct Port {
    dscp: u8,
    to: SocketAddr,
    epoch: u32,
    way: Way,
}

const _: () = assert!(size_of::<Option<Port>>() == 128);

/// How packets leave.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By a socket of ours, with these headers, up to this length.
    Ring { place: u8, template: Template, payload_max: u16 },
    /// By the engine below.
    Below(Why),
}

/// Why packets leave by the engine below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// None has left yet.
    Silent,
    /// The far side is on this host.
    Local,
    /// The kernel has to ask for the neighbour, or there is no way at all.
    Unknown,
    /// The interface where they leave has no socket of ours.
    NoSocket(u32),
}

impl Xdp {
    /// A worker's, over the engine that takes what does not come here.
    pub(crate) fn new(
        mut below: Box<dyn Below>,
        bell: Arc<Bell>,
        kernel: Arc<Mutex<Kernel>>,
        part: Part,
    ) -> Self {
        let mut xdp = Self {
            generation: below.routes().generation(),
            layout: below.routes().layout(),
            below,
            bell,
            watch: Watch::new(),
            attached: Attached::new(kernel, part),
            frames: Frames::new(),
            ports: ByPort::new(),
            epoch: 1,
            first: 0,
            below_turns: BelowTurns::default(),
            ip_id: 0,
            faults: Faults::default(),
            thrown_away: 0,
            astray: 0,
            look_in: None,
        };
        // Now, and not when the first call comes: a driver takes some 10 ms for its program, and on a busy
        // host many times that.
        xdp.attach();
        xdp
    }

    /// Puts sockets wherever ports are bound or will be.
    fn attach(&mut self) {
        let routes = self.below.routes();
        routes.follow();
        self.attached.look(&mut self.frames, routes, true);
        self.frames.turn();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Follows what has changed with addresses, interfaces and routes.
    fn follow(&mut self) {
        let routes = self.below.routes();
        routes.follow();
        let changed = routes.generation() != self.generation;
        self.generation = routes.generation();
        let addresses = routes.layout() != self.layout;
        self.layout = routes.layout();
        if self.attached.look(&mut self.frames, routes, addresses) || changed {
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.frames.turn();
        self.look_in = None;
    }

    /// The way of what leaves from a port. What was found before something changed holds as long as the
    /// socket does.
    fn way_of(&self, port: PortId) -> &Way {
        match self.ports.get(port) {
            Some(Port { way, epoch, .. }) if *epoch == self.epoch => way,
            Some(Port { way: way @ Way::Ring { place, .. }, .. })
                if self.frames.socket(*place).is_some() =>
            {
                way
            }
            _ => &Way::Below(Why::Silent),
        }
    }

    /// Whether packets to a port come here.
    fn takes(&self, port: PortId) -> bool {
        self.attached.ip_of(port.address).is_some_and(|ip| self.attached.takes(ip))
    }

    /// Waits for a packet at a socket of ours, or for what the engine below waits for.
    fn wait_for(&mut self, longest: Option<Duration>) {
        self.watch.clear();
        self.watch.add(self.bell.fd());
        let below = self.below.ready_at();
        below.into_iter().for_each(|fd| self.watch.add(fd));
        let tells = below.is_some();
        self.frames.fds().for_each(|fd| self.watch.add(fd));
        self.watch.wait(longest);
        if self.watch.is_ready(0) {
            self.bell.silence();
        }
        self.bell.is_awake();
        // It is asked for what it has, or where it cannot say.
        if !tells || self.watch.is_ready(1) {
            self.below_turns.ask_next();
        }
    }

    /// Packets that wait at our sockets; from each in turn, until the batch is full.
    fn receive_here(&mut self, batch: &mut Batch) -> bool {
        let places = self.frames.places() as u16;
        let mut any = false;
        for step in 0..places {
            let place = ((u16::from(self.first) + step) % places) as u8;
            let waiting = self.frames.look(place);
            if waiting > 0 {
                any = true;
                self.receive_at(place, batch);
                self.frames.release(place);
            }
        }
        if any {
            self.first = ((u16::from(self.first) + 1) % places.max(1)) as u8;
        }
        any
    }

    fn receive_at(&mut self, place: u8, batch: &mut Batch) {
        (0..AHEAD).for_each(|ahead| self.frames.prefetch(place, ahead));
        while let Some(packet) = batch.spare()
            && let Some(arrived) = self.frames.next(place)
        {
            self.frames.prefetch(place, AHEAD);
            if self.take_in(arrived, packet).is_some() {
                batch.take();
            } else {
                self.frames.drop_frame(arrived.frame, arrived.mode);
                self.faults.receive += 1;
            }
        }
    }

    /// Has a packet be the one that has arrived; `None` where that is not one for us.
    #[inline]
    fn take_in(&mut self, arrived: Arrived, packet: &mut Packet) -> Option<()> {
        let parsed = wire::parse(self.frames.octets(arrived)?)?;
        packet.port = self.attached.port_of(&parsed.to, &self.ports)?;
        let slot = self.frames.slot(arrived, parsed.payload.start)?;
        // SAFETY: the frame is in hand: the kernel does not have it, and it goes back only when
        // the packet has gone home (`send`).
        unsafe { packet.lend(slot) };
        packet.slot_mut().set_len(parsed.payload.len());
        packet.cut = parsed.payload.len() > media::packet::PACKET_MAX;
        packet.peer = parsed.from;
        packet.send = false;
        Some(())
    }
}

impl Port {
    /// The way to a far side, found anew where it may have changed.
    #[inline]
    fn way_to(&mut self, to: &SocketAddr, epoch: u32, find: impl FnOnce(u8) -> Way) -> &Way {
        if self.epoch != epoch || self.to != *to {
            let way = find(self.dscp);
            (self.to, self.epoch, self.way) = (*to, epoch, way);
        }
        &self.way
    }
}

/// Slow: it asks the kernel where it was not asked before.
#[cold]
fn way_out(
    routes: &mut Routes,
    attached: &Attached,
    frames: &Frames,
    port: (PortId, u8),
    to: &SocketAddr,
) -> Way {
    let (PortId { address, number }, dscp) = port;
    let Some(ip) = attached.ip_of(address) else { return Way::Below(Why::Silent) };
    match routes.hop(ip, to.ip()) {
        Hop::Ready(link) if link.loopback => Way::Below(Why::Local),
        Hop::Ready(link) => {
            let from = SocketAddr::new(link.from, number);
            let template = Template::new(Some(&link), from, *to, dscp);
            let place = attached.sender(link.interface, frames);
            match template.zip(place) {
                Some((template, place)) => {
                    let payload_max = link.mtu.saturating_sub(wire::overhead(*to));
                    Way::Ring { place, template, payload_max }
                }
                None => Way::Below(Why::NoSocket(link.interface)),
            }
        }
        Hop::Asking(_) | Hop::Unreachable => Way::Below(Why::Unknown),
    }
}

impl PacketIo for Xdp {
    fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()> {
        self.below.open(port, at, dscp)?;
        let way = Way::Below(Why::Silent);
        self.ports.set(port, Some(Port { dscp, to: at, epoch: 0, way }));
        if self.attached.add(Bound { ip: at.ip(), address: port.address }) {
            self.attach();
        }
        Ok(())
    }

    fn close(&mut self, port: PortId) {
        self.below.close(port);
        if self.ports.get(port).is_some() {
            self.ports.set(port, None);
            self.attached.remove(port.address);
        }
    }

    fn receive(&mut self, batch: &mut Batch) -> bool {
        self.frames.turn();
        if self.frames.unkicked() {
            self.frames.kick();
        }
        if let Some(turns) = &mut self.look_in {
            *turns = turns.saturating_sub(1);
            if *turns == 0 {
                self.follow();
            }
        }
        if self.below_turns.due() {
            let more = self.below.receive(batch);
            if self.below.routes().generation() != self.generation {
                self.follow();
            }
            self.below_turns.asked(!batch.packets().is_empty(), more);
            if more {
                return true;
            }
        }
        let any = self.receive_here(batch);
        self.below_turns.passed();
        any || self.below_turns.more
    }

    fn send(&mut self, batch: &mut Batch) {
        let Self { below, ports, frames, attached, epoch, ip_id, .. } = self;
        let routes = below.routes();
        let mut some_below = false;
        batch.packets().iter().for_each(|packet| ports.prefetch(packet.port));
        for packet in batch.packets_mut() {
            if !packet.send {
                if let Some(slot) = packet.take_home() {
                    frames.drop_slot(slot);
                }
                continue;
            }
            let (to, len) = (&packet.peer, packet.slot().len());
            let id = packet.port;
            let way = ports.get_mut(id).map(|port| {
                let find = |dscp| way_out(routes, attached, frames, (id, dscp), to);
                port.way_to(to, *epoch, find)
            });
            match way {
                Some(Way::Ring { place, template, payload_max })
                    if len <= usize::from(*payload_max) =>
                {
                    *ip_id = ip_id.wrapping_add(1);
                    frames.send(*place, template, *ip_id, packet);
                    packet.send = false;
                }
                _ => some_below = true,
            }
        }
        self.frames.kick();
        if some_below {
            self.below.send(batch);
            for packet in batch.packets_mut() {
                if let Some(slot) = packet.take_home() {
                    self.frames.drop_slot(slot);
                }
            }
        }
        if self.look_in.is_none() && self.frames.any_broken() {
            self.look_in = Some(BROKEN_TURNS);
        }
    }

    fn await_ring(&mut self) {
        self.below.await_ring();
    }

    fn wait(&mut self) {
        self.wait_for(None);
    }

    fn wait_at_most(&mut self, longest: Duration) {
        // What the kernel could not take is offered again in the next turn.
        let longest = if self.frames.unkicked() { longest.min(TICK) } else { longest };
        self.wait_for(Some(longest));
    }

    fn check(&mut self) {
        self.below.check();
        self.follow();
    }

    fn look_around(&mut self) {
        self.below.look_around();
        self.follow();
        self.thrown_away = self.frames.look_around();
        self.astray = self.attached.astray();
    }

    fn carries(&self, port: PortId) -> Carried {
        let by = self.datapath(port);
        let Some(ip) = self.ports.get(port).and_then(|_| self.attached.ip_of(port.address)) else {
            return self.below.carries(port);
        };
        let why_not_faster = match self.way_of(port) {
            Way::Ring { place, .. } => self.attached.why_not_faster(*place).into(),
            Way::Below(Why::Silent) => match self.attached.why_not(ip) {
                None => "nothing has left from there yet".into(),
                Some(why) => why.into(),
            },
            Way::Below(Why::Local) => "the far side is on this host".into(),
            Way::Below(Why::Unknown) => "the neighbour is not known, or there is no way".into(),
            Way::Below(Why::NoSocket(interface)) => self.attached.why_not_on(*interface).into(),
        };
        Carried { by, why_not_faster }
    }

    fn datapath(&self, port: PortId) -> Datapath {
        match self.way_of(port) {
            Way::Ring { .. } => Datapath::Xdp,
            Way::Below(Why::Silent) if self.takes(port) => Datapath::Xdp,
            Way::Below(_) => self.below.datapath(port),
        }
    }

    fn lost(&self) -> Option<String> {
        self.below.lost()
    }

    fn turned(&mut self) -> Option<Turn> {
        match self.attached.turned()? {
            Ok(()) => Some(Turn::Regained { by: Datapath::Xdp }),
            Err(why) => Some(Turn::Lost { to: Datapath::Steer, why }),
        }
    }

    fn faults(&self) -> Faults {
        let receive = self.faults.receive + self.thrown_away;
        let faults = Faults { receive, send: self.frames.unsent, astray: self.astray };
        faults.and(self.below.faults())
    }
}

/// When the engine below is asked for packets: that costs a system call, and few come there. As long as
/// some do it is asked in each turn.
#[derive(Debug, Default)]
struct BelowTurns {
    /// Turns since it was asked.
    since: u8,
    /// Turns for which it is asked in each.
    eager: u8,
    /// It had more than a batch.
    more: bool,
}

impl BelowTurns {
    fn due(&self) -> bool {
        self.since >= BELOW_EVERY || self.eager > 0 && self.since > 0
    }

    fn asked(&mut self, heard: bool, more: bool) {
        (self.since, self.more) = (0, more);
        self.eager = if heard { EAGER_TURNS } else { self.eager.saturating_sub(1) };
    }

    fn passed(&mut self) {
        self.since = self.since.saturating_add(1);
    }

    fn ask_next(&mut self) {
        self.since = BELOW_EVERY;
    }
}

/// Packets whose first octets are fetched before they are looked at.
const AHEAD: u32 = 4;
/// Turns (of half a millisecond, or of a batch) after which the engine below is asked though it has
/// been silent.
const BELOW_EVERY: u8 = 8;
/// Turns without a packet until it counts as silent: longer than the 20 ms between two packets of a voice.
const EAGER_TURNS: u8 = 100;
/// Turns after which an interface is looked at that refuses packets.
const BROKEN_TURNS: u16 = 32;

#[cfg(test)]
mod tests;
