//! When a worker comes for packets: at ticks where many come, else with the first one.
//!
//! A packet that wakes a thread costs twice to three times what it costs in a batch, so under load
//! packets gather for a tick. Where fewer come than there are ticks, ticks would wake the thread for
//! nothing: it sleeps until the kernel has something.

use std::time::{Duration, Instant};

/// How long packets gather. Against the 20 ms of a voice packet it is nothing, and it cuts the cost
/// of a packet by half and more, because many share one wake-up.
pub(crate) const TICK: Duration = Duration::from_micros(500);
/// How long packets are counted before the pace is chosen anew: each stream of voice has one in it.
const LOOK: Duration = Duration::from_millis(20);
/// More packets than this within [`LOOK`], and ticks are fewer than wake-ups by packets would be.
const BUSY: u64 = 40;
/// Fewer than this, and they are more; between both the pace stays as it is.
const QUIET: u64 = 30;
/// How long packets gather at least, after work that took longer than a tick: a worker with nothing but
/// work drains until nothing is left, and so finds larger batches by itself.
const REST_MIN: Duration = Duration::from_micros(100);

/// The pace of one worker.
#[derive(Debug)]
pub(crate) struct Pace {
    ticks: bool,
    since: Instant,
    /// Packets that had been received by then.
    before: u64,
    /// When the last tick was due.
    tick: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { ticks: false, since: now, before: 0, tick: now }
    }

    /// Whether to come back at the next tick; else with the next packet. `received` counts all packets
    /// so far.
    pub(crate) fn ticks(&mut self, now: Instant, received: u64) -> bool {
        let packets = received.wrapping_sub(self.before);
        let over = now.saturating_duration_since(self.since);
        if over >= LOOK {
            // A look may end late, after a sleep: what counts is the rate.
            let packets = u128::from(packets) * LOOK.as_nanos() / over.as_nanos();
            let enough = if self.ticks { QUIET } else { BUSY };
            self.ticks = packets > u128::from(enough);
            (self.since, self.before) = (now, received);
        }
        self.ticks
    }

    /// How long until the next tick. They come at a steady beat: a packet does not wait for a whole tick on
    /// top of what work the last one brought.
    pub(crate) fn rest(&mut self, now: Instant) -> Duration {
        self.tick = (self.tick + TICK).clamp(now + REST_MIN, now + TICK);
        self.tick.saturating_duration_since(now)
    }
}

/// How long what signalling asks for gathers: each call that is set up or ends asks three times, and to
/// wake a thread costs several times what there is to do. Packets end the wait.
pub(crate) const GATHER: Duration = Duration::from_millis(1);

/// Whether signalling asks so often that the worker comes by itself instead of being woken.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    last: Option<Instant>,
    often: bool,
}

impl Asked {
    /// It has asked for something.
    pub(crate) fn note(&mut self, now: Instant) {
        // What gathers for as long as it may is still close to what came before.
        self.often = self.within(now, 2 * GATHER);
        self.last = Some(now);
    }

    /// Whether more is to be expected.
    pub(crate) fn often(&self, now: Instant) -> bool {
        self.often && self.within(now, GATHER)
    }

    fn within(&self, now: Instant, time: Duration) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_alone_waits_for_no_other_and_a_busy_host_does_not_wake_the_worker_for_each() {
        let start = crate::clock::now().mono;
        let after = |us: u64| start + Duration::from_micros(us);
        let mut asked = Asked::default();
        asked.note(after(0));
        assert!(!asked.often(after(10)), "the first of a call");
        asked.note(after(300));
        assert!(asked.often(after(320)), "the next one is close behind");
        // It comes a little late, and finds what has gathered.
        asked.note(after(1_400));
        assert!(asked.often(after(1_410)), "as on a busy host");
        assert!(!asked.often(after(2_500)), "nothing had gathered: it is to be woken again");
        asked.note(after(9_000));
        assert!(!asked.often(after(9_010)), "another call, later");
    }

    #[test]
    fn a_packet_waits_for_a_whole_tick_after_the_work_of_the_last_one_or_work_leaves_no_rest() {
        let start = crate::clock::now().mono;
        let mut pace = Pace::new(start);
        let after = |worked: u64| start + Duration::from_micros(worked);
        let rests = [(200, 300), (600, 400), (1_400, 100), (3_500, 100), (3_700, 400)];
        for (at, rest) in rests {
            assert_eq!(pace.rest(after(at)), Duration::from_micros(rest), "{at} us");
        }
    }

    /// Whether a worker that is woken `every` with `packets` each ends up with ticks.
    fn settles(
        pace: &mut Pace,
        now: &mut Instant,
        received: &mut u64,
        every: Duration,
        packets: u64,
    ) -> bool {
        let mut ticks = false;
        for _ in 0..200 {
            *now += every;
            *received += packets;
            ticks = pace.ticks(*now, *received);
        }
        ticks
    }

    #[test]
    fn a_worker_with_few_packets_is_not_woken_for_none_and_one_with_many_lets_them_gather() {
        let mut now = crate::clock::now().mono;
        let (mut pace, mut received) = (Pace::new(now), 0);
        let ms = Duration::from_millis;
        assert!(!pace.ticks(now, 0), "without packets");
        // Ten calls are a thousand packets a second, a hundred are ten thousand.
        assert!(!settles(&mut pace, &mut now, &mut received, ms(1), 1), "ten calls");
        assert!(settles(&mut pace, &mut now, &mut received, TICK, 5), "a hundred calls");
        assert!(settles(&mut pace, &mut now, &mut received, TICK, 1), "twenty, from above");
        assert!(!settles(&mut pace, &mut now, &mut received, TICK, 0), "silence");
        assert!(
            !settles(&mut pace, &mut now, &mut received, ms(10), 10),
            "ten calls that come together"
        );
        assert!(
            !settles(&mut pace, &mut now, &mut received, ms(5000), 20),
            "a packet now and then"
        );
    }
}
