//! Names of trunks to endpoints, looked up off the call path: no call ever waits for DNS.
//!
//! What to ask and when is decided by [`b2bua::locate::Directory`]; here it is asked, several names at
//! a time, and the answers are handed on.

mod lookup;

use crate::alarms::{self, Alarms, Subject};
use b2bua::Plan;
use b2bua::locate::{Age, Directory, Kind, Located, Output, Question, Record, Sought};
use hickory_resolver::TokioResolver;
use metrics::{counter, gauge};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

/// Where a name is from now on.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name.
    pub(crate) sought: Sought,
    /// Its endpoints.
    pub(crate) located: Arc<Located>,
}

/// What of a plan concerns DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    names: Vec<Sought>,
    fixed: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

impl Wanted {
    /// The names of `plan` that DNS is asked for, and those that `[resolve]` gives.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { names: Sought::all(plan), fixed: Arc::clone(&plan.resolve) }
    }
}

/// On a host that is just coming up, resolv.conf may be written later than we start: it is read again
/// after so long.
const CONFIGURATION_RETRY: Duration = Duration::from_secs(15);
/// How long the metrics may be out of date.
const SHOW_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps the names in `wanted` located by the host's resolver. Ends when either side is gone.
pub(crate) async fn keep_located(
    wanted: watch::Receiver<Wanted>,
    found: mpsc::Sender<Found>,
    alarms: Alarms,
) {
    let resolver = loop {
        match lookup::of_host() {
            Ok(resolver) => break resolver,
            Err(error) => {
                tracing::warn!(%error, "no DNS: names outside [resolve] have no address");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(CONFIGURATION_RETRY) => {}
            () = found.closed() => return,
        }
    };
    let mut dns = Dns::new(resolver, || crate::clock::now().mono);
    dns.alarms = alarms;
    dns.run(wanted, found).await;
}

/// A directory and its look-ups.
struct Dns<C> {
    directory: Directory,
    resolver: TokioResolver,
    lookups: JoinSet<b2bua::locate::Answer>,
    under_way: HashMap<Id, Question>,
    shown: BTreeSet<String>,
    alarms: Alarms,
    clock: C,
}

impl<C: Fn() -> Instant> Dns<C> {
    fn new(resolver: TokioResolver, clock: C) -> Self {
        Self {
            directory: Directory::new(),
            resolver,
            lookups: JoinSet::new(),
            under_way: HashMap::new(),
            shown: BTreeSet::new(),
            alarms: Alarms::default(),
            clock,
        }
    }

    async fn run(mut self, mut wanted: watch::Receiver<Wanted>, found: mpsc::Sender<Found>) {
        let mut show = tokio::time::interval(SHOW_INTERVAL);
        show.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        wanted.mark_changed();
        loop {
            if !self.drain(&found).await {
                return;
            }
            let due = self.directory.poll_timeout();
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Wanted { names, fixed } = wanted.borrow_and_update().clone();
                    self.directory.follow((self.clock)(), names, BTreeMap::clone(&fixed));
                }
                Some(done) = self.lookups.join_next_with_id() => self.answered(done),
                () = sleep_until(due) => self.directory.handle_timeout((self.clock)()),
                _ = show.tick() => self.show(),
                () = found.closed() => return,
            }
        }
    }

    /// Does what the directory wants done; whether anybody still wants to know.
    async fn drain(&mut self, found: &mpsc::Sender<Found>) -> bool {
        while let Some(output) = self.directory.poll_output() {
            match output {
                Output::Ask(question) => {
                    let asked = lookup::ask(self.resolver.clone(), question.clone());
                    let id = self.lookups.spawn(asked).id();
                    self.under_way.insert(id, question);
                }
                Output::Located { sought, located } => {
                    let endpoints: Vec<_> = located.endpoints().collect();
                    tracing::debug!(name = sought.host, ?endpoints, "name is located");
                    if found.send(Found { sought, located }).await.is_err() {
                        return false;
                    }
                }
                Output::Failing { sought, why, stale: true } => {
                    tracing::warn!(
                        name = sought.host,
                        why,
                        "DNS fails; the last good addresses serve"
                    );
                }
                Output::Failing { sought, why, stale: false } => {
                    tracing::warn!(name = sought.host, why, "DNS fails; the name has no address");
                }
                Output::Recovered { sought } => {
                    tracing::info!(name = sought.host, "name resolves again");
                }
            }
        }
        true
    }

    fn answered(&mut self, done: Result<(Id, b2bua::locate::Answer), tokio::task::JoinError>) {
        let (id, answer) = match done {
            Ok(done) => done,
            Err(error) => {
                let why = format!("look-up broke off: {error}");
                (error.id(), b2bua::locate::Answer::Failed { why })
            }
        };
        if let Some(question) = self.under_way.remove(&id) {
            self.directory.answered((self.clock)(), &question, answer);
        }
    }

    /// Shows how each name is doing. A name that has left the plan does not age any more.
    fn show(&mut self) {
        let ages = self.directory.ages((self.clock)());
        let failing: Vec<&str> =
            ages.iter().filter(|age| age.failing).map(|age| age.host.as_str()).collect();
        let text = format!("does not resolve: {}", failing.join(", "));
        let stands = (!failing.is_empty()).then_some(text.as_str());
        self.alarms.set(alarms::DNS_STALE, Subject::Host, stands);
        for name in std::mem::take(&mut self.shown) {
            if !ages.iter().any(|age| age.host == name) {
                gauge!("tollgate_dns_age_seconds", "name" => name).set(0.0);
            }
        }
        for Age { host, since, failures, .. } in ages {
            if let Some(since) = since {
                let age = since.as_secs_f64();
                gauge!("tollgate_dns_age_seconds", "name" => host.clone()).set(age);
            }
            counter!("tollgate_dns_failures_total", "name" => host.clone()).absolute(failures);
            self.shown.insert(host);
        }
    }
}

/// The addresses of these names, each looked up once: for who looks at how things are, not for calls.
pub(crate) async fn addresses(names: Vec<String>) -> BTreeMap<String, Result<Vec<IpAddr>, String>> {
    let resolver = match lookup::of_host() {
        Ok(resolver) => resolver,
        Err(error) => {
            let why = error.to_string();
            return names.into_iter().map(|name| (name, Err(why.clone()))).collect();
        }
    };
    let room = Arc::new(tokio::sync::Semaphore::new(LOOKUPS_MAX));
    let mut lookups = JoinSet::new();
    for name in names {
        let (resolver, room) = (resolver.clone(), Arc::clone(&room));
        lookups.spawn(async move {
            let _permit = room.acquire_owned().await;
            let ask = |kind| lookup::ask(resolver.clone(), Question { name: name.clone(), kind });
            let both = async { tokio::join!(ask(Kind::A), ask(Kind::Aaaa)) };
            let found = match tokio::time::timeout(LOOKUP_MAX, both).await {
                Ok((v4, v6)) => either(v4, v6),
                Err(_) => Err("DNS does not answer".to_owned()),
            };
            (name, found)
        });
    }
    let mut found = BTreeMap::new();
    while let Some(done) = lookups.join_next().await {
        found.extend(done.ok());
    }
    found
}

/// The addresses of both families; that there are none is told only if there are none of either.
fn either(v4: b2bua::locate::Answer, v6: b2bua::locate::Answer) -> Result<Vec<IpAddr>, String> {
    use b2bua::locate::Answer::{Failed, Nothing, Records};
    let mut addresses = Vec::new();
    let mut why = None;
    for answer in [v4, v6] {
        match answer {
            Records { records, .. } => {
                addresses.extend(records.into_iter().filter_map(|it| match it {
                    Record::Address(address) => Some(address),
                    _ => None,
                }))
            }
            Nothing { .. } => {}
            Failed { why: failed } => why = Some(failed),
        }
    }
    match (addresses.is_empty(), why) {
        (false, _) => Ok(addresses),
        (true, None) => Err("there is no such record".to_owned()),
        (true, Some(why)) => Err(why),
    }
}

/// Look-ups at once.
const LOOKUPS_MAX: usize = 32;
/// What one may take.
const LOOKUP_MAX: Duration = Duration::from_secs(6);

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
