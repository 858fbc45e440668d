//! Those who must get nothing: a forged certificate, none at all, an address outside `sources`. Each is
//! preceded by one who may, over the same path, so that silence means refusal and not a dead listener.

use super::lab::Side;
use super::namespace::on;
use super::pki::Leaf;
use super::process::until;
use super::tollgate::Metrics;
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub(super) fn strangers_get_nothing(lab: &mut Lab) -> Outcome {
    let welcome = over_tls(&lab::TEAMS, Some(&lab.teams), &lab.teams_root)?;
    ensure(welcome.contains("SIP/2.0 200"), || format!("Teams itself got no answer:\n{welcome}"))?;
    refused(lab, "a forged certificate", |lab| ends_with_alert(Some(&lab.rogue), &lab.teams_root))?;
    refused(lab, "no certificate", |lab| ends_with_alert(None, &lab.teams_root))?;
    refused(lab, "an address outside sources over TLS", closed_before_tls)?;
    let answer = over_udp(&lab::CARRIERS, PATIENCE)?;
    ensure(answer.starts_with("SIP/2.0 "), || {
        format!("the carrier itself got no answer: {answer}")
    })?;
    refused(lab, "an address outside sources over UDP", |_| {
        let answer = over_udp(&lab::ELSEWHERE, SILENCE)?;
        ensure(answer.is_empty(), || format!("a stranger was answered: {answer}"))
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

/// A counter is published once a second; a machine that is busy takes longer.
const COUNTED: Duration = Duration::from_secs(15);

/// The handshake ends with an alert, and no SIP byte has come.
fn ends_with_alert(leaf: Option<&Leaf>, root: &Path) -> Outcome {
    let said = over_tls(&lab::TEAMS, leaf, root)?;
    ensure(said.contains("alert number"), || format!("TLS ended without an alert:\n{said}"))?;
    ensure(!said.contains("SIP/2.0"), || format!("SIP was spoken:\n{said}"))
}

/// Even with Teams' own certificate: the connection ends before the first byte of TLS.
fn closed_before_tls(lab: &Lab) -> Outcome {
    let said = over_tls(&lab::ELSEWHERE, Some(&lab.teams), &lab.teams_root)?;
    let closed = said.contains("handshake has read 0 bytes") && !said.contains("alert number");
    ensure(closed, || format!("TLS was spoken:\n{said}"))
}

/// What a TLS client on this side sees and says when it sends OPTIONS.
fn over_tls(side: &Side, leaf: Option<&Leaf>, root: &Path) -> Outcome<String> {
    let mut command = on(side, "openssl");
    command.args(["s_client", "-nocommands", "-ign_eof", "-connect", &lab::BORDER_TLS.to_string()]);
    command.args(["-servername", lab::BASE_FQDN]).arg("-CAfile").arg(root);
    if let Some(leaf) = leaf {
        command.arg("-cert").arg(&leaf.chain).arg("-cert_chain").arg(&leaf.chain);
        command.arg("-key").arg(&leaf.key);
    }
    converse(&mut command, &options(lab::BASE_FQDN, "TLS", "sip.pstnhub.microsoft.com"))
}

/// The answer to OPTIONS over UDP from this side, or nothing for so long.
fn over_udp(side: &Side, time: Duration) -> Outcome<String> {
    // The shell opens UDP sockets by itself, and speaks from the side's first host.
    let script =
        r#"exec 3<>"/dev/udp/$0/$1"; cat >&3; timeout $2 dd bs=4096 count=1 <&3 2>/dev/null"#;
    let mut command = on(side, "bash");
    let border = lab::BORDER_SIP;
    command.args(["-c", script, &border.ip().to_string(), &border.port().to_string()]);
    command.arg(time.as_secs().to_string());
    let host = side.hosts.first().map(ToString::to_string).unwrap_or_default();
    let answer = converse(&mut command, &options(&lab::BORDER.to_string(), "UDP", &host))?;
    Ok(answer.trim().to_owned())
}

/// Gives a program its input and listens to it until it is answered or ends.
fn converse(command: &mut Command, input: &str) -> Outcome<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().while_("starting a stranger")?;
    if let Some(mut pipe) = child.stdin.take() {
        // A client that was refused is gone already: no failure of the test.
        let _ = pipe.write_all(input.as_bytes());
    }
    let heard = [child.stdout.take().map(listen), child.stderr.take().map(listen)];
    let said = || heard.iter().flatten().map(Heard::so_far).collect::<String>();
    let ends = until("end", PATIENCE, || {
        said().contains("SIP/2.0") || matches!(child.try_wait(), Ok(Some(_)))
    });
    child.kill().while_("ending a stranger")?;
    child.wait().while_("ending a stranger")?;
    ends?;
    Ok(heard.into_iter().flatten().map(Heard::whole).collect())
}

/// What a program has said, and who reads it.
struct Heard {
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

fn listen(mut from: impl Read + Send + 'static) -> Heard {
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let tell = Arc::clone(&said);
    let reader = std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut some) {
            tell.lock().unwrap_or_else(PoisonError::into_inner).extend(&some[..len]);
        }
    });
    Heard { said, reader: Some(reader) }
}

impl Heard {
    fn so_far(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }

    /// All of it, after the program's end.
    fn whole(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}

/// An answer comes within milliseconds where the machine is not busy; whoever is refused is gone as soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long silence is listened to.
const SILENCE: Duration = Duration::from_secs(1);

fn options(to: &str, transport: &str, from: &str) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bKinterop;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=interop\r\nTo: <sip:{to}>\r\n\
         Call-ID: options@{from}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}
