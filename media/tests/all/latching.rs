//! Who may take a stream: injected packets never move anything.

use crate::wire::*;
use media::{Carriage, Component, DropReason, LatchPolicy, PacketBuf, Side, Terms, Verdict};
use sdp::Cidr;

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

/// TDR-MED-005
#[test]
fn srtp_is_sent_to_the_signalled_address_until_an_authentic_packet_comes() {
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

/// TDR-MED-002, TDR-MED-005
#[test]
fn an_authentic_packet_from_outside_of_the_ranges_is_heard_and_moves_nothing() {
    let mut call = Call::unconnected();
    let block = Cidr { network: [52, 112, 0, 0].into(), length: 14 };
    let terms = Terms { learned_within: Some([block].into()), ..Terms::default() };
    call.forward.connect(
        Some(Carriage { stream: teams_stream(), terms }),
        Some(Carriage { stream: carrier_stream(), terms: Terms::default() }),
    );
    let elsewhere = "198.51.100.4:3478";
    for (number, from, to) in [
        (1, elsewhere, TEAMS),
        (2, "52.114.3.3:3479", "52.114.3.3:3479"),
        (3, elsewhere, "52.114.3.3:3479"),
        (4, TEAMS, TEAMS),
    ] {
        let mut packet = rtp(7, number, 1);
        call.teams.protect(&mut packet).unwrap();
        assert_eq!(call.comes(Side::A, from, &mut packet), forward_to(Side::B, CARRIER));
        assert_eq!(call.carrier_sends(&mut rtp(8, number, 1)), forward_to(Side::A, to));
    }
}

/// TDR-MED-005
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

/// What an attacker beside the call may send, whole and as it would be on the wire.
fn what_an_attacker_has(call: &mut Call, seen: &[PacketBuf]) -> Vec<(Component, PacketBuf)> {
    let mut all = Vec::new();
    for n in 0..20u16 {
        all.push((Component::Rtp, rtp(666, n, 1)));
        // With the SSRCs of those who speak.
        all.push((Component::Rtp, rtp(7, 1000 + n, 1)));
        all.push((Component::Rtp, rtp(8, 1000 + n, 1)));
        for component in [Component::Rtp, Component::Rtcp] {
            for ssrc in [7, 8, 666] {
                all.push((component, sender_report(ssrc)));
                all.push((component, bye(ssrc)));
            }
            // A binding request without credentials.
            let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
            all.push((component, slot(&stun)));
            all.push((component, slot(&[0x17; 60])));
            all.push((component, slot(&[])));
        }
    }
    let captured =
        seen.iter().flat_map(|it| [Component::Rtp, Component::Rtcp].map(|c| (c, it.clone())));
    all.extend(captured);
    call.ms += 1;
    all
}

fn sender_report(ssrc: u32) -> PacketBuf {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x11; 20]);
    packet.extend([0x81, 202, 0, 2]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 1, b'x', 0]);
    slot(&packet)
}

fn bye(ssrc: u32) -> PacketBuf {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 203, 0, 1]);
    packet.extend(ssrc.to_be_bytes());
    slot(&packet)
}

/// Talks both ways and sprays each port in between, from a stranger's address, our own ones and, at
/// the SRTP leg, the far side's: what is forwarded is what would be without all that.
fn is_left_alone(policy: LatchPolicy) {
    let run = |attacked: bool| {
        let mut call = Call::unconnected();
        let carrier = Carriage { stream: carrier_stream(), terms: Terms::latching(policy) };
        call.forward.connect(leg(&teams_stream()), Some(carrier));
        let (mut forwarded, mut seen) = (Vec::new(), Vec::new());
        for n in 0..60u16 {
            let mut to_carrier = rtp(7, n, u32::from(n));
            call.teams.protect(&mut to_carrier).unwrap();
            seen.push(to_carrier.clone());
            let mut to_teams = rtp(8, n, u32::from(n));
            seen.push(to_teams.clone());
            for (side, from, packet) in
                [(Side::A, TEAMS, &mut to_carrier), (Side::B, CARRIER, &mut to_teams)]
            {
                let verdict = call.comes(side, from, packet);
                assert!(matches!(verdict, Verdict::Forward { .. }), "{n} {side:?} {verdict:?}");
                forwarded.push((verdict, packet.packet().to_vec()));
                seen.push(packet.clone());
            }
            if attacked {
                let now = call.now();
                let mut sources = vec![(Side::A, STRANGER), (Side::B, STRANGER)];
                sources.extend([(Side::A, "198.18.0.1:20000"), (Side::B, "198.18.0.1:20002")]);
                // Authentication is all that counts there; plain RTP of the right address is the
                // far side's own.
                sources.push((Side::A, TEAMS));
                for (side, from) in sources {
                    for (component, mut packet) in what_an_attacker_has(&mut call, &seen) {
                        let verdict =
                            call.forward.packet(now, side, component, addr(from), &mut packet);
                        let ignored = matches!(verdict, Verdict::Drop(_) | Verdict::Consumed);
                        assert!(ignored, "{side:?} {component:?} {from} {verdict:?}");
                    }
                }
                call.ms -= 5;
            }
        }
        (forwarded, call.forward.stats())
    };
    let ((quiet, before), (noisy, after)) = (run(false), run(true));
    assert_eq!(quiet, noisy);
    let unlatched = |stats: &media::LegStats| stats.drops[DropReason::Unlatched as usize];
    assert!(unlatched(&after.b) > 1000);
    assert!(after.a.drops[DropReason::BadTag as usize] > 1000);
    assert!(after.a.drops[DropReason::Replay as usize] > 100);
    // Nothing but drops has changed.
    for (mut before, mut after) in [(before.a, after.a), (before.b, after.b)] {
        before.drops = Default::default();
        after.drops = Default::default();
        assert_eq!(before, after);
    }
}

#[test]
fn injected_replayed_and_reflected_packets_change_only_counters() {
    is_left_alone(LatchPolicy::Signalled);
}

#[test]
fn where_sources_are_learned_too_they_change_only_counters_once_somebody_is_heard() {
    is_left_alone(LatchPolicy::Symmetric);
}
