//! Flows with nothing to encrypt leave for the kernel, and come back when anything changes.
//!
//! ```text
//!  calls ──▶ offloadable? ──▶ a slot, the way in and the way out ──▶ rules ──▶ port → slot ─┐
//!    ▲                                                                                     ▼
//!    └── every packet's header, read twice a second or before a call is told anything ◀── program
//! ```
//!
//! One per worker, with slots of its own. All of it happens between batches, a bounded number of flows at
//! a time.

mod device;
mod shared;

pub(crate) use device::Drivers;
pub(crate) use shared::{FLOWS_MAX, Hook, Region};

use crate::datapath::Datapath;
use crate::kernel::{Kernel, KernelError};
use crate::routes::{Hop, Link, Routes};
use crate::wire::Template;
use crate::{MediaId, sys};
use media::{Flow, Now, Side};
use shared::{Anchor, Exit, LOG, Rules, Taken};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a slot is let be after its flow was turned off: whatever program is at it has long ended, even
/// on a virtual machine whose processor was taken away in the middle of it.
const GRACE: Duration = Duration::from_secs(1);
/// How often each flow is read, where packets come every 20 ms: before its log is half full.
const READ_EVERY: Duration = Duration::from_millis(500);
/// The same where they come as fast as can be.
const READ_EVERY_MIN: Duration = Duration::from_millis(5);
/// Flows that are read in one turn at most, a few dozen packets each.
const READS_PER_TURN: usize = 512;
/// Flows that are worth waking up for to be read.
const READS_AT_ONCE: u32 = 64;
/// How long it may be until changes of routes are heard of.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Flows whose way is asked for in one turn, after routes have changed.
const WAYS_PER_TURN: usize = 256;
/// Looks around, one a second, for which it holds what a driver can do.
const EXITS_FOR: u8 = 10;
/// The driver of virtual cables.
const VETH: &str = "veth";
/// The driver of several interfaces as one: a program on it is told of that one of them which a packet came
/// in by.
const BONDING: &str = "bonding";
/// Packets of a flow that come up one after the other while none goes by: it is not where it was looked
/// for.
const ASTRAY: u32 = 32;

/// A flow that the kernel forwards.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Whose it is: its place in the worker's table and its name.
    pub(crate) call: u32,
    pub(crate) id: MediaId,
    pub(crate) side: Side,
    pub(crate) flow: Flow,
    slot: u32,
    exit: Exit,
    /// Where it comes in, as its far side knows it.
    at: SocketAddr,
    ends: Ends,
    ways: Ways,
    /// The number of the next packet that is to be read.
    next: u32,
    astray: u32,
}

/// The two ports of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Where it comes in, perhaps a wildcard.
    pub(crate) comes: SocketAddr,
    /// Where it leaves from, perhaps a wildcard.
    pub(crate) goes: SocketAddr,
    pub(crate) dscp: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways {
    comes: Link,
    goes: Link,
}

/// The flows of one worker.
#[derive(Debug)]
pub(crate) struct Offload {
    kernel: Arc<Mutex<Kernel>>,
    region: Arc<Region>,
    anchor: Anchor,
    routes: Routes,
    drivers: Option<Drivers>,
    /// Drivers do not take packets from the one to the other: that is not tried twice.
    unfit: HashSet<(u32, u32)>,
    /// How flows leave that come in by one device and go by another, as it was found out last.
    exits: HashMap<(u32, u32), Known>,
    /// The layout of interfaces that `exits` go with, and looks around for which they still do.
    layout: u32,
    looks: u8,
    /// The generation of the routes that all flows have their ways by, or are asked in.
    generation: u32,
    installed: Vec<Installed>,
    /// The place of each slot's flow among those that are installed.
    places: Box<[u32]>,
    first: u32,
    /// The one that was let go first is taken first: a packet that a program still had in hand would leave
    /// as another call's.
    free: VecDeque<u32>,
    /// Turned off, with what they may yet have written down.
    leaving: VecDeque<(Instant, Installed)>,
    /// The place of the flow that is read next.
    next_read: usize,
    /// Flows that are still to be asked for their way: the last of them first, as a flow that is let go has
    /// the very last one take its place.
    ways_left: usize,
    read_every: Duration,
    /// The most that was in a log since the last round began.
    fullest: u32,
}

/// How flows leave between two devices, or why they do not.
#[derive(Clone, Copy, Debug)]
struct Known {
    exit: Result<Exit, Why>,
    /// It is up to the other end of a cable as well, which may change its mind without a word.
    by_cable: bool,
}

/// Why a flow cannot go to the kernel now.
pub(crate) type Why = &'static str;

impl Offload {
    /// Of a worker, from 0, out of so many.
    pub(crate) fn new(
        kernel: Arc<Mutex<Kernel>>,
        region: Arc<Region>,
        (worker, workers): (usize, usize),
    ) -> Result<Self, KernelError> {
        let share = FLOWS_MAX / u32::try_from(workers.max(1)).unwrap_or(FLOWS_MAX);
        let first = share * u32::try_from(worker).unwrap_or(0);
        let routes = Routes::new()?;
        Ok(Self {
            kernel,
            region,
            anchor: Anchor::new(),
            layout: routes.layout(),
            looks: 0,
            generation: routes.generation(),
            routes,
            drivers: Drivers::new().ok(),
            unfit: HashSet::new(),
            exits: HashMap::new(),
            installed: Vec::new(),
            places: vec![0; share as usize].into(),
            first,
            free: (first..first + share).collect(),
            leaving: VecDeque::new(),
            next_read: 0,
            ways_left: 0,
            read_every: READ_EVERY,
            fullest: 0,
        })
    }

    /// Has the kernel forward a flow from now on; its slot, or why not.
    pub(crate) fn take_in(
        &mut self,
        (call, id, side): (u32, MediaId, Side),
        flow: Flow,
        ends: Ends,
    ) -> Result<u32, Why> {
        let ways = self.ways_of(&flow, ends)?;
        let at = SocketAddr::new(ways.comes.from, ends.comes.port());
        let from = SocketAddr::new(ways.goes.from, ends.goes.port());
        // What leaves by the device of a VLAN gets its tag there.
        let link = Link { vlan: None, ..ways.goes };
        let template = Template::new(Some(&link), from, flow.to, ends.dscp);
        let template = template.ok_or("one leg is IPv4 and the other IPv6")?;
        if at.is_ipv4() != flow.from.is_ipv4() || flow.from.is_ipv4() != flow.to.is_ipv4() {
            return Err("one leg is IPv4 and the other IPv6");
        }
        let slot = *self.free.front().ok_or("the kernel has as many flows as it may")?;
        let exit = self.exit(&ways)?;
        let rules = Rules::new(&flow, (at, ways.comes.device), &template, exit);
        let next = self.region.set(slot, &rules, exit.hook);
        if self.kernel().take_flow(at, slot).is_err() {
            self.region.clear(slot);
            return Err("the kernel has no room for another address");
        }
        self.free.pop_front();
        self.places[(slot - self.first) as usize] = self.installed.len() as u32;
        self.installed.push(Installed {
            call,
            id,
            side,
            flow,
            slot,
            exit,
            at,
            ends,
            ways,
            next,
            astray: 0,
        });
        Ok(slot)
    }

    /// Has its packets come up from now on.
    pub(crate) fn stop(&self, slot: u32) {
        self.region.clear(slot);
    }

    /// Gives up a flow that was stopped and has been read since; once more when [`Self::left`] brings it.
    pub(crate) fn let_go(&mut self, slot: u32, now: Instant) {
        let Some(place) = self.place_of(slot) else { return };
        let gone = self.installed.swap_remove(place);
        if let Some(moved) = self.installed.get(place) {
            self.places[(moved.slot - self.first) as usize] = place as u32;
        }
        self.kernel().leave_flow(gone.at);
        self.leaving.push_back((now + GRACE, gone));
    }

    /// A flow that was let go, long enough ago that nobody is at it any more, with the last that it wrote
    /// down; its slot is free again.
    pub(crate) fn left(&mut self, now: Now, read: impl FnOnce(&Installed, Taken<'_>)) -> bool {
        if self.leaving.front().is_none_or(|(at, _)| *at > now.mono) {
            return false;
        }
        let Some((_, mut gone)) = self.leaving.pop_front() else { return false };
        let mut next = gone.next;
        read(&gone, self.region.take(gone.slot, &mut next, self.anchor.clock(now.mono)));
        gone.next = next;
        self.free.push_back(gone.slot);
        true
    }

    /// What went by of a flow since it was last read.
    pub(crate) fn read(&mut self, slot: u32, now: Now) -> Option<(&Flow, Taken<'_>)> {
        let place = self.place_of(slot)?;
        let installed = self.installed.get_mut(place)?;
        let taken = self.region.take(slot, &mut installed.next, self.anchor.clock(now.mono));
        let waiting = taken.waiting();
        self.fullest = self.fullest.max(waiting);
        if waiting > 0 {
            installed.astray = 0;
        }
        Some((&installed.flow, taken))
    }

    /// A packet of the flow has come up; whether it is to be let go, as all of them do.
    pub(crate) fn came_up(&mut self, slot: u32) -> bool {
        let place = self.place_of(slot);
        let Some(installed) = place.and_then(|place| self.installed.get_mut(place)) else {
            return false;
        };
        installed.astray += 1;
        installed.astray > ASTRAY
    }

    /// What is installed in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&Installed> {
        self.installed.get(self.place_of(slot)?)
    }

    /// The slots of all that are installed.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.installed.iter().map(|installed| installed.slot)
    }

    pub(crate) fn carries(&self, slot: u32) -> Option<Datapath> {
        Some(match self.at(slot)?.exit.hook {
            Hook::Xdp => Datapath::XdpOffload,
            Hook::Tc => Datapath::TcOffload,
        })
    }

    /// Slots of flows that are to be read now, since so much time has passed.
    pub(crate) fn due_reads(&mut self, passed: Duration, slots: &mut Vec<u32>) {
        let flows = self.installed.len();
        if self.next_read >= flows && flows > 0 {
            // A round is over: so fast do packets come.
            self.next_read = 0;
            self.read_every = match self.fullest {
                full if full > LOG / 2 => (self.read_every / 2).max(READ_EVERY_MIN),
                full if full < LOG / 4 => (self.read_every * 2).min(READ_EVERY),
                _ => self.read_every,
            };
            self.fullest = 0;
        }
        let share = flows as f64 * passed.as_secs_f64() / self.read_every.as_secs_f64();
        let count = (share as usize + 1).min(READS_PER_TURN).min(flows - self.next_read.min(flows));
        slots.clear();
        let next = self.installed.iter().skip(self.next_read).take(count);
        slots.extend(next.map(|installed| installed.slot));
        self.next_read += count;
    }

    /// How long a worker with nothing else to do may sleep; `None`: as long as it likes.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let flows = u32::try_from(self.installed.len()).unwrap_or(u32::MAX);
        let pause = (flows > 0).then(|| self.read_every * READS_AT_ONCE / flows.max(READS_AT_ONCE));
        let grace = (!self.leaving.is_empty()).then_some(GRACE);
        pause.map(|pause| pause.min(PAUSE_MAX)).into_iter().chain(grace).min()
    }

    /// Slots of flows that go another way by now: routes, neighbours or interfaces have changed.
    pub(crate) fn led_astray(&mut self, now: Instant, slots: &mut Vec<u32>) {
        slots.clear();
        self.routes.follow_in_time(now);
        if self.routes.layout() != self.layout {
            self.layout = self.routes.layout();
            self.exits.clear();
            self.kernel().forget_gone();
        }
        if self.routes.generation() != self.generation {
            self.generation = self.routes.generation();
            self.ways_left = self.installed.len();
        }
        let left = self.ways_left.min(self.installed.len());
        self.ways_left = left.saturating_sub(WAYS_PER_TURN);
        for at in (self.ways_left..left).rev() {
            let installed = &self.installed[at];
            let (flow, ends) = (installed.flow.clone(), installed.ends);
            let ways = self.ways_of(&flow, ends);
            let exit = ways.and_then(|ways| self.exit(&ways));
            match ways {
                Ok(ways)
                    if ways == self.installed[at].ways && exit == Ok(self.installed[at].exit) => {}
                _ => slots.push(self.installed[at].slot),
            }
        }
    }

    /// To be called about once a second: the kernel does not notice what flows need of it.
    pub(crate) fn look_around(&mut self) {
        self.routes.confirm();
        // Drivers are asked seldom: whoever does waits for all that is being done to any interface.
        self.looks = (self.looks + 1) % EXITS_FOR;
        let all = self.looks == 0;
        self.exits.retain(|_, known| !all && !known.by_cable);
        if self.ways_left == 0 {
            self.ways_left = self.installed.len();
        }
    }

    fn ways_of(&mut self, flow: &Flow, ends: Ends) -> Result<Ways, Why> {
        let mut way = |from: SocketAddr, to: SocketAddr| match self.routes.hop(from.ip(), to.ip()) {
            Hop::Ready(link) => Ok(link),
            Hop::Asking(_) => {
                Err("the far side's neighbour is not known, or has no Ethernet address")
            }
            Hop::Unreachable => Err("there is no route to the far side"),
        };
        Ok(Ways { comes: way(ends.comes, flow.from)?, goes: way(ends.goes, flow.to)? })
    }

    /// How a flow that goes these ways can leave.
    fn exit(&mut self, ways: &Ways) -> Result<Exit, Why> {
        let Ways { comes, goes } = ways;
        if let Some(Known { exit, .. }) = self.exits.get(&(comes.device, goes.device)) {
            return exit.map(|exit| Exit { mtu: goes.mtu_sure, ..exit });
        }
        let exit = self.find_exit(ways);
        let by_cable = [comes, goes].iter().any(|link| sys::driver_of(link.interface) == VETH);
        self.exits.insert((comes.device, goes.device), Known { exit, by_cable });
        exit
    }

    fn find_exit(&mut self, Ways { comes, goes }: &Ways) -> Result<Exit, Why> {
        // The kernel takes what a program puts on the loopback for a lie, if it says that it is from here.
        if goes.loopback && !comes.loopback {
            return Err("its far side is on this host, and the other one is not");
        }
        // Nobody tells us what the kernel learns of a path: what a narrow one might not take comes up, and goes
        // by who is told.
        let mtu = goes.mtu_sure;
        let plain = [comes, goes].iter().all(|link| link.vlan.is_none() && !link.loopback);
        if plain && self.drives(comes.interface, goes.interface) {
            // One end of a veth sends back only what the other end has a program for, and redirects more.
            let back = sys::driver_of(goes.interface) != VETH;
            return Ok(Exit { hook: Hook::Xdp, interface: goes.interface, mtu, back });
        }
        let exit = Exit { hook: Hook::Tc, interface: goes.device, mtu, back: false };
        // Of a VLAN it is the parent that has AF_XDP.
        let mut kernel = self.kernel();
        if kernel.takes_all(comes.interface) {
            return Err("AF_XDP takes the packets of the interface before tc would");
        }
        let attached = kernel.forward_on(comes.device, Hook::Tc);
        attached.map(|()| exit).map_err(|error| {
            tracing::debug!(%error, interface = comes.device, "no program of tc");
            match error {
                KernelError::TakenAway => "its program was taken away, which takes a restart",
                _ => "no program can be put on the interface (tc: Linux 6.6, CAP_NET_ADMIN)",
            }
        })
    }

    /// Whether drivers take packets from the one interface to the other. They are asked for it then.
    fn drives(&mut self, from: u32, to: u32) -> bool {
        let Some(drivers) = &mut self.drivers else { return false };
        if !drivers.of(from).forwards() || self.unfit.contains(&(from, to)) {
            return false;
        }
        if sys::driver_of(from) == BONDING {
            return false;
        }
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        // The other end of a veth has to take frames. Other drivers send back what they have received, and
        // to others once they have a program themselves.
        let is_veth = sys::driver_of(to) == VETH;
        if is_veth && !drivers.of(to).sends() || kernel.forward_on(from, Hook::Xdp).is_err() {
            return false;
        }
        if from == to || drivers.of(to).sends() {
            return true;
        }
        let fit = kernel.forward_on(to, Hook::Xdp).is_ok() && drivers.of(to).sends();
        if !fit {
            self.unfit.insert((from, to));
        }
        fit
    }

    fn place_of(&self, slot: u32) -> Option<usize> {
        let place = *self.places.get(slot.checked_sub(self.first)? as usize)? as usize;
        self.installed.get(place).filter(|installed| installed.slot == slot).map(|_| place)
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
