//! DTLS-SRTP between two of our own, in virtual time: each has a plain leg behind it, so that what
//! goes in at one end comes out at the other.

use crate::wire::*;
use aws_lc_rs::digest;
use media::dtls::{HANDSHAKE_MAX, prepare};
use media::{
    Carriage, Component, DropReason, Forward, LatchPolicy, PacketBuf, Side, Terms, Verdict,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use sdp::{
    Ability, Certificate, Direction, DtlsFailure, Keying, Local, Media, Negotiation, Notice,
    Security, Stream, Suite,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where the near end's DTLS leg is, and the far end's.
const NEAR: &str = "192.0.2.20:20000";
const FAR: &str = "192.0.2.30:30000";
const DTLS: usize = DropReason::Dtls as usize;
const NO_KEYS: usize = DropReason::NoKeys as usize;

pub(crate) fn certificate() -> Arc<Certificate> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let made = CertificateParams::default().self_signed(&key).unwrap();
    let sha256 = digest::digest(&digest::SHA256, made.der());
    let sha256 = sha256.as_ref().try_into().unwrap();
    Arc::new(Certificate::new(made.der().to_vec(), key.serialize_der(), &sha256).unwrap())
}

fn negotiation(at: &str, certificate: &Arc<Certificate>, session_id: u64) -> Negotiation {
    let at = addr(at);
    let local = Local {
        address: at.ip(),
        rtp_port: at.port(),
        rtcp_port: at.port() + 1,
        session_id,
        keys: Vec::new(),
    };
    let ability = Ability { keying: Keying::Dtls, ..Ability::secured(Security::Required) };
    Negotiation::new(local, ability).with_certificate(Some(Arc::clone(certificate)))
}

/// A datagram on its way.
struct Flight {
    due: u64,
    to: End,
    component: Component,
    from: SocketAddr,
    octets: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Near,
    Far,
}

/// Both ends and the network between them.
struct Pair {
    near: Forward,
    far: Forward,
    near_says: Negotiation,
    far_says: Negotiation,
    ms: u64,
    wire: Vec<Flight>,
    dice: Dice,
    /// Of a hundred datagrams, so many are lost, and so many come late.
    lost: u64,
    late: u64,
    /// What the far end of each end's call has heard.
    heard: [Vec<u32>; 2],
    notices: Vec<(End, Notice)>,
    datagrams: u32,
}

impl Pair {
    /// Both ends with their media agreed, and nothing sent; the near end offers.
    fn new(mux: bool) -> Self {
        let mut pair = Self::apart();
        let offer = pair.near_says.make_offer(&Media::g711());
        let offer = strip(&offer, mux);
        pair.far_says.receive_offer(&offer).unwrap();
        let (answer, far) = pair.far_says.make_answer(&Media::g711()).unwrap();
        let (_, near) = pair.near_says.receive_answer(&strip(&answer, mux)).unwrap();
        assert_eq!((near.rtcp_mux, far.rtcp_mux), (mux, mux));
        pair.connect(&near, &far, LatchPolicy::Signalled);
        pair
    }

    fn apart() -> Self {
        prepare();
        Self {
            near: Forward::new([1; 32]),
            far: Forward::new([2; 32]),
            near_says: negotiation(NEAR, &certificate(), 1),
            far_says: negotiation(FAR, &certificate(), 2),
            ms: 0,
            wire: Vec::new(),
            dice: Dice(7),
            lost: 0,
            late: 0,
            heard: [Vec::new(), Vec::new()],
            notices: Vec::new(),
            datagrams: 0,
        }
    }

    fn connect(&mut self, near: &Stream, far: &Stream, latch: LatchPolicy) {
        let dtls = |stream: &Stream| {
            Some(Carriage { stream: stream.clone(), terms: Terms::latching(latch) })
        };
        self.near.connect(leg(&carrier_stream()), dtls(near));
        self.far.connect(dtls(far), leg(&carrier_stream()));
        self.turn(End::Near);
        self.turn(End::Far);
    }

    fn end(&mut self, end: End) -> &mut Forward {
        match end {
            End::Near => &mut self.near,
            End::Far => &mut self.far,
        }
    }

    /// Sends what an end has of its own.
    fn turn(&mut self, end: End) {
        let now = now(self.ms);
        let mut slot = PacketBuf::new();
        while let Some(verdict) = self.end(end).generate(now, &mut slot) {
            self.go(end, verdict, &slot);
        }
        while let Some((side, notice)) = self.end(end).poll_notice() {
            assert_eq!(side, dtls_side(end));
            self.notices.push((end, notice));
        }
    }

    /// What an end wants done with a packet.
    fn go(&mut self, end: End, verdict: Verdict, slot: &PacketBuf) {
        let Verdict::Forward { side, component, to } = verdict else { return };
        if side != dtls_side(end) {
            if component == Component::Rtp {
                self.heard[end as usize].push(mark_of(slot));
            }
            return;
        }
        let (other, at, from) = match end {
            End::Near => (End::Far, addr(FAR), addr(NEAR)),
            End::Far => (End::Near, addr(NEAR), addr(FAR)),
        };
        if to.ip() != at.ip() {
            return;
        }
        self.datagrams += 1;
        if self.dice.below(100) < self.lost {
            return;
        }
        let late = if self.dice.below(100) < self.late { self.dice.below(120) } else { 0 };
        let of = if to.port() == at.port() { Component::Rtp } else { Component::Rtcp };
        assert_eq!(of, component, "to the port that it belongs to");
        let port = from.port() + u16::from(component == Component::Rtcp);
        self.wire.push(Flight {
            due: self.ms + 10 + late,
            to: other,
            component,
            from: SocketAddr::new(from.ip(), port),
            octets: slot.packet().to_vec(),
        });
    }

    fn run(&mut self, for_ms: u64) {
        for _ in 0..for_ms {
            self.ms += 1;
            let at = self.ms;
            while let Some(n) = self.wire.iter().position(|flight| flight.due <= at) {
                let flight = self.wire.remove(n);
                let mut packet = slot(&flight.octets);
                let (side, component) = (dtls_side(flight.to), flight.component);
                let forward = self.end(flight.to);
                let verdict = forward.packet(now(at), side, component, flight.from, &mut packet);
                self.go(flight.to, verdict, &packet);
                self.turn(flight.to);
            }
            for end in [End::Near, End::Far] {
                if self.end(end).next_due().is_some_and(|due| due <= now(at).mono) {
                    self.turn(end);
                }
            }
        }
    }

    /// The telephone behind an end says something.
    fn say(&mut self, end: End, sequence: u16) -> Verdict {
        let mut packet = rtp(u32::from(end as u8) + 70, sequence, sequence.into());
        let (side, now) = (dtls_side(end).other(), now(self.ms));
        let verdict = self.end(end).packet(now, side, Component::Rtp, addr(CARRIER), &mut packet);
        self.go(end, verdict, &packet);
        verdict
    }

    /// Both telephones talk for so many packets, and hear each other.
    fn talk(&mut self, from: u16, packets: u16) {
        for n in from..from + packets {
            self.say(End::Near, n);
            self.say(End::Far, n);
            self.run(20);
        }
    }

    fn suites(&self) -> Vec<Suite> {
        let done = |(_, notice): &(End, Notice)| match notice {
            Notice::HandshakeDone(suite) => Some(*suite),
            _ => None,
        };
        self.notices.iter().filter_map(done).collect()
    }

    fn failures(&self) -> Vec<(End, DtlsFailure)> {
        let failed = |(end, notice): &(End, Notice)| match notice {
            Notice::HandshakeFailed(why) => Some((*end, *why)),
            _ => None,
        };
        self.notices.iter().filter_map(failed).collect()
    }

    fn drops(&self, end: End) -> media::LegStats {
        match end {
            End::Near => self.near.stats().b,
            End::Far => self.far.stats().a,
        }
    }
}

const fn dtls_side(end: End) -> Side {
    match end {
        End::Near => Side::B,
        End::Far => Side::A,
    }
}

/// The description without what says that RTCP shares a port, if it is not to.
fn strip(sdp: &[u8], mux: bool) -> Vec<u8> {
    let text = std::str::from_utf8(sdp).unwrap();
    let of_rtcp = |line: &&str| mux || !line.starts_with("a=rtcp");
    text.split_inclusive("\r\n").filter(of_rtcp).collect::<String>().into_bytes()
}

fn edited(sdp: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(sdp).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into_bytes()
}

#[test]
fn a_handshake_makes_keys_and_audio_flows_both_ways() {
    let mut pair = Pair::new(true);
    pair.run(100);
    assert_eq!(pair.suites(), [Suite::AeadAes256Gcm; 2]);
    pair.talk(1, 50);
    let all: Vec<u32> = (1..=50).collect();
    assert_eq!(pair.heard, [all.clone(), all]);
    assert_eq!(pair.near.stats().b.drops.iter().sum::<u64>(), 0);
}

#[test]
fn without_rtcp_mux_each_port_has_its_own_association() {
    let mut pair = Pair::new(false);
    pair.run(100);
    assert_eq!(pair.suites().len(), 4, "two ports on two ends");
    pair.talk(1, 20);
    assert_eq!(pair.heard[0].len(), 20);
    // Reports of ours, on the other port under its other keys, are believed.
    pair.run(12_000);
    assert_eq!(pair.drops(End::Near).drops.iter().sum::<u64>(), 0);
    assert_eq!(pair.drops(End::Far).drops.iter().sum::<u64>(), 0);
}

#[test]
fn a_handshake_gets_through_loss_and_reordering() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed % 2 == 0);
        (pair.dice, pair.lost, pair.late) = (Dice(seed), 20, 30);
        let keys = if seed % 2 == 0 { 2 } else { 4 };
        while pair.suites().len() < keys && pair.ms < 20_000 {
            pair.run(100);
        }
        assert_eq!(pair.suites().len(), keys, "seed {seed}: {:?}", pair.notices);
        (pair.lost, pair.late) = (0, 0);
        pair.talk(1, 5);
        assert_eq!(pair.heard[0].len(), 5, "seed {seed}");
        assert_eq!(pair.heard[1].len(), 5, "seed {seed}");
    }
}

#[test]
fn before_the_handshake_nothing_passes_in_the_clear() {
    let mut pair = Pair::new(true);
    pair.lost = 100;
    let before = pair.datagrams;
    assert_eq!(pair.say(End::Near, 1), Verdict::Drop(DropReason::NoKeys));
    assert_eq!(pair.datagrams, before, "no packet left");
    assert_eq!(pair.near.stats().a.drops[NO_KEYS], 1);
    // Nor does anything come in: not plain, not under keys of nobody.
    let mut plain = rtp(7, 1, 1);
    let verdict = pair.near.packet(now(1), Side::B, Component::Rtp, addr(FAR), &mut plain);
    assert_eq!(verdict, Verdict::Drop(DropReason::NoKeys));
    let mut report = slot(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
    let verdict = pair.near.packet(now(1), Side::B, Component::Rtp, addr(FAR), &mut report);
    assert_eq!(verdict, Verdict::Drop(DropReason::NoKeys));
    assert_eq!(pair.drops(End::Near).drops[NO_KEYS], 2);
}

#[test]
fn a_certificate_with_another_fingerprint_makes_no_keys() {
    let mut pair = Pair::apart();
    let offer = pair.near_says.make_offer(&Media::g711());
    let stranger = certificate();
    let ours = pair.near_says.last_local().unwrap();
    let line = std::str::from_utf8(ours).unwrap().lines().find(|l| l.contains("fingerprint"));
    let forged =
        edited(&offer, line.unwrap(), &format!("a=fingerprint:{}", stranger.fingerprint()));
    pair.far_says.receive_offer(&forged).unwrap();
    let (answer, far) = pair.far_says.make_answer(&Media::g711()).unwrap();
    let (_, near) = pair.near_says.receive_answer(&answer).unwrap();
    pair.connect(&near, &far, LatchPolicy::Signalled);
    pair.run(3000);
    assert!(pair.failures().contains(&(End::Far, DtlsFailure::Fingerprint)), "{:?}", pair.notices);
    assert!(pair.failures().contains(&(End::Near, DtlsFailure::Alert(42))), "{:?}", pair.notices);
    assert_eq!(pair.failures().len(), 2, "told once");
    pair.say(End::Near, 1);
    pair.run(50);
    assert!(pair.heard[1].is_empty());
}

#[test]
fn a_far_side_that_never_comes_ends_the_handshake_in_time() {
    for end in [End::Near, End::Far] {
        let mut pair = Pair::new(true);
        pair.lost = 100;
        let most = HANDSHAKE_MAX.as_millis() as u64;
        pair.run(most - 1000);
        assert_eq!(pair.failures(), []);
        pair.run(2000);
        assert!(pair.failures().contains(&(end, DtlsFailure::Timeout)), "{:?}", pair.notices);
        let sent = pair.datagrams;
        assert!(sent <= 14, "{sent} datagrams of two flights");
        pair.run(60_000);
        assert_eq!((pair.failures().len(), pair.datagrams), (2, sent), "and it ends there");
    }
}

#[test]
fn agreed_again_a_handshake_that_failed_is_tried_again() {
    let mut pair = Pair::new(true);
    pair.lost = 100;
    pair.run(25_000);
    assert_eq!(pair.failures().len(), 2);
    pair.lost = 0;
    let (near, far) = (pair.near_says.stream().cloned(), pair.far_says.stream().cloned());
    pair.connect(&near.unwrap(), &far.unwrap(), LatchPolicy::Signalled);
    pair.run(200);
    assert_eq!(pair.suites().len(), 2);
    pair.talk(1, 3);
    assert_eq!(pair.heard[1], [1, 2, 3]);
}

#[test]
fn a_reinvite_with_the_same_fingerprint_keeps_the_association() {
    let mut pair = Pair::new(true);
    pair.run(100);
    pair.talk(1, 5);
    let before = pair.datagrams;
    for direction in [Direction::SendOnly, Direction::SendRecv] {
        let media = Media { direction, ..Media::g711() };
        let offer = pair.far_says.make_offer(&media);
        pair.near_says.receive_offer(&offer).unwrap();
        let (answer, near) = pair.near_says.make_answer(&Media::g711()).unwrap();
        let (_, far) = pair.far_says.receive_answer(&answer).unwrap();
        pair.connect(&near, &far, LatchPolicy::Signalled);
        pair.run(50);
    }
    assert_eq!((pair.suites().len(), pair.datagrams), (2, before), "no second handshake");
    pair.talk(6, 5);
    assert_eq!(pair.heard[0], (1..=10).collect::<Vec<u32>>());
}

#[test]
fn a_reinvite_with_another_fingerprint_begins_a_new_association() {
    let mut pair = Pair::new(true);
    pair.run(100);
    pair.talk(1, 5);
    // The far end is another process now, in the same dialog and at the same address.
    pair.far_says = negotiation(FAR, &certificate(), 3);
    pair.far = Forward::new([3; 32]);
    let offer = pair.far_says.make_offer(&Media::g711());
    pair.near_says.receive_offer(&offer).unwrap();
    let (answer, near) = pair.near_says.make_answer(&Media::g711()).unwrap();
    let (_, far) = pair.far_says.receive_answer(&answer).unwrap();
    pair.connect(&near, &far, LatchPolicy::Signalled);
    assert_eq!(pair.say(End::Near, 6), Verdict::Drop(DropReason::NoKeys));
    pair.run(100);
    assert_eq!(pair.suites().len(), 4);
    pair.talk(7, 5);
    assert_eq!(pair.heard[1], [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
}

#[test]
fn a_stranger_begins_no_handshake_and_ends_none() {
    let mut pair = Pair::apart();
    let offer = pair.near_says.make_offer(&Media::g711());
    pair.far_says.receive_offer(&offer).unwrap();
    let (answer, far) = pair.far_says.make_answer(&Media::g711()).unwrap();
    let (_, near) = pair.near_says.receive_answer(&answer).unwrap();
    pair.connect(&near, &far, LatchPolicy::Signalled);
    // The far end is active: its ClientHello, sent by somebody else first.
    let hello = pair.wire.iter().find(|flight| flight.to == End::Near).unwrap().octets.clone();
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    for datagram in [&hello[..], &alert] {
        let at = now(1);
        let from = addr(STRANGER);
        let verdict = pair.near.packet(at, Side::B, Component::Rtp, from, &mut slot(datagram));
        assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
        let verdict = pair.near.packet(at, Side::B, Component::Rtcp, from, &mut slot(datagram));
        assert_eq!(verdict, Verdict::Drop(DropReason::Dtls), "with mux nobody shakes hands there");
        let verdict = pair.near.packet(at, Side::A, Component::Rtp, from, &mut slot(datagram));
        assert_eq!(verdict, Verdict::Drop(DropReason::Dtls));
    }
    pair.run(100);
    assert_eq!(pair.suites().len(), 2);
}

#[test]
fn a_forged_alert_does_not_end_the_call() {
    let mut pair = Pair::new(true);
    pair.lost = 100;
    pair.run(50);
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    for (end, from) in [(End::Near, FAR), (End::Far, NEAR)] {
        let at = now(pair.ms);
        let side = dtls_side(end);
        pair.end(end).packet(at, side, Component::Rtp, addr(from), &mut slot(&alert));
        pair.turn(end);
    }
    pair.lost = 0;
    pair.run(1500);
    assert_eq!(pair.suites().len(), 2, "{:?}", pair.notices);
}

#[test]
fn behind_nat_the_one_with_the_certificate_is_found_where_it_is() {
    let mut pair = Pair::apart();
    pair.far_says = negotiation("10.0.0.7:30000", &certificate(), 2);
    let offer = pair.near_says.make_offer(&Media::g711());
    pair.far_says.receive_offer(&offer).unwrap();
    let (answer, far) = pair.far_says.make_answer(&Media::g711()).unwrap();
    let (_, near) = pair.near_says.receive_answer(&answer).unwrap();
    pair.connect(&near, &far, LatchPolicy::Symmetric);
    pair.run(300);
    assert_eq!(pair.suites().len(), 2, "{:?}", pair.notices);
    // What authenticated owns the stream, before it has said a word.
    pair.say(End::Near, 1);
    pair.run(20);
    assert_eq!(pair.heard[1], [1]);
}

#[test]
fn a_flood_of_handshakes_is_bounded() {
    let mut pair = Pair::new(true);
    pair.run(100);
    let finished = pair.suites().len();
    let noise = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    for n in 0..1000 {
        let at = now(pair.ms + n);
        pair.near.packet(at, Side::B, Component::Rtp, addr(FAR), &mut slot(&noise));
    }
    assert!(pair.drops(End::Near).drops[DTLS] > 900);
    pair.ms += 1000;
    pair.talk(1, 3);
    assert_eq!((pair.heard[0].len(), pair.suites().len()), (3, finished));
}

#[test]
fn who_has_shaken_hands_does_not_do_so_again_after_another_fork_was_heard() {
    for mux in [true, false] {
        let mut pair = Pair::new(mux);
        pair.run(100);
        pair.talk(1, 5);
        let first = pair.near_says.stream().unwrap().clone();
        let mut other = first.clone();
        if let Some(dtls) = &mut other.dtls {
            dtls.remote = vec![*certificate().fingerprint()];
        }
        let before = pair.suites();
        for heard in [other, first] {
            let carriage = Carriage { stream: heard, terms: Terms::default() };
            pair.near.connect(None, Some(carriage));
            pair.turn(End::Near);
            pair.run(60);
        }
        assert_eq!(pair.say(End::Far, 6), forward_to(Side::A, NEAR));
        pair.run(20);
        pair.talk(7, 5);
        assert_eq!(pair.heard[End::Near as usize], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!((pair.suites(), pair.failures()), (before, Vec::new()));
    }
}

#[test]
fn who_is_only_there_with_the_answer_gets_its_handshake_at_once() {
    let mut pair = Pair::new(true);
    pair.wire.clear();
    pair.lost = 100;
    pair.run(18_000);
    assert!(pair.suites().is_empty() && pair.failures().is_empty());
    pair.lost = 0;
    for end in [End::Near, End::Far] {
        let now = now(pair.ms);
        pair.end(end).order(now, dtls_side(end), &media::Order::Watch);
        pair.turn(end);
    }
    pair.run(200);
    assert_eq!(pair.suites().len(), 2);
    assert!(pair.failures().is_empty());
}

#[test]
fn the_handshake_of_the_rtcp_port_alone_fails_no_leg() {
    let mut pair = Pair::new(false);
    // What is sent from either RTCP port is lost.
    while pair.ms < 30_000 {
        pair.wire.retain(|flight| flight.component == Component::Rtp);
        pair.run(1);
    }
    assert_eq!(pair.suites().len(), 2);
    assert!(pair.failures().is_empty());
    pair.say(End::Far, 1);
    pair.run(20);
    assert_eq!(pair.heard[End::Near as usize], [1]);
}
