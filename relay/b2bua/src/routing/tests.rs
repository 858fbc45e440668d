//! Decisions beside those of a router that is written as differently as can be: it looks at every route,
//! takes patterns and times as the text they are, and knows neither order nor short cut.

use super::{Query, RateTable, Trace, decide};
use crate::plan::{
    Pattern, Patterns, Plan, Rates, Route, RouteFrom, Schedule, Step, Tenant, Trunk,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A route as somebody writes it.
#[derive(Clone, Debug)]
struct Written {
    from: RouteFrom,
    emergency: bool,
    called: Vec<&'static str>,
    calling: Vec<&'static str>,
    via: Vec<usize>,
    when: Vec<&'static str>,
    zone: &'static str,
    priority: u16,
    to: Vec<Vec<(usize, u32)>>,
    rates: bool,
}

/// The trunk to Teams, and as many carriers.
const TRUNKS: usize = 7;
const EMERGENCY: [&str; 2] = ["112", "999"];
const NUMBERS: [&str; 14] = [
    "+4930123",
    "+4930124",
    "+4940123",
    "+4989",
    "+49",
    "+331",
    "+33140",
    "112",
    "+112",
    "999",
    "anna",
    "0049",
    "+4930123450",
    "",
];
const PATTERNS: [&str; 13] = [
    "*",
    "+*",
    "+49*",
    "+4930*",
    "+4930123",
    "112",
    "+331-+339",
    "+4930123440-+4930123455",
    "11*",
    r"/^\+49(30|40)/",
    "/3$/",
    "9*",
    "+4989",
];
const WHEN: [&str; 9] = [
    "mon-fri 08:00-18:00",
    "sat,sun",
    "22:00-06:00",
    "fri 20:00-02:00",
    "12-25",
    "2026-12-24",
    "12-24..01-06",
    "daily",
    "sun 00:00-24:00",
];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Adelaide"];
const RATES: &str =
    "49,t1,0.02\n4930,t1,0.05\n49,t2,0.03\n4930123,t3,0.01\n33,t2,0.02\n33,t4,0.02\n";

struct Chance(ChaCha20Rng);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
    fn some<T: Copy>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.of(all)).collect()
    }

    fn route(&mut self) -> Written {
        let mut trunks: Vec<usize> = (1..TRUNKS).collect();
        let mut to = Vec::new();
        for _ in 0..=self.below(2) {
            let width = if self.once_in(3) { 2 } else { 1 };
            let mut step = Vec::new();
            for _ in 0..width {
                step.push((trunks.remove(self.below(trunks.len())), self.0.next_u32() % 5));
            }
            to.push(step);
        }
        let rates = self.once_in(4);
        let mut called = Vec::new();
        while called.is_empty() {
            called = self.some(&PATTERNS, 2);
        }
        Written {
            from: if self.once_in(3) { RouteFrom::Carrier } else { RouteFrom::Teams },
            emergency: self.once_in(5),
            called,
            calling: if self.once_in(4) { self.some(&PATTERNS, 2) } else { Vec::new() },
            via: if self.once_in(5) { self.some(&[0, 1, 2], 2) } else { Vec::new() },
            when: if self.once_in(3) { self.some(&WHEN, 2) } else { Vec::new() },
            zone: self.of(&ZONES),
            priority: self.of(&[100, 100, 100, 10, 200]),
            rates,
            to: if rates && self.once_in(2) { Vec::new() } else { to },
        }
    }
}

fn patterns(written: &[&str]) -> Patterns {
    written.iter().map(|text| text.parse::<Pattern>().unwrap()).collect::<Vec<_>>().into()
}

impl Written {
    fn route(&self, line: usize) -> Route {
        let steps = self.to.iter().map(|step| match step.as_slice() {
            [(trunk, _)] => Step::Trunk(*trunk),
            share => Step::Share(share.into()),
        });
        let mut route = Route {
            called: patterns(&self.called),
            to: steps.collect::<Vec<_>>().into(),
            rare: None,
            line: u32::try_from(line).unwrap(),
            priority: self.priority,
            from: self.from,
            emergency: self.emergency,
        };
        if !self.calling.is_empty() {
            route.rare_mut().calling = Some(patterns(&self.calling));
        }
        if !self.via.is_empty() {
            route.rare_mut().via = self.via.clone();
        }
        if !self.when.is_empty() {
            let timezone = TimeZone::get(self.zone).unwrap();
            let spans = self.when.iter().map(|text| text.parse().unwrap()).collect();
            route.rare_mut().when = Some(Schedule { timezone, spans });
        }
        if self.rates {
            route.rare_mut().least_cost = Some(0);
        }
        route
    }
}

fn plan(written: &[Written]) -> Plan {
    let mut routes: Vec<Route> =
        written.iter().enumerate().map(|(line, route)| route.route(line + 1)).collect();
    routes.sort_by_key(|route| route.priority);
    let tenant = Tenant {
        name: "contoso".into(),
        emergency: EMERGENCY.map(str::to_owned).into(),
        routes,
        ..Tenant::default()
    };
    let trunk = |index| Trunk { name: format!("t{index}"), ..Trunk::default() };
    let rates = Rates {
        name: "wholesale".into(),
        table: Arc::new(RateTable::read(RATES.as_bytes()).unwrap()),
        trunks: vec![1, 2, 3, 4],
    };
    Plan {
        trunks: (0..TRUNKS).map(trunk).collect(),
        tenants: vec![tenant].into(),
        rates: vec![rates].into(),
        ..Plan::default()
    }
}

/// By the text of the pattern.
fn naive_match(pattern: &str, number: &str) -> bool {
    match pattern {
        "*" => true,
        r"/^\+49(30|40)/" => ["+4930", "+4940"].iter().any(|start| number.starts_with(start)),
        "/3$/" => number.ends_with('3'),
        _ if pattern.contains('-') => {
            let (first, last) = pattern.split_once('-').unwrap();
            // Of one length, the order of text is that of numbers.
            let digits = number.strip_prefix('+').unwrap_or("x");
            digits.chars().all(|c| c.is_ascii_digit())
                && number.len() == first.len()
                && first <= number
                && number <= last
        }
        _ if pattern.ends_with('*') => number.starts_with(&pattern[..pattern.len() - 1]),
        whole => whole == number,
    }
}

/// By what a calendar and a clock would print, now and a day before.
fn naive_when(when: &str, zone: &str, at: SystemTime) -> bool {
    let print = |at: SystemTime| {
        let zoned = Timestamp::try_from(at).unwrap().in_tz(zone).unwrap();
        let yesterday = zoned.yesterday().unwrap();
        let words = |zoned: &jiff::Zoned| {
            (zoned.strftime("%a").to_string(), zoned.strftime("%Y-%m-%d").to_string())
        };
        (words(&zoned), words(&yesterday), zoned.strftime("%H:%M").to_string())
    };
    let ((day, date), (day_before, _), time) = print(at);
    let time = time.as_str();
    match when {
        "mon-fri 08:00-18:00" => {
            !["Sat", "Sun"].contains(&day.as_str()) && ("08:00".."18:00").contains(&time)
        }
        "sat,sun" => ["Sat", "Sun"].contains(&day.as_str()),
        "22:00-06:00" => !("06:00".."22:00").contains(&time),
        "fri 20:00-02:00" => {
            day == "Fri" && time >= "20:00" || day_before == "Fri" && time < "02:00"
        }
        "12-25" => date.ends_with("-12-25"),
        "2026-12-24" => date == "2026-12-24",
        "12-24..01-06" => (date[5..] >= *"12-24") || (date[5..] <= *"01-06"),
        "daily" => true,
        "sun 00:00-24:00" => day == "Sun",
        other => panic!("{other}"),
    }
}

/// The written route that decides.
fn naive<'a>(routes: &'a [Written], query: &Query<'_>) -> Option<(usize, &'a Written)> {
    let bare = query.called.trim_start_matches('+');
    let emergency = query.from == RouteFrom::Teams && EMERGENCY.contains(&bare);
    let matches = |route: &&(usize, &Written)| {
        let (_, route) = route;
        let any = |list: &[&str], number: &str| list.iter().any(|one| naive_match(one, number));
        let time = route.when.iter().any(|when| naive_when(when, route.zone, query.at));
        route.from == query.from
            && (any(&route.called, query.called) || emergency && any(&route.called, bare))
            && (route.calling.is_empty() || any(&route.calling, query.calling))
            && (route.via.is_empty() || route.via.contains(&query.via))
            && (route.when.is_empty() || time)
            && !(route.to.is_empty() && naive_rates(query.called).is_empty())
    };
    let all: Vec<(usize, &Written)> = routes.iter().enumerate().collect();
    let of = |wanted: bool| {
        let some = all.iter().filter(move |(_, route)| route.emergency == wanted);
        some.filter(matches).min_by_key(|(line, route)| (route.priority, *line)).copied()
    };
    of(emergency).or_else(|| if emergency { of(false) } else { None })
}

/// What the rates ask, row by row: of each trunk the longest prefix, the cheapest first.
fn naive_rates(number: &str) -> Vec<usize> {
    let number = number.trim_start_matches('+');
    let rows = || RATES.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let longest = |trunk: &str| {
        let fitting = rows().filter(|row| row[1] == trunk && number.starts_with(row[0]));
        fitting.max_by_key(|row| row[0].len())
    };
    let mut best: Vec<Vec<&str>> =
        ["t1", "t2", "t3", "t4"].iter().filter_map(|it| longest(it)).collect();
    best.sort_by(|a, b| a[2].cmp(b[2]).then(b[0].len().cmp(&a[0].len())).then(a[1].cmp(b[1])));
    let digits = number.chars().all(|c| c.is_ascii_digit());
    best.into_iter().filter(|_| digits).map(|row| row[1][1..].parse().unwrap()).collect()
}

/// Whether the trunks are those of the route, in an order that its shares allow.
fn in_order(route: &Written, called: &str, found: &[usize]) -> bool {
    let mut found = found;
    let mut gone: Vec<usize> = Vec::new();
    if route.rates {
        let cheapest = naive_rates(called);
        let Some(rest) = found.strip_prefix(cheapest.as_slice()) else { return false };
        (found, gone) = (rest, cheapest);
    }
    for step in &route.to {
        let mut step: Vec<usize> = step.iter().map(|(trunk, _)| *trunk).collect();
        step.retain(|trunk| !gone.contains(trunk));
        let Some((these, rest)) = found.split_at_checked(step.len()) else { return false };
        let mut these = these.to_vec();
        these.sort_unstable();
        step.sort_unstable();
        if these != step {
            return false;
        }
        (found, _) = (rest, gone.extend(step));
    }
    found.is_empty()
}

#[test]
fn a_router_that_looks_at_everything_decides_the_same() {
    let mut chance = Chance(ChaCha20Rng::seed_from_u64(2026));
    let (mut routed, mut refused) = (0, 0);
    for round in 0..400 {
        let written: Vec<Written> = (0..chance.below(12)).map(|_| chance.route()).collect();
        let plan = plan(&written);
        for _ in 0..50 {
            // A year around both changes of the clocks and the turn of the year.
            let at =
                UNIX_EPOCH + Duration::from_secs(1_784_000_000 + chance.0.next_u64() % 32_000_000);
            let query = Query {
                tenant: 0,
                from: chance.of(&[RouteFrom::Teams, RouteFrom::Teams, RouteFrom::Carrier]),
                via: chance.below(3),
                called: chance.of(&NUMBERS),
                emergency: false,
                calling: chance.of(&NUMBERS),
                at,
                draw: chance.0.next_u64(),
            };
            let mut trace = Trace::default();
            let found = decide(&plan, &query, &mut trace);
            let about = || format!("round {round}: {query:?} in {written:#?}: {found:?}");
            match (&found, naive(&written, &query)) {
                (Ok(decision), Some((line, route))) => {
                    let decided = &plan.tenants[0].routes[decision.route.unwrap()];
                    assert_eq!(decided.line as usize, line + 1, "{}", about());
                    assert!(in_order(route, query.called, &decision.trunks), "{}", about());
                    assert_eq!(trace.matched(), decision.route);
                    routed += 1;
                }
                (Err(_), None) => refused += 1,
                _ => panic!("{}", about()),
            }
            let tried = trace.tried(&plan, &plan.tenants[0]);
            let matched = tried.iter().filter(|route| route.why_not.is_none()).count();
            assert_eq!(matched, usize::from(found.is_ok()), "{}", about());
        }
    }
    assert!(routed > 5_000 && refused > 5_000, "{routed} routed, {refused} refused");
}

#[test]
fn a_route_takes_little_room() {
    assert!(size_of::<Route>() <= 64, "{} octets, a million times", size_of::<Route>());
}
