//! Endpoints that rest, as calls failed there one after the other (`[trunk.breaker]`).
//!
//! Closed, an endpoint takes calls and its failures are counted. Open, it rests. When the rest is over,
//! one call tries it while the others still go elsewhere; what becomes of that call closes it or has it
//! rest for twice as long.

use crate::io::{Event, Target};
use crate::plan::{Breaker, Plan};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An endpoint rests no longer than this, however often it has failed, unless its trunk says more.
const REST_MAX: Duration = Duration::from_secs(600);
/// The call that tries an endpoint has so long to say what became of it (64*T1, RFC 3261, 17.1.1.2);
/// then another one tries.
const TRIAL_MAX: Duration = Duration::from_secs(32);
/// Endpoints that are remembered; beyond it failures are not counted.
const REMEMBERED_MAX: usize = 4_096;

/// All endpoints at which a call has failed since the last one that did not.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    kept: HashMap<(Arc<str>, SocketAddr), State>,
}

#[derive(Debug)]
struct State {
    /// The target as configured.
    target: String,
    /// Failures since the last call that went well, or since it last began to rest.
    failures: u32,
    /// How often it has begun to rest since then.
    rests: u32,
    /// When it is over; `None`: it takes calls.
    until: Option<Instant>,
    /// A call tries it, and has so long.
    trial: Option<Instant>,
    /// Nothing came from there: it may well not be there, of which OPTIONS can tell.
    silent: bool,
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing came back, or nothing could be sent.
    Silence,
    /// A status that says that the target is in trouble.
    Trouble(u16),
}

impl Breakers {
    /// How long this endpoint takes no call: zero where that is over and a call is trying it. `None`: it
    /// takes one.
    pub(crate) fn rests(&self, now: Instant, to: &Target) -> Option<Duration> {
        if self.kept.is_empty() {
            return None;
        }
        let state = self.kept.get(&key(to))?;
        let left = state.until?.saturating_duration_since(now);
        let tried = state.trial.is_some_and(|trial| trial > now);
        (!left.is_zero() || tried).then_some(left)
    }

    /// A call goes there: should it have rested, this is the one that tries.
    pub(crate) fn tried(&mut self, now: Instant, to: &Target) {
        if let Some(state) = self.kept.get_mut(&key(to))
            && state.until.is_some()
        {
            state.trial = Some(now + TRIAL_MAX);
        }
    }

    /// A call failed there.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        (to, target): (&Target, &str),
        breaker: Breaker,
        failure: Failure,
    ) -> Option<Event> {
        let key = key(to);
        if self.kept.len() >= REMEMBERED_MAX && !self.kept.contains_key(&key) {
            return None;
        }
        let state = self.kept.entry(key).or_insert_with(|| State {
            target: target.to_owned(),
            failures: 0,
            rests: 0,
            until: None,
            trial: None,
            silent: false,
        });
        state.failures = state.failures.saturating_add(1);
        state.silent = failure == Failure::Silence;
        // Calls that went there before it began to rest say nothing new.
        let resting = state.until.is_some() && state.trial.is_none();
        if resting || state.until.is_none() && state.failures < breaker.failures {
            return None;
        }
        let doubled = breaker.pause.saturating_mul(1 << state.rests.min(16));
        let pause = doubled.min(REST_MAX.max(breaker.pause));
        state.until = Some(now + pause);
        state.trial = None;
        state.rests = state.rests.saturating_add(1);
        let what = match failure {
            Failure::Silence => "did not answer".to_owned(),
            Failure::Trouble(status) => format!("answered {status}"),
        };
        let calls = match state.failures {
            1 => format!("a call failed: it {what}"),
            more => format!("{more} calls in a row failed, at the last one it {what}"),
        };
        let why = format!("{calls}; none goes there for {} s", pause.as_secs());
        self.told(&to.trunk, target, Some(why))
    }

    /// A call was taken there, or refused for a reason that is not the target's.
    pub(crate) fn served(&mut self, to: &Target) -> Option<Event> {
        if self.kept.is_empty() {
            return None;
        }
        let state = self.kept.remove(&key(to))?;
        state.until?;
        self.told(&to.trunk, &state.target, None)
    }

    /// It answers OPTIONS: news from one that was silent, and none from one that answers them while it
    /// refuses calls.
    pub(crate) fn answers_options(&mut self, to: &Target) -> Option<Event> {
        let silent = self.kept.get(&key(to)).is_some_and(|state| state.silent);
        if silent { self.served(to) } else { None }
    }

    /// Forgets what a new snapshot does not have, or does not let rest.
    pub(crate) fn follow(&mut self, plan: &Plan) -> Vec<Event> {
        let gone = |trunk: &str, state: &State| {
            let of = plan.trunk(trunk);
            !of.is_some_and(|of| {
                let mut targets = of.targets.iter();
                of.breaker.is_some() && targets.any(|target| target.to_string() == state.target)
            })
        };
        let mut closed = Vec::new();
        self.kept.retain(|(trunk, _), state| {
            let gone = gone(trunk, state);
            if gone && state.until.is_some() {
                closed.push((Arc::clone(trunk), state.target.clone()));
            }
            !gone
        });
        closed.into_iter().filter_map(|(trunk, target)| self.told(&trunk, &target, None)).collect()
    }

    /// What there is to tell of a target, of which an endpoint begins to rest or takes calls again.
    fn told(&self, trunk: &Arc<str>, target: &str, why: Option<String>) -> Option<Event> {
        let resting = self.kept.iter().filter(|((of, _), state)| {
            of == trunk && state.target == target && state.until.is_some()
        });
        let endpoints = resting.count();
        let (trunk, target) = (trunk.to_string(), target.to_owned());
        Some(Event::TargetRests { trunk, target, endpoints, why })
    }
}

fn key(to: &Target) -> (Arc<str>, SocketAddr) {
    (Arc::clone(&to.trunk), to.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Transport;

    #[expect(clippy::disallowed_methods, reason = "a beginning to count from")]
    fn beginning() -> Instant {
        Instant::now()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn colt() -> Target {
        Target {
            trunk: "colt".into(),
            listener: "carrier".into(),
            transport: Transport::Udp,
            address: "192.0.2.7:5060".parse().unwrap(),
            server_name: None,
            own_name: None,
        }
    }

    const BREAKER: Breaker = Breaker { failures: 3, pause: Duration::from_secs(30) };

    /// Fails so often; whether that was told.
    fn fails(all: &mut Breakers, now: Instant, times: usize, failure: Failure) -> bool {
        let to = (&colt(), "192.0.2.7:5060");
        (0..times).filter_map(|_| all.failed(now, to, BREAKER, failure)).count() > 0
    }

    #[test]
    fn it_rests_from_the_last_of_so_many_failures_on_and_not_before() {
        let (start, to) = (beginning(), colt());
        let mut all = Breakers::default();
        assert!(!fails(&mut all, start, 2, Failure::Silence));
        assert!(all.served(&to).is_none(), "nothing had changed");
        assert!(!fails(&mut all, start, 2, Failure::Silence));
        assert_eq!(all.rests(start, &to), None);
        assert!(fails(&mut all, start, 1, Failure::Trouble(503)));
        assert_eq!(all.rests(start, &to), Some(secs(30)));
        assert_eq!(all.rests(start + secs(29), &to), Some(secs(1)));
        assert_eq!(all.rests(start + secs(30), &to), None);
        assert!(!fails(&mut all, start, 5, Failure::Silence), "calls of before say nothing new");
        assert_eq!(all.rests(start, &to), Some(secs(30)));
    }

    #[test]
    fn after_its_rest_one_call_tries_and_decides() {
        let (start, to) = (beginning(), colt());
        let mut all = Breakers::default();
        fails(&mut all, start, 3, Failure::Trouble(500));
        let mut now = start;
        for pause in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(all.rests(now, &to), Some(secs(pause)));
            now += secs(pause);
            assert_eq!(all.rests(now, &to), None, "whoever comes tries");
            all.tried(now, &to);
            assert_eq!(all.rests(now, &to), Some(Duration::ZERO), "the others wait");
            assert!(fails(&mut all, now, 1, Failure::Trouble(500)));
        }
        now += secs(600);
        all.tried(now, &to);
        // It says nothing of what became of it: another may try.
        assert_eq!(all.rests(now + TRIAL_MAX, &to), None);
        all.tried(now + TRIAL_MAX, &to);
        assert!(matches!(
            all.served(&to),
            Some(Event::TargetRests { endpoints: 0, why: None, .. })
        ));
        assert_eq!(all.rests(now, &to), None);
        assert!(!fails(&mut all, now, 2, Failure::Silence), "it counts from the beginning");
    }

    #[test]
    fn options_wake_one_that_was_silent_and_not_one_that_refused() {
        let (start, to) = (beginning(), colt());
        let mut all = Breakers::default();
        fails(&mut all, start, 3, Failure::Trouble(503));
        assert!(all.answers_options(&to).is_none());
        assert!(all.rests(start, &to).is_some());
        let mut all = Breakers::default();
        fails(&mut all, start, 3, Failure::Silence);
        assert!(all.answers_options(&to).is_some());
        assert!(all.rests(start, &to).is_none());
    }
}
