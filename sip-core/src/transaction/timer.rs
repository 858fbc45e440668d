//! Timer values and the deadlines of all transactions (RFC 3261, 17 and table 4).

use super::table::is_slack;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Estimate of the round-trip time (RFC 3261, 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// The longest pause between two retransmissions of a request other than INVITE, or of a final
/// response to INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may live in the network.
pub const T4: Duration = Duration::from_secs(5);
/// How long a transaction tries: timers B, F, H, J, L and M.
pub const GIVE_UP: Duration = Duration::from_secs(32);
/// How long retransmitted failures are acknowledged on an unreliable hop (RFC 3261, 17.1.1.2).
pub(crate) const TIMER_D: Duration = Duration::from_secs(32);
/// When a client's timer E reaches T2: the time by which a request other than INVITE must have had
/// an answer, if only 100 (RFC 4320, 4.1).
pub(crate) const TRYING_DUE: Duration = Duration::from_millis(3500);

/// What a deadline is for: the letters of RFC 3261 and RFC 6026, and three that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// INVITE is sent again.
    A,
    /// INVITE found no answer.
    B,
    /// Failures to INVITE are not repeated any more.
    D,
    /// A request other than INVITE is sent again.
    E,
    /// A request other than INVITE found no final answer.
    F,
    /// A failure to INVITE is sent again.
    G,
    /// A failure to INVITE found no ACK.
    H,
    /// ACK is not repeated any more.
    I,
    /// A request other than INVITE is not repeated any more.
    J,
    /// Final responses are not repeated any more.
    K,
    /// An accepted INVITE is not repeated any more.
    L,
    /// No further 2xx to INVITE comes.
    M,
    /// A cancelled INVITE found no final answer (RFC 3261, 9.1).
    Cancelled,
    /// A 2xx to INVITE is sent again (RFC 3261, 13.3.1.4).
    Accepted,
    /// A request other than INVITE needs a 100 (RFC 4320, 4.1).
    Trying,
    /// It is too late to answer a request other than INVITE (RFC 4320, 4.2).
    Expired,
}

/// A repeated deadline whose pauses double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    /// The next repeat.
    pub(crate) due: Instant,
}

impl Backoff {
    /// The first repeat after T1.
    pub(crate) fn start(now: Instant) -> Self {
        Self { pause: T1, due: now + T1 }
    }

    /// On an unreliable hop only.
    pub(crate) fn unless(reliable: bool, now: Instant) -> Option<Self> {
        (!reliable).then(|| Self::start(now))
    }

    /// Doubles the pause without a bound (timer A).
    pub(crate) fn double(&mut self, now: Instant) {
        self.pause *= 2;
        self.due = now + self.pause;
    }

    /// Doubles the pause up to T2 (timers E and G, repeats of a 2xx).
    pub(crate) fn double_to_t2(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(T2);
        self.due = now + self.pause;
    }

    /// Pauses for T2 from here on (timer E once a provisional response has come).
    pub(crate) fn slow_down(&mut self, now: Instant) {
        self.pause = T2;
        self.due = now + T2;
    }
}

/// The earliest of a repeat and an end; the end if both are due.
pub(crate) fn earliest(
    repeat: Option<(&Backoff, Timer)>,
    end: (Instant, Timer),
) -> (Instant, Timer) {
    match repeat {
        Some((backoff, timer)) if backoff.due < end.0 => (backoff.due, timer),
        _ => end,
    }
}

/// The deadlines of all transactions, earliest first. An entry whose transaction has gone or has
/// moved its deadline is stale and skipped: nothing is searched.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest deadline; it stands after [`Self::settle`].
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry that is due, stale or not.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops stale entries from the front, and all of them once they outnumber the `live` ones.
    pub(crate) fn settle(&mut self, live: usize, stands: impl Fn(Instant, K) -> bool) {
        while self.heap.peek().is_some_and(|Reverse((at, key))| !stands(*at, *key)) {
            self.heap.pop();
        }
        if self.heap.len() > live.saturating_mul(STALE_FACTOR).saturating_add(STALE_FLOOR) {
            self.heap.retain(|Reverse((at, key))| stands(*at, *key));
        }
        // A burst leaves a heap that is nearly empty.
        if is_slack(self.heap.capacity(), self.heap.len()) {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

/// Entries per live transaction before stale ones are swept out: each sweep is then paid for by
/// as many pushes as it visits entries.
const STALE_FACTOR: usize = 4;
/// Below this many entries sweeping is not worth it.
const STALE_FLOOR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    #[test]
    fn stale_deadlines_are_swept_and_never_the_next() {
        let start = zero();
        let mut deadlines = Deadlines::new();
        for key in 0..10_000_u32 {
            deadlines.push(start + GIVE_UP, key);
            deadlines.settle(1, |_, k| k == key);
        }
        assert!(deadlines.len() <= STALE_FACTOR + STALE_FLOOR + 1);
        deadlines.push(start, 7);
        deadlines.settle(1, |_, k| k == 9_999);
        assert_eq!(deadlines.next(), Some(start + GIVE_UP));
    }

    #[test]
    fn timer_g_stays_at_t2_and_timer_a_does_not() {
        let start = zero();
        let (mut a, mut g) = (Backoff::start(start), Backoff::start(start));
        for _ in 0..5 {
            a.double(start);
            g.double_to_t2(start);
        }
        assert_eq!(a.due - start, Duration::from_secs(16));
        assert_eq!(g.due - start, T2);
    }
}
