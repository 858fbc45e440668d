//! SDP text (RFC 8866), offer/answer (RFC 3264) and the agreed stream, without I/O.
//!
//! The one crate that signalling and media share: signalling agrees a [`Stream`], media carries it.
//!
//! [`Negotiation`] speaks for one leg; [`pair`] carries what one leg offers and answers over to the
//! other; [`SessionDescription`] reads and edits a body line by line.
#![forbid(unsafe_code)]

pub mod carriage;
pub mod codecs;
pub mod crypto;
pub mod measured;
pub mod offer_answer;
pub mod pair;
mod remote;
pub mod section;
pub mod stream;
pub mod text;
mod write;

pub use carriage::{Carriage, Key, LatchPolicy, Notice, Order, Terms};
pub use codecs::Codecs;
pub use measured::{Bursts, CallStats, DropReason, LegStats, Silence, Silences, Told};
pub use offer_answer::{Ability, Local, Media, Negotiation, Refusal};
pub use pair::{PayloadMap, payload_map};
pub use stream::{Crypto, Direction, Payload, SrtpKey, Stream, Suite};
pub use text::{SdpError, SessionDescription};
