//! `perf capacity`: how many calls one processor carries, for our engine and for others, step by step in turn.

use super::measured::{Measured, Percentiles};
use super::order::{Datapath, Legs, Net, Relay};
use super::{Against, Failure, MAX_CALLS, Plan, enter, name, one};
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// What is to be found out.
#[derive(Args, Clone)]
pub(crate) struct Search {
    /// What the two legs carry
    #[arg(long, value_enum, default_value = "rtp-srtp")]
    legs: Legs,
    /// Which of our engines
    #[arg(long, value_enum, default_value = "portable")]
    engine: Datapath,
    /// Streams that nothing has to be done to may be forwarded within the kernel
    #[arg(long)]
    offload: bool,
    /// Whose capacity is looked for in the same run
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rtpengine")]
    against: Vec<Against>,
    /// Where packets cross
    #[arg(long, value_enum, default_value = "veth")]
    net: Net,
    /// How long each number of calls is held
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// The number of calls to begin with
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=MAX_CALLS))]
    from: u16,
    /// Beyond so many calls nobody is asked
    #[arg(long, default_value_t = MAX_CALLS as u16, value_parser = clap::value_parser!(u16).range(1..=MAX_CALLS))]
    most: u16,
    /// Writes the figures as one JSON object, `-` for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found.
#[derive(Serialize)]
pub(crate) struct Capacities {
    legs: Legs,
    net: Net,
    seconds: u32,
    found: Vec<Capacity>,
}

/// How far one relay goes.
#[derive(Serialize)]
pub(super) struct Capacity {
    pub(super) relay: String,
    /// The most calls with p50 below a millisecond and nothing lost.
    pub(super) calls: u16,
    /// It was not the relay that ended the search.
    pub(super) at_least: bool,
    pub(super) cpu_us_per_packet: f64,
    pub(super) cores: f64,
    pub(super) latency_us: Percentiles,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    calls: u16,
    carried: bool,
    p50_us: f64,
    lost: u64,
    late_share: f64,
}

/// Looks for the capacity of all that is asked for, one step of each after the other.
pub(crate) fn run(search: &Search) -> Result<Capacities, Failure> {
    let plan = Plan {
        legs: search.legs,
        engine: search.engine,
        offload: search.offload,
        net: search.net,
        seconds: search.seconds,
        ..Plan::default()
    };
    enter(&plan)?;
    let mut relays: Vec<Relay> = search.against.iter().map(|&against| against.into()).collect();
    relays.push(Relay::Ours);
    let found = of(&plan, &relays, search.from, search.most)?;
    Ok(Capacities { legs: search.legs, net: search.net, seconds: search.seconds, found })
}

pub(super) fn of(
    plan: &Plan,
    relays: &[Relay],
    from: u16,
    most: u16,
) -> Result<Vec<Capacity>, Failure> {
    let mut all: Vec<_> =
        relays.iter().map(|&relay| (relay, Bracket::new(from, most), Vec::new(), None)).collect();
    loop {
        let mut over = true;
        for (relay, bracket, steps, best) in &mut all {
            let Some(calls) = bracket.next() else { continue };
            over = false;
            // A single failure may be the machine's.
            let mut measured = one(plan, *relay, calls)?;
            if !carried(&measured) {
                measured = one(plan, *relay, calls)?;
            }
            let carried = carried(&measured);
            bracket.learn(calls, carried);
            steps.push(Step {
                calls,
                carried,
                p50_us: measured.latency_us.p50,
                lost: measured.lost,
                late_share: measured.late_share,
            });
            if carried {
                *best = Some(measured);
            }
        }
        if over {
            break;
        }
    }
    let capacity =
        |(relay, bracket, steps, best): (Relay, Bracket, Vec<Step>, Option<Measured>)| {
            let best = best.unwrap_or_default();
            let late = |step: &Step| !step.carried && step.late_share > LATE;
            Capacity {
                relay: name(plan, relay).to_owned(),
                calls: bracket.good,
                at_least: bracket.good >= most || steps.iter().any(late),
                cpu_us_per_packet: best.cpu_us_per_packet,
                cores: best.cores,
                latency_us: best.latency_us,
                steps,
            }
        };
    Ok(all.into_iter().map(capacity).collect())
}

/// What usable means.
fn carried(measured: &Measured) -> bool {
    measured.lost == 0 && measured.latency_us.p50 < 1000.0
}

/// Between how many calls the answer lies.
#[derive(Debug)]
struct Bracket {
    good: u16,
    bad: Option<u16>,
    from: u16,
    most: u16,
}

impl Bracket {
    fn new(from: u16, most: u16) -> Self {
        Self { good: 0, bad: None, from: from.min(most), most }
    }

    /// What is to be tried; none once the answer is known to a twentieth.
    fn next(&self) -> Option<u16> {
        match self.bad {
            None if self.good == 0 => Some(self.from),
            None if self.good >= self.most => None,
            None => Some(self.good.saturating_mul(2).min(self.most)),
            Some(bad) => {
                let apart = bad - self.good;
                (apart > (self.good / 20).max(10)).then(|| self.good + apart / 2)
            }
        }
    }

    fn learn(&mut self, calls: u16, carried: bool) {
        if carried {
            self.good = self.good.max(calls);
        } else {
            self.bad = Some(self.bad.unwrap_or(u16::MAX).min(calls));
        }
    }
}

impl Capacities {
    /// Writes what was asked for and gives back what is to be said.
    pub(crate) fn deliver(&self, search: &Search) -> Result<String, Failure> {
        let json = serde_json::to_string(self)?;
        match &search.json {
            Some(path) if path.as_os_str() == "-" => Ok(json),
            Some(path) => {
                fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(self.to_string())
            }
            None => Ok(self.to_string()),
        }
    }
}

impl fmt::Display for Capacities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { legs, seconds, found, .. } = self;
        writeln!(
            f,
            "{}: calls on one processor with p50 below 1 ms and nothing lost in {seconds} s\n",
            legs.name()
        )?;
        writeln!(f, "relay         calls  us/packet  cores   p50 us   p99 us  p99.9 us")?;
        for capacity in found {
            let Capacity { relay, calls, at_least, cpu_us_per_packet, cores, latency_us, .. } =
                capacity;
            writeln!(
                f,
                "{relay:<10}  {:>2}{calls:>5}  {cpu_us_per_packet:>9.2}  {cores:>5.2}  {:>7.0}  {:>7.0}  {:>8.0}",
                if *at_least { ">=" } else { "" },
                latency_us.p50,
                latency_us.p99,
                latency_us.p999,
            )?;
        }
        let ours = found.last().map_or(0, |ours| ours.calls);
        for other in found.iter().rev().skip(1) {
            let ratio = f64::from(ours) / f64::from(other.calls.max(1));
            writeln!(f, "\nours/{}: {ratio:.1} times the calls", other.relay)?;
        }
        Ok(())
    }
}

/// A generator that was late so often ended the search, not the relay.
const LATE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::Bracket;

    fn search(limit: u16, from: u16, most: u16) -> (u16, usize) {
        let mut bracket = Bracket::new(from, most);
        let mut steps = 0;
        while let Some(calls) = bracket.next() {
            bracket.learn(calls, calls <= limit);
            steps += 1;
        }
        (bracket.good, steps)
    }

    #[test]
    fn a_limit_is_found_to_a_twentieth_in_few_steps() {
        for limit in [205, 640, 1000, 5000] {
            let (found, steps) = search(limit, 200, 13_000);
            assert!(found <= limit && limit - found <= limit / 20 + 10, "{limit}: {found}");
            assert!(steps < 14, "{limit}: {steps} steps");
        }
    }

    #[test]
    fn who_carries_everything_or_nothing_ends_the_search() {
        assert_eq!(search(60_000, 200, 13_000).0, 13_000);
        let (found, steps) = search(0, 200, 13_000);
        assert!(found == 0 && steps < 8);
    }
}
