//! Two ends of a leg and the words to look at what they write.

use sdp::*;

/// Each octet of our keys.
pub(crate) const OUR_KEY: u8 = 0x11;
/// Keys of the far side as base64, with their first octet.
pub(crate) const KEY_A: (&str, u8) = ("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", b'A');
pub(crate) const KEY_B: (&str, u8) = ("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC", b'B');
pub(crate) const LONG: &str = "AES_CM_128_HMAC_SHA1_80";
pub(crate) const SHORT: &str = "AES_CM_128_HMAC_SHA1_32";

/// One for each suite.
pub(crate) fn our_keys() -> Vec<SrtpKey> {
    let key = |suite: Suite| SrtpKey::from_octets(suite, &[OUR_KEY; 46][..suite.key_salt_len()]);
    Suite::ALL.into_iter().filter_map(key).collect()
}

pub(crate) fn leg(ability: Ability) -> Negotiation {
    Negotiation::new(
        Local {
            address: "203.0.113.10".parse().unwrap(),
            rtp_port: 20000,
            rtcp_port: 20001,
            session_id: 77,
            keys: our_keys(),
        },
        ability,
    )
}

/// A carrier's description: PCMA, PCMU and telephone events from 192.0.2.5:4000.
pub(crate) fn carrier(more: &str) -> String {
    format!(
        "v=0\r\no=carrier 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\n{more}"
    )
}

/// A secured description with these crypto lines and what more there is.
pub(crate) fn secured(lines: &[String], more: &str) -> String {
    let crypto: String = lines.iter().map(|line| format!("a=crypto:{line}\r\n")).collect();
    format!(
        "v=0\r\no=- 85 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio 52004 RTP/SAVP 8 0 101\r\n{crypto}a=rtpmap:101 telephone-event/8000\r\n{more}"
    )
}

pub(crate) fn crypto(tag: u32, suite: &str, key: (&str, u8), rest: &str) -> String {
    format!("{tag} {suite} inline:{}{rest}", key.0)
}

pub(crate) fn text(sdp: &[u8]) -> String {
    String::from_utf8(sdp.to_vec()).expect("we write ASCII")
}

/// The first line that starts so.
pub(crate) fn line(sdp: &[u8], start: &str) -> String {
    lines(sdp, start).first().cloned().unwrap_or_else(|| panic!("no {start} in\n{}", text(sdp)))
}

pub(crate) fn lines(sdp: &[u8], start: &str) -> Vec<String> {
    text(sdp).split("\r\n").filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

pub(crate) fn numbers(payloads: &[Payload]) -> Vec<u8> {
    payloads.iter().map(|payload| payload.number).collect()
}

pub(crate) fn first_octets(keys: &[SrtpKey]) -> Vec<u8> {
    keys.iter().map(|key| key.key_salt()[0]).collect()
}

pub(crate) fn media(payloads: &[(u8, &str)]) -> Media {
    let payloads = payloads
        .iter()
        .map(|(number, name)| {
            let mut parts = name.split('/');
            Payload {
                number: *number,
                encoding: parts.next().unwrap().into(),
                clock_hz: parts.next().map_or(8000, |hz| hz.parse().unwrap()),
                channels: parts.next().map_or(1, |n| n.parse().unwrap()),
                fmtp: None,
            }
        })
        .collect();
    Media { payloads, direction: Direction::SendRecv, ptime_ms: Some(20), fax: None }
}
