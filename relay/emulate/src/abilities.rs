//! What a carrier does beyond plain calls: nothing, unless it is told to.

use sip_core::auth::{Algorithm, Asker, User};
use sip_core::usage::session_timer::Terms;

/// What a carrier can, and what it demands.
#[derive(Clone, Debug, Default)]
pub struct Abilities {
    /// Reliable provisional responses (RFC 3262).
    pub reliable: Reliability,
    /// Its calls bring no offer, and nor do some of its re-INVITEs (RFC 3261, 13.2.1).
    pub offerless: bool,
    /// It changes and refreshes calls by UPDATE, about every second time (RFC 3311).
    pub update: bool,
    /// It keeps session timers (RFC 4028).
    pub session: Option<Terms>,
    /// It asks who calls (RFC 3261, 22).
    pub challenges: Option<Challenges>,
    /// It sends calls of any other number to this one, at the same address (302).
    pub redirect: Option<String>,
    /// It refuses one in so many re-INVITEs with 491 though nothing is under way; 0: none.
    pub glares: u32,
    /// It refuses one in so many re-INVITEs with 500 and Retry-After; 0: none.
    pub puts_off: u32,
}

/// What becomes of reliable provisional responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// It knows none: who requires them is refused with 420.
    #[default]
    Off,
    /// It sends them to who can take them, and takes them.
    Supported,
    /// It requires them, and refuses with 421 who cannot.
    Required,
}

/// How a carrier asks who calls.
#[derive(Clone, Debug)]
pub struct Challenges {
    /// 401 or 407.
    pub asker: Asker,
    /// First preferred.
    pub algorithms: Vec<Algorithm>,
    /// Who may call.
    pub user: User,
    /// Whether requests within a call are asked too.
    pub within: bool,
}
