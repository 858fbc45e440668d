//! `perf route`: what a routing decision costs on a host with ten thousand tenants, beside a router that
//! looks at every route, and what a least-cost table of a million rows takes.

use crate::{allocations, clock, machine};
use b2bua::plan::{
    NumberIndex, NumberRange, Pattern, Patterns, Route, RouteFrom, Step, Steps, Tenant, Trunk,
};
use b2bua::routing::{Query, RateTable, Trace, decide};
use clap::Args;
use serde::Serialize;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Tenants of the host
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    tenants: u32,
    /// Routes of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    routes: u32,
    /// Number ranges of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    numbers: u32,
    /// Rows of the least-cost table
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    rows: u32,
    /// Decisions and look-ups that are timed
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    calls: u32,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The figures.
#[derive(Serialize)]
pub(crate) struct Report {
    tenants: u32,
    routes: u32,
    numbers: u32,
    /// Memory of all tenants and of the number index, as the kernel counts it.
    plan_mib: f64,
    route_octets: usize,
    decide: Cost,
    /// Routes tried before one matched, on average.
    tried: f64,
    naive: Cost,
    /// The naive router's time divided by ours.
    naive_ratio: f64,
    number_to_tenant: Cost,
    /// Memory of one regular expression that has been used.
    regex_octets: f64,
    rows: u32,
    rates_load_ms: f64,
    rates_mib: f64,
    rates_lookup: Cost,
    rates_naive: Cost,
    rates_naive_ratio: f64,
}

/// What one question costs: in the quickest round, as whatever else the machine does only adds, and in the
/// median one.
#[derive(Clone, Copy, Default, Serialize)]
struct Cost {
    ns: f64,
    median_ns: f64,
    allocations: f64,
}

/// Questions of one round: shorter than a time slice, so some rounds are undisturbed, and of so many
/// tenants that what they touch is in no cache.
const ROUND: usize = 1_000;

/// A trunk to Teams, and carriers.
const CARRIERS: usize = 8;
/// Tenants that the naive router knows: it has the same routes as text.
const NAIVE_TENANTS: u32 = 500;
/// Regular expressions whose memory is weighed.
const REGEXES: u32 = 1_000;
/// Calls of the naive routers for each of ours: they are that much slower.
const NAIVE_SHARE: u32 = 5;

/// Measures.
pub(crate) fn run(plan: &Plan) -> Result<Report, Box<dyn Error>> {
    let mut chance = Chance(0x7011_9a7e);
    let before = machine::resident(process::id())?;
    let host = host(plan, &mut chance)?;
    let plan_octets = machine::resident(process::id())?.saturating_sub(before);
    let calls = calls(plan, plan.tenants, plan.calls, &host, &mut chance);
    // The first round is for the caches of the machine, as far as they reach.
    let mut tried = 0;
    decisions(&host, &calls, &mut tried);
    tried = 0;
    let decided = decisions(&host, &calls, &mut tried);

    let few = plan.tenants.min(NAIVE_TENANTS);
    let naive = Naive::of(&host, few);
    let some = self::calls(plan, few, (plan.calls / NAIVE_SHARE).max(1), &host, &mut chance);
    let slow = each(&some, |call| black_box(naive.decide(call)).is_some());
    // The same questions, so that the ratio is of like with like.
    let quick = decisions(&host, &some, &mut 0);

    let number_to_tenant = each(&calls, |call| host.numbers.tenant(&call.own).is_some());
    let regex_octets = weigh_regexes()?;
    let rates = rates(plan, &mut chance)?;
    Ok(Report {
        tenants: plan.tenants,
        routes: plan.routes,
        numbers: plan.numbers,
        plan_mib: mib(plan_octets),
        route_octets: size_of::<Route>(),
        decide: decided,
        tried: f64::from(tried) / calls.len() as f64,
        naive: slow,
        naive_ratio: slow.ns / quick.ns,
        number_to_tenant,
        regex_octets,
        rows: plan.rows,
        rates_load_ms: rates.load.as_secs_f64() * 1e3,
        rates_mib: mib(rates.octets as u64),
        rates_lookup: rates.lookup,
        rates_naive: rates.naive,
        rates_naive_ratio: rates.naive.ns / rates.lookup.ns,
    })
}

/// A call that is asked about.
struct Call {
    tenant: usize,
    called: String,
    /// A number of the tenant.
    own: String,
    draw: u64,
}

fn decisions(host: &b2bua::Plan, calls: &[Call], tried: &mut u32) -> Cost {
    let at = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    each(calls, |call| {
        let query = Query {
            tenant: call.tenant,
            from: RouteFrom::Teams,
            via: 0,
            called: &call.called,
            emergency: false,
            calling: &call.own,
            at,
            draw: call.draw,
        };
        let mut trace = Trace::default();
        let decided = black_box(decide(host, &query, &mut trace));
        *tried += decided.as_ref().map_or(0, |it| it.route.map_or(0, |route| route as u32 + 1));
        decided.is_ok()
    })
}

/// Asks every question once; each has an answer.
fn each(calls: &[Call], mut ask: impl FnMut(&Call) -> bool) -> Cost {
    rounds(calls, |call| assert!(ask(call), "a question has no answer"))
}

/// Asks every question once, round by round.
fn rounds<Q>(questions: &[Q], mut ask: impl FnMut(&Q)) -> Cost {
    let before = allocations::so_far();
    let mut each: Vec<f64> = Vec::new();
    let mut counting = 0;
    for round in questions.chunks(ROUND) {
        let began = clock::monotonic();
        round.iter().for_each(&mut ask);
        each.push(since(began).as_nanos() as f64 / round.len() as f64);
        counting += 1;
    }
    // The list of rounds has grown by doubling.
    let own = u64::from(u32::BITS - u32::leading_zeros(counting));
    let allocations = (allocations::so_far() - before).saturating_sub(own) as f64;
    each.sort_by(f64::total_cmp);
    Cost {
        ns: each.first().copied().unwrap_or_default(),
        median_ns: each.get(each.len() / 2).copied().unwrap_or_default(),
        allocations: allocations / questions.len() as f64,
    }
}

/// Seven in ten routes are for a prefix, the others for a range, a whole number or a list; the last takes
/// what is left.
fn host(plan: &Plan, chance: &mut Chance) -> Result<b2bua::Plan, Box<dyn Error>> {
    let trunk = |index: usize| Trunk { name: format!("t{index}"), ..Trunk::default() };
    let mut ranges = Vec::new();
    let mut tenants = Vec::new();
    for index in 0..plan.tenants {
        let numbers: Vec<NumberRange> = (0..plan.numbers)
            .map(|range| {
                let first = 49_000_000_000 + u64::from(index) * 1_000_000 + u64::from(range) * 100;
                NumberRange { first, last: first + 49, digits: 11 }
            })
            .collect();
        ranges.extend(numbers.iter().map(|range| (*range, index as usize)));
        let to: Vec<Steps> = (0..4)
            .map(|_| {
                let (one, other) = (1 + chance.below(4), 5 + chance.below(4));
                vec![Step::Share([(one, 70), (other, 30)].into())].into()
            })
            .collect();
        let mut routes = Vec::new();
        for line in 0..plan.routes {
            let last = line + 1 == plan.routes;
            let called = if last { Pattern::All.into() } else { pattern(chance)? };
            let to = to.get(chance.below(to.len())).cloned().unwrap_or_default();
            routes.push(Route { called, to, line: line * 4 + 10, ..Route::default() });
        }
        let name = format!("tenant{index}");
        let fqdns = vec![format!("{name}.sbc.example.net")];
        tenants.push(Tenant { name, fqdns, numbers, routes, ..Tenant::default() });
    }
    let numbers = NumberIndex::new(ranges).map_err(|_| "the ranges overlap")?;
    Ok(b2bua::Plan {
        trunks: (0..=CARRIERS).map(trunk).collect(),
        tenants: tenants.into(),
        numbers,
        ..b2bua::Plan::default()
    })
}

fn pattern(chance: &mut Chance) -> Result<Patterns, Box<dyn Error>> {
    let written = match chance.below(20) {
        0..14 => format!("+{}*", chance.digits(3, 7)),
        14..17 => {
            let stem = chance.digits(7, 9);
            format!("+{stem}00-+{stem}99")
        }
        17..19 => format!("+{}", chance.digits(10, 12)),
        _ => {
            let (one, other) = (chance.digits(3, 6), chance.digits(3, 6));
            let list = [format!("+{one}*").parse()?, format!("+{other}*").parse()?];
            return Ok(Vec::<Pattern>::from(list).into());
        }
    };
    Ok(written.parse::<Pattern>()?.into())
}

/// Calls to numbers that some route of their tenant is for: half of the routes are tried, on average.
fn calls(
    plan: &Plan,
    tenants: u32,
    count: u32,
    host: &b2bua::Plan,
    chance: &mut Chance,
) -> Vec<Call> {
    let mut calls = Vec::new();
    for _ in 0..count {
        let tenant = chance.below(tenants as usize);
        let routes = host.tenants.get(tenant).map(|tenant| tenant.routes.as_slice());
        let route = routes.and_then(|routes| routes.get(chance.below(routes.len())));
        let pattern = route.and_then(|route| route.called.as_slice().first());
        let shown = pattern.map(ToString::to_string).unwrap_or_default();
        let stem = shown.split(['-', '*']).next().unwrap_or_default();
        let stem = if stem.is_empty() { "+" } else { stem };
        let missing = 12usize.saturating_sub(stem.len());
        let called = format!("{stem}{}", chance.digits(missing, missing));
        let range = chance.below(plan.numbers as usize) as u64 * 100;
        let own = 49_000_000_000 + tenant as u64 * 1_000_000 + range + chance.below(50) as u64;
        calls.push(Call { tenant, called, own: format!("+{own}"), draw: chance.next() });
    }
    calls
}

/// Routes as text, of which every one is looked at.
struct Naive(Vec<Vec<(u16, Vec<String>, RouteFrom)>>);

impl Naive {
    fn of(host: &b2bua::Plan, tenants: u32) -> Self {
        let of = |tenant: &Tenant| {
            let routes = tenant.routes.iter();
            let text = |pattern: &Pattern| pattern.to_string();
            routes
                .map(|it| (it.priority, it.called.as_slice().iter().map(text).collect(), it.from))
                .collect()
        };
        Self(host.tenants.iter().take(tenants as usize).map(of).collect())
    }

    fn decide(&self, call: &Call) -> Option<usize> {
        let matches = |pattern: &str, number: &str| match pattern.split_once('-') {
            Some((first, last)) => number.len() == first.len() && first <= number && number <= last,
            None => match pattern.strip_suffix('*') {
                Some(stem) => number.starts_with(stem),
                None => number == pattern,
            },
        };
        let routes = self.0.get(call.tenant)?.iter().enumerate();
        let mut all: Vec<_> = routes
            .filter(|(_, (_, patterns, from))| {
                *from == RouteFrom::Teams
                    && patterns.iter().any(|pattern| matches(pattern, &call.called))
            })
            .map(|(index, (priority, ..))| (*priority, index))
            .collect();
        all.sort_unstable();
        all.first().map(|(_, index)| *index)
    }
}

struct Rates {
    load: Duration,
    octets: usize,
    lookup: Cost,
    naive: Cost,
}

/// A table in which most prefixes have a price of several trunks, beside a map that is asked for each
/// length of prefix and each trunk.
fn rates(plan: &Plan, chance: &mut Chance) -> Result<Rates, Box<dyn Error>> {
    let mut text = String::from("prefix,trunk,price\n");
    let mut rows: HashMap<String, Vec<(usize, u32)>> = HashMap::new();
    let mut count = 0;
    while count < plan.rows {
        let prefix = chance.digits(2, 9);
        if rows.contains_key(&prefix) {
            continue;
        }
        let asking = (1 + chance.below(4)).min((plan.rows - count) as usize);
        for trunk in 1..=asking {
            let price = 1_000 + chance.below(90_000) as u32;
            writeln!(text, "+{prefix},t{trunk},0.{price:06}")?;
            rows.entry(prefix.clone()).or_default().push((trunk, price));
            count += 1;
        }
    }
    let began = clock::monotonic();
    let table = RateTable::read(text.as_bytes()).map_err(|wrong| format!("{wrong:?}"))?;
    let load = since(began);
    let numbers: Vec<String> = (0..plan.calls).map(|_| chance.digits(10, 13)).collect();
    let timed = |ask: &dyn Fn(&str) -> usize, numbers: &[String]| {
        rounds(numbers, |number| {
            black_box(ask(number));
        })
    };
    let ours = |number: &str| black_box(table.offers(number)).len();
    let naive = |number: &str| {
        let mut best: HashMap<usize, u32> = HashMap::new();
        for length in (1..=number.len()).rev() {
            for (trunk, price) in
                number.get(..length).and_then(|it| rows.get(it)).into_iter().flatten()
            {
                best.entry(*trunk).or_insert(*price);
            }
        }
        let mut best: Vec<_> = best.into_iter().collect();
        best.sort_by_key(|(trunk, price)| (*price, *trunk));
        black_box(best).len()
    };
    let some = numbers.get(..numbers.len().div_ceil(NAIVE_SHARE as usize)).unwrap_or_default();
    timed(&ours, &numbers);
    Ok(Rates {
        load,
        octets: table.octets(),
        lookup: timed(&ours, &numbers),
        naive: timed(&naive, some),
    })
}

fn since(began: Instant) -> Duration {
    clock::monotonic().saturating_duration_since(began)
}

/// Octets of a regular expression as operators write them, once it has been used.
fn weigh_regexes() -> Result<f64, Box<dyn Error>> {
    let before = machine::resident(process::id())?;
    let mut kept: Vec<Pattern> = Vec::new();
    for index in 0..REGEXES {
        let pattern: Pattern = format!("/^\\+49({}|{})[1-9]/", 30 + index % 60, index).parse()?;
        black_box(pattern.matches("+4930123456"));
        kept.push(pattern);
    }
    let after = machine::resident(process::id())?;
    Ok(after.saturating_sub(before) as f64 / kept.len() as f64)
}

fn mib(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// Chance that is the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A number of so many digits, at least and at most.
    fn digits(&mut self, least: usize, most: usize) -> String {
        let length = least + self.below(most - least + 1);
        let mut text = String::new();
        for index in 0..length {
            let digit = if index == 0 { 1 + self.below(9) } else { self.below(10) };
            let _ = write!(text, "{digit}");
        }
        text
    }
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, routes, numbers, rows, .. } = self;
        writeln!(
            f,
            "{tenants} tenants with {routes} routes and {numbers} number ranges each: {:.0} MiB, {} octets a route",
            self.plan_mib, self.route_octets
        )?;
        writeln!(
            f,
            "a regular expression takes {:.1} KiB once it has been used",
            self.regex_octets / 1024.0
        )?;
        writeln!(f, "{:34} {:>8} {:>8}  allocations", "", "ns", "median")?;
        for (name, cost) in [
            (format!("decision, {:.0} routes tried", self.tried), self.decide),
            ("decision, naive".to_owned(), self.naive),
            ("number to tenant".to_owned(), self.number_to_tenant),
            (format!("least cost in {rows} rows"), self.rates_lookup),
            ("least cost, naive".to_owned(), self.rates_naive),
        ] {
            writeln!(
                f,
                "{name:34} {:8.0} {:8.0}  {:11.1}",
                cost.ns, cost.median_ns, cost.allocations
            )?;
        }
        writeln!(
            f,
            "the naive router takes {:.1} times as long, the naive rates {:.1} times",
            self.naive_ratio, self.rates_naive_ratio
        )?;
        writeln!(f, "rates: read in {:.0} ms, {:.0} MiB", self.rates_load_ms, self.rates_mib)
    }
}
