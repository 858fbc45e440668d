//! Forks that may send early media: which one does is told, and what of them is believed.

use crate::wire::*;
use media::srtp::Sender;
use media::{Carriage, DropReason, Notice, PacketBuf, Side, Terms, Verdict};
use sdp::{Early, Fork, SrtpKey, Stream};

const MOBILE: &str = "203.0.113.99:50004";

/// The fork of this number, with its key and place.
fn fork(number: u8) -> (SrtpKey, Stream) {
    let theirs = key(number + 1);
    let remote = if number == 1 { TEAMS } else { MOBILE };
    (theirs.clone(), stream(remote, Some((ours(), vec![theirs]))))
}

/// Leg B is the carrier, leg A one of two forks, or the one that has answered.
fn carries(call: &mut Call, number: u8, answered: bool) {
    let other = 3 - number;
    let (keys, remote_rtp) = (vec![fork(other).0], None);
    let others = vec![Fork { number: other.into(), remote_rtp, keys }];
    let early = Early { fork: number.into(), others };
    let early = (!answered).then(|| Box::new(early));
    let terms = Terms { early, ..Terms::default() };
    let a = Carriage { stream: fork(number).1, terms };
    call.forward.connect(Some(a), leg(&carrier_stream()));
    while call.forward.generate(call.now(), &mut PacketBuf::new()).is_some() {}
}

struct Sends(Sender, u16);

impl Sends {
    fn of(number: u8) -> Self {
        Self(Sender::new(&fork(number).0, number.into()), 0)
    }

    fn next(&mut self, call: &mut Call, from: &str) -> Verdict {
        self.1 += 1;
        let mut packet = rtp(self.1.into(), self.1, 1);
        rtp_source(&mut packet, 7);
        self.0.protect(&mut packet).unwrap();
        call.comes(Side::A, from, &mut packet)
    }
}

fn rtp_source(packet: &mut PacketBuf, ssrc: u32) {
    packet.packet_mut()[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

fn told(call: &mut Call) -> Vec<Notice> {
    while call.forward.generate(call.now(), &mut PacketBuf::new()).is_some() {}
    std::iter::from_fn(|| call.forward.poll_notice()).map(|(_, notice)| notice).collect()
}

/// Under another's key, or as if it had come before: two sources of one SSRC.
fn is_refused(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Drop(DropReason::BadTag | DropReason::Replay))
}

/// TDR-EM-007, TDR-EM-008.
#[test]
fn the_fork_that_streams_is_told_by_its_key_and_the_others_are_forgotten_with_the_answer() {
    let mut call = Call::unconnected();
    carries(&mut call, 1, false);
    let (mut one, mut two) = (Sends::of(1), Sends::of(2));
    assert!(is_refused(two.next(&mut call, MOBILE)));
    assert_eq!(told(&mut call), [Notice::Streams(2)]);
    assert!(is_refused(two.next(&mut call, MOBILE)));
    assert_eq!(told(&mut call), [], "once is enough for a while");
    // Signalling has heard it.
    carries(&mut call, 2, false);
    assert_eq!(two.next(&mut call, MOBILE), forward_to(Side::B, CARRIER));
    assert_eq!(told(&mut call), [Notice::Streams(2)]);
    for _ in 0..10 {
        assert!(is_refused(one.next(&mut call, TEAMS)), "it is not heard beside the other");
        assert_eq!(two.next(&mut call, MOBILE), forward_to(Side::B, CARRIER));
    }
    assert_eq!(told(&mut call), [], "who sends stays");
    // A pause as between two rings, and one that is longer.
    call.ms += 5_900;
    assert!(is_refused(one.next(&mut call, TEAMS)));
    assert_eq!(told(&mut call), []);
    call.ms += 200;
    assert_eq!(told(&mut call), [Notice::Stops(2)]);
    assert!(is_refused(one.next(&mut call, TEAMS)));
    assert_eq!(told(&mut call), [Notice::Streams(1)]);
    carries(&mut call, 1, false);
    assert_eq!(one.next(&mut call, TEAMS), forward_to(Side::B, CARRIER));
    assert!(is_refused(two.next(&mut call, MOBILE)), "no key is heard for a while after another's");
    told(&mut call);
    carries(&mut call, 2, true);
    assert!(is_refused(one.next(&mut call, TEAMS)), "it has lost");
    assert_eq!(two.next(&mut call, MOBILE), forward_to(Side::B, CARRIER));
    assert_eq!(told(&mut call), [], "nobody asks any more");
}

#[test]
fn what_a_stranger_sends_is_told_to_nobody_and_tried_under_no_key_too_often() {
    let mut call = Call::unconnected();
    carries(&mut call, 1, false);
    let mut forged = Sender::new(&key(9), 9);
    for n in 0..200 {
        let mut packet = rtp(9, n, 1);
        forged.protect(&mut packet).unwrap();
        assert!(is_refused(call.comes(Side::A, STRANGER, &mut packet)));
    }
    assert_eq!(told(&mut call), []);
    let mut two = Sends::of(2);
    two.next(&mut call, MOBILE);
    assert_eq!(told(&mut call), [Notice::Streams(2)]);
}

/// TDR-EM-022.
#[test]
fn a_fork_that_sends_plain_rtp_is_known_by_its_address() {
    let mut call = Call::unconnected();
    let elsewhere = "192.0.2.77:7000";
    let others = vec![Fork { number: 2, remote_rtp: Some(addr(elsewhere)), keys: Vec::new() }];
    let early = Some(Box::new(Early { fork: 1, others }));
    let b = Carriage { stream: carrier_stream(), terms: Terms { early, ..Terms::default() } };
    call.forward.connect(leg(&teams_stream()), Some(b));
    assert_eq!(
        call.comes(Side::B, STRANGER, &mut rtp(8, 1, 1)),
        Verdict::Drop(DropReason::Unlatched)
    );
    assert_eq!(told(&mut call), []);
    assert_eq!(
        call.comes(Side::B, elsewhere, &mut rtp(8, 1, 1)),
        Verdict::Drop(DropReason::Unlatched)
    );
    assert_eq!(told(&mut call), [Notice::Streams(2)]);
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, TEAMS));
    assert_eq!(told(&mut call), [Notice::Streams(1)]);
    call.comes(Side::B, elsewhere, &mut rtp(8, 2, 1));
    assert_eq!(told(&mut call), [], "who sends stays");
}
