//! `tollgate teams` on the emulated Teams of the demonstration: all is well, one thing is not, and nobody
//! answers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

mod running;

use running::{http, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A demonstration that stays up, gone with the test.
struct Demo {
    path: PathBuf,
    child: Child,
}

impl Demo {
    fn start() -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-doctor-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["demo", "--keep"]).arg(&path);
        let null = Stdio::null;
        let child = command.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
        Self { path, child }
    }

    fn stop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
            let _ = self.child.wait();
        }
    }

    /// Exit code and findings.
    fn doctor(&self, tenant: &str) -> (i32, Vec<Value>) {
        let (code, text) = tollgate(&self.path, &["teams", "doctor", tenant, "--json"]);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        (code, value["findings"].as_array().cloned().unwrap_or_default())
    }

    /// What Prometheus reads.
    fn metrics(&self) -> String {
        let text = std::fs::read_to_string(self.path.join("tollgate.toml")).unwrap();
        let listen = text.split("[metrics]\nlisten = \"").nth(1).unwrap();
        http(listen.split('"').next().unwrap().parse().unwrap(), "/metrics")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn tollgate(path: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(arguments).env("TOLLGATE_CONFIG", path).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
}

/// The verdicts of a check, by what it says.
fn of<'a>(findings: &'a [Value], check: &str) -> Vec<(&'a str, &'a str)> {
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    let own = findings.iter().filter(|finding| finding["check"] == check);
    own.map(|finding| (text(&finding["verdict"]), text(&finding["says"]))).collect()
}

/// Some calls of the demonstration take long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Microsoft's health dashboard shows, and an operator needs to answer it; calls of the demonstration
/// are too short for a round trip, and have no trouble with ICE.
const SHOWN: [&str; 16] = [
    // TLS and OPTIONS, both ways; certificates.
    "sip_connections_open",
    "peer_refusals_total",
    "options_age_seconds",
    "trunk_target_up",
    "certificate_expiry_timestamp_seconds",
    // Calls, how they end, and how soon they ring.
    "calls_active",
    "attempts_total",
    "answer_seizure_ratio",
    "network_effectiveness_ratio",
    "post_dial_delay_seconds",
    "sip_final_responses_total",
    "microsoft_codes_total",
    // Media.
    "media_jitter_seconds",
    "media_loss_ratio",
    "media_mos",
    "media_drops_total",
];

/// Which of those there is no sample of.
fn not_shown(metrics: &str) -> Vec<&'static str> {
    let is_of = |line: &str, name: &str| {
        let rest = line.strip_prefix("tollgate_").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
    };
    SHOWN.into_iter().filter(|name| !metrics.lines().any(|line| is_of(line, name))).collect()
}

/// Peers that were turned away, as counted.
fn refusals(metrics: &str) -> Vec<&str> {
    metrics.lines().filter(|line| line.starts_with("tollgate_peer_refusals_total{")).collect()
}

/// TDR-MT-012 TDR-OPT-024 TDR-DNS-007 TDR-MON-001
#[test]
fn the_doctor_finds_a_lab_well_then_a_name_that_leads_to_two_places_then_nobody() {
    let mut demo = Demo::start();
    // The calls of the demonstration go both ways.
    let mut findings = Vec::new();
    let stands = String::new;
    until("calls both ways", PATIENCE, stands, || {
        findings = demo.doctor("fabrikam").1;
        let passed =
            of(&findings, "calls").iter().filter(|(verdict, _)| *verdict == "pass").count();
        (passed == 2).then_some(())
    });
    let missing = || format!("{:?}", not_shown(&demo.metrics()));
    until("a sample of each metric", PATIENCE, missing, || {
        not_shown(&demo.metrics()).is_empty().then_some(())
    });
    assert!(findings.iter().all(|finding| finding["verdict"] != "fail"), "{findings:#?}");
    assert_eq!(of(&findings, "daemon"), [("pass", "answers")]);
    let reached = of(&findings, "reach teams");
    assert_eq!(reached.len(), 3);
    assert!(
        reached.iter().all(|(verdict, says)| *verdict == "pass" && says.contains("TLS 1.3 with"))
    );
    let options = of(&findings, "options");
    assert!(options.iter().all(|(verdict, says)| *verdict == "pass" && says.starts_with("200 OK")));
    assert_eq!(options.len(), 3, "under the base alone");
    let ports = of(&findings, "port");
    assert_eq!(ports.len(), 2, "the base and the tenant's name");
    assert!(
        ports.iter().all(|(_, says)| says.contains("TLS 1.2") && says.contains("for the name"))
    );
    let certificates = of(&findings, "certificate");
    assert!(!certificates.is_empty());
    assert!(certificates.iter().all(|(verdict, says)| *verdict == "warn" && says.contains("lab")));
    assert_eq!(of(&findings, "seen by teams")[0].0, "pass");
    let (code, text) = tollgate(&demo.path, &["teams", "doctor"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("contoso.sbc1.example.net") && text.trim_end().ends_with("0 failed"));
    let counted = demo.metrics();
    let counted = refusals(&counted);
    let forgers = |line: &&str| line.contains("unknown_issuer");
    assert!(counted.iter().all(forgers), "the doctor is no peer that was turned away: {counted:?}");
    let trunks = tollgate(&demo.path, &["trunks"]).1;
    assert!(trunks.contains("OPTIONS FROM MICROSOFT") && trunks.contains("sbc1.example.net"));

    // A second address for the tenant's name, as for a pair of hosts.
    let file = demo.path.join("tollgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let one = "\"fabrikam.sbc1.example.net\" = [\"127.0.0.1\"]";
    let two = "\"fabrikam.sbc1.example.net\" = [\"127.0.0.1\", \"127.0.0.9\"]";
    std::fs::write(&file, text.replace(one, two)).unwrap();
    let (code, findings) = demo.doctor("fabrikam");
    assert_eq!(code, 1);
    let failed: Vec<&Value> = findings.iter().filter(|it| it["verdict"] == "fail").collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert!(failed[0]["fix"].as_str().unwrap().contains("fabrikam.sbc1.example.net. A 127.0.0.1"));

    demo.stop();
    let (code, findings) = demo.doctor("fabrikam");
    assert_eq!(code, 1);
    assert_eq!(of(&findings, "daemon")[0].0, "warn");
    let reached = of(&findings, "reach teams");
    assert!(reached.len() == 3 && reached.iter().all(|(verdict, _)| *verdict == "fail"));
    let ports = of(&findings, "port");
    assert!(ports.len() == 2 && ports.iter().all(|(_, says)| says.ends_with("is closed")));
    assert!(of(&findings, "calls").is_empty(), "nobody could be asked");

    let (code, guide) =
        tollgate(&demo.path, &["teams", "onboard", "contoso", "--user", "a@b.example"]);
    assert_eq!(code, 0);
    assert!(guide.contains("New-CsOnlineVoiceRoute") && guide.contains("-Identity 'a@b.example'"));
    assert_eq!(tollgate(&demo.path, &["teams", "onboard", "contosso"]).0, 1);
}
