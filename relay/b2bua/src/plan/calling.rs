//! What a tenant shows of who calls, and whom it is not connected with.

use super::Patterns;

/// Whether the caller of a route is shown: its key `caller`, else that of the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerPolicy {
    /// As it is.
    #[default]
    Pass,
    /// A number of the tenant as it is; in place of any other `caller_number`.
    Own,
    /// `caller_number`, whoever calls.
    Substitute,
    /// Not at all.
    Anonymous,
}

/// `caller` and `caller_number`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerId {
    /// What is shown; `None`: what the tenant says.
    pub policy: Option<CallerPolicy>,
    /// The number in place of the caller's.
    pub number: Option<Box<str>>,
}

/// Whether a tenant's callers are shown to carriers at all: its key `privacy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerPrivacy {
    /// As each of them wants.
    #[default]
    Pass,
    /// Never.
    Anonymous,
}

/// `[block]` of the host or of a tenant: calls that are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// By who is called.
    pub called: Option<Patterns>,
    /// By who calls.
    pub calling: Option<Patterns>,
}

/// What the caller is told, and hears, before the callee answers: the key `ringback` (TDR-EM-004).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ringback {
    /// What the callee's side says and plays; that it rings is kept back while it plays.
    #[default]
    Pass,
    /// The same, and nothing is kept back.
    All,
    /// The first of what its side says: after a 180 nothing that it plays is heard.
    First,
    /// No: the caller's own side plays that it rings.
    Local,
    /// No: we play that it rings.
    Tone,
}
