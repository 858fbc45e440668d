//! SRTP and SRTCP of one key in place (RFC 3711, RFC 6188, RFC 7714).
//!
//! A [`Sender`] protects under one key of ours, a [`Receiver`] unprotects under the keys that the
//! far side may use. Neither knows addresses, streams or calls, and neither allocates per packet.
//!
//! Two rules hold whatever comes in: a packet that does not authenticate changes nothing, and no
//! two different packets ever leave under one (key, SSRC, index).

mod counter;
mod index;
mod kdf;
mod mac;
mod primitives;
mod receiver;
mod replay;
mod sender;
mod sources;
mod srtcp;
mod suite;

pub use index::PacketIndex;
pub use primitives::{Library, Primitives, WrongAnswer, choose, chosen};
pub use receiver::{Authentic, MAX_KEYS, Receiver};
pub use sender::{Origin, Sender};
pub use sources::MAX_SOURCES;
