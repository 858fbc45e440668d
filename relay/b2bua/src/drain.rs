//! Who takes no new calls for a while: the host, which is to be stopped without loss (TDR-FO-016), or one
//! tenant, whose equipment is worked on (TDR-MT-007). Calls that are up go on, and emergency calls pass.

use crate::core::Core;
use crate::io::{DrainView, Now};
use crate::plan::Plan;
use crate::timers::Timer;
use crate::trunk::Health;
use std::collections::BTreeMap;
use std::time::Instant;

/// Everybody who drains. A restart forgets it, and so does a tenant's removal.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    host: Option<Drain>,
    tenants: BTreeMap<String, Drain>,
    /// That the host is empty, or its deadline has come, has been said.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    since: Instant,
    /// When what is still up is ended.
    until: Option<Instant>,
}

impl Drains {
    /// Whether this tenant drains, by itself or with the whole host; `None`: whether the host does.
    pub(crate) fn holds(&self, tenant: Option<&str>) -> bool {
        self.host.is_some() || tenant.is_some_and(|name| self.tenants.contains_key(name))
    }

    /// Why a new call of this tenant is refused, if it is.
    pub(crate) fn refusal(&self, tenant: &str) -> Option<String> {
        match (self.holds(None), self.holds(Some(tenant))) {
            (true, _) => Some("the host is drained".into()),
            (false, true) => Some(format!("tenant {tenant} is in maintenance")),
            (false, false) => None,
        }
    }

    /// Begins, or gives the one that goes on another deadline.
    pub(crate) fn begin(core: &mut Core, tenant: Option<String>, until: Option<Instant>) {
        if core.stopping {
            return;
        }
        let begun = Drain { since: core.now.mono, until };
        let drain = match tenant {
            None => core.drains.host.get_or_insert(begun),
            Some(name) if core.plan.tenants.named(&name).is_some() => {
                core.drains.tenants.entry(name).or_insert(begun)
            }
            Some(_) => return,
        };
        drain.until = until;
        if let Some(until) = until {
            core.timers.arm(until, Timer::Drain);
        }
    }

    /// Calls are taken again, and Teams hears of us at once.
    pub(crate) fn end(core: &mut Core, tenant: Option<&str>) {
        match tenant {
            None => {
                core.drains.host = None;
                core.drains.told = false;
            }
            Some(name) => {
                core.drains.tenants.remove(name);
            }
        }
        Health::wake(core, tenant);
    }

    /// Follows a new snapshot: who is gone drains no more.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        self.tenants.retain(|name, _| plan.tenants.named(name).is_some());
    }

    /// The tenants whose deadline has come; they go on draining.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<String> {
        let due = |drain: &Drain| drain.until.is_some_and(|until| until <= now);
        let mut overdue = Vec::new();
        for (name, drain) in self.tenants.iter_mut().filter(|(_, drain)| due(drain)) {
            drain.until = None;
            overdue.push(name.clone());
        }
        overdue
    }

    /// Whether the host may stop now: it drains, and is empty or has waited long enough. Said once.
    pub(crate) fn is_over(&mut self, now: Instant, empty: bool) -> bool {
        let Some(host) = self.host.filter(|_| !self.told) else { return false };
        self.told = empty || host.until.is_some_and(|until| until <= now);
        self.told
    }

    /// Everybody who drains, for the operator; `calls` counts those of a tenant, or all.
    pub(crate) fn view(&self, now: Now, calls: impl Fn(Option<&str>) -> usize) -> Vec<DrainView> {
        let row = |tenant: Option<&String>, drain: &Drain| DrainView {
            tenant: tenant.cloned(),
            since: now.mono.saturating_duration_since(drain.since),
            left: drain.until.map(|until| until.saturating_duration_since(now.mono)),
            calls: calls(tenant.map(String::as_str)),
        };
        let host = self.host.iter().map(|drain| row(None, drain));
        host.chain(self.tenants.iter().map(|(name, drain)| row(Some(name), drain))).collect()
    }
}
