//! Two far sides that have each other's keys: packets pass as they are, and nothing of ours goes between.

use crate::wire::*;
use media::srtp::{Receiver, Sender};
use media::{Carriage, Component, DropReason, Forward, PacketBuf, Side, Terms, Verdict};
use sdp::{Crypto, Notice, Rtcp, SrtpKey, Stream, Suite};

const OTHER: &str = "192.0.2.20:6000";

/// A leg whose far side protects with `theirs` and has been told `told`.
fn secured(remote: &str, theirs: &SrtpKey, told: SrtpKey) -> Stream {
    stream(remote, Some((told, vec![theirs.clone()])))
}

struct Pair {
    forward: Forward,
    keys: [SrtpKey; 2],
    ms: u64,
}

impl Pair {
    fn new(suite: Suite) -> Self {
        let keys = [key_of(suite, 1), key_of(suite, 2)];
        let mut pair = Self { forward: Forward::new([7; 32]), keys, ms: 0 };
        pair.connect(Terms::default());
        pair
    }

    fn legs(&self) -> (Stream, Stream) {
        let [a, b] = &self.keys;
        (secured(TEAMS, a, b.clone().passed()), secured(OTHER, b, a.clone().passed()))
    }

    fn connect(&mut self, terms: Terms) {
        let (a, b) = self.legs();
        self.connect_as(a, b, terms);
    }

    fn connect_as(&mut self, a: Stream, b: Stream, terms: Terms) {
        let carriage = |stream| Some(Carriage { stream, terms: terms.clone() });
        self.forward.connect(carriage(a), carriage(b));
    }

    fn comes(&mut self, from: &str, packet: &mut PacketBuf) -> Verdict {
        self.ms += 20;
        let side = if from == OTHER { Side::B } else { Side::A };
        self.forward.packet(now(self.ms), side, Component::Rtp, addr(from), packet)
    }
}

const WITH_TAGS: [Suite; 3] =
    [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32, Suite::Aes256CmHmacSha1_80];

#[test]
fn packets_pass_octet_by_octet_both_ways_and_the_far_sides_read_them() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        for (from, to, side, key) in [
            (TEAMS, OTHER, Side::B, pair.keys[0].clone()),
            (OTHER, TEAMS, Side::A, pair.keys[1].clone()),
        ] {
            let (mut sender, mut receiver) = (Sender::new(&key, 1), Receiver::new(&[key]));
            for n in 0..50 {
                let mut packet = rtp(9, n, n.into());
                sender.protect(&mut packet).unwrap();
                let sent = packet.clone();
                assert_eq!(pair.comes(from, &mut packet), forward_to(side, to), "{suite:?}");
                assert_eq!(packet.packet(), sent.packet());
                receiver.unprotect(&mut packet).unwrap();
                assert_eq!(mark_of(&packet), u32::from(n));
            }
            let mut report = slot(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
            sender.protect_rtcp(&mut report).unwrap();
            let sent = report.clone();
            pair.ms += 1;
            let component = Component::Rtcp;
            let source = addr(&from.replace("49152", "49153").replace("6000", "6001"));
            let came = side.other();
            let verdict = pair.forward.packet(now(pair.ms), came, component, source, &mut report);
            assert!(
                matches!(verdict, Verdict::Forward { side: to, .. } if to == side),
                "{suite:?}"
            );
            assert_eq!(report.packet(), sent.packet());
        }
    }
}

/// TDR-COD-007: it stays here, as it would were it listened to.
#[test]
fn comfort_noise_that_the_other_side_has_not_agreed_is_nothing_malformed() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
    let (mut a, b) = pair.legs();
    a.payloads.push(payload(13, "CN"));
    pair.connect_as(a, b, Terms::default());
    let mut sender = Sender::new(&pair.keys[0], 1);
    for n in 0..10 {
        let noise = n % 2 == 1;
        let mut packet = rtp_of(if noise { 13 } else { 8 }, 9, n, u32::from(n) * 160, 1);
        sender.protect(&mut packet).unwrap();
        let verdict = pair.comes(TEAMS, &mut packet);
        let passes = forward_to(Side::B, OTHER);
        assert_eq!(verdict, if noise { Verdict::Consumed } else { passes }, "{n}");
    }
    assert_eq!(pair.forward.stats().a.drops, [0; DropReason::ALL.len()]);
}

#[test]
fn what_is_forged_or_replayed_does_not_pass_where_a_tag_tells() {
    for suite in WITH_TAGS {
        let mut pair = Pair::new(suite);
        let mut sender = Sender::new(&pair.keys[0], 1);
        let mut packet = rtp(9, 1, 1);
        sender.protect(&mut packet).unwrap();
        let mut forged = packet.clone();
        forged.packet_mut()[40] ^= 1;
        assert_eq!(pair.comes(STRANGER, &mut forged), Verdict::Drop(DropReason::BadTag));
        assert_eq!(pair.comes(TEAMS, &mut packet.clone()), forward_to(Side::B, OTHER));
        assert_eq!(pair.comes(STRANGER, &mut packet), Verdict::Drop(DropReason::Replay));
    }
}

#[test]
fn without_a_tag_apart_only_the_signalled_address_is_believed() {
    let mut pair = Pair::new(Suite::AeadAes128Gcm);
    let mut sender = Sender::new(&pair.keys[0], 1);
    let mut packet = rtp(9, 1, 1);
    sender.protect(&mut packet).unwrap();
    let stranger = pair.comes(STRANGER, &mut packet.clone());
    assert_eq!(stranger, Verdict::Drop(DropReason::Unlatched));
    assert_eq!(pair.comes(TEAMS, &mut packet), forward_to(Side::B, OTHER));
}

#[test]
fn no_report_of_ours_goes_out_under_a_key_that_is_not_ours() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
    let mut sender = Sender::new(&pair.keys[0], 1);
    for n in 0..1000 {
        let mut packet = rtp(9, n, 1);
        sender.protect(&mut packet).unwrap();
        assert_eq!(pair.comes(TEAMS, &mut packet), forward_to(Side::B, OTHER));
        assert_eq!(pair.forward.generate(now(pair.ms), &mut PacketBuf::new()), None);
    }
}

#[test]
fn where_it_ends_packets_go_on_under_an_ssrc_of_ours() {
    // By RTCP that ends here, by another number for a payload type, by a new key of one far side.
    for case in 0..3 {
        let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
        let told = pair.keys[0].clone();
        let mut sender = Sender::new(&told, 1);
        let mut hears = Receiver::new(&[told]);
        for n in 0..3 {
            let mut packet = rtp(9, n, n.into());
            sender.protect(&mut packet).unwrap();
            assert_eq!(pair.comes(TEAMS, &mut packet), forward_to(Side::B, OTHER));
            hears.unprotect(&mut packet).unwrap();
        }
        let (mut a, mut b) = pair.legs();
        let mut terms = Terms::default();
        match case {
            0 => terms.rtcp = Rtcp::Terminate,
            1 => b.payloads[1].number = 97,
            _ => {
                a.crypto = a.crypto.map(|c| Crypto { remote: vec![key(9)], ..c });
                sender = Sender::after(&sender, &key(9), 2);
            }
        }
        pair.connect_as(a, b, terms);
        let mut ssrcs = Vec::new();
        for n in 3..10 {
            let mut packet = rtp(9, n, n.into());
            sender.protect(&mut packet).unwrap();
            assert_eq!(pair.comes(TEAMS, &mut packet), forward_to(Side::B, OTHER), "{case}");
            ssrcs.push(ssrc_of(&packet));
            hears.unprotect(&mut packet).unwrap();
            assert_eq!(mark_of(&packet), u32::from(n));
            let told = (n == 3).then_some((Side::B, Notice::KeyWorn));
            assert_eq!(pair.forward.poll_notice(), told, "a key of ours is to take its place");
        }
        ssrcs.dedup();
        assert!(ssrcs.len() == 1 && ssrcs[0] != 9, "{case}: {ssrcs:?}");
    }
}

#[test]
fn a_key_of_another_leg_protects_no_packet_under_an_ssrc_of_its_owner() {
    let borrowed = key(3).passed();
    let mut sender = Sender::new(&borrowed, 40);
    for source in [9, 40, 41, 9, 40] {
        let mut packet = rtp(source, 5, 1);
        if sender.protect(&mut packet).is_ok() {
            assert_ne!(ssrc_of(&packet), source);
        }
        let mut report = slot(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
        assert_eq!(sender.protect_rtcp(&mut report), Err(DropReason::NoFlow));
    }
}

#[test]
fn a_key_stops_before_its_lifetime_is_over_and_says_so_before() {
    let mut teams = teams_stream();
    let short = ours().with_lifetime(30_010);
    teams.crypto = teams.crypto.map(|crypto| Crypto { local: short, ..crypto });
    let mut call = Call::unconnected();
    call.connect(&teams, &carrier_stream());
    for n in 0..10u16 {
        assert_eq!(call.carrier_sends(&mut rtp(8, n, 1)), forward_to(Side::A, TEAMS));
        let worn = (n == 9).then_some((Side::A, Notice::KeyWorn));
        assert_eq!(call.forward.poll_notice(), worn, "{n}");
    }
    for n in 10..30_010 {
        assert_eq!(call.carrier_sends(&mut rtp(8, n as u16, 1)), forward_to(Side::A, TEAMS));
        assert_eq!(call.forward.poll_notice(), None, "it was said once");
    }
    let spent = call.comes(Side::B, CARRIER, &mut rtp(8, 30_010, 1));
    assert_eq!(spent, Verdict::Drop(DropReason::KeySpent));

    // A new key: the same stream goes on.
    teams.crypto = teams.crypto.map(|crypto| Crypto { local: key(5), ..crypto });
    call.connect(&teams, &carrier_stream());
    call.teams_hears = Receiver::new(&[key(5)]);
    let mut packet = rtp(8, 30_011, 1);
    assert_eq!(call.carrier_sends(&mut packet), forward_to(Side::A, TEAMS));
    assert_eq!((ssrc_of(&packet), sequence_of(&packet)), (8, 30_011));
}

#[test]
fn what_still_comes_under_the_key_before_does_not_leave_decrypted() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1_80);
    let mut before = Sender::new(&pair.keys[0], 1);
    let mut packet = rtp(9, 1, 1);
    before.protect(&mut packet).unwrap();
    assert_eq!(pair.comes(TEAMS, &mut packet), forward_to(Side::B, OTHER));
    // Another fork has another key, which passes as well.
    pair.keys[0] = key_of(Suite::AesCm128HmacSha1_80, 3);
    pair.connect(Terms::default());
    let mut late = rtp(9, 2, 2);
    before.protect(&mut late).unwrap();
    let sent = late.clone();
    assert_eq!(pair.comes(TEAMS, &mut late), Verdict::Drop(DropReason::BadTag));
    assert_eq!(late.packet(), sent.packet());
}
