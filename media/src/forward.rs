//! One call's streams: a packet in, a [`Verdict`] out.

use crate::{CallStats, Component, DropReason, Now, PacketBuf, Side};
use sdp::Stream;
use std::net::SocketAddr;

/// Which source a leg believes before anything is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LatchPolicy {
    /// SRTP: the first authenticated packet takes the latch. RTP: only the signalled address.
    #[default]
    Signalled,
    /// As above, but plain RTP from elsewhere takes the latch if its SSRC is consistent within a
    /// bounded window (a NATed carrier).
    Symmetric,
}

/// One leg as it is to be carried from now on.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The agreed stream.
    pub stream: Stream,
    /// Its latch policy.
    pub latch: LatchPolicy,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the slot, changed in place, out of this leg's port to `to`.
    Forward {
        /// The leg to send on.
        side: Side,
        /// The port to send from.
        component: Component,
        /// The destination.
        to: SocketAddr,
    },
    /// It was meant for us (counted, nothing to send).
    Consumed,
    /// Drop it for this reason.
    Drop(DropReason),
}

/// The media of one call.
#[derive(Debug)]
pub struct Forward {}

impl Forward {
    /// A call whose ports are open and whose media is not agreed: every packet drops (`no_flow`).
    /// `seed` is fresh random: our own SSRCs are drawn from it.
    pub fn new(seed: [u8; 32]) -> Self {
        let _ = seed;
        todo!()
    }
    /// Takes what the legs have agreed, also anew after a re-INVITE. A leg whose keys did not
    /// change keeps its SRTP contexts, ROC and replay window; a leg whose remote address did not
    /// change keeps its latch. `None` leaves a leg as it is (or without media).
    pub fn connect(&mut self, a: Option<Leg>, b: Option<Leg>) {
        let _ = (a, b);
        todo!()
    }
    /// One packet that came in on `side`'s `component` port from `from`; on `Forward` the slot
    /// holds what is to be sent.
    pub fn packet(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        from: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Verdict {
        let _ = (now, side, component, from, slot);
        todo!()
    }
    /// Fills `slot` with a packet that we generate ourselves and that is due, if any: call until
    /// `None`. Never `Consumed` or `Drop`.
    pub fn generate(&mut self, now: Now, slot: &mut PacketBuf) -> Option<Verdict> {
        let _ = (now, slot);
        todo!()
    }
    /// When [`Self::generate`] has something next.
    pub fn next_due(&self) -> Option<std::time::Instant> {
        todo!()
    }
    /// The counters so far.
    pub fn stats(&self) -> CallStats {
        todo!()
    }
}
