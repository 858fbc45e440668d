//! `perf media`: our engine, rtpengine and the floor in turn, under the same calls.

pub(crate) mod capacity;
mod live;
mod loopback;
mod measured;
pub(crate) mod order;
mod ours;
mod plot;
pub(crate) mod reach;
pub(crate) mod relay;
mod report;
mod rtpengine;
mod subject;
mod verify;
mod veth;
mod wire;

use crate::machine;
use clap::{Args, ValueEnum};
use loopback::FarSides;
use measured::Measured;
use order::{Datapath, Hook, Legs, NOTHING, Net, Order, Relay, Sink, Suite, Way};
pub(crate) use report::Report;
use report::Row;
use serde::Serialize;
use std::error::Error;
use std::path::PathBuf;

type Failure = Box<dyn Error>;

/// What is to be measured.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// Calls at once: each is 100 forwarded packets a second. Several numbers are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = clap::value_parser!(u16).range(1..=MAX_CALLS))]
    calls: Vec<u16>,
    /// What the two legs carry
    #[arg(long, value_enum, default_value = "rtp-srtp")]
    legs: Legs,
    /// What encrypted legs are encrypted by
    #[arg(long, value_enum, default_value = "aes-cm")]
    suite: Suite,
    /// Which of our engines
    #[arg(long, value_enum, value_delimiter = ',', default_value = "portable")]
    engine: Vec<Datapath>,
    /// Streams that nothing has to be done to are sent on by the kernel, in the driver or before the stack
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "xdp")]
    offload: Option<Hook>,
    /// What ours is measured beside
    #[arg(long, value_enum, value_delimiter = ',', default_value = "floor")]
    against: Vec<Against>,
    /// Where packets cross
    #[arg(long, value_enum, default_value = "loopback")]
    net: Net,
    /// What takes the packets of all relays over veth
    #[arg(long, value_enum, default_value = "xdp")]
    sink: Sink,
    /// Packets by the clock, or each batch once the one before is done with (only over veth)
    #[arg(long = "loop", value_enum, default_value = "open")]
    pace: Loop,
    /// Packets at once in the closed loop
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: u32,
    /// Packets of each relay and round in the closed loop
    #[arg(long, default_value_t = 400_000)]
    packets: u32,
    /// How long each relay is measured in each round of the open loop
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// How often the relays take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Media cores of ours, and threads of rtpengine
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Writes the figures as one JSON object, `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draws cost and latency over the number of calls
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

/// What ours is measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    Floor,
    Rtpengine,
}

/// What sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Loop {
    /// 50 packets a second of each stream
    Open,
    /// The relay
    Closed,
}

/// Measures all relays, round by round, so that a drift of the machine meets all.
pub(crate) fn run(plan: &Plan) -> Result<Report, Failure> {
    if plan.net == Net::Loopback && plan.pace == Loop::Closed {
        return Err("the closed loop needs --net veth".into());
    }
    enter(plan)?;
    let relays = plan.relays();
    let rows = plan.calls.iter().map(|&calls| measure(plan, &relays, calls));
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    Ok(Report::new(plan, rows))
}

/// These relays at one number of calls, round by round.
fn measure(plan: &Plan, relays: &[Relay], calls: u16) -> Result<Row, Failure> {
    let mut relays = relays.to_vec();
    if plan.pace == Loop::Closed {
        relays.insert(0, Relay::Nothing);
    }
    let (mut runs, mut left_out) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let first = runs.len();
        let mut standing = Vec::new();
        for relay in relays {
            match one(plan, relay, calls) {
                Ok(measured) => {
                    runs.push(Measured { round, ..measured });
                    standing.push(relay);
                }
                // What cannot be had here, or was carried by another way, is no reason to know nothing of the
                // others.
                Err(why) if matches!(relay, Relay::Ours(_)) => left_out.push(why.to_string()),
                Err(why) => return Err(why),
            }
        }
        relays = standing;
        if plan.pace == Loop::Closed {
            take_off_nothing(&mut runs[first..]);
        }
    }
    if !relays.iter().any(|relay| matches!(relay, Relay::Ours(_))) {
        return Err(left_out.join("; ").into());
    }
    Ok(Row::new(calls, runs, left_out))
}

/// Makes room for the far sides.
fn enter(plan: &Plan) -> Result<(), Failure> {
    machine::allow_descriptors(DESCRIPTORS);
    if plan.net == Net::Veth {
        machine::enter_network().map_err(|error| format!("no network of our own: {error}"))?;
        relay::ip(&["link", "set", "lo", "up"])?;
    }
    Ok(())
}

/// One relay in one round.
fn one(plan: &Plan, relay: Relay, calls: u16) -> Result<Measured, Failure> {
    let mut order = Order {
        relay,
        gather: plan.pace == Loop::Open,
        workers: plan.workers,
        net: plan.net,
        sink: plan.sink,
        threaded: plan.pace == Loop::Open,
        legs: plan.legs,
        suite: plan.suite,
        far_ports: (0..calls).map(|call| [FAR_PORT + 4 * call, FAR_PORT + 4 * call + 2]).collect(),
    };
    let measured = match (plan.net, plan.pace) {
        (Net::Loopback, _) => {
            let far_sides = FarSides::new()?;
            order.far_ports = (0..usize::from(calls))
                .map(|call| far_sides.ports(call))
                .collect::<Result<_, _>>()?;
            loopback::open_loop(&far_sides, &order, plan.seconds)
        }
        (Net::Veth, Loop::Open) => veth::open_loop(&order, plan.seconds),
        (Net::Veth, Loop::Closed) => veth::closed_loop(&order, plan.batch, plan.packets),
    };
    Ok(Measured { relay: relay.name(), ..measured? })
}

/// In the closed loop everything on the processor was counted: the cost of making the traffic, which the relay
/// that does nothing has shown in the same round, is none of a relay's.
fn take_off_nothing(round: &mut [Measured]) {
    let Some((nothing, relays)) = round.split_first_mut() else { return };
    debug_assert_eq!(nothing.relay, NOTHING);
    for measured in relays {
        measured.cpu_us_per_packet -= nothing.cpu_us_per_packet;
    }
}

impl Plan {
    /// What takes turns: what ours is measured beside, then ours.
    fn relays(&self) -> Vec<Relay> {
        let beside = self.against.iter().map(|&against| against.into());
        let ours = self.engine.iter().map(|&engine| Way { engine, offload: self.offload });
        let mut relays: Vec<Relay> = Vec::new();
        for relay in beside.chain(ours.map(Relay::Ours)) {
            if !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        relays
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            calls: Vec::new(),
            legs: Legs::RtpSrtp,
            suite: Suite::AesCm,
            engine: Vec::new(),
            offload: None,
            against: Vec::new(),
            net: Net::Veth,
            sink: Sink::Xdp,
            pace: Loop::Open,
            batch: 64,
            packets: 400_000,
            seconds: 5,
            rounds: 3,
            workers: 1,
            json: None,
            plot: None,
        }
    }
}

impl From<Against> for Relay {
    fn from(against: Against) -> Self {
        match against {
            Against::Floor => Self::Floor,
            Against::Rtpengine => Self::Rtpengine,
        }
    }
}

/// What fits between the first port and the last, four to a call.
const MAX_CALLS: i64 = 13_000;
/// The first port of the far sides over veth.
const FAR_PORT: u16 = 10_000;
const DESCRIPTORS: u64 = 65_536;
