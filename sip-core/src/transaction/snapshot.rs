//! Draws the four state machines into `docs/state-machines` and fails when a drawing is out of date.
//! `TOLLGATE_BLESS=1 cargo test -p sip-core` draws them anew.

use super::invite_client::{self, InviteClient};
use super::invite_server::{self, InviteServer};
use super::non_invite_client::{self, NonInviteClient};
use super::non_invite_server::{self, NonInviteServer};
use super::timer::Timer::{self, *};
use super::timer::{Backoff, GIVE_UP, T1, T4};
use crate::drawing::{self, Row, event_words, first_word, words};
use std::fmt::Debug;
use std::time::Instant;

#[test]
fn invite_client_is_as_drawn() {
    use invite_client::Event as E;
    let now = zero();
    Machine {
        name: "invite-client",
        title: "INVITE client transaction (RFC 3261, 17.1.1 and 9.1; RFC 6026, 7.2)",
        states: |now, reliable| {
            let timer_a = Backoff::unless(reliable, now);
            let end = now + GIVE_UP;
            vec![
                InviteClient::Calling { timer_a, timer_b: end },
                InviteClient::CancelHeld { timer_a, timer_b: end },
                InviteClient::Proceeding,
                InviteClient::Cancelling { give_up: end },
                InviteClient::Completed { timer_d: end },
                InviteClient::Accepted { timer_m: end },
                InviteClient::Terminated,
            ]
        },
        events: with_timers(
            &[E::Provisional, E::Success, E::Failure, E::Cancel, E::TransportError],
            &[A, B, Cancelled, D, M],
            E::Timer,
        ),
        on: InviteClient::on,
        due: InviteClient::due,
        timer: E::Timer,
    }
    .check(now);
}

#[test]
fn invite_server_is_as_drawn() {
    use invite_server::Event as E;
    let now = zero();
    Machine {
        name: "invite-server",
        title: "INVITE server transaction (RFC 3261, 17.2.1 and 13.3.1.4; RFC 6026, 7.1)",
        states: |now, reliable| {
            let end = now + GIVE_UP;
            vec![
                InviteServer::Proceeding,
                InviteServer::Completed { timer_g: Backoff::unless(reliable, now), timer_h: end },
                InviteServer::Confirmed { timer_i: now + T4 },
                InviteServer::Accepted { repeat: Backoff::start(now), timer_l: end },
                InviteServer::Acknowledged { timer_l: end },
                InviteServer::Terminated,
            ]
        },
        events: with_timers(
            &[E::Invite, E::Cancel, E::Provisional, E::Success, E::Failure, E::Ack],
            &[G, H, I, Accepted, L],
            E::Timer,
        ),
        on: InviteServer::on,
        due: InviteServer::due,
        timer: E::Timer,
    }
    .check(now);
}

#[test]
fn non_invite_client_is_as_drawn() {
    use non_invite_client::Event as E;
    let now = zero();
    Machine {
        name: "non-invite-client",
        title: "Non-INVITE client transaction (RFC 3261, 17.1.2)",
        states: |now, reliable| {
            let timer_e = Backoff::unless(reliable, now);
            let timer_f = now + GIVE_UP;
            vec![
                NonInviteClient::Trying { timer_e, timer_f },
                NonInviteClient::Proceeding { timer_e, timer_f },
                NonInviteClient::Completed { timer_k: now + T4 },
                NonInviteClient::Terminated,
            ]
        },
        events: with_timers(
            &[E::Provisional, E::Final, E::TransportError],
            &[Timer::E, F, K],
            E::Timer,
        ),
        on: NonInviteClient::on,
        due: NonInviteClient::due,
        timer: E::Timer,
    }
    .check(now);
}

#[test]
fn non_invite_server_is_as_drawn() {
    use non_invite_server::Event as E;
    let now = zero();
    Machine {
        name: "non-invite-server",
        title: "Non-INVITE server transaction (RFC 3261, 17.2.2; RFC 4320)",
        states: |now, _| {
            let expires = now + GIVE_UP;
            vec![
                NonInviteServer::Trying { trying_due: now + T1, expires },
                NonInviteServer::Proceeding { expires },
                NonInviteServer::Completed { timer_j: now + GIVE_UP },
                NonInviteServer::Terminated,
            ]
        },
        events: with_timers(&[E::Request, E::Final], &[Trying, Expired, J], E::Timer),
        on: NonInviteServer::on,
        due: NonInviteServer::due,
        timer: E::Timer,
    }
    .check(now);
}

/// One machine, ready to be walked through.
struct Machine<S, E, A: 'static> {
    name: &'static str,
    title: &'static str,
    states: fn(Instant, bool) -> Vec<S>,
    events: Vec<E>,
    on: fn(&mut S, Instant, E, bool) -> &'static [A],
    due: fn(&S) -> Option<(Instant, Timer)>,
    timer: fn(Timer) -> E,
}

impl<S: Debug, E: Copy + Debug, A: Debug> Machine<S, E, A> {
    fn check(&self, now: Instant) {
        self.check_deadlines(now);
        let columns = ["state", "event", "hop", "next", "actions"];
        drawing::compare(self.name, self.title, columns, &self.rows(now));
    }

    /// Each deadline a state shows is one it acts upon, and then not the same one again at once.
    fn check_deadlines(&self, now: Instant) {
        for reliable in [false, true] {
            for mut state in (self.states)(now, reliable) {
                let Some((at, timer)) = (self.due)(&state) else { continue };
                let before = first_word(&state);
                let actions = (self.on)(&mut state, at, (self.timer)(timer), reliable);
                assert!(!is_unexpected(actions), "{before} does not know its timer {timer:?}");
                let moved = (self.due)(&state).is_none_or(|(next, _)| next > at);
                assert!(moved, "{before} fires timer {timer:?} for ever");
            }
        }
    }

    fn rows(&self, now: Instant) -> Vec<Row> {
        let mut rows = Vec::new();
        for nth in 0..(self.states)(now, false).len() {
            for event in &self.events {
                let [unreliable, reliable] = [false, true].map(|reliable| {
                    let mut state = (self.states)(now, reliable).swap_remove(nth);
                    let before = first_word(&state);
                    let actions = (self.on)(&mut state, now, *event, reliable);
                    let after = first_word(&state);
                    let known = !is_unexpected(actions);
                    assert!(known || before == after, "{before} moves on what it does not expect");
                    known.then(|| (before, after, words(actions)))
                });
                let mut add = |hop: &str, step: Option<(String, String, String)>| {
                    if let Some((before, after, actions)) = step {
                        rows.push([before, event_words(event), hop.to_owned(), after, actions]);
                    }
                };
                if unreliable == reliable {
                    add("any", unreliable);
                } else {
                    add("unreliable", unreliable);
                    add("reliable", reliable);
                }
            }
        }
        rows
    }
}

fn with_timers<E: Copy>(events: &[E], timers: &[Timer], timer: fn(Timer) -> E) -> Vec<E> {
    events.iter().copied().chain(timers.iter().copied().map(timer)).collect()
}

fn is_unexpected<A: Debug>(actions: &[A]) -> bool {
    words(actions) == "Unexpected"
}

/// Virtual time zero.
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn zero() -> Instant {
    Instant::now()
}
