//! Which source address a stream believes, and where its own packets go.
//!
//! SRTP: authentication decides, and the latch follows it (TDR-MED-005). Plain RTP: the signalled
//! address; under [`LatchPolicy::Symmetric`] also the first source that keeps one SSRC in sequence
//! for [`LEARN_PACKETS`] packets within [`LEARN_WINDOW`], while the signalled address is silent. Such
//! a source is looked for during [`LEARN_FOR`] after each negotiation, and hosts that nobody has
//! named let those that signal go ahead by [`HEAD_START`].
//!
//! Once plain RTP has a source, it keeps it. Another one is looked for after a negotiation, if the source
//! is not heard for [`MOVED_AFTER`] from then on, and after as much silence as the trunk allows
//! ([`sdp::Terms::relatch_after`]).
//!
//! ```text
//!  agreed ──▶ open ── signalled address, or a source that passed its trial ──▶ owned
//!               ▲                                                               │
//!               └── negotiation, or relatch_after; and silent; and not on hold ──┘
//! ```

mod reports;

use crate::{LatchPolicy, Stretch};
pub use reports::ReportsLatch;
use sdp::{Cidr, Terms};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Packets in sequence that an unsignalled source must send: one injected packet takes nothing.
pub const LEARN_PACKETS: u8 = 5;
/// Within which time they must come; five packets of 60 ms fit.
pub const LEARN_WINDOW: Duration = Duration::from_millis(500);
/// The least time that they must take: who sprays a port sends them at once, and speech of 10 ms a
/// packet does not.
pub const LEARN_SPAN: Duration = Duration::from_millis(30);
/// How long after a negotiation an unsignalled source is looked for: a far side that has been answered
/// speaks within seconds.
pub const LEARN_FOR: Duration = Duration::from_secs(10);
/// How much longer a source waits whose host neither signals nor was named: behind a NAT audio and
/// signalling have one address nearly always, and that one is to win.
pub const HEAD_START: Duration = Duration::from_secs(1);
/// A source that is not heard for so long after a negotiation may have moved.
pub const MOVED_AFTER: Duration = Duration::from_secs(1);
/// How many unsignalled sources are looked at side by side.
const LEARN_SOURCES: usize = 4;
/// The largest step between two sequence numbers of a source that is learned.
const LEARN_STEP: u16 = 4;

/// The latch of one leg's component. What a packet of the owner needs stands in front.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Latch {
    /// Who owns the stream; `None`: nobody has been heard.
    owner: Option<Owner>,
    /// It has been told when the last negotiation was.
    begun: bool,
    policy: LatchPolicy,
    /// Something is to come: the stream is not on hold.
    expects: bool,
    /// Connectivity checks say who the owner is, and no packet does.
    led: bool,
    relatch_after: Option<Duration>,
    /// Where an authentic source that was not signalled may be; `None`: anywhere.
    within: Option<Arc<[Cidr]>>,
    signaller: Option<IpAddr>,
    signalled: Option<SocketAddr>,
    /// When it was last negotiated; `None` until it is told the time.
    agreed: Option<Instant>,
    /// Only while a source may be learned, and made before any packet comes.
    trials: Option<Box<Trials>>,
}

/// The source that owns a stream.
#[derive(Clone, Copy, Debug)]
struct Owner {
    at: SocketAddr,
    /// What it last sent plain RTP as, and when.
    ssrc: Option<u32>,
    heard: Option<Instant>,
}

/// Unsignalled sources on trial.
type Trials = [Option<Candidate>; LEARN_SOURCES];

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
    since: Instant,
}

impl Latch {
    /// A latch that knows only what was signalled; `None` where no address was.
    pub fn new(terms: &Terms, signalled: Option<SocketAddr>) -> Self {
        Self {
            policy: terms.latch,
            relatch_after: terms.relatch_after,
            within: terms.learned_within.clone(),
            signaller: terms.signaller,
            signalled,
            expects: true,
            led: false,
            begun: false,
            agreed: None,
            owner: None,
            trials: trials_under(terms.latch),
        }
    }

    /// Takes a new negotiation, in which something is to come if it `expects` so. Another address ends
    /// what was; the same leaves the stream to its owner, and none at all (a hold by `0.0.0.0`) says
    /// nothing about where the far side is.
    pub fn renegotiate(&mut self, terms: &Terms, signalled: Option<SocketAddr>, expects: bool) {
        if signalled.is_some() && signalled != self.signalled {
            *self = Self::new(terms, signalled);
        }
        (self.policy, self.relatch_after) = (terms.latch, terms.relatch_after);
        self.within.clone_from(&terms.learned_within);
        self.signaller = terms.signaller.or(self.signaller);
        self.expects = expects;
        (self.begun, self.agreed) = (false, None);
        match &mut self.trials {
            Some(trials) if terms.latch == LatchPolicy::Symmetric => **trials = Trials::default(),
            trials => *trials = trials_under(terms.latch),
        }
    }

    /// Whether sources have to be tried, or all that comes is authenticated. To be told after each
    /// negotiation.
    pub(crate) fn tries(&mut self, tries: bool) {
        match &mut self.trials {
            Some(_) if tries => {}
            trials => *trials = trials_under(self.policy).filter(|_| tries),
        }
    }

    /// Gives back what nobody is tried in any more. Not to be asked for each packet.
    pub(crate) fn rest(&mut self, now: Instant) {
        let is_over = self.trials.is_some() && self.relatch_after.is_none();
        if is_over && self.agreed.is_some_and(|agreed| self.is_settled(now, agreed)) {
            self.trials = None;
        }
    }

    /// Whether no other source than the owner is learned until the next negotiation, unless by
    /// `relatch_after`.
    fn is_settled(&self, now: Instant, agreed: Instant) -> bool {
        let heard = self.owner.and_then(|owner| owner.heard);
        heard.is_some_and(|heard| heard > agreed)
            || now.saturating_duration_since(agreed) > LEARN_FOR
    }

    /// Tells the time of the last negotiation, if it has not been told.
    pub fn begin(&mut self, now: Instant) -> Instant {
        self.begun = true;
        *self.agreed.get_or_insert(now)
    }

    /// Where our packets go: the signalled address until latched, then the latched.
    #[inline]
    pub fn destination(&self) -> Option<SocketAddr> {
        match &self.owner {
            Some(owner) => Some(owner.at),
            None => self.signalled,
        }
    }

    /// Whether a source that was not signalled may begin a handshake.
    pub fn is_open_to_strangers(&self) -> bool {
        self.policy == LatchPolicy::Symmetric && self.locked().is_none()
    }

    /// The source that owns the stream, once one has been heard.
    pub fn locked(&self) -> Option<SocketAddr> {
        self.owner.map(|owner| owner.at)
    }

    /// An authenticated packet that is the newest of its source came from here. It is heard wherever that
    /// is, and followed only where it may be learned.
    pub fn follow(&mut self, from: SocketAddr) {
        if self.locked() != Some(from)
            && !self.led
            && (self.signalled == Some(from) || self.may_be_at(from.ip()))
        {
            self.owner = Some(Owner { at: from, ssrc: None, heard: None });
        }
    }

    /// From now on connectivity checks say where the far side is: here, or nowhere yet. So an ordinary packet
    /// finds here where it goes to.
    pub(crate) fn lead(&mut self, to: Option<SocketAddr>) {
        self.led = true;
        if to.is_some() && self.locked() != to {
            self.owner = to.map(|at| Owner { at, ssrc: None, heard: None });
        }
    }

    /// They do not say so any more: the signalled address counts again, until somebody is heard.
    pub(crate) fn lead_no_more(&mut self) {
        if std::mem::take(&mut self.led) {
            self.owner = None;
        }
    }

    fn may_be_at(&self, host: IpAddr) -> bool {
        self.within.as_ref().is_none_or(|within| within.iter().any(|block| block.contains(host)))
    }

    /// Whether a plain RTP packet is believed; the one that is also locks.
    #[inline]
    pub fn admits(&mut self, now: Instant, from: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        match &mut self.owner {
            Some(owner) if self.begun && owner.at == from => {
                (owner.ssrc, owner.heard) = (Some(ssrc), Some(now));
                true
            }
            _ => self.admits_any(now, from, ssrc, sequence),
        }
    }

    /// The same, whoever it is of.
    #[inline(never)]
    fn admits_any(&mut self, now: Instant, from: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let agreed = self.begin(now);
        match &mut self.owner {
            Some(owner) if owner.at == from => {
                (owner.ssrc, owner.heard) = (Some(ssrc), Some(now));
                true
            }
            _ => self.admits_another(now, agreed, from, ssrc, sequence),
        }
    }

    /// What a packet touches of it, of those that come here and those that leave for here alike.
    pub(crate) fn touched(&self) -> Stretch {
        Stretch::between(&self.owner, &self.begun)
    }

    /// The same for a source that does not own the stream.
    fn admits_another(
        &mut self,
        now: Instant,
        agreed: Instant,
        from: SocketAddr,
        ssrc: u32,
        sequence: u16,
    ) -> bool {
        let named = self.signalled == Some(from);
        let symmetric = self.policy == LatchPolicy::Symmetric;
        let believed = match self.owner {
            // Plain RTP of a signalled source is its own warrant, also where SRTP went elsewhere before.
            Some(_) if named && !symmetric => true,
            None if named => true,
            _ if !symmetric || !self.is_open(now, agreed) => false,
            _ => named || self.passes_trial(now, agreed, from, ssrc, sequence),
        };
        if believed {
            self.owner = Some(Owner { at: from, ssrc: Some(ssrc), heard: Some(now) });
            if let Some(trials) = &mut self.trials {
                **trials = Trials::default();
            }
        }
        believed
    }

    /// The source that owns the stream was heard elsewhere than here, plain, as `ssrc`.
    pub fn note(&mut self, from: SocketAddr, ssrc: u32, at: Instant) {
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.at == from) {
            (owner.ssrc, owner.heard) = (Some(ssrc), Some(at));
        }
    }

    /// Whether another source than the owner may be learned now.
    fn is_open(&self, now: Instant, agreed: Instant) -> bool {
        let heard = self.owner.and_then(|owner| owner.heard);
        let since_agreed = now.saturating_duration_since(agreed);
        let silence = now.saturating_duration_since(heard.map_or(agreed, |at| at.max(agreed)));
        // An owner that has been heard since has not moved by being agreed anew.
        let may_have_moved =
            self.owner.is_none() || silence == since_agreed && silence >= MOVED_AFTER;
        self.expects
            && (since_agreed <= LEARN_FOR && may_have_moved
                || self.relatch_after.is_some_and(|after| silence >= after))
    }

    /// Whether a plain RTCP packet is believed. On the RTP port (`rtp` is this latch's own) it is if
    /// its source owns the stream or was signalled; it never takes the latch.
    pub fn admits_muxed_rtcp(&self, from: SocketAddr) -> bool {
        self.destination() == Some(from)
    }

    /// Whether the stream is owned by this host, and was last sent plain as `ssrc`.
    fn is_sent(&self, host: IpAddr, ssrc: Option<u32>) -> bool {
        self.owner.is_some_and(|owner| {
            owner.at.ip() == host && owner.ssrc.is_some() && owner.ssrc == ssrc
        })
    }

    /// Counts a packet of an unsignalled source; true once it has been consistent for long enough.
    fn passes_trial(
        &mut self,
        now: Instant,
        agreed: Instant,
        from: SocketAddr,
        ssrc: u32,
        sequence: u16,
    ) -> bool {
        let host = from.ip();
        let is_near = self.signaller.is_none_or(|signaller| signaller == host)
            || self.signalled.is_some_and(|signalled| signalled.ip() == host);
        let newcomer = Candidate { from, ssrc, sequence, packets: 1, since: now };
        let Some(trials) = &mut self.trials else { return false };
        let known = trials.iter_mut().flatten().find(|c| c.from == from && c.ssrc == ssrc);
        let Some(candidate) = known else {
            // Who has come furthest keeps its place, so that one-packet sources cannot drive it out.
            let rank = |c: Candidate| (now - c.since <= LEARN_WINDOW, c.packets, c.since);
            if let Some(place) = trials.iter_mut().min_by_key(|c| c.map(rank)) {
                *place = Some(newcomer);
            }
            return false;
        };
        let step = sequence.wrapping_sub(candidate.sequence);
        let tried = now - candidate.since;
        if !(1..=LEARN_STEP).contains(&step) || tried > LEARN_WINDOW {
            *candidate = newcomer;
            return false;
        }
        candidate.sequence = sequence;
        candidate.packets = candidate.packets.saturating_add(1);
        candidate.packets >= LEARN_PACKETS
            && tried >= LEARN_SPAN
            && (is_near || now.saturating_duration_since(agreed) >= HEAD_START)
    }
}

fn trials_under(policy: LatchPolicy) -> Option<Box<Trials>> {
    (policy == LatchPolicy::Symmetric).then(Box::default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, zero as start};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn unsignalled_source_never_takes_a_signalled_stream() {
        let mut latch =
            Latch::new(&Terms::latching(LatchPolicy::Signalled), Some(at("192.0.2.1:4000")));
        let now = start();
        for sequence in 0..100 {
            assert!(!latch.admits(now, at("203.0.113.9:4000"), 7, sequence));
            assert!(!latch.admits(now, at("192.0.2.1:4002"), 7, sequence));
        }
        assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
        assert_eq!(latch.locked(), None);
    }

    #[test]
    fn behind_nat_the_consistent_source_takes_it_and_keeps_it() {
        let mut latch =
            Latch::new(&Terms::latching(LatchPolicy::Symmetric), Some(at("10.0.0.1:4000")));
        let (nat, other, now) = (at("198.51.100.1:61000"), at("203.0.113.9:9"), start());
        for sequence in 0..4 {
            assert!(!latch.admits(now + ms(20) * u32::from(sequence), nat, 7, sequence));
            assert_eq!(latch.destination(), Some(at("10.0.0.1:4000")));
        }
        assert!(latch.admits(now + ms(80), nat, 7, 4));
        assert_eq!(latch.destination(), Some(nat));
        for sequence in 0..50 {
            assert!(!latch.admits(now + ms(100), other, 8, sequence));
            assert!(!latch.admits(now + ms(100), at("10.0.0.1:4000"), 8, sequence));
        }
        assert_eq!(latch.destination(), Some(nat));
    }

    #[test]
    fn the_signalled_address_is_believed_at_once_and_ends_the_trial() {
        let mut latch =
            Latch::new(&Terms::latching(LatchPolicy::Symmetric), Some(at("192.0.2.1:4000")));
        let now = start();
        for sequence in 0..4 {
            assert!(!latch.admits(now, at("203.0.113.9:9"), 7, sequence));
        }
        assert!(latch.admits(now, at("192.0.2.1:4000"), 1, 1));
        assert!(!latch.admits(now, at("203.0.113.9:9"), 7, 4));
        assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
    }

    #[test]
    fn a_source_that_is_slow_or_changes_ssrc_or_jumps_is_not_learned() {
        let (from, now) = (at("203.0.113.9:9"), start());
        let mut latch = Latch::new(&Terms::latching(LatchPolicy::Symmetric), None);
        for sequence in 0..40 {
            assert!(!latch.admits(now + ms(130) * u32::from(sequence), from, 7, sequence));
        }
        for round in 0..40 {
            assert!(!latch.admits(now, from, u32::from(round), round), "another SSRC each time");
        }
        for round in 0..40 {
            assert!(!latch.admits(now, from, 7, round * 1000), "sequence jumps");
        }
        assert_eq!(latch.destination(), None);
    }

    #[test]
    fn only_another_signalled_address_unlocks() {
        let (old, new) = (Some(at("192.0.2.1:4000")), Some(at("192.0.2.1:5000")));
        let mut latch = Latch::new(&Terms::latching(LatchPolicy::Signalled), old);
        let terms = Terms::default();
        latch.follow(at("198.51.100.7:3478"));
        latch.renegotiate(&terms, old, true);
        latch.renegotiate(&terms, None, true);
        latch.renegotiate(&terms, old, true);
        assert_eq!(latch.destination(), Some(at("198.51.100.7:3478")));
        latch.renegotiate(&terms, new, true);
        assert_eq!(latch.destination(), new);
        assert_eq!(latch.locked(), None);
    }

    /// A latch of a carrier behind NAT that signals from 198.51.100.1.
    fn symmetric(relatch_after: Option<Duration>) -> (Terms, Latch) {
        let terms = Terms {
            latch: LatchPolicy::Symmetric,
            relatch_after,
            signaller: Some([198, 51, 100, 1].into()),
            ..Terms::default()
        };
        let latch = Latch::new(&terms, Some(at("10.0.0.1:4000")));
        (terms, latch)
    }

    /// Ten packets, 20 ms apart; whether any was believed.
    fn talks(latch: &mut Latch, from: Instant, source: SocketAddr) -> bool {
        (0..10).any(|n: u16| latch.admits(from + ms(20) * u32::from(n), source, 7, 100 + n))
    }

    fn learn(latch: &mut Latch, now: Instant, source: SocketAddr) {
        assert!(talks(latch, now, source), "{source} is not learned");
    }

    const NAT: &str = "198.51.100.1:61000";
    const OTHER: &str = "203.0.113.9:9";

    #[test]
    fn a_burst_of_consistent_packets_is_a_spray_and_takes_nothing() {
        let (_, mut latch) = symmetric(None);
        for n in 0..100 {
            assert!(!latch.admits(start() + ms(u64::from(n) / 4), at(NAT), 7, n));
        }
    }

    #[test]
    fn a_stranger_that_talks_from_the_first_moment_does_not_outrun_the_host_that_signals() {
        let (_, mut latch) = symmetric(None);
        let now = start();
        for n in 0..25 {
            let t = now + ms(20) * u32::from(n);
            assert!(!latch.admits(t, at(OTHER), 9, n));
            if n >= 15 {
                let believed = latch.admits(t, at(NAT), 7, n);
                assert_eq!(believed, n >= 19, "{n}");
            }
        }
        assert_eq!(latch.destination(), Some(at(NAT)));
    }

    #[test]
    fn media_from_a_third_host_is_learned_a_second_later_and_ten_seconds_later_nobody_is() {
        let (_, mut latch) = symmetric(None);
        latch.begin(start());
        assert!(!talks(&mut latch, start() + ms(500), at(OTHER)));
        learn(&mut latch.clone(), start() + ms(1500), at(OTHER));
        assert!(!talks(&mut latch, start() + LEARN_FOR + ms(1), at(OTHER)));
        assert!(!talks(&mut latch, start() + LEARN_FOR + ms(1), at(NAT)));
        // The signalled one is welcome whenever it comes.
        assert!(latch.admits(start() + LEARN_FOR * 9, at("10.0.0.1:4000"), 1, 1));
    }

    #[test]
    fn silence_alone_gives_the_stream_to_nobody_unless_the_trunk_says_so() {
        let hour = Duration::from_secs(3600);
        let (_, mut latch) = symmetric(None);
        learn(&mut latch, start(), at(NAT));
        assert!(!talks(&mut latch, start() + hour, at("198.51.100.1:7777")));
        let (_, mut latch) = symmetric(Some(Duration::from_secs(5)));
        learn(&mut latch, start(), at(NAT));
        assert!(!talks(&mut latch, start() + ms(4700), at(OTHER)));
        learn(&mut latch, start() + ms(5300), at("198.51.100.1:7777"));
        assert!(!latch.admits(start() + ms(5600), at(NAT), 7, 200), "it is the stranger now");
    }

    #[test]
    fn after_a_negotiation_a_source_that_goes_on_keeps_its_stream_and_one_that_does_not_may_move() {
        let (terms, mut latch) = symmetric(None);
        learn(&mut latch, start(), at(NAT));
        let moved = at("198.51.100.1:7777");
        let again = |latch: &mut Latch, minute: u64| {
            let at_that = start() + Duration::from_secs(60 * minute);
            latch.renegotiate(&terms, Some(at("10.0.0.1:4000")), true);
            latch.begin(at_that);
            at_that
        };
        let first = again(&mut latch, 1);
        for n in 0..100 {
            let t = first + ms(20) * u32::from(n);
            assert!(latch.admits(t, at(NAT), 7, n));
            assert!(!latch.admits(t, moved, 9, n));
        }
        assert!(!talks(&mut latch, first + ms(6000), moved), "it was heard since");
        let second = again(&mut latch, 2);
        assert!(!talks(&mut latch, second, moved));
        learn(&mut latch, second + ms(1200), moved);
    }

    #[test]
    fn a_hold_opens_nothing_for_those_who_wait_for_silence() {
        let (terms, mut latch) = symmetric(Some(Duration::from_secs(5)));
        learn(&mut latch, start(), at(NAT));
        latch.renegotiate(&terms, Some(at("10.0.0.1:4000")), false);
        latch.begin(start() + ms(1000));
        for s in 2..60 {
            assert!(!talks(&mut latch, start() + Duration::from_secs(s), at("198.51.100.1:7")));
        }
        // At the end of it the far side has its time anew.
        let resumed = start() + Duration::from_secs(61);
        latch.renegotiate(&terms, Some(at("10.0.0.1:4000")), true);
        latch.begin(resumed);
        assert!(!talks(&mut latch, resumed + ms(500), at("198.51.100.1:7")));
        assert!(latch.admits(resumed + ms(700), at(NAT), 7, 300));
    }

    #[test]
    fn trials_that_can_come_to_nothing_any_more_take_no_memory() {
        for (relatch_after, is_kept) in [(None, false), (Some(Duration::from_secs(5)), true)] {
            let (terms, mut latch) = symmetric(relatch_after);
            latch.rest(start());
            assert!(latch.trials.is_some(), "nobody has told the time yet");
            learn(&mut latch, start(), at(NAT));
            latch.rest(start() + ms(1000));
            assert_eq!(latch.trials.is_some(), is_kept, "{relatch_after:?}");
            // And again from the next negotiation on, until it is too late to learn anybody.
            latch.renegotiate(&terms, Some(at("10.0.0.1:4000")), true);
            latch.begin(start() + ms(2000));
            latch.rest(start() + ms(2000) + LEARN_FOR);
            assert!(latch.trials.is_some());
            latch.rest(start() + ms(2001) + LEARN_FOR);
            assert_eq!(latch.trials.is_some(), is_kept, "{relatch_after:?}");
        }
    }

    #[test]
    fn where_everything_is_authenticated_nobody_is_tried() {
        let (_, mut latch) = symmetric(None);
        latch.tries(false);
        assert!(latch.trials.is_none() && !talks(&mut latch, start(), at(NAT)));
        latch.tries(true);
        learn(&mut latch, start(), at(NAT));
    }
}
