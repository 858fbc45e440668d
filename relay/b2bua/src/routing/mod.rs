//! Numbers, direction, time and tenant to ordered trunks: pure, and able to explain itself.
//!
//! A tenant's routes are tried in the order of their priority, and the first that matches decides.

mod emergency;
mod rates;
mod share;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use emergency::is_emergency;
pub use emergency::numbers_of;
pub use rates::{Offer, PROBLEMS_MAX, RateTable, Wrong, price_text};
pub use trace::{Miss, Trace, Tried};

use crate::clip::clip;
use crate::plan::{self, Plan, Route, RouteFrom, TrunkKind};
use crate::reject::Reject;
use emergency::dialled;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::time::SystemTime;
use trace::trunk_name;

/// Trunks that a call may try, one after the other, while its caller waits.
pub const TRUNKS_MAX: usize = 8;

/// A routing decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The route that decided, by its index in the tenant; `None` where no route did.
    pub route: Option<usize>,
    /// Trunks in order.
    pub trunks: Vec<usize>,
    /// Whether the called number is an emergency number of the tenant (TDR-EMG-001).
    pub emergency: bool,
    /// The decision in a sentence, for the record.
    pub why: String,
}

/// What is asked: a call of this tenant, as its INVITE came in.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The tenant, in the plan that is asked.
    pub tenant: usize,
    /// The side it comes from.
    pub from: RouteFrom,
    /// The trunk it came in on.
    pub via: usize,
    /// The number called.
    pub called: &'a str,
    /// It is an emergency call, whatever rules have made of the number that was dialled.
    pub emergency: bool,
    /// The number calling.
    pub calling: &'a str,
    /// The time it came in at.
    pub at: SystemTime,
    /// What shares by weight are drawn by: any number, each as likely as the others.
    pub draw: u64,
}

/// Decides where a call goes, and leaves in `trace` how.
pub fn decide(
    plan: &Plan,
    query: &Query<'_>,
    trace: &mut Trace,
) -> Result<Decision, (Reject, String)> {
    let Some(tenant) = plan.tenants.get(query.tenant) else {
        return Err((Reject::UnknownTenant, "the tenant is gone".into()));
    };
    let emergency = query.emergency || is_emergency(tenant, query.from, query.called);
    let mut search = Search::new(plan, query, emergency, tenant.routes.len());
    let found = search.first(&tenant.routes);
    trace.ask(query, emergency, search.missed);
    let Some((index, route)) = found else {
        let why = format!(
            "{}: none of {} routes matches {} from {}",
            tenant.name,
            tenant.routes.len(),
            query.called,
            query.from
        );
        return Err((Reject::NoRoute, why));
    };
    let trunks = trunks(plan, route, query);
    trace.found(index, &trunks);
    let why = sentence(plan, &tenant.name, route, emergency, &trunks);
    Ok(Decision { route: Some(index), trunks, emergency, why })
}

/// The decision of a tenant's routing hook, as if this route of the tenant had made it.
pub(crate) fn by_hook(plan: &Plan, tenant: usize, route: usize, trunks: Vec<usize>) -> Decision {
    let tenant = plan.tenants.get(tenant).map_or("?", |tenant| tenant.name.as_str());
    let names: Vec<&str> = trunks.iter().map(|trunk| trunk_name(plan, *trunk)).collect();
    let why = format!("{tenant}: hook -> {}", names.join(", "));
    Decision { route: Some(route), trunks, emergency: false, why }
}

/// The decision for a call that names an SBC behind this one.
pub(crate) fn to_sbc(plan: &Plan, tenant: usize, trunk: usize, emergency: bool) -> Decision {
    let tenant = plan.tenants.get(tenant).map_or("?", |tenant| tenant.name.as_str());
    let why = format!("{tenant}: SBC behind us -> {}", trunk_name(plan, trunk));
    Decision { route: None, trunks: vec![trunk], emergency, why }
}

/// The route that matches, and why those before it do not.
struct Search<'a> {
    plan: &'a Plan,
    query: &'a Query<'a>,
    emergency: bool,
    dialled: &'a str,
    /// What a clock shows, in the zone that was last asked for.
    local: Option<(TimeZone, DateTime)>,
    missed: Vec<Miss>,
}

impl<'a> Search<'a> {
    fn new(plan: &'a Plan, query: &'a Query<'a>, emergency: bool, routes: usize) -> Self {
        let missed = Vec::with_capacity(routes);
        Self { plan, query, emergency, dialled: dialled(query.called), local: None, missed }
    }

    /// An emergency call without a route of its own takes the ordinary ones: it must get out.
    fn first<'r>(&mut self, routes: &'r [Route]) -> Option<(usize, &'r Route)> {
        for (index, route) in routes.iter().enumerate() {
            let miss = self.miss(route, self.emergency);
            self.missed.push(miss);
            if miss == Miss::None {
                return Some((index, route));
            }
        }
        if !self.emergency {
            return None;
        }
        let mut found = None;
        for (index, route) in routes.iter().enumerate().filter(|(_, route)| !route.emergency) {
            let miss = if found.is_none() { self.miss(route, false) } else { Miss::Untried };
            if let Some(missed) = self.missed.get_mut(index) {
                *missed = miss;
            }
            if miss == Miss::None {
                found = Some((index, route));
            }
        }
        found
    }

    fn miss(&mut self, route: &Route, emergency: bool) -> Miss {
        if route.from != self.query.from {
            return Miss::From;
        }
        if route.emergency != emergency {
            return if emergency { Miss::Ordinary } else { Miss::Emergency };
        }
        let called = &route.called;
        let matches = called.matches(self.query.called);
        if !matches && (!self.emergency || !called.matches(self.dialled)) {
            return Miss::Called;
        }
        let Some(rare) = &route.rare else { return Miss::None };
        if rare.calling.as_ref().is_some_and(|calling| !calling.matches(self.query.calling)) {
            return Miss::Calling;
        }
        if !rare.via.is_empty() && !rare.via.contains(&self.query.via) {
            return Miss::Via;
        }
        match &rare.when {
            Some(when) if !when.holds(self.local(&when.timezone)) => Miss::When,
            _ if route.to.is_empty() && self.rates_are_silent(route) => Miss::Rates,
            _ => Miss::None,
        }
    }

    /// Whether only rates name the trunks of the route, and they have no price for the number.
    fn rates_are_silent(&self, route: &Route) -> bool {
        let rates = route.least_cost().and_then(|rates| self.plan.rates.get(rates));
        rates.is_some_and(|rates| rates.offers(self.query.called).is_empty())
    }

    fn local(&mut self, timezone: &TimeZone) -> DateTime {
        match &self.local {
            Some((known, local)) if known == timezone => *local,
            _ => {
                let local = plan::local(timezone, self.query.at);
                self.local = Some((timezone.clone(), local));
                local
            }
        }
    }
}

/// The trunks of a route in order: by their price first, then by its steps.
fn trunks(plan: &Plan, route: &Route, query: &Query<'_>) -> Vec<usize> {
    let mut trunks = Vec::with_capacity(route.to.len());
    if let Some(rates) = route.least_cost().and_then(|rates| plan.rates.get(rates)) {
        for offer in rates.offers(query.called) {
            share::push(&mut trunks, offer.trunk);
        }
        // The cheapest that a caller can wait for, and still the fallback.
        let fallback = route.to.trunks().count().min(TRUNKS_MAX - 1);
        trunks.truncate(TRUNKS_MAX - fallback);
    }
    share::order(&route.to, query.draw, &mut trunks);
    trunks.truncate(TRUNKS_MAX);
    trunks
}

fn sentence(plan: &Plan, tenant: &str, route: &Route, emergency: bool, trunks: &[usize]) -> String {
    let mut why = String::with_capacity(SENTENCE_MAX);
    let _ = write!(why, "{tenant}: {} {}", route.from, route.called);
    // A list of a thousand patterns is not for a sentence.
    clip(&mut why, SENTENCE_MAX);
    if emergency {
        why.push_str(" (emergency)");
    }
    why.push_str(" ->");
    for (position, trunk) in trunks.iter().enumerate() {
        let _ =
            write!(why, "{} {}", if position == 0 { "" } else { "," }, trunk_name(plan, *trunk));
    }
    why
}

/// Octets of tenant, direction and pattern in the record's sentence.
const SENTENCE_MAX: usize = 120;

/// The direction of calls that come in on a trunk of this kind.
pub(crate) const fn direction_from(kind: TrunkKind) -> RouteFrom {
    match kind {
        TrunkKind::Teams => RouteFrom::Teams,
        TrunkKind::Carrier => RouteFrom::Carrier,
    }
}
