//! Our own description: only the lines that Teams is known to take (TDR-SDP-012).

use crate::crypto;
use crate::dtls::{self, Fingerprint, Setup};
use crate::ice::OurIce;
use crate::offer_answer::{Local, Media};
use crate::section::MediaLine;
use crate::stream::Direction;
use crate::suite::SrtpKey;
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a description of ours says, before it has a version.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) media: Media,
    pub(crate) proto: String,
    /// Every m-line in its place; exactly one is `Audio`.
    pub(crate) slots: Vec<Slot>,
    pub(crate) rtcp_mux: bool,
    /// The tags and keys of our crypto lines; none for plain RTP.
    pub(crate) crypto: Vec<(u32, SrtpKey)>,
    /// Or the handshake that makes the keys.
    pub(crate) dtls: Option<DtlsLines>,
    pub(crate) ice: OurIce,
    /// RTCP may yet get a port of its own: it has a candidate, too.
    pub(crate) rtcp_apart: bool,
    /// It names the address 0.0.0.0, as a hold of RFC 2543 does.
    pub(crate) nowhere: bool,
}

/// What we say of DTLS.
#[derive(Clone)]
pub(crate) struct DtlsLines {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) setup: Setup,
    /// Which of our associations is meant; `None` where the far side does not name its own.
    pub(crate) tls_id: Option<u32>,
}

/// One m-line of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The stream that we agree.
    Audio,
    /// One that is refused with port 0, as the whole line (TDR-SDP-008).
    Refused(String),
}

impl Slot {
    /// Refuses an m-line, keeping its transport and formats (RFC 3264, 6).
    pub(crate) fn refused(line: &MediaLine<'_>) -> Self {
        let mut text = format!("m={} 0 {}", line.media, line.proto);
        for format in &line.formats {
            text.push(' ');
            text.push_str(format);
        }
        text.push_str("\r\n");
        Self::Refused(text)
    }
}

impl Draft {
    /// The body under `version`.
    pub(crate) fn write(&self, local: &Local, version: u64) -> Bytes {
        let address = local.address;
        let kind = if address.is_ipv4() { "IP4" } else { "IP6" };
        let connection = match (self.nowhere, address) {
            (false, _) => address,
            (true, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (true, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut body = format!(
            "v=0\r\no=- {} {version} IN {kind} {address}\r\ns=-\r\nc=IN {kind} {connection}\r\nt=0 0\r\n",
            local.session_id
        );
        body.push_str(self.ice.session_line());
        for slot in &self.slots {
            match slot {
                Slot::Audio => self.write_audio(local, &mut body),
                Slot::Refused(line) => body.push_str(line),
            }
        }
        Bytes::from(body)
    }

    fn write_audio(&self, local: &Local, body: &mut String) {
        let mut line = |text: std::fmt::Arguments<'_>| {
            let written = body.write_fmt(text);
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        line(format_args!("m=audio {} {}", local.rtp_port, self.proto));
        for payload in &self.media.payloads {
            line(format_args!(" {}", payload.number));
        }
        line(format_args!("\r\n"));
        for payload in &self.media.payloads {
            let (number, encoding) = (payload.number, &payload.encoding);
            line(format_args!("a=rtpmap:{number} {encoding}/{}", payload.clock_hz));
            match payload.channels {
                0 | 1 => line(format_args!("\r\n")),
                channels => line(format_args!("/{channels}\r\n")),
            }
            if let Some(parameters) = &payload.fmtp {
                line(format_args!("a=fmtp:{number} {parameters}\r\n"));
            } else if payload.is_event() {
                line(format_args!("a=fmtp:{number} {EVENTS}\r\n"));
            }
        }
        let rtcp = self.rtcp_apart.then_some(local.rtcp_port);
        self.ice.write(body, local.address, local.rtp_port, rtcp);
        let mut line = |text: std::fmt::Arguments<'_>| {
            let written = body.write_fmt(text);
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        for (tag, key) in &self.crypto {
            line(format_args!("{}", crypto::write(*tag, key)));
        }
        if let Some(DtlsLines { fingerprint, setup, tls_id }) = &self.dtls {
            line(format_args!("a=fingerprint:{fingerprint}\r\na=setup:{}\r\n", setup.as_str()));
            if let Some(which) = tls_id {
                line(format_args!("a=tls-id:{}\r\n", dtls::tls_id(local.session_id, *which)));
            }
        }
        if self.rtcp_mux {
            // Where an answer may refuse to multiplex, and RTCP's own port has a candidate or a
            // handshake, that is the port to fall back to (RFC 5761, 5.1.3).
            let apart = self.rtcp_apart && (self.dtls.is_some() || self.ice.has_rtcp_apart());
            let rtcp = if apart { local.rtcp_port } else { local.rtp_port };
            line(format_args!("a=rtcp:{rtcp}\r\na=rtcp-mux\r\n"));
        } else if local.rtp_port.checked_add(1) != Some(local.rtcp_port) {
            line(format_args!("a=rtcp:{}\r\n", local.rtcp_port));
        }
        if let Some(ms) = self.media.ptime_ms {
            line(format_args!("a=ptime:{ms}\r\n"));
        }
        line(format_args!("a={}\r\n", attribute(self.media.direction)));
    }
}

/// The events of a description that names none: the keys of a telephone (RFC 4733, 2.4.1).
const EVENTS: &str = "0-15";

const fn attribute(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}
