//! `[limits]` of a trunk or a tenant.

/// Bounds on calls; `None` is no bound of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent calls.
    pub calls: Option<u32>,
    /// New calls per second in the long run.
    pub calls_per_second: Option<u32>,
    /// New calls at once, after a while without any; as many as come in a second unless it is said.
    pub burst: Option<u32>,
}

impl Limits {
    /// The steady rate and what may come at once; `None`: there is no bound on either.
    pub fn rate(&self) -> Option<(u32, u32)> {
        let steady = self.calls_per_second?;
        Some((steady, self.burst.unwrap_or(steady).max(1)))
    }
}
