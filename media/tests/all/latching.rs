//! Who may take a stream: injected packets never move anything.

use crate::wire::*;
use media::{Carriage, DropReason, LatchPolicy, Side, Terms, Verdict};

const NAT: &str = "198.51.100.4:61000";

#[test]
fn unlatched_source_on_plain_rtp_is_dropped_and_hears_nothing() {
    let mut call = Call::new();
    for n in 0..100 {
        let verdict = call.comes(Side::B, STRANGER, &mut rtp(666, n, 1));
        assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
        assert_eq!(call.teams_sends(&mut rtp(7, n, 1)), forward_to(Side::B, CARRIER));
    }
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, TEAMS));
    let stats = call.forward.stats();
    assert_eq!(stats.b.drops[DropReason::Unlatched as usize], 100);
    assert_eq!((stats.b.lost_packets, stats.b.received_packets), (0, 1));
}

#[test]
fn srtp_is_sent_to_the_signalled_address_until_an_authentic_packet_comes() {
    // TDR-MED-005.
    let mut call = Call::new();
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, TEAMS));
    for n in 0..50 {
        let verdict = call.comes(Side::A, STRANGER, &mut rtp(7, n, 1));
        assert_eq!(verdict, Verdict::Drop(DropReason::BadTag));
    }
    assert_eq!(call.carrier_sends(&mut rtp(8, 2, 1)), forward_to(Side::A, TEAMS));
    let mut packet = rtp(7, 1, 1);
    call.teams.protect(&mut packet).unwrap();
    assert_eq!(call.comes(Side::A, "52.114.3.3:3479", &mut packet), forward_to(Side::B, CARRIER));
    assert_eq!(call.carrier_sends(&mut rtp(8, 3, 1)), forward_to(Side::A, "52.114.3.3:3479"));
}

#[test]
fn a_late_or_replayed_srtp_packet_does_not_move_the_latch_back() {
    let mut call = Call::new();
    let [mut first, mut late, mut next] = [1, 2, 3].map(|n| {
        let mut packet = rtp(7, n, 1);
        call.teams.protect(&mut packet).unwrap();
        packet
    });
    let mut replayed = first.clone();
    call.comes(Side::A, TEAMS, &mut first);
    call.comes(Side::A, "52.114.3.3:3479", &mut next);
    assert_eq!(call.comes(Side::A, TEAMS, &mut late), forward_to(Side::B, CARRIER));
    let verdict = call.comes(Side::A, STRANGER, &mut replayed);
    assert_eq!(verdict, Verdict::Drop(DropReason::Replay));
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, "52.114.3.3:3479"));
}

#[test]
fn a_carrier_behind_nat_is_learned_once_and_then_stays() {
    let mut call = Call::unconnected();
    let carrier =
        Carriage { stream: carrier_stream(), terms: Terms::latching(LatchPolicy::Symmetric) };
    call.forward.connect(leg(&teams_stream()), Some(carrier.clone()));
    for n in 0..4 {
        let verdict = call.comes(Side::B, NAT, &mut rtp(8, n, 1));
        assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
        assert_eq!(call.teams_sends(&mut rtp(7, n, 1)), forward_to(Side::B, CARRIER));
    }
    assert_eq!(call.comes(Side::B, NAT, &mut rtp(8, 4, 1)), forward_to(Side::A, TEAMS));
    assert_eq!(call.teams_sends(&mut rtp(7, 9, 1)), forward_to(Side::B, NAT));
    for n in 0..100 {
        let verdict = call.comes(Side::B, STRANGER, &mut rtp(9, n, 1));
        assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
    }
    // A session refresh changes nothing; another address does.
    call.forward.connect(None, Some(carrier.clone()));
    assert_eq!(call.teams_sends(&mut rtp(7, 10, 1)), forward_to(Side::B, NAT));
    let mut moved = carrier;
    moved.stream.remote_rtp = Some(addr("192.0.2.77:9000"));
    call.forward.connect(None, Some(moved));
    assert_eq!(call.teams_sends(&mut rtp(7, 11, 1)), forward_to(Side::B, "192.0.2.77:9000"));
}

#[test]
fn one_injected_packet_does_not_silence_a_carrier_that_is_learned() {
    let mut call = Call::unconnected();
    let carrier =
        Carriage { stream: carrier_stream(), terms: Terms::latching(LatchPolicy::Symmetric) };
    call.forward.connect(leg(&teams_stream()), Some(carrier));
    let mut learned = false;
    for n in 0..12 {
        call.comes(Side::B, STRANGER, &mut rtp(n.into(), n * 100, 1));
        learned |= call.comes(Side::B, NAT, &mut rtp(8, n, 1)) == forward_to(Side::A, TEAMS);
    }
    assert!(learned);
    assert_eq!(call.teams_sends(&mut rtp(7, 1, 1)), forward_to(Side::B, NAT));
}
