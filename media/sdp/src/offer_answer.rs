//! RFC 3264: from our ability and the far side's offer to an answer and the agreed stream.
//!
//! One [`Negotiation`] belongs to one leg (one dialog, or one early dialog of a forked INVITE). It
//! speaks for our end only: the pairing of two legs is the caller's.

use crate::stream::{Direction, Payload, SrtpKey, Stream};
use bytes::Bytes;
use std::net::IpAddr;

/// What our end of a leg has: fixed for the life of the dialog (TDR-DLG-012).
#[derive(Clone, Debug)]
pub struct Local {
    /// The address we advertise.
    pub address: IpAddr,
    /// Our RTP port.
    pub rtp_port: u16,
    /// Our RTCP port where the far side does not multiplex.
    pub rtcp_port: u16,
    /// `o=` session id.
    pub session_id: u64,
    /// The key we protect with, made fresh for this dialog; unused when plain RTP is agreed.
    pub key: SrtpKey,
}

/// What our end may agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// RTP/AVP only.
    Plain,
    /// RTP/SAVP with SDES only; a plain offer is refused (TDR-MED-001).
    Srtp,
    /// Either in an answer; an offer of ours is RTP/SAVP.
    Either,
}

/// The media that two legs share: what an offer or answer is about, without anybody's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Payload types, first preferred.
    pub payloads: Vec<Payload>,
    /// The direction as seen from the end that wrote the SDP (the far side for a received one, us
    /// for one we make). `c=0.0.0.0` (RFC 2543 hold) reads as `Inactive`.
    pub direction: Direction,
    /// Packet time in ms, if written.
    pub ptime_ms: Option<u16>,
}

/// Why an offer or answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum Refusal {
    #[error("the SDP cannot be read: {0}")]
    Unreadable(#[from] crate::text::SdpError),
    #[error("no audio stream")]
    NoAudio,
    #[error("SRTP is required and was not offered, or no suite or key of it can be used")]
    SrtpRequired,
    #[error("SRTP was offered or answered where only plain RTP is allowed")]
    SrtpNotAllowed,
    #[error("no codec in common")]
    NoCommonCodec,
    #[error("an answer came without an offer, or an offer while one is open")]
    OutOfTurn,
}

/// The offer/answer state of one leg.
#[derive(Clone, Debug)]
pub struct Negotiation {}

impl Negotiation {
    /// A leg on which nothing has been agreed.
    pub fn new(local: Local, ability: Ability) -> Self {
        let _ = (local, ability);
        todo!()
    }
    /// Takes the far side's offer; the offer is open until [`Self::make_answer`] or [`Self::rollback`].
    pub fn receive_offer(&mut self, sdp: &[u8]) -> Result<Media, Refusal> {
        let _ = sdp;
        todo!()
    }
    /// Whether the open or last received offer says the same as the one before it: a session
    /// refresh (TDR-DLG-013), which is answered with [`Self::last_local`].
    pub fn is_refresh(&self) -> bool {
        todo!()
    }
    /// Answers the open offer with what `media` allows of it (payload numbers are the offer's).
    /// Further m-lines are refused with port 0 (TDR-SDP-008). `o=` version rises only on change.
    pub fn make_answer(&mut self, media: &Media) -> Result<(Bytes, Stream), Refusal> {
        let _ = media;
        todo!()
    }
    /// Makes an offer of `media`; it is open until [`Self::receive_answer`] or [`Self::rollback`].
    pub fn make_offer(&mut self, media: &Media) -> Bytes {
        let _ = media;
        todo!()
    }
    /// Takes the far side's answer to our open offer. An answer may come again unchanged (183 then
    /// 200, TDR-EM-021) and is then accepted as it is.
    pub fn receive_answer(&mut self, sdp: &[u8]) -> Result<(Media, Stream), Refusal> {
        let _ = sdp;
        todo!()
    }
    /// Forgets an open offer: a re-INVITE that failed leaves the old state (TDR-DLG-017).
    pub fn rollback(&mut self) {
        todo!()
    }
    /// The stream in force, if one has been agreed.
    pub fn stream(&self) -> Option<&Stream> {
        todo!()
    }
    /// The SDP we sent last, if any.
    pub fn last_local(&self) -> Option<&Bytes> {
        todo!()
    }
    /// The media the far side described last, if any.
    pub fn last_remote(&self) -> Option<&Media> {
        todo!()
    }
}
