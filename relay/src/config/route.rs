//! `[[route]]` of a tenant: what it may say, and which tables its names lead to.

use super::guard;
use super::host::HostDraft;
use super::names::Names;
use super::numbers;
use super::problem::{At, Place, Problems};
use super::reader::{Reader, Wrong};
use super::tenant::TenantDraft;
use super::value;
use b2bua::plan::{
    CallerId, Failover, Patterns, Pidf, Route, RouteFrom, Schedule, Span, Step, Steps, TrunkKind,
};
use b2bua::routing;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::time::Duration;
use toml::de::DeValue;

/// Steps of one route: each is tried in turn while a caller waits.
const STEPS_MAX: usize = routing::TRUNKS_MAX;
/// The heaviest weight in a share.
const WEIGHT_MAX: u32 = 10_000;
/// Trunks that one route takes calls from.
const VIA_MAX: usize = 64;
/// Days, dates and windows of one route: a calendar of holidays for some years.
const SPANS_MAX: usize = 200;

/// One `[[route]]`, as read.
#[derive(Debug)]
pub(crate) struct RouteDraft {
    pub(crate) from: Option<RouteFrom>,
    pub(crate) called: Option<Patterns>,
    pub(crate) emergency: bool,
    pub(crate) place: Place,
    pub(crate) whose: String,
    name: Option<String>,
    calling: Option<Patterns>,
    via: Vec<At<String>>,
    when: Vec<Span>,
    timezone: Option<TimeZone>,
    priority: u16,
    caller: At<CallerId>,
    to: Vec<At<StepDraft>>,
    least_cost: Option<At<String>>,
    failover: Option<Failover>,
    answer_timeout: Option<Duration>,
    pidf: Option<Pidf>,
    /// Whether every value holds.
    whole: bool,
}

/// One step of `to`.
#[derive(Debug)]
enum StepDraft {
    Trunk(String),
    Share(Vec<(String, u32)>),
}

const FROM: &[(&str, RouteFrom)] = &[("teams", RouteFrom::Teams), ("carrier", RouteFrom::Carrier)];

const PIDF: &[(&str, Pidf)] =
    &[("passthrough", Pidf::Passthrough), ("strip", Pidf::Strip), ("elin", Pidf::Elin)];

/// Reads one route.
pub(crate) fn read(table: &mut Reader<'_>) -> RouteDraft {
    let from = table.required("from", value::one_of(FROM));
    let emergency = table.optional("emergency", value::flag);
    if let (Some(from), Some(emergency)) = (&from, &emergency)
        && emergency.value
        && from.value == RouteFrom::Carrier
    {
        let said = "emergency numbers are dialled in Teams, not by carriers";
        table.error(emergency.place, said, Some("from = \"teams\"".to_owned()));
    }
    let emergency = emergency.is_some_and(|at| at.value);
    let pidf = table.optional("pidf", value::one_of(PIDF));
    if let Some(pidf) = &pidf
        && !emergency
    {
        let said = "`pidf` does nothing here: the route is not for emergency numbers";
        table.error(pidf.place, said, Some("emergency = true".to_owned()));
    }
    let called = table.patterns("match").map(|at| at.value);
    let called = match table.has("match") {
        true => called,
        // Which numbers it serves is already said by `emergency` of the tenant.
        false if emergency => Some(Patterns::default()),
        false => {
            table.missing("match", None);
            None
        }
    };
    let calling = table.patterns("calling").map(|at| at.value);
    let via = table.one_or_more("via", 1..=VIA_MAX, value::name).unwrap_or_default();
    let when = table.one_or_more("when", 1..=SPANS_MAX, span).unwrap_or_default();
    let timezone = table.optional("timezone", value::timezone);
    if let Some(timezone) = &timezone
        && !table.has("when")
    {
        table.error(timezone.place, "`timezone` does nothing here: there is no `when`", None);
    }
    let to = table.one_or_more("to", 1..=STEPS_MAX, step);
    let least_cost = table.optional("least_cost", value::name);
    if to.is_none() && !table.has("least_cost") {
        table.missing("to", Some("the trunks to try, in order: to = [\"colt\"]".to_owned()));
    }
    let priority = value::whole(0..=u32::from(u16::MAX));
    let priority =
        table.optional_or("priority", priority, u32::from(b2bua::plan::PRIORITY_DEFAULT));
    RouteDraft {
        from: from.map(|at| at.value),
        whole: called.is_some() && calling.is_some() == table.has("calling"),
        called,
        emergency,
        place: table.place(),
        whose: table.whose().to_owned(),
        name: table.optional("name", value::label).map(|at| at.value),
        calling,
        via,
        when: when.into_iter().map(|at| at.value).collect(),
        timezone: timezone.map(|at| at.value),
        caller: numbers::caller(table),
        priority: u16::try_from(priority).unwrap_or(u16::MAX),
        to: to.unwrap_or_default(),
        least_cost,
        failover: guard::failover(table),
        answer_timeout: guard::answer_timeout(table),
        pidf: pidf.map(|at| at.value),
    }
}

impl RouteDraft {
    /// Reports what `caller` and `caller_number` lack, given what the tenant says of them.
    pub(crate) fn caller_fits(&self, of_tenant: &CallerId, top: &Reader<'_>) {
        let written = self.caller.value != CallerId::default();
        let otherwise = Some(of_tenant).filter(|_| self.from != Some(RouteFrom::Carrier));
        if let Err(said) = numbers::caller_fits(&self.caller.value, otherwise)
            && written
        {
            top.error(self.caller.place, &format!("{}: {said}", self.whose), None);
        }
    }
}

/// `mon-fri 08:00-18:00` and the like.
fn span(value: &DeValue<'_>) -> Result<Span, Wrong> {
    value::text(value)?
        .parse()
        .map_err(|wrong: b2bua::plan::NoSpan| Wrong { said: wrong.said, hint: wrong.hint })
}

/// `"colt"` or `{ colt = 70, bt = 30 }`.
fn step(value: &DeValue<'_>) -> Result<StepDraft, Wrong> {
    let DeValue::Table(table) = value else { return value::name(value).map(StepDraft::Trunk) };
    let mut share = Vec::with_capacity(table.len());
    for (name, weight) in table {
        let (name, weight) = (name.get_ref().to_string(), weight.get_ref());
        if !value::is_name(&name) {
            return Err(Wrong::new(format!("shares with {name:?}, which is no name of a trunk")));
        }
        let weight = value::whole(0..=WEIGHT_MAX)(weight).map_err(|wrong| Wrong {
            said: format!("has a weight for \"{name}\" that {}", wrong.said),
            hint: wrong.hint,
        })?;
        share.push((name, weight));
    }
    if share.len() > routing::TRUNKS_MAX {
        let most = routing::TRUNKS_MAX;
        return Err(Wrong::new(format!(
            "shares between {} trunks; {most} are the most",
            share.len()
        )));
    }
    if share.iter().all(|(_, weight)| *weight == 0) {
        return Err(Wrong::new("shares nothing").hint("{ colt = 70, bt = 30 }"));
    }
    Ok(StepDraft::Share(share))
}

/// What the names in routes refer to.
#[derive(Debug)]
pub(crate) struct Tables<'a> {
    pub(crate) host: &'a HostDraft,
    pub(crate) trunks: Names<'a>,
    pub(crate) rates: Names<'a>,
}

/// The routes of a tenant, in the order they are tried, and the Teams trunks they lead to. `None` only
/// if a problem has been reported.
pub(crate) fn link(
    tenant: &TenantDraft,
    tables: &Tables<'_>,
    problems: &Problems,
) -> (Option<Vec<Route>>, Vec<usize>) {
    emergency(tenant, tables.host, problems);
    let mut teams_trunks = Vec::new();
    let mut linker =
        Linker { tables, tenant, problems, known: HashMap::new(), teams_trunks: &mut teams_trunks };
    let routes: Vec<Option<Route>> =
        tenant.routes.iter().map(|draft| linker.route(draft)).collect();
    let routes: Option<Vec<Route>> = routes.into_iter().collect();
    let routes = routes.map(|mut routes| {
        // Stable: routes of one priority stay in the order of the file.
        routes.sort_by_key(|route| route.priority);
        routes.shrink_to_fit();
        routes
    });
    (routes, teams_trunks)
}

struct Linker<'a> {
    tables: &'a Tables<'a>,
    tenant: &'a TenantDraft,
    problems: &'a Problems,
    /// What routes of this tenant lead to already: most say the same.
    known: HashMap<Vec<Step>, Steps>,
    teams_trunks: &'a mut Vec<usize>,
}

impl Linker<'_> {
    fn route(&mut self, draft: &RouteDraft) -> Option<Route> {
        let to = self.steps(draft);
        let via = self.via(draft);
        let least_cost = match &draft.least_cost {
            None => Some(None),
            Some(name) => self.tables.rates.find(name, &draft.whose, self.problems).map(Some),
        };
        let when = self.when(draft);
        let mut route = Route {
            called: draft.called.clone()?,
            to: to?,
            rare: None,
            line: draft.place.line,
            priority: draft.priority,
            from: draft.from?,
            emergency: draft.emergency,
        };
        let (via, least_cost, when) = (via?, least_cost?, when?);
        if !draft.whole {
            return None;
        }
        if let Some(name) = &draft.name {
            route.rare_mut().name = Some(name.as_str().into());
        }
        if let Some(calling) = &draft.calling {
            route.rare_mut().calling = Some(calling.clone());
        }
        if !via.is_empty() {
            route.rare_mut().via = via;
        }
        if draft.caller.value != CallerId::default() {
            route.rare_mut().caller = draft.caller.value.clone();
        }
        if let Some(when) = when {
            route.rare_mut().when = Some(when);
        }
        if let Some(least_cost) = least_cost {
            route.rare_mut().least_cost = Some(least_cost);
        }
        if let Some(failover) = &draft.failover {
            route.rare_mut().failover = Some(failover.clone());
        }
        if let Some(pidf) = draft.pidf {
            route.rare_mut().pidf = Some(pidf);
        }
        if let Some(timeout) = draft.answer_timeout {
            route.rare_mut().answer_timeout = Some(timeout);
        }
        Some(route)
    }

    fn steps(&mut self, draft: &RouteDraft) -> Option<Steps> {
        let mut seen = Vec::new();
        let mut steps = Vec::with_capacity(draft.to.len());
        let mut whole = true;
        for At { value, place } in &draft.to {
            let mut find = |name: &str| {
                let found = self.target(draft, &mut seen, name, *place);
                whole &= found.is_some();
                found
            };
            match value {
                StepDraft::Trunk(name) => steps.extend(find(name).map(Step::Trunk)),
                StepDraft::Share(share) => {
                    let share = share.iter();
                    let share = share.filter_map(|(name, weight)| Some((find(name)?, *weight)));
                    steps.push(Step::Share(share.collect()));
                }
            }
        }
        if seen.len() > routing::TRUNKS_MAX {
            let most = routing::TRUNKS_MAX;
            let message =
                format!("{} names {} trunks; {most} are the most", draft.whose, seen.len());
            self.problems.error(draft.place, message, None);
        }
        if let Some(known) = self.known.get(&steps) {
            return whole.then(|| known.clone());
        }
        let shared = Steps::from(steps.clone());
        self.known.insert(steps, shared.clone());
        whole.then_some(shared)
    }

    /// The trunk that a step names.
    fn target(
        &mut self,
        draft: &RouteDraft,
        seen: &mut Vec<usize>,
        name: &str,
        place: Place,
    ) -> Option<usize> {
        let at = At { value: name.to_owned(), place };
        let index = self.tables.trunks.find(&at, &draft.whose, self.problems)?;
        if seen.contains(&index) {
            let message = format!("{} names trunk \"{name}\" twice", draft.whose);
            self.problems.error(place, message, None);
        }
        seen.push(index);
        if self.tables.host.trunks.get(index)?.kind == Some(TrunkKind::Teams) {
            self.teams_trunks.push(index);
            if draft.from == Some(RouteFrom::Teams) {
                let message = format!(
                    "{}: calls from Teams cannot go to trunk \"{name}\", which is Teams itself",
                    draft.whose
                );
                let hint = "name a trunk with kind = \"carrier\", or write from = \"carrier\"";
                self.problems.error(place, message, Some(hint.to_owned()));
            }
        }
        Some(index)
    }

    fn via(&self, draft: &RouteDraft) -> Option<Vec<usize>> {
        let mut via = Vec::with_capacity(draft.via.len());
        for name in &draft.via {
            let Some(index) = self.tables.trunks.find(name, &draft.whose, self.problems) else {
                continue;
            };
            via.push(index);
            let kind = self.tables.host.trunks.get(index).and_then(|trunk| trunk.kind);
            let from = kind.map(|kind| match kind {
                TrunkKind::Teams => RouteFrom::Teams,
                TrunkKind::Carrier => RouteFrom::Carrier,
            });
            if let (Some(kind), Some(from)) = (from, draft.from)
                && kind != from
            {
                let message = format!(
                    "{}: calls from {} do not come in on trunk \"{}\"",
                    draft.whose,
                    from.word(),
                    name.value
                );
                self.problems.error(
                    name.place,
                    message,
                    Some(format!("from = \"{}\"", kind.word())),
                );
            }
        }
        (via.len() == draft.via.len()).then_some(via)
    }

    fn when(&self, draft: &RouteDraft) -> Option<Option<Schedule>> {
        if draft.when.is_empty() {
            return Some(None);
        }
        let timezone = draft.timezone.as_ref().or(self.tenant.timezone.as_ref());
        let Some(timezone) = timezone else {
            let message = format!("{}: `when` needs to know whose clock counts", draft.whose);
            let hint = "timezone = \"Europe/Berlin\", here or above the first table";
            self.problems.error(draft.place, message, Some(hint.to_owned()));
            return None;
        };
        Some(Some(Schedule { timezone: timezone.clone(), spans: draft.when.clone().into() }))
    }
}

/// The emergency numbers of a tenant: its own, else those of its country.
pub(crate) fn emergency_numbers(tenant: &TenantDraft, host: &HostDraft) -> Vec<String> {
    let country = tenant.country.or(host.country);
    match &tenant.emergency {
        Some(own) => own.iter().map(|at| at.value.clone()).collect(),
        None => {
            let numbers = country.map_or(&[][..], |country| routing::numbers_of(country.iso));
            numbers.iter().map(|number| (*number).to_owned()).collect()
        }
    }
}

/// An emergency call must get out.
fn emergency(tenant: &TenantDraft, host: &HostDraft, problems: &Problems) {
    if tenant.damaged || host.damaged {
        return;
    }
    let numbers = emergency_numbers(tenant, host);
    for route in tenant.routes.iter().filter(|route| route.emergency) {
        if numbers.is_empty() && tenant.emergency.is_none() {
            let message =
                format!("{}: is for emergency numbers, and the tenant has none", route.whose);
            let hint = "emergency = [\"112\"], or country = \"DE\", above the first table";
            problems.error(route.place, message, Some(hint.to_owned()));
        }
    }
    let outbound = |route: &&RouteDraft| route.from == Some(RouteFrom::Teams);
    let outbound: Vec<_> = tenant.routes.iter().filter(outbound).collect();
    let reached = |number: &str| {
        // Rates know no emergency numbers.
        let sure = outbound.iter().filter(|route| !route.to.is_empty());
        let mut patterns = sure.filter_map(|route| route.called.as_ref());
        patterns.any(|pattern| pattern.matches(number) || pattern.matches(&format!("+{number}")))
    };
    let unsure = tenant.routes.iter().any(|route| route.from.is_none() || route.called.is_none());
    if unsure {
        return;
    }
    let hint = "[[route]] from = \"teams\" emergency = true match = \"*\" to = [...]";
    for number in tenant.emergency.iter().flatten().filter(|number| !reached(&number.value)) {
        let message =
            format!("emergency number \"{}\" is matched by no route from Teams", number.value);
        problems.error(number.place, message, Some(hint.to_owned()));
    }
    // Those of the country nobody has written, and a tenant may have no calls from Teams at all.
    let missing = numbers.iter().find(|number| !reached(number));
    if let (None, Some(number), Some(first)) = (&tenant.emergency, missing, outbound.first()) {
        let message = format!(
            "emergency number \"{number}\" of its country is matched by no route from Teams"
        );
        problems.warning(first.place, message, Some(hint.to_owned()));
    }
}
