//! What a payload type stands for.

use crate::encoding::Encoding;

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
    /// One channel and no parameters, as nearly all have.
    pub fn mono(number: u8, encoding: impl Into<Encoding>, clock_hz: u32) -> Self {
        Self { number, encoding: encoding.into(), clock_hz, channels: 1, fmtp: None }
    }
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
