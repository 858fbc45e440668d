//! The forged Teams peer: the right address, the right names, and an authority that nobody trusts.

use super::lab::{CONTOSO_NAME, FORGER};
use super::report::{Fault, Outcome};
use super::stage::Stage;
use crate::emulation::attack;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::time::Duration;

/// The refusal must come in this time; it comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const CAUSE: &str = "sources, peer_names or roots of the trunk \"teams\"";

/// Calls as Teams would, with a certificate of its own making.
pub(super) async fn play(stage: &Stage) -> Outcome {
    let mut outcome =
        Outcome { scenario: "forged_peer", route: "none".into(), ..Outcome::default() };
    let say = |text: &str| stage.progress.say("forged_peer", text);
    say(&format!("TLS from {FORGER} with a rogue certificate for sip.pstnhub.microsoft.com"));
    let before = refusals(&stage.recorder);
    let request = options(stage.sbc_tls);
    let dialled = (stage.sbc_tls, CONTOSO_NAME);
    let shows = (Some((&stage.rogue, "rogue")), &stage.roots);
    let mut got = attack::Got::default();
    let attempt = attack::try_it(FORGER, dialled, shows, request.as_bytes(), &mut got);
    match tokio::time::timeout(PATIENCE, attempt).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let what = format!("the forger could not even connect: {error}");
            outcome.faults.push(Fault::new(what, CAUSE));
            return outcome;
        }
        Err(_) => {
            let what = "the connection was neither refused nor closed";
            outcome.faults.push(Fault::new(what, CAUSE));
            return outcome;
        }
    }
    let rise = refusals(&stage.recorder) - before;
    let alert = got.alert.as_deref().unwrap_or("none");
    say(&format!("TLS alert: {alert}; {} bytes of SIP; {rise} more refusals counted", got.octets));
    outcome.decision = format!("refused at TLS ({alert})");
    outcome.ladder = vec!["TLS>".into(), format!("<alert({alert})")];
    if got.octets > 0 {
        let what = format!("{} bytes were answered to a stranger", got.octets);
        outcome.faults.push(Fault::new(what, CAUSE));
    }
    if got.alert.is_none() {
        let what = "the connection was closed without a TLS alert";
        outcome.faults.push(Fault::new(what, CAUSE));
    }
    if rise != 1 {
        let what = format!("tollgate_peer_refusals_total rose by {rise}, not by 1");
        outcome.faults.push(Fault::new(what, "the peer check did not run, or ran for another"));
    }
    outcome
}

fn options(sbc: SocketAddr) -> String {
    let port = sbc.port();
    format!(
        "OPTIONS sip:{CONTOSO_NAME}:{port};transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS {FORGER}:5061;branch=z9hG4bKforged\r\n\
         From: <sip:sip.pstnhub.microsoft.com:5061>;tag=forged\r\n\
         To: <sip:{CONTOSO_NAME}:{port}>\r\nCall-ID: forged\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nContact: <sip:sip.pstnhub.microsoft.com:5061>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Peers that the SBC's Teams listener has refused so far, by its metrics.
fn refusals(recorder: &PrometheusHandle) -> u64 {
    let text = recorder.render();
    let ours = text.lines().filter(|line| {
        line.starts_with("tollgate_peer_refusals_total{") && line.contains("listener=\"teams\"")
    });
    ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
