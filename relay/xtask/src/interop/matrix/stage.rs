//! Tollgate between all ends of the matrix: a trunk for each end, a number for each pair, one process.

use super::super::namespace::within;
use super::super::pki::Leaf;
use super::super::process::{Process, until};
use super::channel::{BORDER, PORT, TLS_PORT};
use super::network::BORDER_WIRE;
use super::pair::{End, Keying, Transport};
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tollgate as it runs.
pub(super) struct Stage {
    pub(super) process: Process,
    folder: PathBuf,
}

/// An end with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) end: End,
    pub(super) address: Ipv4Addr,
    /// Its namespace, its trunk and the folder of its files.
    pub(super) name: String,
    /// What it is called by.
    pub(super) number: String,
}

/// The name that every end's certificate has.
pub(super) const FAR_NAME: &str = "far.matrix.example";
pub(super) const OWN_NAME: &str = "sbc1.matrix.example";

impl Stage {
    /// Starts it with trunks for these ends, of which each even one calls the next.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        root: &Path,
        own: &Leaf,
        ends: &[Placed],
    ) -> Outcome<Self> {
        let folder = folder.join("tollgate");
        std::fs::create_dir_all(folder.join("tenants.d")).while_(folder.display())?;
        let text = host(&folder, root, own, ends);
        std::fs::write(folder.join("tollgate.toml"), text).while_("tollgate.toml")?;
        std::fs::write(folder.join("tenants.d/matrix.toml"), tenant(ends)).while_("matrix.toml")?;
        let mut command = within(BORDER_WIRE, &binary.display().to_string());
        command.args(["run", "--config"]).arg(&folder);
        let mut process = Process::start("tollgate", &mut command, &folder.join("log"))?;
        process.until("listening Tollgate", START, |_| {
            TcpStream::connect((BORDER, TLS_PORT)).is_ok()
        })?;
        Ok(Self { process, folder })
    }

    /// The records of so many calls, which have ended.
    pub(super) fn records(&self, count: usize) -> Outcome<Vec<Value>> {
        let path = self.folder.join(RECORDS);
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        until("records of all calls", TEARDOWN, || read().lines().count() >= count)
            .map_err(|fail| Fail(format!("{fail}: {} of {count}", read().lines().count())))?;
        read().lines().map(|line| serde_json::from_str(line).while_(line)).collect()
    }

    /// SIGTERM: it ends in peace.
    pub(super) fn stop(mut self) -> Outcome {
        self.process.signal("TERM")?;
        let status = self.process.ended(STOP)?;
        ensure(status.success(), || format!("tollgate ended with {status}"))
    }
}

const RECORDS: &str = "records.jsonl";
const START: Duration = Duration::from_secs(60);
const TEARDOWN: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(15);

fn host(folder: &Path, root: &Path, own: &Leaf, ends: &[Placed]) -> String {
    let (chain, key, folder) = (own.chain.display(), own.key.display(), folder.display());
    let mut text = format!(
        r#"[node]
fqdn = "{OWN_NAME}"

[admin]
socket = "{folder}/admin.sock"

[metrics]
listen = "{BORDER}:9464"

[state]
directory = "{folder}/state"

[records]
file = "{folder}/{RECORDS}"

[[media.address]]
name = "wire"
bind = "{BORDER}"
advertise = "{BORDER}"
ports = "20000-20999"

[[certificate]]
name = "own"
chain = "{chain}"
key = "{key}"

[[listener]]
name = "udp"
transport = "udp"
bind = "{BORDER}:{PORT}"

[[listener]]
name = "tcp"
transport = "tcp"
bind = "{BORDER}:{PORT}"

[[listener]]
name = "tls"
transport = "tls"
bind = "{BORDER}:{TLS_PORT}"
certificate = "own"
"#
    );
    for placed in ends {
        trunk(&mut text, placed, root);
    }
    text
}

fn trunk(text: &mut String, placed: &Placed, root: &Path) {
    let Placed { end, address, name, .. } = placed;
    let (listener, port) = match end.transport {
        Transport::Udp => ("udp", PORT),
        Transport::Tcp => ("tcp", PORT),
        Transport::Tls => ("tls", TLS_PORT),
    };
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("\n[[trunk]]\nname = \"{name}\"\nkind = \"carrier\""));
    line(format_args!("listener = \"{listener}\"\ntargets = [\"{address}:{port}\"]"));
    line(format_args!("sources = [\"{address}/32\"]\noptions_interval = \"off\""));
    if end.transport == Transport::Tls {
        line(format_args!("peer_names = [\"{FAR_NAME}\"]\nroots = \"{}\"", root.display()));
    }
    match end.keying {
        Keying::Rtp => line(format_args!("srtp = \"off\"")),
        Keying::Dtls => line(format_args!("srtp = \"required\"\nsrtp_keying = \"dtls\"")),
        Keying::Sdes80 => line(format_args!("srtp = \"required\"")),
        Keying::Sdes32 | Keying::Gcm128 | Keying::Gcm256 => {
            let suite = end.keying.suite().unwrap_or_default();
            line(format_args!("srtp = \"required\"\nsrtp_suites = [\"{suite}\"]"));
        }
    }
    if end.path.ice() {
        // Both ways of it, by the transport: what checks too, and what only answers.
        let ice = if end.transport == Transport::Tcp { "full" } else { "lite" };
        line(format_args!("ice = \"{ice}\""));
    }
}

fn tenant(ends: &[Placed]) -> String {
    let numbers: Vec<String> = ends.iter().map(|it| format!("\"{}\"", it.number)).collect();
    let mut text = format!(
        "fqdns = [\"contoso.{OWN_NAME}\"]\nnumbers = [{}]\n\n[limits]\ncalls = 500\n\
         calls_per_second = 500\n",
        numbers.join(", ")
    );
    for Placed { number, name, .. } in ends {
        let _ = write!(
            text,
            "\n[[route]]\nfrom = \"carrier\"\nmatch = \"{number}\"\nto = [\"{name}\"]\n"
        );
    }
    text
}
