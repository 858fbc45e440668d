//! What a call's packets did: counters and measurements per leg, why packets were dropped, why nothing is
//! heard. Media takes them, signalling keeps them.

use crate::ice::IceReport;
use std::time::Duration;

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
    /// A connectivity check, or an answer to one, of nobody who was told how to make it. A check is
    /// refused with 400 or 401.
    StunCredentials,
    /// One check too many from one source, or one refusal too many of the leg.
    StunRate,
    /// It is larger than a slot.
    TooBig,
    /// The pool had no slot.
    PoolEmpty,
    /// The key it was to go out under has protected as many packets as it may.
    KeySpent,
    /// It came before DTLS has made the keys of a leg that it came from or was to go to.
    NoKeys,
    /// A datagram of DTLS that no handshake waits for, or one too many.
    Dtls,
    /// More speech was to be turned into another codec than there was room for.
    TranscoderFull,
    /// It is no speech of the codec that it says it is.
    Untranscodable,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::Unlatched,
        Self::BadTag,
        Self::Replay,
        Self::NoFlow,
        Self::Malformed,
        Self::StunCredentials,
        Self::StunRate,
        Self::TooBig,
        Self::PoolEmpty,
        Self::KeySpent,
        Self::NoKeys,
        Self::Dtls,
        Self::TranscoderFull,
        Self::Untranscodable,
    ];
    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlatched => "unlatched",
            Self::BadTag => "bad_tag",
            Self::Replay => "replay",
            Self::NoFlow => "no_flow",
            Self::Malformed => "malformed",
            Self::StunCredentials => "stun_credentials",
            Self::StunRate => "stun_rate",
            Self::TooBig => "too_big",
            Self::PoolEmpty => "pool_empty",
            Self::KeySpent => "key_spent",
            Self::NoKeys => "no_keys",
            Self::Dtls => "dtls",
            Self::TranscoderFull => "transcoder_full",
            Self::Untranscodable => "untranscodable",
        }
    }
}

/// One leg's counters and measurements, all from the packets themselves: *received* is what its far side
/// sent us, *sent* what we sent there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegStats {
    /// RTP packets that came in on this leg and were forwarded to the other.
    pub received_packets: u64,
    /// Their RTP octets as received, header included.
    pub received_octets: u64,
    /// RTP packets sent out on this leg.
    pub sent_packets: u64,
    /// Their RTP octets, header included, before they were protected.
    pub sent_octets: u64,
    /// RTP packets that the far side sent, by their sequence numbers (RFC 3550, A.3); those of a hold
    /// count, too.
    pub expected_packets: u64,
    /// Those of them that never came.
    pub lost_packets: u64,
    /// Packets that came later than a jitter buffer waits.
    pub late_packets: u64,
    /// Packets that came again. On SRTP they are refused, and counted as [`DropReason::Replay`].
    pub duplicate_packets: u64,
    /// Packets that came after one sent later.
    pub reordered_packets: u64,
    /// Interarrival jitter in ms (RFC 3550, A.8).
    pub jitter_ms: f64,
    /// How loss was spread.
    pub bursts: Bursts,
    /// The longest time between two packets while the far side was sending.
    pub longest_gap: Duration,
    /// To the far side and back, as RTCP tells: the mean over the call; `None` until it did.
    pub round_trip: Option<Duration>,
    /// The longest round trip.
    pub round_trip_max: Option<Duration>,
    /// Mean opinion score of what came in (G.107); `None` until measured, and for a codec that has no
    /// known values.
    pub mos: Option<f64>,
    /// What the far side says of what we sent; `None` until it did.
    pub told: Option<Told>,
    /// RTCP packets that came in and were believed.
    pub rtcp_packets: u64,
    /// RTCP packets of our own that went out.
    pub rtcp_generated: u64,
    /// When nothing came in.
    pub silence: Silences,
    /// Packets of ours that went out: keys, tones, music, comfort noise.
    pub made_packets: u64,
    /// Sounds that the far side was to hear and that could not be played: no G.711 is agreed there.
    pub unplayed: u64,
    /// Keys that the far side has pressed, however it told them.
    pub keys: u64,
    /// Keys that the far side was to be told and could not.
    pub keys_lost: u64,
    /// Dropped packets, indexed as [`DropReason::ALL`].
    pub drops: [u64; DropReason::ALL.len()],
    /// What came of ICE, where it was agreed.
    pub ice: Option<IceReport>,
}

impl LegStats {
    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// The share of packets that never came, 0 to 1; `None` before there was any.
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.expected_packets > 0).then(|| self.lost_packets as f64 / self.expected_packets as f64)
    }
}

/// What a far side's receiver reports say of what we sent there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Packets that never came there; below zero where some came twice (RFC 3550, 6.4.1).
    pub lost_packets: i64,
    /// Interarrival jitter there, in ms.
    pub jitter_ms: f64,
    /// Mean opinion score there; `None` for a codec that has no known values.
    pub mos: Option<f64>,
}

/// How loss was spread (RFC 3611, 4.7.2, with Gmin 16): a burst begins and ends with a lost packet and
/// has fewer than 16 good ones between two lost; all else is gap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bursts {
    /// How many bursts there were.
    pub count: u64,
    /// The share lost within bursts; 0 to 1.
    pub burst_density: f64,
    /// The share lost outside of them.
    pub gap_density: f64,
    /// Mean length of a burst.
    pub burst_length: Duration,
    /// Mean length between two.
    pub gap_length: Duration,
}

/// Why nothing is heard from a leg: metric label, log field and record field at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Nothing comes at all.
    NoPackets,
    /// Packets come from an address that does not own the stream.
    WrongSource,
    /// Packets come and do not authenticate.
    BadTag,
    /// Packets come with a payload type that was not agreed.
    PayloadType,
    /// Nothing ever came, and the SDP names an address that other networks have, too.
    PrivateAddress,
    /// It was agreed that nothing comes.
    Held,
    /// Nothing comes, but RTCP does.
    Muted,
}

impl Silence {
    /// All causes.
    pub const ALL: [Self; 7] = [
        Self::NoPackets,
        Self::WrongSource,
        Self::BadTag,
        Self::PayloadType,
        Self::PrivateAddress,
        Self::Held,
        Self::Muted,
    ];
    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPackets => "no_packets",
            Self::WrongSource => "wrong_source",
            Self::BadTag => "bad_tag",
            Self::PayloadType => "payload_type",
            Self::PrivateAddress => "private_address",
            Self::Held => "held",
            Self::Muted => "muted",
        }
    }
    /// Whether somebody should look at it: nobody wants it so.
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Held | Self::Muted)
    }
}

/// The silences of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silences {
    /// Why nothing is heard now; `None` where something is, or it is too early to say.
    pub now: Option<Silence>,
    /// Why nothing was heard: the first fault, else the first other cause.
    pub first: Option<Silence>,
    /// For how long nothing was heard, all silences together.
    pub total: Duration,
}

/// Both legs' counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallStats {
    /// Leg A.
    pub a: LegStats,
    /// Leg B.
    pub b: LegStats,
}
