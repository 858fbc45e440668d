//! `[hook]` of a tenant: a service of the tenant's own that is asked where a call goes.

use super::Roots;
use std::path::PathBuf;
use std::time::Duration;

/// Who is asked, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// Where the question is posted: `http://` or `https://`.
    pub url: String,
    /// What an answer may take: a caller waits meanwhile.
    pub timeout: Duration,
    /// How long an answer holds for the same question; `None`: for this call alone.
    pub cache: Option<Duration>,
    /// What becomes of a call without an answer.
    pub fallback: Fallback,
    /// The file with what shows the service that it is we who ask; read when it is needed, as it may be
    /// replaced at any time.
    pub token_file: Option<PathBuf>,
    /// Whose certificates are believed, for `https://`.
    pub roots: Roots,
}

/// What becomes of a call that the hook has no answer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The tenant's routes decide, as if there were no hook.
    #[default]
    Table,
    /// It is refused.
    Refuse,
}
