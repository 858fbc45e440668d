//! A fax: datagrams cross as they came, from whom they should, and no pause of it is a fault.

use crate::wire::*;
use media::{Carriage, DropReason, LatchPolicy, Notice, Order, PacketBuf, Side, Terms, Verdict};
use sdp::{Protocol, Rtcp, Stream};
use std::time::Duration;

const PBX: &str = "192.0.2.20:5000";
const PBX_FAX: &str = "192.0.2.20:5002";

fn fax_at(remote: &str) -> Stream {
    Stream {
        remote_rtcp: None,
        payloads: Vec::new(),
        protocol: Protocol::Udptl,
        ..stream(remote, None)
    }
}

fn with(stream: &Stream, terms: Terms) -> Option<Carriage> {
    Some(Carriage { stream: stream.clone(), terms })
}

/// What a terminal says: one packet of the fax, and the one before it again.
fn datagram(number: u16) -> PacketBuf {
    let mut octets = number.to_be_bytes().to_vec();
    octets.extend([4, 0xc0, 1, 0x80, number as u8, 0, 1, 4, 0xc0, 1, 0x80, number as u8]);
    slot(&octets)
}

/// A PBX on leg A and a carrier on leg B, answered, that have spoken.
fn spoken(terms: &Terms) -> Call {
    let mut call = Call::unconnected();
    call.forward.connect(
        with(&stream(PBX, None), terms.clone()),
        with(&stream(CARRIER, None), terms.clone()),
    );
    call.forward.order(call.now(), Side::A, &Order::Watch);
    for n in 1..5 {
        assert_eq!(call.comes(Side::A, PBX, &mut rtp(7, n, 1)), forward_to(Side::B, CARRIER));
        assert_eq!(call.comes(Side::B, CARRIER, &mut rtp(8, n, 1)), forward_to(Side::A, PBX));
    }
    call
}

fn faxes(call: &mut Call, terms: &Terms) {
    call.forward
        .connect(with(&fax_at(PBX_FAX), terms.clone()), with(&fax_at(CARRIER), terms.clone()));
}

#[test]
fn datagrams_cross_unchanged_whatever_their_number_looks_like_and_speech_comes_back() {
    let terms = Terms::default();
    let mut call = spoken(&terms);
    faxes(&mut call, &terms);
    let before = call.forward.stats();
    // 0x0001 begins a STUN binding, 0x1600 a DTLS record, 0x8008 a packet of PCMA, 0x80c8 a report.
    for number in [0, 1, 0x1600, 0x7fff, 0x8008, 0x80c8, 0xffff, 0] {
        let mut there = datagram(number);
        let as_sent = there.packet().to_vec();
        assert_eq!(call.comes(Side::A, PBX_FAX, &mut there), forward_to(Side::B, CARRIER));
        assert_eq!(there.packet(), as_sent, "{number:#06x}");
        let mut back = datagram(number);
        assert_eq!(call.comes(Side::B, CARRIER, &mut back), forward_to(Side::A, PBX_FAX));
    }
    let after = call.forward.stats();
    assert_eq!(after.a.received_packets - before.a.received_packets, 8);
    assert_eq!(after.b.sent_octets - before.b.sent_octets, 8 * 14);
    assert_eq!(after.b.received_octets - before.b.received_octets, 8 * 14);
    assert_eq!(after.a.expected_packets, before.a.expected_packets, "none of it is counted as RTP");

    call.forward
        .connect(with(&stream(PBX, None), terms.clone()), with(&stream(CARRIER, None), terms));
    assert_eq!(call.comes(Side::A, PBX, &mut rtp(7, 5, 1)), forward_to(Side::B, CARRIER));
    assert_eq!(call.comes(Side::B, CARRIER, &mut rtp(8, 5, 1)), forward_to(Side::A, PBX));
    let late = call.comes(Side::A, PBX_FAX, &mut datagram(9));
    assert_eq!(late, Verdict::Drop(DropReason::Malformed), "and is no RTP");
}

#[test]
fn speech_towards_a_side_that_stays_in_the_fax_goes_nowhere() {
    let terms = Terms::default();
    let mut call = spoken(&terms);
    faxes(&mut call, &terms);
    // Another takes leg B's place and speaks; leg A has refused to.
    call.forward.connect(None, with(&stream(CARRIER, None), terms));
    assert_eq!(call.comes(Side::B, CARRIER, &mut rtp(9, 5, 1)), Verdict::Consumed);
}

#[test]
fn speech_that_is_late_and_datagrams_of_strangers_go_nowhere() {
    let terms = Terms::default();
    let mut call = spoken(&terms);
    faxes(&mut call, &terms);
    let speech = call.comes(Side::B, CARRIER, &mut rtp(8, 0x4005, 1));
    assert_eq!(speech, Verdict::Drop(DropReason::Malformed));
    let report = call.comes_rtcp(Side::B, CARRIER, &mut slot(&[0x80, 201, 0, 1, 0, 0, 0, 8]));
    assert_eq!(report, Verdict::Drop(DropReason::NoFlow));
    for n in 0..50 {
        let stranger = call.comes(Side::A, STRANGER, &mut datagram(n));
        assert_eq!(stranger, Verdict::Drop(DropReason::Unlatched));
    }
    assert_eq!(call.comes(Side::B, CARRIER, &mut datagram(1)), forward_to(Side::A, PBX_FAX));
    assert_eq!(
        call.comes(Side::A, PBX_FAX, &mut slot(&[0; 1520])),
        Verdict::Drop(DropReason::TooBig)
    );
}

#[test]
fn a_pbx_behind_nat_is_learned_by_the_numbers_of_its_datagrams() {
    const NAT: &str = "198.51.100.4:61000";
    let terms = Terms::latching(LatchPolicy::Symmetric);
    let mut call = Call::unconnected();
    call.forward
        .connect(with(&fax_at("10.0.0.9:5002"), terms.clone()), with(&fax_at(CARRIER), terms));
    // Hosts that nobody has named wait for a second.
    call.comes(Side::A, NAT, &mut datagram(0));
    call.ms += 1500;
    let learned = (1..20)
        .find(|n| matches!(call.comes(Side::A, NAT, &mut datagram(*n)), Verdict::Forward { .. }));
    assert!(learned.is_some_and(|n| n <= 8), "{learned:?}");
    assert_eq!(call.comes(Side::B, CARRIER, &mut datagram(0)), forward_to(Side::A, NAT));
    let stranger = call.comes(Side::A, STRANGER, &mut datagram(21));
    assert_eq!(stranger, Verdict::Drop(DropReason::Unlatched));
}

#[test]
fn a_fax_is_silent_for_no_pause_and_dead_after_a_minute_at_the_earliest() {
    for (timeout, dies_after) in [(Some(20), Some(60_000)), (Some(90), Some(90_000)), (None, None)]
    {
        let terms = Terms { media_timeout: timeout.map(Duration::from_secs), ..Terms::default() };
        let mut call = spoken(&terms);
        call.noticed();
        faxes(&mut call, &terms);
        call.noticed();
        // One side sends a page, the other listens.
        for n in 0..600 {
            call.comes(Side::A, PBX_FAX, &mut datagram(n));
            assert_eq!(call.noticed(), [], "after {} ms", call.ms);
        }
        let last = call.ms;
        let told = call.told_until(last + 100_000);
        let died: Vec<u64> = told
            .iter()
            .map(|(at, _, notice)| {
                assert_eq!(*notice, Notice::Dead);
                at - last
            })
            .collect();
        assert_eq!(died.first().copied(), dies_after, "{told:?}");
    }
}

#[test]
fn a_silence_before_the_fax_ends_with_it_and_speech_is_watched_again_after_it() {
    let terms = Terms::default();
    let mut call = spoken(&terms);
    let last = call.ms;
    assert_eq!(call.told_until(last + 4000).len(), 2, "neither side speaks");
    faxes(&mut call, &terms);
    let heard = call.noticed();
    assert!(heard.iter().all(|(_, notice)| matches!(notice, Notice::Heard(_))), "{heard:?}");
    assert_eq!(heard.len(), 2);
    let fax_ends = call.ms + 30_000;
    assert_eq!(call.told_until(fax_ends), []);
    call.forward
        .connect(with(&stream(PBX, None), terms.clone()), with(&stream(CARRIER, None), terms));
    call.noticed();
    assert_eq!(call.told_until(fax_ends + 3000).len(), 2);
}

#[test]
fn no_report_of_ours_goes_between_the_datagrams_of_a_fax() {
    let terms = Terms { rtcp: Rtcp::Terminate, ..Terms::default() };
    let mut call = spoken(&terms);
    faxes(&mut call, &terms);
    let mut ours = PacketBuf::new();
    for n in 0..1500 {
        call.comes(Side::A, PBX_FAX, &mut datagram(n));
        assert_eq!(call.forward.generate(call.now(), &mut ours), None);
        while call.forward.poll_notice().is_some() {}
    }
    assert_eq!(call.forward.farewell(call.now(), Side::A, &mut ours), None);
}
