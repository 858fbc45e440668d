//! The numbers of a call on their way: as its trunk writes them when it comes in, in E.164 here
//! inside, and as the next trunk wants to have them.

use crate::headers::Crossing;
use crate::numbering::{Country, NumberFormat, is_whole, meant};
use crate::party::{Called, Caller, number_in, with_number};
use crate::plan::{
    CallerId, CallerPolicy, CallerPrivacy, Party, Patterns, Plan, Rewrite, RouteFrom, Subject,
    Tenant, TrunkKind, Way,
};
use crate::reject::Reject;
use crate::routing::{Trace, is_emergency};

/// Whose call it is, as far as rules ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Whose {
    pub(crate) tenant: Option<usize>,
    pub(crate) from: RouteFrom,
    pub(crate) emergency: bool,
}

impl Whose {
    /// The same for rules on numbers: what a rule has made of an emergency number is a number like others,
    /// which a trunk wants to have in its format.
    fn as_numbered(self, plan: &Plan, numbers: &Numbers) -> Self {
        let tenant = self.tenant.and_then(|tenant| plan.tenants.get(tenant));
        let is_one = tenant.is_none_or(|it| is_emergency(it, self.from, &numbers.called.number));
        Self { emergency: self.emergency && is_one, ..self }
    }
}

/// The numbers of a call, and who stands beside them.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    pub(crate) called: Called,
    pub(crate) caller: Caller,
    pub(crate) crossing: Crossing,
}

/// Numbers as trunk `trunk` has sent them become those that are meant.
pub(crate) fn received(
    plan: &Plan,
    trunk: usize,
    whose: Whose,
    numbers: &mut Numbers,
    trace: &mut Trace,
) {
    let Some(trunk) = plan.trunks.get(trunk) else { return };
    let stage = Stage {
        of: Of::Trunk(&trunk.name),
        way: Way::In,
        whose,
        rules: &trunk.rewrite,
        country: trunk.country.filter(|_| trunk.kind == TrunkKind::Carrier),
        format: None,
    };
    stage.change(numbers, trace);
}

/// The tenant's own rules for calls that have come in.
pub(crate) fn come_in(plan: &Plan, whose: Whose, numbers: &mut Numbers, trace: &mut Trace) {
    let whose = whose.as_numbered(plan, numbers);
    tenant_stage(plan, whose, Way::In).inspect(|stage| stage.change(numbers, trace));
}

/// Numbers as `trunk` is told them: by the tenant's rules, then by its own, then in its format.
pub(crate) fn sent(
    plan: &Plan,
    trunk: usize,
    whose: Whose,
    numbers: &mut Numbers,
    trace: &mut Trace,
) {
    let whose = whose.as_numbered(plan, numbers);
    tenant_stage(plan, whose, Way::Out).inspect(|stage| stage.change(numbers, trace));
    trunk_stage(plan, trunk, whose).inspect(|stage| stage.change(numbers, trace));
}

/// Notes what each of these trunks is going to be told.
pub(crate) fn foretell(
    plan: &Plan,
    trunks: &[usize],
    whose: Whose,
    numbers: &Numbers,
    trace: &mut Trace,
) {
    let whose = whose.as_numbered(plan, numbers);
    let stages = || trunks.iter().filter_map(|trunk| trunk_stage(plan, *trunk, whose));
    let of_tenant = tenant_stage(plan, whose, Way::Out);
    if of_tenant.as_ref().is_none_or(Stage::is_idle) && stages().all(|stage| stage.is_idle()) {
        return;
    }
    let mut numbers = numbers.clone();
    of_tenant.inspect(|stage| stage.change(&mut numbers, trace));
    stages().for_each(|stage| stage.change(&mut numbers.clone(), trace));
}

fn trunk_stage(plan: &Plan, trunk: usize, whose: Whose) -> Option<Stage<'_>> {
    let trunk = plan.trunks.get(trunk)?;
    let (of, rules) = (Of::Trunk(&trunk.name), trunk.rewrite.as_slice());
    let (country, format) = (trunk.country, trunk.format);
    Some(Stage { of, way: Way::Out, whose, rules, country, format })
}

fn tenant_stage(plan: &Plan, whose: Whose, way: Way) -> Option<Stage<'_>> {
    let tenant = plan.tenants.get(whose.tenant?)?;
    let (of, rules) = (Of::Tenant(&tenant.name), tenant.rewrite.as_slice());
    Some(Stage { of, way, whose, rules, country: None, format: None })
}

/// Whose rules a stage has.
#[derive(Clone, Copy)]
enum Of<'a> {
    Trunk(&'a str),
    Tenant(&'a str),
}

/// What happens to numbers at one place of their way.
struct Stage<'a> {
    of: Of<'a>,
    way: Way,
    whose: Whose,
    rules: &'a [Rewrite],
    /// Where numbers that come in are dialled, and those that go out are written for.
    country: Option<&'static Country>,
    format: Option<NumberFormat>,
}

impl Stage<'_> {
    /// Whether it changes nothing, whatever the number.
    fn is_idle(&self) -> bool {
        let dialled = self.way == Way::In && self.country.is_some();
        self.rules.is_empty() && !dialled && self.format.is_none()
    }

    fn change(&self, numbers: &mut Numbers, trace: &mut Trace) {
        if self.is_idle() {
            return;
        }
        let mut note = |text| trace.note(text);
        if let Some(number) = self.made(Party::Called, &numbers.called.number, &mut note) {
            numbers.called = numbers.called.renumbered(number);
        }
        if !numbers.caller.is_anonymous()
            && let Some(number) =
                self.made(Party::Calling, &number_in(&numbers.caller.user), &mut note)
        {
            numbers.caller = numbers.caller.clone().renumbered(&number);
        }
        numbers.crossing.renumber(&|user| {
            let number = self.made(Party::Calling, &number_in(user), &mut |_| {})?;
            Some(with_number(user, &number))
        });
    }

    /// What becomes of a number; `None` where it stays as it is.
    fn made(&self, party: Party, number: &str, note: &mut dyn FnMut(String)) -> Option<String> {
        // Who is called in an emergency is dialled and not written in any format.
        let emergency = self.whose.emergency && party == Party::Called;
        let mut now = number.to_owned();
        let mut step = |now: &mut String, made: Option<String>, why: &dyn Fn() -> String| {
            if let Some(made) = made {
                let what = if party == Party::Called { "called" } else { "calling" };
                note(format!("{what} {now} -> {made} ({}, {})", self.of, why()));
                *now = made;
            }
        };
        let dialled = |now: &str| {
            let country = self.country.filter(|_| self.way == Way::In && !emergency)?;
            country.normalise(now)
        };
        let iso = || format!("country {}", self.country.map_or("", |country| country.iso));
        let made = dialled(&now);
        step(&mut now, made, &iso);
        let subject =
            Subject { way: self.way, party, from: self.whose.from, emergency, number: &now };
        if let Some((rule, made)) = Rewrite::first(self.rules, &subject) {
            step(&mut now, Some(made), &|| format!("rewrite at {}", rule.place));
            // What a rule makes may be as dialled there, too.
            let made = dialled(&now);
            step(&mut now, made, &iso);
        }
        if let Some(format) = self.format.filter(|_| self.way == Way::Out && !emergency) {
            let made = format.write(self.country, &now);
            step(&mut now, made, &|| format!("format {}", format.word()));
        }
        (now != number).then_some(now)
    }
}

impl std::fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trunk(name) => write!(f, "trunk {name}"),
            Self::Tenant(name) => write!(f, "tenant {name}"),
        }
    }
}

/// Why a block list refuses the call, if one does: that of the host or that of the tenant.
pub(crate) fn blocked(plan: &Plan, tenant: &Tenant, numbers: &Numbers) -> Option<String> {
    let called = forms(tenant, &numbers.called);
    let vouched = numbers.crossing.vouched().map(number_in);
    let calling: Vec<String> =
        [number_in(&numbers.caller.user)].into_iter().chain(vouched).collect();
    on_lists(plan, tenant, &called, &calling)
}

/// The same of the number that is called alone.
pub(crate) fn called_blocked(plan: &Plan, tenant: &Tenant, called: &Called) -> Option<String> {
    on_lists(plan, tenant, &forms(tenant, called), &[])
}

/// A number that is called as it is dialled and as it may be meant.
fn forms(tenant: &Tenant, called: &Called) -> Vec<String> {
    let number = &called.number;
    // A whole number may come without its `+`; 11833 is none in America.
    let plus = is_whole(number).then(|| called.clone().with_plus().number);
    let meant = meant(tenant.country, number).into_owned();
    [number.clone()].into_iter().chain(plus).chain([meant]).collect()
}

fn on_lists(plan: &Plan, tenant: &Tenant, called: &[String], calling: &[String]) -> Option<String> {
    let lists = [(&*plan.block, "the host"), (&tenant.block, "the tenant")];
    let find = |patterns: &Option<Patterns>, numbers: &[String]| {
        let patterns = patterns.as_ref()?;
        numbers.iter().find_map(|it| Some((patterns.find(it)?.to_string(), it.clone())))
    };
    lists.into_iter().find_map(|(list, whose)| {
        let hit = find(&list.called, called).map(|hit| ("called", hit));
        let hit = hit.or_else(|| find(&list.calling, calling).map(|hit| ("calling", hit)));
        let (which, (pattern, number)) = hit?;
        Some(format!("{which} number {number} is blocked by {pattern} of {whose}"))
    })
}

/// The numbers that the tenant's routing hook gives, which no list may block either.
pub(crate) fn by_hook(
    plan: &Plan,
    tenant: usize,
    (called, caller): (Option<String>, Option<String>),
    numbers: &mut Numbers,
    trace: &mut Trace,
) -> Result<(), (Reject, String)> {
    if let Some(number) = called {
        trace.note(format!("called {} -> {number} (hook)", numbers.called.number));
        numbers.called = Called::by_number(number);
    }
    if let Some(number) = caller {
        substitute(numbers, &number, "hook", trace);
    }
    match plan.tenants.get(tenant).and_then(|tenant| blocked(plan, tenant, numbers)) {
        Some(why) => Err((Reject::Blocked, why)),
        None => Ok(()),
    }
}

/// Shows of the caller what route and tenant say; what stands in From, the identities vouched for and
/// Contact agree on it. An emergency call is not asked.
pub(crate) fn show(
    plan: &Plan,
    whose: Whose,
    of_route: Option<&CallerId>,
    numbers: &mut Numbers,
    trace: &mut Trace,
) -> Result<(), (Reject, String)> {
    let Some((index, tenant)) = whose.tenant.and_then(|at| Some((at, plan.tenants.get(at)?)))
    else {
        return Ok(());
    };
    if whose.emergency {
        return Ok(());
    }
    // Whoever calls in has no number of the tenant, so what the tenant says is for its own calls.
    let of_tenant = Some(&tenant.caller).filter(|_| whose.from == RouteFrom::Teams);
    let both = || of_route.into_iter().chain(of_tenant);
    let policy = both().find_map(|it| it.policy).unwrap_or_default();
    let number = both().find_map(|it| it.number.as_deref());
    let owned = |user: &str| plan.numbers.tenant(&number_in(user)) == Some(index);
    let hidden = numbers.caller.is_anonymous();
    match policy {
        CallerPolicy::Pass => {}
        CallerPolicy::Anonymous => hide(numbers, "caller = \"anonymous\"", trace),
        CallerPolicy::Substitute => {
            if let Some(number) = number {
                substitute(numbers, number, "caller = \"substitute\"", trace);
            }
        }
        CallerPolicy::Own => {
            // Whoever calls somebody of the tenant who has diverted the call is no number of the tenant's,
            // and Microsoft says who it was (TDR-PRI-005).
            let diverted = whose.from == RouteFrom::Teams
                && numbers.crossing.forwarded_by().is_some_and(owned);
            let own = match hidden {
                _ if diverted => true,
                // Who hides and is not vouched for shows no number of anybody's.
                true => {
                    numbers.crossing.vouched().next().is_none()
                        || numbers.crossing.vouched().any(owned)
                }
                false => owned(&numbers.caller.user),
            };
            match (own, number) {
                (true, _) => numbers.crossing.vouch_only_for(owned),
                (false, Some(number)) => substitute(numbers, number, "caller = \"own\"", trace),
                (false, None) => {
                    let caller = &numbers.caller.user;
                    let why =
                        format!("{caller} is no number of {}, and caller = \"own\"", tenant.name);
                    return Err((Reject::CallerNotAllowed, why));
                }
            }
        }
    }
    if tenant.privacy == CallerPrivacy::Anonymous && whose.from == RouteFrom::Teams {
        hide(numbers, "privacy = \"anonymous\"", trace);
    }
    Ok(())
}

fn substitute(numbers: &mut Numbers, number: &str, why: &str, trace: &mut Trace) {
    let hidden = numbers.caller.is_anonymous();
    trace.note(format!("calling {} shown as {number} ({why})", numbers.caller.user));
    numbers.crossing.vouch_for(number, hidden);
    numbers.caller = numbers.caller.clone().replaced(number);
}

fn hide(numbers: &mut Numbers, why: &str, trace: &mut Trace) {
    let user = &numbers.caller.user;
    trace.note(format!("calling {user} not shown ({why})"));
    let known = !numbers.caller.is_anonymous() && crate::party::is_telephone(user);
    numbers.crossing.hide(Some(user.as_str()).filter(|_| known));
    numbers.caller = numbers.caller.clone().unnamed();
}
