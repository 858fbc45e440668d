//! The states of a registration of ours (RFC 3261, 10.2), as one transition table.

use std::time::Instant;

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// REGISTER is out. A binding that was granted before may still hold.
    Registering { silence: Instant, bound: Option<Instant> },
    /// Granted.
    Registered { refresh: Instant, bound: Instant },
    /// Nobody grants; asked again later. A binding that was granted before may still hold.
    Waiting { retry: Instant, bound: Option<Instant> },
    /// Told to stop while REGISTER was out: its answer comes first (RFC 3261, 10.2).
    Stopping { give_up: Instant },
    /// The REGISTER that removes the binding is out.
    Leaving { give_up: Instant },
    /// Over.
    Ended,
}

/// What can happen to it. Failover is decided outside: it needs the list of registrars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// 2xx.
    Granted { refresh: Instant, bound: Instant },
    /// A challenge or 423 that can be met: the same registrar once more.
    Again { silence: Instant },
    /// This registrar failed, and there is another.
    Next { silence: Instant },
    /// This registrar failed, and there is no other.
    Exhausted { retry: Instant },
    /// Refused for what we are, not for what the registrar is.
    Refused { retry: Instant },
    /// A deadline; `silence` is for the REGISTER that it may cause.
    Timer { timer: Timer, silence: Instant },
    /// We are to leave.
    Stop { give_up: Instant },
}

/// Which deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The registrar has said nothing: the owner makes `Next` or `Exhausted` of it.
    Silence,
    Refresh,
    Retry,
    Expiry,
    GiveUp,
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Register,
    Deregister,
    TellUp,
    TellDown,
    TellEnded,
    Unexpected,
}

impl State {
    /// Its one transition table.
    pub(super) fn on(&mut self, event: Event) -> &'static [Action] {
        use Action::*;
        use Event as E;
        let (next, actions): (Self, &[Action]) = match (*self, event) {
            (Self::Registering { .. }, E::Granted { refresh, bound }) => {
                (Self::Registered { refresh, bound }, &[TellUp])
            }
            (Self::Registering { bound, .. }, E::Again { silence } | E::Next { silence }) => {
                (Self::Registering { silence, bound }, &[Register])
            }
            (Self::Registering { bound: None, .. }, E::Exhausted { retry }) => {
                (Self::Waiting { retry, bound: None }, &[TellDown])
            }
            (Self::Registering { bound, .. }, E::Exhausted { retry }) => {
                (Self::Waiting { retry, bound }, &[])
            }
            (Self::Registering { .. }, E::Refused { retry }) => {
                (Self::Waiting { retry, bound: None }, &[TellDown])
            }
            (
                Self::Registering { silence, bound: Some(_) },
                E::Timer { timer: Timer::Expiry, .. },
            ) => (Self::Registering { silence, bound: None }, &[TellDown]),
            (Self::Registering { .. }, E::Stop { give_up }) => (Self::Stopping { give_up }, &[]),

            (Self::Registered { bound, .. }, E::Timer { timer: Timer::Refresh, silence }) => {
                (Self::Registering { silence, bound: Some(bound) }, &[Register])
            }
            (Self::Registered { .. }, E::Stop { give_up }) => {
                (Self::Leaving { give_up }, &[Deregister])
            }

            (Self::Waiting { bound, .. }, E::Timer { timer: Timer::Retry, silence }) => {
                (Self::Registering { silence, bound }, &[Register])
            }
            (Self::Waiting { retry, bound: Some(_) }, E::Timer { timer: Timer::Expiry, .. }) => {
                (Self::Waiting { retry, bound: None }, &[TellDown])
            }
            (Self::Waiting { bound: Some(_), .. }, E::Stop { give_up }) => {
                (Self::Leaving { give_up }, &[Deregister])
            }
            (Self::Waiting { bound: None, .. }, E::Stop { .. }) => (Self::Ended, &[TellEnded]),

            (Self::Stopping { give_up }, E::Granted { .. } | E::Again { .. })
            | (Self::Leaving { give_up }, E::Again { .. }) => {
                (Self::Leaving { give_up }, &[Deregister])
            }
            (Self::Stopping { .. }, E::Next { .. } | E::Exhausted { .. } | E::Refused { .. })
            | (
                Self::Leaving { .. },
                E::Granted { .. } | E::Next { .. } | E::Exhausted { .. } | E::Refused { .. },
            )
            | (
                Self::Stopping { .. } | Self::Leaving { .. },
                E::Timer { timer: Timer::GiveUp, .. },
            ) => (Self::Ended, &[TellEnded]),

            (same, _) => (same, &[Unexpected]),
        };
        *self = next;
        actions
    }

    /// Its next deadline.
    pub(super) fn due(&self) -> Option<(Instant, Timer)> {
        let expiry = |at: Instant, timer: Timer, bound: Option<Instant>| match bound {
            Some(bound) if bound < at => (bound, Timer::Expiry),
            _ => (at, timer),
        };
        match *self {
            Self::Registering { silence, bound } => Some(expiry(silence, Timer::Silence, bound)),
            Self::Registered { refresh, .. } => Some((refresh, Timer::Refresh)),
            Self::Waiting { retry, bound } => Some(expiry(retry, Timer::Retry, bound)),
            Self::Stopping { give_up } | Self::Leaving { give_up } => {
                Some((give_up, Timer::GiveUp))
            }
            Self::Ended => None,
        }
    }

    /// Whether a REGISTER of ours waits for its answer.
    pub(super) const fn awaits_answer(&self) -> bool {
        matches!(self, Self::Registering { .. } | Self::Stopping { .. } | Self::Leaving { .. })
    }
}
