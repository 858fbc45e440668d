//! The media engine under more and more calls, until it loses packets or these take long.

use super::far_sides::FarSides;
use super::{Failure, say, used_ns};
use media::srtp;
use media_engine::{Config, Datapath, Engine, EngineKind, Event, LegPorts, MediaId};
use sdp::{Crypto, SrtpKey, Stream, Suite};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What was seen of calls of one kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Carrying {
    /// What carried them.
    pub(crate) datapath: &'static str,
    /// Why nothing faster did.
    pub(crate) why_not_faster: Option<String>,
    /// The most calls that were carried without loss and in time; 0 where not even the fewest tried were.
    pub(crate) seen: usize,
    /// CPU time of the media worker for one packet at that number.
    pub(crate) us_per_packet: f64,
    pub(crate) added_us_p50: f64,
    pub(crate) added_us_p99: f64,
    /// Why no more was tried.
    pub(crate) ended: &'static str,
}

/// One step.
struct Step {
    us_per_packet: f64,
    p50: Duration,
    p99: Duration,
    lost: f64,
    late: f64,
}

/// Calls through one worker of `engine`, with SRTP on one of their legs or on none.
pub(super) fn measure(engine: EngineKind, srtp: bool) -> Result<Carrying, Failure> {
    let kind = if srtp { "RTP to SRTP" } else { "RTP to RTP" };
    let mut bench = Bench::new(engine, srtp)?;
    let mut best: Option<(usize, Step)> = None;
    let mut ended = "the most that is tried";
    for calls in STEPS {
        bench.open(calls)?;
        let step = bench.run(WARM_UP, TALK)?;
        say(&format!(
            "{kind}, {calls} calls: {:.2} us a packet, p50 {} us, p99 {} us, lost {:.3} %",
            step.us_per_packet,
            step.p50.as_micros(),
            step.p99.as_micros(),
            100.0 * step.lost,
        ));
        let verdict = match () {
            // Then loss and latency say nothing of the engine.
            () if step.late > LATE_MAX => Some("who talks had no processor to spare"),
            () if step.lost > LOSS_MAX => Some("packets were lost"),
            () if step.p50 > P50_MAX => Some("packets took long"),
            () => None,
        };
        best = better(best, calls, step, verdict.is_none());
        if let Some(verdict) = verdict {
            ended = verdict;
            break;
        }
    }
    let (datapath, why) = bench.carried()?;
    bench.engine.shutdown();
    let (seen, step) = best.ok_or(Failure::Media("no call was carried"))?;
    Ok(Carrying {
        datapath: datapath.name(),
        why_not_faster: Some(why).filter(|why| !why.is_empty()),
        seen,
        us_per_packet: step.us_per_packet,
        added_us_p50: step.p50.as_secs_f64() * 1e6,
        added_us_p99: step.p99.as_secs_f64() * 1e6,
        ended,
    })
}

/// The step to show after one of `calls`: the last that was carried without loss and in time. Where not even
/// the first was, its cost is shown, of no calls that were carried.
fn better(
    best: Option<(usize, Step)>,
    calls: usize,
    step: Step,
    carried: bool,
) -> Option<(usize, Step)> {
    match (best, carried) {
        (_, true) => Some((calls, step)),
        (None, false) => Some((0, step)),
        (best, false) => best,
    }
}

/// The engine, and who talks through it.
struct Bench {
    engine: Engine,
    events: Receiver<Event>,
    far_sides: FarSides,
    srtp: bool,
    calls: usize,
    next_port: u16,
}

impl Bench {
    fn new(engine: EngineKind, srtp: bool) -> Result<Self, Failure> {
        let (tell, events) = channel();
        let tell = move |event| {
            // The other end is gone only when all is over.
            let _ = tell.send(event);
        };
        let config = Config { workers: 1, transcoders: 0, engine, ..Config::default() };
        let engine = Engine::start(config, Box::new(tell))?;
        let far_sides = FarSides::new()?;
        Ok(Self { engine, events, far_sides, srtp, calls: 0, next_port: FIRST_PORT })
    }

    /// Opens calls until there are so many.
    fn open(&mut self, calls: usize) -> Result<(), Failure> {
        while self.calls < calls {
            let call = self.calls;
            let id = MediaId(call as u64);
            let port = self.next_port;
            let next = port.checked_add(4).filter(|next| *next < LAST_PORT);
            self.next_port = next.ok_or(Failure::Media("there are too few free ports"))?;
            let at = |rtp| LegPorts { bind: HERE, rtp, dscp: 46 };
            self.engine.open(id, 0, at(port), at(port + 2), [call as u8; 32])?;
            let crypto = || Crypto { local: key(OURS, call), remote: vec![key(THEIRS, call)] };
            let a = Stream::muxed(self.far_sides.address(call, 0)?);
            let b = Stream {
                crypto: self.srtp.then(crypto),
                ..Stream::muxed(self.far_sides.address(call, 1)?)
            };
            self.engine.connect(id, 0, Some(a.into()), Some(b.into()))?;
            self.engine.stats(id, 0)?;
            if !self.is_open()? {
                continue; // somebody has the port
            }
            let sender = self.srtp.then(|| srtp::Sender::new(&key(THEIRS, call), call as u32));
            let legs = [port, port + 2].map(|port| SocketAddr::new(HERE, port));
            self.far_sides.add(call, legs, sender);
            self.calls += 1;
        }
        Ok(())
    }

    /// Whether the call that was opened last is.
    fn is_open(&self) -> Result<bool, Failure> {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(Event::Stats { .. }) => return Ok(true),
                Ok(Event::OpenFailed { .. }) => return Ok(false),
                Ok(
                    Event::Notice { .. }
                    | Event::Closed { .. }
                    | Event::FellBack { .. }
                    | Event::Regained { .. }
                    | Event::Listed { .. },
                ) => {}
                Err(_) => return Err(Failure::Media("the media engine does not answer")),
            }
        }
    }

    fn run(&mut self, warm_up: Duration, talk: Duration) -> Result<Step, Failure> {
        // Sides latch, and memory is touched for the first time.
        self.far_sides.talk(warm_up);
        let before = used_ns(WORKER)?;
        let mut heard = self.far_sides.talk(talk);
        let used = used_ns(WORKER)? - before;
        Ok(Step {
            us_per_packet: used as f64 / 1e3 / heard.received.max(1) as f64,
            p50: heard.percentile(50),
            p99: heard.percentile(99),
            lost: heard.lost(),
            late: heard.late(),
        })
    }

    /// What carries the first call.
    fn carried(&self) -> Result<(Datapath, String), Failure> {
        self.engine.stats(MediaId(0), 0)?;
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(Event::Stats { carried: [leg, _], .. }) => {
                    return Ok((leg.by, leg.why_not_faster.into_owned()));
                }
                Ok(_) => {}
                Err(_) => return Err(Failure::Media("the media engine does not answer")),
            }
        }
    }
}

/// A key that is worth nothing.
#[expect(clippy::expect_used, reason = "the suite has 30 octets")]
fn key(of: u8, call: usize) -> SrtpKey {
    let mut octets = [of; 30];
    octets[..8].copy_from_slice(&(call as u64).to_be_bytes());
    SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &octets).expect("30 octets")
}

/// Numbers of calls that are tried, one after the other: with what warms up, a quarter of a minute.
const STEPS: [usize; 6] = [50, 100, 200, 400, 800, 1600];
const WARM_UP: Duration = Duration::from_millis(500);
const TALK: Duration = Duration::from_millis(2_000);
/// What ends it: users hear more than this, or a share that is no accident of the machine.
const P50_MAX: Duration = Duration::from_millis(1);
const LOSS_MAX: f64 = 0.001;
const LATE_MAX: f64 = 0.25;
const PATIENCE: Duration = Duration::from_secs(5);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Below the range that systems give away by themselves.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;
/// The names of media workers' threads begin so.
const WORKER: &str = "media-";
const OURS: u8 = 1;
const THEIRS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_with_srtp_and_without() {
        for srtp in [false, true] {
            let mut bench = Bench::new(EngineKind::Portable, srtp).unwrap();
            bench.far_sides.grace = PATIENCE;
            bench.open(3).unwrap();
            let step = bench.run(SLOTS, SLOTS).unwrap();
            assert_eq!(step.lost, 0.0, "with SRTP: {srtp}");
            assert!(step.us_per_packet > 0.0 && step.p99 >= step.p50);
            assert_eq!(bench.carried().unwrap().0, Datapath::Portable);
            bench.engine.shutdown();
        }
    }

    /// Each flow has two packets.
    const SLOTS: Duration = Duration::from_millis(40);

    #[test]
    fn calls_that_lost_packets_are_not_shown_as_carried() {
        let step = |us_per_packet| Step {
            us_per_packet,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
            lost: 0.0,
            late: 0.0,
        };
        let shown =
            |best: Option<(usize, Step)>| best.map(|(calls, step)| (calls, step.us_per_packet));
        assert_eq!(shown(better(None, 50, step(9.0), false)), Some((0, 9.0)));
        let first = || better(None, 50, step(9.0), true);
        assert_eq!(shown(better(first(), 100, step(8.0), true)), Some((100, 8.0)));
        assert_eq!(shown(better(first(), 100, step(8.0), false)), Some((50, 9.0)));
    }
}
