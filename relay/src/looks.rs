//! Clients who look at calls and wait for what the media engine says of them.

use crate::admin::{Answer, CallRow};
use crate::measured;
use b2bua::Carried;
use media::CallStats;
use media_engine::{Datapath, MediaId};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The engine answers within a millisecond. A call that has ended meanwhile, or an answer that found no
/// room, is waited for no longer than this.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Clients that look at calls at once: those of the admin socket are fewer.
const LOOKS_MAX: usize = 64;

/// Those who wait, for one call and for all.
#[derive(Debug, Default)]
pub(crate) struct Looks(Vec<Look>, Vec<ListLook>);

#[derive(Debug)]
struct Look {
    call: MediaId,
    row: CallRow,
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

/// Who looks at all calls.
#[derive(Debug)]
struct ListLook {
    rows: Vec<CallRow>,
    /// Media workers that have not told of theirs yet.
    workers: Vec<usize>,
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

impl ListLook {
    fn answer(self) {
        // A client that went away is not waited for.
        let _ = self.answer.send(Answer::Calls { calls: self.rows });
    }
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
        let late = |look: &mut ListLook| now.saturating_duration_since(look.since) >= WAIT_MAX;
        self.1.extract_if(.., late).for_each(ListLook::answer);
    }

    /// Waits until these workers have told of their calls.
    pub(crate) fn begin_list(
        &mut self,
        now: Instant,
        rows: Vec<CallRow>,
        workers: Vec<usize>,
        answer: oneshot::Sender<Answer>,
    ) {
        let look = ListLook { rows, workers, answer, since: now };
        match look.workers.is_empty() {
            true => look.answer(),
            false if self.1.len() < LOOKS_MAX => self.1.push(look),
            false => {}
        }
    }

    /// A worker has told what carries its calls.
    pub(crate) fn listed(&mut self, worker: usize, calls: &[(MediaId, [Datapath; 2])]) {
        if self.1.is_empty() {
            return;
        }
        let carried: HashMap<u64, [Datapath; 2]> =
            calls.iter().map(|(call, legs)| (call.0, *legs)).collect();
        for look in &mut self.1 {
            look.workers.retain(|waited| *waited != worker);
            for row in &mut look.rows {
                if let Some([a, b]) = carried.get(&row.call) {
                    row.datapath = Some((a.name().to_owned(), b.name().to_owned()));
                }
            }
        }
        self.1.extract_if(.., |look| look.workers.is_empty()).for_each(ListLook::answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(answer: Answer) -> Vec<Option<(String, String)>> {
        let Answer::Calls { calls } = answer else { panic!("no list: {answer:?}") };
        calls.into_iter().map(|call| call.datapath).collect()
    }

    #[test]
    fn a_list_is_answered_before_all_workers_have_told() {
        let (mut looks, now) = (Looks::default(), crate::clock::now().mono);
        let (answer, mut told) = oneshot::channel();
        looks.begin_list(
            now,
            vec![CallRow::example(7), CallRow::example(8), CallRow::example(9)],
            vec![0, 1],
            answer,
        );
        looks.listed(0, &[(MediaId(8), [Datapath::Steer, Datapath::Portable])]);
        assert!(told.try_recv().is_err(), "one worker has not told yet");
        looks.listed(1, &[(MediaId(7), [Datapath::Xdp; 2])]);
        let [xdp, steer, portable] = ["xdp", "steer", "portable"].map(str::to_owned);
        let wanted = [Some((xdp.clone(), xdp)), Some((steer, portable)), None];
        assert_eq!(ways(told.try_recv().unwrap()), wanted);
    }

    #[test]
    fn a_worker_that_does_not_tell_keeps_a_list_for_ever() {
        let (mut looks, now) = (Looks::default(), crate::clock::now().mono);
        let (answer, mut told) = oneshot::channel();
        looks.begin_list(now, vec![CallRow::example(7)], vec![0], answer);
        looks.give_up(now);
        assert!(told.try_recv().is_err());
        looks.give_up(now + WAIT_MAX);
        assert_eq!(ways(told.try_recv().unwrap()), [None]);
        let (answer, mut told) = oneshot::channel();
        looks.begin_list(now, Vec::new(), Vec::new(), answer);
        assert_eq!(ways(told.try_recv().unwrap()), []);
    }
}
