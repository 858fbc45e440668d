//! `perf reach`: the rows that the packet plane is judged by, one after the other, each a ratio within one run.

use super::capacity::{self, Capacity};
use super::measured::{Measured, Spread, median};
use super::order::{Datapath, Legs, Net, Relay};
use super::report::Row;
use super::{Failure, Loop, Plan, enter, measure, one};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// Which rows.
#[derive(Args, Clone)]
pub(crate) struct Wish {
    /// Only these rows; all where none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Name>,
    /// How long each relay is measured in each round of the open loop
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// How often the relays take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Figures of `perf sip --json` that are to stand in the same report
    #[arg(long, value_name = "FILE")]
    sip: Option<PathBuf>,
    /// Writes the figures as one JSON object, `-` for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Portable,
    Steer,
    Xdp,
    Offload,
    Capacity,
    Memory,
    Scaling,
    Workers,
}

/// All that was looked at.
#[derive(Serialize)]
pub(crate) struct Reached {
    goals: Vec<Goal>,
    capacities: Vec<Capacity>,
    /// Rows that could not be looked at.
    left_open: Vec<String>,
    rows: Vec<Looked>,
    sip: Option<serde_json::Value>,
}

/// One goal and how near it is.
#[derive(Serialize)]
struct Goal {
    what: String,
    /// Where it has to be at most, or at least.
    bound: Bound,
    unit: &'static str,
    found: Spread,
    reached: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What a goal was judged by.
#[derive(Serialize)]
struct Looked {
    what: String,
    #[serde(flatten)]
    row: Row,
}

impl Goal {
    fn new(what: impl Into<String>, bound: Bound, unit: &'static str, found: Spread) -> Self {
        let reached = match bound {
            Bound::AtMost(most) => found.median <= most,
            Bound::AtLeast(least) => found.median >= least,
        };
        Self { what: what.into(), bound, unit, found, reached }
    }
}

/// Judges all rows that are wished for.
pub(crate) fn run(wish: &Wish) -> Result<Reached, Failure> {
    let sip = wish.sip.as_ref().map(|path| -> Result<_, Failure> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    });
    let plan = Plan { seconds: wish.seconds, rounds: wish.rounds, ..Plan::default() };
    enter(&plan)?;
    let mut judge = Judge {
        plan,
        reached: Reached {
            goals: Vec::new(),
            capacities: Vec::new(),
            left_open: Vec::new(),
            rows: Vec::new(),
            sip: sip.transpose()?,
        },
    };
    for (name, look) in ROWS {
        if wish.only.is_empty() || wish.only.contains(name) {
            // An engine that this host cannot have leaves its rows open, and others go on.
            if let Err(error) = look(&mut judge) {
                judge.reached.left_open.push(format!("{name:?}: {error}"));
            }
        }
    }
    Ok(judge.reached)
}

type Look = fn(&mut Judge) -> Result<(), Failure>;

const ROWS: &[(Name, Look)] = &[
    (Name::Portable, Judge::portable),
    (Name::Steer, Judge::steer),
    (Name::Xdp, Judge::xdp),
    (Name::Offload, Judge::offload),
    (Name::Capacity, Judge::capacity),
    (Name::Memory, Judge::memory),
    (Name::Scaling, Judge::scaling),
    (Name::Workers, Judge::workers),
];

struct Judge {
    plan: Plan,
    reached: Reached,
}

impl Judge {
    /// One row in turn with floor and, where `beside` says so, rtpengine.
    fn look(
        &mut self,
        plan: Plan,
        calls: u16,
        beside: &[Relay],
    ) -> Result<(&Row, String), Failure> {
        let pace = if plan.pace == Loop::Closed { "closed loop" } else { "open loop" };
        let what = format!("{}, {}, {calls} calls, {pace}", engine_of(&plan), plan.legs.name());
        let row = measure(&plan, beside, calls)?;
        self.reached.rows.push(Looked { what: what.clone(), row });
        let row = self.reached.rows.last().map(|looked| &looked.row).ok_or("no row")?;
        Ok((row, what))
    }

    /// Its cost beside the floor's, at most `most` of it; and rtpengine's beside its own, at least `times`.
    fn beside(
        &mut self,
        plan: &Plan,
        calls: u16,
        pace: Loop,
        most: f64,
        times: Option<f64>,
    ) -> Result<(), Failure> {
        let mut relays = vec![Relay::Floor];
        if times.is_some() {
            relays.push(Relay::Rtpengine);
        }
        let engine = plan.engine.name();
        let plan = Plan { pace, ..plan.clone() };
        let (row, what) = self.look(plan, calls, &relays)?;
        let spread = |of: Option<&Spread>| of.copied().unwrap_or(Spread::NONE);
        let to_floor = spread(row.to_floor.get(engine));
        let to_rtpengine = spread(row.to_rtpengine.get(engine)).inverse();
        self.add(Goal::new(&what, Bound::AtMost(most), "of the floor's cost", to_floor));
        if let Some(times) = times {
            let unit = "times cheaper than rtpengine";
            self.add(Goal::new(what, Bound::AtLeast(times), unit, to_rtpengine));
        }
        Ok(())
    }

    fn add(&mut self, goal: Goal) {
        self.reached.goals.push(goal);
    }

    fn portable(&mut self) -> Result<(), Failure> {
        let plan = Plan { net: Net::Loopback, ..self.plan.clone() };
        self.beside(&plan, 500, Loop::Open, 1.1, None)?;
        let plan = self.plan.clone();
        self.beside(&plan, 500, Loop::Open, 1.1, None)?;
        self.beside(&plan, 500, Loop::Closed, 1.1, None)
    }

    fn steer(&mut self) -> Result<(), Failure> {
        let plan = Plan { engine: Datapath::Steer, ..self.plan.clone() };
        self.beside(&plan, 500, Loop::Open, 0.5, None)?;
        self.beside(&plan, 500, Loop::Closed, 0.5, None)
    }

    fn xdp(&mut self) -> Result<(), Failure> {
        let plan = Plan { engine: Datapath::Xdp, ..self.plan.clone() };
        self.beside(&plan, 500, Loop::Open, 0.3, Some(6.0))?;
        self.beside(&plan, 2000, Loop::Closed, 0.3, None)
    }

    fn offload(&mut self) -> Result<(), Failure> {
        for (engine, most) in [(Datapath::Xdp, 0.08), (Datapath::Portable, 0.2)] {
            let plan = Plan { engine, offload: true, legs: Legs::RtpRtp, ..self.plan.clone() };
            self.beside(&plan, 500, Loop::Open, most, Some(20.0))?;
            self.beside(&plan, 2000, Loop::Closed, most, None)?;
        }
        Ok(())
    }

    fn capacity(&mut self) -> Result<(), Failure> {
        let engines = [Datapath::Xdp, Datapath::Steer, Datapath::Portable];
        for engine in engines {
            let plan = Plan { engine, seconds: 2, ..self.plan.clone() };
            let relays = [Relay::Rtpengine, Relay::Ours];
            let found = capacity::of(&plan, &relays, 200, super::MAX_CALLS as u16)?;
            if let [theirs, ours] = found.as_slice() {
                let times = f64::from(ours.calls) / f64::from(theirs.calls.max(1));
                let what = format!("{}, {}, calls on one core", engine.name(), plan.legs.name());
                let found = Spread::one(times);
                self.add(Goal::new(what, Bound::AtLeast(8.0), "times rtpengine's", found));
            }
            let half = found.last().map_or(1, |ours| ours.calls / 2).max(1);
            self.reached.capacities.extend(found);
            let rounds: Vec<Measured> = (0..plan.rounds)
                .map(|_| one(&plan, Relay::Ours, half))
                .collect::<Result<_, _>>()?;
            let of = |at: fn(&Measured) -> f64| median(rounds.iter().map(at).collect());
            let what = format!("{}, added latency at {half} calls, ", engine.name());
            let p50 = of(|run| run.latency_us.p50 / 1e3);
            let p99 = of(|run| run.latency_us.p99 / 1e3);
            self.add(Goal::new(format!("{what}p50"), Bound::AtMost(0.6), "ms", p50));
            self.add(Goal::new(format!("{what}p99"), Bound::AtMost(2.0), "ms", p99));
        }
        Ok(())
    }

    fn memory(&mut self) -> Result<(), Failure> {
        for (engine, calls) in
            [(Datapath::Portable, MANY_SOCKETS), (Datapath::Steer, MANY), (Datapath::Xdp, MANY)]
        {
            let plan = Plan { engine, seconds: 1, ..self.plan.clone() };
            let run = one(&plan, Relay::Ours, calls)?;
            let legs = 2.0 * f64::from(calls);
            let grown = run.resident.saturating_sub(run.resident_before) as f64;
            let what =
                format!("{}, {}, memory per leg at {calls} calls", engine.name(), plan.legs.name());
            self.add(Goal::new(what, Bound::AtMost(4.0), "kB", Spread::one(grown / legs / 1e3)));
        }
        Ok(())
    }

    /// Cost per packet at many calls beside that at few, the batch being the same.
    fn scaling(&mut self) -> Result<(), Failure> {
        for (engine, many) in
            [(Datapath::Portable, MANY_SOCKETS), (Datapath::Steer, MANY), (Datapath::Xdp, MANY)]
        {
            let plan = Plan { engine, pace: Loop::Closed, ..self.plan.clone() };
            let ratios = (0..SCALING_ROUNDS).map(|_| -> Result<f64, Failure> {
                let mut cost = [0.0; 2];
                for (calls, cost) in [FEW, many].into_iter().zip(&mut cost) {
                    let nothing = one(&plan, Relay::Nothing, calls)?;
                    let ours = one(&plan, Relay::Ours, calls)?;
                    *cost = ours.cpu_us_per_packet - nothing.cpu_us_per_packet;
                }
                Ok(cost[1] / cost[0])
            });
            let ratios = median(ratios.collect::<Result<_, _>>()?);
            let what =
                format!("{}, {}, {many} calls beside {FEW}", engine.name(), plan.legs.name());
            self.add(Goal::new(what, Bound::AtMost(1.25), "of the cost", ratios));
        }
        Ok(())
    }

    /// Two workers beside one on the same processor: what they shared would show as cost.
    fn workers(&mut self) -> Result<(), Failure> {
        for engine in [Datapath::Portable, Datapath::Steer, Datapath::Xdp] {
            let ratios = (0..self.plan.rounds).map(|_| -> Result<f64, Failure> {
                let mut cost = [0.0; 2];
                for (workers, cost) in [1, 2].into_iter().zip(&mut cost) {
                    let plan = Plan { engine, workers, ..self.plan.clone() };
                    *cost = one(&plan, Relay::Ours, FEW)?.cpu_us_per_packet;
                }
                Ok(cost[1] / cost[0])
            });
            let ratios = median(ratios.collect::<Result<_, _>>()?);
            let what = format!("{}, two workers beside one, {FEW} calls", engine.name());
            self.add(Goal::new(what, Bound::AtMost(1.25), "of the cost", ratios));
        }
        Ok(())
    }
}

fn engine_of(plan: &Plan) -> String {
    let offload = if plan.offload { " with offload" } else { "" };
    let net = if plan.net == Net::Veth { "" } else { ", loopback" };
    format!("{}{offload}{net}", plan.engine.name())
}

impl Reached {
    /// Writes what was asked for and gives back what is to be said.
    pub(crate) fn deliver(&self, wish: &Wish) -> Result<String, Failure> {
        let json = serde_json::to_string(self)?;
        match &wish.json {
            Some(path) if path.as_os_str() == "-" => Ok(json),
            Some(path) => {
                fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(self.to_string())
            }
            None => Ok(self.to_string()),
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Looked { what, row } in &self.rows {
            writeln!(f, "{what}\n{row}")?;
        }
        writeln!(f, "| what | reach | found (lowest to highest) | |\n|---|---|---|---|")?;
        for Goal { what, bound, unit, found, reached } in &self.goals {
            let (word, limit) = match *bound {
                Bound::AtMost(most) => ("at most", most),
                Bound::AtLeast(least) => ("at least", least),
            };
            let Spread { median, low, high } = found;
            let verdict = if *reached {
                "reached".to_owned()
            } else {
                format!("missed by {:.0} %", 100.0 * (median / limit - 1.0).abs())
            };
            writeln!(
                f,
                "| {what} | {word} {limit} {unit} | {median:.3} ({low:.3} to {high:.3}) | {verdict} |"
            )?;
        }
        for why in &self.left_open {
            writeln!(f, "\nleft open: {why}")?;
        }
        if let Some(sip) = &self.sip {
            writeln!(f, "\ncalls, CPU per call beside Kamailio's: {}", sip["ratios"])?;
        }
        Ok(())
    }
}

const FEW: u16 = 500;
const MANY: u16 = 5000;
/// With a socket for each of four ports, as many as the usual limit of 20,000 descriptors lets be.
const MANY_SOCKETS: u16 = 4900;
const SCALING_ROUNDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_on_its_side() {
        let found = Spread::one(0.5);
        assert!(Goal::new("", Bound::AtMost(0.5), "", found).reached);
        assert!(!Goal::new("", Bound::AtMost(0.4), "", found).reached);
        assert!(Goal::new("", Bound::AtLeast(0.5), "", found).reached);
        assert!(!Goal::new("", Bound::AtLeast(0.6), "", found).reached);
        let nothing = Goal::new("", Bound::AtMost(1.0), "", Spread::NONE);
        assert!(!nothing.reached, "what was not measured is not reached");
    }
}
