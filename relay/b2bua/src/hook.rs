//! What a tenant's routing hook is asked, and what it may say: words only. Whoever asks it is outside of
//! the core; [`crate::Output::AskRoute`] goes there, and [`crate::Input::RouteAnswer`] comes back.

use crate::clip;
use crate::io::CallId;
use crate::plan::{Hook, RouteFrom};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Octets of one text in a question: names and numbers in use are well below this.
pub(crate) const TEXT_MAX: usize = 128;
/// Octets of the reason that an answer gives.
pub const REASON_MAX: usize = 128;
/// Trunks that an answer may name: each is tried in turn while a caller waits.
pub const TRUNKS_MAX: usize = 8;
/// Statuses that an answer may refuse a call with. Those that are missing mean something to
/// transactions, dialogs or authentication, or tell Teams that another SBC may do better (TDR-FO-011).
pub const STATUSES: &[u16] = &[403, 404, 410, 480, 484, 486, 600, 603, 604, 606, 607, 608];

/// Where does this call go?
#[derive(Clone, Debug)]
pub struct RouteQuestion {
    /// The call: an answer names it.
    pub call: CallId,
    /// The tenant, by name.
    pub tenant: String,
    /// Who is asked.
    pub hook: Arc<Hook>,
    /// The side the call comes from.
    pub from: RouteFrom,
    /// The trunk it came in on.
    pub via: String,
    /// The number called.
    pub called: String,
    /// The number calling; empty for a caller who is not named.
    pub calling: String,
    /// The caller's name as displayed, if there is one.
    pub name: Option<String>,
    /// Who diverted the call last.
    pub diverted_by: Option<String>,
    /// When it came in.
    pub at: SystemTime,
    /// An answer after this is too late.
    pub deadline: Instant,
}

/// What the hook has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// Try these trunks, in order, perhaps under other numbers.
    Route {
        /// By name.
        to: Vec<String>,
        /// The number to call.
        called: Option<String>,
        /// The number to show.
        caller: Option<String>,
    },
    /// As the tenant's routes say.
    Table,
    /// Refuse the call.
    Reject {
        /// One of [`STATUSES`].
        status: u16,
        /// In words for the record and a Warning.
        reason: String,
    },
    /// Nothing that could be used.
    Failed(Failure, String),
}

/// How asking can fail: the word is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no answer in time.
    Timeout,
    /// The service could not be reached, or answered with another status than 200.
    Unavailable,
    /// The answer is none, or asks for what this tenant cannot have.
    Invalid,
    /// Too many calls wait for answers.
    Full,
}

impl Failure {
    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
            Self::Full => "full",
        }
    }
}

/// `text`, no longer than a question may say it.
pub(crate) fn clipped(text: &str) -> String {
    clip::clipped(text, TEXT_MAX).to_owned()
}
