//! The matrix's network: every end has an address of its own on one switch, and Tollgate is on the same one
//! behind a wire where everything is captured and the weather is made.

use super::super::namespace::{cover, run};
use super::super::process::PATH;
use super::channel::BORDER;
use super::pair::{Peer, Weather};
use super::rtpengine;
use crate::fail::{Fail, Outcome, While, ensure};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// The namespace that Tollgate runs in, and the switch's port that leads there.
pub(super) const BORDER_WIRE: &str = "border";

const SWITCH: &str = "switch";

/// Where all talkers behind rtpengine are.
pub(super) const TALKERS: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 3);

/// Lays the wires of Tollgate.
pub(super) fn lay(folder: &Path) -> Outcome {
    ensure(std::process::id() < 10, || "not inside a private network".to_owned())?;
    // Nobody is to wait for a name server of the host: there is none, and that is said at once.
    cover(folder, "resolv.conf", "nameserver 127.0.0.53\n")?;
    // The names of namespaces lie below /run; the host is not to see ours.
    run("mount -t tmpfs tmpfs /run")?;
    run("ip link set lo up")?;
    for address in [rtpengine::INSIDE, TALKERS] {
        run(&format!("ip address add {address}/32 dev lo"))?;
    }
    run(&format!("ip link add {SWITCH} type bridge"))?;
    run(&format!("ip link set {SWITCH} up"))?;
    plug(BORDER_WIRE, BORDER)
}

/// Gives an end its address: a program of others lives in a namespace of this name, alone, because its
/// connectivity checks show every address they find.
pub(super) fn connect(name: &str, address: Ipv4Addr, peer: Peer) -> Outcome {
    match peer {
        Peer::Baresip => plug(name, address),
        Peer::Rtpengine | Peer::Plain => run(&format!("ip address add {address}/16 dev {SWITCH}")),
    }
}

fn plug(name: &str, address: Ipv4Addr) -> Outcome {
    run(&format!("ip netns add {name}"))?;
    run(&format!("ip link add name {name} type veth peer name wire netns {name}"))?;
    run(&format!("ip link set {name} master {SWITCH}"))?;
    run(&format!("ip link set {name} up"))?;
    run(&format!("ip -n {name} link set lo up"))?;
    run(&format!("ip -n {name} address add {address}/16 dev wire"))?;
    run(&format!("ip -n {name} link set wire up"))
}

/// Makes the weather on the wire to Tollgate with netem. False: this kernel has none, and the talkers have
/// to make it themselves.
pub(super) fn weather(weather: Weather) -> Outcome<bool> {
    let what = match weather {
        Weather::Fair => {
            // There may be nothing to take away.
            let _ = run(&format!("tc qdisc del dev {BORDER_WIRE} root"));
            return Ok(true);
        }
        Weather::Loss => "loss 3%",
        Weather::Jitter => "delay 10ms 8ms",
        Weather::Reorder => "delay 45ms reorder 95%",
        Weather::Duplicates => "duplicate 5%",
    };
    let mut command = Command::new("tc");
    command.args(["qdisc", "replace", "dev", BORDER_WIRE, "root", "netem"]).env("PATH", PATH);
    let output = command.args(what.split(' ')).output().while_("tc")?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(true),
        false if said.contains("kind is unknown") => Ok(false),
        false => Err(Fail(format!("tc netem {what}: {said}"))),
    }
}
