//! Those who must get nothing: a forged certificate, none at all, an address outside `sources`. Each is
//! preceded by one who may, over the same path, so that silence means refusal and not a dead listener.

use super::pki::Leaf;
use super::process::until;
use super::tollgate::Metrics;
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(super) fn strangers_get_nothing(lab: &mut Lab) -> Outcome {
    let welcome = over_tls(Some(&lab.teams), &lab.teams_root)?;
    ensure(welcome.contains("SIP/2.0 200"), || format!("Teams itself got no answer:\n{welcome}"))?;
    refused(lab, "a forged certificate", |lab| ends_with_alert(Some(&lab.rogue), &lab.teams_root))?;
    refused(lab, "no certificate", |lab| ends_with_alert(None, &lab.teams_root))?;
    refused(lab, "an address outside sources over TLS", |_| closed_before_tls())?;
    let answer = over_udp(lab::CARRIER)?;
    ensure(answer.starts_with("SIP/2.0 "), || "the carrier itself got no answer".to_owned())?;
    refused(lab, "an address outside sources over UDP", |_| {
        let answer = over_udp(lab::STRANGER)?;
        ensure(answer.is_empty(), || format!("a stranger was answered:\n{answer}"))
    })
}

/// Plays one stranger and sees the counter rise by it.
fn refused(lab: &mut Lab, who: &str, play: impl Fn(&Lab) -> Outcome) -> Outcome {
    let refusals = || Metrics::scrape().map(|m| m.sum("tollgate_peer_refusals_total", &[]));
    let before = refusals()?;
    play(lab).while_(who)?;
    lab.refusals += 1;
    until("rise of tollgate_peer_refusals_total", COUNTED, || {
        refusals().is_ok_and(|now| now >= before + 1.0)
    })
    .while_(who)
}

/// A counter may be published once a second.
const COUNTED: Duration = Duration::from_secs(3);

/// The handshake ends with an alert, and no SIP byte has come.
fn ends_with_alert(leaf: Option<&Leaf>, root: &Path) -> Outcome {
    let said = over_tls(leaf, root)?;
    ensure(said.contains("alert number"), || format!("TLS ended without an alert:\n{said}"))?;
    ensure(!said.contains("SIP/2.0"), || format!("SIP was spoken:\n{said}"))
}

/// What a TLS client on the Teams side sees and says when it sends OPTIONS.
fn over_tls(leaf: Option<&Leaf>, root: &Path) -> Outcome<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-nocommands", "-ign_eof", "-connect", &lab::BORDER_TLS.to_string()]);
    // Inside `sources`, so that the certificate alone decides.
    command.args(["-bind", &format!("{}:0", lab::USER), "-servername", lab::BASE_FQDN]);
    command.arg("-CAfile").arg(root);
    if let Some(leaf) = leaf {
        command.arg("-cert").arg(&leaf.chain).arg("-cert_chain").arg(&leaf.chain);
        command.arg("-key").arg(&leaf.key);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().while_("openssl")?;
    if let Some(mut input) = child.stdin.take() {
        // A refused client finds the pipe broken; that is no failure of the test.
        let _ =
            input.write_all(options(lab::BASE_FQDN, "TLS", "sip.pstnhub.microsoft.com").as_bytes());
    }
    let gone = until("end", PATIENCE, || matches!(child.try_wait(), Ok(Some(_))));
    if gone.is_err() {
        child.kill().while_("openssl")?;
    }
    let output = child.wait_with_output().while_("openssl")?;
    let [out, err] =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    Ok(out + &err)
}

/// An answer comes within milliseconds; this is how long silence is listened to.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The connection ends by itself, with no byte sent to us.
fn closed_before_tls() -> Outcome {
    let mut stream = TcpStream::connect(lab::BORDER_TLS).while_("connect")?;
    let own = stream.local_addr().while_("connect")?;
    // An unbound client on loopback has 127.0.0.1, which is in nobody's sources.
    ensure(own.ip() == Ipv4Addr::LOCALHOST, || format!("came from {own}"))?;
    stream.set_read_timeout(Some(PATIENCE)).while_("read")?;
    let mut bytes = [0; 1];
    match stream.read(&mut bytes) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(_) => ensure(false, || "a byte was sent".to_owned()),
        Err(error) => ensure(false, || format!("it was not closed: {error}")),
    }
}

/// The answer to OPTIONS over UDP from this address, or nothing.
fn over_udp(from: Ipv4Addr) -> Outcome<String> {
    let socket = UdpSocket::bind((from, 0)).while_("bind")?;
    socket.set_read_timeout(Some(PATIENCE)).while_("socket")?;
    let host = socket.local_addr().while_("socket")?.to_string();
    let request = options(&lab::BORDER.to_string(), "UDP", &host);
    socket.send_to(request.as_bytes(), lab::BORDER_SIP).while_("send")?;
    let mut buffer = [0; 4096];
    match socket.recv(&mut buffer) {
        Ok(length) => {
            Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
        }
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
            Ok(String::new())
        }
        Err(error) => Err(error).while_("receive"),
    }
}

fn options(to: &str, transport: &str, from: &str) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bKinterop;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=interop\r\nTo: <sip:{to}>\r\n\
         Call-ID: options@{from}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}
