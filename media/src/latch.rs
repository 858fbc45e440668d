//! Which source address a stream believes, and where its own packets go.
//!
//! SRTP: authentication decides, and the latch follows it (TDR-MED-005). Plain RTP: the signalled
//! address; under [`LatchPolicy::Symmetric`] also the first source that keeps one SSRC in sequence
//! for [`LEARN_PACKETS`] packets within [`LEARN_WINDOW`], while the signalled address is silent.
//! Once plain RTP has a source, only signalling can give it another.

use crate::LatchPolicy;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Packets in sequence that an unsignalled source must send: one injected packet takes nothing.
pub const LEARN_PACKETS: u8 = 5;
/// Within which time they must come; five packets of 60 ms fit.
pub const LEARN_WINDOW: Duration = Duration::from_millis(500);
/// How many unsignalled sources are looked at side by side.
const LEARN_SOURCES: usize = 4;
/// The largest step between two sequence numbers of a source that is learned.
const LEARN_STEP: u16 = 4;

/// The latch of one leg's component.
#[derive(Clone, Copy, Debug)]
pub struct Latch {
    policy: LatchPolicy,
    signalled: Option<SocketAddr>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nobody has been heard; unsignalled sources may be on trial.
    Open([Option<Candidate>; LEARN_SOURCES]),
    /// This source owns the stream.
    Locked(SocketAddr),
}

/// An unsignalled source on trial.
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
    pub const fn new(policy: LatchPolicy, signalled: Option<SocketAddr>) -> Self {
        Self { policy, signalled, state: State::Open([None; LEARN_SOURCES]) }
    }

    /// Takes a new negotiation. Only another address unlocks; none at all (a hold by `0.0.0.0`)
    /// says nothing about where the far side is.
    pub fn renegotiate(&mut self, policy: LatchPolicy, signalled: Option<SocketAddr>) {
        self.policy = policy;
        if signalled.is_some() && signalled != self.signalled {
            *self = Self::new(policy, signalled);
        }
    }

    /// Where our packets go: the signalled address until latched, then the latched.
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self.state {
            State::Open(_) => self.signalled,
            State::Locked(source) => Some(source),
        }
    }

    /// The source that owns the stream, once one has been heard.
    pub const fn locked(&self) -> Option<SocketAddr> {
        match self.state {
            State::Open(_) => None,
            State::Locked(source) => Some(source),
        }
    }

    /// An authenticated packet that is the newest of its source came from here.
    pub fn follow(&mut self, from: SocketAddr) {
        self.state = State::Locked(from);
    }

    /// Whether a plain RTP packet is believed; the one that is also locks.
    pub fn admits(&mut self, now: Instant, from: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let candidates = match &mut self.state {
            State::Locked(source) => return *source == from,
            State::Open(candidates) => candidates,
        };
        let believed = self.signalled == Some(from)
            || self.policy == LatchPolicy::Symmetric
                && passes_trial(candidates, now, from, ssrc, sequence);
        if believed {
            self.state = State::Locked(from);
        }
        believed
    }

    /// Whether a plain RTCP packet is believed. On the RTP port (`rtp` is this latch's own) it is if
    /// its source owns the stream or was signalled; it never takes the latch.
    pub fn admits_muxed_rtcp(&self, from: SocketAddr) -> bool {
        self.destination() == Some(from)
    }

    /// Whether a plain RTCP packet on the RTCP port is believed: from the signalled address, or
    /// under [`LatchPolicy::Symmetric`] from the host that owns the RTP stream.
    pub fn admits_rtcp(&mut self, from: SocketAddr, rtp: &Self) -> bool {
        let believed = match self.state {
            State::Locked(source) => source == from,
            State::Open(_) => {
                self.signalled == Some(from)
                    || self.policy == LatchPolicy::Symmetric
                        && rtp.locked().is_some_and(|source| source.ip() == from.ip())
            }
        };
        if believed {
            self.state = State::Locked(from);
        }
        believed
    }
}

/// Counts a packet of an unsignalled source; true once it has been consistent for long enough.
fn passes_trial(
    candidates: &mut [Option<Candidate>; LEARN_SOURCES],
    now: Instant,
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
) -> bool {
    let newcomer = Candidate { from, ssrc, sequence, packets: 1, since: now };
    let known = candidates.iter_mut().flatten().find(|c| c.from == from && c.ssrc == ssrc);
    let Some(candidate) = known else {
        // Who has come furthest keeps its place, so that one-packet sources cannot drive it out.
        let rank = |c: Candidate| (now - c.since <= LEARN_WINDOW, c.packets, c.since);
        if let Some(place) = candidates.iter_mut().min_by_key(|c| c.map(rank)) {
            *place = Some(newcomer);
        }
        return false;
    };
    let step = sequence.wrapping_sub(candidate.sequence);
    if !(1..=LEARN_STEP).contains(&step) || now - candidate.since > LEARN_WINDOW {
        *candidate = newcomer;
        return false;
    }
    candidate.sequence = sequence;
    candidate.packets += 1;
    candidate.packets >= LEARN_PACKETS
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
        let mut latch = Latch::new(LatchPolicy::Signalled, Some(at("192.0.2.1:4000")));
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
        let mut latch = Latch::new(LatchPolicy::Symmetric, Some(at("10.0.0.1:4000")));
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
        let mut latch = Latch::new(LatchPolicy::Symmetric, Some(at("192.0.2.1:4000")));
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
        let mut latch = Latch::new(LatchPolicy::Symmetric, None);
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
        let mut latch = Latch::new(LatchPolicy::Signalled, old);
        latch.follow(at("198.51.100.7:3478"));
        latch.renegotiate(LatchPolicy::Signalled, old);
        latch.renegotiate(LatchPolicy::Signalled, None);
        latch.renegotiate(LatchPolicy::Signalled, old);
        assert_eq!(latch.destination(), Some(at("198.51.100.7:3478")));
        latch.renegotiate(LatchPolicy::Signalled, new);
        assert_eq!(latch.destination(), new);
        assert_eq!(latch.locked(), None);
    }

    #[test]
    fn rtcp_from_another_host_is_not_believed_even_when_symmetric() {
        let mut rtp = Latch::new(LatchPolicy::Symmetric, Some(at("10.0.0.1:4000")));
        let mut rtcp = Latch::new(LatchPolicy::Symmetric, Some(at("10.0.0.1:4001")));
        let nat = at("198.51.100.1:61001");
        assert!(!rtcp.admits_rtcp(nat, &rtp));
        rtp.follow(at("198.51.100.1:61000"));
        assert!(!rtcp.admits_rtcp(at("203.0.113.9:61001"), &rtp));
        assert!(rtcp.admits_rtcp(nat, &rtp));
        assert!(!rtcp.admits_rtcp(at("198.51.100.1:61003"), &rtp));
        assert_eq!(rtcp.destination(), Some(nat));
    }
}
