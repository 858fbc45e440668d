//! The figures of `perf media`, for people and for programs.

use super::measured::{Measured, Spread, median};
use super::order::{Legs, NOTHING, Net, Sink, Suite};
use super::{Failure, Loop, Plan, plot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    legs: Legs,
    /// Where a leg is encrypted.
    suite: Suite,
    net: Net,
    sink: Sink,
    #[serde(rename = "loop")]
    pace: Loop,
    /// Packets at once in the closed loop.
    batch: Option<u32>,
    seconds: u32,
    rounds: u32,
    workers: usize,
    rows: Vec<Row>,
}

/// One number of calls.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) calls: u16,
    packets_per_second: u32,
    pub(super) runs: Vec<Measured>,
    /// What could not be measured, and why.
    pub(super) left_out: Vec<String>,
    /// CPU per packet of each relay.
    pub(super) cost_us: BTreeMap<String, Spread>,
    /// That of each divided by the floor's of the same round.
    pub(super) to_floor: BTreeMap<String, Spread>,
    /// That of each divided by rtpengine's of the same round.
    pub(super) to_rtpengine: BTreeMap<String, Spread>,
}

impl Row {
    pub(super) fn new(calls: u16, runs: Vec<Measured>, left_out: Vec<String>) -> Self {
        let mut names: Vec<&str> = runs.iter().map(|run| run.relay.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let cost = |name: &str, round| {
            let mut runs = runs.iter();
            let run = runs.find(|run| run.relay == name && run.round == round);
            run.map_or(f64::NAN, |run| run.cpu_us_per_packet)
        };
        let rounds = runs.iter().map(|run| run.round).max().unwrap_or(0);
        let ratios = |to: &str| -> BTreeMap<String, Spread> {
            let others = names.iter().filter(|&&name| name != to && name != NOTHING);
            let others = others.map(|&name| {
                let ratios = (1..=rounds).map(|round| cost(name, round) / cost(to, round));
                (name.to_owned(), median(ratios.collect()))
            });
            others.filter(|(_, spread)| spread.median.is_finite()).collect()
        };
        let cost_us = names.iter().map(|&name| {
            let costs = (1..=rounds).map(|round| cost(name, round)).collect();
            (name.to_owned(), median(costs))
        });
        Self {
            calls,
            packets_per_second: 100 * u32::from(calls),
            cost_us: cost_us.collect(),
            to_floor: ratios("floor"),
            to_rtpengine: ratios("rtpengine"),
            runs,
            left_out,
        }
    }
}

impl Report {
    pub(super) fn new(plan: &Plan, rows: Vec<Row>) -> Self {
        Self {
            legs: plan.legs,
            suite: plan.suite,
            net: plan.net,
            sink: plan.sink,
            pace: plan.pace,
            batch: (plan.pace == Loop::Closed).then_some(plan.batch),
            seconds: plan.seconds,
            rounds: plan.rounds,
            workers: plan.workers,
            rows,
        }
    }

    /// Writes what was asked for and gives back what is to be said.
    pub(crate) fn deliver(&self, plan: &Plan) -> Result<String, Failure> {
        if let Some(path) = &plan.plot {
            fs::write(path, plot::draw(&self.title(), &self.rows))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let json = serde_json::to_string(self)?;
        match &plan.json {
            Some(path) if path.as_os_str() == "-" => return Ok(json),
            Some(path) => {
                fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            None => {}
        }
        Ok(self.to_string())
    }

    fn title(&self) -> String {
        let net = if self.net == Net::Veth { "veth" } else { "the loopback" };
        let suite = match (self.legs, self.suite) {
            (Legs::RtpRtp, _) | (_, Suite::AesCm) => "",
            (_, Suite::AesGcm) => " (AES-GCM)",
        };
        let loops = match self.batch {
            Some(batch) => format!("closed loop, {batch} packets at once"),
            None => format!("open loop, {} s per run", self.seconds),
        };
        format!("{}{suite} over {net}, {loops}", self.legs.name())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        let opened_by = self.rows.iter().flat_map(|row| &row.runs).map(|run| &*run.opened_by).max();
        writeln!(f, "samples opened by {}", opened_by.unwrap_or("nobody"))?;
        for row in &self.rows {
            write!(f, "\n{row}")?;
        }
        let mut runs = self.rows.iter().flat_map(|row| &row.runs);
        if self.pace == Loop::Open && runs.any(|run| run.late_share > LATE_TOO_OFTEN) {
            writeln!(f, "\nwhere the generator was often late, latency and loss may be its own")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} calls, {} packets/s", self.calls, self.packets_per_second)?;
        writeln!(
            f,
            "round  relay                 us/packet  of relay  arrivals  cores    p50 us   p99 us  p99.9 us      lost  late  \
             whole"
        )?;
        for run in &self.runs {
            let latency = run.latency_us;
            writeln!(
                f,
                "{:>5}  {:<20}  {:>9.2}  {:>8.2}  {:>8.2}  {:>5.2}  {:>8.0} {:>8.0}  {:>8.0}  {:>8}  {:>3.0}%  {}",
                run.round,
                run.relay,
                run.cpu_us_per_packet,
                run.relay_us_per_packet,
                run.arrivals_us_per_packet,
                run.cores,
                latency.p50,
                latency.p99,
                latency.p999,
                run.lost,
                100.0 * run.late_share,
                whole(run),
            )?;
        }
        self.carried(f)?;
        for why in &self.left_out {
            writeln!(f, "left out: {why}")?;
        }
        for run in self.runs.iter().filter(|run| run.lost > 0) {
            let Measured { round, relay, lost, lost_at, held_up_ms, .. } = run;
            writeln!(f, "round {round}, {relay}: {lost} lost; since it stands {lost_at}")?;
            if *held_up_ms > HELD_UP_MS {
                writeln!(
                    f,
                    "  the machine took its processor away for {held_up_ms:.0} ms at once"
                )?;
            }
        }
        for (to, ratios) in [("floor", &self.to_floor), ("rtpengine", &self.to_rtpengine)] {
            for (name, Spread { median, low, high }) in ratios {
                writeln!(f, "{name}/{to}, CPU per packet: {median:.3} ({low:.3} to {high:.3})")?;
            }
        }
        Ok(())
    }
}

impl Row {
    /// What carried ours in the end, in all rounds together.
    fn carried(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
        for run in &self.runs {
            for carried in &run.carried {
                let key = (&*run.relay, &*carried.by);
                all.entry(key).or_insert((0, &carried.why_not_faster)).0 += carried.legs;
            }
        }
        for ((relay, by), (legs, why)) in all {
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            writeln!(f, "{relay}: {by} carried {legs} legs{why}")?;
        }
        Ok(())
    }
}

fn whole(run: &Measured) -> String {
    if run.relay == NOTHING {
        return "-".to_owned();
    }
    let mut whole = format!("{} of {}", run.looked_at - run.damaged, run.looked_at);
    if run.wrong_port > 0 {
        whole.push_str(&format!(", {} from a wrong port", run.wrong_port));
    }
    whole
}

/// Who does not run for so long has more packets waiting than some rings and the cable have places.
pub(super) const HELD_UP_MS: f64 = 3.0;
/// A generator that misses more of its slots than this was not alone on its CPU.
const LATE_TOO_OFTEN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round() {
        let run = |round, relay: &str, cost| Measured {
            round,
            relay: relay.to_owned(),
            cpu_us_per_packet: cost,
            ..Measured::default()
        };
        let runs = vec![
            run(1, "floor", 10.0),
            run(1, "portable", 9.0),
            run(2, "floor", 20.0),
            run(2, "portable", 16.0),
            run(3, "floor", 10.0),
            run(3, "portable", 10.0),
        ];
        let row = Row::new(10, runs, Vec::new());
        let Spread { median, low, high } = row.to_floor["portable"];
        assert_eq!((low, median, high), (0.8, 0.9, 1.0));
        assert!(row.to_rtpengine.is_empty());
    }
}
