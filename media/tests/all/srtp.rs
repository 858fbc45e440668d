//! One key: forged, replayed, late and missed packets.

use crate::wire::{Dice, key, mark_of, rtp, slot, word};
use media::srtp::{MAX_SOURCES, Receiver, Sender};
use media::{DropReason, PacketBuf};
use sdp::{SrtpKey, Suite};

fn pair() -> (Sender, Receiver) {
    (Sender::new(&key(1), 0xaaaa_0000), Receiver::new(&[key(1)]))
}

fn protected(sender: &mut Sender, sequence: u16, mark: u32) -> PacketBuf {
    let mut packet = rtp(7, sequence, mark);
    sender.protect(&mut packet).unwrap();
    packet
}

/// What the receiver says of a copy of the packet.
fn reads(receiver: &mut Receiver, packet: &PacketBuf) -> Result<u32, DropReason> {
    let mut packet = packet.clone();
    receiver.unprotect(&mut packet).map(|_| mark_of(&packet))
}

fn rtcp(ssrc: u32) -> PacketBuf {
    let mut packet = vec![0x80, 201, 0, 3];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xab; 8]);
    slot(&packet)
}

/// TDR-SRTP-004
#[test]
fn forged_packet_moves_nothing() {
    let (mut sender, mut receiver) = pair();
    let first = protected(&mut sender, 1000, 1);
    let late = protected(&mut sender, 1001, 2);
    let next = protected(&mut sender, 1002, 3);
    assert_eq!(reads(&mut receiver, &first), Ok(1));

    let mut dice = Dice(3);
    for _ in 0..2000 {
        let mut forged = next.clone();
        // Any bit but those of version and header lengths, which would make it no RTP at all.
        let bit = 8 + dice.below(8 * forged.len() as u64 - 8) as usize;
        forged.packet_mut()[bit / 8] ^= 1 << (bit % 8);
        let before = forged.packet().to_vec();
        let mut slot = forged.clone();
        let refused = receiver.unprotect(&mut slot).unwrap_err();
        assert!(matches!(refused, DropReason::BadTag | DropReason::Replay), "bit {bit}");
        assert_eq!(slot.packet(), before);
    }
    assert_eq!(reads(&mut receiver, &first), Err(DropReason::Replay));
    assert_eq!(reads(&mut receiver, &next), Ok(3));
    assert_eq!(reads(&mut receiver, &late), Ok(2));
}

#[test]
fn forged_sources_take_no_room() {
    let (mut sender, mut receiver) = pair();
    for ssrc in 0..10 * MAX_SOURCES as u32 {
        let mut forged = rtp(ssrc, 1, 1);
        assert_eq!(receiver.unprotect(&mut forged).unwrap_err(), DropReason::BadTag);
    }
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 1, 5)), Ok(5));
}

#[test]
fn a_packet_cut_anywhere_is_refused() {
    let (mut sender, mut receiver) = pair();
    let whole = protected(&mut sender, 1, 5);
    let mut report = rtcp(7);
    sender.protect_rtcp(&mut report).unwrap();
    for end in 0..whole.len() {
        assert!(receiver.unprotect(&mut slot(&whole.packet()[..end])).is_err());
    }
    for end in 0..report.len() {
        assert!(receiver.unprotect_rtcp(&mut slot(&report.packet()[..end])).is_err());
    }
    assert_eq!(reads(&mut receiver, &whole), Ok(5));
    assert!(receiver.unprotect_rtcp(&mut report).is_ok());
}

/// TDR-SRTP-004
#[test]
fn replayed_packet_is_dropped() {
    let (mut sender, mut receiver) = pair();
    let packets: Vec<_> = (0..300).map(|n| protected(&mut sender, n, n.into())).collect();
    for packet in &packets {
        assert!(reads(&mut receiver, packet).is_ok());
        assert_eq!(reads(&mut receiver, packet), Err(DropReason::Replay));
    }
    for packet in &packets {
        assert_eq!(reads(&mut receiver, packet), Err(DropReason::Replay));
    }
}

#[test]
fn replayed_rtcp_is_dropped() {
    let (mut sender, mut receiver) = pair();
    let packets: Vec<_> = (0..200)
        .map(|_| {
            let mut packet = rtcp(7);
            sender.protect_rtcp(&mut packet).unwrap();
            packet
        })
        .collect();
    let mut read = |packet: &PacketBuf| {
        let mut packet = packet.clone();
        receiver.unprotect_rtcp(&mut packet).map(|_| packet.packet().to_vec())
    };
    for packet in &packets {
        assert_eq!(read(packet).as_deref(), Ok(rtcp(7).packet()));
        assert_eq!(read(packet), Err(DropReason::Replay));
    }
    assert_eq!(read(&packets[0]), Err(DropReason::Replay));
}

#[test]
fn forged_rtcp_moves_nothing() {
    let (mut sender, mut receiver) = pair();
    let mut report = rtcp(7);
    sender.protect_rtcp(&mut report).unwrap();
    for bit in 0..8 * report.len() {
        let mut forged = report.clone();
        forged.packet_mut()[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(receiver.unprotect_rtcp(&mut forged).unwrap_err(), DropReason::BadTag);
    }
    assert!(receiver.unprotect_rtcp(&mut report).is_ok());
}

#[test]
fn late_packet_after_the_wrap_is_read_under_the_old_roc() {
    let (mut sender, mut receiver) = pair();
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 30_000, 0)), Ok(0));
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 60_000, 0)), Ok(0));
    let late = protected(&mut sender, 65_535, 1);
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 0, 2)), Ok(2));
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 1, 3)), Ok(3));
    assert_eq!(reads(&mut receiver, &late), Ok(1));
    assert_eq!(reads(&mut receiver, &late), Err(DropReason::Replay));
    // And one that we send late after it.
    let mut late = protected(&mut sender, 65_534, 4);
    receiver.unprotect(&mut late).unwrap();
    assert_eq!(mark_of(&late), 4);
}

#[test]
fn four_rollovers_are_followed() {
    let (mut sender, mut receiver) = pair();
    for n in 0..4 * 65_536u32 + 100 {
        let packet = protected(&mut sender, n as u16, n);
        // Loss now and then.
        if n % 7 != 3 {
            assert_eq!(reads(&mut receiver, &packet), Ok(n));
        }
    }
}

#[test]
fn an_outage_of_more_than_half_a_round_is_overcome() {
    let (mut sender, mut receiver) = pair();
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 100, 0)), Ok(0));
    for n in 101..50_000 {
        protected(&mut sender, n, 0); // lost
    }
    let mut lost_too = 0;
    // The index nearest to 100 lies before 0; from the next round on, near to it.
    for n in 50_000..75_000u32 {
        match reads(&mut receiver, &protected(&mut sender, n as u16, n)) {
            Ok(mark) => assert_eq!(mark, n),
            Err(_) => lost_too += 1,
        }
    }
    assert!(lost_too < 20, "{lost_too}");
}

#[test]
fn a_source_first_heard_after_a_rollover_is_found() {
    let (mut sender, mut receiver) = pair();
    for sequence in [30_000, 60_000, 20_000, 50_000, 1] {
        protected(&mut sender, sequence, 0); // lost; the last is at ROC 2
    }
    let read = (2..20).find(|&n| reads(&mut receiver, &protected(&mut sender, n, 9)) == Ok(9));
    assert_eq!(read, Some(2));
    // A flood of forged packets does not make each of them cost a search.
    for sequence in [30_000, 60_000, 20_000] {
        protected(&mut sender, sequence, 0);
    }
    let lost = (20_001..20_040)
        .take_while(|&n| reads(&mut receiver, &protected(&mut sender, n, 9)) != Ok(9))
        .count();
    assert_eq!(lost, 15);
}

#[test]
fn a_receiver_that_misses_the_start_near_the_wrap_still_reads() {
    let (mut sender, mut receiver) = pair();
    for sequence in 65_500..=65_535 {
        protected(&mut sender, sequence, 0); // the far side does not know our key yet
    }
    assert_eq!(reads(&mut receiver, &protected(&mut sender, 0, 9)), Ok(9));
}

#[test]
fn a_source_that_made_room_for_others_is_not_replayed_and_goes_on() {
    let (mut sender, mut receiver) = pair();
    let of = |sender: &mut Sender, ssrc: u32, sequence: u16| {
        let mut packet = rtp(ssrc, sequence, ssrc);
        sender.protect(&mut packet).unwrap();
        packet
    };
    // One of its packets is lost on the way, and is late by a whole change of speakers.
    let early: Vec<_> = (1..=5).map(|n| of(&mut sender, 7, n)).collect();
    let late = of(&mut sender, 7, 6);
    let last = of(&mut sender, 7, 7);
    for packet in early.iter().chain([&last]) {
        assert!(reads(&mut receiver, packet).is_ok());
    }
    for ssrc in 100..106 {
        assert!(reads(&mut receiver, &of(&mut sender, ssrc, 1)).is_ok());
    }
    for packet in early.iter().chain([&late, &last]) {
        assert_eq!(reads(&mut receiver, packet), Err(DropReason::Replay));
    }
    let next = of(&mut sender, 7, 9);
    assert!(reads(&mut receiver, &next).is_ok());
    assert_eq!(reads(&mut receiver, &next), Err(DropReason::Replay));
    assert!(reads(&mut receiver, &of(&mut sender, 7, 10)).is_ok());
}

#[test]
fn the_last_source_that_there_is_a_place_for_is_read_and_the_next_refused() {
    let mut receiver = Receiver::new(&[key(1)]);
    let mut sender = Sender::new(&key(1), 0xaaaa_0000);
    for n in 0..=MAX_SOURCES as u32 {
        let mut packet = rtp(1000 + n, 5, n);
        sender.protect(&mut packet).unwrap();
        let read = receiver.unprotect(&mut packet).is_ok();
        assert_eq!(read, n < MAX_SOURCES as u32);
    }
    let mut packet = rtp(1000 + MAX_SOURCES as u32 - 1, 6, 0);
    sender.protect(&mut packet).unwrap();
    assert!(receiver.unprotect(&mut packet).is_ok());
}

/// A source has one place for what it has sent of RTP and of RTCP, and either is heard again by itself.
#[test]
fn reports_of_many_sources_are_read_once_beside_their_speech() {
    let mut receiver = Receiver::new(&[key(1)]);
    let mut sender = Sender::new(&key(1), 0xaaaa_0000);
    let mut all = Vec::new();
    for n in 0..MAX_SOURCES as u32 {
        let mut speech = rtp(1000 + n, 5, n);
        sender.protect(&mut speech).unwrap();
        let mut report = rtcp(word(speech.packet(), 8));
        sender.protect_rtcp(&mut report).unwrap();
        assert_eq!(reads(&mut receiver, &speech), Ok(n));
        assert!(receiver.unprotect_rtcp(&mut report.clone()).is_ok(), "{n}");
        all.push((speech, report));
    }
    let ours: Vec<u32> = all.iter().map(|(speech, _)| word(speech.packet(), 8)).collect();
    for (n, (speech, report)) in all.into_iter().enumerate() {
        assert_eq!(reads(&mut receiver, &speech), Err(DropReason::Replay), "{n}");
        let again = receiver.unprotect_rtcp(&mut report.clone());
        assert_eq!(again.unwrap_err(), DropReason::Replay, "{n}");
        let mut report = rtcp(ours[n]);
        sender.protect_rtcp(&mut report).unwrap();
        assert!(receiver.unprotect_rtcp(&mut report.clone()).is_ok(), "{n}");
        let mut speech = rtp(1000 + n as u32, 6, 6);
        if sender.ssrc_of(1000 + n as u32) == Some(ours[n]) {
            sender.protect(&mut speech).unwrap();
            assert_eq!(reads(&mut receiver, &speech), Ok(6), "{n}");
        }
    }
    // Nobody else finds room, whatever it sends.
    let mut stranger = rtcp(1);
    sender.protect_rtcp(&mut stranger).unwrap();
    assert_eq!(receiver.unprotect_rtcp(&mut stranger).unwrap_err(), DropReason::Replay);
    let mut stranger = rtp(1, 5, 5);
    sender.protect(&mut stranger).unwrap();
    assert_eq!(reads(&mut receiver, &stranger), Err(DropReason::Replay));
}

/// TDR-SDP-003
#[test]
fn two_crypto_lines_with_mki() {
    // TDR-SDP-003: the first line declares an MKI, the second none; which one is used, packets tell.
    let lines = [key(1).with_mki(1, 1), key(2)];
    let used = [key(1).with_mki(1, 1), key(1), key(2)];
    for (n, chosen) in used.iter().enumerate() {
        let mut receiver = Receiver::new(&lines);
        let mut sender = Sender::new(chosen, 1);
        assert_eq!(reads(&mut receiver, &protected(&mut sender, 1, 1)), Ok(1), "{n}");
        // Having believed one, it believes no other.
        for other in used.iter().filter(|other| *other != chosen) {
            let mut sender = Sender::new(other, 1);
            let refused = reads(&mut receiver, &protected(&mut sender, 2, 2));
            assert_eq!(refused, Err(DropReason::BadTag), "{n}");
        }
        assert_eq!(reads(&mut receiver, &protected(&mut sender, 2, 3)), Ok(3), "{n}");
        let mut report = rtcp(7);
        sender.protect_rtcp(&mut report).unwrap();
        assert!(receiver.unprotect_rtcp(&mut report).is_ok(), "{n}");
    }
}

#[test]
fn a_report_that_comes_first_settles_the_key_too() {
    let mut receiver = Receiver::new(&[key(1), key(2)]);
    let mut report = rtcp(7);
    Sender::new(&key(2), 1).protect_rtcp(&mut report).unwrap();
    assert!(receiver.unprotect_rtcp(&mut report).is_ok());
    let refused = reads(&mut receiver, &protected(&mut Sender::new(&key(1), 1), 1, 1));
    assert_eq!(refused, Err(DropReason::BadTag));
}

#[test]
fn srtcp_has_80_bits_of_tag_even_with_the_32_bit_suite() {
    let short = SrtpKey::from_octets(Suite::AesCm128HmacSha1_32, key(1).key_salt()).unwrap();
    let mut sender = Sender::new(&short, 1);
    let (mut media, mut report) = (rtp(7, 1, 1), rtcp(7));
    sender.protect(&mut media).unwrap();
    sender.protect_rtcp(&mut report).unwrap();
    assert_eq!(media.len(), 172 + 4);
    assert_eq!(report.len(), 16 + 4 + 10);
}

#[test]
fn a_packet_without_payload_or_without_room_is_no_trouble() {
    let (mut sender, mut receiver) = pair();
    let mut empty = slot(&rtp(7, 1, 1).packet()[..12]);
    sender.protect(&mut empty).unwrap();
    assert_eq!(empty.len(), 22);
    assert!(receiver.unprotect(&mut empty).is_ok());
    assert_eq!(empty.len(), 12);

    let mut full = rtp(7, 2, 2);
    full.set_len(usize::MAX);
    assert_eq!(sender.protect(&mut full), Err(DropReason::TooBig));
}
