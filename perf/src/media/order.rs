//! What `perf media` tells the process that relays, and what that answers: one line of JSON each.

use clap::ValueEnum;
use media::srtp;
use media_engine::EngineKind;
use sdp::SrtpKey;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Relay {
    /// Our engine.
    Ours(Way),
    /// The least that a relay with one socket per leg can do.
    Floor,
    /// Debian's rtpengine, in user space.
    Rtpengine,
    /// Nothing: packets end at the interface. What remains is the cost of making the traffic.
    Nothing,
}

impl Relay {
    /// Our engine, with all packets in user space.
    pub(crate) fn ours(engine: Datapath) -> Self {
        Self::Ours(Way { engine, offload: None })
    }

    /// Our engine, where the kernel may send packets on by itself.
    pub(crate) fn offloaded(engine: Datapath, hook: Hook) -> Self {
        Self::Ours(Way { engine, offload: Some(hook) })
    }

    /// Where its flows are to leave for the kernel.
    pub(crate) fn offload(self) -> Option<Hook> {
        match self {
            Self::Ours(way) => way.offload,
            _ => None,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Ours(Way { engine, offload: None }) => engine.name().to_owned(),
            Self::Ours(Way { engine, offload: Some(hook) }) => {
                format!("{}+{}", engine.name(), hook.name())
            }
            Self::Floor => "floor".to_owned(),
            Self::Rtpengine => "rtpengine".to_owned(),
            Self::Nothing => NOTHING.to_owned(),
        }
    }
}

/// How our engine is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) engine: Datapath,
    pub(crate) offload: Option<Hook>,
}

impl Way {
    /// What is to carry all legs in the end; none where the engine chooses.
    pub(crate) fn awaited(self, legs: Legs) -> Option<media_engine::Datapath> {
        use media_engine::Datapath as By;
        match (self.offload, self.engine) {
            (_, Datapath::Auto) => None,
            (Some(Hook::Xdp), _) if legs == Legs::RtpRtp => Some(By::XdpOffload),
            (Some(Hook::Tc), _) if legs == Legs::RtpRtp => Some(By::TcOffload),
            (_, Datapath::Portable) => Some(By::Portable),
            (_, Datapath::Steer) => Some(By::Steer),
            (_, Datapath::Xdp) => Some(By::Xdp),
        }
    }
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

/// Where the kernel sends packets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hook {
    /// In the driver
    Xdp,
    /// Before the stack, as where a driver runs no programs: the far side takes frames too long for that
    Tc,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp-offload",
            Self::Tc => "tc-offload",
        }
    }
}

/// What the two legs carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Legs {
    /// Nothing to encrypt
    RtpRtp,
    /// The Teams leg encrypted
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

/// What encrypted legs are encrypted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Suite {
    /// AES_CM_128_HMAC_SHA1_80
    AesCm,
    /// AEAD_AES_128_GCM
    AesGcm,
}

impl Suite {
    pub(crate) fn of_sdp(self) -> sdp::Suite {
        match self {
            Self::AesCm => sdp::Suite::AesCm128HmacSha1_80,
            Self::AesGcm => sdp::Suite::AeadAes128Gcm,
        }
    }

    /// A key that is worth nothing.
    #[expect(clippy::expect_used, reason = "there are as many octets as the suite says")]
    pub(crate) fn key(self, octets: &[u8]) -> SrtpKey {
        SrtpKey::from_octets(self.of_sdp(), octets).expect("a key's octets")
    }

    /// The key that we protect a leg with: each has its own.
    pub(crate) fn our_key(self, call: usize, side: usize) -> Vec<u8> {
        let mut octets = vec![1 + side as u8; self.of_sdp().key_salt_len()];
        octets[..8].copy_from_slice(&(call as u64).to_be_bytes());
        octets
    }

    /// The key of all far sides of a side: so their packets are made once and sent to every call. The relay
    /// does not know, and has a context for each.
    pub(crate) fn far_key(self, side: usize) -> Vec<u8> {
        vec![0x40 + side as u8; self.of_sdp().key_salt_len()]
    }

    /// A far side's sender.
    pub(crate) fn far_sender(self, side: usize) -> srtp::Sender {
        srtp::Sender::new(&self.key(&self.far_key(side)), 1)
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

/// What takes the relay's packets at the far interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sink {
    /// The driver, by an XDP program: what comes as a socket buffer is copied into a page for it
    Xdp,
    /// The stack, by a tc program: what comes as a frame becomes a socket buffer for it
    Tc,
}

/// Which relay is to stand where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) relay: Relay,
    /// Packets may gather for a tick, as in production.
    pub(crate) gather: bool,
    pub(crate) workers: usize,
    pub(crate) net: Net,
    pub(crate) sink: Sink,
    /// Arrivals are taken from the interface by a thread of the kernel, which can be placed and counted.
    pub(crate) threaded: bool,
    pub(crate) legs: Legs,
    pub(crate) suite: Suite,
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

    pub(crate) fn calls(&self) -> usize {
        self.far_ports.len()
    }

    /// A relay of two calls.
    #[cfg(test)]
    pub(crate) fn small(relay: Relay, legs: Legs, suite: Suite) -> Self {
        Self {
            relay,
            gather: true,
            workers: 1,
            net: Net::Veth,
            sink: Sink::Xdp,
            threaded: true,
            legs,
            suite,
            far_ports: vec![[10_000, 10_002], [10_004, 10_006]],
        }
    }

    /// The worker of a call: each has neighbours.
    pub(crate) fn worker_of(&self, call: usize) -> usize {
        call * self.workers / self.calls().max(1)
    }
}

/// The port of a leg, where the relay lets us choose.
pub(crate) fn port(call: usize, side: usize) -> u16 {
    FIRST_PORT + PORTS_PER_CALL * call as u16 + 2 * side as u16
}

/// The relay stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Its ports of each call.
    pub(crate) ports: Vec<[u16; 2]>,
    /// Key and salt that it protects with on either leg, none where the leg is plain. The floor passes on what
    /// it gets.
    pub(crate) keys: Vec<[Option<Vec<u8>>; 2]>,
    /// The processes that relay.
    pub(crate) processes: Vec<u32>,
    /// Resident octets before the first call.
    pub(crate) resident_before: u64,
}

/// What the relay says of a run once its calls are closed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// What carried our legs in the end.
    pub(crate) carried: Vec<Carried>,
    /// Packets that did not fit into the cable on their way in: arrivals were not taken in time.
    pub(crate) cable_in: u64,
    /// Packets that did not fit into a socket, or into a ring of AF_XDP.
    pub(crate) full: u64,
    /// Packets that the relay itself dropped, by reason.
    pub(crate) dropped: Vec<(String, u64)>,
    /// Packets that the kernel refused to send, or that did not fit into the cable on their way out.
    pub(crate) cable_out: u64,
}

/// How many legs one way has carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) by: String,
    pub(crate) legs: usize,
    /// Why nothing faster did, for one of them; empty where nothing is faster.
    pub(crate) why_not_faster: String,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// It has a network of its own and waits for its interface.
    Inside,
    /// It relays.
    Ready(Ready),
    /// Its calls are closed.
    Closed(Account),
    /// It cannot.
    Failed(String),
}

/// Below the range that systems give away by themselves, as in production, as long as it lasts.
const FIRST_PORT: u16 = 10_000;
const PORTS_PER_CALL: u16 = 4;
/// In the network of our own.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub(crate) const RELAY_INTERFACE: &str = "rel0";
pub(crate) const FAR_INTERFACE: &str = "far0";
pub(crate) const RELAY_HARDWARE: [u8; 6] = [2, 0, 0, 0, 0x77, 1];
pub(crate) const FAR_HARDWARE: [u8; 6] = [2, 0, 0, 0, 0x77, 2];
/// What stands for no relay at all.
pub(crate) const NOTHING: &str = "nothing";
