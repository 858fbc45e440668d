//! One media core: reads commands, moves packets in batches, sleeps a tick, for as long as it lives.

use crate::auto::Heeds;
use crate::batch::Batch;
use crate::batch::PortId;
use crate::by_port::Addresses;
use crate::calls::{CallPorts, Calls, Removed, leg_ports};
use crate::clock;
use crate::counters::{Published, Totals};
use crate::datapath::{Carried, Datapath};
use crate::io::{Faults, PacketIo, Turn};
use crate::offload::Offload;
use crate::pace::{Asked, GATHER, Pace};
use crate::portable::Portable;
use crate::sys::Bell;
use crate::transcoder::Exchange;
use crate::ways::IN_THE_CLEAR;
use crate::{Event, LegPorts, MediaId, sys};
use media::{Carriage, Forward, Order, Side};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

/// What signalling asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    Open { call: MediaId, a: LegPorts, b: LegPorts, forward: Box<Forward> },
    Connect { call: MediaId, legs: Box<(Option<Carriage>, Option<Carriage>)> },
    Order { call: MediaId, side: Side, order: Order },
    Move { call: MediaId, side: Side, to: LegPorts },
    Query { call: MediaId },
    List,
    Close { call: MediaId },
}

/// Where events go.
pub(crate) type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What a worker shares with the engine that started it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) published: Published,
    pub(crate) stop: AtomicBool,
    /// Packets may gather.
    pub(crate) gather: bool,
}

/// What is left of the command ring after a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Orders {
    /// Nothing.
    AllRead,
    /// Perhaps more; packets come first.
    Waiting,
    /// The engine ends.
    Stop,
}

/// A worker, to be run on its own thread.
pub(crate) struct Worker {
    index: usize,
    pub(crate) io: Box<dyn PacketIo>,
    /// What went wrong in engines before this one.
    former_faults: Faults,
    bell: Arc<Bell>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: Events,
    pub(crate) shared: Arc<Shared>,
    exchange: Exchange,
    calls: Calls,
    /// Where ports are bound.
    addresses: Addresses,
    batch: Batch,
    totals: Totals,
    publish_at: Instant,
    /// When the engine is looked at, and what had been received by the last time.
    check_at: Instant,
    checked: u64,
    /// Until a policy has come that packets would go past.
    heeds: Option<Heeds>,
    pace: Pace,
    /// How often signalling asks for something.
    asked: Asked,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        (io, bell): (Box<dyn PacketIo>, Arc<Bell>),
        commands: Receiver<Command>,
        events: Events,
        shared: Arc<Shared>,
        exchange: Exchange,
        offload: Result<Offload, String>,
    ) -> Self {
        let now = clock::now().mono;
        Self {
            index,
            io,
            bell,
            former_faults: Faults::default(),
            calls: Calls::new(offload),
            addresses: Addresses::default(),
            commands,
            events,
            shared,
            exchange,
            batch: Batch::new(),
            totals: Totals::default(),
            publish_at: now,
            check_at: now,
            checked: 0,
            heeds: None,
            pace: Pace::new(now),
            asked: Asked::default(),
        }
    }

    /// With an eye on IPsec policies that come while it works.
    pub(crate) fn heeding(self, heeds: Option<Heeds>) -> Self {
        Self { heeds, ..self }
    }

    /// Works until the engine says stop or is gone.
    pub(crate) fn run(mut self) {
        sys::set_timer_slack(TIMER_SLACK);
        loop {
            let orders = self.obey();
            if orders == Orders::Stop {
                break;
            }
            self.take_back();
            self.generate();
            let drained = self.drain();
            let now = clock::now();
            self.calls.turn_flows(now, &self.addresses, &mut self.totals);
            let now = now.mono;
            self.publish_in_time(now);
            self.check_in_time(now);
            if orders == Orders::Waiting || !drained {
                continue;
            }
            let received = self.totals.received - self.totals.offloaded;
            let ticks = self.shared.gather && self.pace.ticks(now, received);
            if ticks || self.calls.transcode() {
                clock::pause(self.pace.rest(now));
            } else if self.sleep(now) == Orders::Stop {
                break;
            }
        }
        for call in self.calls.ids() {
            self.close(call);
        }
        self.publish();
    }

    /// Waits for a packet, a command, or what is due of our own; without calls nothing is.
    fn sleep(&mut self, now: Instant) -> Orders {
        if self.shared.gather && self.asked.often(now) {
            // Nobody rings for what we come for by ourselves.
            self.wait_at_most(now, GATHER);
            return Orders::AllRead;
        }
        self.io.await_ring();
        let orders = self.obey();
        if orders == Orders::AllRead {
            if self.calls.len() == 0 {
                self.io.wait();
            } else {
                self.wait_at_most(now, PUBLISH_EVERY);
            }
        }
        orders
    }

    /// Waits for a packet, or what is due of our own.
    fn wait_at_most(&mut self, now: Instant, longest: Duration) {
        // Once more after the last packet, in case that it is the engine which brings no more.
        let check = (self.totals.received != self.checked).then_some(self.check_at);
        let dues = [self.calls.next_due(), self.calls.flows_due(), Some(self.publish_at), check];
        let due = dues.into_iter().flatten().min().unwrap_or(now);
        self.io.wait_at_most(due.saturating_duration_since(now).min(longest));
    }

    /// Carries out what signalling has asked meanwhile.
    fn obey(&mut self) -> Orders {
        for turn in 0..COMMANDS_PER_TURN {
            if self.shared.stop.load(Ordering::Acquire) {
                return Orders::Stop;
            }
            match self.commands.try_recv() {
                Ok(command) => {
                    if turn == 0 {
                        self.asked.note(clock::now().mono);
                    }
                    self.carry_out(command);
                }
                Err(TryRecvError::Empty) => return Orders::AllRead,
                Err(TryRecvError::Disconnected) => return Orders::Stop,
            }
        }
        Orders::Waiting
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Open { call, a, b, forward } => self.open(call, a, b, forward),
            Command::Connect { call, legs } => {
                let (a, b) = *legs;
                self.calls.connect(clock::now(), call, a, b);
            }
            Command::Order { call, side, order } => {
                self.calls.order(clock::now(), call, side, &order);
            }
            Command::Move { call, side, to } => self.move_leg(call, side, to),
            Command::Query { call } => {
                if let Some((ports, stats)) = self.calls.stats(clock::now(), call) {
                    let carried = self.carried(call, &ports);
                    (self.events)(Event::Stats { call, stats, carried });
                }
            }
            Command::List => {
                let (worker, calls) = (self.index, self.list());
                (self.events)(Event::Listed { worker, calls });
            }
            Command::Close { call } => self.close(call),
        }
    }

    fn open(&mut self, call: MediaId, a: LegPorts, b: LegPorts, forward: Box<Forward>) {
        let opened = if self.calls.contains(call) {
            Err("the call is open already".to_owned())
        } else {
            self.bind_call(a, b)
        };
        match opened {
            Ok(ports) => {
                self.calls.insert(call, ports, forward);
                self.publish();
            }
            Err(why) => (self.events)(Event::OpenFailed { call, why }),
        }
    }

    /// Opens all ports of a call, or none.
    fn bind_call(&mut self, a: LegPorts, b: LegPorts) -> Result<CallPorts, String> {
        let ports = CallPorts::new(&mut self.addresses, a, b)?;
        let opened = self.bind(ports.of(Side::A), a.dscp).and_then(|()| {
            self.bind(ports.of(Side::B), b.dscp).inspect_err(|_| self.unbind(ports.of(Side::A)))
        });
        opened.map(|()| ports).inspect_err(|_| {
            for side in [Side::A, Side::B] {
                self.addresses.give_back(ports.of(side)[0].address);
            }
        })
    }

    /// Opens both ports of a leg, or none.
    fn bind(&mut self, pair: [PortId; 2], dscp: u8) -> Result<(), String> {
        for (opened, port) in pair.into_iter().enumerate() {
            let at = self.addresses.of(port.address).map(|bind| SocketAddr::new(bind, port.number));
            let at = at.ok_or("a port of no address")?;
            if let Err(error) = self.io.open(port, at, dscp) {
                pair.into_iter().take(opened).for_each(|port| self.io.close(port));
                return Err(format!("cannot bind {} port {}: {error}", at.ip(), at.port()));
            }
        }
        Ok(())
    }

    fn unbind(&mut self, pair: [PortId; 2]) {
        pair.into_iter().for_each(|port| self.io.close(port));
    }

    /// A call that is not open does not mind.
    fn move_leg(&mut self, call: MediaId, side: Side, to: LegPorts) {
        if !self.calls.contains(call) {
            return;
        }
        let opened = leg_ports(&mut self.addresses, to).and_then(|pair| {
            let bound = self.bind(pair, to.dscp).map(|()| pair);
            bound.inspect_err(|_| self.addresses.give_back(pair[0].address))
        });
        match opened {
            Ok(pair) => {
                if let Some(old) = self.calls.move_leg(clock::now(), call, side, pair, to.dscp) {
                    self.release(old);
                }
            }
            Err(why) => (self.events)(Event::OpenFailed { call, why }),
        }
    }

    /// Closes both ports of a leg.
    fn release(&mut self, pair: [PortId; 2]) {
        self.unbind(pair);
        self.addresses.give_back(pair[0].address);
    }

    /// A call that was never open ends all the same, with nothing to show: who closes can count on
    /// being told.
    fn close(&mut self, call: MediaId) {
        // What the kernel sent on comes back for the farewell.
        let ports = self.calls.ports(call);
        let carried = ports.map(|ports| self.carried(call, &ports));
        self.batch.clear();
        self.calls.farewell(clock::now(), call, &mut self.batch);
        if !self.batch.packets().is_empty() {
            self.io.send(&mut self.batch);
        }
        let stats = match self.calls.remove(clock::now(), call) {
            Some(Removed { ports, transcoded, stats }) => {
                [Side::A, Side::B].into_iter().for_each(|side| self.release(ports.of(side)));
                // One that sleeps is not woken for what it does not know.
                if transcoded {
                    self.exchange.forget(call);
                }
                stats
            }
            None => media::CallStats::default(),
        };
        self.publish();
        (self.events)(Event::Closed { call, stats, carried });
    }

    /// Sends what has come back in another codec.
    fn take_back(&mut self) {
        while self.calls.transcode() {
            self.batch.clear();
            let (now, exchange) = (clock::now(), &self.exchange);
            self.calls.take_back(now, &mut self.batch, exchange, &mut self.totals);
            if self.batch.packets().is_empty() {
                return;
            }
            self.io.send(&mut self.batch);
        }
    }

    /// Sends what is due of our own.
    fn generate(&mut self) {
        let now = clock::now();
        loop {
            self.batch.clear();
            self.calls.tick(now, &mut self.batch, &mut self.totals);
            self.tell();
            if self.batch.packets().is_empty() {
                return;
            }
            self.io.send(&mut self.batch);
        }
    }

    /// Receives, processes and sends until nothing is left, or until commands have waited for long
    /// enough; says whether nothing is left.
    fn drain(&mut self) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            self.batch.clear();
            let more = self.io.receive(&mut self.batch);
            if more || !self.batch.packets().is_empty() {
                self.calls.process(clock::now(), &mut self.batch, &self.exchange, &mut self.totals);
                self.io.send(&mut self.batch);
                self.tell();
            }
            if !more {
                return true;
            }
        }
        false
    }

    fn carried(&self, call: MediaId, ports: &CallPorts) -> [Carried; 2] {
        [Side::A, Side::B].map(|side| {
            let carried = self.io.carries(ports.of(side)[0]);
            match self.calls.in_kernel(call, side) {
                Some(Ok(by)) => Carried { by, why_not_faster: "".into() },
                Some(Err(why)) => carried.nor_in_kernel(&why),
                None => carried,
            }
        })
    }

    /// What carries the legs of each call: a few thousand take a millisecond, for somebody who looks.
    fn list(&self) -> Vec<(MediaId, [Datapath; 2])> {
        let legs = self.calls.carried_legs().map(|(call, legs)| {
            (call, legs.map(|(rtp, by_kernel)| by_kernel.unwrap_or_else(|| self.io.datapath(rtp))))
        });
        legs.collect()
    }

    /// The way that packets took is closed: all ports go on with sockets of their own. A port that
    /// cannot be had so is counted as a fault of each packet that would leave from it.
    /// Says whether they do.
    fn fall_back(&mut self, why: String) -> bool {
        let io = Portable::new(Arc::clone(&self.bell), why.clone().into());
        let Ok(mut io) = io.inspect_err(|error| tracing::error!(%error, "no way for media")) else {
            return false;
        };
        let (ports, mut lost) = (self.calls.all_ports(), 0_usize);
        for (port, dscp) in &ports {
            let at = self.addresses.of(port.address);
            let at = at.map(|bind| SocketAddr::new(bind, port.number));
            let bound = at.is_some_and(|at| {
                // What it has bound itself goes first.
                io.open(*port, at, *dscp).is_ok() || {
                    self.io.close(*port);
                    io.open(*port, at, *dscp).is_ok()
                }
            });
            lost += usize::from(!bound);
        }
        let mut former = std::mem::replace(&mut self.io, Box::new(io));
        self.take_over(&mut *former);
        ports.iter().for_each(|(port, _)| former.close(*port));
        self.former_faults = former.faults().and(self.former_faults);
        // The kernel waits for all processors as it ends, and packets do not.
        let ends = thread::Builder::new().name(format!("media-{}-past", self.index));
        let _ = ends.spawn(move || drop(former));
        (self.events)(Event::FellBack { worker: self.index, to: Datapath::Portable, why, lost });
        true
    }

    /// What has come by the engine before this one goes on by this one.
    fn take_over(&mut self, former: &mut dyn PacketIo) {
        for _ in 0..BATCHES_PER_TURN {
            self.batch.clear();
            let more = former.receive(&mut self.batch);
            self.calls.process(clock::now(), &mut self.batch, &self.exchange, &mut self.totals);
            self.io.send(&mut self.batch);
            // It takes back what it has lent.
            self.batch.packets_mut().iter_mut().for_each(|packet| packet.send = false);
            former.send(&mut self.batch);
            self.tell();
            if !more {
                break;
            }
        }
    }

    /// What the kernel is to encrypt from now on, or to keep, is not sent past it, unless somebody has asked
    /// for that by name. It stays so when the policy goes: as one of a tunnel does that is made anew.
    fn follow_policies(&mut self) {
        let Some(Heeds { gives_way, .. }) = self.heeds else { return };
        let Some(why) = self.heeds.as_mut().and_then(Heeds::come) else { return };
        self.calls.keep_from_kernel(clock::now(), &why);
        if !gives_way {
            tracing::warn!(worker = self.index, why, "{IN_THE_CLEAR}");
        }
        if !gives_way || self.fall_back(why) {
            self.heeds = None;
        }
    }

    fn tell(&mut self) {
        for (call, side, notice) in self.calls.notices() {
            (self.events)(Event::Notice { call, side, notice });
        }
    }

    fn publish_in_time(&mut self, now: Instant) {
        if now >= self.publish_at {
            self.publish_at = now + PUBLISH_EVERY;
            self.io.look_around();
            self.calls.look_around();
            self.count_legs();
            self.publish();
            self.follow_loss();
        }
    }

    /// Callers hear nothing as long as it is not seen that the engine has lost what it stands on.
    fn check_in_time(&mut self, now: Instant) {
        if now >= self.check_at {
            (self.check_at, self.checked) = (now + CHECK_EVERY, self.totals.received);
            self.io.check();
            self.follow_policies();
            self.follow_loss();
        }
    }

    fn follow_loss(&mut self) {
        if let Some(why) = self.io.lost() {
            self.fall_back(why);
        }
        let worker = self.index;
        match self.io.turned() {
            None => {}
            Some(Turn::Lost { to, why }) => {
                (self.events)(Event::FellBack { worker, to, why, lost: 0 });
            }
            Some(Turn::Regained { by }) => (self.events)(Event::Regained { worker, by }),
        }
    }

    fn count_legs(&mut self) {
        self.totals.legs = Default::default();
        for (rtp, by_kernel) in self.calls.carried_legs().flat_map(|(_, legs)| legs) {
            let by = by_kernel.unwrap_or_else(|| self.io.datapath(rtp));
            self.totals.legs[by as usize] += 1;
        }
    }

    fn publish(&mut self) {
        self.calls.count_passed(&mut self.totals);
        self.totals.set_faults(self.io.faults().and(self.former_faults));
        self.totals.calls = self.calls.len() as u64;
        if self.totals.calls == 0 {
            // They are counted once a second, and not while nothing comes.
            self.totals.legs = Default::default();
        }
        self.totals.ports = self.totals.calls * PORTS_PER_CALL;
        self.shared.published.publish(&self.totals);
    }
}

/// How much longer than a tick the kernel may let us sleep.
const TIMER_SLACK: Duration = Duration::from_micros(1);
/// Commands carried out before packets get their turn: opening a call takes some 50 us, so packets
/// wait for a millisecond or two at most.
const COMMANDS_PER_TURN: usize = 32;
/// Batches moved before commands and packets of our own get their turn under a flood.
const BATCHES_PER_TURN: usize = 64;
/// Counters are read by people and by scrapes, neither of which looks more often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// A look is a dozen system calls, and a gap of twice that between two words is hardly heard.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// RTP and RTCP on either leg.
const PORTS_PER_CALL: u64 = 4;

#[cfg(test)]
mod tests;
