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
        if let Verdict::Forward { side: Side::A, .. } = verdict {
            self.teams_hears.unprotect_rtcp(&mut slot).unwrap();
        }
        Some((verdict, slot.packet().to_vec()))
    }

    /// Waits for the next report of ours.
    fn next_generated(&mut self) -> (Verdict, Vec<u8>) {
        loop {
            self.ms += 1;
            if let Some(generated) = self.generated() {
                return generated;
            }
        }
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

/// TDR-SRTP-006
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

/// TDR-SRTP-005
#[test]
fn teams_gets_sender_reports_of_a_silent_carrier_that_are_right_in_every_field() {
    let mut call = silent_carrier();
    let heard_at = call.ms;
    let (verdict, packet) = call.next_generated();
    assert_eq!(verdict, muxed(TEAMS));
    let at = call.ms;
    assert!((heard_at..20 + 3080).contains(&at), "the first is early: {at}");
    let report = without_sdes(&packet, 8);
    assert_eq!(word(report, 0), 0x81c8_000c);
    let wall_ms = 1_750_000_000_000 + at;
    assert_eq!(word(report, 8), (wall_ms / 1000 + 2_208_988_800) as u32);
    let fraction = (wall_ms % 1000) as f64 / 1000.0 * 65_536.0 * 65_536.0;
    assert!((f64::from(word(report, 12)) - fraction).abs() < 10.0);
    let sent_at = heard_at - 20; // the carrier's last packet, timestamp 49 * 160
    assert_eq!(u64::from(word(report, 16)), 49 * 160 + (at - sent_at) * 8);
    assert_eq!((word(report, 20), word(report, 24)), (50, 50 * 160));
    // And what we heard of Teams: one of 50 lost.
    assert_eq!((word(report, 28), word(report, 32)), (7, 5 << 24 | 1));
    assert_eq!(word(report, 36), 49);
    assert_eq!(word(report, 44), NTP_MIDDLE);
    let since = (at - heard_at) as f64 / 1000.0 * 65_536.0;
    assert!((f64::from(word(report, 48)) - since).abs() < 2.0);
    assert_eq!(call.generated(), None);
}

/// TDR-SRTP-005
#[test]
fn our_reports_come_at_the_intervals_of_rfc_3550_and_no_two_calls_keep_step() {
    let mut call = silent_carrier();
    let mut at: Vec<u64> = Vec::new();
    for _ in 0..300 {
        call.next_generated();
        at.push(call.ms);
    }
    let steps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
    assert!((2052..2300).contains(least) && (5900..=6158).contains(most), "{least} {most}");
    let mean = steps.iter().sum::<u64>() / steps.len() as u64;
    assert!((3900..4300).contains(&mean), "{mean}");
}

/// TDR-SRTP-005
#[test]
fn in_hold_teams_gets_receiver_reports() {
    let mut call = silent_carrier();
    let (mut teams, mut carrier) = (teams_stream(), carrier_stream());
    (teams.direction, carrier.direction) = (Direction::Inactive, Direction::Inactive);
    call.connect(&teams, &carrier);
    for round in 0..10 {
        let (_, packet) = call.next_generated();
        // The second is still a sender report: RFC 3550, 6.4.
        let expected = if round < 2 { 0x81c8_000c } else { 0x81c9_0007 };
        assert_eq!(word(without_sdes(&packet, 8), 0), expected, "{round}");
    }
}

#[test]
fn a_carrier_that_reports_itself_is_not_spoken_for() {
    let mut call = silent_carrier();
    call.carrier_reports(&mut slot(&sender_report(8, &[])));
    for _ in 1..10 {
        let until = call.ms + 6000;
        while call.ms < until {
            call.ms += 10;
            if let Some((Verdict::Forward { side, .. }, _)) = call.generated() {
                assert_eq!(side, Side::B, "the carrier hears of us, as Teams says nothing more");
            }
        }
        assert_eq!(call.carrier_reports(&mut slot(&sender_report(8, &[]))), muxed(TEAMS));
    }
}

/// TDR-HLD-004.
#[test]
fn a_held_call_without_any_packet_is_reported_on_too() {
    let mut call = Call::new();
    assert_eq!(call.forward.next_due(), None);
    assert_eq!(call.generated(), None);
    let (verdict, packet) = call.next_generated();
    assert_eq!((verdict, word(&packet, 0)), (muxed(TEAMS), 0x80c9_0001));
    assert!((1026..=3079).contains(&call.ms), "{}", call.ms);
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
    let (_, packet) = call.next_generated();
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

/// Ports of the far sides for RTCP, by whether it is multiplexed.
fn with_mux(mut stream: sdp::Stream, mux: bool) -> sdp::Stream {
    let rtp = stream.remote_rtp.unwrap();
    stream.rtcp_mux = mux;
    stream.remote_rtcp = Some(if mux { rtp } else { (rtp.ip(), rtp.port() + 1).into() });
    stream
}

#[test]
fn mux_and_separate_ports_meet_in_all_four_ways_relayed_and_made() {
    for (mux_a, mux_b) in [(false, false), (false, true), (true, false), (true, true)] {
        for terminate in [false, true] {
            let mut call = Call::unconnected();
            let carriage = |stream| {
                let rtcp = if terminate { sdp::Rtcp::Terminate } else { sdp::Rtcp::Relay };
                let terms = sdp::Terms { rtcp, ..sdp::Terms::default() };
                Some(media::Carriage { stream, terms })
            };
            call.forward.connect(
                carriage(with_mux(teams_stream(), mux_a)),
                carriage(with_mux(carrier_stream(), mux_b)),
            );
            call.teams_sends(&mut rtp(7, 1, 1));
            call.carrier_sends(&mut rtp(8, 1, 1));
            let port =
                |mux, rtp, rtcp| if mux { (Component::Rtp, rtp) } else { (Component::Rtcp, rtcp) };
            let (component_a, from_a) = port(mux_a, TEAMS, "52.112.0.1:49153");
            let (component_b, from_b) = port(mux_b, CARRIER, CARRIER_RTCP);
            let to_a = Verdict::Forward { side: Side::A, component: component_a, to: addr(from_a) };
            let to_b = Verdict::Forward { side: Side::B, component: component_b, to: addr(from_b) };

            let mut report = slot(&sender_report(7, &[block(8, 1, 0)]));
            call.teams.protect_rtcp(&mut report).unwrap();
            let now = call.now();
            let verdict = call.forward.packet(now, Side::A, component_a, addr(from_a), &mut report);
            assert_eq!(verdict, if terminate { Verdict::Consumed } else { to_b });
            let mut report = slot(&sender_report(8, &[block(7, 1, 0)]));
            let verdict = call.forward.packet(now, Side::B, component_b, addr(from_b), &mut report);
            if terminate {
                assert_eq!(verdict, Verdict::Consumed);
            } else {
                assert_eq!(verdict, to_a);
                call.teams_hears.unprotect_rtcp(&mut report).unwrap();
            }
            let stats = call.forward.stats();
            assert_eq!((stats.a.rtcp_packets, stats.b.rtcp_packets), (1, 1));

            let mut seen = std::collections::HashSet::new();
            for _ in 0..6 {
                let (verdict, packet) = call.next_generated();
                let (ours, theirs) = if verdict == to_a { (8, 7) } else { (7, 8) };
                assert!(verdict == to_a || verdict == to_b);
                assert_eq!(word(without_sdes(&packet, ours), 4), ours);
                assert_eq!(word(&packet, if packet[1] == 200 { 28 } else { 8 }), theirs);
                seen.insert(verdict == to_a);
            }
            assert_eq!(seen.len(), 2, "both sides are told, as neither goes on");
        }
    }
}

/// A call whose RTCP ends with us.
fn terminated() -> Call {
    let mut call = Call::unconnected();
    let terms = sdp::Terms { rtcp: sdp::Rtcp::Terminate, ..sdp::Terms::default() };
    let carrier = media::Carriage { stream: carrier_stream(), terms };
    call.forward.connect(leg(&teams_stream()), Some(carrier));
    call
}

#[test]
fn terminated_reports_say_what_we_measured_ourselves_on_each_leg() {
    let mut call = terminated();
    for n in 0..100u16 {
        if n % 10 != 5 {
            call.teams_sends(&mut rtp(7, n, 1));
        }
        // The carrier's source starts anew in the middle, over the rollover before.
        let (ssrc, first) = if n < 50 { (8, 65_500) } else { (9, 100) };
        call.carrier_sends(&mut rtp(ssrc, n.wrapping_add(first), 1));
        call.ms -= 20;
    }
    let mut sdes_at_carrier = slot(&sender_report(9, &[]));
    call.comes_rtcp(Side::B, CARRIER_RTCP, &mut sdes_at_carrier);
    let mut seen = [false; 2];
    while seen != [true; 2] {
        let (verdict, packet) = call.next_generated();
        if verdict == muxed(TEAMS) {
            // Of 95 of Teams' 99 we know that ten never came; what we send there is the carrier's second.
            let report = without_sdes(&packet, 9);
            assert_eq!((word(report, 20), word(report, 28)), (50, 7));
            assert_eq!(word(report, 32) & 0xff_ffff, 10);
            assert_eq!(word(report, 36), 99);
            seen[0] = true;
        } else {
            assert_eq!(verdict, separate(CARRIER_RTCP));
            let report = without_sdes(&packet, 7);
            assert_eq!((word(report, 20), word(report, 24)), (90, 90 * 160));
            assert_eq!(
                (word(report, 28), word(report, 32)),
                (9, 0),
                "no loss since it started anew"
            );
            assert_eq!(word(report, 36), 199);
            assert_eq!(word(report, 44), NTP_MIDDLE, "it is told when its own report came");
            seen[1] = true;
        }
    }
}

#[test]
fn a_round_trip_is_measured_by_what_answers_our_reports_or_those_passed_on() {
    let mut call = terminated();
    for n in 0..100 {
        call.carrier_sends(&mut rtp(8, n, 1));
        call.teams_sends(&mut rtp(7, n, 1));
    }
    assert_eq!(call.forward.stats().a.round_trip, None);
    let lsr = loop {
        let (verdict, packet) = call.next_generated();
        if verdict == muxed(TEAMS) {
            break word(&packet, 8) << 16 | word(&packet, 12) >> 16;
        }
    };
    // Teams answers after 500 ms, 80 of which it was on the way.
    call.ms += 480;
    let mut answer = [8, 0x0000_0003, 99, 160, lsr, (0.420 * 65_536.0) as u32];
    call.teams_reports(&mut slot(&receiver_report(7, &[answer])));
    let stats = call.forward.stats().a;
    let ms = |time: Option<std::time::Duration>| time.unwrap().as_secs_f64() * 1000.0;
    assert!((ms(stats.round_trip) - 80.0).abs() < 0.1, "{:?}", stats.round_trip);
    let told = stats.told.unwrap();
    assert_eq!((told.lost_packets, told.jitter_ms), (3, 20.0));
    let mos = told.mos.unwrap();
    assert!((2.5..3.0).contains(&mos), "three of a hundred are lost there: {mos}");
    // An answer to nothing of ours says nothing.
    answer[4] = 0x1234_5678;
    call.teams_reports(&mut slot(&receiver_report(7, &[answer])));
    assert_eq!(call.forward.stats().a.round_trip, stats.round_trip);

    // Relayed: the carrier's own report is what Teams answers.
    let mut call = Call::new();
    call.carrier_sends(&mut rtp(8, 1, 1));
    call.teams_sends(&mut rtp(7, 1, 1));
    call.carrier_reports(&mut slot(&sender_report(8, &[])));
    call.ms += 130;
    let answer = [8, 0, 1, 0, NTP_MIDDLE, (0.1 * 65_536.0) as u32];
    call.teams_reports(&mut slot(&receiver_report(7, &[answer])));
    assert!((ms(call.forward.stats().a.round_trip) - 50.0).abs() < 0.1);
}

#[test]
fn voip_metrics_pass_in_the_names_of_the_other_leg_and_end_where_rtcp_ends() {
    let metrics = |ssrc: u32| {
        let mut xr = vec![7, 0x0401_0002, 0x1111_2222, 0x3333_4444, 0x0700_0008, ssrc];
        xr.extend([0x0102_0304; 7]);
        words(0x80cf_0000, &xr)
    };
    let mut call = Call::new();
    call.teams_sends(&mut rtp(7, 1, 1));
    call.carrier_sends(&mut rtp(8, 1, 1));
    let mut compound = receiver_report(7, &[]);
    compound.extend(metrics(8));
    let mut packet = slot(&compound);
    assert_eq!(call.teams_reports(&mut packet), separate(CARRIER_RTCP));
    let passed = without_sdes(packet.packet(), 7);
    let mut expected = receiver_report(7, &[]);
    let mut xr = vec![7, 0x0700_0008, 8];
    xr.extend([0x0102_0304; 7]);
    expected.extend(words(0x80cf_0000, &xr));
    assert_eq!(passed, expected, "the block that tells of a clock stays");

    // Lengths that lie take nothing along, whatever they are.
    for lie in 0..=64 {
        let mut lying = compound.clone();
        lying[8 + 12 + 8 + 3] = lie;
        call.teams_reports(&mut slot(&lying));
    }
    let mut call = terminated();
    call.teams_sends(&mut rtp(7, 1, 1));
    assert_eq!(call.teams_reports(&mut slot(&compound)), Verdict::Consumed);
}

#[test]
fn at_the_end_each_side_that_had_reports_is_told_good_bye() {
    let mut call = silent_carrier();
    call.next_generated();
    let mut packet = PacketBuf::new();
    let now = call.now();
    assert_eq!(call.forward.farewell(now, Side::A, &mut packet), Some(muxed(TEAMS)));
    call.teams_hears.unprotect_rtcp(&mut packet).unwrap();
    let bye = packet.len() - 8;
    assert_eq!(packet.packet()[bye..], words(0x81cb_0000, &[8]));
    // The carrier has had none, and sends none: it is left alone.
    assert_eq!(call.forward.farewell(now, Side::B, &mut packet), None);
    // Nor is anything said by whom has said nothing before (RFC 3550, 6.3.7).
    let mut call = Call::new();
    assert_eq!(call.forward.farewell(call.now(), Side::A, &mut packet), None);
}
