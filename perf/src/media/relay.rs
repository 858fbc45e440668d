//! `perf relay`: the process that relays, told by `perf media` what and where. It ends with its input.

use super::live;
use super::order::{
    FAR, FAR_HARDWARE, Net, Order, RELAY, RELAY_INTERFACE, Ready, Relay, Word, key, our_key,
};
use super::order::{RELAY_HARDWARE, far_key};
use super::rtpengine::Rtpengine;
use super::wire::hardware;
use crate::floor::{self, Floor};
use crate::machine;
use ::media::{Carriage, Terms};
use media_engine::{Config, Engine, Event, LegPorts, MediaId};
use sdp::{Crypto, Direction, Stream};
use std::any::Any;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};
use std::net::SocketAddrV4;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

type Failure = Box<dyn Error>;

/// Relays as is ordered on standard input, until that ends.
pub(crate) fn run() -> Result<(), Failure> {
    let mut lines = io::stdin().lock().lines();
    let order = lines.next().ok_or("no order")??;
    let order: Order = serde_json::from_str(&order)?;
    let mut standing: Option<Box<dyn Any>> = None;
    let ready = stand(&order, &mut lines, &mut standing);
    say(&ready.map_or_else(|error| Word::Failed(error.to_string()), Word::Ready))?;
    for line in lines {
        line?;
    }
    drop(standing);
    Ok(())
}

fn say(word: &Word) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(word)?)?;
    out.flush()
}

fn stand(
    order: &Order,
    lines: &mut impl Iterator<Item = io::Result<String>>,
    standing: &mut Option<Box<dyn Any>>,
) -> Result<Ready, Failure> {
    machine::allow_descriptors(DESCRIPTORS);
    if order.net == Net::Veth {
        machine::enter_network()?;
        say(&Word::Inside)?;
        lines.next().ok_or("no interface")??;
        arrange(order)?;
    }
    let mut ready = Ready {
        ports: (0..order.far_ports.len()).map(|call| [port(call, 0), port(call, 1)]).collect(),
        keys: vec![[None, None]; order.far_ports.len()],
        processes: vec![std::process::id()],
        carried: Vec::new(),
        resident_before: resident(std::process::id())?,
    };
    *standing = Some(match order.relay {
        Relay::Floor => Box::new(floor(order)?),
        Relay::Ours => {
            for (call, keys) in ready.keys.iter_mut().enumerate() {
                *keys = [0, 1].map(|side| {
                    order.legs.is_encrypted(side).then(|| our_key(call, side).to_vec())
                });
            }
            let standing = engine(order)?;
            ready.carried = standing.carried.iter().cloned().collect();
            Box::new(standing)
        }
        Relay::Rtpengine => {
            let mut running = Rtpengine::start(order)?;
            ready.resident_before = resident(running.id())?;
            for call in 0..order.far_ports.len() {
                let given = running.call(order, call)?;
                (ready.ports[call], ready.keys[call]) = (given.ports, given.keys);
            }
            ready.processes = vec![running.id()];
            Box::new(running)
        }
        Relay::Nothing => Box::new(live::Discarding::at(RELAY_INTERFACE)?),
    });
    Ok(ready)
}

/// Makes the network of our own ready; the interface is there already.
fn arrange(order: &Order) -> Result<(), Failure> {
    let (relay, far) = (format!("{RELAY}/24"), FAR.to_string());
    let far_hardware = hardware(&FAR_HARDWARE);
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &relay, "dev", RELAY_INTERFACE])?;
    ip(&["link", "set", RELAY_INTERFACE, "address", &hardware(&RELAY_HARDWARE), "up"])?;
    // Asked for once it is up, this makes it a target for frames.
    machine::gather_arrivals(RELAY_INTERFACE)?;
    if order.threaded {
        // Only an interface that is up has somebody who takes arrivals.
        fs::write(format!("/sys/class/net/{RELAY_INTERFACE}/threaded"), "1")
            .map_err(|error| format!("no thread of its own for arrivals: {error}"))?;
    }
    let to = ["dev", RELAY_INTERFACE, "lladdr", &far_hardware, "nud", "permanent"];
    ip(&[&["neighbour", "replace", &far][..], &to].concat())
}

/// Runs `ip` in the network that this thread is in.
pub(super) fn ip(words: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .map_err(|error| format!("ip (Debian: iproute2) does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", words.join(" "), said.trim()).into())
}

fn floor(order: &Order) -> Result<Floor, Failure> {
    let (relay, far) = order.addresses();
    let leg = |call, side: usize| floor::Leg {
        bind: SocketAddrV4::new(relay, port(call, side)),
        far_side: SocketAddrV4::new(far, order.far_ports[call][side]),
    };
    let calls: Vec<_> =
        (0..order.far_ports.len()).map(|call| [leg(call, 0), leg(call, 1)]).collect();
    Ok(Floor::start(&calls)?)
}

/// Our engine, with what must outlive it.
struct Standing {
    _engine: Engine,
    _events: Receiver<Event>,
    carried: BTreeSet<String>,
}

fn engine(order: &Order) -> Result<Standing, Failure> {
    let (tell, events) = channel();
    let tell = move |event| {
        // The other end is gone only when the run is over.
        let _ = tell.send(event);
    };
    let engine = Engine::start(config(order), Box::new(tell))?;
    let (relay, far) = order.addresses();
    let mut carried = BTreeSet::new();
    for (call, far_ports) in order.far_ports.iter().enumerate() {
        let (id, worker) = (MediaId(call as u64), call % order.workers);
        let [a, b] =
            [0, 1].map(|side| LegPorts { bind: relay.into(), rtp: port(call, side), dscp: 46 });
        engine.open(id, worker, a, b, [call as u8; 32])?;
        let [a, b] = [0, 1].map(|side| {
            let crypto = order.legs.is_encrypted(side).then(|| Crypto {
                local: key(our_key(call, side)),
                remote: vec![key(far_key(side))],
            });
            Some(carriage(SocketAddrV4::new(far, far_ports[side]), crypto))
        });
        engine.connect(id, worker, a, b)?;
        engine.stats(id, worker)?;
        carried.extend(is_open(&events)?);
    }
    Ok(Standing { _engine: engine, _events: events, carried })
}

fn config(order: &Order) -> Config {
    Config {
        workers: order.workers,
        transcoders: 0,
        engine: order.engine.kind(),
        offload: order.offload,
        outward: matches!(order.net, Net::Veth),
        gather: order.gather,
    }
}

/// Waits until the engine has read what it was told; says what carries the call.
fn is_open(events: &Receiver<Event>) -> Result<[String; 2], Failure> {
    loop {
        match events.recv_timeout(Duration::from_secs(10))? {
            Event::Stats { carried, .. } => {
                return Ok(carried.map(|leg| match &*leg.why_not_faster {
                    "" => leg.by.to_string(),
                    why => format!("{}: {why}", leg.by),
                }));
            }
            Event::Notice { .. } => {}
            Event::OpenFailed { why, .. } | Event::FellBack { why, .. } => return Err(why.into()),
            Event::Closed { .. } => return Err("a call was closed by nobody".into()),
        }
    }
}

fn carriage(far_side: SocketAddrV4, crypto: Option<Crypto>) -> Carriage {
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

/// Octets of a process that are in memory.
pub(super) fn resident(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(1024 * kb.ok_or("/proc/.../status cannot be read")?)
}

/// The port of a leg, where the relay lets us choose.
fn port(call: usize, side: usize) -> u16 {
    FIRST_PORT + PORTS_PER_CALL * call as u16 + 2 * side as u16
}

/// Below the range that systems give away by themselves, as in production, as long as it lasts.
const FIRST_PORT: u16 = 10_000;
const PORTS_PER_CALL: u16 = 4;
/// Four for each call, and some.
const DESCRIPTORS: u64 = 65_536;
