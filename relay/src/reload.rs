//! Another configuration under running calls: the files are looked at and judged on other threads, and
//! what holds is put in force as a whole, or not at all.

use crate::admin::Answer;
use crate::alarms::{self, Alarms, Subject};
use crate::config::{self, Candidate, Loaded, Problem, Scope, Store};
use crate::daemon::{notify, open_records, usual_records};
use crate::shard::Order;
use crate::transport::Transports;
use crate::{clock, dns};
use b2bua::Plan;
use certs::Identities;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

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
}

/// A look that somebody wants.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    scope: Scope,
    answers: Vec<oneshot::Sender<Answer>>,
}

#[derive(Debug)]
struct UnderWay {
    job: JoinHandle<(Store, Result<Candidate, Vec<Problem>>)>,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// A look that has been judged.
#[derive(Debug)]
pub(crate) struct Judged {
    store: Store,
    outcome: Result<Candidate, Vec<Problem>>,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Reloads {
    pub(crate) fn new(store: Store) -> Self {
        Self { store: Some(store), under_way: None, wanted: None }
    }

    /// Has everything looked at, after what is under way; `answer` gets what came of it.
    pub(crate) fn want(&mut self, answer: Option<oneshot::Sender<Answer>>) {
        let wanted = self.wanted.get_or_insert_default();
        wanted.scope = Scope::all();
        wanted.answers.extend(answer);
        self.begin();
    }

    fn begin(&mut self) {
        let (Some(Wanted { scope, answers }), Some(store)) =
            (self.wanted.take(), self.store.take())
        else {
            return;
        };
        notify(&[sd_notify::NotifyState::Reloading]);
        let job = tokio::task::spawn_blocking(move || {
            let look = store.look(&scope, clock::now().wall);
            let outcome = store.judge(look, true);
            (store, outcome)
        });
        self.under_way = Some(UnderWay { job, answers });
    }

    /// The look that is under way, when it has been judged. Whoever stops waiting loses nothing.
    pub(crate) async fn judged(&mut self) -> Judged {
        loop {
            let Some(under_way) = &mut self.under_way else { std::future::pending().await };
            let done = (&mut under_way.job).await;
            let answers = std::mem::take(&mut under_way.answers);
            self.under_way = None;
            match done {
                Ok((store, outcome)) => return Judged { store, outcome, answers },
                // The store went down with it: what is in force stays until a restart.
                Err(error) => tracing::error!(%error, "reading the configuration failed"),
            }
        }
    }

    /// Puts in force what has been judged, and answers who asked.
    pub(crate) async fn conclude(&mut self, force: &mut InForce, judged: Judged) {
        let Judged { mut store, outcome, answers } = judged;
        let outcome = match outcome {
            Ok(candidate) => match force.apply(candidate.loaded.clone()).await {
                Ok(generation) => Ok((generation, candidate)),
                Err(problems) => Err(problems),
            },
            Err(problems) => Err(texts(&problems)),
        };
        let answer = match outcome {
            Ok((generation, candidate)) => {
                force.show();
                let broken = force.broken();
                let result = if broken.is_empty() { "applied" } else { "partial" };
                counter!("tollgate_config_reloads_total", "result" => result).increment(1);
                tracing::info!(generation, "configuration is in force");
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
                Answer::Reloaded { generation, problems: broken }
            }
            Err(problems) => {
                self.store = Some(store);
                counter!("tollgate_config_reloads_total", "result" => "refused").increment(1);
                let first = problems.first().map_or("", String::as_str);
                force.alarms.raise(alarms::CONFIG_REFUSED, Subject::Host, first);
                force.in_sync(false);
                for problem in problems.iter().take(PROBLEMS_LOGGED_MAX) {
                    tracing::warn!(problem, "configuration is refused; the one in force stays");
                }
                Answer::Refused { problems }
            }
        };
        notify(&[sd_notify::NotifyState::Ready]);
        for to in answers {
            // A client that went away is not waited for.
            let _ = to.send(answer.clone());
        }
        self.begin();
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
