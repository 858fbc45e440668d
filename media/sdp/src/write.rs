//! Our own description: only the lines that Teams is known to take (TDR-SDP-012).

use crate::ability::Local;
use crate::crypto;
use crate::direction::Direction;
use crate::dtls::{self, Fingerprint, Setup};
use crate::fax::{self, Fax};
use crate::ice::OurIce;
use crate::pair::Media;
use crate::section::MediaLine;
use crate::suite::SrtpKey;
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a description of ours says, before it has a version.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) media: Media,
    pub(crate) proto: String,
    /// Every m-line in its place; exactly one is agreed.
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
    /// The stream that we agree, by the name it has in a group of the far side's.
    Agreed { mid: Option<String> },
    /// One that is refused with port 0, as the whole line (TDR-SDP-008).
    Refused(String),
}

impl Slot {
    pub(crate) const fn is_agreed(&self) -> bool {
        matches!(self, Self::Agreed { .. })
    }

    /// Whether a line of this media is refused here.
    fn is_refused(&self, media: &str) -> bool {
        let Self::Refused(line) = self else { return false };
        let named = line.strip_prefix("m=").and_then(|line| line.split(' ').next());
        named.is_some_and(|it| it.eq_ignore_ascii_case(media))
    }

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
    /// A description of a fax.
    pub(crate) const fn of_fax(media: Media, proto: String, slots: Vec<Slot>) -> Self {
        Self {
            media,
            proto,
            slots,
            rtcp_mux: false,
            crypto: Vec::new(),
            dtls: None,
            ice: OurIce::None,
            rtcp_apart: false,
            nowhere: false,
        }
    }

    /// The m-lines of the next offer, of a fax or of speech. Where that is not what is agreed, a line of
    /// the kind that was refused comes back in its place; without one, the line that is agreed changes
    /// what it is (RFC 3264, 8.3.3).
    pub(crate) fn slots_for(&self, fax: bool) -> Vec<Slot> {
        let mut slots = self.slots.clone();
        if self.media.fax.is_some() == fax {
            return slots;
        }
        let wanted = if fax { "image" } else { "audio" };
        let back = slots.iter().position(|slot| slot.is_refused(wanted));
        let agreed = slots.iter().position(Slot::is_agreed);
        if let (Some(back), Some(agreed)) = (back, agreed) {
            slots[agreed] = Slot::Refused(format!("{}\r\n", self.m_line(0)));
            slots[back] = Slot::Agreed { mid: None };
        }
        slots
    }

    /// The m-line that is agreed, with this port.
    fn m_line(&self, port: u16) -> String {
        if self.media.fax.is_some() {
            return format!("m=image {port} {} {}", self.proto, fax::FORMAT);
        }
        let mut line = format!("m=audio {port} {}", self.proto);
        for payload in &self.media.payloads {
            line.push_str(&format!(" {}", payload.number));
        }
        line
    }

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
                Slot::Agreed { mid } => {
                    body.push_str(&self.m_line(local.rtp_port));
                    body.push_str("\r\n");
                    if let Some(mid) = mid {
                        body.push_str(&format!("a=mid:{mid}\r\n"));
                    }
                    match &self.media.fax {
                        Some(fax) => self.write_fax(fax, &mut body),
                        None => self.write_audio(local, &mut body),
                    }
                }
                Slot::Refused(line) => body.push_str(line),
            }
        }
        Bytes::from(body)
    }

    fn write_fax(&self, fax: &Fax, body: &mut String) {
        for attribute in fax.attributes() {
            body.push_str("a=");
            body.push_str(attribute);
            body.push_str("\r\n");
        }
        // A fax goes both ways; terminals that read more than annex D has are few.
        if self.media.direction != Direction::SendRecv {
            body.push_str(&format!("a={}\r\n", attribute(self.media.direction)));
        }
    }

    fn write_audio(&self, local: &Local, body: &mut String) {
        let mut line = |text: std::fmt::Arguments<'_>| {
            let written = body.write_fmt(text);
            debug_assert!(written.is_ok(), "a String takes everything");
        };
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
