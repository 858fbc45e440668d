//! Typed views of the lines of a session or an m-line: addresses, attributes, payload types.

use crate::crypto::CryptoLine;
use crate::direction::Direction;
use crate::line::Line;
use crate::payload::Payload;
use crate::words::{is_parameters, is_token, number, text, words};
use std::net::{IpAddr, SocketAddr};

/// Most formats read from one m-line; there are 128 payload types and nobody lists half of them.
pub const MAX_FORMATS: usize = 64;

/// The lines of the session part, or those that follow one m-line.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    lines: &'a [Line],
}

impl<'a> Section<'a> {
    pub(crate) const fn new(lines: &'a [Line]) -> Self {
        Self { lines }
    }

    /// The first `c=` line that can be read; further ones are ignored (TDR-SDP-007).
    pub fn connection(self) -> Option<Connection> {
        self.values(b'c').find_map(Connection::parse)
    }

    /// Every `a=` line as name and value; the value is empty for a property.
    pub fn attributes(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.values(b'a').filter_map(|value| {
            let colon = value.iter().position(|octet| *octet == b':');
            let (name, value) = match colon {
                Some(at) => (&value[..at], &value[at + 1..]),
                None => (value, &[][..]),
            };
            Some((text(name.trim_ascii())?, value.trim_ascii()))
        })
    }

    /// The values of the attributes of one name.
    pub fn attribute(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.attributes().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first direction attribute.
    pub fn direction(self) -> Option<Direction> {
        self.attributes().find_map(|(name, _)| direction(name))
    }

    fn values(self, kind: u8) -> impl Iterator<Item = &'a [u8]> {
        self.lines.iter().filter(move |line| line.kind() == Some(kind)).map(Line::value)
    }
}

/// One m-line and what belongs to it.
#[derive(Clone)]
pub struct MediaDescription<'a> {
    at: usize,
    line: MediaLine<'a>,
    section: Section<'a>,
    session: Section<'a>,
}

impl<'a> MediaDescription<'a> {
    pub(crate) const fn new(
        at: usize,
        line: MediaLine<'a>,
        section: Section<'a>,
        session: Section<'a>,
    ) -> Self {
        Self { at, line, section, session }
    }

    /// Where the m-line stands among the lines of the body, from 0.
    pub const fn line_index(&self) -> usize {
        self.at
    }

    /// The m-line.
    pub const fn line(&self) -> &MediaLine<'a> {
        &self.line
    }

    /// The lines that follow the m-line.
    pub const fn section(&self) -> Section<'a> {
        self.section
    }

    /// The lines of the session.
    pub(crate) const fn session(&self) -> Section<'a> {
        self.session
    }

    /// The connection of this m-line; that of the session where it has none.
    pub fn connection(&self) -> Option<Connection> {
        self.section.connection().or_else(|| self.session.connection())
    }

    /// The direction as written here, else for the session, else `sendrecv` (RFC 8866, 6.7).
    pub fn direction(&self) -> Direction {
        self.section.direction().or_else(|| self.session.direction()).unwrap_or_default()
    }

    /// `a=ptime` in ms.
    pub fn ptime_ms(&self) -> Option<u16> {
        self.section.attribute("ptime").filter_map(number).find(|ms| *ms > 0)
    }

    /// `a=mid`: what a group calls the line (RFC 5888, 4).
    pub fn mid(&self) -> Option<&'a str> {
        self.section.attribute("mid").filter_map(text).find(|mid| is_token(mid))
    }

    /// Whether `a=rtcp-mux` is written (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.section.attribute("rtcp-mux").next().is_some()
    }

    /// `a=rtcp` (RFC 3605): the port, and the address if it names one.
    pub fn rtcp(&self) -> Option<(u16, Option<IpAddr>)> {
        self.section.attribute("rtcp").find_map(|value| {
            let mut words = words(value);
            let port = number(words.next()?).filter(|port| *port != 0)?;
            let address = words.nth(2).and_then(text).and_then(|a| a.parse().ok());
            Some((port, address))
        })
    }

    /// Whether `a=fingerprint` is written, of whatever hash function (RFC 8122).
    pub fn has_fingerprint(&self) -> bool {
        [self.section, self.session].iter().any(|s| s.attribute("fingerprint").next().is_some())
    }

    /// The crypto lines that can be used, in the order written (RFC 4568).
    pub fn crypto(&self) -> impl Iterator<Item = CryptoLine> {
        self.section.attribute("crypto").filter_map(CryptoLine::parse)
    }

    /// The payload types of the m-line that have a mapping, once each, in the order of the m-line.
    /// Formats that are no payload type, and mappings the m-line does not list, are ignored.
    pub fn payloads(&self) -> Vec<Payload> {
        self.payloads_with(&[])
    }

    /// As [`Self::payloads`], where a number without a mapping means what it meant in `offered`.
    pub(crate) fn payloads_with(&self, offered: &[Payload]) -> Vec<Payload> {
        let mut payloads: Vec<Payload> = Vec::new();
        for number in self.line.payload_types() {
            if payloads.iter().any(|seen| seen.number == number) {
                continue;
            }
            let known = || offered.iter().find(|p| p.number == number).cloned();
            let mapped = self.mapping(number).or_else(|| static_payload(number)).or_else(known);
            if let Some(payload) = mapped {
                payloads.push(Payload { fmtp: self.fmtp(number), ..payload });
            }
        }
        payloads
    }

    fn mapping(&self, payload: u8) -> Option<Payload> {
        self.section.attribute("rtpmap").find_map(|value| {
            let mut words = words(value);
            (number::<u8>(words.next()?)? == payload).then_some(())?;
            let mut parts = text(words.next()?)?.split('/');
            let encoding = parts.next().filter(|name| is_token(name))?;
            let clock_hz = number(parts.next()?.as_bytes()).filter(|hz| *hz > 0)?;
            let channels = parts.next().and_then(|n| number(n.as_bytes())).unwrap_or(1).max(1);
            Some(Payload {
                number: payload,
                encoding: encoding.into(),
                clock_hz,
                channels,
                fmtp: None,
            })
        })
    }

    fn fmtp(&self, payload: u8) -> Option<String> {
        self.section.attribute("fmtp").find_map(|value| {
            let end = value.iter().position(u8::is_ascii_whitespace)?;
            (number::<u8>(&value[..end])? == payload).then_some(())?;
            let parameters = std::str::from_utf8(&value[end..]).ok()?.trim();
            is_parameters(parameters).then(|| parameters.to_owned())
        })
    }
}

/// `m=` (RFC 8866, 5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaLine<'a> {
    /// `audio`, `video`, `application`, ...
    pub media: &'a str,
    /// The port; 0 refuses the stream.
    pub port: u16,
    /// The number of ports; 1 where not written.
    pub count: u16,
    /// The transport and profile, as written.
    pub proto: &'a str,
    /// The formats, as written.
    pub formats: Vec<&'a str>,
}

impl<'a> MediaLine<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, &'static str> {
        let mut words = words(value);
        let mut next = || words.next().and_then(text);
        let media = next().ok_or("an m-line without media")?;
        let port = next().ok_or("an m-line without a port")?;
        let proto = next().ok_or("an m-line without a transport")?;
        let (port, count) = match port.split_once('/') {
            Some((port, count)) => (port, number(count.as_bytes())),
            None => (port, Some(1)),
        };
        let port = number(port.as_bytes()).ok_or("an m-line whose port is no port")?;
        let count = count.ok_or("an m-line whose port count is no number")?;
        let formats: Vec<&str> = words.filter_map(text).take(MAX_FORMATS + 1).collect();
        if formats.len() > MAX_FORMATS {
            return Err("too many formats");
        }
        Ok(Self { media, port, count, proto, formats })
    }

    /// The formats that are RTP payload types; stray words are passed over.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats.iter().filter_map(|f| number(f.as_bytes())).filter(|number| *number < 128)
    }
}

/// `o=` (RFC 8866, 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The user name, `-` where there is none.
    pub username: &'a str,
    /// The session id, as written: some send more digits than a `u64` holds.
    pub session_id: &'a str,
    /// The version, as written.
    pub version: &'a str,
    /// The address, as written.
    pub address: &'a str,
}

impl<'a> Origin<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let mut words = words(value).map(text);
        let mut next = || words.next().flatten();
        let (username, session_id, version) = (next()?, next()?, next()?);
        let (_net, _kind, address) = (next()?, next()?, next()?);
        Some(Self { username, session_id, version, address })
    }
}

/// `c=`: an address, or a name that we do not look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address, `None` where a host name stands.
    pub address: Option<IpAddr>,
}

impl Connection {
    fn parse(value: &[u8]) -> Option<Self> {
        let mut words = words(value).map(text);
        let (net, _kind, host) = (words.next()??, words.next()??, words.next()??);
        let host = host.split('/').next()?; // a TTL or a count may follow
        net.eq_ignore_ascii_case("IN").then(|| Self { address: host.parse().ok() })
    }

    /// `0.0.0.0` or `::`: a hold in the manner of RFC 2543.
    pub fn is_hold(&self) -> bool {
        self.address.is_some_and(|address| address.is_unspecified())
    }

    /// Where to send, with `port`: a single host's address and no port 0.
    pub fn socket(&self, port: u16) -> Option<SocketAddr> {
        self.address.and_then(|address| socket(address, port))
    }
}

/// `address` and `port` if packets can be sent there.
pub(crate) fn socket(address: IpAddr, port: u16) -> Option<SocketAddr> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let usable = port != 0 && !address.is_unspecified() && !address.is_multicast() && !broadcast;
    usable.then_some(SocketAddr::new(address, port))
}

/// The payload types that mean something without a mapping (RFC 3551, table 4).
pub fn static_payload(number: u8) -> Option<Payload> {
    let (encoding, clock_hz, channels) = match number {
        0 => ("PCMU", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44100, 2),
        11 => ("L16", 44100, 1),
        12 => ("QCELP", 8000, 1),
        13 => ("CN", 8000, 1),
        14 => ("MPA", 90000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11025, 1),
        17 => ("DVI4", 22050, 1),
        18 => ("G729", 8000, 1),
        _ => return None,
    };
    Some(Payload { number, encoding: encoding.into(), clock_hz, channels, fmtp: None })
}

fn direction(name: &str) -> Option<Direction> {
    [
        ("sendrecv", Direction::SendRecv),
        ("sendonly", Direction::SendOnly),
        ("recvonly", Direction::RecvOnly),
        ("inactive", Direction::Inactive),
    ]
    .into_iter()
    .find_map(|(known, direction)| name.eq_ignore_ascii_case(known).then_some(direction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::SessionDescription;

    fn with_first<T>(body: &str, look: impl FnOnce(&MediaDescription<'_>) -> T) -> T {
        let sdp = SessionDescription::parse(body.as_bytes()).expect("readable");
        let first = sdp.media().next().expect("an m-line");
        look(&first)
    }

    /// TDR-SDP-001
    #[test]
    fn a_stray_word_among_the_payload_types_is_passed_over() {
        with_first("m=audio 54056 RTP/SAVP 0 8 description 9 +13 300 128 13\r\n", |m| {
            assert_eq!(m.line().payload_types().collect::<Vec<_>>(), [0, 8, 9, 13]);
            assert_eq!(m.line().formats.len(), 8);
        });
    }

    #[test]
    fn m_lines_that_name_no_port_or_transport_are_refused() {
        for line in [
            "m=",
            "m=audio",
            "m=audio 1",
            "m=audio 65536 RTP/AVP 0",
            "m=audio -1 RTP/AVP 0",
            "m=audio +1 RTP/AVP 0",
            "m=audio 1/x RTP/AVP 0",
            "m=audio x RTP/AVP 0",
            "m=audio 1/ RTP/AVP",
        ] {
            let read = SessionDescription::parse(format!("v=0\n{line}").as_bytes());
            assert_eq!(read.unwrap_err().line, 2, "{line}");
        }
        with_first("m=audio 4000/2 RTP/AVP", |m| {
            assert_eq!((m.line().port, m.line().count), (4000, 2));
            assert!(m.payloads().is_empty());
        });
    }

    /// TDR-SDP-007
    #[test]
    fn media_level_wins_and_the_first_of_several_connections() {
        let body = "c=IN IP4 192.0.2.1\na=inactive\n\
                    m=audio 1 RTP/AVP 0\nc=IN IP6 2001:db8::7\nc=IN IP4 192.0.2.9\na=sendonly\n\
                    m=audio 2 RTP/AVP 0\nc=junk\n";
        let sdp = SessionDescription::parse(body.as_bytes()).unwrap();
        let seen: Vec<_> =
            sdp.media().map(|m| (m.connection().unwrap().address, m.direction())).collect();
        assert_eq!(
            seen,
            [
                (Some("2001:db8::7".parse().unwrap()), Direction::SendOnly),
                (Some("192.0.2.1".parse().unwrap()), Direction::Inactive),
            ]
        );
    }

    #[test]
    fn connections_that_cannot_be_sent_to_give_no_socket() {
        for (line, address, hold) in [
            ("IN IP4 192.0.2.1/127", Some("192.0.2.1:4000"), false),
            ("IN IP4 0.0.0.0", None, true),
            ("IN IP6 ::", None, true),
            ("IN IP4 224.2.1.1/127/3", None, false),
            ("IN IP4 255.255.255.255", None, false),
            ("IN IP4 media.example.net", None, false),
            ("in ip4 192.0.2.1", Some("192.0.2.1:4000"), false),
        ] {
            let connection = Connection::parse(line.as_bytes()).expect(line);
            assert_eq!(connection.socket(4000), address.map(|a| a.parse().unwrap()), "{line}");
            assert_eq!(connection.is_hold(), hold, "{line}");
            assert_eq!(connection.socket(0), None);
        }
        assert_eq!(Connection::parse(b"IN IP4"), None);
        assert_eq!(Connection::parse(b"ATM NSAP 47"), None);
    }

    /// TDR-COD-004
    #[test]
    fn static_payload_types_need_no_mapping_and_a_mapping_wins() {
        let body = "m=audio 1 RTP/AVP 0 8 9 13 18 3 4 2 77 101 96 97 98\n\
                    a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=fmtp:18 annexb=no\n\
                    a=rtpmap:96 opus/48000/2\na=rtpmap:97 PCMA/none\na=rtpmap:98 a b\n\
                    a=rtpmap:99 PCMA/8000\na=rtpmap:9 g722/8000/1\n";
        let seen = with_first(body, |m| m.payloads());
        let short: Vec<_> =
            seen.iter().map(|p| format!("{} {}/{}", p.number, p.encoding, p.clock_hz)).collect();
        assert_eq!(
            short,
            [
                "0 PCMU/8000",
                "8 PCMA/8000",
                "9 g722/8000",
                "13 CN/8000",
                "18 G729/8000",
                "3 GSM/8000",
                "4 G723/8000",
                "101 telephone-event/8000",
                "96 opus/48000"
            ]
        );
        assert_eq!(seen[4].fmtp.as_deref(), Some("annexb=no"));
        assert_eq!(seen[8].channels, 2);
    }

    #[test]
    fn a_carriage_return_inside_a_line_cannot_become_a_line_of_ours() {
        let body = "m=audio 1 RTP/AVP 96 97\na=rtpmap:96 x\ra=evil/8000\n\
                    a=rtpmap:97 y/8000\na=fmtp:97 0-15\ra=evil\n";
        let seen = with_first(body, |m| m.payloads());
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].number, seen[0].fmtp.as_deref()), (97, None));
    }

    #[test]
    fn a_payload_type_listed_twice_counts_once() {
        let seen = with_first("m=audio 1 RTP/AVP 8 0 8 0 8\n", |m| m.payloads());
        assert_eq!(seen.iter().map(|p| p.number).collect::<Vec<_>>(), [8, 0]);
    }

    #[test]
    fn rtcp_names_a_port_and_perhaps_an_address() {
        for (value, wanted) in [
            ("a=rtcp:53020", Some((53020, None))),
            ("a=rtcp:53020 IN IP4 192.0.2.4", Some((53020, "192.0.2.4".parse().ok()))),
            ("a=rtcp:0", None),
            ("a=rtcp:x", None),
            ("a=rtcp", None),
        ] {
            let body = format!(
                "m=audio 1 RTP/AVP 0\n{value}\na=rtcp-mux\na=ptime:x\na=ptime:0\na=ptime:30 \n"
            );
            with_first(&body, |m| {
                assert_eq!(m.rtcp(), wanted, "{value}");
                assert!(m.rtcp_mux());
                assert_eq!(m.ptime_ms(), Some(30));
            });
        }
    }

    /// TDR-SDP-009
    #[test]
    fn the_origin_is_read_even_with_a_huge_session_id() {
        let sdp = SessionDescription::parse(b"o=- 99999999999999999999999 0 IN IP4 127.0.0.1 \n");
        let sdp = sdp.unwrap();
        let origin = sdp.origin().unwrap();
        assert_eq!(origin.session_id, "99999999999999999999999");
        assert_eq!((origin.version, origin.address), ("0", "127.0.0.1"));
    }
}
