//! Number, direction and tenant to ordered trunks: pure, and able to explain itself.

use crate::plan::{Plan, Route, RouteFrom, Tenant, TrunkKind};
use crate::reject::Reject;
use std::fmt::Write as _;
use std::time::SystemTime;

/// A routing decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
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
    /// The number calling.
    pub calling: &'a str,
    /// The time it came in at.
    pub at: SystemTime,
}

/// Decides where a call goes.
pub fn decide(plan: &Plan, query: &Query<'_>) -> Result<Decision, (Reject, String)> {
    let (from, number) = (query.from, query.called);
    let Some(tenant) = plan.tenants.get(query.tenant) else {
        return Err((Reject::UnknownTenant, "the tenant is gone".into()));
    };
    let dialled = dialled(number);
    let emergency = is_emergency(tenant, from, number);
    let serves = |route: &&Route| {
        route.from == from
            && route.emergency == emergency
            && (emergency && route.called.matches(dialled) || route.called.matches(number))
    };
    // An emergency call without a route of its own takes the ordinary ones: it must get out.
    let route = tenant.routes.iter().find(serves).or_else(|| {
        let ordinary = |route: &&Route| {
            emergency && route.from == from && !route.emergency && route.called.matches(number)
        };
        tenant.routes.iter().find(ordinary)
    });
    let direction = match from {
        RouteFrom::Teams => "teams",
        RouteFrom::Carrier => "carrier",
    };
    let Some(route) = route else {
        let why = format!(
            "{}: none of {} routes matches {number} from {direction}",
            tenant.name,
            tenant.routes.len()
        );
        return Err((Reject::NoRoute, why));
    };
    let mut why = format!("{}: {direction} {}", tenant.name, route.called);
    if emergency {
        why.push_str(" (emergency)");
    }
    why.push_str(" ->");
    for (position, trunk) in route.to.iter().enumerate() {
        let name = plan.trunks.get(*trunk).map_or("?", |trunk| trunk.name.as_str());
        let _ = write!(why, "{} {name}", if position == 0 { "" } else { "," });
    }
    Ok(Decision { trunks: route.to.clone(), emergency, why })
}

/// Whether the number is one of the tenant's emergency numbers.
pub(crate) fn is_emergency(tenant: &Tenant, from: RouteFrom, number: &str) -> bool {
    from == RouteFrom::Teams && tenant.emergency.iter().any(|e| e == dialled(number))
}

/// Emergency numbers come without `+` from Teams, and with it from old clients (TDR-EMG-001).
fn dialled(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

/// The direction of calls that come in on a trunk of this kind.
pub(crate) const fn direction_from(kind: TrunkKind) -> RouteFrom {
    match kind {
        TrunkKind::Teams => RouteFrom::Teams,
        TrunkKind::Carrier => RouteFrom::Carrier,
    }
}
