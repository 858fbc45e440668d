//! Packets on their whole way through one call's `Forward`, as the engine's worker takes them.
//!
//! Valgrind knows no SHA instructions, so what is counted under HMAC-SHA1 is the portable path; AES and
//! GCM are the ones that run. Each is good for comparing with itself.

use media::srtp::Sender;
use media::{Carriage, Component, Forward, LatchPolicy, Now, PacketBuf, Side, Terms, Verdict};
use sdp::{Crypto, Payload, SrtpKey, Stream, Suite};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// RTP to RTP: latch, measures, payload type, numbering.
pub(crate) fn forward_rtp(times: u32) {
    carry(times, Side::A, None);
}

/// Sealed towards the far side.
pub(crate) fn forward_to_cm(times: u32) {
    carry(times, Side::A, Some(Suite::AesCm128HmacSha1_80));
}

pub(crate) fn forward_to_gcm(times: u32) {
    carry(times, Side::A, Some(Suite::AeadAes128Gcm));
}

/// Opened from the far side; the count has the far side's own sealing in it.
pub(crate) fn forward_from_cm(times: u32) {
    carry(times, Side::B, Some(Suite::AesCm128HmacSha1_80));
}

pub(crate) fn forward_from_gcm(times: u32) {
    carry(times, Side::B, Some(Suite::AeadAes128Gcm));
}

/// Carries speech from one side to the other; side B has SRTP if there is a suite.
fn carry(times: u32, from: Side, suite: Option<Suite>) {
    let mut forward = Forward::new([5; 32]);
    forward.connect(Some(leg(Side::A, None)), Some(leg(Side::B, suite)));
    let mut far = suite
        .filter(|_| from == Side::B)
        .and_then(|suite| key(suite, 2))
        .map(|key| Sender::new(&key, 1));
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    let mut slot = PacketBuf::new();
    let mut carried = 0;
    for n in 0..times {
        let after = Duration::from_millis(20) * n;
        let now = Now { mono: zero + after, wall: UNIX_EPOCH + after };
        speech(&mut slot, n);
        if far.as_mut().is_some_and(|far| far.protect(&mut slot).is_err()) {
            return;
        }
        let verdict =
            forward.packet(now, from, Component::Rtp, address(from), black_box(&mut slot));
        carried += u32::from(matches!(black_box(verdict), Verdict::Forward { .. }));
        // As a worker asks; else each packet would be looked at as one that may have changed something.
        black_box(forward.due_sooner());
    }
    // A count of refusals would look like a gain.
    assert_eq!(carried, times, "every packet is carried");
}

/// Twenty milliseconds of G.711.
fn speech(slot: &mut PacketBuf, n: u32) {
    let packet = &mut slot.octets_mut()[..172];
    packet.fill(0xd5);
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(160 * n).to_be_bytes());
    packet[8..12].copy_from_slice(&7u32.to_be_bytes());
    slot.set_len(172);
}

fn leg(side: Side, suite: Option<Suite>) -> Carriage {
    let crypto = suite
        .and_then(|suite| Some(Crypto { local: key(suite, 1)?, remote: vec![key(suite, 2)?] }));
    let stream = Stream {
        crypto,
        payloads: vec![Payload::mono(8, "PCMA", 8000)],
        ..Stream::muxed(address(side))
    };
    Carriage { stream, terms: Terms::latching(LatchPolicy::Signalled) }
}

fn key(suite: Suite, n: u8) -> Option<SrtpKey> {
    (12..=64).find_map(|len| SrtpKey::from_octets(suite, &vec![n; len]))
}

fn address(side: Side) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 4000))
}
