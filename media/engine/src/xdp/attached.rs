//! Which interfaces have AF_XDP sockets: those that have an address for ports, as long as they are there.

mod opening;

use super::frames::Frames;
use super::interface::{self, Interface, interfaces_with, stands_for};
use super::rules::Laid;
use super::socket::Mode;
use super::{Part, Port};
use crate::batch::PortId;
use crate::by_port::ByPort;
use crate::kernel::{Kernel, Queue};
use crate::routes::Routes;
pub(crate) use opening::NOT_NATIVE;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a worker has of the host's interfaces.
#[derive(Debug)]
pub(super) struct Attached {
    kernel: Arc<Mutex<Kernel>>,
    part: Part,
    /// Addresses with ports, and how many.
    bound: Vec<(Bound, usize)>,
    /// Destinations of packets and the address that has them: each one's own, or for a wildcard all
    /// that the host has.
    pub(super) locals: Vec<(IpAddr, u16)>,
    interfaces: Vec<Watched>,
    /// Addresses of the host, and the interface that has their frames.
    homes: Vec<(IpAddr, u32)>,
    /// Queues that the kernel knows to be ours.
    queues: Vec<Queue>,
    /// Interfaces that had sockets and have none, until they have again: by name, as one that comes back
    /// may be another by number.
    lost: Vec<String>,
    /// What has become of them that nobody was told yet.
    turned: Option<Result<(), String>>,
    /// Somebody was told that one is lost, and not yet that all are there.
    loss_told: bool,
}

/// An address that ports are bound on, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) ip: IpAddr,
    pub(super) address: u16,
}

/// An interface that was looked at.
#[derive(Debug)]
struct Watched {
    index: u32,
    name: String,
    /// Its queues when it was looked at.
    queues: (u32, u32),
    /// Our sockets there, or why there are none.
    sockets: Result<Sockets, NoSockets>,
}

/// Why an interface has no sockets of ours.
#[derive(Debug, PartialEq, Eq)]
struct NoSockets {
    why: String,
    then: Then,
}

/// When an interface without sockets is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// When something about interfaces or addresses has changed.
    Change,
    /// At the next look: the kernel gives a queue up a while after its socket is closed.
    Look,
    /// Not as long as it is there: whoever takes the program away does not want it.
    Never,
}

impl NoSockets {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), then: Then::Change }
    }
}

#[derive(Debug)]
struct Sockets {
    /// Its driver runs the program.
    native: bool,
    mode: Mode,
    places: Vec<u8>,
    /// Queues that somebody else has: the kernel gives one up a while after its socket is closed.
    missing: Vec<Queue>,
    /// Transmit queues; a socket at one beyond them cannot send.
    senders: u32,
    /// What brings our ports to our queue, where several workers have queues and the card can be told.
    rules: Option<Laid>,
}

impl Attached {
    pub(super) const fn new(kernel: Arc<Mutex<Kernel>>, part: Part) -> Self {
        Self {
            kernel,
            part,
            bound: Vec::new(),
            locals: Vec::new(),
            interfaces: Vec::new(),
            homes: Vec::new(),
            queues: Vec::new(),
            lost: Vec::new(),
            turned: None,
            loss_told: false,
        }
    }

    /// One more port on an address; says whether it is the first.
    pub(super) fn add(&mut self, bound: Bound) -> bool {
        match self.bound.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, ports)) => {
                *ports += 1;
                false
            }
            None => {
                self.bound.push((bound, 1));
                true
            }
        }
    }

    /// One port less.
    pub(super) fn remove(&mut self, address: u16) {
        let Some((_, ports)) = self.bound.iter_mut().find(|(known, _)| known.address == address)
        else {
            return;
        };
        *ports -= 1;
        if *ports == 0 {
            self.bound.retain(|(_, ports)| *ports > 0);
            self.locals.retain(|(_, known)| *known != address);
        }
    }

    /// The address with this index, which has ports.
    pub(super) fn ip_of(&self, address: u16) -> Option<IpAddr> {
        let mut bound = self.bound.iter().map(|(bound, _)| bound);
        bound.find(|bound| bound.address == address).map(|bound| bound.ip)
    }

    /// The port that a packet is for. Where there is no choice it is not looked at: it is in no cache, and
    /// whose it is others know.
    pub(super) fn port_of(&self, to: &SocketAddr, ports: &ByPort<Port>) -> Option<PortId> {
        let of_ip = self.locals.iter().filter(|(ip, _)| *ip == to.ip());
        let mut of_port = of_ip.map(|(_, address)| PortId { address: *address, number: to.port() });
        let first = of_port.next()?;
        match of_port.next() {
            None => Some(first),
            Some(second) => {
                let mut all = [first, second].into_iter().chain(of_port);
                all.find(|port| ports.get(*port).is_some())
            }
        }
    }

    /// Where packets leave by an interface.
    pub(super) fn sender(&self, interface: u32, frames: &Frames) -> Option<u8> {
        let watched = self.interfaces.iter().find(|watched| watched.index == interface)?;
        let sockets = watched.sockets.as_ref().ok()?;
        let can = |place: &u8| {
            frames.socket(*place).is_some_and(|socket| socket.queue.number < sockets.senders)
        };
        sockets.places.iter().copied().find(can)
    }

    /// Sees what has become of the interfaces, and of the addresses if they may have changed; says
    /// whether ways out may have.
    pub(super) fn look(&mut self, frames: &mut Frames, routes: &Routes, addresses: bool) -> bool {
        let mut changed = false;
        let mut at = 0;
        while let Some(watched) = self.interfaces.get(at) {
            match self.end_of(watched, frames) {
                None => at += 1,
                Some(no) => {
                    let watched = self.interfaces.swap_remove(at);
                    self.close(watched, no, frames);
                    changed = true;
                }
            }
        }
        changed |= self.open_given_up(frames);
        if addresses {
            self.follow_addresses(routes);
        }
        let again =
            |watched: &Watched| watched.sockets.as_ref().is_err_and(|no| no.then == Then::Look);
        if addresses || self.interfaces.iter().any(again) {
            changed |= self.open_all(frames, routes);
        }
        changed
    }

    /// Why the sockets of an interface can be used no more.
    fn end_of(&self, watched: &Watched, frames: &Frames) -> Option<NoSockets> {
        let Ok(sockets) = &watched.sockets else { return None };
        match interface::look_at(watched.index) {
            Err(error) => return Some(NoSockets::new(format!("it is gone ({error})"))),
            Ok(Interface { up: false, .. }) => return Some(NoSockets::new("it is down")),
            Ok(now) if now.queues != watched.queues => {
                let ((before, _), (now, _)) = (watched.queues, now.queues);
                let why = format!("it has {now} queues, and had {before}");
                return Some(NoSockets { why, then: Then::Look });
            }
            Ok(_) => {}
        }
        if !self.kernel().has_program(watched.index) {
            let why = "its XDP program was taken away, which takes a restart".to_owned();
            return Some(NoSockets { why, then: Then::Never });
        }
        let broken = sockets.places.iter().find_map(|place| frames.broken(*place))?;
        let why = format!("its socket fails: {broken}");
        Some(NoSockets { why, then: Then::Look })
    }

    fn follow_addresses(&mut self, routes: &Routes) {
        let Self { kernel, bound, locals, homes, .. } = self;
        let framed = |(local, index): &(IpAddr, u32)| (*local, interface::framed_by(*index));
        *homes = routes.local().iter().map(framed).collect();
        locals.clear();
        let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
        for (Bound { ip, address }, _) in bound {
            if !ip.is_unspecified() {
                locals.push((*ip, *address));
                continue;
            }
            let is_there = |local| {
                let mut all = routes.local().iter();
                all.any(|(there, _)| *there == local && stands_for(*ip, local))
            };
            kernel.keep_aliases(*ip, is_there);
            for (local, _) in routes.local().iter().filter(|(local, _)| stands_for(*ip, *local)) {
                match kernel.alias(*ip, *local) {
                    Ok(()) => locals.push((*local, *address)),
                    Err(error) => tracing::warn!(%local, %error, "not an address of AF_XDP"),
                }
            }
        }
    }

    /// Puts sockets where addresses for ports are and none were; says whether there are any more.
    fn open_all(&mut self, frames: &mut Frames, routes: &Routes) -> bool {
        let wanted = interfaces_with(routes, |local| {
            let mut here =
                self.part.media.iter().copied().chain(self.bound.iter().map(|it| it.0.ip));
            here.any(|ip| ip == local || stands_for(ip, local))
        });
        let mut changed = false;
        for index in wanted {
            let known = self.interfaces.iter().position(|watched| watched.index == index);
            let known = known.map(|known| self.interfaces.swap_remove(known));
            let settled = |known: &Watched| {
                known.sockets.as_ref().err().is_none_or(|no| no.then == Then::Never)
            };
            if known.as_ref().is_some_and(settled) {
                self.interfaces.extend(known);
                continue;
            }
            let watched = self.open_one(frames, routes, index);
            let (interface, worker) = (&watched.name, self.part.worker);
            match (&watched.sockets, known.map(|known| known.sockets)) {
                (Ok(sockets), _) => {
                    changed = true;
                    tracing::info!(interface, worker, "AF_XDP: {sockets}");
                    let lost = self.lost.len();
                    self.lost.retain(|lost| lost != interface);
                    if lost > 0 && self.lost.is_empty() {
                        // What was back before anybody was told never was away.
                        self.turned = self.loss_told.then_some(Ok(()));
                    }
                }
                (Err(no), Some(Err(before))) if *no == before => {}
                (Err(NoSockets { why, .. }), _) => {
                    tracing::warn!(interface, worker, why, "no AF_XDP: {GO_BELOW}");
                }
            }
            self.interfaces.push(watched);
        }
        changed
    }

    fn close(&mut self, watched: Watched, no: NoSockets, frames: &mut Frames) {
        if let Ok(sockets) = watched.sockets {
            let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
            for place in sockets.places {
                if let Some(queue) = frames.close(place) {
                    kernel.leave_queue(queue);
                    self.queues.retain(|known| *known != queue);
                }
            }
            drop(kernel);
            let (interface, worker, why) = (&watched.name, self.part.worker, &no.why);
            tracing::warn!(interface, worker, why, "AF_XDP has ended: {GO_BELOW}");
            self.turned = Some(Err(format!("{interface}: {why}")));
            if !self.lost.contains(interface) {
                self.lost.push(interface.clone());
            }
        }
        self.interfaces.push(Watched { sockets: Err(no), ..watched });
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is faster than the socket at this place; empty where nothing is.
    pub(super) fn why_not_faster(&self, place: u8) -> &'static str {
        let opened = self.interfaces.iter().filter_map(|watched| watched.sockets.as_ref().ok());
        let mut of_place = opened.filter(|sockets| sockets.places.contains(&place));
        match of_place.next().map(|sockets| (sockets.mode, sockets.native)) {
            Some((Mode::ZeroCopy, _)) | None => "",
            Some((Mode::Copy, true)) => "the driver has no zero-copy: the kernel copies",
            Some((Mode::Copy, false)) => {
                "the driver runs no XDP program: the stack does, and copies"
            }
        }
    }

    /// Interfaces that have lost their sockets since this was last asked, or that all have them again.
    pub(super) fn turned(&mut self) -> Option<Result<(), String>> {
        let turned = self.turned.take()?;
        self.loss_told = turned.is_err();
        Some(turned)
    }

    /// Packets that came in elsewhere than at a queue of ours.
    pub(super) fn astray(&self) -> u64 {
        self.kernel().astray(self.part.worker)
    }

    /// Whether packets to an address come here.
    pub(super) fn takes(&self, ip: IpAddr) -> bool {
        self.with(ip).any(|watched| watched.sockets.is_ok())
    }

    /// Why packets to an address do not come here, if they do not.
    pub(super) fn why_not(&self, ip: IpAddr) -> Option<String> {
        if self.takes(ip) {
            return None;
        }
        let mut errors = self.with(ip).filter_map(|watched| {
            watched.sockets.as_ref().err().map(|no| format!("{}: {}", watched.name, no.why))
        });
        Some(errors.next_back().unwrap_or_else(|| format!("no interface has {ip}")))
    }

    /// The interfaces that have an address.
    fn with(&self, ip: IpAddr) -> impl DoubleEndedIterator<Item = &Watched> {
        let has = move |index| {
            let mut homes = self.homes.iter().filter(move |(_, home)| *home == index);
            homes.any(|(local, _)| ip == *local || stands_for(ip, *local))
        };
        self.interfaces.iter().filter(move |watched| has(watched.index))
    }

    /// Why packets do not leave by an interface here.
    pub(super) fn why_not_on(&self, interface: u32) -> String {
        match self.interfaces.iter().find(|watched| watched.index == interface) {
            Some(Watched { name, sockets: Err(no), .. }) => format!("{name}: {}", no.why),
            Some(Watched { name, .. }) => format!("{name}: no queue of this worker sends"),
            None => format!("interface {interface} has no media address"),
        }
    }
}

impl Drop for Attached {
    /// Sockets end with the frames; what the kernel knows of them would stay.
    fn drop(&mut self) {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in self.queues.drain(..) {
            kernel.leave_queue(queue);
        }
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Copy => "copy",
            Mode::ZeroCopy => "zero-copy",
        };
        let place = if self.native { "in the driver" } else { "generic" };
        write!(f, "{mode} mode, {place}, {} queues", self.places.len())
    }
}

const GO_BELOW: &str = "the packets of this interface go by the engine below";
