//! Draws the registration into `docs/state-machines`.

use super::machine::{Action, Event as E, State, Timer};
use crate::drawing::{Row, compare, first_word, words};
use std::time::{Duration, Instant};

#[test]
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn registration_is_as_drawn() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let states = [
        State::Registering { silence: later, bound: None },
        State::Registering { silence: later, bound: Some(now) },
        State::Registered { refresh: now, bound: later },
        State::Waiting { retry: later, bound: None },
        State::Waiting { retry: later, bound: Some(now) },
        State::Stopping { give_up: later },
        State::Leaving { give_up: later },
        State::Ended,
    ];
    let timer = |timer| E::Timer { timer, silence: later };
    let events = [
        ("granted", E::Granted { refresh: later, bound: later }),
        ("challenge or 423 that can be met", E::Again { silence: later }),
        ("failed, another is left", E::Next { silence: later }),
        ("failed, none is left", E::Exhausted { retry: later }),
        ("refused for good", E::Refused { retry: later }),
        ("timer refresh", timer(Timer::Refresh)),
        ("timer retry", timer(Timer::Retry)),
        ("timer expiry", timer(Timer::Expiry)),
        ("timer give up", timer(Timer::GiveUp)),
        ("stop", E::Stop { give_up: later }),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for state in states {
        for (name, event) in events {
            let mut after = state;
            let actions = after.on(event);
            if actions == [Action::Unexpected] {
                assert_eq!(after, state, "it moves on what it does not expect");
                continue;
            }
            let row = [
                first_word(&state),
                name.to_owned(),
                bound(&state).to_owned(),
                first_word(&after),
                words(actions),
            ];
            rows.push(row);
        }
    }
    let title = "Registration (RFC 3261, 10.2; RFC 5626, 4.5)";
    compare("registration", title, ["state", "event", "binding", "next", "actions"], &merged(rows));
}

/// Whether a binding holds, where that makes a difference.
fn bound(state: &State) -> &'static str {
    match state {
        State::Registering { bound: None, .. } | State::Waiting { bound: None, .. } => "none",
        State::Registering { .. } | State::Waiting { .. } => "holds",
        _ => "any",
    }
}

/// Two rows that differ by their binding alone are one.
fn merged(rows: Vec<Row>) -> Vec<Row> {
    let same = |one: &Row, other: &Row| [0, 1, 3, 4].iter().all(|at| one[*at] == other[*at]);
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        match out.iter_mut().find(|before| same(before, &row)) {
            Some(before) => before[2] = "any".to_owned(),
            None => out.push(row),
        }
    }
    out
}

/// Each deadline that a state shows moves it on.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn no_deadline_fires_for_ever() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    for mut state in [
        State::Registering { silence: later, bound: Some(now) },
        State::Registered { refresh: now, bound: later },
        State::Waiting { retry: now, bound: None },
        State::Waiting { retry: later, bound: Some(now) },
        State::Stopping { give_up: now },
        State::Leaving { give_up: now },
    ] {
        let (at, timer) = state.due().unwrap();
        assert_eq!(at, now);
        let actions = state.on(E::Timer { timer, silence: later });
        assert_ne!(actions, [Action::Unexpected], "{timer:?}");
        assert!(state.due().is_none_or(|(at, _)| at > now), "{timer:?}");
    }
}
