//! What it costs to protect and to unprotect one packet of 20 ms of G.711, of 2,000 sessions in turn:
//! `cargo bench -p media --bench srtp`.
//!
//! Each is with the copying of the packet into a slot, which `copy_alone` has without the rest.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panic")]

use divan::Bencher;
use divan::counter::ItemsCount;
use media::PacketBuf;
use media::srtp::{Receiver, Sender};
use sdp::{SrtpKey, Suite};
use std::time::Instant;

/// So many that neither contexts nor packets stay in the caches next to the core.
const SESSIONS: usize = 2_000;
/// Slots in turn, as in a batch.
const SLOTS: usize = 64;
/// 160 octets of speech and the header.
const RTP: usize = 172;
/// With the longest trailer.
const SRTP_MAX: usize = RTP + 16;

const SUITES: [Suite; 5] = Suite::ALL;

fn main() {
    #[expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]
    let primitives = media::srtp::choose(Instant::now).unwrap();
    #[expect(clippy::print_stdout, reason = "without it, nobody knows what was measured")]
    {
        println!("{primitives:?}");
    }
    divan::main();
}

fn key(suite: Suite, session: usize) -> SrtpKey {
    let mut octets = vec![7; suite.key_salt_len()];
    octets[..8].copy_from_slice(&session.to_be_bytes());
    SrtpKey::from_octets(suite, &octets).unwrap()
}

/// All sessions, each once, in an order that no cache can foresee.
fn in_turn() -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = (0..SESSIONS).collect();
    let mut state = 1u64;
    for at in (1..SESSIONS).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    order.into_iter().cycle()
}

/// The next packet of each session.
struct Speech {
    turn: Box<dyn Iterator<Item = usize>>,
    sequences: Vec<u16>,
}

impl Speech {
    fn new() -> Self {
        Self { turn: Box::new(in_turn()), sequences: vec![0; SESSIONS] }
    }

    fn next(&mut self, slot: &mut PacketBuf) -> usize {
        let session = self.turn.next().unwrap();
        let sequence = &mut self.sequences[session];
        *sequence += 1;
        let packet = &mut slot.octets_mut()[..RTP];
        packet.fill(0xd5);
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(160 * u32::from(*sequence)).to_be_bytes());
        packet[8..12].copy_from_slice(&(session as u32).to_be_bytes());
        slot.set_len(RTP);
        session
    }
}

fn slots() -> impl FnMut() -> usize {
    let mut at = 0;
    move || {
        at = (at + 1) % SLOTS;
        at
    }
}

#[divan::bench(sample_size = 2000, sample_count = 30)]
fn copy_alone(bencher: Bencher<'_, '_>) {
    let (mut speech, mut slots, mut next) = (Speech::new(), vec![PacketBuf::new(); SLOTS], slots());
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| speech.next(&mut slots[next()]));
}

#[divan::bench(args = SUITES, sample_size = 2000, sample_count = 30)]
fn protect(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut senders: Vec<_> =
        (0..SESSIONS).map(|n| Box::new(Sender::new(&key(suite, n), 1))).collect();
    let (mut speech, mut slots, mut next) = (Speech::new(), vec![PacketBuf::new(); SLOTS], slots());
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let slot = &mut slots[next()];
        let session = speech.next(slot);
        senders[session].protect(slot).unwrap();
    });
}

#[divan::bench(args = SUITES, sample_size = 2000, sample_count = 30)]
fn unprotect(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut senders: Vec<_> =
        (0..SESSIONS).map(|n| Box::new(Sender::new(&key(suite, n), 1))).collect();
    let mut receivers: Vec<_> =
        (0..SESSIONS).map(|n| Box::new(Receiver::new(&[key(suite, n)]))).collect();
    let (mut speech, mut slots, mut next) = (Speech::new(), vec![PacketBuf::new(); SLOTS], slots());
    let mut sealed = PacketBuf::new();
    bencher
        .counter(ItemsCount::new(1u32))
        .with_inputs(|| {
            let session = speech.next(&mut sealed);
            senders[session].protect(&mut sealed).unwrap();
            let mut octets = [0; SRTP_MAX];
            octets[..sealed.len()].copy_from_slice(sealed.packet());
            (session, sealed.len(), octets)
        })
        .bench_local_refs(|(session, len, octets)| {
            let slot = &mut slots[next()];
            slot.octets_mut()[..SRTP_MAX].copy_from_slice(octets);
            slot.set_len(*len);
            receivers[*session].unprotect(slot).unwrap()
        });
}
