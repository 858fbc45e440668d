//! `perf reach`: the rows that the packet plane is judged by, one group after the other, each figure a ratio
//! within one run.

mod report;
mod rows;

use super::{Failure, Plan, enter, plot};
use crate::clock;
use clap::{Args, ValueEnum};
use report::{Group, Reached};
use rows::Judge;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rows, and how well they are to be known.
#[derive(Args, Clone)]
pub(crate) struct Wish {
    /// Only these groups of rows; all where none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Name>,
    /// How long each relay is measured in each round of the open loop
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// How often the relays take turns; two more rounds in the closed loop
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Packets of each relay and round in the closed loop
    #[arg(long, default_value_t = 250_000)]
    packets: u32,
    /// Keeps the groups that the file of `--json` has already; those that `--only` names are measured anew
    #[arg(long, requires = "json")]
    resume: bool,
    /// Writes the figures as one JSON object, after each group
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the group `load`: cost and latency over the number of calls
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// portable, steer and xdp at 500 calls in the closed loop, beside floor and rtpengine
    Cost,
    /// The same in the open loop
    CostOpen,
    /// The same in the closed loop at 2,000 calls, beside the floor
    Many,
    /// The kernel sends packets on, at 500 calls in the closed loop, beside floor and rtpengine
    Offload,
    /// The same in the open loop
    OffloadOpen,
    /// The same in the closed loop at 2,000 calls, beside the floor
    OffloadMany,
    /// The most calls on one core, beside rtpengine's, and latency at half of them
    Capacity,
    /// Memory per leg at 5,000 calls
    Memory,
    /// Cost per packet at 5,000 calls beside 500
    Scaling,
    /// Two workers on two processors beside one on one
    Workers,
    /// Cost and latency from 100 to 2,000 calls
    Load,
    /// CPU per call of signalling, beside Kamailio's
    Sip,
}

/// Judges all groups that are wished for. Each is written down as soon as it is known.
pub(crate) fn run(wish: &Wish) -> Result<Reached, Failure> {
    let mut reached = match (&wish.json, wish.resume) {
        (Some(path), true) if path.exists() => read(path)?,
        _ => Reached::default(),
    };
    let plan = Plan {
        seconds: wish.seconds,
        rounds: wish.rounds,
        packets: wish.packets,
        ..Plan::default()
    };
    let names: Vec<Name> = Name::value_variants()
        .iter()
        .copied()
        .filter(|name| match wish.only.as_slice() {
            [] => !reached.has(*name),
            only => only.contains(name),
        })
        .collect();
    let mut left: u32 = names.iter().map(|&name| rows::seconds(name, &plan)).sum();
    crate::complain(&format!("{} groups, about {} min", names.len(), left.div_ceil(60)));
    if names.is_empty() {
        // What is known already can be said and drawn again.
        write(wish, &reached)?;
        return Ok(reached);
    }
    enter(&plan)?;
    for (place, &name) in names.iter().enumerate() {
        let seconds = rows::seconds(name, &plan);
        crate::complain(&format!(
            "{} of {}: {name:?}, about {seconds} s (all that is left: {} min)",
            place + 1,
            names.len(),
            left.div_ceil(60),
        ));
        left -= seconds;
        reached.groups.insert(name, judge(name, &plan));
        write(wish, &reached)?;
    }
    Ok(reached)
}

/// An engine that this host cannot have, or that did not carry its calls, leaves its group open; others go on.
fn judge(name: Name, plan: &Plan) -> Group {
    let begun = clock::monotonic();
    let mut judge = Judge::new(plan);
    if let Err(error) = judge.look(name) {
        judge.group.left_open = Some(error.to_string());
    }
    if let Some(why) = &judge.group.left_open {
        crate::complain(&format!("{name:?} is left open: {why}"));
    }
    Group { took_seconds: (clock::monotonic() - begun).as_secs(), ..judge.group }
}

fn read(path: &Path) -> Result<Reached, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn write(wish: &Wish, reached: &Reached) -> Result<(), Failure> {
    let put = |path: &PathBuf, text: String| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = wish.json.as_ref().filter(|path| path.as_os_str() != "-") {
        put(path, serde_json::to_string(reached)?)?;
    }
    if let (Some(path), Some(rows)) = (&wish.plot, reached.load()) {
        put(path, plot::draw(LOAD, rows))?;
    }
    Ok(())
}

/// What the picture shows.
const LOAD: &str = "RTP to SRTP through one core, over veth, 50 packets/s each way in each call";
