//! One agreed m-line seen from us: where its packets go, and under which keys.

use crate::direction::Direction;
use crate::dtls::Dtls;
use crate::ice::Ice;
use crate::payload::Payload;
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

impl Stream {
    /// RTP both ways with a far side that takes RTCP at the same place. Keys and payload types are for
    /// others to add.
    pub fn muxed(far_side: SocketAddr) -> Self {
        Self {
            remote_rtp: Some(far_side),
            remote_rtcp: Some(far_side),
            rtcp_mux: true,
            ..Self::default()
        }
    }
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

/// SDES keys of one stream (RFC 4568).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// What we protect with.
    pub local: SrtpKey,
    /// What the far side may protect with: more than one where it answered several lines
    /// (TDR-SDP-003); the first that authenticates a packet wins.
    pub remote: Vec<SrtpKey>,
}
