//! SRTP, DTLS, latching and forwarding of the packets of one call, without I/O.
//!
//! Signalling agrees two [`sdp::Stream`]s; [`Forward`] takes them and turns each packet that comes
//! in into a [`Verdict`]. No socket, no clock, no SIP.
#![forbid(unsafe_code)]

mod agreed;
pub mod demux;
pub mod dtls;
mod forks;
pub mod forward;
pub mod g711;
mod handshakes;
pub mod ice;
mod keys;
pub mod latch;
mod leg;
mod losses;
pub mod mos;
mod notices;
mod outgoing;
pub mod packet;
mod reception;
mod rtcp;
pub mod rtp;
mod sound;
pub mod srtp;
mod stretch;
#[cfg(test)]
mod testing;
mod transcode;
pub mod transform;
mod udptl;
mod watch;

pub use forward::{Flow, Forward, Passed, Stays, Verdict};
pub use mos::mos;
pub use packet::PacketBuf;
pub use sdp::{
    CallStats, Carriage, Codec, Conversion, DropReason, Dtmf, IceReport, Key, LatchPolicy,
    LegStats, Notice, Order, Terms,
};
pub use stretch::Stretch;

use std::time::{Instant, SystemTime};

/// The time, told to every core: `mono` for intervals, `wall` for NTP timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time.
    pub mono: Instant,
    /// Wall-clock time.
    pub wall: SystemTime,
}

/// The two legs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The leg the call came in on.
    A,
    /// The leg the call went out on.
    B,
}

impl Side {
    /// The other leg.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Which of a leg's two ports: RTP (with RTCP under rtcp-mux), or RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// The RTP port.
    Rtp,
    /// The RTCP port.
    Rtcp,
}
