//! The non-INVITE client transaction (RFC 3261, 17.1.2).

use super::timer::{Backoff, GIVE_UP, T4, Timer, earliest};
use std::time::Instant;

/// One request other than INVITE and ACK that we sent.
#[derive(Debug)]
pub(crate) enum NonInviteClient {
    /// Sent, nothing heard.
    Trying { timer_e: Option<Backoff>, timer_f: Instant },
    /// A provisional response has come.
    Proceeding { timer_e: Option<Backoff>, timer_f: Instant },
    /// A final response has come; its repeats are absorbed.
    Completed { timer_k: Instant },
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Provisional,
    Final,
    Timer(Timer),
    TransportError,
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    SendRequest,
    TellResponse,
    TellTimeout,
    TellTransportError,
    Unexpected,
}

impl NonInviteClient {
    /// The state after the request was sent for the first time.
    pub(crate) fn new(now: Instant, reliable: bool) -> Self {
        Self::Trying { timer_e: Backoff::unless(reliable, now), timer_f: now + GIVE_UP }
    }

    /// Its one transition table.
    pub(crate) fn on(&mut self, now: Instant, event: Event, reliable: bool) -> &'static [Action] {
        use Action::*;
        use Event as E;
        match (&mut *self, event) {
            (Self::Trying { timer_e: Some(e), .. }, E::Timer(Timer::E)) => {
                e.double_to_t2(now);
                &[SendRequest]
            }
            (Self::Proceeding { timer_e: Some(e), .. }, E::Timer(Timer::E)) => {
                e.slow_down(now);
                &[SendRequest]
            }
            (Self::Trying { .. } | Self::Proceeding { .. }, E::Timer(Timer::F)) => {
                *self = Self::Terminated;
                &[TellTimeout]
            }
            (Self::Trying { .. } | Self::Proceeding { .. }, E::TransportError) => {
                *self = Self::Terminated;
                &[TellTransportError]
            }
            (Self::Trying { timer_e, timer_f }, E::Provisional) => {
                *self = Self::Proceeding { timer_e: *timer_e, timer_f: *timer_f };
                &[TellResponse]
            }
            (Self::Proceeding { .. }, E::Provisional) => &[TellResponse],
            (Self::Trying { .. } | Self::Proceeding { .. }, E::Final) => {
                *self = match reliable {
                    true => Self::Terminated,
                    false => Self::Completed { timer_k: now + T4 },
                };
                &[TellResponse]
            }
            // Repeats and reordered provisional responses.
            (Self::Completed { .. }, E::Final | E::Provisional) => &[],
            (Self::Completed { .. }, E::Timer(Timer::K)) => {
                *self = Self::Terminated;
                &[]
            }
            _ => &[Unexpected],
        }
    }

    /// Its next deadline.
    pub(crate) fn due(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::Trying { timer_e, timer_f } | Self::Proceeding { timer_e, timer_f } => {
                Some(earliest(timer_e.as_ref().map(|e| (e, Timer::E)), (*timer_f, Timer::F)))
            }
            Self::Completed { timer_k } => Some((*timer_k, Timer::K)),
            Self::Terminated => None,
        }
    }
}
