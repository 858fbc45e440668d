//! RTCP over the border, and reports of our own.

use crate::wire::*;
use media::srtp::{Receiver, Sender};
use media::{Component, DropReason, PacketBuf, Side, Verdict};
use sdp::Direction;

const CARRIER_RTCP: &str = "192.0.2.10:4001";
const NTP: (u32, u32) = (0xe5d2_1111, 0x2222_3333);
const NTP_MIDDLE: u32 = 0x1111_2222;

fn words(first: u32, rest: &[u32]) -> Vec<u8> {
    let header = first | rest.len() as u32;
    [header].iter().chain(rest).flat_map(|word| word.to_be_bytes()).collect()
}

/// A report block; `lsr` and a DLSR of 7.
fn block(ssrc: u32, highest: u32, lsr: u32) -> [u32; 6] {
    [ssrc, 0x0500_0009, highest, 33, lsr, 7]
}

fn sender_report(ssrc: u32, blocks: &[[u32; 6]]) -> Vec<u8> {
    let mut rest = vec![ssrc, NTP.0, NTP.1, 160, 10, 1600];
    rest.extend(blocks.iter().flatten());
    words(0x80c8_0000 | (blocks.len() as u32) << 24, &rest)
}

fn receiver_report(ssrc: u32, blocks: &[[u32; 6]]) -> Vec<u8> {
    let mut rest = vec![ssrc];
    rest.extend(blocks.iter().flatten());
    words(0x80c9_0000 | (blocks.len() as u32) << 24, &rest)
}

fn muxed(to: &str) -> Verdict {
    Verdict::Forward { side: Side::A, component: Component::Rtp, to: addr(to) }
}

fn separate(to: &str) -> Verdict {
    Verdict::Forward { side: Side::B, component: Component::Rtcp, to: addr(to) }
}

impl Call {
    /// Teams sends SRTCP, multiplexed.
    fn teams_reports(&mut self, packet: &mut PacketBuf) -> Verdict {
        self.teams.protect_rtcp(packet).unwrap();
        self.comes(Side::A, TEAMS, packet)
    }

    /// The carrier sends RTCP on its own port; the slot then holds what Teams reads.
    fn carrier_reports(&mut self, packet: &mut PacketBuf) -> Verdict {
        let verdict = self.comes_rtcp(Side::B, CARRIER_RTCP, packet);
        if let Verdict::Forward { .. } = verdict {
            self.teams_hears.unprotect_rtcp(packet).unwrap();
        }
        verdict
    }

    /// What is generated now, as the Teams side reads it.
    fn generated(&mut self) -> Option<(Verdict, Vec<u8>)> {
        let now = self.now();
        let mut slot = PacketBuf::new();
        let verdict = self.forward.generate(now, &mut slot)?;
        self.teams_hears.unprotect_rtcp(&mut slot).unwrap();
        Some((verdict, slot.packet().to_vec()))
    }
}

/// The compound ends with an SDES of ours for `ssrc`.
fn without_sdes(packet: &[u8], ssrc: u32) -> &[u8] {
    let (reports, sdes) = packet.split_at(packet.len() - 28);
    assert_eq!(word(sdes, 0), 0x81ca_0006);
    assert_eq!(word(sdes, 4), ssrc);
    assert_eq!(sdes[8..10], [1, 16]);
    assert!(sdes[10..26].iter().all(u8::is_ascii_hexdigit));
    assert_eq!(sdes[26..], [0, 0]);
    reports
}

#[test]
fn rtcp_mux_to_separate_port_and_back() {
    let mut call = Call::new();
    call.teams_sends(&mut rtp(7, 1, 1));
    call.carrier_sends(&mut rtp(8, 1, 1));

    let report = sender_report(7, &[block(8, 1, 0)]);
    let mut packet = slot(&report);
    assert_eq!(call.teams_reports(&mut packet), separate(CARRIER_RTCP));
    assert_eq!(without_sdes(packet.packet(), 7), report);

    let report = sender_report(8, &[block(7, 1, 0)]);
    let mut packet = slot(&report);
    assert_eq!(call.carrier_reports(&mut packet), muxed(TEAMS));
    assert_eq!(without_sdes(packet.packet(), 8), report);
    let stats = call.forward.stats();
    assert_eq!((stats.a.rtcp_packets, stats.b.rtcp_packets), (1, 1));
    assert_eq!((stats.a.received_packets, stats.b.received_packets), (1, 1));
}

#[test]
fn reports_on_the_rtp_port_without_mux_agreed_do_not_take_the_speech_along() {
    // baresip declines rtcp-mux, and sends its reports to our RTP port from its RTCP port all the same.
    const REPORTS: &str = "52.114.1.1:3479";
    let mut call = Call::unconnected();
    let mut apart = teams_stream();
    apart.rtcp_mux = false;
    apart.remote_rtcp = Some(addr(REPORTS));
    call.connect(&apart, &carrier_stream());
    call.teams_sends(&mut rtp(7, 1, 1));
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, TEAMS));
    let mut report = slot(&sender_report(7, &[]));
    call.teams.protect_rtcp(&mut report).unwrap();
    assert_eq!(call.comes(Side::A, REPORTS, &mut report), separate(CARRIER_RTCP));
    assert_eq!(call.carrier_sends(&mut rtp(8, 2, 1)), forward_to(Side::A, TEAMS));
}

#[test]
fn rtcp_goes_on_in_hold() {
    let mut call = Call::new();
    let (mut teams, mut carrier) = (teams_stream(), carrier_stream());
    (teams.direction, carrier.direction) = (Direction::Inactive, Direction::Inactive);
    call.connect(&teams, &carrier);
    assert_eq!(call.teams_reports(&mut slot(&receiver_report(7, &[]))), separate(CARRIER_RTCP));
}

#[test]
fn bye_app_feedback_and_names_do_not_cross() {
    let mut call = Call::new();
    call.teams_sends(&mut rtp(7, 1, 1));
    let mut compound = sender_report(7, &[]);
    compound.extend(words(0x81ca_0000, &[7, 0x0109_6d65, 0x4031_302e, 0x302e_312e, 0x3100_0000]));
    compound.extend(words(0x81cc_0000, &[7, 0x4d53_4654]));
    compound.extend(words(0x81ce_0000, &[7, 8]));
    compound.extend(words(0x81cb_0000, &[7]));
    let mut packet = slot(&compound);
    assert_eq!(call.teams_reports(&mut packet), separate(CARRIER_RTCP));
    assert_eq!(without_sdes(packet.packet(), 7), sender_report(7, &[]));

    let mut bye = slot(&words(0x81cb_0000, &[7]));
    assert_eq!(call.teams_reports(&mut bye), Verdict::Consumed);
}

#[test]
fn extensions_and_padding_of_a_report_do_not_cross() {
    let mut call = Call::new();
    let mut padded = words(0xa0c9_0000, &[7, 0xaaaa_aaaa, 4]);
    let mut packet = slot(&padded);
    assert_eq!(call.teams_reports(&mut packet), separate(CARRIER_RTCP));
    assert_eq!(without_sdes(packet.packet(), 7), receiver_report(7, &[]));
    padded.truncate(10);
    let verdict = call.teams_reports(&mut slot(&padded));
    assert_eq!(verdict, Verdict::Drop(DropReason::Malformed));
}

#[test]
fn a_compound_with_lengths_that_lie_is_dropped() {
    let mut call = Call::new();
    let malformed = Verdict::Drop(DropReason::Malformed);
    let mut too_long = sender_report(8, &[]);
    too_long[3] = 60;
    assert_eq!(call.carrier_reports(&mut slot(&too_long)), malformed);
    let mut too_many_blocks = receiver_report(8, &[block(7, 1, 0)]);
    too_many_blocks[0] = 0x82;
    assert_eq!(call.carrier_reports(&mut slot(&too_many_blocks)), malformed);
    let mut short = sender_report(8, &[]);
    (short[1], short[3]) = (200, 1);
    assert_eq!(call.carrier_reports(&mut slot(&short[..8])), malformed);
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let mut random = sender_report(8, &[block(7, 1, 0), block(9, 1, 0)]);
        for _ in 0..1 + dice.below(4) {
            let at = 2 + dice.below(random.len() as u64 - 2) as usize;
            random[at] = dice.next() as u8;
        }
        random.truncate(dice.below(random.len() as u64 + 1) as usize);
        call.comes_rtcp(Side::B, CARRIER_RTCP, &mut slot(&random));
    }
}

#[test]
fn rtcp_of_a_stranger_is_dropped() {
    let mut call = Call::new();
    let report = sender_report(8, &[]);
    for from in [STRANGER, CARRIER] {
        let verdict = call.comes_rtcp(Side::B, from, &mut slot(&report));
        assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched), "{from}");
    }
    let verdict = call.comes(Side::B, STRANGER, &mut slot(&report));
    assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
    let verdict = call.comes(Side::A, STRANGER, &mut slot(&report));
    assert_eq!(verdict, Verdict::Drop(DropReason::BadTag));
}

#[test]
fn reports_follow_a_source_whose_ssrc_had_to_change() {
    let mut call = Call::new();
    for n in 0..1000u16 {
        call.carrier_sends(&mut rtp(8, n, 1));
    }
    let mut ours = rtp(8, 0, 1);
    for n in 0..10 {
        ours = rtp(8, n, 1);
        call.carrier_sends(&mut ours);
    }
    let ours = ssrc_of(&ours);
    assert_ne!(ours, 8);
    // The carrier's own reports name the SSRC that Teams knows.
    let mut packet = slot(&sender_report(8, &[]));
    call.carrier_reports(&mut packet);
    assert_eq!(without_sdes(packet.packet(), ours), sender_report(ours, &[]));
    // Teams' reports name the one the carrier knows; what was sent as 8 before is no more.
    let blocks = [block(ours, 9, 0), block(8, 999, 0), block(0x1234, 1, 0)];
    let mut packet = slot(&receiver_report(7, &blocks));
    call.teams_reports(&mut packet);
    assert_eq!(without_sdes(packet.packet(), 7), receiver_report(7, &[block(8, 9, 0)]));
}

#[test]
fn reports_follow_a_sequence_that_was_moved() {
    let mut call = Call::new();
    let mut packet = rtp(8, 65_530, 1);
    call.carrier_sends(&mut packet);
    assert_eq!((ssrc_of(&packet), sequence_of(&packet)), (8, 65_530 - 32_768));
    let mut packet = slot(&receiver_report(7, &[block(8, 65_530 - 32_768, 0)]));
    call.teams_reports(&mut packet);
    assert_eq!(without_sdes(packet.packet(), 7), receiver_report(7, &[block(8, 65_530, 0)]));
}

/// A call in which Teams hears the carrier and has sent a report itself, at 1000 ms.
fn silent_carrier() -> Call {
    let mut call = Call::new();
    for n in 0..50u16 {
        if n != 20 {
            call.teams_sends(&mut rtp(7, n, 1)); // and one is lost
        }
        call.carrier_sends(&mut rtp(8, n, 1));
    }
    call.teams_reports(&mut slot(&sender_report(7, &[])));
    call
}

#[test]
fn teams_gets_a_sender_report_every_five_seconds_from_a_silent_carrier() {
    // TDR-SRTP-005.
    let mut call = silent_carrier();
    let heard_at = call.ms;
    let due = call.forward.next_due().unwrap();
    assert_eq!(due, now(5020).mono, "five seconds after the first packet");
    call.ms = 5019;
    assert_eq!(call.generated(), None);
    call.ms = 5020;
    let (verdict, packet) = call.generated().unwrap();
    assert_eq!(verdict, muxed(TEAMS));
    let report = without_sdes(&packet, 8);
    assert_eq!(word(report, 0), 0x81c8_000c);
    assert_eq!(word(report, 8), (1_750_000_005u64 + 2_208_988_800) as u32);
    assert_eq!(word(report, 12), (0.020 * 65_536.0 * 65_536.0) as u32);
    let sent_at = heard_at - 20; // the carrier's last packet, timestamp 49 * 160
    assert_eq!(u64::from(word(report, 16)), 49 * 160 + (5020 - sent_at) * 8);
    assert_eq!((word(report, 20), word(report, 24)), (50, 50 * 160));
    // And what we heard of Teams: one of 50 lost.
    assert_eq!((word(report, 28), word(report, 32)), (7, 5 << 24 | 1));
    assert_eq!(word(report, 36), 49);
    assert_eq!(word(report, 44), NTP_MIDDLE);
    let since = (5020 - heard_at) as f64 / 1000.0 * 65_536.0;
    assert!((f64::from(word(report, 48)) - since).abs() < 2.0);
    assert_eq!(call.generated(), None);
    assert_eq!(call.forward.next_due(), Some(now(10_020).mono));
}

#[test]
fn in_hold_teams_gets_receiver_reports() {
    let mut call = silent_carrier();
    let (mut teams, mut carrier) = (teams_stream(), carrier_stream());
    (teams.direction, carrier.direction) = (Direction::Inactive, Direction::Inactive);
    call.connect(&teams, &carrier);
    call.ms = 5020;
    call.generated().unwrap();
    for round in 2..10 {
        call.ms = 5020 * round;
        let (_, packet) = call.generated().unwrap();
        assert_eq!(word(without_sdes(&packet, 8), 0), 0x81c9_0007, "{round}");
    }
}

#[test]
fn a_carrier_that_reports_itself_is_not_spoken_for() {
    let mut call = silent_carrier();
    for round in 1..10 {
        call.ms = 4000 * round;
        assert_eq!(call.generated(), None);
        assert_eq!(call.carrier_reports(&mut slot(&sender_report(8, &[]))), muxed(TEAMS));
    }
    assert_eq!(call.forward.next_due(), Some(now(41_000).mono));
}

#[test]
fn a_held_call_without_any_packet_is_reported_on_too() {
    let mut call = Call::new();
    assert_eq!(call.forward.next_due(), None);
    assert_eq!(call.generated(), None);
    call.ms = 5000;
    let (verdict, packet) = call.generated().unwrap();
    assert_eq!((verdict, word(&packet, 0)), (muxed(TEAMS), 0x80c9_0001));
}

#[test]
fn plain_legs_get_no_reports_of_ours() {
    let mut call = Call::unconnected();
    call.connect(&stream(TEAMS, None), &carrier_stream());
    call.comes(Side::A, TEAMS, &mut rtp(7, 1, 1));
    call.ms = 60_000;
    assert_eq!(call.forward.generate(call.now(), &mut PacketBuf::new()), None);
    assert_eq!(call.forward.next_due(), None);
}

#[test]
fn an_answer_to_our_report_is_not_passed_off_as_one_to_the_carrier() {
    let mut call = silent_carrier();
    call.ms = 5020;
    let (_, packet) = call.generated().unwrap();
    let lsr = word(&packet, 8) << 16 | word(&packet, 12) >> 16;
    let mut packet = slot(&receiver_report(7, &[block(8, 49, lsr)]));
    call.teams_reports(&mut packet);
    let expected = [8, 0x0500_0009, 49, 33, 0, 0];
    assert_eq!(without_sdes(packet.packet(), 7), receiver_report(7, &[expected]));
}

#[test]
fn a_missed_interval_is_not_made_up_for() {
    let mut call = silent_carrier();
    call.ms = 60_000;
    assert!(call.generated().is_some());
    assert_eq!(call.generated(), None);
}

#[test]
fn strangers_do_not_start_reports() {
    let mut call = Call::new();
    call.comes(Side::A, STRANGER, &mut rtp(7, 1, 1));
    call.comes(Side::B, STRANGER, &mut rtp(7, 1, 1));
    call.comes_rtcp(Side::B, STRANGER, &mut slot(&sender_report(8, &[])));
    assert_eq!(call.forward.next_due(), None);
}

#[test]
fn relayed_and_own_reports_share_one_run_of_indices() {
    let mut call = silent_carrier();
    let mut sender = Sender::new(&theirs(), 5);
    let mut receiver = Receiver::new(&[theirs()]);
    for round in 1..100u64 {
        call.ms = 3500 * round;
        // The receiver in `call` would refuse an index that came twice.
        if round % 3 == 0 {
            call.carrier_reports(&mut slot(&sender_report(8, &[])));
        }
        call.generated();
        let mut report = slot(&receiver_report(7, &[]));
        sender.protect_rtcp(&mut report).unwrap();
        receiver.unprotect_rtcp(&mut report).unwrap();
    }
}
