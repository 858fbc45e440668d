//! The deadlines of one session: refresh at half of its interval, end shortly before it runs out
//! (RFC 4028, 7.2, 9 and 10).

use std::time::{Duration, Instant};

/// Whose turn it is, and by when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clock {
    /// Nothing is agreed, or timers are off.
    #[default]
    Off,
    /// The far side refreshes.
    Theirs { end: Instant },
    /// We refresh.
    Ours { refresh: Instant, end: Instant },
    /// Our refresh is on its way.
    Refreshing { end: Instant },
    /// The far side keeps no timer; we ask now and then whether it is there.
    Alone { interval: Duration, refresh: Instant },
    /// We have asked it.
    Asking { interval: Duration },
    /// Nobody refreshed in time.
    Expired,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A refresh went through; the far side has the next one, within this interval.
    Theirs(Duration),
    /// A refresh went through; the next one is ours.
    Ours(Duration),
    /// A refresh went through, and the far side keeps no timer.
    Alone(Duration),
    /// Our refresh was refused by somebody who still knows the dialog.
    Refused,
    /// The deadline is there.
    Timer,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send a refresh.
    Refresh,
    /// End the session.
    End,
    /// The event means nothing in this state.
    Unexpected,
}

/// So long before the end of the interval BYE goes out, or a third of it if that is less
/// (RFC 4028, 10).
const MARGIN_MAX: Duration = Duration::from_secs(32);
/// A refused refresh is tried again no sooner: the far side is not to be flooded.
const AGAIN_MIN: Duration = Duration::from_secs(10);

impl Clock {
    pub(super) fn on(&mut self, now: Instant, event: Event) -> &'static [Action] {
        match (*self, event) {
            (Self::Expired, _) | (Self::Off, Event::Refused | Event::Timer) => {
                return &[Action::Unexpected];
            }
            (_, Event::Theirs(interval)) => *self = Self::Theirs { end: end(now, interval) },
            (_, Event::Ours(interval)) => {
                *self = Self::Ours { refresh: now + interval / 2, end: end(now, interval) };
            }
            (_, Event::Alone(interval)) => {
                *self = Self::Alone { interval, refresh: now + interval / 2 };
            }
            (Self::Ours { end, .. }, Event::Timer) => {
                *self = Self::Refreshing { end };
                return &[Action::Refresh];
            }
            (Self::Alone { interval, .. }, Event::Timer) => {
                *self = Self::Asking { interval };
                return &[Action::Refresh];
            }
            (Self::Theirs { .. } | Self::Refreshing { .. }, Event::Timer) => {
                *self = Self::Expired;
                return &[Action::End];
            }
            (Self::Refreshing { end }, Event::Refused) => {
                let left = end.saturating_duration_since(now);
                let refresh = now + (left / 2).max(AGAIN_MIN);
                if refresh < end {
                    *self = Self::Ours { refresh, end };
                }
            }
            // It has answered, so it is there.
            (Self::Asking { interval }, Event::Refused) => {
                *self = Self::Alone { interval, refresh: now + interval / 2 };
            }
            (Self::Theirs { .. } | Self::Ours { .. } | Self::Alone { .. }, Event::Refused)
            | (Self::Asking { .. }, Event::Timer) => return &[Action::Unexpected],
        }
        &[]
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Off | Self::Asking { .. } | Self::Expired => None,
            Self::Theirs { end } | Self::Refreshing { end } => Some(*end),
            Self::Ours { refresh, .. } | Self::Alone { refresh, .. } => Some(*refresh),
        }
    }

    /// Whether what is due next is a refresh.
    pub(super) const fn wants_refresh(&self) -> bool {
        matches!(self, Self::Ours { .. } | Self::Alone { .. })
    }

    /// Whether the next refresh is ours; `None` as long as nothing is agreed.
    pub(super) fn is_ours(&self) -> Option<bool> {
        match self {
            Self::Off | Self::Expired => None,
            Self::Theirs { .. } => Some(false),
            Self::Ours { .. }
            | Self::Refreshing { .. }
            | Self::Alone { .. }
            | Self::Asking { .. } => Some(true),
        }
    }
}

fn end(now: Instant, interval: Duration) -> Instant {
    now + interval - MARGIN_MAX.min(interval / 3)
}
