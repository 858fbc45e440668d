//! The INVITE server transaction (RFC 3261, 17.2.1; RFC 6026, 7.1) with the repeats of a 2xx,
//! which RFC 3261, 13.3.1.4 gives to its user.

use super::timer::{Backoff, GIVE_UP, T4, Timer, earliest};
use std::time::Instant;

/// One INVITE that we received.
#[derive(Debug)]
pub(crate) enum InviteServer {
    /// 100 or a later provisional response is out.
    Proceeding,
    /// A failure is out and repeated until ACK comes.
    Completed { timer_g: Option<Backoff>, timer_h: Instant },
    /// The failure was acknowledged; repeats of ACK are absorbed.
    Confirmed { timer_i: Instant },
    /// A 2xx is out and repeated, on any transport, until ACK comes.
    Accepted { repeat: Backoff, timer_l: Instant },
    /// The 2xx was acknowledged; repeats of INVITE and ACK are absorbed.
    Acknowledged { timer_l: Instant },
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Invite,
    Ack,
    Cancel,
    Provisional,
    Success,
    Failure,
    Timer(Timer),
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    SendResponse,
    RepeatResponse,
    TellAck,
    TellCancel,
    TellAckMissing,
    Unexpected,
}

impl InviteServer {
    /// The state after INVITE came and 100 was sent.
    pub(crate) fn new() -> Self {
        Self::Proceeding
    }

    /// Its one transition table.
    pub(crate) fn on(&mut self, now: Instant, event: Event, reliable: bool) -> &'static [Action] {
        use Action::*;
        use Event as E;
        match (&mut *self, event) {
            (Self::Proceeding | Self::Completed { .. }, E::Invite) => &[RepeatResponse],
            // The 2xx has its own clock; INVITE is absorbed (RFC 6026, 7.1).
            (Self::Accepted { .. } | Self::Acknowledged { .. }, E::Invite) => &[],
            (Self::Confirmed { .. }, E::Invite) => &[],
            (Self::Proceeding, E::Provisional) => &[SendResponse],
            (Self::Proceeding, E::Success) => {
                *self = Self::Accepted { repeat: Backoff::start(now), timer_l: now + GIVE_UP };
                &[SendResponse]
            }
            (Self::Proceeding, E::Failure) => {
                *self = Self::Completed {
                    timer_g: Backoff::unless(reliable, now),
                    timer_h: now + GIVE_UP,
                };
                &[SendResponse]
            }
            (Self::Proceeding, E::Cancel) => &[TellCancel],
            // A final response is out: CANCEL has no effect (RFC 3261, 9.2).
            (
                Self::Completed { .. }
                | Self::Confirmed { .. }
                | Self::Accepted { .. }
                | Self::Acknowledged { .. },
                E::Cancel,
            ) => &[],
            (Self::Completed { timer_g: Some(g), .. }, E::Timer(Timer::G)) => {
                g.double_to_t2(now);
                &[RepeatResponse]
            }
            (Self::Accepted { repeat, .. }, E::Timer(Timer::Accepted)) => {
                repeat.double_to_t2(now);
                &[RepeatResponse]
            }
            (Self::Completed { .. }, E::Ack) => {
                *self = match reliable {
                    true => Self::Terminated,
                    false => Self::Confirmed { timer_i: now + T4 },
                };
                &[]
            }
            (Self::Accepted { timer_l, .. }, E::Ack) => {
                *self = Self::Acknowledged { timer_l: *timer_l };
                &[TellAck]
            }
            (Self::Confirmed { .. } | Self::Acknowledged { .. }, E::Ack) => &[],
            (Self::Accepted { .. }, E::Timer(Timer::L)) => {
                *self = Self::Terminated;
                &[TellAckMissing]
            }
            (Self::Completed { .. }, E::Timer(Timer::H))
            | (Self::Confirmed { .. }, E::Timer(Timer::I))
            | (Self::Acknowledged { .. }, E::Timer(Timer::L)) => {
                *self = Self::Terminated;
                &[]
            }
            _ => &[Unexpected],
        }
    }

    /// Its next deadline.
    pub(crate) fn due(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::Proceeding | Self::Terminated => None,
            Self::Completed { timer_g, timer_h } => {
                Some(earliest(timer_g.as_ref().map(|g| (g, Timer::G)), (*timer_h, Timer::H)))
            }
            Self::Confirmed { timer_i } => Some((*timer_i, Timer::I)),
            Self::Accepted { repeat, timer_l } => {
                Some(earliest(Some((repeat, Timer::Accepted)), (*timer_l, Timer::L)))
            }
            Self::Acknowledged { timer_l } => Some((*timer_l, Timer::L)),
        }
    }
}
