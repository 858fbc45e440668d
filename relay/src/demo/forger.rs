//! The forged Teams peer: the right address, the right names, and an authority that nobody trusts.

use super::lab::{CONTOSO_NAME, FORGER};
use super::report::{Fault, Outcome};
use super::stage::Stage;
use certs::{ClientIdentity, Identities, Roots};
use metrics_exporter_prometheus::PrometheusHandle;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// The refusal must come in this time; it comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const CAUSE: &str = "sources, peer_names or roots of the trunk \"teams\"";

/// What the forger got for its INVITE.
#[derive(Debug, Default)]
struct Got {
    octets: usize,
    /// What TLS said as it ended.
    alert: Option<String>,
}

/// Calls as Teams would, with a certificate of its own making.
pub(super) async fn play(stage: &Stage) -> Outcome {
    let mut outcome =
        Outcome { scenario: "forged_peer", route: "none".into(), ..Outcome::default() };
    let say = |text: &str| stage.progress.say("forged_peer", text);
    say(&format!("TLS from {FORGER} with a rogue certificate for sip.pstnhub.microsoft.com"));
    let before = refusals(&stage.recorder);
    let attempt = forge(stage.sbc_tls, &stage.rogue, &stage.roots);
    let got = match tokio::time::timeout(PATIENCE, attempt).await {
        Ok(Ok(got)) => got,
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
    };
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

/// Sends an OPTIONS that a real Teams would get an answer to, and reads to the end.
async fn forge(sbc: SocketAddr, rogue: &Identities, roots: &Roots) -> io::Result<Got> {
    let config = certs::client_config(ClientIdentity::new(rogue.clone(), "rogue"), roots)
        .map_err(io::Error::other)?;
    let name = certs::server_name(Some(CONTOSO_NAME), sbc.ip()).map_err(io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(FORGER, 0))?;
    let stream = socket.connect(sbc).await?;
    let mut got = Got::default();
    let mut stream = match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            got.alert = alert(&error);
            return Ok(got);
        }
    };
    // With TLS 1.3 the client is done before the server has looked at its certificate.
    let written = stream.write_all(options(sbc).as_bytes()).await;
    got.alert = written.err().as_ref().and_then(alert);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(got),
            Ok(octets) => got.octets += octets,
            Err(error) => {
                got.alert = alert(&error).or(got.alert);
                return Ok(got);
            }
        }
    }
}

fn alert(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
        _ => None,
    }
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
