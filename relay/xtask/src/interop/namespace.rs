//! The private network: own network, mount and process namespaces that end with the last scenario, so that
//! nothing is left on the host and nothing on the host gets in between. In it, Tollgate stands where three
//! wires meet: Teams, the carriers and elsewhere are network namespaces that only it can reach.

use super::lab::{self, Side};
use super::process::PATH;
use super::{INSIDE, lab::SIDES};
use crate::fail::{Fail, Outcome, While, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// What `unshare` is to open; with the last one everyone inside dies with it.
const NAMESPACES: &[&str] =
    &["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// Can this machine open one?
pub(super) fn probe() -> Outcome {
    let output = unshare().arg("true").output().while_("unshare")?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Runs this program again inside, under its hidden verb.
pub(super) fn run_inside(folder: &Path, binary: &Path, only: &str) -> Outcome {
    run_verb(INSIDE, folder, binary, only)
}

/// The same with another verb.
pub(super) fn run_verb(verb: &str, folder: &Path, binary: &Path, only: &str) -> Outcome {
    let own = std::env::current_exe().while_("own path")?;
    let mut command = unshare();
    command.arg(own).arg(verb).arg(folder).arg(binary).arg(only);
    let status = command.stdin(Stdio::null()).status().while_("unshare")?;
    ensure(status.success(), || format!("the private network: {status}"))
}

/// Lays the wires and gives Teams its names.
pub(super) fn prepare(folder: &Path) -> Outcome {
    ensure(std::process::id() < 10, || "not inside a private network".to_owned())?;
    let names = lab::FRONT_NAMES.map(|(name, address)| format!("{address} {name}\n")).concat();
    let border = format!("{} {} {}", lab::BORDER, lab::BASE_FQDN, lab::TENANT_FQDN);
    cover(folder, "hosts", &format!("127.0.0.1 localhost\n{names}{border}\n"))?;
    // Nobody is to wait for a name server of the host: there is none, and that is said at once.
    cover(folder, "resolv.conf", "nameserver 127.0.0.53\n")?;
    // The names of namespaces lie below /run; the host is not to see ours.
    run("mount -t tmpfs tmpfs /run")?;
    run("ip link set lo up")?;
    SIDES.iter().try_for_each(wire)
}

/// Lays a text of ours over a file of `/etc`, for everyone inside.
pub(super) fn cover(folder: &Path, name: &str, text: &str) -> Outcome {
    let ours = folder.join(name);
    std::fs::write(&ours, text).while_(ours.display())?;
    run(&format!("mount --bind {} /etc/{name}", ours.display()))
}

/// A program that runs on one side.
pub(super) fn on(side: &Side, program: &str) -> Command {
    within(side.name, program)
}

/// A program that runs in the network namespace of this name.
pub(super) fn within(name: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]).env("PATH", PATH);
    command
}

fn wire(side: &Side) -> Outcome {
    let Side { name, network, hosts, gateway } = *side;
    run(&format!("ip netns add {name}"))?;
    run(&format!("ip link add {name} type veth peer name wire netns {name}"))?;
    run(&format!("ip address add {gateway}/24 dev {name}"))?;
    // On the wires themselves, so that engines find it there.
    run(&format!("ip address add {}/32 dev {name}", lab::BORDER))?;
    run(&format!("ip link set {name} up"))?;
    // Tollgate has one address, whichever wire it speaks on.
    run(&format!("ip route replace {network} dev {name} src {}", lab::BORDER))?;
    let inside = format!("ip -n {name}");
    run(&format!("{inside} link set lo up"))?;
    for host in hosts {
        run(&format!("{inside} address add {host}/24 dev wire"))?;
    }
    run(&format!("{inside} link set wire up"))?;
    run(&format!("{inside} route add default via {gateway}"))
}

fn unshare() -> Command {
    let path = format!("{}:{PATH}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).env("PATH", path);
    command
}

/// Runs a line of words that hold no spaces.
pub(super) fn run(line: &str) -> Outcome {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).env("PATH", PATH).output().while_(line)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Fail(format!("{line}: {}", String::from_utf8_lossy(&output.stderr))))
}
