//! `tollgate run` between `tollgate emulate teams` and `tollgate emulate carrier`, each a process of its
//! own: whoever tries the verbs as documented must see calls come up and no rule broken.

use crate::bench::{Bench, TemporaryFolder};
use crate::fail::{Fail, Outcome, While, ensure};
use crate::process::{Process, until};
use crate::tally::Tally;
use serde_json::Value;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the carrier plays: the longest call takes some twelve seconds.
const CARRIER_LASTS: &str = "22s";
/// Keys are made in this time, and the daemon is ready.
const READY: Duration = Duration::from_secs(20);
/// Beyond what was asked for, a side is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Music, a transfer, a queue and simultaneous ring are among the calls; strangers call first.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let binary = bench.release_binary()?;
    let mut folder = TemporaryFolder::new("emulation")?;
    let played = play(&binary, folder.path());
    if played.is_err() {
        folder.keep();
    }
    played
}

fn play(binary: &Path, folder: &Path) -> Outcome<Tally> {
    let files = [
        ("teams.toml", TEAMS),
        ("carrier.toml", CARRIER),
        ("sbc/tollgate.toml", SBC),
        ("sbc/tenants.d/contoso.toml", CONTOSO),
    ];
    std::fs::create_dir_all(folder.join("sbc/tenants.d")).while_(folder.display())?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).while_(path.display())?;
    }
    let teams = Side::start(binary, folder, "teams", &[])?;
    until("certificates of the laboratory", READY, || folder.join("emulate-lab/sbc.key").exists())?;
    let mut border = Command::new(binary);
    border.args(["run", "--config"]).arg(folder.join("sbc"));
    let mut border = Process::start("tollgate", &mut border, &folder.join("sbc.log"))?;
    border.until("listener", READY, |_| TcpStream::connect(BORDER).is_ok())?;
    let carrier = Side::start(binary, folder, "carrier", &["--for", CARRIER_LASTS])?;
    let carrier = carrier.finish()?;
    // It has been called, and has called, by then.
    teams.process.signal("TERM")?;
    let teams = teams.finish()?;
    drop(border);
    let mut tally = Tally::default();
    let transferred = teams.of("call").any(|call| call["direction"] == "in" && call["to"] == "");
    ensure(transferred, || "nobody was called by a transfer".to_owned())?;
    for told in [&carrier, &teams] {
        let broken: Vec<String> = told.of("violation").map(ToString::to_string).collect();
        ensure(broken.is_empty(), || broken.join("\n"))?;
        ensure(told.success, || format!("{} did not end with 0", told.name))?;
    }
    let held = teams.of("attack").filter(|attempt| attempt["held"] == true).count();
    ensure(held == STRANGERS, || format!("{held} of {STRANGERS} strangers got nothing"))?;
    tally.passed += held;
    for (to, outcome) in CALLS {
        let mut calls =
            carrier.of("call").filter(|call| call["to"] == *to && call["direction"] == "out");
        let call = calls.next().ok_or_else(|| Fail(format!("nobody called {to}")))?;
        judge(call, outcome).map_err(|why| Fail(format!("{to}: {why}\n{call}")))?;
        println!("    {to}: {}", call["outcome"].as_str().unwrap_or_default());
        tally.passed += 1;
    }
    Ok(tally)
}

/// The four of fixture F-21.
const STRANGERS: usize = 4;

/// Whom the carrier calls, and how that ends; an empty word is a call that both hear.
const CALLS: &[(&str, &str)] = &[
    ("+4930123450", ""),
    ("+4930123451", "486"),
    ("+4930123452", ""),
    ("+4930123453", ""),
    ("+4930123454", ""),
    ("+4930123455", ""),
];

fn judge(call: &Value, outcome: &str) -> Result<(), String> {
    if !outcome.is_empty() {
        return match call["outcome"] == outcome {
            true => Ok(()),
            false => Err(format!("not {outcome}")),
        };
    }
    let media = &call["media"];
    let number = |key: &str| media[key].as_f64().unwrap_or_default();
    let heard = number("tone_share") > 0.9 && number("rx") > 100.0;
    let clear = number("srtp_failures") + number("strays") == 0.0;
    match heard && clear {
        true => Ok(()),
        false => Err("Teams was not heard well".to_owned()),
    }
}

/// One emulated side.
struct Side {
    name: &'static str,
    process: Process,
}

/// What it told.
struct Told {
    name: &'static str,
    success: bool,
    lines: Vec<Value>,
}

impl Told {
    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["kind"] == kind)
    }
}

impl Side {
    fn start(binary: &Path, folder: &Path, name: &'static str, further: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(binary);
        command.args(["emulate", name, "--json"]).args(further).arg("--config");
        command.arg(folder.join(format!("{name}.toml")));
        let log = folder.join(format!("{name}.log"));
        Ok(Self { name, process: Process::start(name, &mut command, &log)? })
    }

    fn finish(mut self) -> Outcome<Told> {
        let status = self.process.ended(PATIENCE)?;
        let text = self.process.said();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(Told { name: self.name, success: status.success(), lines: lines.collect() })
    }
}

/// Where the border controller is: nobody else's addresses and ports.
const BORDER: &str = "127.0.11.9:25061";

const TEAMS: &str = r#"
[teams]
listen = ["127.0.11.1:25061", "127.0.11.2:25061", "127.0.11.3:25061"]
forward_pai = true
forward_history = true

[attack]
outside = "127.0.13.1"

[[tenant]]
fqdn = "sbc1.example.net"
address = "127.0.11.9:25061"

[[tenant]]
fqdn = "contoso.sbc1.example.net"
address = "127.0.11.9:25061"
numbers = ["+493012345"]

[[user]]
number = "*"
after = "1s"
progress = "forks"

[[user]]
number = "+4930123451"
does = "busy"

[[user]]
number = "+4930123452"
after = "1s"
then = ["3s music", "6s resume"]

[[user]]
number = "+4930123453"
after = "500ms"
progress = "none"
then = ["3s transfer user"]

[[user]]
number = "+4930123454"
after = "1s"
then = ["4s replace"]

[[user]]
number = "+4930123455"
after = "8s"
rings_too = "+491701234567"

[[call]]
tenant = "contoso.sbc1.example.net"
from = "+4930123456"
to = "+498912345001"
after = "8s"
talk = "6s"
then = ["2s hold", "4s resume"]
"#;

const CARRIER: &str = r#"
[carrier]
listen = "127.0.12.1:25060"
sbc = "127.0.11.9:25060"

[[number]]
number = "*"
progress = "183"
after = "1s"

[[call]]
from = "+498912345010"
to = "+4930123450"
talk = "5s"

[[call]]
from = "+498912345011"
to = "+4930123451"

[[call]]
from = "+498912345012"
to = "+4930123452"
talk = "10s"

[[call]]
from = "+498912345013"
to = "+4930123453"
talk = "10s"

[[call]]
from = "+498912345014"
to = "+4930123454"
talk = "10s"

[[call]]
from = "+498912345015"
to = "+4930123455"
talk = "6s"
"#;

const SBC: &str = r#"
[node]
fqdn = "sbc1.example.net"
shutdown_deadline = "1s"

[admin]
socket = "admin.sock"

[state]
directory = "state"

[metrics]
listen = "127.0.11.9:29464"

[records]
file = "records.jsonl"

[[media.address]]
name = "loopback"
bind = "127.0.11.9"
ports = "28000-28999"

[resolve]
"sip.pstnhub.microsoft.com" = ["127.0.11.1"]
"sip2.pstnhub.microsoft.com" = ["127.0.11.2"]
"sip3.pstnhub.microsoft.com" = ["127.0.11.3"]

[[certificate]]
name = "sbc"
chain = "../emulate-lab/sbc.pem"
key = "../emulate-lab/sbc.key"

[[listener]]
name = "teams"
transport = "tls"
bind = "127.0.11.9:25061"
certificate = "sbc"

[[listener]]
name = "carrier"
transport = "udp"
bind = "127.0.11.9:25060"

[[trunk]]
name = "teams"
kind = "teams"
listener = "teams"
targets = [
    "sip.pstnhub.microsoft.com:25061",
    "sip2.pstnhub.microsoft.com:25061",
    "sip3.pstnhub.microsoft.com:25061",
]
sources = ["127.0.11.0/28"]
roots = "../emulate-lab/root.pem"

[[trunk]]
name = "colt"
kind = "carrier"
listener = "carrier"
targets = ["127.0.12.1:25060"]
sources = ["127.0.12.1"]
"#;

const CONTOSO: &str = r#"
fqdns = ["contoso.sbc1.example.net"]
numbers = ["+4930123450-+4930123459"]
transfer = "refer"

[[route]]
from = "teams"
match = "*"
to = ["colt"]

[[route]]
from = "carrier"
match = "*"
to = ["teams"]
"#;
