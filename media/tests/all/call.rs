//! A call between an SRTP and a plain leg: what goes where, and what is counted.

use crate::wire::*;
use media::{Component, DropReason, Forward, PacketBuf, Side, Verdict};
use sdp::{Payload, SrtpKey};

/// TDR-MED-007: each packet goes on as it comes.
#[test]
fn media_flows_both_ways() {
    let mut call = Call::new();
    for n in 0..50u16 {
        let mut packet = rtp(7, n, n.into());
        assert_eq!(call.teams_sends(&mut packet), forward_to(Side::B, CARRIER));
        assert_eq!(packet.packet(), rtp(7, n, n.into()).packet());

        let mut packet = rtp(8, 500 + n, n.into());
        assert_eq!(call.carrier_sends(&mut packet), forward_to(Side::A, TEAMS));
        assert_eq!(packet.packet(), rtp(8, 500 + n, n.into()).packet());
    }
    let stats = call.forward.stats();
    assert_eq!((stats.a.received_packets, stats.a.sent_packets), (50, 50));
    assert_eq!((stats.a.received_octets, stats.b.received_octets), (50 * 182, 50 * 172));
    assert_eq!((stats.a.lost_packets, stats.b.lost_packets), (0, 0));
    assert_eq!(stats.a.drops, [0; DropReason::ALL.len()]);
}

#[test]
fn two_plain_legs_pass_packets_as_they_are() {
    let mut call = Call::unconnected();
    call.connect(&stream(TEAMS, None), &carrier_stream());
    let mut packet = rtp(7, 65_000, 1);
    assert_eq!(call.comes(Side::A, TEAMS, &mut packet), forward_to(Side::B, CARRIER));
    assert_eq!(packet.packet(), rtp(7, 65_000, 1).packet());
}

#[test]
fn two_srtp_legs_share_no_key() {
    let mut call = Call::unconnected();
    call.connect(&teams_stream(), &stream(CARRIER, Some((key(3), vec![key(4)]))));
    let mut packet = rtp(7, 1, 1);
    assert_eq!(call.teams_sends(&mut packet), forward_to(Side::B, CARRIER));
    media::srtp::Receiver::new(&[key(3)]).unprotect(&mut packet).unwrap();
    assert_eq!(mark_of(&packet), 1);
}

#[test]
fn before_both_legs_have_agreed_nothing_flows() {
    let mut call = Call::unconnected();
    let dropped = Verdict::Drop(DropReason::NoFlow);
    assert_eq!(call.comes(Side::B, CARRIER, &mut rtp(8, 1, 1)), dropped);
    call.forward.connect(None, leg(&carrier_stream()));
    assert_eq!(call.comes(Side::B, CARRIER, &mut rtp(8, 2, 1)), dropped);
    call.forward.connect(leg(&teams_stream()), None);
    assert_eq!(call.carrier_sends(&mut rtp(8, 3, 1)), forward_to(Side::A, TEAMS));
    assert_eq!(call.forward.stats().b.drops[DropReason::NoFlow as usize], 2);
}

#[test]
fn drop_counters_stand_in_the_order_of_all() {
    for (at, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at);
    }
}

#[test]
fn what_is_no_media_is_dropped_and_counted() {
    let mut call = Call::new();
    let malformed = Verdict::Drop(DropReason::Malformed);
    let mut cut = rtp(8, 1, 1);
    cut.set_len(11);
    assert_eq!(call.comes(Side::B, CARRIER, &mut cut), malformed);
    assert_eq!(call.comes(Side::B, CARRIER, &mut slot(b"")), malformed);
    assert_eq!(call.comes(Side::B, CARRIER, &mut slot(b"INVITE sip:")), malformed);
    assert_eq!(call.comes_rtcp(Side::B, CARRIER, &mut rtp(8, 1, 1)), malformed);
    let mut huge = rtp(8, 1, 1);
    huge.set_len(media::packet::PACKET_MAX + 1);
    assert_eq!(call.comes(Side::B, CARRIER, &mut huge), Verdict::Drop(DropReason::TooBig));
    let drops = call.forward.stats().b.drops;
    assert_eq!((drops[DropReason::Malformed as usize], drops[DropReason::TooBig as usize]), (4, 1));
}

#[test]
fn a_stun_check_is_not_forwarded() {
    let mut call = Call::new();
    let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    binding.extend([7; 12]);
    assert_eq!(call.comes(Side::A, STRANGER, &mut slot(&binding)), Verdict::Consumed);
}

#[test]
fn the_largest_packet_still_has_room_for_its_tag() {
    let mut call = Call::new();
    let mut packet = rtp(8, 1, 1);
    packet.set_len(media::packet::PACKET_MAX);
    assert_eq!(call.carrier_sends(&mut packet), forward_to(Side::A, TEAMS));
}

#[test]
fn payload_type_is_mapped_both_ways() {
    let mut teams = teams_stream();
    teams.payloads = vec![payload(8, "PCMA"), payload(101, "telephone-event")];
    let mut carrier = carrier_stream();
    carrier.payloads =
        vec![payload(8, "PCMA"), payload(96, "telephone-event"), payload(101, "iLBC")];
    let mut call = Call::unconnected();
    call.connect(&teams, &carrier);

    let mut event = rtp_of(0x80 | 101, 7, 1, 0, 0);
    assert_eq!(call.teams_sends(&mut event), forward_to(Side::B, CARRIER));
    assert_eq!(event.packet()[1], 0x80 | 96, "the marker stays");
    let mut event = rtp_of(96, 8, 1, 0, 0);
    assert_eq!(call.carrier_sends(&mut event), forward_to(Side::A, TEAMS));
    assert_eq!(event.packet()[1], 101);
    // To Teams, 101 would be a telephone event.
    let verdict = call.carrier_sends(&mut rtp_of(101, 8, 2, 0, 0));
    assert_eq!(verdict, Verdict::Drop(DropReason::Malformed));
}

#[test]
fn another_codec_with_the_same_number_is_not_passed_off() {
    let mut teams = teams_stream();
    teams.payloads.push(Payload { clock_hz: 16_000, ..payload(104, "SILK") });
    let mut carrier = carrier_stream();
    carrier.payloads.push(payload(104, "SILK"));
    let mut call = Call::unconnected();
    call.connect(&teams, &carrier);
    let verdict = call.teams_sends(&mut rtp_of(104, 7, 1, 0, 0));
    assert_eq!(verdict, Verdict::Drop(DropReason::Malformed));
}

#[test]
fn loss_and_jitter_are_those_of_the_leg_they_happened_on() {
    let mut call = Call::new();
    for n in 0..400u16 {
        if n % 10 == 5 {
            call.ms += 20;
            continue; // lost before us
        }
        call.carrier_sends(&mut rtp(8, n, 0));
        call.forward.packet(
            now(call.ms + u64::from(n % 2) * 4),
            Side::A,
            Component::Rtp,
            addr(TEAMS),
            &mut protected_by_teams(&mut call.teams, n),
        );
    }
    let stats = call.forward.stats();
    assert_eq!((stats.b.lost_packets, stats.a.lost_packets), (40, 40));
    assert!(stats.b.jitter_ms < 0.01);
    assert!((3.0..5.0).contains(&stats.a.jitter_ms), "{}", stats.a.jitter_ms);
}

fn protected_by_teams(teams: &mut media::srtp::Sender, n: u16) -> PacketBuf {
    let mut packet = rtp(7, n, 0);
    teams.protect(&mut packet).unwrap();
    packet
}

#[test]
fn telephone_events_do_not_count_as_jitter() {
    let mut call = Call::new();
    for n in 0..100u16 {
        // One long event: its timestamp stands still (RFC 4733, 2.5.1.2).
        let (pt, timestamp) =
            if (20..80).contains(&n) { (101, 3200) } else { (8, u32::from(n) * 160) };
        call.carrier_sends(&mut rtp_of(pt, 8, n, timestamp, 0));
    }
    assert!(call.forward.stats().b.jitter_ms < 0.01);
}

#[test]
fn a_restarted_source_is_heard_on_without_reusing_an_index() {
    let mut call = Call::new();
    for n in 0..1000u16 {
        call.carrier_sends(&mut rtp(8, n, n.into()));
    }
    let mut heard = 0;
    for n in 0..100u16 {
        let mut packet = rtp(8, n, 5000 + u32::from(n));
        if call.carrier_sends(&mut packet) == forward_to(Side::A, TEAMS) {
            assert_ne!(ssrc_of(&packet), 8);
            assert_eq!(mark_of(&packet), 5000 + u32::from(n));
            heard += 1;
        }
    }
    assert_eq!(heard, 97);
    assert_eq!(call.forward.stats().b.drops[DropReason::Replay as usize], 3);
}

/// TDR-SRTP-003
#[test]
fn no_key_shows_in_debug_output() {
    let mut call = Call::new();
    call.carrier_sends(&mut rtp(8, 1, 1));
    let shown = format!("{:?}", call.forward);
    let mut shown = shown.replace(char::is_whitespace, "");
    shown.retain(|c| c.is_ascii_alphanumeric() || c == ',');
    for key in [ours(), theirs()] {
        let octets: Vec<_> = SrtpKey::key_salt(&key)[..4].iter().map(u8::to_string).collect();
        assert!(!shown.contains(&octets.join(",")));
    }
}

#[test]
fn a_new_call_costs_no_more_than_a_few_kilobytes() {
    assert!(size_of::<Forward>() < 8192, "{}", size_of::<Forward>());
}
