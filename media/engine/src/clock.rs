//! The only file of the packet path that asks for the time or waits for it.

use media::Now;
use std::time::{Duration, Instant, SystemTime};

/// The time now, on both clocks.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::now() }
}

/// Lets packets gather, so that the next turn takes many for the price of one wake-up.
#[expect(clippy::disallowed_methods, reason = "the paced media worker sleeps, here only")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
