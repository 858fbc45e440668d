//! Calls of before, put to two plans: where each would send them (`tollgate diff --replay`).
//!
//! It goes the way of an INVITE by what is configured alone: nothing is up or down, no call counts for
//! a limit, and no hook is asked.

use super::numbers::{self, Numbers, Whose};
use super::ruling::{self, Bounds, Question};
use crate::admission::Admission;
use crate::callback::Callbacks;
use crate::fraud::Fraud;
use crate::headers::Crossing;
use crate::party::{Called, Caller, number_in};
use crate::plan::{Plan, RouteFrom, Tenant};
use crate::reject::Reject;
use crate::routing::{self, Trace};
use std::fmt::{self, Display};
use std::time::{Instant, SystemTime};

/// A call as its record tells of it.
#[derive(Clone, Debug)]
pub struct PastInvite {
    /// The tenant, if one was found.
    pub tenant: Option<String>,
    /// The trunk it came in on.
    pub trunk: String,
    /// The number calling, as received.
    pub from: String,
    /// The number called, as received.
    pub to: String,
    /// When it came.
    pub at: SystemTime,
    /// What shares by weight are drawn by, in both plans.
    pub draw: u64,
}

/// Where a plan sends a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The tenant's FQDN that a carrier's call goes to Teams under: two tenants may have one trunk.
    pub fqdn: Option<String>,
    /// The tenant has a routing hook, which may have said otherwise.
    pub hook: bool,
    /// The trunks in order.
    pub to: Result<Vec<String>, Refusal>,
}

/// Why a plan does not send it anywhere.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The word of a [`Reject`], or `unknown_trunk`.
    pub reason: &'static str,
    /// The same in a sentence.
    pub why: String,
}

/// The trunk that a call came in on is not in the plan: what comes from there is not even read.
const UNKNOWN_TRUNK: &str = "unknown_trunk";

/// Why a call cannot be put to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unasked {
    /// The record has no tenant, and only the Request-URI of Teams said for whom it was.
    NoTenant,
    /// The record names no number called.
    NobodyCalled,
}

impl Unasked {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTenant => "no_tenant",
            Self::NobodyCalled => "nobody_called",
        }
    }
}

/// One refusal is as another where the reason is.
impl PartialEq for Refusal {
    fn eq(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}

impl Eq for Refusal {}

impl Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Ok(trunks) => f.write_str(&trunks.join(", ")),
            Err(Refusal { reason, .. }) => write!(f, "refused {reason}"),
        }
    }
}

/// Two plans, and nothing that is up.
pub struct Replay {
    in_force: Plan,
    candidate: Plan,
    now: Instant,
    admission: Admission,
    fraud: Fraud,
    callbacks: Callbacks,
}

impl Replay {
    /// Compares the plan in force with one that may take its place.
    pub fn new(in_force: Plan, candidate: Plan, now: Instant) -> Self {
        let (admission, fraud) = (Admission::default(), Fraud::new(now));
        let callbacks = Callbacks::default();
        Self { in_force, candidate, now, admission, fraud, callbacks }
    }

    /// Where the plan in force sends this call, and where the other.
    pub fn of(&self, invite: &PastInvite) -> Result<[Destination; 2], Unasked> {
        let named =
            |plan: &Plan| plan.tenant(invite.tenant.as_deref()?).map(|tenant| tenant.fqdns.clone());
        // Teams goes on calling under the names that it knows.
        let fqdns = named(&self.in_force).or_else(|| named(&self.candidate)).unwrap_or_default();
        let old = self.destination(&self.in_force, invite, &fqdns)?;
        Ok([old, self.destination(&self.candidate, invite, &fqdns)?])
    }

    fn destination(
        &self,
        plan: &Plan,
        invite: &PastInvite,
        fqdns: &[String],
    ) -> Result<Destination, Unasked> {
        let called = Called { user: invite.to.clone(), number: number_in(&invite.to) };
        if called.number.is_empty() {
            return Err(Unasked::NobodyCalled);
        }
        let nowhere = |refusal| Destination { fqdn: None, hook: false, to: Err(refusal) };
        let via = plan.trunk_named(&invite.trunk);
        let Some((via, trunk)) = via.and_then(|via| Some((via, plan.trunks.get(via)?))) else {
            let why = format!("there is no trunk {}", invite.trunk);
            return Ok(nowhere(Refusal { reason: UNKNOWN_TRUNK, why }));
        };
        let from = routing::direction_from(trunk.kind);
        let of_teams = match (from, &invite.tenant) {
            (RouteFrom::Carrier, _) => None,
            (RouteFrom::Teams, None) => return Err(Unasked::NoTenant),
            (RouteFrom::Teams, Some(name)) => match by_fqdns(plan, name, fqdns) {
                Ok(tenant) => Some(tenant),
                Err(refusal) => return Ok(nowhere(refusal)),
            },
        };
        let of = of_teams.and_then(|tenant| plan.tenants.get(tenant));
        let emergency =
            of.is_some_and(|tenant| routing::is_emergency(tenant, from, &called.number));
        let caller = Caller::of_number(&invite.from);
        let mut numbers = Numbers { called, caller, crossing: Crossing::default() };
        let whose = Whose { tenant: None, from, emergency };
        let mut trace = Trace::default();
        numbers::received(plan, via, whose, &mut numbers, &mut trace);
        let tenant = match of_teams.map_or_else(|| by_number(plan, &numbers.called.number), Ok) {
            Ok(tenant) => tenant,
            Err(refusal) => return Ok(nowhere(refusal)),
        };
        let PastInvite { at, draw, .. } = *invite;
        let question = Question { tenant, from, via, numbers, emergency, at, draw, behind: None };
        let to = self.ruled(plan, question, &mut trace);
        let of = plan.tenants.get(tenant);
        let first = |tenant: &Tenant| tenant.fqdns.first().cloned();
        Ok(Destination {
            fqdn: of.filter(|_| from == RouteFrom::Carrier && to.is_ok()).and_then(first),
            hook: of.is_some_and(|tenant| tenant.hook.is_some()),
            to,
        })
    }

    fn ruled(
        &self,
        plan: &Plan,
        question: Question,
        trace: &mut Trace,
    ) -> Result<Vec<String>, Refusal> {
        let (now, callbacks) = (self.now, &self.callbacks);
        let bounds = Bounds { now, admission: &self.admission, fraud: &self.fraud, callbacks };
        let ruling = ruling::rule(bounds, plan, question, trace)
            .map_err(|refused| refusal(refused.reject, refused.why))?;
        let decision = ruling.decision;
        let name = |trunk: &usize| Some(plan.trunks.get(*trunk)?.name.clone());
        let trunks: Vec<String> = decision.trunks.iter().filter_map(name).collect();
        match trunks.is_empty() {
            true => Err(refusal(Reject::TrunkDown, decision.why)),
            false => Ok(trunks),
        }
    }
}

fn refusal(reject: Reject, why: String) -> Refusal {
    Refusal { reason: reject.as_str(), why }
}

/// Whose the calls are that Teams sent to the tenant of this name, which had these FQDNs: that tenant's
/// while it has one of them, else whoever has one now.
fn by_fqdns(plan: &Plan, name: &str, fqdns: &[String]) -> Result<usize, Refusal> {
    let has_one = |tenant: &Tenant| tenant.fqdns.iter().any(|fqdn| fqdns.contains(fqdn));
    let named = plan.tenants.named(name);
    let named = named.filter(|index| plan.tenants.get(*index).is_some_and(has_one));
    let owner = || fqdns.iter().find_map(|fqdn| plan.tenant_of_fqdn(fqdn));
    if let Some(tenant) = named.or_else(owner) {
        return Ok(tenant);
    }
    Err(match fqdns.iter().find_map(|fqdn| plan.absent.fqdn(fqdn)) {
        Some(broken) => refusal(Reject::TenantInvalid, broken),
        None => {
            let fqdn = fqdns.first().map_or(name, String::as_str);
            refusal(Reject::UnknownTenant, format!("no tenant has the FQDN {fqdn}"))
        }
    })
}

fn by_number(plan: &Plan, number: &str) -> Result<usize, Refusal> {
    plan.numbers.tenant(number).ok_or_else(|| match plan.absent.number(number) {
        Some(broken) => refusal(Reject::TenantInvalid, broken),
        None => refusal(Reject::UnknownTenant, format!("no tenant has the number {number}")),
    })
}
