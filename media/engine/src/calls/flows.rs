//! Flows of calls that the kernel forwards: when they go there, when they come back, and what is known of
//! them meanwhile.
//!
//! What went by is taken down before a call is told anything, and before it is asked what is due: so it is
//! as if every packet had come here.

use super::{Call, Calls};
use crate::MediaId;
use crate::batch::{Packet, PortId};
use crate::by_port::Addresses;
use crate::counters::Totals;
use crate::datapath::Datapath;
use crate::offload::{Ends, Offload};
use media::rtp::Header;
use media::{Component, Flow, Now, Side};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// How often a call is asked whether its flows may go to the kernel.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Calls that are asked in one turn.
const ASKS_PER_TURN: usize = 128;
/// Flows that go to the kernel in one turn: each takes a few calls into it, and packets wait meanwhile.
const MOVES_PER_TURN: u32 = 16;
/// How long a flow is let be whose packets did not come where they were looked for.
const ASTRAY_FOR: Duration = Duration::from_secs(30);

/// What is known of the flows of all calls.
#[derive(Debug)]
pub(super) struct Flows {
    pub(super) offload: Option<Offload>,
    /// Why none goes there, where it is wanted; empty where they go.
    why_none: String,
    /// The call that is asked next, and how many are to be asked by now.
    ask: usize,
    owed: f64,
    /// When the last turn was.
    turned: Option<Instant>,
    slots: Vec<u32>,
    /// Packets that went by and are not among the worker's counters yet.
    passed: u64,
}

impl Flows {
    pub(super) fn new(offload: Result<Offload, String>) -> Self {
        let (offload, why_none) = match offload {
            Ok(offload) => (Some(offload), String::new()),
            Err(why) => (None, why),
        };
        Self { offload, why_none, ask: 0, owed: 0.0, turned: None, slots: Vec::new(), passed: 0 }
    }
}

/// The flow that comes in on one side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InKernel {
    /// The kernel forwards it.
    Slot(u32),
    /// It does not, for this reason.
    Not(&'static str),
    /// Its packets did not come where they were looked for; it is let be until then.
    Astray(Instant),
}

impl InKernel {
    pub(super) const NOT_ASKED: Self = Self::Not("it was not asked yet");

    pub(super) const fn slot(self) -> Option<u32> {
        match self {
            Self::Slot(slot) => Some(slot),
            Self::Not(_) | Self::Astray(_) => None,
        }
    }
}

/// The RTP port of a leg, and which program sends on what comes in there, if one does.
pub(crate) type CarriedLeg = (PortId, Option<Datapath>);

impl Call {
    fn set_flow(&mut self, side: Side, flow: InKernel) {
        self.flows[side as usize] = flow;
        self.in_kernel = self.flows.iter().any(|flow| flow.slot().is_some());
    }

    /// Takes down what went by.
    pub(super) fn absorb(&mut self, now: Now, flows: &mut Flows) {
        let Some(offload) = &mut flows.offload else { return };
        for side in [Side::A, Side::B] {
            let Some(slot) = self.flows[side as usize].slot() else { continue };
            let Some((flow, taken)) = offload.read(slot, now) else { continue };
            let passed = &mut flows.passed;
            self.forward.absorb(side, flow, taken.inspect(|_| *passed += 1));
        }
    }

    /// Has those flows come back that are not what they were, after the call was told something.
    pub(super) fn compare(&mut self, now: Now, flows: &mut Flows) {
        for side in [Side::A, Side::B] {
            let Some(slot) = self.flows[side as usize].slot() else { continue };
            let is = self.forward.offloadable(side);
            let was = flows.offload.as_ref().and_then(|offload| offload.at(slot));
            let same = matches!((&is, was), (Ok(is), Some(was)) if *is == was.flow);
            if !same {
                let why = is.err().map_or("it has just changed", |stays| stays.words());
                self.bring_back(now, side, InKernel::Not(why), flows);
            }
        }
    }

    /// Has both flows come back.
    pub(super) fn bring_back_all(&mut self, now: Now, flows: &mut Flows) {
        for side in [Side::A, Side::B] {
            self.bring_back(now, side, InKernel::NOT_ASKED, flows);
        }
    }

    /// First no more goes by, then what did is read: nothing is missed, and nothing counted twice.
    fn bring_back(&mut self, now: Now, side: Side, why: InKernel, flows: &mut Flows) {
        let Some(slot) = self.flows[side as usize].slot() else { return };
        let Some(offload) = &mut flows.offload else { return };
        offload.stop(slot);
        self.absorb(now, flows);
        self.set_flow(side, why);
        if let Some(offload) = &mut flows.offload {
            offload.let_go(slot, now.mono);
        }
    }

    /// A packet comes up, to be told to the call next.
    pub(super) fn comes_up(
        &mut self,
        now: Now,
        (side, component): (Side, Component),
        packet: &Packet,
        flows: &mut Flows,
    ) {
        let Some(slot) = self.flows[side as usize].slot() else { return };
        let Some(offload) = &mut flows.offload else { return };
        let is_of = |flow: &Flow| {
            component == Component::Rtp
                && flow.from == packet.peer
                && Header::read(packet.slot().packet()).is_some_and(|header| {
                    header.ssrc == flow.ssrc
                        && flow.payload_types[usize::from(header.payload_type)] != Flow::COMES_HERE
                })
        };
        if offload.at(slot).is_some_and(|it| is_of(&it.flow)) && offload.came_up(slot) {
            self.bring_back(now, side, InKernel::Astray(now.mono + ASTRAY_FOR), flows);
        }
    }

    /// Asks whether flows may go to the kernel, and has them go; says how many.
    fn ask(&mut self, now: Now, place: u32, addresses: &Addresses, offload: &mut Offload) -> u32 {
        let mut moves = 0;
        for side in [Side::A, Side::B] {
            match self.flows[side as usize] {
                InKernel::Slot(_) => continue,
                InKernel::Astray(until) if now.mono < until => continue,
                InKernel::Not(_) | InKernel::Astray(_) => {}
            }
            let taken = self.forward.offloadable(side).map_err(|stays| stays.words());
            let taken = taken.and_then(|flow: Flow| {
                let port = |side| self.ports.at(side, Component::Rtp);
                let at = |side| addresses.of(port(side).address).map(|ip| (ip, port(side).number));
                let (comes, goes) = at(side).zip(at(side.other())).ok_or("a port of no address")?;
                let dscp = self.ports.dscp[side.other() as usize];
                let ends = Ends { comes: comes.into(), goes: goes.into(), dscp };
                offload.take_in((place, self.id, side), flow, ends)
            });
            let flow = match taken {
                Ok(slot) => {
                    moves += 1;
                    InKernel::Slot(slot)
                }
                Err(why) => InKernel::Not(why),
            };
            self.set_flow(side, flow);
        }
        moves
    }
}

impl Calls {
    /// What is done about flows between batches: those that have changed their way come back, some are
    /// read, some calls are asked.
    pub(crate) fn turn_flows(&mut self, now: Now, addresses: &Addresses, totals: &mut Totals) {
        let Some(offload) = &mut self.flows.offload else { return };
        let passed = self.flows.turned.replace(now.mono);
        let passed = passed.map_or(Duration::ZERO, |at| now.mono.saturating_duration_since(at));

        let mut slots = std::mem::take(&mut self.flows.slots);
        offload.led_astray(now.mono, &mut slots);
        for slot in slots.drain(..) {
            self.on_call_of(slot, |call, side, flows| {
                call.bring_back(now, side, InKernel::NOT_ASKED, flows);
            });
        }
        if let Some(offload) = &mut self.flows.offload {
            offload.due_reads(passed, &mut slots);
        }
        for slot in slots.drain(..) {
            self.on_call_of(slot, |call, _, flows| call.absorb(now, flows));
        }
        self.flows.slots = slots;
        self.take_last(now);
        self.ask(now, passed, addresses);
        self.count_passed(totals);
    }

    /// From now on no flow goes to the kernel, and those that are there come back.
    pub(crate) fn keep_from_kernel(&mut self, now: Now, why: &str) {
        let Some(offload) = &self.flows.offload else { return };
        let slots: Vec<u32> = offload.slots().collect();
        // All at once, before any of them is seen to.
        slots.iter().for_each(|slot| offload.stop(*slot));
        for slot in slots {
            self.on_call_of(slot, |call, side, flows| {
                call.bring_back(now, side, InKernel::NOT_ASKED, flows);
            });
        }
        why.clone_into(&mut self.flows.why_none);
    }

    /// When [`Self::turn_flows`] wants to be called next, where nothing else happens.
    pub(crate) fn flows_due(&self) -> Option<Instant> {
        Some(self.flows.turned? + self.flows.offload.as_ref()?.pause()?)
    }

    /// Adds what went by to the worker's counters.
    pub(crate) fn count_passed(&mut self, totals: &mut Totals) {
        let passed = std::mem::take(&mut self.flows.passed);
        totals.received += passed;
        totals.forwarded += passed;
        totals.offloaded += passed;
    }

    fn on_call_of(&mut self, slot: u32, deed: impl FnOnce(&mut Call, Side, &mut Flows)) {
        let installed = self.flows.offload.as_ref().and_then(|offload| offload.at(slot));
        let Some((place, side)) = installed.map(|it| (it.call, it.side)) else { return };
        let Some(Some(call)) = self.calls.get_mut(place as usize) else { return };
        deed(call, side, &mut self.flows);
        call.hear(&mut self.notices);
        self.due.arm_earlier(place, call.forward.next_due());
    }

    /// Reads what programs wrote down that were at a flow when it was turned off.
    fn take_last(&mut self, now: Now) {
        let Self { flows, calls, .. } = self;
        let (Some(offload), passed) = (&mut flows.offload, &mut flows.passed) else { return };
        while offload.left(now, |gone, taken| {
            let call = calls.get_mut(gone.call as usize).and_then(Option::as_mut);
            if let Some(call) = call.filter(|call| call.id == gone.id) {
                call.forward.absorb(gone.side, &gone.flow, taken.inspect(|_| *passed += 1));
            }
        }) {}
    }

    fn ask(&mut self, now: Now, passed: Duration, addresses: &Addresses) {
        let Some(offload) = &mut self.flows.offload else { return };
        if !self.flows.why_none.is_empty() {
            return;
        }
        let calls = self.calls.len() as f64;
        let owed = self.flows.owed + calls * passed.as_secs_f64() / ASK_EVERY.as_secs_f64();
        let asks = (owed.min(calls) as usize).min(ASKS_PER_TURN);
        self.flows.owed = owed.min(calls) - asks as f64;
        let mut moves = 0;
        for _ in 0..asks {
            if moves >= MOVES_PER_TURN {
                break;
            }
            let place = self.flows.ask % self.calls.len();
            self.flows.ask = place + 1;
            if let Some(call) = &mut self.calls[place] {
                moves += call.ask(now, place as u32, addresses, offload);
            }
        }
    }

    /// What the kernel does with what comes in on a side of a call: which program forwards it, or why
    /// none does; `None` where nobody has asked for it.
    pub(crate) fn in_kernel(
        &self,
        id: MediaId,
        side: Side,
    ) -> Option<Result<Datapath, Cow<'static, str>>> {
        let why = &self.flows.why_none;
        if !why.is_empty() {
            return Some(Err(why.clone().into()));
        }
        let offload = self.flows.offload.as_ref()?;
        let call = self.calls[*self.by_id.get(&id)? as usize].as_ref()?;
        Some(match call.flows[side as usize] {
            InKernel::Slot(slot) => offload.carries(slot).ok_or("it has just changed".into()),
            InKernel::Not(why) => Err(why.into()),
            InKernel::Astray(_) => Err("its packets come up though they need not".into()),
        })
    }

    /// The legs of each call.
    pub(crate) fn carried_legs(&self) -> impl Iterator<Item = (MediaId, [CarriedLeg; 2])> {
        let offload = self.flows.offload.as_ref();
        self.calls.iter().flatten().map(move |call| {
            let legs = [Side::A, Side::B].map(|side| {
                let slot = call.flows[side as usize].slot();
                let by = slot.and_then(|slot| offload?.carries(slot));
                (call.ports.at(side, Component::Rtp), by)
            });
            (call.id, legs)
        })
    }

    /// To be called about once a second.
    pub(crate) fn look_around(&mut self) {
        if let Some(offload) = &mut self.flows.offload {
            offload.look_around();
        }
    }
}
