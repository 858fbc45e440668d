//! What becomes of a call before anything is committed to it: whose it is, whether it may go out, under
//! which numbers and where to. An INVITE and the operator's question (`tollgate route`) go this one way.

use super::guard;
use super::help::{self, Elin};
use super::numbers::{self, Numbers, Whose};
use crate::admission::{Admission, Entry, Full};
use crate::callback::Callbacks;
use crate::core::Core;
use crate::fraud::Fraud;
use crate::plan::{Pidf, Plan, RouteFrom};
use crate::reject::Reject;
use crate::routing::{self, Decision, Query, Trace};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A call as its INVITE came in, or as an operator imagines it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The tenant, in the plan that is asked.
    pub(crate) tenant: usize,
    /// The side it comes from.
    pub(crate) from: RouteFrom,
    /// The trunk it came in on.
    pub(crate) via: usize,
    /// Who is called, who calls, and what else the INVITE says of them.
    pub(crate) numbers: Numbers,
    /// An emergency number was dialled, whatever the trunk's rules have made of it.
    pub(crate) emergency: bool,
    /// The time it came in at.
    pub(crate) at: SystemTime,
    /// What shares by weight are drawn by.
    pub(crate) draw: u64,
    /// The trunk of an SBC behind us that it names: no route is asked (TDR-IN-004).
    pub(crate) behind: Option<usize>,
}

/// Where it goes, and under which numbers.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    pub(crate) numbers: Numbers,
    pub(crate) decision: Decision,
    /// What it counts for at the fraud guard.
    pub(crate) classes: Vec<Arc<str>>,
    /// The number that stands for where an emergency caller is, if one is shown.
    pub(crate) elin: Option<Elin>,
}

/// Why an INVITE makes no call.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) reject: Reject,
    pub(crate) why: String,
    pub(crate) tenant: Option<usize>,
    /// In place of the reason's own.
    pub(crate) status: Option<u16>,
}

impl Refused {
    pub(crate) fn new(reject: Reject, why: impl Into<String>, tenant: Option<usize>) -> Self {
        Self { reject, why: why.into(), tenant, status: None }
    }

    fn of(full: Full, tenant: usize) -> Self {
        Self::new(full.reject, full.why, Some(tenant))
    }
}

/// A call that may be asked about: whose it is and under which numbers it is settled are known, where it
/// goes is not.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) question: Question,
    /// The number to route by.
    pub(crate) number: String,
    /// Whether it is a call to an emergency number: then nobody is asked, and nothing stops it.
    pub(crate) emergency: bool,
}

/// What the tenant's routing hook has to say of where a call goes, judged.
#[derive(Clone, Debug)]
pub(crate) enum Advice {
    /// The table decides: nobody was asked, the hook says so, or it has failed.
    Table(Option<&'static str>),
    /// These trunks in order, under these numbers, as if this route of the tenant named them.
    To { route: usize, trunks: Vec<usize>, called: Option<String>, caller: Option<String> },
}

/// What may refuse a call besides its route: what the limits and the fraud guard have counted until now.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) now: Instant,
    pub(crate) admission: &'a Admission,
    pub(crate) fraud: &'a Fraud,
    pub(crate) callbacks: &'a Callbacks,
}

impl<'a> Bounds<'a> {
    pub(crate) const fn of(core: &'a Core) -> Self {
        Self {
            now: core.now.mono,
            admission: &core.admission,
            fraud: &core.fraud,
            callbacks: &core.callbacks,
        }
    }
}

/// Rules on a call as if no hook were asked; nothing of the host changes by it. What was considered is
/// left in `trace`, whatever comes of it.
pub(crate) fn rule(
    bounds: Bounds<'_>,
    plan: &Plan,
    question: Question,
    trace: &mut Trace,
) -> Result<Ruling, Refused> {
    let prepared = prepare(plan, question, trace)?;
    let tenant = plan.tenants.get(prepared.question.tenant).filter(|_| !prepared.emergency);
    if let Some(hook) = tenant.and_then(|tenant| tenant.hook.as_ref()) {
        let url = hook.url.split('?').next().unwrap_or_default();
        trace.note(format!("a call would be asked about at {url}; without an answer:"));
    }
    settle(bounds, plan, prepared, Advice::Table(None), trace)
}

/// What comes before the question where it goes, which the tenant's hook may be asked.
pub(crate) fn prepare(
    plan: &Plan,
    question: Question,
    trace: &mut Trace,
) -> Result<Prepared, Refused> {
    let tenant = plan.tenants.get(question.tenant);
    let is_emergency = |question: &Question| {
        let number = question.number();
        tenant.is_some_and(|tenant| routing::is_emergency(tenant, question.from, &number))
    };
    let emergency = question.emergency || is_emergency(&question);
    let question = question.in_own_numbers(plan, emergency, trace)?;
    let emergency = emergency || is_emergency(&question);
    // Last, as a rule on numbers may make an emergency number of what was dialled.
    if let Some(tenant) = tenant {
        guard::may_call(tenant, emergency).map_err(|full| Refused::of(full, question.tenant))?;
        // A rule that takes 9 for an outside line away must not lead around a list.
        if !emergency
            && let Some(why) = numbers::called_blocked(plan, tenant, &question.numbers.called)
        {
            return Err(Refused::new(Reject::Blocked, why, Some(question.tenant)));
        }
    }
    let number = question.number();
    if emergency {
        trace.note(format!("{number} is an emergency number: no list, limit or guard stops it"));
    }
    Ok(Prepared { number, question, emergency })
}

impl Prepared {
    /// Where the tenant's routes lead.
    pub(crate) fn decide(&self, plan: &Plan, trace: &mut Trace) -> Result<Decision, Refused> {
        let Question { tenant, from, via, at, draw, .. } = self.question;
        let calling = self.question.numbers.caller.number();
        let query = Query {
            tenant,
            from,
            via,
            called: &self.number,
            emergency: self.emergency,
            calling: &calling,
            at,
            draw,
        };
        routing::decide(plan, &query, trace)
            .map_err(|(reject, why)| Refused::new(reject, why, Some(tenant)))
    }
}

impl Question {
    /// The number to route by. A carrier's number that a tenant owns is E.164 with or without its
    /// `+`; routes are written with it.
    fn number(&self) -> String {
        match self.from {
            RouteFrom::Carrier => self.numbers.called.clone().with_plus().number,
            RouteFrom::Teams => self.numbers.called.number.clone(),
        }
    }

    /// The same under the numbers that the tenant's rules make, unless one of them is blocked.
    fn in_own_numbers(
        self,
        plan: &Plan,
        emergency: bool,
        trace: &mut Trace,
    ) -> Result<Self, Refused> {
        let Self { tenant, mut numbers, .. } = self;
        if let Some(of) = plan.tenants.get(tenant).filter(|_| !emergency)
            && let Some(why) = numbers::blocked(plan, of, &numbers)
        {
            return Err(Refused::new(Reject::Blocked, why, Some(tenant)));
        }
        let whose = Whose { tenant: Some(tenant), from: self.from, emergency };
        numbers::come_in(plan, whose, &mut numbers, trace);
        Ok(Self { numbers, ..self })
    }
}

/// Where it goes, and what comes after that is known.
pub(crate) fn settle(
    bounds: Bounds<'_>,
    plan: &Plan,
    prepared: Prepared,
    advice: Advice,
    trace: &mut Trace,
) -> Result<Ruling, Refused> {
    let tenant = prepared.question.tenant;
    let decision = match (&advice, prepared.question.behind) {
        (_, Some(trunk)) => routing::to_sbc(plan, tenant, trunk, prepared.emergency),
        (Advice::Table(hook), None) => {
            let mut decision = prepared.decide(plan, trace)?;
            if let Some(hook) = hook {
                decision.why.push_str(&format!(" (hook: {hook})"));
            }
            decision
        }
        (Advice::To { route, trunks, .. }, None) => {
            routing::by_hook(plan, tenant, *route, trunks.clone())
        }
    };
    let Prepared { question, mut number, .. } = prepared;
    let Question { from, via, mut numbers, behind, .. } = question;
    if let (Advice::To { called, caller, .. }, None) = (advice, behind) {
        number = called.clone().unwrap_or(number);
        numbers::by_hook(plan, tenant, (called, caller), &mut numbers, trace)
            .map_err(|(reject, why)| Refused::new(reject, why, Some(tenant)))?;
    }
    let full = |full: Full| Refused::of(full, tenant);
    // What a carrier sends to the tenant costs nothing. What a rule or a hook sends on to somebody
    // else goes out at the tenant's cost.
    let leads_out = from == RouteFrom::Teams || plan.numbers.tenant(&number) != Some(tenant);
    let classes = match plan.tenants.get(tenant) {
        Some(of) if leads_out && !decision.emergency => {
            bounds.fraud.would_allow(bounds.now, of, &number).map_err(full)?
        }
        _ => Vec::new(),
    };
    if !classes.is_empty() {
        trace.note(format!("{number} counts for {} at the fraud guard", classes.join(", ")));
    }
    let entry = Entry { trunk: via, tenant, from, emergency: decision.emergency };
    bounds.admission.would_allow(bounds.now, plan, entry).map_err(|reached| {
        let busy = plan.tenants.get(tenant).is_some_and(|tenant| tenant.busy_when_full)
            && bounds.admission.tenant_is_full(bounds.now, plan, entry);
        Refused { status: busy.then_some(486), ..full(reached) }
    })?;
    let mut numbers = shown(plan, (tenant, from), &decision, numbers, trace)?;
    let elin = match decision.emergency && from == RouteFrom::Teams {
        true => {
            let asked = help::Asked { now: bounds.now, callbacks: bounds.callbacks };
            let pidf = pidf(plan, tenant, &decision);
            help::show(asked, plan, (tenant, pidf), &mut numbers, trace)
        }
        false => None,
    };
    let whose = Whose { tenant: Some(tenant), from, emergency: decision.emergency };
    numbers::foretell(plan, &decision.trunks, whose, &numbers, trace);
    Ok(Ruling { numbers, decision, classes, elin })
}

/// Where a call goes that a leg of another asks for (REFER). What it counts for, and what bounds it, is the
/// guard's to say of the call that is up.
pub(crate) fn again(plan: &Plan, question: Question, trace: &mut Trace) -> Result<Ruling, Refused> {
    // Rules were asked about who calls when the call came in.
    let Numbers { caller, crossing, .. } = question.numbers.clone();
    let mut prepared = prepare(plan, question, trace)?;
    let numbers = &mut prepared.question.numbers;
    (numbers.caller, numbers.crossing) = (caller, crossing);
    let decision = prepared.decide(plan, trace)?;
    let Question { tenant, from, numbers, .. } = prepared.question;
    let numbers = shown(plan, (tenant, from), &decision, numbers, trace)?;
    let whose = Whose { tenant: Some(tenant), from, emergency: decision.emergency };
    numbers::foretell(plan, &decision.trunks, whose, &numbers, trace);
    Ok(Ruling { numbers, decision, classes: Vec::new(), elin: None })
}

/// What the route of an emergency call says of the caller's location.
fn pidf(plan: &Plan, tenant: usize, decision: &Decision) -> Option<Pidf> {
    let tenant = plan.tenants.get(tenant)?;
    let route = tenant.routes.get(decision.route?)?;
    route.rare.as_ref()?.pidf.filter(|_| decision.emergency)
}

/// The numbers with what is shown of the caller.
fn shown(
    plan: &Plan,
    (tenant, from): (usize, RouteFrom),
    decision: &Decision,
    mut numbers: Numbers,
    trace: &mut Trace,
) -> Result<Numbers, Refused> {
    let whose = Whose { tenant: Some(tenant), from, emergency: decision.emergency };
    let crossing = numbers.crossing.for_emergency(decision.emergency);
    numbers.crossing = crossing.located(pidf(plan, tenant, decision));
    let route = plan.tenants.get(tenant).zip(decision.route);
    let route = route.and_then(|(tenant, route)| tenant.routes.get(route)?.rare.as_ref());
    let of_route = route.map(|rare| &rare.caller);
    numbers::show(plan, whose, of_route, &mut numbers, trace)
        .map_err(|(reject, why)| Refused::new(reject, why, Some(tenant)))?;
    Ok(numbers)
}
