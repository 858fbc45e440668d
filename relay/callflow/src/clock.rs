//! The virtual clock: it stands still until the world moves it.

use std::time::{Duration, Instant, SystemTime};

/// 2026-03-02 09:00:00 UTC, a Monday in office hours: what routes by time of day should see.
const WALL_START_S: u64 = 1_772_442_000;

/// Monotonic and wall time that move together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    now: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        Self { start, now: start }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_START_S) + self.elapsed()
    }

    pub(crate) fn for_core(&self) -> b2bua::Now {
        b2bua::Now { mono: self.now, wall: self.wall() }
    }

    pub(crate) fn for_media(&self) -> media::Now {
        media::Now { mono: self.now, wall: self.wall() }
    }

    /// Moves on; never back.
    pub(crate) fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }
}
