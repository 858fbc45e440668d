//! Bounds on calls: concurrent ones and new ones per second, for the host, each trunk and each tenant,
//! in all and by direction.

use crate::bucket::Bucket;
use crate::io::{Crowded, CrowdedView};
use crate::plan::{Limits, Plan, RouteFrom, Tenant, Trunk};
use crate::reject::Reject;
use std::collections::HashMap;
use std::time::Instant;

/// Calls and rates by name, so that they survive a new snapshot and follow its bounds.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    calls: usize,
    trunks: HashMap<String, Usage>,
    tenants: HashMap<String, Usage>,
}

/// What a trunk or a tenant has of calls.
#[derive(Debug, Default)]
struct Usage {
    all: Count,
    /// In and out of a trunk; from Teams and from carriers for a tenant.
    sides: [Count; 2],
}

#[derive(Debug, Default)]
struct Count {
    calls: u32,
    new: Bucket,
}

/// The bounds on one [`Usage`].
struct Bounds {
    all: Limits,
    sides: [Limits; 2],
}

/// Which way a call crosses a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A new call: the trunk it came in on, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) trunk: usize,
    pub(crate) tenant: usize,
    pub(crate) from: RouteFrom,
    /// It is counted and never refused (TDR-EMG-002).
    pub(crate) emergency: bool,
}

/// A bound that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) reject: Reject,
    /// Which one, in words.
    pub(crate) why: String,
}

impl Admission {
    /// Whether a new call may come in, or which bound forbids it. Nothing is counted.
    pub(crate) fn would_allow(&self, now: Instant, plan: &Plan, entry: Entry) -> Result<(), Full> {
        let (Some(trunk), Some(tenant)) =
            (plan.trunks.get(entry.trunk), plan.tenants.get(entry.tenant))
        else {
            return Err(Full { reject: Reject::UnknownTenant, why: "the tenant is gone".into() });
        };
        if entry.emergency {
            return Ok(());
        }
        if self.calls >= plan.node.calls_max {
            let why = format!("the host has its {} calls", plan.node.calls_max);
            return Err(Full { reject: Reject::Overload, why });
        }
        let side = Way::In as usize;
        let who = || format!("trunk {}", trunk.name);
        allows(self.trunks.get(&trunk.name), now, &of_trunk(trunk), (side, WAYS), who)?;
        let who = || format!("tenant {}", tenant.name);
        let side = (from_side(entry.from), FROM);
        allows(self.tenants.get(&tenant.name), now, &of_tenant(tenant), side, who)
    }

    /// Whether it is a bound of the tenant's own that a new call would meet.
    pub(crate) fn tenant_is_full(&self, now: Instant, plan: &Plan, entry: Entry) -> bool {
        let Some(tenant) = plan.tenants.get(entry.tenant) else { return false };
        let side = (from_side(entry.from), FROM);
        let usage = self.tenants.get(&tenant.name);
        allows(usage, now, &of_tenant(tenant), side, String::new).is_err()
    }

    /// Takes a new call in, or says which bound forbids it.
    pub(crate) fn begin(&mut self, now: Instant, plan: &Plan, entry: Entry) -> Result<(), Full> {
        self.would_allow(now, plan, entry)?;
        self.calls += 1;
        if let Some(trunk) = plan.trunks.get(entry.trunk) {
            usage(&mut self.trunks, &trunk.name).begin(now, &of_trunk(trunk), Way::In as usize);
        }
        if let Some(tenant) = plan.tenants.get(entry.tenant) {
            let usage = usage(&mut self.tenants, &tenant.name);
            usage.begin(now, &of_tenant(tenant), from_side(entry.from));
        }
        Ok(())
    }

    /// The call that [`Self::begin`] took is over.
    pub(crate) fn end(&mut self, plan: &Plan, trunk: &str, (tenant, from): (&str, RouteFrom)) {
        self.calls = self.calls.saturating_sub(1);
        leave(&mut self.trunks, trunk, Way::In as usize, || plan.trunk_named(trunk).is_some());
        let stays = || plan.tenants.named(tenant).is_some();
        leave(&mut self.tenants, tenant, from_side(from), stays);
    }

    /// A call that is up calls somebody else for its tenant (a transfer): it stays one call, and is a
    /// new one in the rate.
    pub(crate) fn calls_again(
        &mut self,
        now: Instant,
        tenant: &Tenant,
        (from, emergency): (RouteFrom, bool),
    ) -> Result<(), Full> {
        let (bounds, side) = (of_tenant(tenant), from_side(from));
        let usage = usage(&mut self.tenants, &tenant.name);
        if !emergency {
            let who = || format!("tenant {}", tenant.name);
            usage.all.allows_new(now, bounds.all, who)?;
            usage.sides[side]
                .allows_new(now, bounds.sides[side], || format!("{}, {}", who(), FROM[side]))?;
        }
        usage.all.new.take(now, bounds.all.rate());
        usage.sides[side].new.take(now, bounds.sides[side].rate());
        Ok(())
    }

    /// Whether a trunk may carry one more call out. Nothing is counted.
    pub(crate) fn would_carry(&self, now: Instant, trunk: &Trunk) -> Result<(), Full> {
        let who = || format!("trunk {}", trunk.name);
        let side = (Way::Out as usize, WAYS);
        allows(self.trunks.get(&trunk.name), now, &of_trunk(trunk), side, who)
    }

    /// A call goes out on this trunk.
    pub(crate) fn carry(&mut self, now: Instant, trunk: &Trunk) {
        usage(&mut self.trunks, &trunk.name).begin(now, &of_trunk(trunk), Way::Out as usize);
    }

    /// A call that [`Self::carry`] took has left the trunk.
    pub(crate) fn leave(&mut self, plan: &Plan, trunk: &str) {
        leave(&mut self.trunks, trunk, Way::Out as usize, || plan.trunk_named(trunk).is_some());
    }

    /// Forgets trunks and tenants that a new snapshot does not have, unless a call of theirs goes on.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        self.trunks.retain(|name, it| it.all.calls > 0 || plan.trunk_named(name).is_some());
        self.tenants.retain(|name, it| it.all.calls > 0 || plan.tenants.named(name).is_some());
    }

    /// Who has nearly as many calls as it may have (TDR-MON-003).
    pub(crate) fn crowded(&self, plan: &Plan) -> Vec<CrowdedView> {
        let host = u32::try_from(self.calls).unwrap_or(u32::MAX);
        let most = u32::try_from(plan.node.calls_max).unwrap_or(u32::MAX);
        let mut all = vec![(Crowded::Host, host, most)];
        let bounds_of = |usage: &Usage, bounds: &Bounds, who: Crowded| {
            let sides = usage.sides.iter().zip(&bounds.sides);
            let counts = sides.chain([(&usage.all, &bounds.all)]);
            let bounded =
                counts.filter_map(|(count, of)| Some((who.clone(), count.calls, of.calls?)));
            // One line a name: that of the bound that is the nearest.
            bounded
                .max_by_key(|(_, calls, bound)| u64::from(*calls) * 1000 / u64::from(*bound).max(1))
        };
        for (name, usage) in &self.trunks {
            let trunk = plan.trunk(name);
            let who = || Crowded::Trunk(name.clone());
            all.extend(trunk.and_then(|it| bounds_of(usage, &of_trunk(it), who())));
        }
        for (name, usage) in &self.tenants {
            let tenant = plan.tenant(name);
            let who = || Crowded::Tenant(name.clone());
            all.extend(tenant.and_then(|it| bounds_of(usage, &of_tenant(it), who())));
        }
        let near = |(_, calls, bound): &(Crowded, u32, u32)| {
            *bound > 0 && u64::from(*calls) * 100 >= u64::from(*bound) * CROWDED_PERCENT
        };
        let near = all.into_iter().filter(near);
        near.map(|(who, calls, bound)| CrowdedView { who, calls, bound }).collect()
    }

    /// Places that are taken anywhere: none when no call is up.
    pub(crate) fn taken(&self) -> usize {
        let usages = self.trunks.values().chain(self.tenants.values());
        let counts = usages.flat_map(|usage| usage.sides.iter().chain([&usage.all]));
        self.calls + counts.map(|count| count.calls as usize).sum::<usize>()
    }

    /// Calls on a trunk now, in and out.
    pub(crate) fn trunk_calls(&self, trunk: &str) -> [u32; 2] {
        self.trunks.get(trunk).map_or([0; 2], |usage| usage.sides.each_ref().map(|it| it.calls))
    }
}

/// What Microsoft warns at, too (TDR-MON-003).
const CROWDED_PERCENT: u64 = 90;

/// The words for the two sides of a trunk, as configured.
const WAYS: [&str; 2] = ["in", "out"];
/// The same for a tenant.
const FROM: [&str; 2] = ["from_teams", "from_carrier"];

const fn from_side(from: RouteFrom) -> usize {
    match from {
        RouteFrom::Teams => 0,
        RouteFrom::Carrier => 1,
    }
}

const fn of_trunk(trunk: &Trunk) -> Bounds {
    Bounds { all: trunk.limits, sides: [trunk.limits_in, trunk.limits_out] }
}

const fn of_tenant(tenant: &Tenant) -> Bounds {
    Bounds { all: tenant.limits, sides: [tenant.limits_from_teams, tenant.limits_from_carrier] }
}

fn usage<'a>(all: &'a mut HashMap<String, Usage>, name: &str) -> &'a mut Usage {
    all.entry(name.to_owned()).or_default()
}

/// Whether one more call fits on that side and in all; who has had none yet may still have a bound
/// of 0.
fn allows(
    usage: Option<&Usage>,
    now: Instant,
    bounds: &Bounds,
    (side, words): (usize, [&str; 2]),
    who: impl Fn() -> String,
) -> Result<(), Full> {
    let none = Usage::default();
    let usage = usage.unwrap_or(&none);
    usage.all.allows(now, bounds.all, &who)?;
    usage.sides[side].allows(now, bounds.sides[side], || format!("{}, {}", who(), words[side]))
}

fn leave(all: &mut HashMap<String, Usage>, name: &str, side: usize, stays: impl Fn() -> bool) {
    let Some(usage) = all.get_mut(name) else { return };
    usage.all.calls = usage.all.calls.saturating_sub(1);
    usage.sides[side].calls = usage.sides[side].calls.saturating_sub(1);
    if usage.all.calls == 0 && !stays() {
        all.remove(name);
    }
}

impl Usage {
    fn begin(&mut self, now: Instant, bounds: &Bounds, side: usize) {
        self.all.begin(now, bounds.all);
        self.sides[side].begin(now, bounds.sides[side]);
    }
}

impl Count {
    fn allows(&self, now: Instant, limits: Limits, who: impl Fn() -> String) -> Result<(), Full> {
        if let Some(bound) = limits.calls.filter(|bound| self.calls >= *bound) {
            let why = format!("{}: {bound} calls at once are the most", who());
            return Err(Full { reject: Reject::CallLimit, why });
        }
        self.allows_new(now, limits, who)
    }

    fn allows_new(
        &self,
        now: Instant,
        limits: Limits,
        who: impl Fn() -> String,
    ) -> Result<(), Full> {
        let Some(rate) = limits.rate().filter(|rate| !self.new.has_room(now, *rate)) else {
            return Ok(());
        };
        let why = format!("{}: {} calls a second, {} at once are the most", who(), rate.0, rate.1);
        Err(Full { reject: Reject::RateLimit, why })
    }

    fn begin(&mut self, now: Instant, limits: Limits) {
        self.calls += 1;
        self.new.take(now, limits.rate());
    }
}
