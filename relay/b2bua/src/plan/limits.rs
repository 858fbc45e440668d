//! `[limits]` of a trunk or a tenant.

/// Bounds on calls; `None` is no bound of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent calls.
    pub calls: Option<u32>,
    /// New calls per second.
    pub calls_per_second: Option<u32>,
}
