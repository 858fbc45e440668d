//! `perf sip`: calls per second through Tollgate, and through Kamailio as a plain proxy in the same run.

mod answerer;
mod caller;
mod endpoint;
mod lab;
mod load;
pub(crate) mod reload;
mod report;
mod sipp;
pub(crate) mod soak;
mod standing;
mod subject;
mod wire;

use clap::{Args, ValueEnum};
use lab::{Lab, Media};
use load::Outcome;
use report::{Report, Row};
use serde::Serialize;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use subject::Subject;

/// Whatever stops a measurement.
pub(crate) type Failure = Box<dyn Error>;

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Calls per second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cps: u32,
    /// How long calls are begun in each run
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How often Kamailio and Tollgate take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// From the 200 to the BYE
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    hold_ms: u32,
    /// What the answering side speaks
    #[arg(long, value_enum, default_value = "both")]
    legs: Legs,
    /// Who plays the far sides: our own stack, or SIPp (UDP only)
    #[arg(long, value_enum, default_value = "ours")]
    with: Players,
    /// Also holds this many calls at once and measures the memory of each
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4_500))]
    standing: u32,
    /// Looks at what is left so many seconds after the last call; transactions over UDP take 32
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=600))]
    rest: u32,
    /// Tollgate alone
    #[arg(long)]
    alone: bool,
    /// Which way Tollgate has for media, as in its configuration
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Fails if a call failed, or if descriptors, ports or calls are left
    #[arg(long)]
    check: bool,
    /// The program under test; without it the one built beside this one
    #[arg(long)]
    tollgate: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which legs are driven.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Legs {
    /// UDP to UDP, plain RTP
    Udp,
    /// UDP to TLS, the latter with SRTP as towards Teams
    Tls,
    /// Both, one after the other
    Both,
}

/// Who plays caller and answerer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Players {
    /// This process
    Ours,
    /// The independent generator, if it is installed
    Sipp,
}

/// The way of a call through the program under test.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    UdpUdp,
    UdpTls,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::UdpUdp => "UDP to UDP",
            Self::UdpTls => "UDP to TLS",
        }
    }
}

impl Plan {
    /// What stands beside the packets in `perf reach`.
    pub(crate) fn beside_kamailio(rounds: u32) -> Self {
        Self {
            cps: 1000,
            seconds: 8,
            rounds,
            hold_ms: 100,
            legs: Legs::Both,
            with: Players::Ours,
            standing: 0,
            rest: 0,
            alone: false,
            engine: "auto".to_owned(),
            check: false,
            tollgate: None,
            json: false,
        }
    }

    fn ways(&self) -> &'static [Way] {
        match (self.legs, self.with) {
            (Legs::Udp, _) | (Legs::Both, Players::Sipp) => &[Way::UdpUdp],
            (Legs::Tls, _) => &[Way::UdpTls],
            (Legs::Both, Players::Ours) => &[Way::UdpUdp, Way::UdpTls],
        }
    }

    fn media(&self) -> Media<'_> {
        Media { engine: &self.engine, offload: false }
    }

    fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms.into())
    }

    fn calls(&self) -> u64 {
        u64::from(self.cps) * u64::from(self.seconds)
    }
}

/// Measures Kamailio and Tollgate, round by round, so that a drift of the machine meets both.
pub(crate) fn run(plan: &Plan) -> Result<Report, Failure> {
    if plan.with == Players::Sipp && plan.legs == Legs::Tls {
        return Err("SIPp plays UDP only: --legs udp".into());
    }
    media_engine::raise_descriptor_limit()?;
    let lab = Lab::new(plan.tollgate.as_deref())?;
    let kamailio = !plan.alone && lab.kamailio().is_some();
    if !plan.alone && !kamailio {
        crate::complain("kamailio is not installed: there is nothing to compare with");
    }
    let mut rows = Vec::new();
    for round in 1..=plan.rounds {
        if kamailio {
            rows.push(measure(plan, round, Way::UdpUdp, |way| lab.start_kamailio(way))?);
        }
        for &way in plan.ways() {
            rows.push(measure(plan, round, way, |way| lab.start_tollgate(way, plan.media()))?);
        }
    }
    let mut standing = Vec::new();
    if plan.standing > 0 {
        for &way in plan.ways() {
            standing.push(standing::measure(&lab, way, plan.media(), plan.standing)?);
        }
    }
    let report = Report::new(plan.cps, plan.seconds, plan.with, rows, standing);
    if plan.check {
        report.check()?;
    }
    Ok(report)
}

/// One subject in one round.
fn measure(
    plan: &Plan,
    round: u32,
    way: Way,
    start: impl FnOnce(Way) -> Result<Subject, Failure>,
) -> Result<Row, Failure> {
    let mut subject = start(way)?;
    let what = format!("round {round}, {}, {}", subject.name(), way.name());
    crate::complain(&format!("{what}: {} calls at {}/s", plan.calls(), plan.cps));
    let (before, cpu) = (subject.usage()?, subject.cpu()?);
    let outcome: Outcome = match plan.with {
        Players::Ours => load::Load { cps: plan.cps, calls: plan.calls(), hold: Some(plan.hold()) }
            .run(&mut subject, &what)?,
        Players::Sipp => sipp::run(plan, &mut subject)?,
    };
    let cpu = subject.cpu()?.saturating_sub(cpu);
    crate::clock::sleep_until(crate::clock::monotonic() + Duration::from_secs(plan.rest.into()));
    let after = subject.settled(&before)?;
    let row = Row::new(round, &subject, way, &outcome, cpu, before, after);
    subject.stop()?;
    Ok(row)
}
