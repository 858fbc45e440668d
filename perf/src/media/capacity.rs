//! `perf capacity`: how many calls one processor carries, for our engine and for others, step by step in turn.

use super::measured::{Measured, Percentiles};
use super::order::{Datapath, Hook, Legs, Net, Relay, Sink, Suite};
use super::report::HELD_UP_MS;
use super::{Against, Failure, MAX_CALLS, Plan, enter, one};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// What is to be found out.
#[derive(Args, Clone)]
pub(crate) struct Search {
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
    /// Whose capacity is looked for in the same run
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rtpengine")]
    against: Vec<Against>,
    /// Where packets cross
    #[arg(long, value_enum, default_value = "veth")]
    net: Net,
    /// What takes the packets of all relays over veth
    #[arg(long, value_enum, default_value = "xdp")]
    sink: Sink,
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
#[derive(Serialize, Deserialize)]
pub(super) struct Capacity {
    pub(super) relay: String,
    /// The most calls with p50 below a millisecond and nothing lost.
    pub(super) calls: u16,
    /// The same, where what the machine or the lab has lost counts for nothing.
    pub(super) calls_but_for_the_lab: u16,
    /// It was not the relay that ended the search.
    pub(super) at_least: bool,
    /// Calls that a whole processor is enough for, by the cost of a packet at that number.
    pub(super) by_cost: f64,
    pub(super) cpu_us_per_packet: f64,
    pub(super) cores: f64,
    pub(super) latency_us: Percentiles,
    steps: Vec<Step>,
}

/// One number of calls that was tried, by the last attempt.
#[derive(Serialize, Deserialize)]
struct Step {
    calls: u16,
    verdict: Verdict,
    attempts: u32,
    p50_us: f64,
    lost: u64,
    lost_at: String,
    held_up_ms: f64,
    late_share: f64,
}

/// Whether a number of calls is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// Nothing lost, and in time.
    Usable,
    /// In time; what was lost the machine or the lab has lost.
    Disturbed,
    /// The relay has lost something.
    Lossy,
    /// Half of all packets take too long.
    Slow,
}

impl Verdict {
    fn of(measured: &Measured) -> Self {
        let Measured { lost, lost_at, held_up_ms, late_share, cores, latency_us, .. } = measured;
        let not_the_relays = *held_up_ms > HELD_UP_MS
            || *late_share > LATE
            || *lost > 0 && lost_at.cable_in >= *lost;
        match () {
            // Where nothing came back there is no latency.
            () if latency_us.p50.is_nan() || latency_us.p50 >= SLOW_US => Self::Slow,
            () if *lost == 0 => Self::Usable,
            () if not_the_relays && *cores < FULL => Self::Disturbed,
            () => Self::Lossy,
        }
    }

    fn is_carried(self) -> bool {
        matches!(self, Self::Usable | Self::Disturbed)
    }
}

/// Looks for the capacity of all that is asked for, one step of each after the other.
pub(crate) fn run(search: &Search) -> Result<Capacities, Failure> {
    let plan = Plan {
        legs: search.legs,
        suite: search.suite,
        engine: search.engine.clone(),
        offload: search.offload,
        against: search.against.clone(),
        net: search.net,
        sink: search.sink,
        seconds: search.seconds,
        ..Plan::default()
    };
    enter(&plan)?;
    let found = of(&plan, &plan.relays(), search.from, search.most, EXACTLY)?;
    Ok(Capacities { legs: search.legs, net: search.net, seconds: search.seconds, found })
}

/// The capacity of each, to such a part of it.
pub(super) fn of(
    plan: &Plan,
    relays: &[Relay],
    from: u16,
    most: u16,
    exactly: u16,
) -> Result<Vec<Capacity>, Failure> {
    let mut all: Vec<Candidate> =
        relays.iter().map(|&relay| Candidate::new(relay, from, most, exactly)).collect();
    loop {
        let mut over = true;
        for candidate in &mut all {
            over &= !candidate.step(plan)?;
        }
        if over {
            return Ok(all.into_iter().map(|candidate| candidate.found(most)).collect());
        }
    }
}

/// A relay whose capacity is looked for.
struct Candidate {
    relay: Relay,
    bracket: Bracket,
    steps: Vec<Step>,
    best: Measured,
}

impl Candidate {
    fn new(relay: Relay, from: u16, most: u16, exactly: u16) -> Self {
        let bracket = Bracket::new(from, most, exactly);
        Self { relay, bracket, steps: Vec::new(), best: Measured::default() }
    }

    /// Tries the next number of calls; false if the answer is known.
    fn step(&mut self, plan: &Plan) -> Result<bool, Failure> {
        let Some(calls) = self.bracket.next() else { return Ok(false) };
        let mut attempts = 1;
        let mut measured = one(plan, self.relay, calls)?;
        // A single failure may be the machine's; who is slow twice is slow.
        while attempts < ATTEMPTS && Verdict::of(&measured) != Verdict::Usable {
            if Verdict::of(&measured) == Verdict::Slow && attempts > 1 {
                break;
            }
            attempts += 1;
            let again = one(plan, self.relay, calls)?;
            if rank(&again) >= rank(&measured) {
                measured = again;
            }
        }
        let verdict = Verdict::of(&measured);
        self.bracket.learn(calls, verdict.is_carried());
        self.steps.push(Step {
            calls,
            verdict,
            attempts,
            p50_us: measured.latency_us.p50,
            lost: measured.lost,
            lost_at: measured.lost_at.to_string(),
            held_up_ms: measured.held_up_ms,
            late_share: measured.late_share,
        });
        if verdict.is_carried() && calls >= self.bracket.good {
            self.best = measured;
        }
        Ok(true)
    }

    fn found(self, most: u16) -> Capacity {
        let Self { relay, bracket, steps, best } = self;
        let late = |step: &Step| !step.verdict.is_carried() && step.late_share > LATE;
        let usable = steps.iter().filter(|step| step.verdict == Verdict::Usable);
        Capacity {
            relay: relay.name(),
            calls: usable.map(|step| step.calls).max().unwrap_or(0),
            calls_but_for_the_lab: bracket.good,
            at_least: bracket.good >= most || steps.iter().any(late),
            by_cost: 1e6 / best.cpu_us_per_packet / PACKETS_PER_CALL,
            cpu_us_per_packet: best.cpu_us_per_packet,
            cores: best.cores,
            latency_us: best.latency_us,
            steps,
        }
    }
}

/// Which of several attempts says most for a relay.
fn rank(measured: &Measured) -> u8 {
    match Verdict::of(measured) {
        Verdict::Usable => 3,
        Verdict::Disturbed => 2,
        Verdict::Lossy => 1,
        Verdict::Slow => 0,
    }
}

/// Between how many calls the answer lies.
#[derive(Debug)]
struct Bracket {
    good: u16,
    bad: Option<u16>,
    from: u16,
    most: u16,
    exactly: u16,
}

impl Bracket {
    fn new(from: u16, most: u16, exactly: u16) -> Self {
        Self { good: 0, bad: None, from: from.min(most), most, exactly }
    }

    /// What is to be tried; none once the answer is known well enough.
    fn next(&self) -> Option<u16> {
        match self.bad {
            None if self.good == 0 => Some(self.from),
            None if self.good >= self.most => None,
            None => Some(self.good.saturating_mul(2).min(self.most)),
            Some(bad) => {
                let apart = bad - self.good;
                (apart > (self.good / self.exactly).max(10)).then(|| self.good + apart / 2)
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
        table(f, found)
    }
}

/// For people; each is compared with the first.
pub(super) fn table(f: &mut fmt::Formatter<'_>, found: &[Capacity]) -> fmt::Result {
    writeln!(
        f,
        "relay                   calls  but for the lab  us/packet  cores   p50 us   p99 us  p99.9 us  full at"
    )?;
    for capacity in found {
        let latency = capacity.latency_us;
        writeln!(
            f,
            "{:<20}  {:>2}{:>5}  {:>15}  {:>9.2}  {:>5.2}  {:>7.0}  {:>7.0}  {:>8.0}  {:>7.0}",
            capacity.relay,
            if capacity.at_least { ">=" } else { "" },
            capacity.calls,
            capacity.calls_but_for_the_lab,
            capacity.cpu_us_per_packet,
            capacity.cores,
            latency.p50,
            latency.p99,
            latency.p999,
            capacity.by_cost,
        )?;
        for step in capacity.steps.iter().filter(|step| step.verdict != Verdict::Usable) {
            let Step { calls, verdict, attempts, p50_us, lost, lost_at, .. } = step;
            let verdict = match verdict {
                Verdict::Usable => "usable",
                Verdict::Disturbed => "disturbed",
                Verdict::Lossy => "lossy",
                Verdict::Slow => "slow",
            };
            writeln!(
                f,
                "    {calls} calls, {attempts} attempts: {verdict}, p50 {p50_us:.0} us, {lost} lost ({lost_at}), \
                 {:.0} ms held up, {:.0} % late",
                step.held_up_ms,
                100.0 * step.late_share,
            )?;
        }
    }
    if let Some((first, others)) = found.split_first() {
        for other in others {
            let ratio = f64::from(other.calls) / f64::from(first.calls.max(1));
            writeln!(f, "{}/{}: {ratio:.1} times the calls", other.relay, first.relay)?;
        }
    }
    Ok(())
}

/// A generator that was late so often ended the search, not the relay.
const LATE: f64 = 0.1;
/// From here on the relay itself may have kept arrivals, and who watches, from the processor.
const FULL: f64 = 0.9;
const SLOW_US: f64 = 1000.0;
const ATTEMPTS: u32 = 3;
const PACKETS_PER_CALL: f64 = 100.0;
/// To a twentieth.
const EXACTLY: u16 = 20;

#[cfg(test)]
mod tests {
    use super::super::measured::LostAt;
    use super::*;

    fn search(limit: u16, from: u16, most: u16) -> (u16, usize) {
        let mut bracket = Bracket::new(from, most, EXACTLY);
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

    #[test]
    fn what_the_lab_has_lost_is_not_the_relays_and_what_the_relay_has_is() {
        let run = |lost, held_up_ms, cable_in, cores, p50| Measured {
            lost,
            held_up_ms,
            cores,
            lost_at: LostAt { cable_in, ..LostAt::default() },
            latency_us: Percentiles { p50, ..Percentiles::default() },
            ..Measured::default()
        };
        let of = |measured: Measured| Verdict::of(&measured);
        assert_eq!(of(run(0, 50.0, 0, 0.5, 900.0)), Verdict::Usable);
        assert_eq!(of(run(7, 0.1, 0, 0.5, 900.0)), Verdict::Lossy);
        assert_eq!(of(run(7, 12.0, 0, 0.5, 900.0)), Verdict::Disturbed);
        assert_eq!(of(run(7, 0.1, 7, 0.5, 900.0)), Verdict::Disturbed);
        assert_eq!(of(run(7, 0.1, 7, 0.99, 900.0)), Verdict::Lossy, "arrivals had no processor");
        assert_eq!(of(run(7, 0.1, 6, 0.5, 900.0)), Verdict::Lossy);
        assert_eq!(of(run(0, 0.1, 0, 0.5, 1100.0)), Verdict::Slow);
        assert_eq!(of(run(9, 0.1, 0, 0.5, f64::NAN)), Verdict::Slow, "nothing came back");
    }
}
