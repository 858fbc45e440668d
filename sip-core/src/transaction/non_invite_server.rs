//! The non-INVITE server transaction (RFC 3261, 17.2.2; RFC 4320).

use super::timer::{GIVE_UP, TRYING_DUE, Timer};
use std::time::Instant;

/// One request other than INVITE and ACK that we received.
#[derive(Debug)]
pub(crate) enum NonInviteServer {
    /// Not answered. A 100 follows when the client has slowed its repeats down, not before.
    Trying { trying_due: Instant, expires: Instant },
    /// 100 is out.
    Proceeding { expires: Instant },
    /// A final response is out and is repeated for each repeat of the request.
    Completed { timer_j: Instant },
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Request,
    Final,
    Timer(Timer),
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    SendTrying,
    SendResponse,
    RepeatResponse,
    Unexpected,
}

impl NonInviteServer {
    /// The state after the request came.
    pub(crate) fn new(now: Instant) -> Self {
        Self::Trying { trying_due: now + TRYING_DUE, expires: now + GIVE_UP }
    }

    /// Its one transition table.
    pub(crate) fn on(&mut self, now: Instant, event: Event, reliable: bool) -> &'static [Action] {
        use Action::*;
        use Event as E;
        match (&mut *self, event) {
            (Self::Trying { .. }, E::Request) => &[],
            (Self::Proceeding { .. } | Self::Completed { .. }, E::Request) => &[RepeatResponse],
            (Self::Trying { expires, .. }, E::Timer(Timer::Trying)) => {
                *self = Self::Proceeding { expires: *expires };
                &[SendTrying]
            }
            (Self::Trying { .. } | Self::Proceeding { .. }, E::Final) => {
                *self = match reliable {
                    true => Self::Terminated,
                    false => Self::Completed { timer_j: now + GIVE_UP },
                };
                &[SendResponse]
            }
            // The client has given up: any answer would be stray (RFC 4320, 4.2).
            (Self::Proceeding { .. }, E::Timer(Timer::Expired))
            | (Self::Completed { .. }, E::Timer(Timer::J)) => {
                *self = Self::Terminated;
                &[]
            }
            _ => &[Unexpected],
        }
    }

    /// Its next deadline.
    pub(crate) fn due(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::Trying { trying_due, .. } => Some((*trying_due, Timer::Trying)),
            Self::Proceeding { expires } => Some((*expires, Timer::Expired)),
            Self::Completed { timer_j } => Some((*timer_j, Timer::J)),
            Self::Terminated => None,
        }
    }
}
