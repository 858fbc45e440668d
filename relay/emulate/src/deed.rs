//! What an end of a call does once it is up, and where a user's calls go in place of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Something to do in a call that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Hold, as this side writes it.
    Hold,
    /// Hold with music from a source of its own: another port, another key (TDR-HLD-003).
    Music,
    /// Off hold.
    Resume,
    /// The same description once more (TDR-DLG-013).
    Refresh,
    /// Media goes on from another source, as when a conference takes the call over.
    Move,
    /// ICE anew (TDR-XFR-050).
    Restart,
    /// REFER: the far side is to call this URI.
    Transfer {
        /// The URI, as it stands in Refer-To.
        to: String,
        /// Hangs up soon after the 202, as Microsoft does on a blind transfer (TDR-XFR-017).
        hasty: bool,
    },
    /// Another client takes the place of this one: INVITE with Replaces (TDR-XFR-030).
    Replace,
    /// BYE.
    HangUp,
}

/// What to do, and how long after the answer.
pub type Deeds = Vec<(Duration, Deed)>;

/// Another number that a user's calls go to: Teams calls it through the border controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The number.
    pub to: String,
    /// Why, as History-Info says it: 302, 408, 480, 486, or Microsoft's own 496 for busy.
    pub cause: u16,
    /// When, from the INVITE on.
    pub after: Duration,
    /// Whether the user's own clients ring as well: simultaneous ring (TDR-FWD-008).
    pub rings_too: bool,
}

/// Deeds by the clock.
pub(crate) fn schedule(now: Instant, deeds: &[(Duration, Deed)]) -> VecDeque<(Instant, Deed)> {
    let mut deeds: Vec<_> =
        deeds.iter().map(|(after, deed)| (now + *after, deed.clone())).collect();
    deeds.sort_by_key(|(at, _)| *at);
    deeds.into()
}

/// A deed that could not be done yet is tried again so much later.
pub(crate) const AGAIN: Duration = Duration::from_millis(250);
/// How long after the 202 a hasty transferor hangs up (TDR-XFR-017).
pub(crate) const HASTE: Duration = Duration::from_millis(300);
