//! A bucket that new calls fill and time empties: a steady rate with bursts.

use std::time::Instant;

/// A call, in the bucket's unit: what a rate of one a second drains in a nanosecond is one.
const CALL: u64 = 1_000_000_000;

/// How full it is. The rate and the burst are told each time, so it follows whatever is in force.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    level: u64,
    at: Option<Instant>,
}

impl Bucket {
    /// Whether one more call fits.
    pub(crate) fn has_room(&self, now: Instant, (rate, burst): (u32, u32)) -> bool {
        self.level(now, rate, burst) + CALL <= u64::from(burst) * CALL
    }

    /// Takes a call in, one beyond the brim as well: that one is forgiven.
    pub(crate) fn take(&mut self, now: Instant, rate: Option<(u32, u32)>) {
        let Some((rate, burst)) = rate else {
            *self = Self::default();
            return;
        };
        let brim = u64::from(burst) * CALL;
        self.level = (self.level(now, rate, burst) + CALL).min(brim);
        self.at = Some(now);
    }

    /// Never above the brim, as that may have been higher before a reload.
    fn level(&self, now: Instant, rate: u32, burst: u32) -> u64 {
        let Some(at) = self.at else { return 0 };
        let drained = now.saturating_duration_since(at).as_nanos() * u128::from(rate);
        let level = self.level.min(u64::from(burst) * CALL);
        u64::try_from(u128::from(level).saturating_sub(drained)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "a beginning to count from")]
    fn beginning() -> Instant {
        Instant::now()
    }

    /// How many of the calls that come at these milliseconds get in.
    fn taken(bucket: &mut Bucket, start: Instant, rate: (u32, u32), at_ms: &[u64]) -> usize {
        let mut taken = 0;
        for ms in at_ms {
            let now = start + Duration::from_millis(*ms);
            if bucket.has_room(now, rate) {
                bucket.take(now, Some(rate));
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn a_burst_gets_in_at_once_and_then_one_for_each_interval_to_the_nanosecond() {
        let start = beginning();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, start, (10, 30), &[0; 100]), 30);
        assert_eq!(taken(&mut bucket, start, (10, 30), &[99, 100, 100, 199, 200]), 2);
        // Rested, it takes a burst again, and no more than that however long it rested.
        assert_eq!(taken(&mut bucket, start, (10, 30), &[1_000_000; 100]), 30);
        let just_before = start + Duration::from_nanos(1_000_099_999_999);
        assert!(!bucket.has_room(just_before, (10, 30)));
        assert!(bucket.has_room(just_before + Duration::from_nanos(1), (10, 30)));
    }

    #[test]
    fn a_new_rate_is_followed_at_once() {
        let start = beginning();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, start, (1, 1000), &[0; 2000]), 1000);
        // What was taken under the old bound fills the new bucket, and not more than that.
        assert_eq!(taken(&mut bucket, start, (100, 100), &[0, 10, 10, 20]), 2);
        assert_eq!(taken(&mut bucket, start, (1, 2000), &[20; 3000]), 1900);
        bucket.take(start, None);
        assert_eq!(taken(&mut bucket, start, (1, 2), &[0; 3]), 2, "without a bound nothing counts");
    }

    #[test]
    fn over_any_time_no_more_gets_in_than_burst_and_rate_allow() {
        let start = beginning();
        for (rate, burst) in [(1, 1), (3, 1), (7, 20), (1000, 5)] {
            let mut bucket = Bucket::default();
            // Offered every millisecond for ten seconds.
            let all: Vec<u64> = (0..10_000).collect();
            let taken = taken(&mut bucket, start, (rate, burst), &all);
            let most = (burst + 10 * rate) as usize;
            assert!(taken <= most && taken + 12 >= most.min(10_000), "{taken} of {most}");
        }
    }
}
