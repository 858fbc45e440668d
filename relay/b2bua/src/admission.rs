//! Bounds on calls: concurrent ones and new ones per second, for the host, each trunk and each tenant.

use crate::plan::{Limits, Plan};
use crate::reject::Reject;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Calls and rates by name, so that they survive a new snapshot.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    calls: usize,
    trunks: HashMap<String, Usage>,
    tenants: HashMap<String, Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    calls: u32,
    /// The second that `new_calls` counts, and how many began in it.
    second: Option<Instant>,
    new_calls: u32,
}

impl Admission {
    /// Takes a call of `tenant` in from `trunk`, or says which bound forbids it. Emergency calls
    /// are counted and never refused (TDR-EMG-002).
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        plan: &Plan,
        trunk: usize,
        tenant: usize,
        emergency: bool,
    ) -> Result<(), Reject> {
        let (Some(trunk), Some(tenant)) = (plan.trunks.get(trunk), plan.tenants.get(tenant)) else {
            return Err(Reject::UnknownTenant);
        };
        if !emergency {
            if self.calls >= plan.node.calls_max {
                return Err(Reject::Overload);
            }
            self.trunks.entry(trunk.name.clone()).or_default().allows(now, trunk.limits)?;
            self.tenants.entry(tenant.name.clone()).or_default().allows(now, tenant.limits)?;
        }
        self.calls += 1;
        self.trunks.entry(trunk.name.clone()).or_default().count(now);
        self.tenants.entry(tenant.name.clone()).or_default().count(now);
        Ok(())
    }

    /// The call that [`Self::begin`] took is over.
    pub(crate) fn end(&mut self, trunk: &str, tenant: &str) {
        self.calls = self.calls.saturating_sub(1);
        for usage in
            [self.trunks.get_mut(trunk), self.tenants.get_mut(tenant)].into_iter().flatten()
        {
            usage.calls = usage.calls.saturating_sub(1);
        }
    }

    /// Whether an outgoing trunk may carry one more call.
    pub(crate) fn trunk_allows(&self, plan: &Plan, trunk: usize) -> bool {
        let Some(trunk) = plan.trunks.get(trunk) else { return false };
        let calls = self.trunks.get(&trunk.name).map_or(0, |usage| usage.calls);
        trunk.limits.calls.is_none_or(|bound| calls < bound)
    }

    /// A call went out on this trunk, or left it again.
    pub(crate) fn trunk_out(&mut self, trunk: &str, more: bool) {
        let usage = self.trunks.entry(trunk.to_owned()).or_default();
        usage.calls = if more { usage.calls + 1 } else { usage.calls.saturating_sub(1) };
    }

    /// Calls on a trunk now, in or out.
    pub(crate) fn trunk_calls(&self, trunk: &str) -> u32 {
        self.trunks.get(trunk).map_or(0, |usage| usage.calls)
    }
}

impl Usage {
    fn allows(&self, now: Instant, limits: Limits) -> Result<(), Reject> {
        if limits.calls.is_some_and(|bound| self.calls >= bound) {
            return Err(Reject::CallLimit);
        }
        if limits.calls_per_second.is_some_and(|bound| self.counted(now) >= bound) {
            return Err(Reject::RateLimit);
        }
        Ok(())
    }

    fn counted(&self, now: Instant) -> u32 {
        match self.second {
            Some(second) if now < second + Duration::from_secs(1) => self.new_calls,
            _ => 0,
        }
    }

    fn count(&mut self, now: Instant) {
        self.new_calls = self.counted(now) + 1;
        if self.new_calls == 1 {
            self.second = Some(now);
        }
        self.calls += 1;
    }
}
