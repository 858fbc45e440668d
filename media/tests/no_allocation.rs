//! Nothing on the packet path allocates: all four transforms, RTP and RTCP, good and bad packets.
#![deny(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use media::srtp::{MAX_SOURCES, Receiver, Sender};
use media::{
    Carriage, Component, DropReason, Dtmf, Forward, LatchPolicy, Now, Order, PacketBuf, Side,
    Terms, Verdict,
};
use sdp::{Crypto, Payload, Sound, SrtpKey, Stream, Suite, Tone};
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Counts the allocations of this thread.
mod counting {
    #![expect(unsafe_code, reason = "a global allocator cannot be written without")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    struct Counting;

    // SAFETY: every call is the system allocator's, with the arguments as they came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            COUNT.with(|count| count.set(count.get() + 1));
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            // SAFETY: `at` came from `System` with this `layout`.
            unsafe { System.dealloc(at, layout) }
        }
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            COUNT.with(|count| count.set(count.get() + 1));
            // SAFETY: as for `dealloc`; `size` is the caller's promise.
            unsafe { System.realloc(at, layout, size) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    pub(super) fn allocations() -> u64 {
        COUNT.with(Cell::get)
    }
}

const PACKETS: u16 = 200;

fn key(n: u8) -> SrtpKey {
    SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &[n; 30]).unwrap()
}

fn addr(side: Side) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 4000))
}

/// A multiplexed leg; SRTP legs take one of two keys, so that settling on one is on the path, too.
fn leg(side: Side, srtp: bool) -> Carriage {
    let n = 10 * (1 + side as u8);
    let remote = vec![key(n + 2), key(n + 1)];
    let events = Payload::mono(100 + side as u8, "telephone-event", 8000);
    let stream = Stream {
        crypto: srtp.then(|| Crypto { local: key(n), remote }),
        payloads: vec![Payload::mono(8, "PCMA", 8000), events],
        ..Stream::muxed(addr(side))
    };
    Carriage { stream, terms: Terms::latching(LatchPolicy::Symmetric) }
}

fn slot(octets: &[u8]) -> PacketBuf {
    let mut slot = PacketBuf::new();
    slot.octets_mut()[..octets.len()].copy_from_slice(octets);
    slot.set_len(octets.len());
    slot
}

fn rtp(sequence: u16) -> PacketBuf {
    let mut packet = [0xd5; 172];
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&7u32.to_be_bytes());
    slot(&packet)
}

fn rtcp() -> PacketBuf {
    let mut packet = [0; 52];
    packet[..8].copy_from_slice(&[0x81, 200, 0, 12, 0, 0, 0, 7]);
    slot(&packet)
}

/// What one side sends: media, with late, repeated and restarted sequences, and reports.
fn traffic(side: Side, srtp: bool) -> Vec<PacketBuf> {
    let mut far = Sender::new(&key(10 * (1 + side as u8) + 1), 1);
    let sequences = (0..PACKETS).chain([PACKETS + 3, PACKETS + 1, PACKETS + 3]).chain(0..PACKETS);
    let mut packets = Vec::new();
    for sequence in sequences {
        let (mut media, mut report) = (rtp(sequence), rtcp());
        let protected = !srtp || far.protect(&mut media).is_ok();
        if srtp {
            far.protect_rtcp(&mut report).unwrap();
        }
        packets.extend(protected.then_some(media));
        packets.extend(sequence.is_multiple_of(10).then_some(report));
    }
    // And what is not to be believed.
    packets.extend([slot(b"junk"), rtp(60_000), rtcp(), slot(&[0x80; 40])]);
    packets
}

#[test]
fn packets_and_reports_are_carried_without_allocation() {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut traffic = [traffic(Side::A, a), traffic(Side::B, b)];
        let mut generated = PacketBuf::new();
        let mut forward = Forward::new([5; 32]);
        forward.connect(Some(leg(Side::A, a)), Some(leg(Side::B, b)));
        let start = Now { mono: zero, wall: UNIX_EPOCH };
        forward.order(start, Side::A, &Order::Watch);
        let (mut forwarded, mut reports, mut noticed, mut ms) = (0, 0, 0, 0);

        let before = counting::allocations();
        for (side, packets) in [Side::A, Side::B].into_iter().zip(&mut traffic) {
            for packet in packets {
                ms += 20;
                let after = Duration::from_millis(ms);
                let now = Now { mono: zero + after, wall: UNIX_EPOCH + after };
                let verdict = forward.packet(now, side, Component::Rtp, addr(side), packet);
                forwarded += u32::from(matches!(verdict, Verdict::Forward { .. }));
                while forward.generate(now, &mut generated).is_some() {
                    reports += 1;
                }
                while forward.poll_notice().is_some() {
                    noticed += 1;
                }
            }
        }
        let stats = forward.stats();
        let allocated = counting::allocations() - before;

        assert_eq!(allocated, 0, "A SRTP {a}, B SRTP {b}");
        assert!(forwarded > 4 * u32::from(PACKETS) - 20, "{forwarded}");
        assert_eq!(stats.a.drops[DropReason::BadTag as usize] > 0, a);
        assert!(reports > 0, "for a side that hears none from the other");
        assert!(noticed > 0, "the side that is silent meanwhile");
    }
}

/// Keys at two clocks, tones in the speech, a tone of ours and noise: heard, pressed and played.
#[test]
fn keys_and_sounds_cross_without_allocation() {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    let now = |ms: u64| {
        let after = Duration::from_millis(ms);
        Now { mono: zero + after, wall: UNIX_EPOCH + after }
    };
    let plays = Some(Sound::Tone(Tone::RINGING));
    for (heard, told, plays) in [
        (Dtmf::Auto, Dtmf::Auto, None),
        (Dtmf::Inband, Dtmf::Inband, None),
        (Dtmf::Auto, Dtmf::Info, None),
        (Dtmf::Auto, Dtmf::Auto, plays),
    ] {
        let (mut a, mut b) = (leg(Side::A, false), leg(Side::B, true));
        (a.terms.dtmf, b.terms.dtmf) = (heard, told);
        b.stream.payloads[1].clock_hz = 16_000;
        (b.terms.comfort_noise, b.terms.plays) = (true, plays);
        let mut forward = Forward::new([5; 32]);
        forward.connect(Some(a), Some(b));
        let (mut generated, mut made, mut told) = (PacketBuf::new(), 0, 0);
        let mut packets: Vec<PacketBuf> = (0..100).map(rtp).collect();
        for (at, packet) in packets.iter_mut().enumerate().skip(20).take(20) {
            packet.set_len(16);
            let octets = packet.packet_mut();
            octets[1] = 100 | if at == 20 { 0x80 } else { 0 };
            octets[12..].copy_from_slice(&[5, if at == 39 { 0x8a } else { 10 }, 0, at as u8]);
        }

        let before = counting::allocations();
        for (at, packet) in packets.iter_mut().enumerate() {
            let now = now(20 * at as u64);
            let _ = forward.packet(now, Side::A, Component::Rtp, addr(Side::A), packet);
            while forward.generate(now, &mut generated).is_some() {
                made += 1;
            }
            while forward.poll_notice().is_some() {
                told += 1;
            }
        }
        for ms in 2000..4000 {
            while forward.generate(now(ms), &mut generated).is_some() {
                made += 1;
            }
        }
        assert_eq!(counting::allocations() - before, 0, "{heard:?}");
        assert!(made > 20 && made + told > 20, "{heard:?}: {made}, {told}");
    }
}

#[test]
fn a_fax_crosses_without_allocation() {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    let mut forward = Forward::new([5; 32]);
    let [a, b] = [Side::A, Side::B].map(|side| {
        let mut fax = leg(side, false);
        (fax.stream.protocol, fax.stream.payloads) = (sdp::Protocol::Udptl, Vec::new());
        Some(fax)
    });
    forward.connect(a, b);
    let mut packets: Vec<PacketBuf> = (0..200u16)
        .map(|n| slot(&[&n.to_be_bytes()[..], &[3, 0xc0, 1, 0x80, 0, 0]].concat()))
        .collect();
    packets.extend([slot(b"junk"), rtp(60_000)]);
    let mut forwarded = 0;

    let before = counting::allocations();
    for (n, packet) in packets.iter_mut().enumerate() {
        let after = Duration::from_millis(20 * n as u64);
        let now = Now { mono: zero + after, wall: UNIX_EPOCH + after };
        let verdict = forward.packet(now, Side::A, Component::Rtp, addr(Side::A), packet);
        forwarded += u32::from(matches!(verdict, Verdict::Forward { .. }));
        assert_eq!(forward.generate(now, &mut PacketBuf::new()), None);
    }
    assert_eq!(counting::allocations() - before, 0);
    assert_eq!(forwarded, 200);
}

/// Under one key, more than are kept: those that make room and the one that is refused, their RTCP, and back.
#[test]
fn a_far_side_of_many_sources_takes_no_memory() {
    let ours = key(1);
    let mut receiver = Receiver::new(std::slice::from_ref(&ours));
    let mut packets = Vec::new();
    for round in 0..3u16 {
        for n in 0..=MAX_SOURCES as u32 {
            // Of a sender of its own each, as one keeps fewer SSRCs.
            let mut speech = rtp(1000 * (round + 1));
            speech.packet_mut()[8..12].copy_from_slice(&(100 + n).to_be_bytes());
            Sender::new(&ours, 1).protect(&mut speech).unwrap();
            let mut report = rtcp();
            report.packet_mut()[4..8].copy_from_slice(&(100 + n).to_be_bytes());
            let mut sender = Sender::new(&ours, 1);
            (0..round).for_each(|_| sender.protect_rtcp(&mut rtcp()).unwrap());
            sender.protect_rtcp(&mut report).unwrap();
            packets.push((speech, report));
        }
    }
    let (mut heard, mut reported) = (0, 0);

    let before = counting::allocations();
    for (speech, report) in &mut packets {
        heard += usize::from(receiver.unprotect(speech).is_ok());
        reported += usize::from(receiver.unprotect_rtcp(report).is_ok());
    }
    assert_eq!(counting::allocations() - before, 0);
    assert_eq!((heard, reported), (3 * MAX_SOURCES, 3 * MAX_SOURCES));
}

#[test]
fn the_counter_counts() {
    let before = counting::allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(counting::allocations() - before, 1);
}

#[test]
fn checks_are_answered_sent_and_refused_without_allocation() {
    use media::ice::stun::{Class, Key, Writer};
    use sdp::ice::{Candidate, Credentials, Ice};

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    let zero = Instant::now();
    let credentials = |ufrag| Credentials::new(ufrag, "0aV5bSx1uDkqPq9mZr2cT7yE").unwrap();
    let candidate = |side| Candidate { component: 1, priority: 9, address: addr(side) };
    for lite in [true, false] {
        let ice = Ice {
            local: credentials("ours"),
            remote: credentials("theirs"),
            lite,
            remote_lite: false,
            ours_first: true,
            candidates: vec![candidate(Side::A)],
            concluded: false,
        };
        let mut a = leg(Side::A, true);
        a.stream.ice = Some(ice);
        let mut forward = Forward::new([5; 32]);
        forward.connect(Some(a), Some(leg(Side::B, false)));
        let key = Key::new(credentials("ours").pwd().as_bytes());
        let (mut slot, mut generated) = (PacketBuf::new(), PacketBuf::new());

        let before = counting::allocations();
        let (mut answered, mut sent) = (0, 0);
        for n in 0..400u16 {
            let after = Duration::from_millis(u64::from(n) * 20);
            let now = Now { mono: zero + after, wall: UNIX_EPOCH + after };
            // Of many far sides, from many places, and some of nobody's.
            let to: &[u8] = if n % 10 == 0 { b"nobody" } else { b"ours" };
            let theirs: &[u8] = if n % 3 == 0 { b"theirs" } else { &[b'a' + (n % 26) as u8; 4] };
            Writer::new(&mut slot, Class::Request, [n as u8; 12])
                .username(to, theirs)
                .priority(u32::from(n))
                .role(false, 7)
                .use_candidate()
                .finish(Some(&key));
            let from = SocketAddr::from(([198, 51, 100, (n % 100) as u8], 5000));
            let verdict = forward.packet(now, Side::A, Component::Rtp, from, &mut slot);
            answered += u32::from(matches!(verdict, Verdict::Forward { .. }));
            while forward.generate(now, &mut generated).is_some() {
                sent += 1;
            }
        }
        let ice = forward.stats().a.ice.unwrap();
        assert_eq!(counting::allocations() - before, 0, "lite {lite}");
        assert!(answered > 300 && ice.checks_answered > 300, "{ice:?}");
        assert_eq!(ice.checks_sent > 10, !lite, "{ice:?}, {sent} packets of ours");
    }
}
