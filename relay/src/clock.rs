//! The one place in the daemon that asks what time it is, or sleeps; the cores are told.

use b2bua::Now;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one file that asks")]
pub fn now() -> Now {
    Now { mono: std::time::Instant::now(), wall: std::time::SystemTime::now() }
}

/// Sleeps, on a thread that nobody waits for, or that lets its work gather.
#[expect(clippy::disallowed_methods, reason = "this is the one file that sleeps")]
pub(crate) fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}
