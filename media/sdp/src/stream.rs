//! One agreed m-line seen from us: addresses, keys, payload types, direction.

use crate::dtls::Dtls;
use crate::encoding::Encoding;
use crate::ice::Ice;
use crate::suite::SrtpKey;
use std::net::SocketAddr;

/// The audio stream that one leg has agreed with its far side, seen from us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Where the far side wants RTP; `None` where it named no usable address (`0.0.0.0`, port 0).
    pub remote_rtp: Option<SocketAddr>,
    /// Where the far side wants RTCP; equals `remote_rtp` under rtcp-mux.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share one port (RFC 5761), agreed by both sides.
    pub rtcp_mux: bool,
    /// What we may do: `SendOnly` means we send and the far side does not.
    pub direction: Direction,
    /// SDES keys, where the profile is SAVP or SAVPF; `None` for plain RTP.
    pub crypto: Option<Crypto>,
    /// The handshake that makes the keys instead (DTLS-SRTP); with it, `crypto` is `None`.
    pub dtls: Option<Dtls>,
    /// The payload types in use, first preferred, with the numbers of this leg. Where the far side
    /// answered one with another number than we offered, both stand here, alike but for the number:
    /// the first is the one to send, either may come in.
    pub payloads: Vec<Payload>,
    /// Packet time in ms that the far side asked for, if it did.
    pub ptime_ms: Option<u16>,
    /// ICE, where both sides take part.
    pub ice: Option<Ice>,
    /// What its packets are.
    pub protocol: Protocol,
}

/// What the packets of a stream are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RTP or SRTP, with RTCP beside.
    #[default]
    Rtp,
    /// UDPTL: a fax by T.38, with no payload types and no RTCP.
    Udptl,
}

/// The direction attribute, seen from whoever holds it (RFC 3264, 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The holder sends only.
    SendOnly,
    /// The holder receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The same stream seen from the other end.
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both => both,
        }
    }
    /// What is left of this where the other end allows no more than `limit` (RFC 3264, 6.1); both
    /// are seen from the same end.
    pub const fn within(self, limit: Self) -> Self {
        match (self.sends() && limit.sends(), self.receives() && limit.receives()) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
    /// Whether the holder may send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
    /// Whether the holder may receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// SDES keys of one stream (RFC 4568).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// What we protect with.
    pub local: SrtpKey,
    /// What the far side may protect with: more than one where it answered several lines
    /// (TDR-SDP-003); the first that authenticates a packet wins.
    pub remote: Vec<SrtpKey>,
}

/// One payload type with its mapping (static ones are filled in where the SDP names none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The payload type number on this leg.
    pub number: u8,
    /// The encoding name as written (`PCMA`, `telephone-event`, `CN`); compare without case.
    pub encoding: Encoding,
    /// The RTP clock rate in Hz.
    pub clock_hz: u32,
    /// Channels; 1 where not written.
    pub channels: u8,
    /// Format parameters, as written.
    pub fmtp: Option<String>,
}

impl Payload {
    /// Whether both name the same encoding, clock rate and channels.
    pub fn same_encoding(&self, other: &Self) -> bool {
        self.clock_hz == other.clock_hz
            && self.channels == other.channels
            && self.encoding.eq_ignore_ascii_case(&other.encoding)
    }
    /// Whether this carries telephone events (RFC 4733), at whatever clock.
    pub fn is_event(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("telephone-event")
    }
    /// Whether this carries comfort noise (RFC 3389).
    pub fn is_noise(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("CN")
    }
    /// Whether this carries speech, as opposed to telephone events and comfort noise.
    pub fn is_speech(&self) -> bool {
        !self.is_event() && !self.is_noise() && !self.encoding.eq_ignore_ascii_case("RED")
    }
}
