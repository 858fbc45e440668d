//! A call that waits for its tenant's routing hook: an INVITE with 100 Trying, and nothing else yet.
//! It is answered, cancelled, overdue or shut down; each leaves nothing of it here.

use super::Call;
use super::incoming::{Arrival, Open};
use super::numbers::Numbers;
use super::ruling::{Advice, Prepared, Refused};
use crate::core::Core;
use crate::hook::{Failure, REASON_MAX, RouteAnswer, RouteQuestion, STATUSES, TRUNKS_MAX, clipped};
use crate::io::{Event, Output};
use crate::plan::{Fallback, Hook, Plan, Route, RouteFrom, TrunkKind};
use crate::reject::Reject;
use crate::routing;
use crate::timers::Timer;
use sip_core::Request;
use std::sync::Arc;

/// Calls that wait at once. Each holds an INVITE for no longer than the hook's timeout, 5 s at most.
pub(crate) const ASKING_MAX: usize = 5_000;

/// A call that waits.
pub(crate) struct Asking {
    arrival: Arrival,
    open: Open,
    hook: Arc<Hook>,
}

impl Asking {
    /// Asks the tenant's hook about a call.
    pub(crate) fn begin(
        core: &mut Core,
        arrival: Arrival,
        open: Open,
        hook: Arc<Hook>,
    ) -> Box<Self> {
        let prepared = &open.prepared;
        let question = &prepared.question;
        let plan = arrival.plan();
        let name = |trunk: usize| plan.trunks.get(trunk).map_or("", |trunk| trunk.name.as_str());
        let Numbers { caller, crossing, .. } = &question.numbers;
        let named = !caller.is_anonymous() && !crossing.hides_caller();
        core.outputs.push_back(Output::AskRoute(Box::new(RouteQuestion {
            call: arrival.id(),
            tenant: tenant(plan, prepared),
            hook: Arc::clone(&hook),
            from: question.from,
            via: name(question.via).to_owned(),
            called: clipped(&prepared.number),
            calling: clipped(&if named { caller.number() } else { String::new() }),
            name: caller.name().filter(|_| named).map(|name| clipped(&name)),
            diverted_by: crossing.diverted_by().map(clipped),
            at: question.at,
            deadline: core.now.mono + hook.timeout,
        })));
        core.arm(hook.timeout, Timer::Ask(arrival.id()));
        Box::new(Self { arrival, open, hook })
    }

    /// The hook has answered, or there will be no answer.
    pub(crate) fn answered(self, core: &mut Core, answer: RouteAnswer) -> Option<Call> {
        let Self { arrival, open, hook } = self;
        let verdict = judge(arrival.plan(), &open.prepared, answer);
        decided(core, &arrival, open, &hook, verdict)
    }

    /// The caller has given up.
    pub(crate) fn cancelled(self, core: &mut Core, cancel: &Request) {
        self.arrival.cancelled(core, &self.open, cancel);
    }

    /// Whether it is a call of this tenant.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        let tenant = self.arrival.plan().tenants.get(self.open.prepared.question.tenant);
        tenant.is_some_and(|tenant| tenant.name == name)
    }

    /// The host or the tenant stops.
    pub(crate) fn shut_down(self, core: &mut Core) {
        let tenant = Some(self.open.prepared.question.tenant);
        let refused = Refused::new(Reject::Draining, "calls are ended here", tenant);
        self.arrival.refuse(core, &refused, &self.open.trace);
    }
}

/// Too many calls wait already.
pub(super) fn no_room(core: &mut Core, arrival: &Arrival, open: Open, hook: &Hook) -> Option<Call> {
    let why = format!("{ASKING_MAX} calls wait for an answer already");
    decided(core, arrival, open, hook, Verdict::Failed(Failure::Full, why))
}

/// Does what the hook has said, or what is to be done where it has said nothing.
fn decided(
    core: &mut Core,
    arrival: &Arrival,
    mut open: Open,
    hook: &Hook,
    verdict: Verdict,
) -> Option<Call> {
    core.emit(verdict.event(tenant(arrival.plan(), &open.prepared)));
    open.trace.note(verdict.note());
    let of = Some(open.prepared.question.tenant);
    let refused = match (verdict, hook.fallback) {
        (Verdict::Advice(advice), _) => return arrival.proceed(core, open, advice),
        (Verdict::Failed(failure, _), Fallback::Table) => {
            let advice = Advice::Table(Some(failure.as_str()));
            return arrival.proceed(core, open, advice);
        }
        (Verdict::Failed(failure, _), Fallback::Refuse) => {
            let why = format!("the tenant's hook has no answer: {}", failure.as_str());
            Refused::new(Reject::HookFailed, why, of)
        }
        (Verdict::Reject(status, reason), _) => {
            Refused { status: Some(status), ..Refused::new(Reject::HookRejected, reason, of) }
        }
    };
    arrival.refuse(core, &refused, &open.trace);
    None
}

fn tenant(plan: &Plan, prepared: &Prepared) -> String {
    plan.tenants.get(prepared.question.tenant).map_or_else(String::new, |it| it.name.clone())
}

/// An answer, judged by what the tenant may have.
enum Verdict {
    Advice(Advice),
    Reject(u16, String),
    Failed(Failure, String),
}

impl Verdict {
    fn event(&self, tenant: String) -> Event {
        let (result, why) = match self {
            Self::Advice(Advice::Table(_)) => ("table", None),
            Self::Advice(Advice::To { .. }) => ("route", None),
            Self::Reject(..) => ("reject", None),
            Self::Failed(failure, why) => (failure.as_str(), Some(why.clone())),
        };
        Event::HookAsked { tenant, result, why }
    }

    /// What is kept with the call.
    fn note(&self) -> String {
        match self {
            Self::Advice(Advice::Table(_)) => "the hook leaves it to the routes".to_owned(),
            Self::Advice(Advice::To { called, caller, .. }) => {
                let called = called.as_ref().map(|called| format!(", called {called}"));
                let caller = caller.as_ref().map(|caller| format!(", caller {caller}"));
                let parts = ["the hook decides".to_owned()].into_iter();
                parts.chain(called).chain(caller).collect()
            }
            Self::Reject(status, reason) => format!("the hook refuses with {status}: {reason}"),
            Self::Failed(failure, why) => {
                format!("the hook has no answer ({}): {why}", failure.as_str())
            }
        }
    }
}

fn judge(plan: &Plan, prepared: &Prepared, answer: RouteAnswer) -> Verdict {
    let judged = match answer {
        RouteAnswer::Table => Ok(Verdict::Advice(Advice::Table(Some("table")))),
        RouteAnswer::Failed(failure, why) => Ok(Verdict::Failed(failure, why)),
        RouteAnswer::Reject { status, .. } if !STATUSES.contains(&status) => {
            Err(format!("status {status} is none that a hook may refuse with"))
        }
        RouteAnswer::Reject { reason, .. }
            if reason.len() > REASON_MAX || reason.chars().any(char::is_control) =>
        {
            Err("the reason is too long, or holds control characters".to_owned())
        }
        RouteAnswer::Reject { status, reason } => Ok(Verdict::Reject(status, reason)),
        RouteAnswer::Route { to, called, caller } => {
            route(plan, prepared, &to, called, caller).map(Verdict::Advice)
        }
    };
    judged.unwrap_or_else(|why| Verdict::Failed(Failure::Invalid, why))
}

/// The trunks and numbers that an answer asks for, if the tenant may have them: trunks that a route of
/// its own in this direction leads to, its own numbers, and never an emergency number.
fn route(
    plan: &Plan,
    prepared: &Prepared,
    to: &[String],
    called: Option<String>,
    caller: Option<String>,
) -> Result<Advice, String> {
    let question = &prepared.question;
    let tenant = plan.tenants.get(question.tenant).ok_or("the tenant is gone")?;
    if to.is_empty() || to.len() > TRUNKS_MAX {
        return Err(format!("{} trunks; from 1 to {TRUNKS_MAX} can be tried", to.len()));
    }
    let mut trunks = Vec::with_capacity(to.len());
    let mut decides = None;
    for name in to {
        let found = plan.trunk_named(name).and_then(|trunk| {
            let leads = |route: &Route| leads(plan, route, question.from, &prepared.number, trunk);
            tenant.routes.iter().position(leads).map(|route| (trunk, route))
        });
        let Some((trunk, route)) = found else {
            return Err(format!("no route of the tenant leads to trunk {name:?}"));
        };
        decides = decides.or(Some(route));
        if !trunks.contains(&trunk) {
            trunks.push(trunk);
        }
    }
    let route = decides.unwrap_or_default();
    let teams =
        |trunk: &usize| plan.trunks.get(*trunk).is_some_and(|trunk| trunk.kind == TrunkKind::Teams);
    let own = |number: &str| plan.numbers.tenant(number) == Some(question.tenant);
    if let Some(number) = &called {
        if !is_e164(number) || routing::is_emergency(tenant, RouteFrom::Teams, number) {
            return Err(format!("called {number:?} is no number in E.164"));
        }
        if trunks.iter().any(teams) && !own(number) {
            return Err(format!("called {number:?} is no number of the tenant"));
        }
    }
    if let Some(number) = caller.as_ref().filter(|number| !is_e164(number) || !own(number)) {
        return Err(format!("caller {number:?} is no number of the tenant"));
    }
    Ok(Advice::To { route, trunks, called, caller })
}

/// Whether a route for ordinary calls in this direction may lead to `trunk`.
fn leads(plan: &Plan, route: &Route, from: RouteFrom, number: &str, trunk: usize) -> bool {
    let rates = route.least_cost().and_then(|rates| plan.rates.get(rates));
    let offered =
        || rates.is_some_and(|rates| rates.offers(number).iter().any(|it| it.trunk == trunk));
    let named = || route.to.trunks().any(|named| named == trunk);
    route.from == from && !route.emergency && (named() || offered())
}

/// `+` and from 3 to 15 digits.
fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (3..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
