//! The INVITE client transaction (RFC 3261, 17.1.1; RFC 6026, 7.2) with the wait that CANCEL
//! imposes (RFC 3261, 9.1).

use super::timer::{Backoff, GIVE_UP, TIMER_D, Timer, earliest};
use std::time::Instant;

/// One INVITE that we sent.
#[derive(Debug)]
pub(crate) enum InviteClient {
    /// Sent, nothing heard.
    Calling { timer_a: Option<Backoff>, timer_b: Instant },
    /// As Calling; CANCEL waits for a provisional response (RFC 3261, 9.1).
    CancelHeld { timer_a: Option<Backoff>, timer_b: Instant },
    /// A provisional response has come; it may ring for as long as it likes.
    Proceeding,
    /// CANCEL is out; the end comes in time even if the far side forgets the INVITE.
    Cancelling { give_up: Instant },
    /// A failure has come and is acknowledged as often as it is repeated.
    Completed { timer_d: Instant },
    /// A 2xx has come; other forks may send theirs.
    Accepted { timer_m: Instant },
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Provisional,
    Success,
    Failure,
    Cancel,
    Timer(Timer),
    TransportError,
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    SendInvite,
    SendCancel,
    SendAck,
    TellResponse,
    TellTimeout,
    TellTransportError,
    Unexpected,
}

impl InviteClient {
    /// Whether INVITE may have to be sent again: nothing has been heard.
    pub(crate) const fn may_repeat(&self) -> bool {
        matches!(self, Self::Calling { .. } | Self::CancelHeld { .. })
    }

    /// The state after INVITE was sent for the first time.
    pub(crate) fn new(now: Instant, reliable: bool) -> Self {
        Self::Calling { timer_a: Backoff::unless(reliable, now), timer_b: now + GIVE_UP }
    }

    /// Its one transition table.
    pub(crate) fn on(&mut self, now: Instant, event: Event, reliable: bool) -> &'static [Action] {
        use Action::*;
        use Event as E;
        match (&mut *self, event) {
            (Self::Calling { timer_a: Some(a), .. }, E::Timer(Timer::A))
            | (Self::CancelHeld { timer_a: Some(a), .. }, E::Timer(Timer::A)) => {
                a.double(now);
                &[SendInvite]
            }
            (Self::Calling { .. } | Self::CancelHeld { .. }, E::Timer(Timer::B))
            | (Self::Cancelling { .. }, E::Timer(Timer::Cancelled)) => {
                *self = Self::Terminated;
                &[TellTimeout]
            }
            (Self::Calling { .. } | Self::CancelHeld { .. }, E::TransportError) => {
                *self = Self::Terminated;
                &[TellTransportError]
            }
            (Self::Calling { timer_a, timer_b }, E::Cancel) => {
                *self = Self::CancelHeld { timer_a: *timer_a, timer_b: *timer_b };
                &[]
            }
            (Self::CancelHeld { .. }, E::Provisional) => {
                *self = Self::Cancelling { give_up: now + GIVE_UP };
                &[TellResponse, SendCancel]
            }
            (Self::Calling { .. }, E::Provisional) => {
                *self = Self::Proceeding;
                &[TellResponse]
            }
            (Self::Proceeding | Self::Cancelling { .. }, E::Provisional) => &[TellResponse],
            (Self::Proceeding, E::Cancel) => {
                *self = Self::Cancelling { give_up: now + GIVE_UP };
                &[SendCancel]
            }
            (
                Self::Calling { .. }
                | Self::CancelHeld { .. }
                | Self::Proceeding
                | Self::Cancelling { .. },
                E::Success,
            ) => {
                *self = Self::Accepted { timer_m: now + GIVE_UP };
                &[TellResponse]
            }
            (
                Self::Calling { .. }
                | Self::CancelHeld { .. }
                | Self::Proceeding
                | Self::Cancelling { .. },
                E::Failure,
            ) => {
                *self = match reliable {
                    true => Self::Terminated,
                    false => Self::Completed { timer_d: now + TIMER_D },
                };
                &[SendAck, TellResponse]
            }
            (Self::Completed { .. }, E::Failure) => &[SendAck],
            (Self::Accepted { .. }, E::Success) => &[TellResponse],
            (Self::Completed { .. }, E::Timer(Timer::D))
            | (Self::Accepted { .. }, E::Timer(Timer::M)) => {
                *self = Self::Terminated;
                &[]
            }
            // CANCEL and a final response cross: the response wins (RFC 3261, 9.1).
            (
                Self::CancelHeld { .. }
                | Self::Cancelling { .. }
                | Self::Completed { .. }
                | Self::Accepted { .. },
                E::Cancel,
            ) => &[],
            // Late and reordered messages of a call that is decided.
            (Self::Completed { .. } | Self::Accepted { .. }, E::Provisional) => &[],
            // Also a transport error once INVITE is through: nothing of ours is on its way.
            _ => &[Unexpected],
        }
    }

    /// Its next deadline.
    pub(crate) fn due(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::Calling { timer_a, timer_b } | Self::CancelHeld { timer_a, timer_b } => {
                Some(earliest(timer_a.as_ref().map(|a| (a, Timer::A)), (*timer_b, Timer::B)))
            }
            Self::Proceeding | Self::Terminated => None,
            Self::Cancelling { give_up } => Some((*give_up, Timer::Cancelled)),
            Self::Completed { timer_d } => Some((*timer_d, Timer::D)),
            Self::Accepted { timer_m } => Some((*timer_m, Timer::M)),
        }
    }
}
