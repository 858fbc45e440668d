//! `perf relay`: the process that relays, told by `perf media` what and where. It ends with its input.

use super::live;
use super::order::{
    Account, FAR, FAR_HARDWARE, Net, Order, RELAY, RELAY_HARDWARE, RELAY_INTERFACE, Ready, Relay,
    Word, port,
};
use super::ours::Ours;
use super::rtpengine::Rtpengine;
use super::wire::hardware;
use crate::floor::{self, Floor};
use crate::machine;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};
use std::net::SocketAddrV4;
use std::process::Command;

type Failure = Box<dyn Error>;

/// Relays as is ordered on standard input, until that ends.
pub(crate) fn run() -> Result<(), Failure> {
    let mut lines = io::stdin().lock().lines();
    let order = lines.next().ok_or("no order")??;
    let order: Order = serde_json::from_str(&order)?;
    let mut standing = None;
    match stand(&order, &mut lines) {
        Ok((ready, stands)) => {
            standing = Some(stands);
            say(&Word::Ready(ready))?;
        }
        Err(error) => say(&Word::Failed(error.to_string()))?,
    }
    // The one thing that it is told once it stands is to close its calls.
    for line in lines {
        line?;
        let closed = standing.as_ref().ok_or("nothing stands")?.close(order.net);
        say(&closed.map_or_else(|error| Word::Failed(error.to_string()), Word::Closed))?;
    }
    Ok(())
}

fn say(word: &Word) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(word)?)?;
    out.flush()
}

/// What relays, until it is dropped.
enum Standing {
    Floor { _floor: Floor },
    Ours(Ours),
    Rtpengine { _running: Rtpengine },
    Nothing { _discarding: live::Discarding },
}

impl Standing {
    fn close(&self, net: Net) -> Result<Account, Failure> {
        let mut account = match self {
            Self::Ours(ours) => ours.close()?,
            Self::Floor { .. } | Self::Rtpengine { .. } | Self::Nothing { .. } => {
                Account::default()
            }
        };
        account.full += full_sockets()?;
        if net == Net::Veth {
            account.cable_in = interface_count("rx_dropped")?;
            account.cable_out += interface_count("tx_dropped")?;
        }
        Ok(account)
    }
}

fn stand(
    order: &Order,
    lines: &mut impl Iterator<Item = io::Result<String>>,
) -> Result<(Ready, Standing), Failure> {
    machine::allow_descriptors(DESCRIPTORS);
    if order.net == Net::Veth {
        machine::enter_network()?;
        say(&Word::Inside)?;
        lines.next().ok_or("no interface")??;
        arrange(order)?;
    }
    let mut ready = Ready {
        ports: (0..order.calls()).map(|call| [port(call, 0), port(call, 1)]).collect(),
        keys: vec![[None, None]; order.calls()],
        processes: vec![std::process::id()],
        resident_before: machine::resident(std::process::id())?,
    };
    let standing = match order.relay {
        Relay::Floor => Standing::Floor { _floor: floor(order)? },
        Relay::Ours(way) => Standing::Ours(Ours::start(order, way, &mut ready)?),
        Relay::Rtpengine => {
            let mut running = Rtpengine::start(order)?;
            ready.resident_before = machine::resident(running.id())?;
            for call in 0..order.calls() {
                let given = running.call(order, call)?;
                (ready.ports[call], ready.keys[call]) = (given.ports, given.keys);
            }
            ready.processes = vec![running.id()];
            Standing::Rtpengine { _running: running }
        }
        Relay::Nothing => Standing::Nothing { _discarding: live::Discarding::at(RELAY_INTERFACE)? },
    };
    Ok((ready, standing))
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
    for queue in 0..order.workers.min(QUEUES) {
        // As on a network card: what a processor sends goes by a queue of its own. A kernel that cannot say so
        // has one for all.
        let path = format!("/sys/class/net/{RELAY_INTERFACE}/queues/tx-{queue}/xps_cpus");
        let _ = fs::write(path, format!("{:x}", 1 << queue));
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
    let mut calls: Vec<Vec<[floor::Leg; 2]>> = vec![Vec::new(); order.workers];
    for call in 0..order.calls() {
        calls[order.worker_of(call)].push([leg(call, 0), leg(call, 1)]);
    }
    Ok(Floor::start(&calls)?)
}

/// Packets that found their socket full, of all sockets in this network.
fn full_sockets() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, counts) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut pairs = names.split_whitespace().zip(counts.split_whitespace());
    let count = pairs.find(|(name, _)| *name == "RcvbufErrors");
    Ok(count.and_then(|(_, count)| count.parse().ok()).ok_or("/proc/net/snmp cannot be read")?)
}

fn interface_count(name: &str) -> Result<u64, Failure> {
    let path = format!("/sys/class/net/{RELAY_INTERFACE}/statistics/{name}");
    Ok(fs::read_to_string(path)?.trim().parse()?)
}

/// Of each direction, as many as processors that relay at most.
pub(super) const QUEUES: usize = 2;
/// Four for each call, and some.
const DESCRIPTORS: u64 = 65_536;
