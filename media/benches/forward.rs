//! What it costs to carry one packet of 20 ms of G.711 through a call's `Forward`, of 1,000 calls in turn,
//! as the engine's worker takes it: `cargo bench -p media --bench forward`.
//!
//! Each is with the writing of the packet into a slot, which `write_alone` has without the rest.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panic")]

use divan::Bencher;
use divan::counter::ItemsCount;
use media::ice::stun::{Class, Key, Writer};
use media::{
    Carriage, Component, Forward, LatchPolicy, Now, Order, PacketBuf, Side, Terms, Verdict,
};
use sdp::ice::{Credentials, Ice};
use sdp::{Crypto, Payload, SrtpKey, Stream, Suite};
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// So many that a call has left the caches next to the core when its turn comes again.
const CALLS: usize = 1_000;
/// Slots in turn, as in a batch.
const SLOTS: usize = 64;
/// 160 octets of speech and the header.
const RTP: usize = 172;

fn main() {
    divan::main();
}

/// What the far leg has agreed.
#[derive(Clone, Copy, Debug)]
enum Leg {
    Rtp,
    Cm,
    Gcm,
    /// As `Cm`, of a client that has chosen a pair.
    IceCm,
}

impl Leg {
    const fn suite(self) -> Option<Suite> {
        match self {
            Self::Rtp => None,
            Self::Cm | Self::IceCm => Some(Suite::AesCm128HmacSha1_80),
            Self::Gcm => Some(Suite::AeadAes128Gcm),
        }
    }
}

fn address(side: Side) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 4000))
}

fn carriage(side: Side, suite: Option<Suite>) -> Carriage {
    let key =
        |suite: Suite, n: u8| SrtpKey::from_octets(suite, &vec![n; suite.key_salt_len()]).unwrap();
    let stream = Stream {
        crypto: suite.map(|suite| Crypto { local: key(suite, 1), remote: vec![key(suite, 2)] }),
        payloads: vec![Payload::mono(8, "PCMA", 8000), Payload::mono(101, "telephone-event", 8000)],
        ..Stream::muxed(address(side))
    };
    Carriage { stream, terms: Terms::latching(LatchPolicy::Signalled) }
}

const PASSWORD: &str = "7Gk2mR0yVt4QwLz8cN5hJp3e";

fn credentials(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, PASSWORD).unwrap()
}

/// ICE as Teams has it: we answer, and the client chooses.
fn ice() -> Ice {
    Ice {
        local: credentials("ours"),
        remote: credentials("them"),
        lite: true,
        remote_lite: false,
        ours_first: true,
        candidates: Vec::new(),
        concluded: false,
    }
}

/// The client's check that chooses.
fn choose(slot: &mut PacketBuf) {
    let check = Writer::new(slot, Class::Request, [9; 12]).username(b"ours", b"them");
    check.priority(1).role(true, 7).use_candidate().finish(Some(&Key::new(PASSWORD.as_bytes())));
}

/// Calls, each once, in an order that no cache can foresee, and the time.
struct Calls {
    #[expect(clippy::vec_box, reason = "as the engine has them: each in memory of its own")]
    calls: Vec<Box<Forward>>,
    order: Vec<usize>,
    at: usize,
    turn: u32,
    zero: Instant,
    slots: Vec<PacketBuf>,
}

impl Calls {
    fn new(leg: Leg) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
        let zero = Instant::now();
        let start = Now { mono: zero, wall: UNIX_EPOCH };
        let mut slot = PacketBuf::new();
        let call = || {
            let mut forward = Box::new(Forward::new([5; 32]));
            let mut b = carriage(Side::B, leg.suite());
            b.stream.ice = matches!(leg, Leg::IceCm).then(ice);
            forward.connect(Some(carriage(Side::A, None)), Some(b));
            forward.order(start, Side::A, &Order::Watch);
            choose(&mut slot);
            forward.packet(start, Side::B, Component::Rtp, address(Side::B), &mut slot);
            while forward.generate(start, &mut slot).is_some() {}
            forward
        };
        let calls = std::iter::repeat_with(call).take(CALLS).collect();
        let mut order: Vec<usize> = (0..CALLS).collect();
        let mut state = 1u64;
        for at in (1..CALLS).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (state >> 33) as usize % (at + 1));
        }
        let slots = vec![PacketBuf::new(); SLOTS];
        Self { calls, order, at: 0, turn: 0, zero, slots }
    }

    /// The next packet of the next call: which call, which slot.
    fn speech(&mut self) -> (usize, usize) {
        self.at += 1;
        if self.at == CALLS {
            (self.at, self.turn) = (0, self.turn + 1);
        }
        let at = self.at % SLOTS;
        let slot = &mut self.slots[at];
        let packet = &mut slot.octets_mut()[..RTP];
        packet.fill(0xd5);
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&(self.turn as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(160 * self.turn).to_be_bytes());
        packet[8..12].copy_from_slice(&7u32.to_be_bytes());
        slot.set_len(RTP);
        (self.order[self.at], at)
    }

    fn carry(&mut self) -> Option<Instant> {
        let (call, slot) = self.speech();
        let after = Duration::from_millis(20) * self.turn;
        let now = Now { mono: self.zero + after, wall: UNIX_EPOCH + after };
        let (forward, slot) = (&mut self.calls[call], &mut self.slots[slot]);
        let verdict = forward.packet(now, Side::A, Component::Rtp, address(Side::A), slot);
        assert!(matches!(verdict, Verdict::Forward { .. }));
        while forward.poll_notice().is_some() {}
        forward.due_sooner()
    }
}

#[divan::bench(sample_size = 2000, sample_count = 30)]
fn write_alone(bencher: Bencher<'_, '_>) {
    let mut calls = Calls::new(Leg::Rtp);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| calls.speech());
}

#[divan::bench(args = [Leg::Rtp, Leg::Cm, Leg::Gcm, Leg::IceCm], sample_size = 2000, sample_count = 30)]
fn from_rtp_to(bencher: Bencher<'_, '_>, leg: Leg) {
    let mut calls = Calls::new(leg);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| calls.carry());
}
