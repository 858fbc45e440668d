//! Virtual time for unit tests.

use std::time::{Duration, Instant};

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
