//! What a far side hears of ours: ringing, music on hold, comfort noise.

use crate::wire::*;
use media::g711::Law;
use media::{Carriage, Component, Forward, PacketBuf, Side, Terms, Verdict};
use sdp::{Direction, Payload, Recording, Sound, Stream, Tone};

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

fn leg(payloads: Vec<Payload>, remote: &str, terms: Terms) -> Option<Carriage> {
    Some(Carriage { stream: Stream { payloads, ..stream(remote, None) }, terms })
}

fn g711() -> Vec<Payload> {
    vec![payload(8, "PCMA"), payload(101, "telephone-event")]
}

/// When, number, timestamp, marker, payload type, payload.
type Packet = (u64, u16, u32, bool, u8, Vec<u8>);

fn packet(ms: u64, slot: &PacketBuf) -> Packet {
    let octets = slot.packet();
    let (marker, pt) = (octets[1] & 0x80 != 0, octets[1] & 0x7f);
    (ms, sequence_of(slot), word(octets, 4), marker, pt, octets[12..].to_vec())
}

/// What is made for `side` in this time.
fn made(forward: &mut Forward, side: Side, ms: std::ops::Range<u64>) -> Vec<Packet> {
    let (mut packets, mut slot) = (Vec::new(), PacketBuf::new());
    let first = ms.start;
    for at in ms {
        let due = |forward: &Forward| forward.next_due().is_some_and(|due| due <= now(at).mono);
        let mut asked = at != first;
        // Once after an agreement, whatever is due.
        while !std::mem::replace(&mut asked, true) || due(forward) {
            match forward.generate(now(at), &mut slot) {
                Some(Verdict::Forward { side: to, .. }) if to == side => {
                    packets.push(packet(at, &slot));
                }
                other => {
                    assert_eq!(other, None);
                    break;
                }
            }
        }
    }
    packets
}

fn samples(packets: &[Packet]) -> Vec<f64> {
    let octets = packets.iter().flat_map(|packet| &packet.5);
    octets.map(|octet| f64::from(Law::A.decode(*octet))).collect()
}

/// The share of a sound that is at this frequency.
fn share(samples: &[f64], hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * at as f64 / 8000.0;
        (re, im) = (re + sample * angle.cos(), im + sample * angle.sin());
    }
    let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
    2.0 * (re * re + im * im) / (samples.len() as f64 * energy)
}

fn follow_on(packets: &[Packet]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].1, pair[0].1.wrapping_add(1));
        assert_eq!(pair[1].2, pair[0].2.wrapping_add(160));
    }
}

#[test]
fn a_caller_hears_ringing_before_anybody_is_there() {
    let mut forward = Forward::new([7; 32]);
    let plays = Some(Sound::Tone(Tone::RINGING));
    forward.connect(leg(g711(), A, Terms { plays, ..Terms::default() }), None);
    let heard = made(&mut forward, Side::A, 0..6000);
    assert!((299..=301).contains(&heard.len()), "{}", heard.len());
    assert!(heard[0].3 && heard[1..].iter().all(|packet| !packet.3), "the first is marked");
    follow_on(&heard);
    let sound = samples(&heard);
    assert!(share(&sound[..8000], 425.0) > 0.98);
    assert!(sound[8000..40_000].iter().all(|sample| sample.abs() <= 8.0), "four seconds of rest");
    assert!(share(&sound[40_000..47_000], 425.0) > 0.98);
    // The callee answers.
    forward.connect(leg(g711(), A, Terms::default()), leg(g711(), B, Terms::default()));
    assert_eq!(made(&mut forward, Side::A, 6000..7000), []);
    let mut speech = rtp(9, 500, 1);
    let verdict = forward.packet(now(7000), Side::B, Component::Rtp, addr(B), &mut speech);
    assert_eq!(verdict, forward_to(Side::A, A));
    assert!((299..=301).contains(&forward.stats().a.made_packets));
}

#[test]
fn each_country_rings_with_its_frequencies() {
    for (country, hz) in [("US", [440.0, 480.0]), ("GB", [400.0, 450.0]), ("FR", [440.0, 440.0])] {
        let mut forward = Forward::new([7; 32]);
        let plays = Some(Sound::Tone(Tone::ringing_in(country)));
        forward.connect(leg(g711(), A, Terms { plays, ..Terms::default() }), None);
        let sound = samples(&made(&mut forward, Side::A, 0..400));
        let shares = hz.map(|hz| share(&sound[..3200], hz));
        assert!(shares.iter().all(|share| *share > 0.45), "{country}: {shares:?}");
    }
    assert_eq!(Tone::ringing_in("DE"), Tone::RINGING);
}

#[test]
fn music_takes_the_place_of_what_would_be_carried_and_gives_it_back() {
    let mut forward = Forward::new([7; 32]);
    forward.connect(leg(g711(), A, Terms::default()), leg(g711(), B, Terms::default()));
    let carry = |forward: &mut Forward, ms, sequence| {
        let mut slot = rtp(9, sequence, 1);
        let verdict = forward.packet(now(ms), Side::A, Component::Rtp, addr(A), &mut slot);
        (verdict == forward_to(Side::B, B)).then(|| packet(ms, &slot))
    };
    let before = carry(&mut forward, 20, 100).unwrap();
    let samples_of = |hz: f64| {
        let turn = std::f64::consts::TAU * hz / 8000.0;
        (0..8000).map(|at| (6000.0 * (turn * f64::from(at)).sin()) as i16).collect()
    };
    let music = Sound::Recording(Recording::new(samples_of(700.0)).unwrap());
    let held = Terms { plays: Some(music.clone()), ..Terms::default() };
    forward.connect(None, leg(g711(), B, held.clone()));
    let mut heard = Vec::new();
    for n in 0..100 {
        heard.extend(made(&mut forward, Side::B, 20 + 20 * n..40 + 20 * n));
        assert_eq!(carry(&mut forward, 40 + 20 * n, 101 + n as u16), None, "it stays behind");
        // A session refresh does not begin the music anew.
        forward.connect(None, leg(g711(), B, held.clone()));
    }
    assert_eq!(heard[0].1, before.1.wrapping_add(1));
    follow_on(&heard);
    assert!(share(&samples(&heard), 700.0) > 0.98, "over its end without a break");
    forward.connect(None, leg(g711(), B, Terms::default()));
    let after = carry(&mut forward, 2040, 201).unwrap();
    assert_eq!((after.1, after.3), (heard.last().unwrap().1.wrapping_add(1), true));
}

#[test]
fn a_leg_without_g711_is_counted_and_hears_the_other_side() {
    let mut forward = Forward::new([7; 32]);
    let g722 = || vec![payload(9, "G722")];
    let plays = Some(Sound::Tone(Tone::HOLDING));
    let terms = Terms { plays, ..Terms::default() };
    forward.connect(leg(g722(), A, Terms::default()), leg(g722(), B, terms));
    assert_eq!(made(&mut forward, Side::B, 0..500), []);
    let mut speech = rtp_of(9, 9, 1, 0, 0);
    let verdict = forward.packet(now(500), Side::A, Component::Rtp, addr(A), &mut speech);
    assert_eq!(verdict, forward_to(Side::B, B));
    assert_eq!(forward.stats().b.unplayed, 1);
}

/// TDR-COD-008, TDR-COD-007
#[test]
fn a_silent_far_side_is_comfort_noise_at_the_other_until_it_speaks() {
    let noisy = || Terms { comfort_noise: true, ..Terms::default() };
    let with_noise = || vec![payload(8, "PCMA"), payload(13, "CN")];
    let mut forward = Forward::new([7; 32]);
    forward.connect(leg(g711(), A, Terms::default()), leg(with_noise(), B, noisy()));
    let heard = made(&mut forward, Side::B, 0..2000);
    assert_eq!(heard.first().map(|packet| packet.0), Some(300));
    assert!((8..=10).contains(&heard.len()), "{}", heard.len());
    assert!(heard.iter().all(|packet| packet.4 == 13 && packet.5 == [65]));
    for pair in heard.windows(2) {
        assert_eq!(pair[1].2.wrapping_sub(pair[0].2), 1600);
    }
    // The far side speaks for two seconds.
    for n in 0..100_u16 {
        let ms = 2000 + 20 * u64::from(n);
        let mut speech = rtp(9, n, 1);
        let verdict = forward.packet(now(ms), Side::A, Component::Rtp, addr(A), &mut speech);
        assert_eq!(verdict, forward_to(Side::B, B));
        assert_eq!(made(&mut forward, Side::B, ms..ms + 20), []);
    }
    assert!(!made(&mut forward, Side::B, 4000..4500).is_empty(), "it is muted again");
    // B holds: it must not get any.
    let held = Stream { direction: Direction::Inactive, ..stream(B, None) };
    let held = Stream { payloads: with_noise(), ..held };
    forward.connect(None, Some(Carriage { stream: held, terms: noisy() }));
    assert_eq!(made(&mut forward, Side::B, 4500..9000), []);
    assert_eq!(forward.next_due(), None);
}

#[test]
fn without_comfort_noise_agreed_the_silence_is_spoken() {
    let mut forward = Forward::new([7; 32]);
    let noisy = Terms { comfort_noise: true, ..Terms::default() };
    forward.connect(leg(g711(), A, Terms::default()), leg(g711(), B, noisy));
    let heard = made(&mut forward, Side::B, 0..1300);
    assert!((49..=51).contains(&heard.len()), "{}", heard.len());
    follow_on(&heard);
    let loudest = samples(&heard).into_iter().fold(0.0, |most: f64, it| most.max(it.abs()));
    assert!(loudest > 0.0 && loudest <= 40.0, "{loudest}");
}
