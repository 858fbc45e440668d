//! Tollgate itself, as an operator runs it: its configuration, its verbs, its metrics and its records.

use super::lab;
use super::pki::{Authority, Leaf};
use super::process::{PATH, Process, filled, until};
use super::setting::{self, Setting};
use super::sipp;
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The running daemon.
pub(super) struct Tollgate {
    pub(super) process: Process,
    binary: PathBuf,
    folder: PathBuf,
    /// The configuration it began with.
    host: String,
}

impl Tollgate {
    /// Writes the configuration, starts the daemon and waits until it is ready.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        teams: &Authority,
        own: &Leaf,
        setting: &Setting,
    ) -> Outcome<Self> {
        let folder = folder.join("tollgate");
        std::fs::create_dir_all(folder.join("tenants.d")).while_(folder.display())?;
        let text = host(&folder, teams, own) + &setting.host();
        std::fs::write(folder.join("tollgate.toml"), &text).while_("tollgate.toml")?;
        super::keys::music(&folder)?;
        let secret = folder.join("sipp.secret");
        std::fs::write(&secret, sipp::SECRET).while_(secret.display())?;
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))
            .while_(secret.display())?;
        std::fs::write(folder.join("tenants.d/contoso.toml"), tenant()).while_("contoso.toml")?;
        std::fs::write(folder.join("tenants.d/partner.toml"), setting::tenant())
            .while_("partner.toml")?;
        let mut command = setting.command(binary, &folder)?;
        command.args(["run", "--config"]).arg(&folder);
        let process = Process::start("tollgate", &mut command, &folder.join("log"))?;
        let mut tollgate = Self { process, binary: binary.to_owned(), folder, host: text };
        tollgate.process.until("200 on /readyz", START, |_| ready())?;
        Ok(tollgate)
    }

    /// The program.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Where its configuration is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Standard output of a verb.
    pub(super) fn ask(&self, words: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(&self.folder).env("PATH", PATH);
        let output = command.output().while_("tollgate")?;
        ensure(output.status.success(), || {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("tollgate {}: {}: {said}", words.join(" "), output.status)
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same of a verb that may end with another exit code than 0, as something wants seeing to.
    pub(super) fn shows(&self, words: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(&self.folder).env("PATH", PATH);
        let output = command.output().while_("tollgate")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Puts the usual configuration with these further lines in force.
    pub(super) fn reconfigure(&self, further: &str) -> Outcome {
        let text = format!("{}{further}", self.host);
        std::fs::write(self.folder.join("tollgate.toml"), text).while_("tollgate.toml")?;
        self.ask(&["reload"]).map(drop)
    }

    /// Waits until this metric is 1.
    pub(super) fn sees(&mut self, metric: &str, label: &str) -> Outcome {
        self.process.until(metric, START, |_| {
            Metrics::scrape().is_ok_and(|metrics| metrics.sum(metric, &[label]) > 0.5)
        })
    }

    /// How many calls `tollgate calls` shows.
    pub(super) fn calls(&self) -> Outcome<usize> {
        Ok(objects(&self.ask(&["calls", "--json"])?))
    }

    /// What `tollgate call` shows of the only call.
    pub(super) fn call(&self) -> Outcome<Value> {
        let read = |text: String| serde_json::from_str::<Value>(&text).while_("`tollgate call`");
        let calls = read(self.ask(&["calls", "--json"])?)?;
        let number = calls["calls"][0]["call"].to_string();
        read(self.ask(&["call", &number, "--json"])?)
    }

    /// Waits until no call is left: teardown reaches the far side before our own books are closed.
    pub(super) fn is_empty_again(&self) -> Outcome {
        let mut left = Err(Fail::new("nothing asked"));
        let waited = until("empty `tollgate calls`", TEARDOWN, || {
            left = self.calls();
            matches!(left, Ok(0))
        });
        left.and(waited)
    }

    /// Waits until the first Teams target is up: calls before that are refused, rightly.
    pub(super) fn sees_teams(&mut self) -> Outcome {
        self.process.until("Teams target up", START, |_| {
            Metrics::scrape().is_ok_and(|metrics| {
                metrics.sum("tollgate_trunk_target_up", &["trunk=\"teams\""]) > 2.5
            })
        })
    }

    /// The record of each finished call, oldest first.
    pub(super) fn records(&self) -> Outcome<Vec<Value>> {
        let path = self.folder.join(RECORDS);
        let text = std::fs::read_to_string(&path).while_(path.display())?;
        text.lines().map(|line| serde_json::from_str(line).while_(line)).collect()
    }

    /// The record of the last finished call, which has to be the `number`th.
    pub(super) fn record(&self, number: usize) -> Outcome<Value> {
        until("record of the call", TEARDOWN, || {
            self.records().is_ok_and(|records| records.len() >= number)
        })?;
        let mut records = self.records()?;
        ensure(records.len() == number, || format!("{} records, not {number}", records.len()))?;
        records.pop().ok_or_else(|| Fail::new("no record"))
    }

    /// SIGTERM, then the exit status.
    pub(super) fn terminate(&mut self) -> Outcome<ExitStatus> {
        self.process.signal("TERM")?;
        self.process.ended(STOP)
    }
}

/// From start to ready, on a machine busy with everyone's start.
const START: Duration = Duration::from_secs(60);

/// From the BYE's answer to a closed book.
const TEARDOWN: Duration = Duration::from_secs(15);

/// The deadline of a graceful stop, which is 10 s, and a little for the exit itself.
const STOP: Duration = Duration::from_secs(12);

const RECORDS: &str = "records.jsonl";

/// One text of metrics.
pub(super) struct Metrics(String);

impl Metrics {
    /// Scrapes as Prometheus would.
    pub(super) fn scrape() -> Outcome<Self> {
        let (status, body) = get("/metrics")?;
        ensure(status == 200, || format!("/metrics: {status}"))?;
        Ok(Self(body))
    }

    /// The sum of the samples of this name with all these labels.
    pub(super) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.0
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| {
                let (found, set) = series.split_once('{').unwrap_or((series, ""));
                found == name && labels.iter().all(|label| set.contains(label))
            })
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }
}

fn ready() -> bool {
    get("/readyz").is_ok_and(|(status, _)| status == 200)
}

/// Status and body of a GET on the metrics address.
fn get(path: &str) -> Outcome<(u16, String)> {
    let mut stream = TcpStream::connect(lab::BORDER_METRICS).while_("metrics")?;
    stream.set_read_timeout(Some(START)).while_("metrics")?;
    let host = lab::BORDER_METRICS;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).while_("metrics")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).while_("metrics")?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| Fail(format!("{path}: no HTTP answer: {answer:.60}")))
}

/// JSON objects in an answer, whether it is a list or one object per line.
fn objects(answer: &str) -> usize {
    match serde_json::from_str::<Value>(answer) {
        Ok(Value::Array(list)) => list.len(),
        Ok(Value::Object(one)) => one["calls"].as_array().map_or(1, Vec::len),
        _ => answer.lines().filter(|line| !line.trim().is_empty()).count(),
    }
}

/// The host's file.
fn host(folder: &Path, teams: &Authority, own: &Leaf) -> String {
    let [folder, chain, key, root] =
        [folder, &own.chain, &own.key, &teams.root].map(|path| path.display().to_string());
    let names = lab::FRONT_NAMES.map(|(name, at)| format!("\"{name}\" = [\"{at}\"]\n")).concat();
    let values: &[(&str, &dyn Display)] = &[
        ("FOLDER", &folder),
        ("CHAIN", &chain),
        ("KEY", &key),
        ("ROOT", &root),
        ("NAMES", &names),
        ("RECORDS", &RECORDS),
        ("PORT", &lab::SIP_PORT),
        ("USER", &sipp::USER),
        ("BASE", &lab::BASE_FQDN),
        ("BORDER", &lab::BORDER),
        ("MEDIA", &lab::BORDER_MEDIA),
        ("METRICS", &lab::BORDER_METRICS),
        ("TLS", &lab::BORDER_TLS),
        ("BYPASS", &lab::BORDER_BYPASS),
        ("SIP", &lab::BORDER_SIP),
        ("SECURE", &lab::BORDER_SECURE),
        ("TEAMS", &lab::TEAMS.network),
        ("SECURE_CARRIER", &lab::SECURE),
        ("SECURE_NAME", &lab::SECURE_NAME),
        ("PBX", &lab::PBX),
        ("CARRIER", &lab::CARRIER),
        ("BUSY", &lab::BUSY),
        ("SECOND", &lab::SECOND),
        ("CALLER", &lab::CALLER),
        ("CALLEE", &lab::CALLEE),
        ("RINGER", &lab::RINGER),
    ];
    filled(HOST, values)
}

/// The only tenant's file.
fn tenant() -> String {
    filled(
        TENANT,
        &[
            ("FQDN", lab::TENANT_FQDN),
            ("NUMBER", lab::USER_NUMBER),
            ("BYPASS", lab::BYPASS_NUMBER),
            ("OVER_UDP", lab::OVER_UDP),
            ("OVER_TCP", lab::OVER_TCP),
        ],
    )
}

const HOST: &str = include_str!("../../peers/border.toml");
const TENANT: &str = include_str!("../../peers/tenant.toml");

#[cfg(test)]
mod tests {
    use super::{Metrics, objects};

    #[test]
    fn a_label_that_differs_is_not_counted() {
        let metrics = Metrics(
            "# TYPE a counter\na{t=\"x\",o=\"ok\"} 2\na{t=\"y\",o=\"ok\"} 3\nab{t=\"x\"} 9\n"
                .to_owned(),
        );
        assert!((metrics.sum("a", &["t=\"x\""]) - 2.0).abs() < 0.1);
        assert!((metrics.sum("a", &[]) - 5.0).abs() < 0.1);
    }

    #[test]
    fn no_call_is_counted_in_an_empty_answer() {
        assert_eq!(
            ["", "[]\n", "{\"calls\":[]}", "{\"id\":1}\n{\"id\":2}\n"].map(objects),
            [0, 0, 0, 2]
        );
    }
}
