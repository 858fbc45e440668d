//! What a ruling considered, in order: small while a call lives, and words only when somebody asks.

use super::Query;
use super::emergency::dialled;
use super::rates::price_text;
use crate::clip::clip;
use crate::plan::{self, Patterns, Plan, Rare, Route, RouteFrom, Step, Tenant};
use std::time::SystemTime;

/// Notes of one ruling: every stage has a few.
const NOTES_MAX: usize = 32;
/// Octets of one note.
const NOTE_LENGTH_MAX: usize = 256;
/// Routes of one ruling that are remembered with why they did not match: every route of the tenants that
/// a host is meant for.
const TRIED_MAX: usize = 4096;

/// How a ruling came about.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    notes: Vec<String>,
    table: Option<Box<Table>>,
}

/// What became of the question that the routing table was asked.
#[derive(Clone, Debug)]
struct Table {
    /// Notes that come before.
    after: usize,
    from: RouteFrom,
    via: usize,
    called: Box<str>,
    calling: Box<str>,
    at: SystemTime,
    emergency: bool,
    /// For each route that was tried why it did not match, in their order.
    missed: Vec<Miss>,
    matched: Option<usize>,
    trunks: Vec<usize>,
}

/// Why a route does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is for calls from the other side.
    From,
    /// It is for emergency calls.
    Emergency,
    /// It is for ordinary calls, and one for emergency calls matched.
    Ordinary,
    /// The called number.
    Called,
    /// The calling number.
    Calling,
    /// The trunk it came in on.
    Via,
    /// The time.
    When,
    /// Only rates name its trunks, and they have no price for the called number.
    Rates,
    /// One before it matched.
    Untried,
    /// It matches.
    None,
}

/// One route that was tried, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where it stands: `tenants.d/contoso.toml:14`.
    pub place: String,
    /// What it is: `match +49*`.
    pub route: String,
    /// Why it did not match; `None`: it did.
    pub why_not: Option<String>,
    /// It is for calls from the other side, which need not be told.
    pub other_side: bool,
}

impl Trace {
    /// Adds what a stage did or considered, in a sentence; beyond a bound nothing.
    pub fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            let mut note = note.into();
            clip(&mut note, NOTE_LENGTH_MAX);
            self.notes.push(note);
        }
    }

    pub(super) fn ask(&mut self, query: &Query<'_>, emergency: bool, missed: Vec<Miss>) {
        let mut missed = missed;
        missed.truncate(TRIED_MAX);
        self.table = Some(Box::new(Table {
            after: self.notes.len(),
            from: query.from,
            via: query.via,
            called: query.called.into(),
            calling: query.calling.into(),
            at: query.at,
            emergency,
            missed,
            matched: None,
            trunks: Vec::new(),
        }));
    }

    pub(super) fn found(&mut self, route: usize, trunks: &[usize]) {
        if let Some(table) = &mut self.table {
            table.matched = Some(route);
            table.trunks = trunks.to_vec();
        }
    }

    /// What the stages before the routing table noted, and those after it.
    pub fn notes(&self) -> (&[String], &[String]) {
        let at = self.table.as_ref().map_or(self.notes.len(), |table| table.after);
        self.notes.split_at(at.min(self.notes.len()))
    }

    /// The routes that were tried, in order; `plan` is the one that was asked.
    pub fn tried(&self, plan: &Plan, tenant: &Tenant) -> Vec<Tried> {
        let Some(table) = &self.table else { return Vec::new() };
        let routes = tenant.routes.iter().zip(&table.missed);
        let routes = routes.filter(|(_, miss)| **miss != Miss::Untried);
        routes.map(|(route, miss)| table.tried(plan, tenant, route, *miss)).collect()
    }

    /// The index of the route that matched.
    pub fn matched(&self) -> Option<usize> {
        self.table.as_ref()?.matched
    }

    /// How the trunks of the route came to be in the order they are tried in.
    pub fn targets(&self, plan: &Plan, tenant: &Tenant) -> Option<String> {
        let table = self.table.as_ref()?;
        let route = tenant.routes.get(table.matched?)?;
        let mut text = format!("goes to {}", names(plan, &table.trunks));
        if let Some(rates) = route.least_cost().and_then(|rates| plan.rates.get(rates)) {
            let offers = rates.offers(&table.called);
            let asks = offers.iter().map(|offer| {
                let name = trunk_name(plan, offer.trunk);
                format!("{name} {} for {} digits", price_text(offer.price), offer.digits)
            });
            let asks: Vec<String> = asks.collect();
            text += &match asks.is_empty() {
                true => format!("; rates {} have no price for {}", rates.name, table.called),
                false => format!("; rates {}: {}", rates.name, asks.join(", ")),
            };
        }
        for step in route.to.iter() {
            if let Step::Share(share) = step {
                let weights = share
                    .iter()
                    .map(|(trunk, weight)| format!("{} {weight}", trunk_name(plan, *trunk)));
                let weights: Vec<String> = weights.collect();
                text += &format!("; drawn by weight: {}", weights.join(", "));
            }
        }
        Some(text)
    }

    /// Everything in lines, as it is kept with a call; at most `routes_max` of the routes that did not
    /// match are told one by one.
    pub fn lines(&self, plan: &Plan, tenant: &Tenant, routes_max: usize) -> Vec<String> {
        let (before, after) = self.notes();
        let mut lines = before.to_vec();
        let mut other_side = 0;
        let mut left_out = 0;
        let mut told = 0;
        for tried in self.tried(plan, tenant) {
            let Some(why_not) = tried.why_not else {
                lines.push(format!("{} {}: matches", tried.place, tried.route));
                continue;
            };
            if tried.other_side {
                other_side += 1;
            } else if told < routes_max {
                told += 1;
                lines.push(format!("{} {}: {why_not}", tried.place, tried.route));
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            lines.push(format!("more routes that did not match: {left_out}"));
        }
        if other_side > 0 {
            lines.push(format!("routes for calls from the other side: {other_side}"));
        }
        lines.extend(self.targets(plan, tenant));
        lines.extend_from_slice(after);
        lines
    }
}

impl Table {
    fn tried(&self, plan: &Plan, tenant: &Tenant, route: &Route, miss: Miss) -> Tried {
        Tried {
            place: place(tenant, route),
            route: described(plan, route),
            why_not: self.why_not(plan, route, miss),
            other_side: miss == Miss::From,
        }
    }

    fn why_not(&self, plan: &Plan, route: &Route, miss: Miss) -> Option<String> {
        let nothing = Rare::default();
        let rare = route.rare.as_deref().unwrap_or(&nothing);
        Some(match miss {
            Miss::None | Miss::Untried => return None,
            Miss::From => format!("it is for calls from {}", other(self.from)),
            Miss::Emergency => format!("{} is no emergency number of the tenant", self.called),
            Miss::Ordinary => {
                "it is for ordinary calls, and a route for emergency calls matches".into()
            }
            Miss::Called => {
                let called = if self.emergency { dialled(&self.called) } else { &self.called };
                format!("the called number {}", why_not(&route.called, called))
            }
            Miss::Calling if self.calling.is_empty() => "there is no calling number".into(),
            Miss::Calling => {
                let calling = rare.calling.as_ref();
                let why = calling.map(|calling| why_not(calling, &self.calling));
                format!("the calling number {}", why.unwrap_or_default())
            }
            Miss::Rates => {
                let rates = rare.least_cost.and_then(|rates| plan.rates.get(rates));
                let name = rates.map_or("?", |rates| rates.name.as_str());
                format!("rates {name} have no price for {}, and there is no `to`", self.called)
            }
            Miss::Via => format!("it came in on {}", trunk_name(plan, self.via)),
            Miss::When => {
                let Some(when) = &rare.when else { return Some("not at this time".into()) };
                let local = when.local(self.at);
                let day = plan::weekday(local.date().weekday());
                let zone = when.timezone.iana_name().unwrap_or_default();
                format!("it is {day} {} {zone}", local.strftime("%Y-%m-%d %H:%M"))
            }
        })
    }
}

fn why_not(patterns: &Patterns, number: &str) -> String {
    match patterns {
        Patterns::One(pattern) => pattern.why_not(number),
        Patterns::Many(_) => format!("{number} is none of these"),
    }
}

/// `tenants.d/contoso.toml:14`.
pub(super) fn place(tenant: &Tenant, route: &Route) -> String {
    match route.line {
        0 => tenant.name.clone(),
        line => format!("tenants.d/{}.toml:{line}", tenant.name),
    }
}

/// `match +49*, calling +4930*, via colt, when mon-fri 08:00-18:00 (Europe/Berlin), emergency`.
fn described(plan: &Plan, route: &Route) -> String {
    let mut text = format!("match {}", listed(&route.called));
    if let Some(rare) = &route.rare {
        if let Some(name) = &rare.name {
            text = format!("\"{name}\" {text}");
        }
        if let Some(calling) = &rare.calling {
            text += &format!(" calling {}", listed(calling));
        }
        if !rare.via.is_empty() {
            text += &format!(" via {}", names(plan, &rare.via));
        }
        if let Some(when) = &rare.when {
            text += &format!(" when {when}");
        }
    }
    if route.priority != plan::PRIORITY_DEFAULT {
        text += &format!(" priority {}", route.priority);
    }
    if route.emergency {
        text += " emergency";
    }
    text
}

/// Patterns as shown: of a long list the first few.
fn listed(patterns: &Patterns) -> String {
    let list = patterns.as_slice();
    let Some(shown) = list.get(..LISTED_MAX) else { return patterns.to_string() };
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    match list.len() - LISTED_MAX {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Patterns of a route that are shown.
const LISTED_MAX: usize = 4;

const fn other(from: RouteFrom) -> &'static str {
    match from {
        RouteFrom::Teams => "carriers",
        RouteFrom::Carrier => "Teams",
    }
}

pub(super) fn trunk_name(plan: &Plan, trunk: usize) -> &str {
    plan.trunks.get(trunk).map_or("?", |trunk| trunk.name.as_str())
}

fn names(plan: &Plan, trunks: &[usize]) -> String {
    let names: Vec<&str> = trunks.iter().map(|trunk| trunk_name(plan, *trunk)).collect();
    if names.is_empty() { "no trunk".into() } else { names.join(", ") }
}
