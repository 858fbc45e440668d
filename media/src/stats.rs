//! What a call's packets did: counters per leg, and why packets were dropped.

/// Why a packet was dropped: return value, metric label and record field at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// It came from an address that does not own the stream.
    Unlatched,
    /// It did not authenticate.
    BadTag,
    /// It came before, or is older than the replay window.
    Replay,
    /// No call has this port, or the call has not agreed media yet.
    NoFlow,
    /// It is not RTP, RTCP or STUN as it should be.
    Malformed,
    /// It is larger than a slot.
    TooBig,
    /// The pool had no slot.
    PoolEmpty,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 7] = [
        Self::Unlatched,
        Self::BadTag,
        Self::Replay,
        Self::NoFlow,
        Self::Malformed,
        Self::TooBig,
        Self::PoolEmpty,
    ];
    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlatched => "unlatched",
            Self::BadTag => "bad_tag",
            Self::Replay => "replay",
            Self::NoFlow => "no_flow",
            Self::Malformed => "malformed",
            Self::TooBig => "too_big",
            Self::PoolEmpty => "pool_empty",
        }
    }
}

/// One leg's counters, all from the packets themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegStats {
    /// RTP packets that came in on this leg and were forwarded to the other.
    pub received_packets: u64,
    /// Their RTP octets as received, header included.
    pub received_octets: u64,
    /// RTP packets sent out on this leg.
    pub sent_packets: u64,
    /// RTP packets that the far side sent and that never came (extended sequence numbers; RFC 3550, A.3).
    pub lost_packets: u64,
    /// Interarrival jitter in ms (RFC 3550, A.8).
    pub jitter_ms: f64,
    /// RTCP packets that came in and were forwarded.
    pub rtcp_packets: u64,
    /// Dropped packets, indexed as [`DropReason::ALL`].
    pub drops: [u64; DropReason::ALL.len()],
}

/// Both legs' counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallStats {
    /// Leg A.
    pub a: LegStats,
    /// Leg B.
    pub b: LegStats,
}
