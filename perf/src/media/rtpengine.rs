//! Debian's rtpengine in user space with one thread, told by its ng protocol (bencode over UDP) what calls
//! there are.

use super::order::{Order, Suite};
use crate::{clock, machine};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ng::{Client, Words};
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type Failure = Box<dyn Error>;

/// A running rtpengine; dropping it ends it.
pub(super) struct Rtpengine {
    child: Child,
    control: Client,
}

/// What it has given to a call: its ports and the keys it protects with.
pub(super) struct Given {
    pub(super) ports: [u16; 2],
    pub(super) keys: [Option<Vec<u8>>; 2],
}

impl Rtpengine {
    pub(super) fn start(order: &Order) -> Result<Self, Failure> {
        let (relay, _) = order.addresses();
        let mut command = Command::new("rtpengine");
        command
            .args(["--config-file=none", "--table=-1", "--foreground", "--log-stderr"])
            .args(["--log-level=2", "--tos=0", "--poller-per-thread"])
            .arg(format!("--num-threads={}", order.workers))
            .arg(format!("--interface={relay}"))
            .arg(format!("--listen-ng={}:{CONTROL}", Ipv4Addr::LOCALHOST))
            .arg(format!("--port-min={FIRST_PORT}"))
            .arg(format!("--port-max={LAST_PORT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = machine::end_with_us(&mut command).spawn().map_err(|error| {
            format!("rtpengine (Debian: rtpengine-daemon) does not start: {error}")
        })?;
        let control = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        control.connect((Ipv4Addr::LOCALHOST, CONTROL))?;
        control.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut running = Self { child, control: Client::new(control, "call") };
        let due = clock::monotonic() + PATIENCE;
        while running.control.ask("ping", Words::default()).is_err() {
            if running.child.try_wait()?.is_some() {
                return Err("rtpengine has ended".into());
            }
            if clock::monotonic() > due {
                return Err("rtpengine does not answer".into());
            }
        }
        Ok(running)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has a call between the two far sides.
    pub(super) fn call(&mut self, order: &Order, call: usize) -> Result<Given, Failure> {
        let (_, far) = order.addresses();
        let [a, b] = order.far_ports[call];
        let profile = |side| if order.legs.is_encrypted(side) { "RTP/SAVP" } else { "RTP/AVP" };
        let (id, from, to) = (format!("call{call}"), format!("f{call}"), format!("t{call}"));
        let key = |side| {
            let key = order.legs.is_encrypted(side).then(|| order.suite.far_key(side));
            key.map(|key| (order.suite.of_sdp().name(), key))
        };
        let offer = description(far, a, profile(0), key(0), 1);
        let mut words = Words::from([
            ("call-id", &*id),
            ("from-tag", &from),
            ("sdp", &offer),
            ("ICE", "remove"),
            ("DTLS", "off"),
        ]);
        if order.legs.is_encrypted(1) {
            words = words.and("transport-protocol", profile(1));
        }
        let offered = self.describe("offer", words, order.suite)?;
        let tag = tag_of(&offered, order.suite);
        let answer = description(far, b, profile(1), key(1), tag);
        let words = Words::from([
            ("call-id", &*id),
            ("from-tag", &from),
            ("to-tag", &to),
            ("sdp", &answer),
            ("ICE", "remove"),
        ]);
        let answered = self.describe("answer", words, order.suite)?;
        let port = |sdp: &str| port_of(sdp).ok_or_else(|| format!("no port in {sdp}"));
        Ok(Given {
            ports: [port(&answered)?, port(&offered)?],
            keys: [key_of(&answered, order.suite), key_of(&offered, order.suite)],
        })
    }

    fn describe(&mut self, command: &str, words: Words, suite: Suite) -> Result<String, Failure> {
        let words = words.and("SDES", ng::unwanted(Some(suite.of_sdp().name())));
        let answer = self.control.ask(command, words)?;
        let sdp = answer.text("sdp").ok_or_else(|| format!("rtpengine says {answer:?}"))?;
        Ok(sdp.to_owned())
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        // It is gone already, or goes now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn description(
    address: Ipv4Addr,
    port: u16,
    profile: &str,
    key: Option<(&str, Vec<u8>)>,
    tag: u32,
) -> String {
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} {profile} 8\r\n\
         a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    if let Some((suite, key)) = key {
        let key = BASE64_STANDARD.encode(key);
        sdp.push_str(&format!("a=crypto:{tag} {suite} inline:{key}\r\n"));
    }
    sdp
}

fn port_of(sdp: &str) -> Option<u16> {
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    line.split(' ').next()?.parse().ok()
}

/// The tag of the one suite, which the answer has to repeat.
fn tag_of(sdp: &str, suite: Suite) -> u32 {
    crypto_of(sdp, suite).and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(1)
}

fn key_of(sdp: &str, suite: Suite) -> Option<Vec<u8>> {
    let (_, rest) = crypto_of(sdp, suite)?.split_once("inline:")?;
    let key = rest.split(['|', ' ']).next()?;
    // It writes without padding what does not fill the last place.
    BASE64_STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok()
}

fn crypto_of(sdp: &str, suite: Suite) -> Option<&str> {
    let mut lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    lines.find(|line| line.split(' ').nth(1) == Some(suite.of_sdp().name()))
}

const CONTROL: u16 = 2223;
const FIRST_PORT: u16 = 30_000;
const LAST_PORT: u16 = 65_000;
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: &str = "v=0\r\nm=audio 30002 RTP/SAVP 8\r\na=crypto:1 AEAD_AES_256_GCM inline:AAAA\r\n\
        a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB|2^31\r\n";

    #[test]
    fn the_suite_is_found_behind_another_and_its_key_without_its_lifetime() {
        assert_eq!(port_of(OFFERED), Some(30_002));
        assert_eq!(tag_of(OFFERED, Suite::AesCm), 3);
        assert_eq!(key_of(OFFERED, Suite::AesCm), Some(vec![1; 30]));
        assert_eq!(key_of(OFFERED, Suite::AesGcm), None, "another GCM");
        assert_eq!(key_of("m=audio 30000 RTP/AVP 8", Suite::AesCm), None);
    }
}
