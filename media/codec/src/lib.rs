//! Speech from one codec to another, packet by packet, without I/O.
//!
//! A [`Transcoder`] is one direction of one call. [`Transcoders`] are all of a thread, each found by
//! its key. Whoever gives them packets decides in which order, and numbers what comes out: a packet in
//! is a packet out of the same length in time, so sequence numbers can stay.
//!
//! ```text
//!  payload ─▶ decode ─▶ samples ─▶ 8 ↔ 16 kHz, if need be ─▶ encode ─▶ payload
//! ```
#![forbid(unsafe_code)]

pub mod g722;
mod opus;
mod resample;
#[cfg(test)]
mod testing;
mod transcoder;
mod transcoders;

pub use transcoder::Transcoder;
pub use transcoders::{IDLE_MAX, TRANSCODERS_MAX, Transcoders};

/// The longest packet that is transcoded, in ms: the longest that Opus has (RFC 6716, 3.2.5), and
/// longer than any telephone sends.
pub const PACKET_MS_MAX: usize = 120;

/// Why a packet could not be transcoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum Failure {
    #[error("no speech in the packet")]
    Empty,
    #[error("more speech than a packet may hold")]
    TooLong,
    #[error("a length that the other codec has no frame for")]
    OddLength,
    #[error("the codec does not know what to do with it")]
    Refused,
    #[error("too many directions are transcoded at once")]
    Full,
}

impl From<opus_pure::Error> for Failure {
    fn from(_: opus_pure::Error) -> Self {
        Self::Refused
    }
}
