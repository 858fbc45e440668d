//! The loop that begins calls at a rate and plays both their sides, on one thread.

use super::Failure;
use super::answerer::Answerer;
use super::caller::Caller;
use super::subject::Subject;
use crate::clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is to be played.
pub(super) struct Load {
    pub(super) cps: u32,
    pub(super) calls: u64,
    /// From the 200 to the BYE; without it calls stand until the end.
    pub(super) hold: Option<Duration>,
}

/// What has come of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) begun: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) why: BTreeMap<String, u64>,
    /// Calls begun per second, as it was possible.
    pub(super) achieved_cps: f64,
    /// INVITE to 200: the medians and what is above.
    pub(super) setup_ms: Percentiles,
    /// Repeats that both sides had to send: lost or late messages.
    pub(super) repeats: u64,
}

/// Of one measure, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Percentiles {
    pub(super) fn of(mut us: Vec<u32>) -> Self {
        us.sort_unstable();
        let at = |share: f64| {
            let index = (us.len() as f64 * share) as usize;
            us.get(index.min(us.len().saturating_sub(1))).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// Both sides at play.
pub(super) struct Play {
    pub(super) caller: Caller,
    answerer: Answerer,
}

impl Play {
    pub(super) fn new(subject: &Subject, hold: Option<Duration>) -> Self {
        let wire = &subject.wire;
        Self {
            caller: Caller::new(wire.caller, subject.sip, hold),
            answerer: Answerer::new(wire.answerer, wire.is_tls()),
        }
    }

    /// One turn: what has come in, what is due, what goes out; whether there was anything.
    pub(super) fn turn(&mut self, subject: &mut Subject) -> Result<bool, Failure> {
        let Self { caller, answerer } = self;
        let wire = &mut subject.wire;
        let now = clock::monotonic();
        let mut taken =
            wire.receive_near(|hop, message| caller.endpoint.layer.receive(now, hop, message));
        taken +=
            wire.receive_far(|hop, message| answerer.endpoint.layer.receive(now, hop, message))?;
        let now = clock::monotonic();
        caller.endpoint.tick(now);
        answerer.endpoint.tick(now);
        caller.settle(now);
        answerer.settle(now);
        caller.hang_up_due(now);
        while let Some((hop, bytes)) = caller.endpoint.transmit() {
            wire.send_near(hop, &bytes);
        }
        while let Some((hop, bytes)) = answerer.endpoint.transmit() {
            wire.send_far(hop, &bytes);
        }
        wire.flush();
        Ok(taken > 0)
    }

    pub(super) fn outcome(self, took: Duration) -> Outcome {
        let Self { caller, answerer } = self;
        let repeats = caller.endpoint.layer.counters().retransmissions_sent
            + answerer.endpoint.layer.counters().retransmissions_sent;
        let mut tally = caller.tally;
        if answerer.unacknowledged > 0 {
            tally.why.insert("200 without ACK".to_owned(), answerer.unacknowledged);
        }
        Outcome {
            begun: tally.begun,
            answered: tally.answered,
            failed: tally.begun - tally.done,
            why: tally.why,
            achieved_cps: tally.begun as f64 / took.as_secs_f64(),
            setup_ms: Percentiles::of(tally.setup_us),
            repeats,
        }
    }
}

impl Load {
    /// Plays it through `subject`.
    pub(super) fn run(&self, subject: &mut Subject, what: &str) -> Result<Outcome, Failure> {
        let mut play = Play::new(subject, self.hold);
        let began = clock::monotonic();
        let mut said = began;
        let mut took = Duration::ZERO;
        loop {
            let now = clock::monotonic();
            let since = now - began;
            let due = ((since.as_secs_f64() * f64::from(self.cps)) as u64 + 1).min(self.calls);
            // A generator that has fallen behind catches up in small lots: the rate stays a rate.
            for _ in play.caller.tally.begun..due.min(play.caller.tally.begun + CATCH_UP) {
                play.caller.begin(now);
            }
            if play.caller.tally.begun == self.calls && took.is_zero() {
                took = since.max(Duration::from_millis(1));
            }
            let busy = play.turn(subject)?;
            let over = play.caller.tally.begun == self.calls && play.caller.pending() == 0;
            if over || (!took.is_zero() && since > took + PATIENCE) {
                break;
            }
            if !busy {
                subject.wire.wait(self.pause(began, &play));
            }
            if now > said + SAY_EVERY {
                said = now;
                let tally = &play.caller.tally;
                crate::complain(&format!(
                    "{what}: {} of {} begun, {} failed",
                    tally.begun, self.calls, tally.failed
                ));
            }
        }
        Ok(play.outcome(took))
    }

    /// Until the next call is to begin or end.
    fn pause(&self, began: Instant, play: &Play) -> Duration {
        let now = clock::monotonic();
        let begun = play.caller.tally.begun;
        let next = (begun < self.calls)
            .then(|| began + Duration::from_secs_f64(begun as f64 / f64::from(self.cps)));
        let due = [next, play.caller.due(), Some(now + LONGEST_PAUSE)];
        let first = due.into_iter().flatten().min().unwrap_or(now);
        first.saturating_duration_since(now)
    }
}

/// Calls begun at once when the generator is late.
const CATCH_UP: u64 = 8;
/// Timers of the transactions are looked at no later than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// After the last call was begun: the longest that a transaction tries.
const PATIENCE: Duration = Duration::from_secs(40);
const SAY_EVERY: Duration = Duration::from_secs(5);
