//! SDP text (RFC 8866), offer/answer (RFC 3264) and the agreed stream, without I/O.
//!
//! The one crate that signalling and media share: signalling agrees a [`Stream`], media carries it.
//!
//! [`Negotiation`] speaks for one leg; [`pair`] carries what one leg offers and answers over to the
//! other; [`SessionDescription`] reads and edits a body line by line.
#![forbid(unsafe_code)]

pub mod ability;
pub mod carriage;
mod cidr;
pub mod codec;
pub mod codecs;
mod companions;
pub mod crypto;
mod direction;
pub mod dtls;
mod encoding;
pub mod fax;
pub mod ice;
mod line;
pub mod measured;
pub mod offer_answer;
pub mod pair;
mod payload;
mod port_blocks;
mod refusal;
mod remote;
pub mod section;
pub mod sound;
pub mod stream;
pub mod suite;
pub mod text;
mod words;
mod write;

pub use ability::{Ability, Events, Keying, Local, Security};
pub use carriage::{
    Carriage, DtlsFailure, Dtmf, Early, Fork, Key, LatchPolicy, Notice, Order, Rtcp, Terms,
};
pub use cidr::Cidr;
pub use codec::{Codec, Conversion};
pub use codecs::Codecs;
pub use direction::Direction;
pub use dtls::{Certificate, Dtls, Fingerprint, HashFunction, Role};
pub use encoding::Encoding;
pub use fax::Fax;
pub use ice::{Ice, IceOffered, IcePolicy, IceReport, IceState, IceTrouble};
pub use measured::{Bursts, CallStats, DropReason, LegStats, Silence, Silences, Told};
pub use offer_answer::Negotiation;
pub use pair::{Media, counterpart};
pub use payload::Payload;
pub use port_blocks::{PortBlocks, PortClass};
pub use refusal::Refusal;
pub use sound::{Recording, Sound, Tone};
pub use stream::{Crypto, Protocol, Stream};
pub use suite::{SrtpKey, Suite, Suites};
pub use text::{SdpError, SessionDescription};
