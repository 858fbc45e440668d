//! Whether anything is heard from a leg, and if not, why not: each direction of an answered call by itself.
//!
//! Costs a packet that comes as it should one comparison; all else is done when [`Watch::due`] says so.

use crate::DropReason;
use sdp::{Notice, Silence, Silences};
use std::time::{Duration, Instant};

/// So long without a packet is silence: nobody waits longer before saying "hello?" again.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// RTCP that is older than this does not live: the longest interval of RFC 3550, 6.3.1 for two members
/// is 6.2 s, and of those who leave out its last division 7.5 s.
pub(crate) const RTCP_LIVES: Duration = Duration::from_millis(7_600);
/// So many packets refused within [`SILENCE`] are the far side's, and no stray ones.
const REFUSED_MIN: u32 = 10;

/// What is known of one direction: from a leg's far side to us. What a packet needs stands at the end.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Watch {
    /// The silence that was told, when it began, and when it is looked at again.
    told: Option<Told>,
    total: Duration,
    rtcp: Option<Instant>,
    refused: Refused,
    first: Option<Silence>,
    /// When something was heard last, else when it began to be waited for; `None` until the next look.
    since: Option<Instant>,
    /// The next packet changes nothing but `since`: no silence is told, and it is not the first.
    steady: bool,
    /// Something has come since the far side named its address.
    ever: bool,
    /// Silence is told.
    on: bool,
    /// Both legs have agreed that something comes.
    expected: bool,
    /// One side is silent while the other has its turn, and that says nothing.
    turns: bool,
    /// The far side's SDP names an address that cannot be reached from here.
    unroutable: bool,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    cause: Silence,
    began: Instant,
    look_at: Instant,
    /// How much of it is in the total.
    counted: Instant,
}

/// Packets that came and were not taken, since the last that was, or the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refused {
    payload_type: u32,
    bad_tag: u32,
    wrong_source: u32,
}

impl Watch {
    /// The call is answered: from now on silence is told.
    pub(crate) const fn begin(&mut self) {
        if !self.on {
            self.on = true;
            self.since = None;
        }
    }

    /// What the legs have agreed. `moved`: the far side has named another address than before.
    pub(crate) const fn agreed(&mut self, expected: bool, unroutable: bool, moved: bool) {
        if moved {
            (self.ever, self.steady) = (false, false);
        }
        if moved || expected && !self.expected {
            // It is given its time anew.
            self.since = None;
        }
        (self.expected, self.unroutable) = (expected, unroutable);
    }

    /// Whether the sides take turns, as terminals of a fax do. Who then has nothing to say is not silent.
    pub(crate) const fn takes_turns(&mut self, turns: bool) {
        if self.turns != turns {
            self.since = None;
        }
        self.turns = turns;
    }

    /// Whether nothing was taken, nor waited for, yet.
    pub(crate) const fn begins(&self) -> bool {
        self.since.is_none()
    }

    /// A packet was taken. Says so if that ends a silence.
    #[inline]
    pub(crate) fn heard(&mut self, now: Instant) -> Option<Notice> {
        self.since = Some(now);
        if self.steady { None } else { self.heard_again(now) }
    }

    fn heard_again(&mut self, now: Instant) -> Option<Notice> {
        self.ever = true;
        let news = match self.expected {
            true => self.ends(now),
            false => None,
        };
        self.steady = self.told.is_none();
        news
    }

    /// RTCP was taken.
    pub(crate) const fn heard_rtcp(&mut self, now: Instant) {
        self.rtcp = Some(now);
    }

    /// An RTP packet was dropped.
    pub(crate) const fn dropped(&mut self, reason: DropReason) {
        match reason {
            DropReason::Unlatched => self.refused.wrong_source += 1,
            // A source that starts its numbers anew under the old key is refused as a replay.
            DropReason::BadTag | DropReason::Replay => self.refused.bad_tag += 1,
            _ => {}
        }
    }

    /// A packet of the far side had a payload type that leads nowhere.
    pub(crate) const fn has_no_payload_type(&mut self) {
        self.refused.payload_type += 1;
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        match (self.on, self.since, &self.told) {
            (false, ..) | (_, None, _) => None,
            (true, _, None) if self.turns && self.expected => None,
            (true, _, Some(told)) => Some(told.look_at),
            (true, Some(since), None) => Some(since + SILENCE),
        }
    }

    /// Whether [`Self::look`] is to be called at once: it does not know the time yet, or what was
    /// agreed has changed.
    pub(crate) fn is_new(&self) -> bool {
        self.on && (self.since.is_none() || self.expected == self.is_held())
    }

    fn is_held(&self) -> bool {
        self.told.is_some_and(|told| told.cause == Silence::Held)
    }

    /// Judges the direction; says what has changed.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Notice> {
        self.settle(now);
        let since = *self.since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= SILENCE;
        let cause = match self.expected {
            false => Silence::Held,
            true if self.turns => return self.ends(now),
            true if long => self.cause(now),
            true if self.is_held() => return self.ends(now),
            true => return None,
        };
        self.refused = Refused::default();
        let before = self.told.map(|told| told.cause);
        let began = match cause {
            Silence::Held => now,
            _ => since,
        };
        self.steady = false;
        let told = self.told.get_or_insert(Told { cause, began, look_at: now, counted: began });
        told.cause = cause;
        told.look_at = now + SILENCE;
        if let (Silence::Muted, Some(rtcp)) = (cause, self.rtcp) {
            // Not a moment later than RTCP is overdue.
            told.look_at = told.look_at.min(rtcp + RTCP_LIVES);
        }
        self.settle(now);
        if before == Some(cause) {
            return None;
        }
        let worse = |first: Silence| cause.is_fault() && !first.is_fault();
        if self.first.is_none_or(worse) {
            self.first = Some(cause);
        }
        Some(Notice::Silent(cause))
    }

    /// Why nothing was heard for so long.
    fn cause(&self, now: Instant) -> Silence {
        let refused = self.refused;
        // Of an authenticated or signalled source before what anybody may send.
        let known = [
            (refused.payload_type, Silence::PayloadType),
            (refused.bad_tag, Silence::BadTag),
            (refused.wrong_source, Silence::WrongSource),
        ];
        if let Some((_, cause)) = known.into_iter().find(|(count, _)| *count >= REFUSED_MIN) {
            return cause;
        }
        match self.rtcp {
            Some(rtcp) if now.saturating_duration_since(rtcp) < RTCP_LIVES => Silence::Muted,
            _ if self.unroutable && !self.ever => Silence::PrivateAddress,
            _ => Silence::NoPackets,
        }
    }

    fn ends(&mut self, now: Instant) -> Option<Notice> {
        self.settle(now);
        self.refused = Refused::default();
        let told = self.told.take()?;
        Some(Notice::Heard(now.saturating_duration_since(told.began)))
    }

    /// Adds to the total what has passed.
    pub(crate) fn settle(&mut self, now: Instant) {
        if let Some(told) = &mut self.told {
            self.total += now.saturating_duration_since(told.counted);
            told.counted = now;
        }
    }

    /// When anything at all was heard last, RTCP too; `None` where that says nothing, as the call is
    /// not answered, or held.
    pub(crate) fn alive(&self) -> Option<Instant> {
        match (self.on && self.expected, self.since) {
            (true, Some(since)) => Some(self.rtcp.map_or(since, |rtcp| rtcp.max(since))),
            _ => None,
        }
    }

    /// Where what a packet touches of it begins.
    pub(crate) const fn touched_from(&self) -> &Option<Instant> {
        &self.since
    }

    pub(crate) fn silences(&self) -> Silences {
        Silences { now: self.told.map(|told| told.cause), first: self.first, total: self.total }
    }
}
