//! The time, asked for in this file only.

use std::time::{Duration, Instant, SystemTime};

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Nanoseconds of the wall clock: the clock that the kernel stamps packets with.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// Sleeps until `due`; false if that was past already.
#[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
pub(crate) fn sleep_until(due: Instant) -> bool {
    let left = due.saturating_duration_since(monotonic());
    if left > Duration::ZERO {
        std::thread::sleep(left);
    }
    left > Duration::ZERO
}
