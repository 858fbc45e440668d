//! What is in force, and how another configuration takes its place: everybody who has to know is told, or
//! nobody is.

use crate::alarms::{self, Alarms, Subject};
use crate::config::{self, AcmeOrder, Loaded, Problem};
use crate::daemon::records;
use crate::dns;
use crate::media_setup::{self, Shortfall};
use crate::reload::texts;
use crate::shard::Order;
use crate::transport::{StartError, Transports};
use b2bua::Plan;
use certs::Identities;
use media_engine::EngineKind;
use metrics::{counter, gauge};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Why transports cannot serve `loaded`, where that is a matter of one place in its files.
pub(crate) fn problem(error: &StartError, loaded: &Loaded) -> Option<Problem> {
    match error {
        StartError::Bind { listener, .. } => Some(loaded.cannot_bind(listener, &error.to_string())),
        StartError::NoCertificate { .. } | StartError::Roots { .. } | StartError::Tls { .. } => {
            None
        }
    }
}

/// What is in force, and everybody who has to know when it changes.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) loaded: Loaded,
    pub(crate) generation: u64,
    pub(crate) transports: Transports,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) names: watch::Sender<dns::Wanted>,
    /// For whoever watches when certificates end,
    pub(crate) certificates: watch::Sender<Identities>,
    /// and for whoever has them by ACME.
    pub(crate) acme: watch::Sender<Arc<[AcmeOrder]>>,
    pub(crate) alarms: Alarms,
    /// Snapshots that calls may still have. The last to have one drops it, and that is not to be the
    /// thread that signals: ten thousand tenants take a while.
    pub(crate) retired: Vec<Arc<Plan>>,
    pub(crate) plan: Arc<Plan>,
    /// The generation that was rolled back to, as long as the files on disk are not in force.
    pub(crate) rolled_back: Option<u64>,
}

impl InForce {
    /// Puts `loaded` in force, or says why not; then nothing has changed.
    pub(crate) async fn apply(&mut self, mut loaded: Loaded) -> Result<u64, Vec<String>> {
        let refusals = config::refusals(&self.loaded, &loaded);
        if !refusals.is_empty() {
            return Err(texts(&refusals));
        }
        let unbindable = media_setup::unbindable(&loaded.plan, &media_setup::Here);
        if !unbindable.is_empty() {
            return Err(unbindable.iter().map(ToString::to_string).collect());
        }
        let records = match (&loaded.records, loaded.records == self.loaded.records) {
            (_, true) => None,
            (None, false) => Some(records::usual()),
            (Some(new), false) => {
                Some(Some(records::open(new).map_err(|error| vec![error.to_string()])?))
            }
        };
        let generation = self.generation + 1;
        loaded.plan.generation = generation;
        let plan = Arc::new(loaded.plan.clone());
        let applied = self.transports.apply(Arc::clone(&plan), loaded.identities.clone());
        applied.map_err(|error| {
            let problem = problem(&error, &loaded);
            vec![problem.map_or_else(|| error.to_string(), |problem| problem.to_string())]
        })?;
        self.names.send_replace(dns::Wanted::of(&plan));
        self.certificates.send_replace(loaded.identities.clone());
        self.acme.send_if_modified(|orders| {
            let changed = **orders != *loaded.acme;
            *orders = loaded.acme.as_slice().into();
            changed
        });
        let mut orders = vec![Order::Plan(Arc::clone(&plan))];
        orders.extend(records.map(Order::Records));
        for order in orders {
            if self.orders.send(order).await.is_err() {
                return Err(vec!["the daemon is stopping".into()]);
            }
        }
        let media_changed = !self.plan.media.iter().eq(plan.media.iter());
        self.retired.push(std::mem::replace(&mut self.plan, plan));
        self.generation = generation;
        if media_changed {
            // Ports may be those of calls that are up.
            self.judge_media(false);
        }
        self.loaded = loaded;
        Ok(generation)
    }

    /// Shows in metrics and alarms what is in force, and what is not.
    pub(crate) fn show(&self) {
        #[expect(clippy::cast_precision_loss, reason = "nobody reloads 2^53 times")]
        gauge!("tollgate_config_generation").set(self.generation as f64);
        let broken = self.loaded.broken.iter().map(|it| {
            let first = it.problems.first().map(ToString::to_string).unwrap_or_default();
            let state = if it.absent { "absent" } else { "as it last was" };
            (Subject::Tenant(it.tenant.clone()), format!("the tenant is {state}: {first}"))
        });
        self.alarms.replace(alarms::TENANT_INVALID, broken.collect());
        let broken = self.loaded.broken_certificates.iter();
        let broken = broken.map(|(name, why)| {
            let text = format!("{}: {}", why.file.display(), why.message);
            (Subject::Certificate(name.clone()), text)
        });
        self.alarms.replace(alarms::CERTIFICATE_INVALID, broken.collect());
        self.alarms.clear(alarms::CONFIG_REFUSED, &Subject::Host);
        let text = self.rolled_back.map(|number| {
            format!("configuration {number} is in force; the files on disk count when they change")
        });
        self.alarms.set(alarms::CONFIG_ROLLED_BACK, Subject::Host, text.as_deref());
        self.in_sync(self.loaded.broken.is_empty() && text.is_none());
    }

    /// Whether the system gives what the media in force wants; `idle` as in
    /// [`media_setup::shortfalls`].
    pub(crate) fn judge_media(&self, idle: bool) {
        let mut found = media_setup::shortfalls(&self.plan, &media_setup::Here, idle);
        // Without its engine the daemon would not run.
        let lacks = media_engine::lacks(EngineKind::Auto, self.loaded.media_offload);
        found.extend(lacks.into_iter().map(Shortfall::from));
        for shortfall in &found {
            tracing::warn!(what = shortfall.what, mend = shortfall.mend, "media may be lost");
        }
        let text = found.first().map(|first| match found.len() {
            1 => first.to_string(),
            all => format!("{first} (and {} more: tollgate check)", all - 1),
        });
        self.alarms.set(alarms::MEDIA_SETUP, Subject::Host, text.as_deref());
    }

    pub(crate) fn in_sync(&self, is: bool) {
        gauge!("tollgate_config_in_sync").set(f64::from(u8::from(is)));
    }

    /// What a reload says of tenants whose files do not hold.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.loaded.broken.iter().flat_map(|it| texts(&it.problems)).collect()
    }

    /// Nothing changes, for these reasons.
    pub(crate) fn refuse(&self, problems: &[String]) {
        counter!("tollgate_config_reloads_total", "result" => "refused").increment(1);
        let first = problems.first().map_or("", String::as_str);
        self.alarms.raise(alarms::CONFIG_REFUSED, Subject::Host, first);
        self.in_sync(false);
        for problem in problems.iter().take(PROBLEMS_LOGGED_MAX) {
            tracing::warn!(problem, "configuration is refused; the one in force stays");
        }
    }

    /// Snapshots that nobody has any more, to be dropped elsewhere.
    pub(crate) fn take_unused(&mut self) -> Vec<Arc<Plan>> {
        let (unused, used) = self.retired.drain(..).partition(|plan| Arc::strong_count(plan) == 1);
        self.retired = used;
        unused
    }
}

/// Problems of one refused reload that are logged: `tollgate reload --check` has them all.
const PROBLEMS_LOGGED_MAX: usize = 20;
