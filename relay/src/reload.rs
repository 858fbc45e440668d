//! Another configuration under running calls: the files are looked at and judged on other threads, and
//! what holds is put in force as a whole, or not at all.

use crate::admin::Answer;
use crate::alarms::{self, Alarms, Subject};
use crate::config::{self, Candidate, Loaded, Problem, Scope, Store};
use crate::daemon::{notify, open_records, usual_records};
use crate::shard::Order;
use crate::transport::Transports;
use crate::watch::{Places, Watch};
use crate::{clock, dns};
use b2bua::Plan;
use certs::Identities;
use metrics::{counter, gauge};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};

/// What is in force, and everybody who has to know when it changes.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) loaded: Loaded,
    pub(crate) generation: u64,
    pub(crate) identities: Identities,
    pub(crate) transports: Transports,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) names: watch::Sender<dns::Wanted>,
    pub(crate) alarms: Alarms,
    /// Snapshots that calls may still have. The last to have one drops it, and that is not to be the
    /// thread that signals: ten thousand tenants take a while.
    pub(crate) retired: Vec<Arc<Plan>>,
    pub(crate) plan: Arc<Plan>,
}

impl InForce {
    /// Puts `loaded` in force, or says why not; then nothing has changed.
    async fn apply(&mut self, mut loaded: Loaded) -> Result<u64, Vec<String>> {
        let refusals = config::refusals(&self.loaded, &loaded);
        if !refusals.is_empty() {
            return Err(texts(&refusals));
        }
        let records = match (&loaded.records, loaded.records == self.loaded.records) {
            (_, true) => None,
            (None, false) => Some(usual_records()),
            (Some(new), false) => {
                Some(Some(open_records(new).map_err(|error| vec![error.to_string()])?))
            }
        };
        let generation = self.generation + 1;
        loaded.plan.generation = generation;
        let plan = Arc::new(loaded.plan.clone());
        // New identities first, as the plan may name one that is new; put back if it cannot serve.
        self.identities.replace(named(&loaded));
        if let Err(error) = self.transports.apply(Arc::clone(&plan)) {
            self.identities.replace(named(&self.loaded));
            return Err(vec![error.to_string()]);
        }
        self.names.send_replace(dns::Wanted::of(&plan));
        let mut orders = vec![Order::Plan(Arc::clone(&plan))];
        orders.extend(records.map(Order::Records));
        for order in orders {
            if self.orders.send(order).await.is_err() {
                return Err(vec!["the daemon is stopping".into()]);
            }
        }
        self.retired.push(std::mem::replace(&mut self.plan, plan));
        self.generation = generation;
        self.loaded = loaded;
        Ok(generation)
    }

    /// Shows in metrics and alarms what is in force, and what is not.
    pub(crate) fn show(&self) {
        #[expect(clippy::cast_precision_loss, reason = "nobody reloads 2^53 times")]
        gauge!("tollgate_config_generation").set(self.generation as f64);
        for certificate in &self.loaded.certificates {
            let expiry = certificate.identity.not_after();
            let seconds = expiry.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let name = certificate.name.clone();
            gauge!("tollgate_certificate_expiry_timestamp_seconds", "certificate" => name)
                .set(seconds);
        }
        let broken = self.loaded.broken.iter().map(|it| {
            let first = it.problems.first().map(ToString::to_string).unwrap_or_default();
            let state = if it.absent { "absent" } else { "as it last was" };
            (Subject::Tenant(it.tenant.clone()), format!("the tenant is {state}: {first}"))
        });
        self.alarms.replace(alarms::TENANT_INVALID, broken.collect());
        self.alarms.clear(alarms::CONFIG_REFUSED, &Subject::Host);
        self.in_sync(self.loaded.broken.is_empty());
    }

    fn in_sync(&self, is: bool) {
        gauge!("tollgate_config_in_sync").set(f64::from(u8::from(is)));
    }

    /// What a reload says of tenants whose files do not hold.
    fn broken(&self) -> Vec<String> {
        self.loaded.broken.iter().flat_map(|it| texts(&it.problems)).collect()
    }

    /// Nothing changes, for these reasons.
    fn refuse(&self, problems: &[String]) {
        counter!("tollgate_config_reloads_total", "result" => "refused").increment(1);
        let first = problems.first().map_or("", String::as_str);
        self.alarms.raise(alarms::CONFIG_REFUSED, Subject::Host, first);
        self.in_sync(false);
        for problem in problems.iter().take(PROBLEMS_LOGGED_MAX) {
            tracing::warn!(problem, "configuration is refused; the one in force stays");
        }
    }

    /// Snapshots that nobody has any more, to be dropped elsewhere.
    fn take_unused(&mut self) -> Vec<Arc<Plan>> {
        let (unused, used) = self.retired.drain(..).partition(|plan| Arc::strong_count(plan) == 1);
        self.retired = used;
        unused
    }
}

/// Reloads, one at a time.
#[derive(Debug)]
pub(crate) struct Reloads {
    /// Away while a look is being judged.
    store: Option<Store>,
    under_way: Option<UnderWay>,
    /// What is to be looked at next.
    wanted: Option<Wanted>,
    watch: Watch,
}

/// A look that somebody wants.
#[derive(Debug, Default)]
struct Wanted {
    scope: Scope,
    /// An operator asked for it.
    asked: bool,
    answers: Vec<oneshot::Sender<Answer>>,
}

#[derive(Debug)]
struct UnderWay {
    job: JoinHandle<(Store, Outcome)>,
    asked: bool,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// What became of a look.
#[derive(Debug)]
struct Outcome {
    judged: Result<Candidate, Vec<Problem>>,
    /// Where the files are now, if that was looked for.
    places: Option<Places>,
    missing: Vec<(PathBuf, String)>,
    took: Duration,
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
    pub(crate) fn new(store: Store) -> Self {
        let watch = Watch::new(store.places());
        Self { store: Some(store), under_way: None, wanted: None, watch }
    }

    /// Has everything looked at, after what is under way; `answer` gets what came of it.
    pub(crate) fn want(&mut self, answer: Option<oneshot::Sender<Answer>>) {
        self.add(Scope::all(), true, answer);
    }

    fn add(&mut self, scope: Scope, asked: bool, answer: Option<oneshot::Sender<Answer>>) {
        match &mut self.wanted {
            Some(wanted) => {
                wanted.scope.and(scope);
                wanted.asked |= asked;
                wanted.answers.extend(answer);
            }
            None => {
                self.wanted = Some(Wanted { scope, asked, answers: Vec::from_iter(answer) });
            }
        }
        self.begin();
    }

    fn begin(&mut self) {
        if self.wanted.is_none() || self.store.is_none() {
            return;
        }
        let (Some(wanted), Some(store)) = (self.wanted.take(), self.store.take()) else { return };
        let Wanted { mut scope, asked, answers } = wanted;
        scope.held = self.watch.held();
        if asked {
            notify(&[sd_notify::NotifyState::Reloading]);
        }
        let job = tokio::task::spawn_blocking(move || {
            let mut store = store;
            let outcome = judge(&mut store, &scope);
            (store, outcome)
        });
        self.under_way = Some(UnderWay { job, asked, answers });
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
                // The store went down with it: what is in force stays until a restart.
                Err(error) => tracing::error!(%error, "reading the configuration failed"),
            }
        }
    }

    /// Looks at what has changed, or puts in force what has been judged and answers who asked.
    pub(crate) async fn handle(&mut self, force: &mut InForce, next: Next) {
        match next {
            Next::Changed(scope) => self.add(scope, false, None),
            Next::Judged(judged) => self.conclude(force, *judged).await,
        }
    }

    async fn conclude(&mut self, force: &mut InForce, judged: Judged) {
        let Judged { mut store, outcome, asked, answers } = judged;
        let Outcome { judged, places, missing, took } = outcome;
        if let Some(places) = places {
            self.watch.follow(places);
        }
        self.watch.missing(missing);
        let judged = match judged {
            Ok(candidate) if asked || candidate.is_change(&store) => {
                match force.apply(candidate.loaded.clone()).await {
                    Ok(generation) => Ok((Some(generation), candidate)),
                    Err(problems) => Err(problems),
                }
            }
            // Read again, and as it was.
            Ok(candidate) => Ok((None, candidate)),
            Err(problems) => Err(texts(&problems)),
        };
        store.set_refused(judged.is_err());
        let answer = match judged {
            Ok((generation, candidate)) => {
                if let Some(generation) = generation {
                    force.show();
                    let result = if force.loaded.broken.is_empty() { "applied" } else { "partial" };
                    counter!("tollgate_config_reloads_total", "result" => result).increment(1);
                    tracing::info!(generation, ?took, "configuration is in force");
                }
                let unused = force.take_unused();
                let committed = tokio::task::spawn_blocking(move || {
                    store.commit(candidate);
                    drop(unused);
                    store
                });
                match committed.await {
                    Ok(store) => self.store = Some(store),
                    Err(error) => tracing::error!(%error, "keeping the configuration failed"),
                }
                Answer::Reloaded { generation: force.generation, problems: force.broken() }
            }
            Err(problems) => {
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

/// Looks and judges; on a thread that may take its time.
fn judge(store: &mut Store, scope: &Scope) -> Outcome {
    let began = clock::now();
    let look = store.look(scope, began.wall);
    let missing =
        look.missing.iter().map(|name| (store.tenant_file(name), name.to_string())).collect();
    let linked = look.is_linked();
    let judged = store.judge(look, true);
    if scope.host || !scope.poll {
        store.looked(&judged, began.wall);
    }
    let everything = scope.tenants.is_none() && !scope.poll;
    let places = (everything || scope.host && !scope.poll || linked).then(|| store.places());
    let took = clock::now().mono.saturating_duration_since(began.mono);
    Outcome { judged, places, missing, took }
}

async fn finished(under_way: &mut Option<UnderWay>) -> Result<(Store, Outcome), JoinError> {
    match under_way {
        Some(under_way) => (&mut under_way.job).await,
        None => std::future::pending().await,
    }
}

/// Problems of one refused reload that are logged: `tollgate reload --check` has them all.
const PROBLEMS_LOGGED_MAX: usize = 20;

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// The certificates by name.
pub(crate) fn named(loaded: &Loaded) -> Vec<(String, Arc<certs::Identity>)> {
    loaded.certificates.iter().map(|it| (it.name.clone(), Arc::clone(&it.identity))).collect()
}
