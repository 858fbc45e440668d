//! `perf media`: the engine and the floor in turn, under the same calls.

use crate::floor::{self, Floor};
use crate::generator::{Generator, Measured};
use crate::{clock, cpu};
use ::media::{Carriage, Terms, srtp};
use clap::{Args, ValueEnum};
use media_engine::{Config, Engine, Event, LegPorts, MediaId};
use sdp::{Crypto, Direction, SrtpKey, Stream, Suite};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Calls at once: each is 100 forwarded packets a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=MAX_CALLS))]
    calls: u16,
    /// What the two legs carry
    #[arg(long, value_enum, default_value = "rtp-srtp")]
    legs: Legs,
    /// How long each relay is measured in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often engine and floor take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Legs {
    /// Nothing to encrypt
    RtpRtp,
    /// The Teams leg under AES_CM_128_HMAC_SHA1_80
    RtpSrtp,
}

/// The figures.
#[derive(Serialize)]
pub(crate) struct Report {
    calls: u16,
    legs: Legs,
    packets_per_second: u32,
    seconds: u32,
    runs: Vec<Run>,
    /// CPU per packet, ours divided by the floor's, the median of the rounds.
    ratio: f64,
}

/// One relay in one round.
#[derive(Serialize)]
struct Run {
    round: u32,
    relay: &'static str,
    cpu_us_per_packet: f64,
    latency_us_p50: f64,
    latency_us_p99: f64,
    sent: u64,
    lost: u64,
    generator_late_share: f64,
}

/// Measures floor and engine, round by round, so that a drift of the machine meets both.
pub(crate) fn run(plan: &Plan) -> Result<Report, Box<dyn Error>> {
    media_engine::raise_descriptor_limit()?;
    let (mut runs, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let floor = through_floor(plan)?;
        let ours = through_engine(plan)?;
        ratios.push(ours.cpu_us_per_packet / floor.cpu_us_per_packet);
        runs.push(Run::of(round, "floor", &floor));
        runs.push(Run::of(round, "engine", &ours));
    }
    ratios.sort_by(f64::total_cmp);
    Ok(Report {
        calls: plan.calls,
        legs: plan.legs,
        packets_per_second: 100 * u32::from(plan.calls),
        seconds: plan.seconds,
        runs,
        ratio: ratios[ratios.len() / 2],
    })
}

fn through_floor(plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    let mut generator = Generator::new()?;
    let mut legs = Vec::new();
    for call in 0..usize::from(plan.calls) {
        let leg = |side| -> std::io::Result<floor::Leg> {
            Ok(floor::Leg { bind: port_of(call, side), far_side: generator.far_side(call, side)? })
        };
        legs.push([leg(0)?, leg(1)?]);
    }
    let relay = Floor::start(&legs)?;
    add_calls(&mut generator, plan);
    let measured = measure(&mut generator, floor::THREAD, plan)?;
    drop(relay);
    Ok(measured)
}

fn through_engine(plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    let mut generator = Generator::new()?;
    let (tell, events) = channel();
    let tell = move |event| {
        // The other end is gone only when the run is over.
        let _ = tell.send(event);
    };
    let engine =
        Engine::start(Config { workers: 1, transcoders: 1, ..Default::default() }, Box::new(tell))?;
    for call in 0..usize::from(plan.calls) {
        let id = MediaId(call as u64);
        let [a, b] = [0, 1].map(|side| LegPorts {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            rtp: port_of(call, side).port(),
            dscp: 46,
        });
        engine.open(id, 0, a, b, [call as u8; 32])?;
        let a = stream(generator.far_side(call, 0)?, None);
        let keys = (plan.legs == Legs::RtpSrtp)
            .then(|| Crypto { local: key(OURS, call), remote: vec![key(THEIRS, call)] });
        let b = stream(generator.far_side(call, 1)?, keys);
        engine.connect(id, 0, Some(a), Some(b))?;
        engine.stats(id, 0)?;
        is_open(&events)?;
    }
    add_calls(&mut generator, plan);
    let measured = measure(&mut generator, "media-", plan)?;
    engine.shutdown();
    Ok(measured)
}

/// Waits until the engine has read what it was told.
fn is_open(events: &Receiver<Event>) -> Result<(), Box<dyn Error>> {
    loop {
        match events.recv_timeout(Duration::from_secs(10))? {
            Event::Stats { .. } => return Ok(()),
            Event::Notice { .. } => {}
            Event::OpenFailed { why, .. } => return Err(why.into()),
            Event::Closed { .. } => return Err("a call was closed by nobody".into()),
        }
    }
}

fn add_calls(generator: &mut Generator, plan: &Plan) {
    for call in 0..usize::from(plan.calls) {
        let sender = || srtp::Sender::new(&key(THEIRS, call), call as u32);
        let sender = (plan.legs == Legs::RtpSrtp).then(sender);
        generator.add(call, [port_of(call, 0), port_of(call, 1)], sender);
    }
}

fn measure(
    generator: &mut Generator,
    thread: &str,
    plan: &Plan,
) -> Result<Measured, Box<dyn Error>> {
    // A thread gives itself its name once it runs.
    let due = clock::monotonic() + Duration::from_secs(1);
    let mut threads = cpu::threads(thread)?;
    while threads.is_empty() && clock::monotonic() < due {
        threads = cpu::threads(thread)?;
    }
    cpu::keep_apart(&threads);
    Ok(generator.run(&threads, plan.seconds)?)
}

fn port_of(call: usize, side: usize) -> SocketAddrV4 {
    let port = FIRST_PORT + PORTS_PER_CALL * call as u16 + 2 * side as u16;
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn stream(far_side: SocketAddrV4, crypto: Option<Crypto>) -> Carriage {
    let remote = Some(far_side.into());
    let stream = Stream {
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_mux: true,
        direction: Direction::SendRecv,
        crypto,
        ptime_ms: Some(20),
        ..Stream::default()
    };
    Carriage { stream, terms: Terms::default() }
}

/// A key that is worth nothing.
#[expect(clippy::expect_used, reason = "the suite has 30 octets")]
fn key(of: u8, call: usize) -> SrtpKey {
    let mut octets = [of; 30];
    octets[..8].copy_from_slice(&(call as u64).to_be_bytes());
    SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &octets).expect("30 octets")
}

impl Run {
    fn of(round: u32, relay: &'static str, measured: &Measured) -> Self {
        Self {
            round,
            relay,
            cpu_us_per_packet: measured.cpu_us_per_packet,
            latency_us_p50: measured.latency_us_p50,
            latency_us_p99: measured.latency_us_p99,
            sent: measured.sent,
            lost: measured.sent.saturating_sub(measured.received),
            generator_late_share: measured.late_share,
        }
    }
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let legs = if self.legs == Legs::RtpRtp { "RTP to RTP" } else { "RTP to SRTP" };
        let Self { calls, packets_per_second, seconds, ratio, .. } = self;
        writeln!(
            f,
            "{calls} calls, {legs}, {packets_per_second} packets/s, {seconds} s per run\n"
        )?;
        writeln!(f, "round  relay   CPU us/packet  p50 us  p99 us      lost  late")?;
        for run in &self.runs {
            writeln!(
                f,
                "{:>5}  {:<6}  {:>13.2}  {:>6.0}  {:>6.0}  {:>8}  {:>3.0}%",
                run.round,
                run.relay,
                run.cpu_us_per_packet,
                run.latency_us_p50,
                run.latency_us_p99,
                run.lost,
                100.0 * run.generator_late_share,
            )?;
        }
        writeln!(f, "\nengine/floor, CPU per packet, median of rounds: {ratio:.2}")?;
        if self.runs.iter().any(|run| run.generator_late_share > LATE_TOO_OFTEN) {
            writeln!(f, "where the generator was often late, latency and loss may be its own")?;
        }
        Ok(())
    }
}

/// Below the range that systems give away by themselves, as in production.
const FIRST_PORT: u16 = 10_000;
const PORTS_PER_CALL: u16 = 4;
/// What fits between the first port and that range.
const MAX_CALLS: i64 = 5_000;
/// A generator that misses more of its slots than this was not alone on its CPU.
const LATE_TOO_OFTEN: f64 = 0.1;
const OURS: u8 = 1;
const THEIRS: u8 = 2;
