//! `perf soak`: many calls for a long time, with re-INVITEs all along, and no silence that Tollgate made.

mod gaps;
mod key;
mod sides;
mod talk;

use super::lab::{Lab, Media};
use super::subject::{Subject, Usage};
use super::{Failure, Way};
use crate::{clock, sys};
use clap::Args;
use gaps::{Causes, Stall};
use serde::Serialize;
use sides::Side;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use talk::{Agreed, Progress, Talk};

/// What is to be played.
#[derive(Args)]
pub(crate) struct Plan {
    /// Calls that stand at the same time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    calls: u16,
    /// How long they stand once all are up
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Between two re-INVITEs of a call, which come from either side in turn
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=3600))]
    reinvite_seconds: u32,
    /// Which way media goes: what stands in `[media] engine`
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Has the kernel send on what nothing has to be done to, as far as there is such a thing
    #[arg(long)]
    offload: bool,
    /// Seconds for which it is watched before the first call, to see what it takes when nothing is to be done
    #[arg(long, default_value_t = 0)]
    idle_seconds: u32,
    /// The program under test; without it the one built beside this one
    #[arg(long)]
    tollgate: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What has come of it.
#[derive(Serialize)]
pub(crate) struct Report {
    calls: u16,
    minutes: f64,
    streams: u64,
    packets_sent: u64,
    packets_received: u64,
    missing: u64,
    late: u64,
    longest_gap_ms: f64,
    /// Gaps over 60 ms by who made them.
    gaps: Causes,
    /// Packets that could not be opened, came from nowhere we know, or held another call's voice.
    refused: u64,
    strange: u64,
    early: u64,
    foreign: u64,
    /// Times in which the machine kept the floor, or Tollgate's packet threads, from running.
    stalls_of_floor: usize,
    stalls_of_processor: usize,
    generator_late_share: f64,
    reinvites: u64,
    reinvites_agreed: u64,
    reinvites_passed_on: u64,
    failed: BTreeMap<String, u64>,
    cores_of_tollgate: f64,
    /// Of that, what its threads that move packets have taken.
    cores_of_media: f64,
    /// Before the first call; `None` where that was not asked for.
    cores_idle: Option<f64>,
    before: Usage,
    standing: Usage,
    after: Usage,
}

impl Report {
    /// Fails unless everything held: by itself, whatever the machine did.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let broken = self.refused + self.strange + self.foreign;
        let left = self.after.calls.unwrap_or(0) + self.after.ports.unwrap_or(0);
        let holds = self.gaps.tollgate == 0
            && broken == 0
            && left == 0
            && self.failed.is_empty()
            && self.streams == 2 * u64::from(self.calls)
            && self.packets_received > 0
            && self.reinvites_agreed == self.reinvites;
        if holds { Ok(()) } else { Err(format!("the soak failed\n{self}").into()) }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Plays it.
pub(crate) fn run(plan: &Plan) -> Result<Report, Failure> {
    media_engine::raise_descriptor_limit()?;
    let lab = Lab::new(plan.tollgate.as_deref())?;
    let media = Media { engine: &plan.engine, offload: plan.offload };
    let mut subject = lab.start_tollgate(Way::UdpTls, media)?;
    let cores_idle = idle(&subject, plan.idle_seconds)?;
    let before = subject.usage()?;
    let calls = usize::from(plan.calls);
    let (orders, taken) = channel();
    let progress = Arc::new(Mutex::new(Progress::default()));
    let sides = [subject.wire.caller.ip(), subject.wire.answerer.ip()].map(v4);
    let talk = Talk::new(calls, sides, taken, Arc::clone(&progress))?;
    let [near, far] = talk.ports()?;
    let talking = std::thread::Builder::new().name("talk".to_owned()).spawn(|| talk.run())?;
    let watch = Watch::start(&subject)?;
    let wire = &subject.wire;
    let mut soak = Soak {
        near: Side::new(0, wire.caller, subject.sip, calls, near),
        far: Side::new(1, wire.answerer, subject.sip, calls, far),
        orders,
        progress,
    };
    soak.set_up(&mut subject, calls)?;
    let (cpu, media) = (subject.cpu()?, subject.ran(MEDIA_THREADS)?);
    let began = clock::monotonic();
    soak.stand(&mut subject, plan, calls)?;
    let took = clock::monotonic() - began;
    let cpu = subject.cpu()?.saturating_sub(cpu);
    let media = subject.ran(MEDIA_THREADS)?.saturating_sub(media);
    let standing = subject.usage()?;
    let seen = soak.fall_silent();
    talking.join().map_err(|_| "the talking thread panicked")??;
    let waited = watch.stop();
    soak.hang_up(&mut subject, calls)?;
    let after = subject.settled(&before)?;
    subject.stop()?;
    let Soak { near, far, .. } = soak;
    let mut failed = near.tally.why;
    for (why, count) in far.tally.why {
        *failed.entry(why).or_default() += count;
    }
    Ok(Report {
        calls: plan.calls,
        minutes: took.as_secs_f64() / 60.0,
        streams: seen.streams,
        packets_sent: seen.sent,
        packets_received: seen.received,
        missing: seen.missing,
        late: seen.late,
        longest_gap_ms: seen.longest_ns as f64 / 1e6,
        gaps: Causes::of(&seen.gaps, &[&seen.stalls, &waited]),
        refused: seen.refused,
        strange: seen.strange,
        early: seen.early,
        foreign: seen.foreign,
        stalls_of_floor: seen.stalls.len(),
        stalls_of_processor: waited.len(),
        generator_late_share: seen.slots_late as f64 / seen.slots.max(1) as f64,
        reinvites: near.tally.asked_again + far.tally.asked_again,
        reinvites_agreed: near.tally.agreed_again + far.tally.agreed_again,
        reinvites_passed_on: near.tally.was_asked + far.tally.was_asked,
        failed,
        cores_of_tollgate: cpu.as_secs_f64() / took.as_secs_f64(),
        cores_of_media: media.as_secs_f64() / took.as_secs_f64(),
        cores_idle,
        before,
        standing,
        after,
    })
}

/// What it takes while nothing is to be done.
fn idle(subject: &Subject, seconds: u32) -> Result<Option<f64>, Failure> {
    if seconds == 0 {
        return Ok(None);
    }
    clock::sleep_until(clock::monotonic() + STARTS);
    let (began, ran) = (clock::monotonic(), subject.ran("")?);
    clock::sleep_until(began + Duration::from_secs(seconds.into()));
    let ran = subject.ran("")?.saturating_sub(ran);
    Ok(Some(ran.as_secs_f64() / (clock::monotonic() - began).as_secs_f64()))
}

/// After this what a start brings with it is over.
const STARTS: Duration = Duration::from_secs(2);
/// How the names of the threads begin that move packets.
const MEDIA_THREADS: &str = "media-";

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    }
}

struct Soak {
    near: Side,
    far: Side,
    orders: Sender<Agreed>,
    progress: Arc<Mutex<Progress>>,
}

impl Soak {
    /// All calls, a few at a time.
    fn set_up(&mut self, subject: &mut Subject, calls: usize) -> Result<(), Failure> {
        let began = clock::monotonic();
        let mut begun = 0;
        while self.near.tally.up < calls || self.far.tally.up < calls {
            let now = clock::monotonic();
            let due = ((now - began).as_secs_f64() * SETUP_PER_SECOND) as usize + 1;
            while begun < due.min(calls) {
                self.near.call(now, begun);
                begun += 1;
            }
            self.turn(subject)?;
            if now - began > SETUP_MAX {
                let (near, far) = (self.near.tally.up, self.far.tally.up);
                let why = format!("{:?} {:?}", self.near.tally.why, self.far.tally.why);
                return Err(format!("{near} and {far} of {calls} calls are up: {why}").into());
            }
        }
        let seconds = (clock::monotonic() - began).as_secs_f64();
        crate::complain(&format!("{calls} calls are up after {seconds:.1} s"));
        Ok(())
    }

    /// Lets them stand, and re-INVITEs each in its turn.
    fn stand(&mut self, subject: &mut Subject, plan: &Plan, calls: usize) -> Result<(), Failure> {
        let began = clock::monotonic();
        let (end, mut said) = (Duration::from_secs_f64(plan.minutes * 60.0), Duration::ZERO);
        let apart = f64::from(plan.reinvite_seconds) / calls as f64;
        let mut asked = 0_usize;
        loop {
            let now = clock::monotonic();
            let since = now - began;
            if since >= end {
                return Ok(());
            }
            // None at the very end: what is under way is to be answered.
            let last = end.saturating_sub(QUIET);
            while asked < (since.min(last).as_secs_f64() / apart) as usize {
                let side =
                    if (asked / calls).is_multiple_of(2) { &mut self.near } else { &mut self.far };
                side.ask_again(now, asked % calls);
                asked += 1;
            }
            self.turn(subject)?;
            if since > said + SAY_EVERY {
                said = since;
                self.say(since, asked);
            }
        }
    }

    fn say(&self, since: Duration, asked: usize) {
        let seen = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self.near.tally.why.len() + self.far.tally.why.len();
        crate::complain(&format!(
            "{:.0} s: {} streams, {} packets, {} missing, {} gaps, longest {:.0} ms, {asked} re-INVITEs, \
             {failed} kinds of failure",
            since.as_secs_f64(),
            seen.streams,
            seen.received,
            seen.missing,
            seen.gaps.len(),
            seen.longest_ns as f64 / 1e6,
        ));
    }

    /// What was seen until now; nothing is said any more.
    fn fall_silent(&self) -> Progress {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.over = true;
        progress.clone()
    }

    fn hang_up(&mut self, subject: &mut Subject, calls: usize) -> Result<(), Failure> {
        let began = clock::monotonic();
        for call in 0..calls {
            self.near.hang_up(clock::monotonic(), call);
            self.turn(subject)?;
        }
        while self.near.tally.over < calls || self.far.tally.over < calls {
            self.turn(subject)?;
            if clock::monotonic() - began > SETUP_MAX {
                let (near, far) = (self.near.tally.over, self.far.tally.over);
                return Err(format!("{near} and {far} of {calls} calls have ended").into());
            }
        }
        Ok(())
    }

    /// What has come in, what is due, what goes out.
    fn turn(&mut self, subject: &mut Subject) -> Result<(), Failure> {
        let Self { near, far, orders, .. } = self;
        let wire = &mut subject.wire;
        let now = clock::monotonic();
        let mut taken =
            wire.receive_near(|hop, message| near.endpoint.layer.receive(now, hop, message));
        taken += wire.receive_far(|hop, message| far.endpoint.layer.receive(now, hop, message))?;
        for side in [&mut *near, &mut *far] {
            side.endpoint.tick(now);
            side.settle(now);
            for agreed in side.agreed.drain(..) {
                orders.send(agreed).map_err(|_| "the talking thread has ended")?;
            }
        }
        while let Some((hop, bytes)) = near.endpoint.transmit() {
            wire.send_near(hop, &bytes);
        }
        while let Some((hop, bytes)) = far.endpoint.transmit() {
            wire.send_far(hop, &bytes);
        }
        wire.flush();
        if taken == 0 {
            wire.wait(PAUSE);
        }
        Ok(())
    }
}

/// Watches whether the machine lets Tollgate's packet threads run when they are ready to.
struct Watch {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Stall>>,
}

impl Watch {
    fn start(subject: &Subject) -> Result<Self, Failure> {
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", subject.id()))? {
            let path = task?.path();
            if fs::read_to_string(path.join("comm"))?.starts_with(PACKET_THREADS) {
                threads.push(path.join("schedstat"));
            }
        }
        if threads.is_empty() {
            return Err("Tollgate has no packet threads that can be watched".into());
        }
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            sys::sleep_precisely();
            let waited = |path: &PathBuf| -> u64 {
                let line = fs::read_to_string(path).unwrap_or_default();
                line.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
            };
            let mut stalls = Vec::new();
            let mut last: Vec<u64> = threads.iter().map(waited).collect();
            let mut last_at = clock::wall_ns();
            while !told.load(Ordering::Relaxed) {
                clock::sleep_until(clock::monotonic() + GLANCE);
                let now: Vec<u64> = threads.iter().map(waited).collect();
                let at = clock::wall_ns();
                let longest =
                    now.iter().zip(&last).map(|(now, last)| now.saturating_sub(*last)).max();
                let waited_ns = longest.unwrap_or(0);
                if waited_ns > WAITED_NS && stalls.len() < STALLS_MAX {
                    stalls.push(Stall { began_ns: last_at, ended_ns: at, waited_ns });
                }
                (last, last_at) = (now, at);
            }
            stalls
        })?;
        Ok(Self { over, thread })
    }

    fn stop(self) -> Vec<Stall> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} calls for {:.1} minutes: {} streams, {} packets sent, {} received, {} missing, {} late",
            self.calls,
            self.minutes,
            self.streams,
            self.packets_sent,
            self.packets_received,
            self.missing,
            self.late
        )?;
        writeln!(
            f,
            "gaps over 60 ms: {} by Tollgate, {} by the machine, {} by the generator; the longest of all {:.1} ms",
            self.gaps.tollgate, self.gaps.machine, self.gaps.generator, self.longest_gap_ms
        )?;
        writeln!(
            f,
            "the machine: {} stalls of the floor, {} of Tollgate's packet threads; generator late in {:.1} % of its slots",
            self.stalls_of_floor,
            self.stalls_of_processor,
            100.0 * self.generator_late_share
        )?;
        writeln!(
            f,
            "packets refused {}, of nobody {}, of another call {}; before their answer was read {}",
            self.refused, self.strange, self.foreign, self.early
        )?;
        writeln!(
            f,
            "re-INVITEs: {} sent, {} agreed, {} passed on to the other side; failures {:?}",
            self.reinvites, self.reinvites_agreed, self.reinvites_passed_on, self.failed
        )?;
        let mb = |usage: &Usage| usage.resident as f64 / 1e6;
        writeln!(
            f,
            "Tollgate: {:.3} cores ({:.3} of them move packets), {} before the first call; resident {:.1} MB before, {:.1} standing, {:.1} after; descriptors {} before, {} after; left: {:?} calls, {:?} ports",
            self.cores_of_tollgate,
            self.cores_of_media,
            self.cores_idle.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.4}")),
            mb(&self.before),
            mb(&self.standing),
            mb(&self.after),
            self.before.descriptors,
            self.after.descriptors,
            self.after.calls.unwrap_or(0),
            self.after.ports.unwrap_or(0)
        )
    }
}

const SETUP_PER_SECOND: f64 = 20.0;
/// 2000 calls at that rate, and a repeat.
const SETUP_MAX: Duration = Duration::from_secs(140);
/// Between the last re-INVITE and the end.
const QUIET: Duration = Duration::from_secs(3);
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Timers of the transactions are looked at no later than this.
const PAUSE: Duration = Duration::from_millis(5);
/// What the threads of the media engine are called.
const PACKET_THREADS: &str = "media-";
const GLANCE: Duration = Duration::from_millis(10);
/// A thread that is woken waits for a tenth of this.
const WAITED_NS: u64 = 2_000_000;
const STALLS_MAX: usize = 200_000;
