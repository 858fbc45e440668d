//! Packets, far sides and a call between them, for the tests.

use media::srtp::{Receiver, Sender};
use media::{Carriage, Component, Forward, Now, PacketBuf, Side, Verdict};
use sdp::{Crypto, Direction, Payload, SrtpKey, Stream, Suite};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

pub(crate) const TEAMS: &str = "52.112.0.1:49152";
pub(crate) const CARRIER: &str = "192.0.2.10:4000";
pub(crate) const STRANGER: &str = "203.0.113.66:6666";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn slot(octets: &[u8]) -> PacketBuf {
    let mut slot = PacketBuf::new();
    slot.octets_mut()[..octets.len()].copy_from_slice(octets);
    slot.set_len(octets.len());
    slot
}

/// 20 ms of G.711: the payload tells the packet apart.
pub(crate) fn rtp(ssrc: u32, sequence: u16, mark: u32) -> PacketBuf {
    rtp_of(8, ssrc, sequence, u32::from(sequence) * 160, mark)
}

pub(crate) fn rtp_of(pt: u8, ssrc: u32, sequence: u16, timestamp: u32, mark: u32) -> PacketBuf {
    let mut packet = vec![0x80, pt];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(mark.to_be_bytes().repeat(40));
    slot(&packet)
}

pub(crate) fn word(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

pub(crate) fn sequence_of(packet: &PacketBuf) -> u16 {
    u16::from_be_bytes(packet.packet()[2..4].try_into().unwrap())
}

pub(crate) fn ssrc_of(packet: &PacketBuf) -> u32 {
    word(packet.packet(), 8)
}

/// The `mark` an [`rtp`] packet was made with.
pub(crate) fn mark_of(packet: &PacketBuf) -> u32 {
    assert_eq!(packet.len(), 172);
    word(packet.packet(), 12)
}

pub(crate) fn key(n: u8) -> SrtpKey {
    key_of(Suite::AesCm128HmacSha1_80, n)
}

pub(crate) fn key_of(suite: Suite, n: u8) -> SrtpKey {
    let octets: [u8; 46] = std::array::from_fn(|at| n ^ (at as u8).wrapping_mul(37));
    SrtpKey::from_octets(suite, &octets[..suite.key_salt_len()]).unwrap()
}

/// Keys of the SRTP leg in most tests.
pub(crate) fn ours() -> SrtpKey {
    key(1)
}
pub(crate) fn theirs() -> SrtpKey {
    key(2)
}

pub(crate) fn payload(number: u8, encoding: &str) -> Payload {
    Payload::mono(number, encoding, 8000)
}

pub(crate) fn stream(remote: &str, crypto: Option<(SrtpKey, Vec<SrtpKey>)>) -> Stream {
    let remote = addr(remote);
    Stream {
        remote_rtp: Some(remote),
        remote_rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        rtcp_mux: false,
        direction: Direction::SendRecv,
        crypto: crypto.map(|(local, remote)| Crypto { local, remote }),
        payloads: vec![payload(8, "PCMA"), payload(101, "telephone-event")],
        ptime_ms: Some(20),
        ..Stream::default()
    }
}

pub(crate) fn leg(stream: &Stream) -> Option<Carriage> {
    Some(stream.clone().into())
}

/// SRTP with rtcp-mux, as Teams has it.
pub(crate) fn teams_stream() -> Stream {
    let mut stream = stream(TEAMS, Some((ours(), vec![theirs()])));
    stream.rtcp_mux = true;
    stream.remote_rtcp = stream.remote_rtp;
    stream
}

pub(crate) fn carrier_stream() -> Stream {
    stream(CARRIER, None)
}

/// A call: leg A is Teams, leg B the carrier, with what both ends need to take part.
pub(crate) struct Call {
    pub(crate) forward: Forward,
    pub(crate) teams: Sender,
    pub(crate) teams_hears: Receiver,
    pub(crate) ms: u64,
}

impl Call {
    pub(crate) fn unconnected() -> Self {
        Self {
            forward: Forward::new(std::array::from_fn(|at| at as u8 + 100)),
            teams: Sender::new(&theirs(), 0xdddd_0000),
            teams_hears: Receiver::new(&[ours()]),
            ms: 0,
        }
    }

    pub(crate) fn new() -> Self {
        let mut call = Self::unconnected();
        call.connect(&teams_stream(), &carrier_stream());
        call
    }

    pub(crate) fn connect(&mut self, a: &Stream, b: &Stream) {
        self.forward.connect(leg(a), leg(b));
    }

    pub(crate) fn now(&self) -> Now {
        now(self.ms)
    }

    /// A packet comes in on the RTP port of a side.
    pub(crate) fn comes(&mut self, side: Side, from: &str, packet: &mut PacketBuf) -> Verdict {
        self.ms += 20;
        self.comes_to(side, Component::Rtp, from, packet)
    }

    /// A packet comes in on the RTCP port of a side.
    pub(crate) fn comes_rtcp(&mut self, side: Side, from: &str, packet: &mut PacketBuf) -> Verdict {
        self.comes_to(side, Component::Rtcp, from, packet)
    }

    fn comes_to(
        &mut self,
        side: Side,
        component: Component,
        from: &str,
        packet: &mut PacketBuf,
    ) -> Verdict {
        let now = self.now();
        let verdict = self.forward.packet(now, side, component, addr(from), packet);
        // As a worker does, so that the next packet may be an ordinary one.
        self.forward.due_sooner();
        verdict
    }

    /// Teams sends SRTP; the slot then holds what we made of it.
    pub(crate) fn teams_sends(&mut self, packet: &mut PacketBuf) -> Verdict {
        self.teams.protect(packet).unwrap();
        self.comes(Side::A, TEAMS, packet)
    }

    /// The carrier sends RTP; the slot then holds what Teams reads.
    pub(crate) fn carrier_sends(&mut self, packet: &mut PacketBuf) -> Verdict {
        let verdict = self.comes(Side::B, CARRIER, packet);
        if let Verdict::Forward { .. } = verdict {
            self.teams_hears.unprotect(packet).unwrap();
        }
        verdict
    }
}

pub(crate) fn forward_to(side: Side, to: &str) -> Verdict {
    Verdict::Forward { side, component: Component::Rtp, to: addr(to) }
}

pub(crate) fn now(ms: u64) -> Now {
    let after = Duration::from_millis(ms);
    Now { mono: zero() + after, wall: UNIX_EPOCH + Duration::from_secs(1_750_000_000) + after }
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
fn zero() -> Instant {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}

/// A deterministic stream of numbers (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
