//! What a tenant has for calls to emergency numbers: where its callers may be, and under which numbers
//! they can be called back.

use std::time::Duration;

/// How long whoever answered a call for help can reach the caller under an ELIN, if nothing is said
/// (TDR-EMG-005).
pub const CALL_BACK: Duration = Duration::from_secs(3600);

/// What becomes of the caller's location in the emergency calls of a route: its key `pidf`
/// (TDR-EMG-004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pidf {
    /// It goes along, octet by octet.
    Passthrough,
    /// It stays here.
    Strip,
    /// A number that stands for it is shown as caller in its place.
    Elin,
}

/// What a tenant says of its emergency calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// `[[location]]`, in file order.
    pub locations: Box<[Location]>,
    /// Shown for callers who have no number of their own: `emergency_caller`.
    pub caller: Option<Box<str>>,
    /// `emergency_call_back`; `None`: [`CALL_BACK`].
    pub call_back: Option<Duration>,
}

impl Help {
    /// How long an ELIN leads to who has called under it.
    pub fn call_back(&self) -> Duration {
        self.call_back.unwrap_or(CALL_BACK)
    }
}

/// Somewhere that callers may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What operators call it.
    pub name: Box<str>,
    /// Numbers that stand for it with the emergency service (ELIN), in E.164.
    pub elins: Box<[Box<str>]>,
    /// What a civic address says that is here: elements of RFC 5139 and their text. Without any it is
    /// for callers who are in no other.
    pub civic: Box<[(Box<str>, Box<str>)]>,
}
