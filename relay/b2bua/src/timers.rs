//! Deadlines of calls and trunks, in a heap; each carries which timer it is.

use crate::io::{CallId, PeerLeg};
use crate::registration::RegistrationId;
use crate::trunk::ProbeId;
use sip_core::transaction::{ClientId, ServerId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// What a deadline means. One that no longer applies when it fires is ignored by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The target of this INVITE has not said a word.
    Silence { call: CallId, client: ClientId },
    /// The callee has not answered.
    NoAnswer(CallId),
    /// The tenant's routing hook has not answered.
    Ask(CallId),
    /// The media engine has not confirmed the close.
    MediaClose(CallId),
    /// Our re-INVITE has no final response yet.
    Reinvite { call: CallId, client: ClientId },
    /// A leg's session is to be refreshed, or has expired.
    Session { call: CallId, leg: PeerLeg },
    /// The UPDATE in this transaction must be answered.
    Update { call: CallId, server: ServerId },
    /// Our re-INVITE has met one of theirs and is tried again.
    Again(CallId),
    /// No other fork can answer this INVITE any more (RFC 6026, timer M).
    Forget(ClientId),
    /// A reliable provisional response of ours has no PRACK yet.
    Prack(CallId),
    /// The callee rings, and nothing may have come of the early media that it has described.
    Quiet(CallId),
    /// Something of a transfer is due: a NOTIFY, the end of the ringing, or of the leg that gave its
    /// place away.
    Transfer(CallId),
    /// OPTIONS is due.
    Probe(ProbeId),
    /// A registration has something to do.
    Registration(RegistrationId),
    /// The binding of a PBX that registers with us may have ended.
    Binding,
    /// The ceilings of the fraud guard are looked at.
    Ceilings,
    /// Teams has heard nothing of this call yet.
    Progress(CallId),
    /// The deadline of a drain has come.
    Drain,
}

/// Deadlines for each that stands before stale ones are swept out: a call has a handful.
const STALE_FACTOR: usize = 16;
/// Below this many sweeping is not worth it, and neither is giving room back.
const STALE_FLOOR: usize = 1024;
/// Of its room, a heap uses one place in so many at least.
const SLACK: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    pub(crate) fn arm(&mut self, due: Instant, timer: Timer) {
        self.heap.push(Reverse((due, timer)));
    }

    /// Drops deadlines that mean nothing any more, once they may outnumber the others: each sweep is
    /// paid for by as many that were armed. `live` is about how many stand.
    pub(crate) fn sweep(&mut self, live: usize, stands: impl Fn(Timer) -> bool) {
        if self.heap.len() > live.saturating_mul(STALE_FACTOR).saturating_add(STALE_FLOOR) {
            self.heap.retain(|Reverse((_, timer))| stands(*timer));
        }
        self.give_back();
    }

    /// A burst of calls leaves a heap that is nearly empty.
    fn give_back(&mut self) {
        if self.heap.capacity() > STALE_FLOOR && self.heap.len() < self.heap.capacity() / SLACK {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        (self.next()? <= now).then(|| self.heap.pop().map(|Reverse((_, timer))| timer))?
    }
}
