//! Knows which Debian package brings which program, and installs what is missing where it may.

use crate::fail::{Outcome, While};
use crate::watched;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program from outside, the Debian 12 package it comes in and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program to find on the path, or Kamailio's TLS module.
    found_by: &'static str,
    pub(crate) package: &'static str,
    purpose: &'static str,
}

const fn tool(found_by: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { found_by, package, purpose }
}

/// What the calls between real peers need.
pub(crate) const INTEROP: &[Tool] = &[
    tool("baresip", "baresip-core", "plays the carrier and the Teams user"),
    tool("kamailio", "kamailio", "plays the Teams front with its three names"),
    tool(KAMAILIO_TLS, "kamailio-tls-modules", "mutual TLS of the Teams front"),
    tool("sipp", "sip-tester", "plays carriers by scenario, with RTP"),
    tool("tshark", "tshark", "judges loss and listens to both legs"),
    tool("python3", "python3", "plays fax terminals with spandsp, which baresip brings"),
    tool("ip", "iproute2", "sets up the private network"),
    tool("ethtool", "ethtool", "has the private network's wires take frames as a card does"),
    tool("bpftool", "bpftool", "takes BPF programs away under calls"),
    tool("pebble", "pebble", "issues certificates by ACME"),
    OPENSSL,
    tool("unshare", "util-linux", "opens the private network"),
];

/// What the matrix of far ends needs.
pub(crate) const MATRIX: &[Tool] = &[
    tool("baresip", "baresip-core", "is a far end"),
    tool("rtpengine", "rtpengine-daemon", "is the media engine of a far end"),
    tool("tshark", "tshark", "judges loss and listens on the wire"),
    tool("ip", "iproute2", "sets up the private network"),
    OPENSSL,
    tool("unshare", "util-linux", "opens the private network"),
];

/// What builds BPF programs.
pub(crate) const BPF: &[Tool] = &[
    tool("clang", "clang", "builds BPF programs, to compare them with those that are committed"),
    tool("llvm-strip", "llvm", "takes out of them what the kernel does not read"),
    tool(BPF_HEADERS, "libbpf-dev", "headers of BPF programs"),
];

/// What counts instructions.
pub(crate) const INSTRUCTIONS: &[Tool] =
    &[tool("valgrind", "valgrind", "counts instructions, whatever else the machine does")];

/// Certificates for whatever needs some.
pub(crate) const OPENSSL: Tool =
    tool("openssl", "openssl", "makes certificates, plays strangers, opens SRTP for the judge");

/// What the check of the systemd unit needs.
pub(crate) const UNIT: &[Tool] =
    &[tool("systemd-analyze", "systemd", "reads the unit as the service manager would")];

/// The header that the programs begin with.
const BPF_HEADERS: &str = "/usr/include/bpf/bpf_helpers.h";
const KAMAILIO_TLS: &str = "kamailio/modules/tls.so";

/// Tries to have every tool at hand and gives back the ones that are missing still.
pub(crate) fn provide(tools: &[Tool], scratch: &Path) -> Outcome<Vec<Tool>> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(missing);
    }
    for tool in &missing {
        println!("    needs Debian package {}: {}", tool.package, tool.purpose);
    }
    if !is_root() || !Path::new("/etc/debian_version").exists() {
        return Ok(missing);
    }
    install(&missing, scratch)?;
    Ok(self::missing(tools))
}

/// The packages of these tools, for a message.
pub(crate) fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.package).collect::<Vec<_>>().join(" ")
}

/// Are we root, as far as files and packages go?
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uid.is_some_and(|uid| uid.split_whitespace().nth(1) == Some("0"))
    })
}

/// The folder with Kamailio's modules; its name holds the machine's architecture.
pub(crate) fn kamailio_modules() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?;
    let paths = libraries.flatten().map(|entry| entry.path().join("kamailio/modules"));
    paths.into_iter().find(|path| path.join("tls.so").exists())
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().copied().filter(|tool| !is_there(tool.found_by)).collect()
}

fn is_there(found_by: &str) -> bool {
    if found_by == KAMAILIO_TLS {
        return kamailio_modules().is_some();
    }
    // A user's path on Debian lacks the folders of kamailio and ip.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|folder| folder.join(found_by).exists())
}

/// Installs without asking, without recommended extras and without starting a service.
fn install(tools: &[Tool], scratch: &Path) -> Outcome {
    let _quiet = NoServices::begin()?;
    let names: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    println!("    installing {}", names.join(" "));
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(names);
    for (command, log) in [(&mut update, "apt-update.log"), (&mut install, "apt-install.log")] {
        let finished =
            watched::run(command.env("DEBIAN_FRONTEND", "noninteractive"), &scratch.join(log))?;
        if !finished.success() {
            println!("{}", finished.account());
        }
    }
    Ok(())
}

/// While this stands, Debian's packages start no service of theirs. An existing policy is respected.
struct NoServices {
    ours: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Outcome<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(Self::POLICY).exists() {
            return Ok(Self { ours: false });
        }
        // 101 means "forbidden by policy" to invoke-rc.d.
        std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").while_(Self::POLICY)?;
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(Self::POLICY, executable).while_(Self::POLICY)?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}
