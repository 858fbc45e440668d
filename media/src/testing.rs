//! Virtual time for unit tests.

use crate::Now;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// The start of virtual time, the same in a whole run.
pub(crate) fn zero() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    fn any() -> Instant {
        Instant::now()
    }
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(any)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// So many ms after the start, in 2025.
pub(crate) fn at_ms(after: u64) -> Now {
    Now { mono: zero() + ms(after), wall: UNIX_EPOCH + ms(1_750_000_000_000 + after) }
}
