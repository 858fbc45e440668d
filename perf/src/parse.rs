//! `perf parse`: what it costs to read and write the INVITE of 1.1 kB, beside the crate rsip.

use crate::{allocations, clock};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use sip_core::Message;
use std::error::Error;
use std::fmt;
use std::hint::black_box;

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// How often the parsers take turns
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Messages of each kind per round
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages: u32,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// 17 headers and an SDP body, as Teams and carriers send it.
const INVITE: &[u8] = include_bytes!("../../sip-core/tests/corpus/extra/bench-invite.sip");

/// The figures, of the quickest round each: whatever else the machine does only adds. A round is shorter
/// than a time slice, so some are undisturbed.
#[derive(Serialize)]
pub(crate) struct Report {
    octets: usize,
    parse: Cost,
    serialise: Cost,
    rsip_parse: Cost,
    rsip_serialise: Cost,
    /// rsip's time divided by ours.
    parse_ratio: f64,
    serialise_ratio: f64,
}

/// What one message costs.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    ns: f64,
    allocations: f64,
}

/// Measures.
pub(crate) fn run(plan: &Plan) -> Result<Report, Box<dyn Error>> {
    let octets = Bytes::from_static(INVITE);
    let ours = Message::parse(octets.clone())?;
    let theirs = rsip::SipMessage::try_from(INVITE)?;
    let mut out = Vec::with_capacity(2 * INVITE.len());

    let mut rounds: [Vec<Cost>; 4] = Default::default();
    for _ in 0..=plan.rounds {
        let costs = [
            each(plan.messages, || drop(black_box(Message::parse(black_box(octets.clone()))))),
            each(plan.messages, || {
                out.clear();
                black_box(&ours).write(&mut out);
                black_box(&out);
            }),
            each(plan.messages, || drop(black_box(rsip::SipMessage::try_from(black_box(INVITE))))),
            each(plan.messages, || drop(black_box(Bytes::from(black_box(&theirs).clone())))),
        ];
        for (all, cost) in rounds.iter_mut().zip(costs) {
            all.push(cost);
        }
    }
    // The first was for the caches.
    let [parse, serialise, rsip_parse, rsip_serialise] =
        rounds.map(|all| quickest(all.get(1..).unwrap_or_default()));
    Ok(Report {
        octets: INVITE.len(),
        parse_ratio: rsip_parse.ns / parse.ns,
        serialise_ratio: rsip_serialise.ns / serialise.ns,
        parse,
        serialise,
        rsip_parse,
        rsip_serialise,
    })
}

fn each(times: u32, mut act: impl FnMut()) -> Cost {
    let before = allocations::so_far();
    let began = clock::monotonic();
    for _ in 0..times {
        act();
    }
    let took = clock::monotonic().saturating_duration_since(began);
    Cost {
        ns: took.as_nanos() as f64 / f64::from(times),
        allocations: (allocations::so_far() - before) as f64 / f64::from(times),
    }
}

fn quickest(rounds: &[Cost]) -> Cost {
    let least = |of: fn(&Cost) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    Cost { ns: least(|cost| cost.ns), allocations: least(|cost| cost.allocations) }
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "INVITE of {} octets           ns  allocations", self.octets)?;
        for (name, cost) in [
            ("parse", self.parse),
            ("parse, rsip", self.rsip_parse),
            ("serialise", self.serialise),
            ("serialise, rsip", self.rsip_serialise),
        ] {
            writeln!(f, "{name:20} {:11.0}  {:11.1}", cost.ns, cost.allocations)?;
        }
        writeln!(
            f,
            "rsip takes {:.1} times as long to parse and {:.1} times to serialise",
            self.parse_ratio, self.serialise_ratio
        )
    }
}
