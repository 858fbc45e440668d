//! Packets that go by elsewhere: which may, and that what is known of a call is the same as if they had
//! come here.

use crate::wire::*;
use media::{Carriage, Component, Dtmf, Flow, Forward, Order, PacketBuf, Passed, Side, Stays};
use media::{Key, Now, Terms, Verdict};
use sdp::{Direction, Early, LatchPolicy, Protocol, SrtpKey, Stream, Suite};
use std::time::Duration;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

/// Two calls that hear the same: one sees every packet, of the other those of a flow go by.
struct Twins {
    here: Forward,
    by: Forward,
    us: u64,
    /// Packets of side A that went by and are not told yet.
    passed: Vec<Passed>,
    went_by: usize,
}

fn plain(remote: &str) -> Stream {
    stream(remote, None)
}

fn carriage(stream: Stream, terms: &Terms) -> Option<Carriage> {
    Some(Carriage { stream, terms: terms.clone() })
}

impl Twins {
    fn new(terms: &Terms) -> Self {
        let mut twins = Self {
            here: Forward::new([7; 32]),
            by: Forward::new([7; 32]),
            us: 0,
            passed: Vec::new(),
            went_by: 0,
        };
        twins.connect(plain(A), plain(B), terms);
        twins.both(|forward, now| forward.order(now, Side::A, &Order::Watch));
        twins
    }

    fn connect(&mut self, a: Stream, b: Stream, terms: &Terms) {
        self.tell();
        self.both(|forward, _| {
            forward.connect(carriage(a.clone(), terms), carriage(b.clone(), terms));
        });
    }

    fn now(&self) -> Now {
        let start = now(0);
        let since = Duration::from_micros(self.us);
        Now { mono: start.mono + since, wall: start.wall + since }
    }

    fn both(&mut self, mut deed: impl FnMut(&mut Forward, Now)) {
        let now = self.now();
        deed(&mut self.here, now);
        deed(&mut self.by, now);
    }

    /// Tells what has gone by.
    fn tell(&mut self) {
        if let Ok(flow) = self.by.offloadable(Side::A) {
            self.by.absorb(Side::A, &flow, self.passed.drain(..));
        }
        assert!(self.passed.is_empty(), "what went by was of a flow");
    }

    /// A packet of side A comes; it goes by if it is of a flow.
    fn comes(&mut self, packet: &PacketBuf) -> Verdict {
        let now = self.now();
        let mut seen = packet.clone();
        let verdict = self.here.packet(now, Side::A, Component::Rtp, addr(A), &mut seen);
        let octets = packet.packet();
        match self.by.offloadable(Side::A) {
            Ok(flow) if is_of(&flow, octets) => {
                self.went_by += 1;
                let sequence = sequence_of(packet);
                let number = sequence.wrapping_add(flow.shift);
                let payload_type = flow.payload_types[usize::from(octets[1] & 0x7f)];
                assert_eq!(verdict, forward_to(Side::B, B));
                assert_eq!(sequence_of(&seen), number, "a program would send the same");
                assert_eq!(seen.packet()[1] & 0x7f, payload_type);
                assert_eq!(seen.packet()[4..], octets[4..]);
                self.passed.push(Passed {
                    at: now.mono,
                    payload_type: octets[1] & 0x7f,
                    sequence,
                    timestamp: word(octets, 4),
                    octets: octets.len() as u16,
                    payload_octets: octets.len() as u16 - 12,
                });
            }
            _ => {
                self.tell();
                let mut other = packet.clone();
                let same = self.by.packet(now, Side::A, Component::Rtp, addr(A), &mut other);
                assert_eq!(same, verdict);
                assert_eq!(other.packet(), seen.packet());
            }
        }
        verdict
    }

    /// Both make what is due, and it is the same.
    fn same(&mut self) {
        self.tell();
        let now = self.now();
        loop {
            let (mut one, mut other) = (PacketBuf::new(), PacketBuf::new());
            let made = self.here.generate(now, &mut one);
            assert_eq!(self.by.generate(now, &mut other), made);
            assert_eq!(one.packet(), other.packet());
            if made.is_none() {
                break;
            }
        }
        let told = |forward: &mut Forward| -> Vec<_> {
            std::iter::from_fn(|| forward.poll_notice()).collect()
        };
        assert_eq!(told(&mut self.here), told(&mut self.by));
        assert_eq!(self.here.stats(), self.by.stats());
        assert_eq!(self.here.next_due(), self.by.next_due());
    }
}

fn is_of(flow: &Flow, octets: &[u8]) -> bool {
    flow.from == addr(A)
        && flow.ssrc == word(octets, 8)
        && flow.payload_types[usize::from(octets[1] & 0x7f)] != Flow::COMES_HERE
}

fn event(sequence: u16, timestamp: u32, end: bool) -> PacketBuf {
    let mut packet = rtp_of(101, 7, sequence, timestamp, 0);
    let duration = (u32::from(sequence) * 160 - timestamp) as u16;
    packet.octets_mut()[12..16].copy_from_slice(&[
        5,
        if end { 0x8a } else { 10 },
        (duration >> 8) as u8,
        duration as u8,
    ]);
    packet.set_len(16);
    packet
}

#[test]
fn loss_jitter_bursts_and_reports_are_those_of_a_call_whose_packets_all_came_here() {
    let mut twins = Twins::new(&Terms { rtcp: sdp::Rtcp::Terminate, ..Terms::default() });
    let mut dice = 1_u32;
    let mut roll = |of: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 8) % of
    };
    let mut sequence = 65_300_u16;
    for n in 0..4000_u32 {
        let (step, restart) = match roll(100) {
            0..=2 => (1 + roll(12) as u16, false),
            3 if n % 1000 == 999 => (1, true),
            _ => (1, false),
        };
        sequence =
            if restart { sequence.wrapping_add(20_000) } else { sequence.wrapping_add(step) };
        twins.us += 18_000 + u64::from(roll(4000));
        let ssrc = if n < 3000 { 7 } else { 70 };
        let packet = rtp_of(8, ssrc, sequence, n * 160, n);
        twins.comes(&packet);
        match roll(50) {
            0 => _ = twins.comes(&packet),
            1 => _ = twins.comes(&rtp_of(8, ssrc, sequence.wrapping_sub(3), n * 160 - 480, n)),
            2 => _ = twins.comes(&rtp_of(13, ssrc, sequence.wrapping_add(1), n * 160 + 80, n)),
            _ => {}
        }
        if roll(25) == 0 {
            twins.same();
        }
    }
    twins.same();
    assert!(twins.went_by > 3900, "{}", twins.went_by);
    let stats = twins.by.stats().a;
    assert!(stats.lost_packets > 100 && stats.mos.is_some() && stats.bursts.count > 3);
    assert!(twins.by.stats().b.rtcp_generated > 5);
}

#[test]
fn silence_begins_and_ends_as_if_packets_had_come_here() {
    let mut twins = Twins::new(&Terms::default());
    for n in 0..100 {
        twins.us += 20_000;
        twins.comes(&rtp(7, n, 1));
    }
    for _ in 0..50 {
        twins.us += 100_000;
        twins.same();
    }
    assert!(twins.by.stats().a.silence.now.is_some());
    for n in 350..400 {
        twins.us += 20_000;
        twins.comes(&rtp(7, n, 1));
    }
    twins.same();
    assert_eq!(twins.by.stats().a.silence.now, None);
}

#[test]
fn keys_come_here_amid_speech_that_goes_by() {
    let mut twins = Twins::new(&Terms::default());
    let mut sequence = 0;
    for round in 0..20 {
        for _ in 0..30 {
            sequence += 1;
            twins.us += 20_000;
            twins.comes(&rtp(7, sequence, 1));
        }
        let pressed_at = u32::from(sequence) * 160;
        for n in 0..8 {
            sequence += 1;
            twins.us += 20_000;
            twins.comes(&event(sequence, pressed_at, n > 4));
        }
        twins.same();
        assert_eq!(twins.by.stats().a.keys, round + 1);
    }
    assert_eq!(twins.went_by, 599, "all speech but the first packet, and no event");
}

#[test]
fn keys_that_we_press_end_it_until_their_numbers_are_old() {
    let mut twins = Twins::new(&Terms::default());
    for n in 0..50 {
        twins.us += 20_000;
        twins.comes(&rtp(7, n, 1));
    }
    twins.tell();
    let key = Key { event: 5, held: Duration::from_millis(100) };
    twins.both(|forward, now| forward.order(now, Side::B, &Order::Press(key)));
    assert_eq!(twins.by.offloadable(Side::A), Err(Stays::OursBetween));
    for n in 50..100 {
        twins.us += 20_000;
        twins.same();
        if n > 54 {
            twins.comes(&rtp(7, n - 5, 1));
        }
    }
    assert_eq!(twins.by.offloadable(Side::A), Err(Stays::Renumbered));
    for n in 95..4000 {
        twins.us += 20_000;
        twins.comes(&rtp(7, n, 1));
    }
    let flow = twins.by.offloadable(Side::A).unwrap();
    assert_ne!(flow.shift, 0, "those of the keys came in between");
    twins.same();
    assert!(twins.went_by > 900);
}

/// A call with these legs, of which both sides have been heard.
fn spoken(a: Stream, b: Stream, terms: &Terms) -> Forward {
    let mut forward = Forward::new([7; 32]);
    forward.connect(carriage(a, terms), carriage(b, terms));
    for n in 1..60 {
        let at = now(u64::from(n) * 20);
        forward.packet(at, Side::A, Component::Rtp, addr(A), &mut rtp(7, n, 1));
        forward.packet(at, Side::B, Component::Rtp, addr(B), &mut rtp(8, n, 1));
    }
    forward
}

fn why(a: Stream, b: Stream, terms: &Terms) -> [Option<Stays>; 2] {
    let forward = spoken(a, b, terms);
    [Side::A, Side::B].map(|side| forward.offloadable(side).err())
}

fn keyed(remote: &str, own: SrtpKey, other: SrtpKey) -> Stream {
    stream(remote, Some((own, vec![other])))
}

#[test]
fn what_has_to_be_seen_here_says_why() {
    let terms = Terms::default();
    let all = |reason| [Some(reason); 2];
    assert_eq!(why(plain(A), plain(B), &terms), [None, None]);
    let srtp = keyed(A, ours(), theirs());
    assert_eq!(why(srtp, plain(B), &terms).map(|it| it.is_some()), [true, true]);
    let held = Stream { direction: Direction::SendOnly, ..plain(A) };
    assert_eq!(why(held, plain(B), &terms), [Some(Stays::NotAgreed), None]);
    let fax = |remote| Stream { protocol: Protocol::Udptl, ..plain(remote) };
    assert_eq!(why(fax(A), fax(B), &terms), all(Stays::Fax));
    let inband = Terms { dtmf: Dtmf::Inband, ..terms.clone() };
    assert_eq!(why(plain(A), plain(B), &inband), all(Stays::KeysInSpeech));
    let noise = Terms { comfort_noise: true, ..terms.clone() };
    assert_eq!(why(plain(A), plain(B), &noise), all(Stays::OursBetween));
    let early = Terms { early: Some(Box::new(Early::default())), ..terms.clone() };
    assert_eq!(why(plain(A), plain(B), &early), all(Stays::Early));
    let g722 = Stream { payloads: vec![payload(9, "G722")], ..plain(B) };
    let a = Stream { payloads: vec![payload(8, "PCMA")], ..plain(A) };
    let turned = Terms { transcode: true, ..terms.clone() };
    assert_eq!(why(a, g722, &turned)[0], Some(Stays::Transcoded));
    let mut forward = Forward::new([7; 32]);
    assert_eq!(forward.offloadable(Side::A), Err(Stays::NotAgreed));
    forward.connect(carriage(plain(A), &terms), carriage(plain(B), &terms));
    assert_eq!(forward.offloadable(Side::A), Err(Stays::NotLatched));
}

#[test]
fn srtp_that_passes_goes_by_only_where_nothing_but_the_address_is_checked() {
    for (suite, reason) in [
        (Suite::AeadAes128Gcm, None),
        (Suite::AeadAes256Gcm, None),
        (Suite::AesCm128HmacSha1_80, Some(Stays::Authenticated)),
        (Suite::AesCm128HmacSha1_32, Some(Stays::Authenticated)),
    ] {
        let [a, b] = [key_of(suite, 1), key_of(suite, 2)];
        let mut forward = Forward::new([7; 32]);
        let legs =
            [keyed(A, b.clone().passed(), a.clone()), keyed(B, a.clone().passed(), b.clone())];
        let [one, other] = legs.map(|stream| carriage(stream, &Terms::default()));
        forward.connect(one, other);
        let mut sender = media::srtp::Sender::new(&a, 1);
        for n in 1..10 {
            let mut packet = rtp(7, n, 1);
            sender.protect(&mut packet).unwrap();
            let at = now(u64::from(n) * 20);
            let verdict = forward.packet(at, Side::A, Component::Rtp, addr(A), &mut packet);
            assert_eq!(verdict, forward_to(Side::B, B));
        }
        assert_eq!(forward.offloadable(Side::A).err(), reason, "{suite:?}");
    }
}

#[test]
fn payload_types_that_are_counted_kept_back_or_rtcp_come_here() {
    let a = Stream {
        payloads: vec![
            payload(8, "PCMA"),
            payload(111, "G726-32"),
            payload(101, "telephone-event"),
        ],
        ..plain(A)
    };
    let b = Stream {
        payloads: vec![payload(8, "PCMA"), payload(96, "G726-32"), payload(101, "telephone-event")],
        ..plain(B)
    };
    let flow = spoken(a, b, &Terms::default()).offloadable(Side::A).unwrap();
    let becomes = |number: usize| flow.payload_types[number];
    assert_eq!((becomes(8), becomes(111)), (8, 96), "another number is no hindrance");
    for number in [101, 96, 64, 72, 95] {
        assert_eq!(becomes(number), Flow::COMES_HERE, "{number}");
    }
}

#[test]
fn behind_nat_the_learned_source_is_the_flows_and_goes_with_another_address() {
    let terms = Terms { latch: LatchPolicy::Symmetric, ..Terms::default() };
    let mut forward = spoken(plain("10.0.0.1:4000"), plain(B), &terms);
    // Hosts that nobody has named have to wait for a second.
    for n in 60..100 {
        let at = now(u64::from(n) * 20);
        forward.packet(at, Side::A, Component::Rtp, addr(A), &mut rtp(7, n, 1));
    }
    assert_eq!(forward.offloadable(Side::A).unwrap().from, addr(A));
    assert_eq!(forward.offloadable(Side::B).unwrap().to, addr(A));
    forward.connect(carriage(plain("10.0.0.9:4000"), &terms), None);
    assert_eq!(forward.offloadable(Side::A), Err(Stays::NotLatched));
    assert_eq!(forward.offloadable(Side::B).unwrap().to, addr("10.0.0.9:4000"));
}

#[test]
fn a_source_whose_packets_go_by_is_not_silent_to_those_who_would_take_its_place() {
    let terms = Terms {
        latch: LatchPolicy::Symmetric,
        relatch_after: Some(Duration::from_secs(5)),
        ..Terms::default()
    };
    let mut forward = spoken(plain(A), plain(B), &terms);
    let flow = forward.offloadable(Side::A).unwrap();
    let thief = addr("192.0.2.1:7777");
    for n in 60..1000_u16 {
        let at = now(u64::from(n) * 20);
        let passed = Passed {
            at: at.mono,
            payload_type: 8,
            sequence: n,
            timestamp: u32::from(n) * 160,
            octets: 172,
            payload_octets: 160,
        };
        forward.absorb(Side::A, &flow, [passed]);
        let verdict = forward.packet(at, Side::A, Component::Rtp, thief, &mut rtp(9, n, 1));
        assert_eq!(verdict, Verdict::Drop(media::DropReason::Unlatched));
    }
    assert_eq!(forward.offloadable(Side::A), Ok(flow));
}
