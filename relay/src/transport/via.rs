//! Where a request really came from, written into its top Via (RFC 3261, 18.2.1; RFC 3581, 4).

use sip_core::message::Params;
use sip_core::{Message, Name};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Adds `received` if the sent-by is not the address the request came from, and fills `rport` if it
/// is there (then `received` is always added). What the far side wrote under these names is not
/// believed. Responses stay as they are.
pub(super) fn note_source(message: &mut Message, remote: SocketAddr) {
    let Message::Request(request) = message else { return };
    let Some(noted) = noted(&request.headers, remote) else { return };
    request.headers.pop(Name::Via);
    request.headers.push_front(Name::Via, noted);
}

/// The top Via with its source, if it needs one.
fn noted(headers: &sip_core::Headers, remote: SocketAddr) -> Option<Vec<u8>> {
    let via = headers.top_via();
    let wants_port = via.param("rport").is_some();
    let source = remote.ip().to_canonical();
    let elsewhere = address(via.host) != Some(source);
    if !wants_port && !elsewhere && via.param("received").is_none() {
        return None;
    }
    let text = headers.list(Name::Via).next()?;
    let params = via.params();
    let head_len = text.len().saturating_sub(params.len() + usize::from(!params.is_empty()));
    let mut noted = Vec::with_capacity(text.len() + SOURCE_OCTETS);
    noted.extend_from_slice(&text[..head_len]);
    for (name, value) in Params::new(params) {
        if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
            continue;
        }
        noted.push(b';');
        noted.extend_from_slice(name);
        if let Some(value) = value {
            noted.push(b'=');
            noted.extend_from_slice(value);
        }
    }
    // Writing into a Vec cannot fail.
    if wants_port {
        let _ = write!(noted, ";rport={}", remote.port());
    }
    if wants_port || elsewhere {
        // IPv6 without brackets (RFC 5118, 4.5).
        let _ = write!(noted, ";received={source}");
    }
    Some(noted)
}

/// Room for `;rport=65535;received=` and an IPv6 address.
const SOURCE_OCTETS: usize = 64;

fn address(host: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(host).ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn top_via_after(via: &str, remote: &str) -> Vec<String> {
        let text = format!(
            "OPTIONS sip:a@example.net SIP/2.0\r\nVia: {via}\r\nFrom: <sip:b@example.net>;tag=1\r\n\
             To: <sip:a@example.net>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let mut message = Message::parse(Bytes::from(text)).unwrap();
        note_source(&mut message, remote.parse().unwrap());
        // It must still be a message after a trip over the wire.
        let message = Message::parse(message.to_bytes()).unwrap();
        let vias = message.headers().list(Name::Via);
        vias.map(|via| String::from_utf8_lossy(via).into_owned()).collect()
    }

    #[test]
    fn source_is_noted_where_it_differs_or_is_asked_for() {
        for (via, remote, noted) in [
            (
                "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
                "192.0.2.1:5060",
                "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
                "192.0.2.1:9",
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1",
                "192.0.2.1:9",
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport=9;received=192.0.2.1",
            ),
            (
                "SIP/2.0/TLS host.example;branch=z9hG4bK1",
                "[2001:db8::1]:9",
                "SIP/2.0/TLS host.example;branch=z9hG4bK1;received=2001:db8::1",
            ),
            (
                "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1",
                "[2001:db8::1]:9",
                "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
                "[::ffff:192.0.2.1]:9",
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            ),
        ] {
            assert_eq!(top_via_after(via, remote), [noted]);
        }
    }

    #[test]
    fn source_that_the_far_side_claims_is_not_believed() {
        let via = "SIP/2.0/UDP 192.0.2.1;received=198.51.100.66;RPORT=666;x=\"a;rport=b\";branch=z9hG4bK1";
        let noted =
            "SIP/2.0/UDP 192.0.2.1;x=\"a;rport=b\";branch=z9hG4bK1;rport=9;received=192.0.2.1";
        assert_eq!(top_via_after(via, "192.0.2.1:9"), [noted]);
        let via = "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1;received=198.51.100.66";
        assert_eq!(top_via_after(via, "192.0.2.1:9"), ["SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1"]);
    }

    #[test]
    fn vias_below_the_top_stay_as_they_are() {
        let via = "SIP/2.0/UDP a.example;branch=z9hG4bK1;rport, SIP/2.0/UDP b.example;rport\r\nv: SIP/2.0/TCP c.example";
        let noted = [
            "SIP/2.0/UDP a.example;branch=z9hG4bK1;rport=9;received=192.0.2.1",
            "SIP/2.0/UDP b.example;rport",
            "SIP/2.0/TCP c.example",
        ];
        assert_eq!(top_via_after(via, "192.0.2.1:9"), noted);
    }
}
