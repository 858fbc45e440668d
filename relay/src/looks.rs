//! Clients who look at one call and wait for what the media engine says of it.

use crate::admin::{Answer, CallRow};
use crate::measured;
use b2bua::Carried;
use media::CallStats;
use media_engine::MediaId;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The engine answers within a millisecond. A call that has ended meanwhile, or an answer that found no
/// room, is waited for no longer than this.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Clients that look at calls at once: those of the admin socket are fewer.
const LOOKS_MAX: usize = 64;

/// Those who wait.
#[derive(Debug, Default)]
pub(crate) struct Looks(Vec<Look>);

#[derive(Debug)]
struct Look {
    call: MediaId,
    row: CallRow,
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

impl Looks {
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        call: MediaId,
        row: CallRow,
        answer: oneshot::Sender<Answer>,
    ) {
        // Beyond the bound a client reads that the daemon does not answer.
        if self.0.len() < LOOKS_MAX {
            self.0.push(Look { call, row, answer, since: now });
        }
    }

    /// The engine has told of a call, or cannot.
    pub(crate) fn answer(
        &mut self,
        call: MediaId,
        stats: Option<(&CallStats, Option<&[Carried; 2]>)>,
    ) {
        for look in self.0.extract_if(.., |look| look.call == call) {
            let media = stats.map(|(stats, carried)| measured::live(stats, carried));
            // A client that went away is not waited for.
            let _ = look.answer.send(Answer::Call { call: Box::new(look.row), media });
        }
    }

    /// Answers who has waited for too long with what is known without the engine.
    pub(crate) fn give_up(&mut self, now: Instant) {
        let late = |look: &mut Look| now.saturating_duration_since(look.since) >= WAIT_MAX;
        for look in self.0.extract_if(.., late) {
            let _ = look.answer.send(Answer::Call { call: Box::new(look.row), media: None });
        }
    }
}
