//! What `perf media` tells the process that relays, and what that answers: one line of JSON each.

use clap::ValueEnum;
use media::srtp;
use media_engine::EngineKind;
use sdp::{SrtpKey, Suite};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Relay {
    /// Our engine.
    Ours,
    /// The least that a relay with one socket per leg can do.
    Floor,
    /// Debian's rtpengine, in user space.
    Rtpengine,
    /// Nothing: packets end at the interface. What remains is the cost of making the traffic.
    Nothing,
}

/// Which of our engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Datapath {
    /// One socket per port
    Portable,
    /// One socket per worker, to which the kernel hands all its ports
    Steer,
    /// AF_XDP
    Xdp,
    /// What the engine picks itself
    Auto,
}

impl Datapath {
    pub(crate) fn kind(self) -> EngineKind {
        match self {
            Self::Portable => EngineKind::Portable,
            Self::Steer => EngineKind::Steer,
            Self::Xdp => EngineKind::Xdp,
            Self::Auto => EngineKind::Auto,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Steer => "steer",
            Self::Xdp => "xdp",
            Self::Auto => "auto",
        }
    }
}

/// What the two legs carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Legs {
    /// Nothing to encrypt
    RtpRtp,
    /// The Teams leg under AES_CM_128_HMAC_SHA1_80
    RtpSrtp,
    /// Both legs, under different keys
    SrtpSrtp,
}

impl Legs {
    pub(crate) fn is_encrypted(self, side: usize) -> bool {
        match self {
            Self::RtpRtp => false,
            Self::RtpSrtp => side == 1,
            Self::SrtpSrtp => true,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RtpRtp => "rtp-rtp",
            Self::RtpSrtp => "rtp-srtp",
            Self::SrtpSrtp => "srtp-srtp",
        }
    }
}

/// Where the packets cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Net {
    /// Sockets on both sides of the loopback
    Loopback,
    /// A pair of virtual interfaces; the far sides are BPF programs
    Veth,
}

/// Which relay is to stand where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) relay: Relay,
    pub(crate) engine: Datapath,
    pub(crate) offload: bool,
    /// Packets may gather for a tick, as in production.
    pub(crate) gather: bool,
    pub(crate) workers: usize,
    pub(crate) net: Net,
    /// Arrivals are taken from the interface by a thread of the kernel, which can be placed and counted.
    pub(crate) threaded: bool,
    pub(crate) legs: Legs,
    /// The ports of the far sides of each call.
    pub(crate) far_ports: Vec<[u16; 2]>,
}

impl Order {
    /// The relay's address, and that of the far sides.
    pub(crate) fn addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        match self.net {
            Net::Loopback => (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
            Net::Veth => (RELAY, FAR),
        }
    }
}

/// The relay stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Its ports of each call.
    pub(crate) ports: Vec<[u16; 2]>,
    /// Key and salt that it protects with on either leg, none where the leg is plain. The floor passes on what
    /// it gets.
    pub(crate) keys: Vec<[Option<Vec<u8>>; 2]>,
    /// The processes that relay.
    pub(crate) processes: Vec<u32>,
    /// What carries our calls, with the reason why nothing faster does.
    pub(crate) carried: Vec<String>,
    /// Resident octets before the first call.
    pub(crate) resident_before: u64,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// It has a network of its own and waits for its interface.
    Inside,
    /// It relays.
    Ready(Ready),
    /// It cannot.
    Failed(String),
}

/// A key that is worth nothing.
#[expect(clippy::expect_used, reason = "the suite has 30 octets")]
pub(crate) fn key(octets: [u8; 30]) -> SrtpKey {
    SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &octets).expect("30 octets")
}

/// The key that we protect a leg with: each has its own.
pub(crate) fn our_key(call: usize, side: usize) -> [u8; 30] {
    let mut octets = [1 + side as u8; 30];
    octets[..8].copy_from_slice(&(call as u64).to_be_bytes());
    octets
}

/// The key of all far sides of a side: so their packets are made once and sent to every call. The relay does
/// not know, and has a context for each.
pub(crate) fn far_key(side: usize) -> [u8; 30] {
    [0x40 + side as u8; 30]
}

/// A far side's sender.
pub(crate) fn far_sender(side: usize) -> srtp::Sender {
    srtp::Sender::new(&key(far_key(side)), 1)
}

/// In the network of our own.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub(crate) const RELAY_INTERFACE: &str = "rel0";
pub(crate) const FAR_INTERFACE: &str = "far0";
pub(crate) const RELAY_HARDWARE: [u8; 6] = [2, 0, 0, 0, 0x77, 1];
pub(crate) const FAR_HARDWARE: [u8; 6] = [2, 0, 0, 0, 0x77, 2];
