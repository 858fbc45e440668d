//! What the media of a call takes of memory while it is carried: thousands of calls are up at once.
#![deny(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use media::srtp::Sender;
use media::{
    Carriage, Component, Forward, LatchPolicy, Now, Order, PacketBuf, Side, Terms, Verdict,
};
use sdp::{Crypto, Payload, SrtpKey, Stream, Suite};
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Counts the octets that this thread has.
mod counting {
    #![expect(unsafe_code, reason = "a global allocator cannot be written without")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static IN_USE: Cell<usize> = const { Cell::new(0) };
    }

    struct Counting;

    fn change(taken: usize, given_back: usize) {
        IN_USE.with(|it| it.set(it.get().wrapping_add(taken).wrapping_sub(given_back)));
    }

    // SAFETY: every call is the system allocator's, with the arguments as they came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            change(layout.size(), 0);
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            change(0, layout.size());
            // SAFETY: `at` came from `System` with this `layout`.
            unsafe { System.dealloc(at, layout) }
        }
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            change(size, layout.size());
            // SAFETY: as for `dealloc`; `size` is the caller's promise.
            unsafe { System.realloc(at, layout, size) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    pub(super) fn in_use() -> usize {
        IN_USE.with(Cell::get)
    }
}

const CALLS: usize = 5_000;
/// What a leg may take, both legs of a call together halved.
const LEG_MAX: usize = 3_200;
/// What it takes where neither leg is protected.
const PLAIN_LEG_MAX: usize = 2_112;
/// What it takes where both are.
const BOTH_PROTECTED_LEG_MAX: usize = 4_288;

fn key(suite: Suite, n: u8) -> SrtpKey {
    SrtpKey::from_octets(suite, &vec![n; suite.key_salt_len()]).unwrap()
}

/// What the far side of a leg protects with.
const fn theirs(side: Side) -> u8 {
    10 * (1 + side as u8) + 1
}

fn addr(side: Side) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 4000))
}

/// A leg as most are: two codecs and events; its far side may be behind a NAT.
fn leg(side: Side, suite: Option<Suite>) -> Carriage {
    let g711 = [(8, "PCMA"), (0, "PCMU")].map(|(number, name)| Payload::mono(number, name, 8000));
    let mut events = Payload::mono(101, "telephone-event", 8000);
    events.fmtp = Some("0-16".into());
    let crypto = |suite| Crypto {
        local: key(suite, theirs(side) + 1),
        remote: vec![key(suite, theirs(side))],
    };
    let stream = Stream {
        crypto: suite.map(crypto),
        payloads: g711.into_iter().chain([events]).collect(),
        ptime_ms: Some(20),
        ..Stream::muxed(addr(side))
    };
    Carriage { stream, terms: Terms::latching(LatchPolicy::Symmetric) }
}

fn speech(slot: &mut PacketBuf, sequence: u16) {
    let packet = &mut slot.octets_mut()[..172];
    packet.fill(0xd5);
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&7u32.to_be_bytes());
    slot.set_len(172);
}

/// A call whose sides have talked for a fifth of a second.
fn talked(suites: [Option<Suite>; 2], zero: Instant, slot: &mut PacketBuf) -> Box<Forward> {
    let sides = [Side::A, Side::B];
    let [a, b] = sides.map(|side| Some(leg(side, suites[side as usize])));
    let mut far = sides
        .map(|side| suites[side as usize].map(|suite| Sender::new(&key(suite, theirs(side)), 1)));
    let mut forward = Box::new(Forward::new([5; 32]));
    forward.connect(a, b);
    forward.order(Now { mono: zero, wall: UNIX_EPOCH }, Side::A, &Order::Watch);
    for n in 0..10 {
        let after = Duration::from_millis(20 * u64::from(n));
        let now = Now { mono: zero + after, wall: UNIX_EPOCH + after };
        for side in sides {
            speech(slot, n);
            if let Some(far) = &mut far[side as usize] {
                far.protect(slot).unwrap();
            }
            let verdict = forward.packet(now, side, Component::Rtp, addr(side), slot);
            assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
        }
        while forward.generate(now, slot).is_some() {}
        while forward.poll_notice().is_some() {}
    }
    forward
}

#[test]
fn a_leg_takes_no_more_than_four_kilobytes_if_one_of_two_is_protected() {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    let mut slot = PacketBuf::new();
    let (cm, gcm) = (Some(Suite::AesCm128HmacSha1_80), Some(Suite::AeadAes128Gcm));
    for (suites, most) in [
        ([None, None], PLAIN_LEG_MAX),
        ([None, cm], LEG_MAX),
        ([gcm, None], LEG_MAX),
        ([gcm, cm], BOTH_PROTECTED_LEG_MAX),
    ] {
        let mut calls = Vec::with_capacity(CALLS);
        let before = counting::in_use();
        calls.extend((0..CALLS).map(|_| talked(suites, zero, &mut slot)));
        let octets = (counting::in_use() - before) / CALLS / 2;
        assert!(octets <= most, "{suites:?}: {octets} octets a leg");
        assert!(octets > most - most / 8, "{suites:?}: {octets} octets a leg, so ask for less");
    }
}
