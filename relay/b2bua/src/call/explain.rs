//! The operator's question: where would this call go now, and why (`tollgate route`).
//!
//! It goes the way of an INVITE, and nothing comes of it.

use super::attempt::Candidate;
use super::candidates::candidates;
use super::numbers::{self, Numbers, Whose};
use super::ruling::{self, Bounds, Question, Refused, Ruling};
use crate::core::Core;
use crate::endpoint::Standing;
use crate::headers::Crossing;
use crate::party::{Called, Caller, number_in};
use crate::plan::{self, Plan, RouteFrom, Tenant, TrunkKind};
use crate::reject::Reject;
use crate::routing::{self, Trace, Tried};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rand_core::RngCore as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// A call as an operator imagines it.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The tenant's name.
    pub tenant: String,
    /// The number calling.
    pub from: String,
    /// The number called.
    pub to: String,
    /// The trunk it comes in on, or `teams`; `None`: from Teams if `from` is a number of the tenant, else
    /// from the first carrier that its routes name.
    pub via: Option<String>,
    /// When.
    pub at: When,
}

/// When an imagined call comes in.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Now.
    Now,
    /// At this time.
    At(SystemTime),
    /// When a clock in the tenant's time zone shows this; in UTC if it has none.
    Local(DateTime),
}

/// What would become of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The tenant.
    pub tenant: String,
    /// The side it comes from.
    pub direction: RouteFrom,
    /// The trunk it comes in on.
    pub via: String,
    /// When, in words: with the time zone of the tenant.
    pub at: String,
    /// What the stages before the routing table did.
    pub before: Vec<String>,
    /// The routes in the order they were tried.
    pub routes: Vec<Tried>,
    /// How the trunks came to be in their order, if a route matched.
    pub decided: Option<String>,
    /// What the stages after it did.
    pub after: Vec<String>,
    /// Whether it is an emergency call.
    pub emergency: bool,
    /// Where it would be sent, in order.
    pub targets: Vec<TargetState>,
    /// Why it would not be sent at all.
    pub refused: Option<(Reject, String)>,
}

/// A place that a call would be sent to.
#[derive(Clone, Debug)]
pub struct TargetState {
    /// The trunk.
    pub trunk: String,
    /// The target as configured.
    pub target: String,
    /// The address, as far as it is known.
    pub address: Option<SocketAddr>,
    /// `up`, `failed` (a moment ago: tried after the others), `down` (tried last), `resting` and the
    /// like (passed over).
    pub state: &'static str,
    /// The numbers that it is told: calling, `anonymous` among them, and called.
    pub numbers: (String, String),
    /// Why it is passed over for now, if a limit says so.
    pub full: Option<String>,
}

impl TargetState {
    /// Whether a call would try it.
    pub fn is_tried(&self) -> bool {
        self.full.is_none() && matches!(self.state, "up" | "failed" | "down")
    }
}

/// Answers the question, or says why it cannot be asked.
pub(crate) fn explain(core: &mut Core, inquiry: &Inquiry) -> Result<Explanation, String> {
    let plan = Arc::clone(&core.plan);
    let Some(index) = plan.tenants.named(&inquiry.tenant) else {
        return Err(unknown(&plan, &inquiry.tenant));
    };
    let tenant = &plan.tenants[index];
    let via = via(&plan, tenant, inquiry)?;
    let from = plan.trunks.get(via).map_or(RouteFrom::Teams, |it| routing::direction_from(it.kind));
    let zone = tenant.timezone.clone().unwrap_or(TimeZone::UTC);
    let at = match inquiry.at {
        When::Now => core.now.wall,
        When::At(at) => at,
        When::Local(local) => {
            let zoned = zone.to_zoned(local).map_err(|error| error.to_string())?;
            zoned.timestamp().into()
        }
    };
    let mut trace = Trace::default();
    let number = number_in(&inquiry.to);
    if number.is_empty() {
        return Err("nobody is called".into());
    }
    let emergency = routing::is_emergency(tenant, from, &number);
    let mut numbers = Numbers {
        called: Called { user: inquiry.to.clone(), number },
        caller: Caller::of_number(&inquiry.from),
        crossing: Crossing::default(),
    };
    let stranger = Whose { tenant: None, from, emergency };
    numbers::received(&plan, via, stranger, &mut numbers, &mut trace);
    let question = Question {
        tenant: index,
        from,
        via,
        numbers,
        emergency,
        at,
        draw: core.rng.next_u64(),
        behind: None,
    };
    let ruled = whose(&plan, &question)
        .and_then(|()| ruling::rule(Bounds::of(core), &plan, question, &mut trace));
    let ruled = ruled.and_then(|ruling| match core.drains.refusal(&tenant.name) {
        Some(why) if !ruling.decision.emergency => {
            Err(Refused::new(Reject::Draining, why, Some(index)))
        }
        _ => Ok(ruling),
    });
    let (before, after) = trace.notes();
    let mut explanation = Explanation {
        tenant: tenant.name.clone(),
        direction: from,
        via: plan.trunks.get(via).map_or_else(String::new, |trunk| trunk.name.clone()),
        at: shown(&zone, at),
        before: before.to_vec(),
        routes: trace.tried(&plan, tenant),
        decided: trace.targets(&plan, tenant),
        after: after.to_vec(),
        emergency: false,
        targets: Vec::new(),
        refused: None,
    };
    match ruled {
        Err(Refused { reject, why, .. }) => explanation.refused = Some((reject, why)),
        Ok(ruling) => settled(core, &plan, &ruling, &mut explanation),
    }
    Ok(explanation)
}

/// A carrier's call is its whose number is called.
fn whose(plan: &Plan, question: &Question) -> Result<(), Refused> {
    let number = &question.numbers.called.number;
    let owner = plan.numbers.tenant(number);
    if question.from == RouteFrom::Teams || owner == Some(question.tenant) {
        return Ok(());
    }
    let why = match owner.and_then(|owner| plan.tenants.get(owner)) {
        Some(owner) => format!("{number} is a number of tenant {}", owner.name),
        None => format!("no tenant has the number {number}"),
    };
    Err(Refused::new(Reject::UnknownTenant, why, None))
}

fn settled(core: &mut Core, plan: &Plan, ruling: &Ruling, explanation: &mut Explanation) {
    let decision = &ruling.decision;
    explanation.emergency = decision.emergency;
    let tenant = plan.tenant(&explanation.tenant);
    let fqdn = tenant.and_then(|tenant| tenant.fqdns.first()).unwrap_or(&plan.node.fqdn);
    let candidates = candidates(core, plan, (&decision.trunks, fqdn), decision.emergency);
    let states = candidates.iter().map(|candidate| state(core, plan, (candidate, fqdn), ruling));
    explanation.targets = states.collect();
    for target in &mut explanation.targets {
        target.numbers = told(plan, (&explanation.tenant, explanation.direction), ruling, target);
    }
    if !explanation.targets.iter().any(TargetState::is_tried) {
        let why = format!("{}, and none of them can be tried", decision.why);
        explanation.refused = Some((Reject::TrunkDown, why));
    }
}

/// The numbers as a target's trunk is told them: calling and called.
fn told(
    plan: &Plan,
    (tenant, from): (&str, RouteFrom),
    ruling: &Ruling,
    target: &TargetState,
) -> (String, String) {
    let mut numbers = ruling.numbers.clone();
    let tenant = plan.tenants.named(tenant);
    let whose = Whose { tenant, from, emergency: ruling.decision.emergency };
    let trunk = plan.trunk_named(&target.trunk).unwrap_or_default();
    numbers::sent(plan, trunk, whose, &mut numbers, &mut Trace::default());
    let of = plan.trunks.get(trunk);
    let called = match of.is_some_and(|trunk| trunk.kind == TrunkKind::Teams) {
        true => numbers.called.with_plus(),
        false => numbers.called,
    };
    let hides = numbers.caller.is_anonymous();
    (if hides { "anonymous".to_owned() } else { numbers.caller.number() }, called.number)
}

fn state(
    core: &Core,
    plan: &Plan,
    (candidate, fqdn): (&Candidate, &str),
    ruling: &Ruling,
) -> TargetState {
    let emergency = ruling.decision.emergency;
    let trunk = plan.trunks.get(candidate.trunk);
    let name = trunk.map_or("?", |trunk| trunk.name.as_str());
    let up = core.is_up(name, &candidate.target, Some(fqdn));
    let (address, state) = match &candidate.to {
        Err(why) => (None, *why),
        Ok(hop) => {
            let endpoint = hop.endpoint();
            let state = match core.endpoints.standing(core.now.mono, &endpoint) {
                Standing::Good | Standing::Failed | Standing::Resting if !up => "down",
                Standing::Good => "up",
                Standing::Failed => "failed",
                Standing::Resting if emergency => "failed",
                Standing::Resting => "resting",
            };
            (Some(endpoint.address), state)
        }
    };
    let carries = trunk.map_or(Ok(()), |trunk| core.admission.would_carry(core.now.mono, trunk));
    TargetState {
        trunk: name.to_owned(),
        target: candidate.target.to_string(),
        address,
        state,
        numbers: Default::default(),
        full: carries.err().filter(|_| !emergency).map(|full| full.why),
    }
}

fn unknown(plan: &Plan, name: &str) -> String {
    match plan.absent.tenants.iter().any(|absent| absent == name) {
        true => format!("the file of tenant {name} does not hold: tollgate check tells why"),
        false => format!("there is no tenant {name}"),
    }
}

/// The trunk that the call comes in on.
fn via(plan: &Plan, tenant: &Tenant, inquiry: &Inquiry) -> Result<usize, String> {
    let first = |kind| plan.trunks.iter().position(|trunk| trunk.kind == kind);
    let teams = || first(TrunkKind::Teams).ok_or("there is no trunk to Teams".to_owned());
    match inquiry.via.as_deref() {
        Some("teams") => plan.trunk_named("teams").map_or_else(teams, Ok),
        Some(name) => plan.trunk_named(name).ok_or(format!("there is no trunk {name}")),
        None => {
            let number = number_in(&inquiry.from);
            let own = plan.numbers.tenant(&number) == plan.tenants.named(&tenant.name);
            let own = own && plan.numbers.tenant(&number).is_some();
            match own {
                true => teams(),
                false => Ok(carrier(plan, tenant).map_or_else(teams, Ok)?),
            }
        }
    }
}

/// The first carrier that the tenant's routes name, else the host's first.
fn carrier(plan: &Plan, tenant: &Tenant) -> Option<usize> {
    let is_carrier = |index: &usize| {
        plan.trunks.get(*index).is_some_and(|trunk| trunk.kind == TrunkKind::Carrier)
    };
    let named = tenant.routes.iter().flat_map(|route| route.to.trunks()).find(is_carrier);
    named.or_else(|| plan.trunks.iter().position(|trunk| trunk.kind == TrunkKind::Carrier))
}

/// `fri 2026-11-27 18:30:00 Europe/Berlin`.
fn shown(zone: &TimeZone, at: SystemTime) -> String {
    let local = plan::local(zone, at);
    let day = plan::weekday(local.date().weekday());
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{day} {} {name}", local.strftime("%Y-%m-%d %H:%M:%S"))
}
