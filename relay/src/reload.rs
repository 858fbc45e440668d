//! Another configuration under running calls: the files are looked at and judged on other threads, one look
//! at a time, and what holds is put in force (`in_force.rs`).

use crate::acme;
use crate::admin::Answer;
use crate::clock;
use crate::config::{
    Candidate, Frozen, Generations, Loaded, Problem, Records, Scope, Store, summary,
};
use crate::daemon::notify;
use crate::in_force::InForce;
use crate::keeper::Keeper;
use crate::replay::{self, Replayed};
use crate::watch::{Places, Watch};
use b2bua::Plan;
use metrics::counter;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// Reloads, one at a time.
#[derive(Debug)]
pub(crate) struct Reloads {
    /// Away while a look is being judged.
    store: Option<Store>,
    under_way: Option<UnderWay>,
    /// What is to be looked at next.
    wanted: Option<Wanted>,
    /// What else is to be done.
    tasks: VecDeque<Task>,
    /// Lives as long as a replay does: one is enough for a host.
    replaying: Weak<()>,
    watch: Watch,
    keeper: Keeper,
}

/// A look that somebody wants.
#[derive(Debug, Default)]
struct Wanted {
    scope: Scope,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// What an operator wants besides.
#[derive(Debug)]
enum Task {
    Show(Instead, oneshot::Sender<Answer>),
    Replay(Instead, Replaying, oneshot::Sender<Answer>),
    Back(Option<u64>, oneshot::Sender<Answer>),
}

/// Another configuration that is looked at in place of the one that is followed.
type Instead = Option<PathBuf>;

/// A replay that is to be, or that is.
#[derive(Debug)]
struct Replaying {
    /// When it has to be done, as far as it is.
    until: Instant,
    _only: Arc<()>,
}

#[derive(Debug)]
struct UnderWay {
    job: JoinHandle<(Store, Outcome)>,
    asked: bool,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// What became of a look.
#[derive(Debug)]
enum Outcome {
    Judged(Look),
    /// There is nothing to put in force.
    Said(Answer),
    /// Nor here: calls are put to what is in force and to this, while reloads go on.
    Replay(Box<(Plan, Candidate)>, Replaying),
    /// A bug of ours: it is told, and the next look is another.
    Failed(String),
}

#[derive(Debug)]
struct Look {
    judged: Result<Candidate, Vec<Problem>>,
    /// What it changes, in words.
    what: String,
    /// Where the files are now, if that was looked for.
    places: Option<Places>,
    missing: Vec<(PathBuf, String)>,
    /// Files that were not looked at, as they are being written.
    held: BTreeSet<PathBuf>,
    took: Duration,
    /// What was refused before is as it was, and was not judged again.
    stands: bool,
    /// It is a generation of before, and what the files on disk say in its place.
    back: Option<(u64, Frozen)>,
}

/// A look that has been judged, or a change that wants one.
#[derive(Debug)]
pub(crate) enum Next {
    Changed(Scope),
    Judged(Box<Judged>),
}

#[derive(Debug)]
pub(crate) struct Judged {
    store: Store,
    outcome: Outcome,
    asked: bool,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Reloads {
    pub(crate) fn new(store: Store, generations: io::Result<Generations>) -> Self {
        let watch = Watch::new(store.places());
        let keeper = Keeper::new(generations);
        if !store.is_rolled_back() {
            keeper.keep(&store, "at a start");
        }
        Self {
            store: Some(store),
            under_way: None,
            wanted: None,
            tasks: VecDeque::new(),
            replaying: Weak::new(),
            watch,
            keeper,
        }
    }

    /// The generation in force, if any are kept.
    pub(crate) fn current(&self) -> Option<u64> {
        self.keeper.current()
    }

    /// Tells what a reload would change, or what the configuration there would.
    pub(crate) fn show(&mut self, with: Instead, answer: oneshot::Sender<Answer>) {
        self.tasks.push_back(Task::Show(with, answer));
        self.begin();
    }

    /// Tells which calls of the last day would go elsewhere after a reload.
    pub(crate) fn replay(&mut self, with: Instead, answer: oneshot::Sender<Answer>) {
        if self.replaying.strong_count() > 0 {
            let _ = answer.send(Answer::Failed { why: "another replay is under way".into() });
            return;
        }
        let only = Arc::new(());
        self.replaying = Arc::downgrade(&only);
        let until = clock::now().mono + replay::TIME_MAX;
        self.tasks.push_back(Task::Replay(with, Replaying { until, _only: only }, answer));
        self.begin();
    }

    /// Puts a generation of before in force: this one, or the one before that in force.
    pub(crate) fn roll_back(&mut self, number: Option<u64>, answer: oneshot::Sender<Answer>) {
        self.tasks.push_back(Task::Back(number, answer));
        self.begin();
    }

    /// Tells which generations there are.
    pub(crate) fn list(&self, answer: oneshot::Sender<Answer>) {
        self.keeper.list(answer);
    }

    /// Has everything looked at, after what is under way; `answer` gets what came of it.
    pub(crate) fn want(&mut self, answer: Option<oneshot::Sender<Answer>>) {
        self.add(Scope::all(), answer);
    }

    fn add(&mut self, scope: Scope, answer: Option<oneshot::Sender<Answer>>) {
        match &mut self.wanted {
            Some(wanted) => {
                wanted.scope.and(scope);
                wanted.answers.extend(answer);
            }
            None => self.wanted = Some(Wanted { scope, answers: Vec::from_iter(answer) }),
        }
        self.begin();
    }

    fn begin(&mut self) {
        if self.wanted.is_none() && self.tasks.is_empty() {
            return;
        }
        let Some(mut store) = self.store.take() else { return };
        let held = self.watch.held();
        if let Some(Wanted { scope, answers }) = self.wanted.take() {
            let asked = scope.asked;
            if asked {
                notify(&[sd_notify::NotifyState::Reloading]);
            }
            let scope = Scope { held, ..scope };
            let job = tokio::task::spawn_blocking(move || {
                let outcome = survived(|| look(&mut store, &scope));
                (store, outcome)
            });
            self.under_way = Some(UnderWay { job, asked, answers });
            return;
        }
        let keeper = self.keeper.clone();
        let (job, answer) = match self.tasks.pop_front() {
            Some(Task::Show(with, answer)) => {
                let show = move || {
                    let scope = Scope { held, ..Scope::all() };
                    let show = || show(&store.looking_at(with.as_deref()), &scope);
                    let outcome = told(survived(|| Outcome::Said(show())));
                    (store, outcome)
                };
                (tokio::task::spawn_blocking(show), answer)
            }
            Some(Task::Replay(with, replaying, answer)) => {
                let judge = move || {
                    let scope = Scope { held, ..Scope::all() };
                    let judge = || to_replay(&store.looking_at(with.as_deref()), &scope, replaying);
                    let outcome = told(survived(judge));
                    (store, outcome)
                };
                (tokio::task::spawn_blocking(judge), answer)
            }
            Some(Task::Back(number, answer)) => {
                let back = move || {
                    let outcome = told(survived(|| back(&store, &keeper, number)));
                    (store, outcome)
                };
                (tokio::task::spawn_blocking(back), answer)
            }
            None => {
                self.store = Some(store);
                return;
            }
        };
        self.under_way = Some(UnderWay { job, asked: true, answers: vec![answer] });
    }

    /// What happens next: a change is noticed, or a look has been judged. Whoever stops waiting loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let done = tokio::select! {
                scope = self.watch.next() => return Next::Changed(scope),
                done = finished(&mut self.under_way) => done,
            };
            let Some(UnderWay { asked, answers, .. }) = self.under_way.take() else { continue };
            match done {
                Ok((store, outcome)) => {
                    return Next::Judged(Box::new(Judged { store, outcome, asked, answers }));
                }
                // Only where the runtime ends: what panics is caught on its own thread.
                Err(error) => tracing::error!(%error, "reading the configuration failed"),
            }
        }
    }

    /// Looks at what has changed, or puts in force what has been judged and answers who asked.
    pub(crate) async fn handle(&mut self, force: &mut InForce, next: Next) {
        match next {
            Next::Changed(scope) => {
                // The poll comes by here as well: what calls have let go of does not stay for long.
                let unused = force.take_unused();
                if !unused.is_empty() {
                    tokio::task::spawn_blocking(move || drop(unused));
                }
                self.add(scope, None);
            }
            Next::Judged(judged) => {
                let Judged { store, outcome, asked, answers } = *judged;
                let answer = match outcome {
                    Outcome::Said(answer) => {
                        self.store = Some(store);
                        answer
                    }
                    Outcome::Replay(plans, replaying) => {
                        self.store = Some(store);
                        let records = force.loaded.records.clone().unwrap_or_default();
                        begin_replay(records, plans, replaying, answers);
                        notify(&[sd_notify::NotifyState::Ready]);
                        return self.begin();
                    }
                    Outcome::Judged(look) => self.conclude(force, store, look, asked).await,
                    Outcome::Failed(why) => {
                        let problems = vec![why];
                        let mut store = store;
                        store.set_refused(true);
                        self.store = Some(store);
                        force.refuse(&problems);
                        Answer::Refused { problems }
                    }
                };
                if asked {
                    notify(&[sd_notify::NotifyState::Ready]);
                }
                for to in answers {
                    // A client that went away is not waited for.
                    let _ = to.send(answer.clone());
                }
                self.begin();
            }
        }
    }

    async fn conclude(
        &mut self,
        force: &mut InForce,
        mut store: Store,
        look: Look,
        asked: bool,
    ) -> Answer {
        let Look { judged, what, places, missing, held, took, stands, back } = look;
        if let Ok(candidate) = &judged {
            acme::make_room(&candidate.loaded.acme);
        }
        if let Some(places) = places {
            self.watch.follow(places);
        }
        self.watch.missing(missing);
        if stands {
            self.store = Some(store);
            return Answer::Refused { problems: Vec::new() };
        }
        let judged = match judged {
            Ok(candidate) if asked || candidate.is_change(&store) => {
                match force.apply(candidate.loaded.clone()).await {
                    Ok(generation) => Ok((Some((generation, what)), candidate)),
                    Err(problems) => Err(problems),
                }
            }
            // Read again, and as it was.
            Ok(candidate) => Ok((None, candidate)),
            Err(problems) => Err(texts(&problems)),
        };
        // What cannot be gone back to says nothing of the files on disk.
        if let (Err(problems), Some(_)) = (&judged, &back) {
            counter!("tollgate_config_reloads_total", "result" => "refused").increment(1);
            self.store = Some(store);
            return Answer::Refused { problems: problems.clone() };
        }
        let was_refused = store.set_refused(judged.is_err());
        let (applied, candidate) = match judged {
            Ok(done) => done,
            Err(problems) => {
                self.store = Some(store);
                force.refuse(&problems);
                return Answer::Refused { problems };
            }
        };
        let back_to = back.as_ref().map(|(number, _)| *number);
        let rolled_back = match &back {
            Some((number, _)) => Some(*number),
            None => force.rolled_back.filter(|_| store.is_rolled_back()),
        };
        if let Some((generation, what)) = &applied {
            let result = if force.loaded.broken.is_empty() { "applied" } else { "partial" };
            counter!("tollgate_config_reloads_total", "result" => result).increment(1);
            tracing::info!(generation, ?took, changed = what, "configuration is in force");
        }
        // Files that were refused and are as in force again change nothing but that.
        if applied.is_some() || was_refused || rolled_back != force.rolled_back {
            force.rolled_back = rolled_back;
            force.show();
        }
        let unused = force.take_unused();
        self.keep(store, candidate, back, applied.map(|(_, what)| what), unused).await;
        // Who goes back knows configurations by the numbers they are kept under.
        let generation = back_to.unwrap_or(force.generation);
        let mut problems = force.broken();
        problems.extend(held.iter().map(|file| being_written(file)));
        Answer::Reloaded { generation, problems }
    }

    /// Keeps what is in force now on disk, and drops the plans that it took the place of; on a thread that
    /// may take its time. `applied` says what changed, if anything did.
    async fn keep(
        &mut self,
        mut store: Store,
        candidate: Candidate,
        back: Option<(u64, Frozen)>,
        applied: Option<String>,
        unused: Vec<Arc<Plan>>,
    ) {
        let keeper = self.keeper.clone();
        let committed = tokio::task::spawn_blocking(move || {
            store.commit(candidate);
            drop(unused);
            let note = AssertUnwindSafe(|| match (back, applied) {
                (Some((number, frozen)), _) => {
                    keeper.rolled_back(number, &frozen.digest());
                    store.set_frozen(Some(frozen));
                }
                // A new certificate under what was rolled back to is no new configuration.
                (None, Some(what)) if !store.is_rolled_back() => keeper.keep(&store, &what),
                (None, _) => {}
            });
            if std::panic::catch_unwind(note).is_err() {
                tracing::error!("keeping the configuration failed");
            }
            store
        });
        match committed.await {
            Ok(store) => self.store = Some(store),
            Err(error) => tracing::error!(%error, "keeping the configuration failed"),
        }
    }
}

fn being_written(file: &Path) -> String {
    format!(
        "{}:1: is being written, and is read when whoever has it open closes it\nhint: fuser -v tells who; \
         a copy that is renamed into its place counts at once",
        file.display()
    )
}

/// Looks and judges; on a thread that may take its time.
fn look(store: &mut Store, scope: &Scope) -> Outcome {
    let began = clock::now();
    let look = store.look(scope, began.wall);
    let missing =
        look.missing.iter().map(|name| (store.tenant_file(name), name.to_string())).collect();
    let (linked, stands) = (look.is_linked(), look.refused);
    let judged = store.judge(look, true);
    if scope.host || !scope.poll {
        store.looked(&judged, began.wall);
    }
    let everything = scope.tenants.is_none() && !scope.poll;
    let places = (everything || scope.host && !scope.poll || linked).then(|| store.places());
    let took = clock::now().mono.saturating_duration_since(began.mono);
    let (what, held) = (changes(store, &judged), scope.held.clone());
    Outcome::Judged(Look { judged, what, places, missing, held, took, stands, back: None })
}

/// What it changes, in words; with ten thousand tenants that takes a while.
fn changes(store: &Store, judged: &Result<Candidate, Vec<Problem>>) -> String {
    judged.as_ref().map(|candidate| summary(&store.differences(candidate))).unwrap_or_default()
}

/// What came of a look, also if it panics: the store is as it was, and whoever asked is told.
fn survived(look: impl FnOnce() -> Outcome) -> Outcome {
    std::panic::catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "it panicked".into());
        tracing::error!(why = text, "judging the configuration failed");
        Outcome::Failed(format!(
            "judging the configuration failed, and the one in force stays: {text}; this is a bug of \
             ours: please report it with the log before it"
        ))
    })
}

/// Where nothing was to be put in force, who asked is told, and nobody else.
fn told(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(why) => Outcome::Said(Answer::Failed { why }),
        other => other,
    }
}

/// What a look at everything would change.
fn show(store: &Store, scope: &Scope) -> Answer {
    let look = store.look_at_disk(scope, clock::now().wall);
    match store.judge(look, true) {
        Ok(candidate) => {
            let mut problems = texts(&store.refusals(&candidate));
            let refused = !problems.is_empty();
            problems.extend(candidate.loaded.broken.iter().flat_map(|it| texts(&it.problems)));
            Answer::Differs { differences: store.differences(&candidate), problems, refused }
        }
        Err(problems) => {
            Answer::Differs { differences: Vec::new(), problems: texts(&problems), refused: true }
        }
    }
}

/// What calls are put to, if what is on disk may come in force.
fn to_replay(store: &Store, scope: &Scope, replaying: Replaying) -> Outcome {
    let look = store.look_at_disk(scope, clock::now().wall);
    match (store.judge(look, true), store.plan()) {
        (Ok(candidate), Some(plan)) => {
            Outcome::Replay(Box::new((plan.clone(), candidate)), replaying)
        }
        (judged, _) => {
            let problems = judged.err().map(|problems| texts(&problems)).unwrap_or_default();
            let replayed = Replayed { refused: true, problems, ..Replayed::default() };
            Outcome::Said(Answer::Replayed(Box::new(replayed)))
        }
    }
}

/// Puts calls to both on a thread of its own, which takes what others leave of the processors.
fn begin_replay(
    records: Records,
    plans: Box<(Plan, Candidate)>,
    replaying: Replaying,
    answers: Vec<oneshot::Sender<Answer>>,
) {
    let run = move || {
        if let Err(error) = media_engine::idle_priority() {
            tracing::debug!(%error, "priority stays as it is");
        }
        let (in_force, Candidate { loaded, .. }) = *plans;
        let Loaded { plan, broken, .. } = loaded;
        let mut replayed = replay::run(&records, in_force, plan, replaying.until);
        replayed.problems.extend(broken.iter().flat_map(|it| texts(&it.problems)));
        drop(replaying);
        let answer = Answer::Replayed(Box::new(replayed));
        for to in answers {
            let _ = to.send(answer.clone());
        }
    };
    // The client reads senders that are dropped as an end.
    if let Err(error) = std::thread::Builder::new().name("replay".into()).spawn(run) {
        tracing::warn!(%error, "calls cannot be replayed");
    }
}

/// A generation of before, judged again: what it names may be gone.
fn back(store: &Store, keeper: &Keeper, number: Option<u64>) -> Outcome {
    let began = clock::now();
    let (number, sources) = match keeper.sources(number) {
        Ok(found) => found,
        Err(why) => return Outcome::Said(Answer::Refused { problems: vec![why] }),
    };
    let frozen = store.freeze(began.wall);
    let judged = store.judge(store.look_back(sources), true);
    let took = clock::now().mono.saturating_duration_since(began.mono);
    let what = changes(store, &judged);
    let (places, missing, held) = (None, Vec::new(), BTreeSet::new());
    let back = Some((number, frozen));
    Outcome::Judged(Look { judged, what, places, missing, held, took, stands: false, back })
}

async fn finished(under_way: &mut Option<UnderWay>) -> Result<(Store, Outcome), JoinError> {
    match under_way {
        Some(under_way) => (&mut under_way.job).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_panics_leaves_the_store_and_tells_why() {
        let outcome = survived(|| panic!("index 7 of {}", 3));
        assert!(matches!(outcome, Outcome::Failed(why) if why.contains("stays: index 7 of 3;")));
    }
}
