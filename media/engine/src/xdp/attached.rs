//! Which interfaces have AF_XDP sockets: those that have an address with ports, as long as they are there.

use super::Port;
use super::frames::Frames;
use super::interface::{self, Interface};
use super::socket::Mode;
use crate::batch::PortId;
use crate::by_port::ByPort;
use crate::kernel::{Kernel, Queue};
use crate::routes::Routes;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a worker has of the host's interfaces.
#[derive(Debug)]
pub(super) struct Attached {
    kernel: Arc<Mutex<Kernel>>,
    worker: usize,
    workers: usize,
    /// Addresses with ports, and how many.
    bound: Vec<(Bound, usize)>,
    /// Destinations of packets and the address that has them: each one's own, or for a wildcard all
    /// that the host has.
    locals: Vec<(IpAddr, u16)>,
    interfaces: Vec<Watched>,
    /// Queues that the kernel knows to be ours.
    queues: Vec<Queue>,
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
    /// When something about interfaces, addresses or routes has changed.
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
    /// Transmit queues; a socket at one beyond them cannot send.
    senders: u32,
}

impl Attached {
    pub(super) const fn new(kernel: Arc<Mutex<Kernel>>, worker: usize, workers: usize) -> Self {
        Self {
            kernel,
            worker,
            workers,
            bound: Vec::new(),
            locals: Vec::new(),
            interfaces: Vec::new(),
            queues: Vec::new(),
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
        match interface::is_up(watched.index) {
            Err(error) => return Some(NoSockets::new(format!("it is gone ({error})"))),
            Ok(false) => return Some(NoSockets::new("it is down")),
            Ok(true) => {}
        }
        if !self.kernel().has_program(watched.index) {
            let why = "its XDP program was taken away".to_owned();
            return Some(NoSockets { why, then: Then::Never });
        }
        let broken = sockets.places.iter().find_map(|place| frames.broken(*place))?;
        let why = format!("its socket fails: {broken}");
        Some(NoSockets { why, then: Then::Look })
    }

    fn follow_addresses(&mut self, routes: &Routes) {
        let Self { kernel, bound, locals, .. } = self;
        locals.clear();
        let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
        for (Bound { ip, address }, _) in bound {
            if !ip.is_unspecified() {
                locals.push((*ip, *address));
                continue;
            }
            for (local, _) in routes.local().iter().filter(|(local, _)| stands_for(*ip, *local)) {
                match kernel.alias(*ip, *local) {
                    Ok(()) => locals.push((*local, *address)),
                    Err(error) => tracing::warn!(%local, %error, "not an address of AF_XDP"),
                }
            }
        }
    }

    /// Puts sockets where addresses with ports are and none were; says whether there are any more.
    fn open_all(&mut self, frames: &mut Frames, routes: &Routes) -> bool {
        let mut wanted: Vec<u32> = Vec::new();
        for (local, index) in routes.local() {
            let has = |ip: IpAddr| ip == *local || stands_for(ip, *local);
            if self.bound.iter().any(|(bound, _)| has(bound.ip)) {
                // Tagged frames are the parent's.
                let parent = interface::look_at(*index).ok().and_then(|found| found.parent);
                wanted.push(parent.unwrap_or(*index));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
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
            let watched = self.open_one(frames, index);
            let (interface, worker) = (&watched.name, self.worker);
            match (&watched.sockets, known.map(|known| known.sockets)) {
                (Ok(sockets), _) => {
                    changed = true;
                    tracing::info!(interface, worker, "AF_XDP: {sockets}");
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

    fn open_one(&mut self, frames: &mut Frames, index: u32) -> Watched {
        let found = interface::look_at(index);
        let name = found.as_ref().map_or_else(|_| index.to_string(), |found| found.name.clone());
        let sockets = match found {
            Err(error) => Err(NoSockets::new(error.to_string())),
            Ok(Interface { up: false, .. }) => Err(NoSockets::new("it is down")),
            Ok(found) => self.open_queues(frames, index, &found),
        };
        Watched { index, name, sockets }
    }

    /// Sockets at this worker's queues: of several workers each has every so-manieth.
    fn open_queues(
        &mut self,
        frames: &mut Frames,
        index: u32,
        found: &Interface,
    ) -> Result<Sockets, NoSockets> {
        let (receivers, senders) = found.queues;
        let ours = (self.worker as u32..receivers).step_by(self.workers.max(1));
        if ours.len() == 0 {
            let why = format!("it has {receivers} queues for {} workers", self.workers);
            return Err(NoSockets::new(why));
        }
        let native = self.kernel().watch(index);
        let native = native.map_err(|error| NoSockets::new(error.to_string()))?;
        let mut sockets = Sockets { native, mode: Mode::Copy, places: Vec::new(), senders };
        let mut modes = [Mode::ZeroCopy, Mode::Copy].as_slice();
        if !native {
            modes = &[Mode::Copy];
        }
        let mut no = NoSockets::new("");
        for number in ours {
            let queue = Queue { interface: index, number };
            let opened = modes.iter().find_map(|mode| match frames.open(queue, *mode) {
                Ok(place) => Some((place, *mode)),
                Err(error) => {
                    no.why = format!("queue {number}: {error}");
                    if error.kind() == ErrorKind::ResourceBusy {
                        no.then = Then::Look;
                    }
                    None
                }
            });
            let Some((place, mode)) = opened else { continue };
            // All queues of an interface alike: the first one has tried.
            (sockets.mode, modes) = (mode, if mode == Mode::Copy { &[Mode::Copy] } else { modes });
            let taken = frames.socket(place).map(|socket| {
                let mut kernel = self.kernel();
                kernel.set_queue(queue, self.worker, socket.fd())
            });
            match taken {
                Some(Ok(())) => {
                    self.queues.push(queue);
                    sockets.places.push(place);
                }
                Some(Err(error)) => {
                    no.why = format!("queue {number}: {error}");
                    frames.close(place);
                }
                None => {}
            }
        }
        if sockets.places.is_empty() {
            return Err(no);
        }
        if !no.why.is_empty() {
            tracing::warn!(interface = found.name, why = no.why, "a queue without AF_XDP");
        }
        Ok(sockets)
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
            let (interface, worker, why) = (&watched.name, self.worker, &no.why);
            tracing::warn!(interface, worker, why, "AF_XDP has ended: {GO_BELOW}");
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

    /// Whether any interface has sockets.
    pub(super) fn any(&self) -> bool {
        self.interfaces.iter().any(|watched| watched.sockets.is_ok())
    }

    /// Why packets to an address do not come here, if they do not.
    pub(super) fn why_not(&self, ip: IpAddr) -> Option<String> {
        if self.any() {
            return None;
        }
        let mut errors = self.interfaces.iter().filter_map(|watched| {
            watched.sockets.as_ref().err().map(|no| format!("{}: {}", watched.name, no.why))
        });
        Some(errors.next_back().unwrap_or_else(|| format!("no interface has {ip}")))
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

/// Whether a wildcard stands for this address of the host, too: not for the loopback, and not for
/// addresses of one link, which say nothing without their interface.
fn stands_for(wildcard: IpAddr, local: IpAddr) -> bool {
    let of_link = matches!(local, IpAddr::V6(local) if local.is_unicast_link_local());
    wildcard.is_unspecified()
        && wildcard.is_ipv4() == local.is_ipv4()
        && !local.is_loopback()
        && !of_link
}
