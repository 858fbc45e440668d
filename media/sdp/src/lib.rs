//! SDP text (RFC 8866), offer/answer (RFC 3264) and the agreed stream, without I/O.
//!
//! The one crate that signalling and media share: signalling agrees a [`Stream`], media carries it.
#![forbid(unsafe_code)]

pub mod offer_answer;
pub mod stream;
pub mod text;

pub use offer_answer::{Ability, Local, Media, Negotiation, Refusal};
pub use stream::{Crypto, Direction, Payload, SrtpKey, Stream, Suite};
pub use text::{SdpError, SessionDescription};
