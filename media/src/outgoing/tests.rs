//! What the far side hears, as examples and as laws.

use super::*;
use crate::DropReason;
use crate::srtp::{Receiver, Sender};
use crate::testing::{ms, zero};
use proptest::prelude::*;
use sdp::{SrtpKey, Suite};
use std::collections::{BTreeMap, HashMap};

fn carry(out: &mut Outgoing, now: Instant, slot: &mut PacketBuf, clocked: bool) -> bool {
    let mut header = Header::read(slot.packet()).unwrap();
    let carried = out.carry(now, &mut header, slot, clocked);
    assert_eq!(Header::read(slot.packet()).filter(|_| carried), Some(header).filter(|_| carried));
    carried
}

fn carried(sequence: u16, timestamp: u32) -> PacketBuf {
    let mut slot = PacketBuf::new();
    slot.set_len(FIXED_HEADER + 160);
    slot.packet_mut()[..2].copy_from_slice(&[0x80, 8]);
    slot.packet_mut()[4..8].copy_from_slice(&timestamp.to_be_bytes());
    rtp::set_source(slot.packet_mut(), sequence, 7);
    slot
}

fn read(slot: &PacketBuf) -> (u16, u32, u32, bool) {
    let header = Header::read(slot.packet()).unwrap();
    (header.sequence, header.timestamp, header.ssrc, slot.packet()[1] & 0x80 != 0)
}

fn key(timestamp: u32) -> Ours<'static> {
    Ours { payload_type: 101, marker: false, timestamp, clocked: false, payload: &[1, 0, 0, 0] }
}

fn ours_key() -> Ours<'static> {
    key(0)
}

#[test]
fn what_is_only_carried_goes_out_as_it_came() {
    let mut out = Outgoing::new(9);
    for (n, sequence) in [65_534, 65_535, 0, 2, 1, 3, 40_000].into_iter().enumerate() {
        let mut slot = carried(sequence, n as u32 * 160);
        let before = slot.packet().to_vec();
        assert!(carry(&mut out, zero(), &mut slot, true));
        assert_eq!(slot.packet(), before);
    }
    assert_eq!(out.shift(7), 0);
}

#[test]
fn packets_of_ours_come_in_between_and_no_number_twice() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let mut slot = carried(65_534, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(out.clock(t + ms(20), 8000), 160);
    let mut numbers = vec![read(&slot).0];
    for _ in 0..3 {
        out.write(t + ms(20), &mut slot, &key(160));
        numbers.push(read(&slot).0);
        assert_eq!(read(&slot).2, 7, "one source");
    }
    let mut late = carried(65_533, 0);
    assert!(carry(&mut out, t + ms(30), &mut late, true));
    assert_eq!(read(&late).0, 65_533, "it belongs before ours");
    for sequence in [65_535, 0, 1] {
        slot = carried(sequence, 0);
        assert!(carry(&mut out, t + ms(40), &mut slot, true));
        numbers.push(read(&slot).0);
        assert_eq!(read(&slot).3, sequence == 65_535, "the first after ours is marked");
    }
    assert_eq!(numbers, [65_534, 65_535, 0, 1, 2, 3, 4]);
    assert_eq!(out.shift(7), 3);
}

#[test]
fn what_stays_behind_is_not_missed() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let mut slot = carried(10, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    for sequence in 11..14 {
        out.withhold(&Header::read(carried(sequence, 0).packet()).unwrap());
    }
    out.write(t, &mut slot, &key(0));
    assert_eq!(read(&slot).0, 11);
    slot = carried(14, 480);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot), (12, 480, 7, true));
}

#[test]
fn before_anything_is_carried_ours_are_a_stream_of_their_own() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let mut slot = PacketBuf::new();
    let tone = |n: u32| Ours {
        payload_type: 8,
        marker: n == 0,
        timestamp: 160 * n,
        clocked: true,
        payload: &[0xd5; 160],
    };
    out.write(t, &mut slot, &tone(0));
    let first = read(&slot);
    out.write(t + ms(20), &mut slot, &tone(1));
    let second = read(&slot);
    assert_eq!((first.2, second.2, second.0), (9, 9, first.0.wrapping_add(1)));
    assert_eq!(out.clock(t + ms(40), 8000), 320);
    slot = carried(500, 1_000_000);
    assert!(carry(&mut out, t + ms(40), &mut slot, true));
    assert_eq!(read(&slot), (500, 1_000_000, 7, false), "another source, as itself");
}

#[test]
fn what_comes_late_into_a_gap_that_we_have_filled_stays_behind() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let mut slot = carried(10, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    out.withhold(&Header::read(carried(12, 0).packet()).unwrap());
    slot = carried(13, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot).0, 11);
    slot = carried(11, 0);
    assert!(!carry(&mut out, t, &mut slot, true), "its number has gone to 13");
    slot = carried(9, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot).0, 9);
}

#[test]
fn after_hours_of_ours_the_source_goes_on_where_ours_ended() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let mut slot = carried(10, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    let mut last = 10;
    for sequence in 11..=70_000_u32 {
        out.withhold(&Header::read(carried(sequence as u16, 0).packet()).unwrap());
        out.write(t, &mut slot, &key(0));
        assert_eq!(read(&slot).0, u16::wrapping_add(last, 1));
        last = read(&slot).0;
    }
    slot = carried(70_001_u32 as u16, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot).0, last.wrapping_add(1));
    slot = carried(69_990_u32 as u16, 0);
    assert!(!carry(&mut out, t, &mut slot, true), "it was to stay behind");
}

#[test]
fn two_sources_in_turns_each_go_on_after_their_last_number() {
    let (mut out, t) = (Outgoing::new(9), zero());
    let other = |sequence| {
        let mut slot = carried(sequence, 0);
        rtp::set_source(slot.packet_mut(), sequence, 8);
        slot
    };
    let mut slot = carried(10, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    out.write(t, &mut slot, &key(0));
    assert_eq!(read(&slot).0, 11);
    slot = other(500);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot), (500, 0, 8, false));
    slot = carried(11, 0);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!(read(&slot).0, 12, "11 was ours");
    slot = other(501);
    assert!(carry(&mut out, t, &mut slot, true));
    assert_eq!((read(&slot).0, out.shift(7), out.shift(8)), (501, 1, 0));
}

/// What the network does to a packet of the source, and what we do meanwhile.
#[derive(Clone, Copy, Debug)]
struct Turn {
    lost: bool,
    /// By how many packets it is overtaken.
    late: u8,
    twice: bool,
    /// Packets of ours before it.
    ours: u8,
    /// While ours are played it stays behind.
    behind: bool,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let often = |odds: u32| prop::bool::weighted(1.0 / f64::from(odds));
    let late = prop_oneof![6 => Just(0_u8), 1 => 1..8_u8];
    let ours = prop_oneof![5 => Just(0_u8), 1 => 1..5_u8];
    let turn = (often(9), late, often(15), ours, often(4))
        .prop_map(|(lost, late, twice, ours, behind)| Turn { lost, late, twice, ours, behind });
    prop::collection::vec(turn, 1..400)
}

/// In the order of arrival: which packet of the source (by its place), and the turn it comes in.
fn arrivals(turns: &[Turn]) -> Vec<(usize, Turn)> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (at, turn) in turns.iter().enumerate().filter(|(_, turn)| !turn.lost) {
        order.push((2 * (at + usize::from(turn.late)), at));
        if turn.twice {
            order.push((2 * (at + usize::from(turn.late)) + 5, at));
        }
    }
    order.sort();
    order.into_iter().zip(turns.iter().cycle()).map(|((_, at), turn)| (at, *turn)).collect()
}

proptest! {
    #[test]
    fn no_number_goes_out_twice_and_none_runs_backwards(
        first in any::<u16>(),
        turns in turns(),
    ) {
        let mut out = Outgoing::new(9);
        let key = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &[3; 30]).unwrap();
        let (mut sender, mut receiver) = (Sender::new(&key, 77), Receiver::new(&[key]));
        // By number: the packet of the source, or one of ours.
        let mut sent: HashMap<u16, Option<usize>> = HashMap::new();
        let mut places: BTreeMap<usize, i64> = BTreeMap::new();
        let (mut highest, mut ours) = (None::<i64>, 0_usize);
        let mut newest = None::<usize>;
        let t = zero();
        for (at, turn) in arrivals(&turns) {
            if newest.is_some() {
                for _ in 0..turn.ours {
                    let mut slot = PacketBuf::new();
                    ours += 1;
                    out.write(t, &mut slot, &ours_key());
                    let number = read(&slot).0;
                    prop_assert!(sent.insert(number, None).is_none(), "{number} twice");
                    let place = highest.map_or(i64::from(number), |highest| highest + 1);
                    prop_assert_eq!(number, place as u16, "ours is the next");
                    highest = Some(place);
                    prop_assert_eq!(sender.protect(&mut slot), Ok(()));
                    prop_assert!(receiver.unprotect(&mut slot).is_ok());
                }
            }
            let mut slot = carried(first.wrapping_add(at as u16), at as u32 * 160);
            if turn.behind && newest.is_some() {
                out.withhold(&Header::read(slot.packet()).unwrap());
                newest = newest.max(Some(at));
                continue;
            }
            let is_newest = newest.is_none_or(|newest| at > newest);
            if !carry(&mut out, t, &mut slot, true) {
                prop_assert!(!is_newest, "only what is late may stay behind");
                continue;
            }
            let number = read(&slot).0;
            let known = *sent.entry(number).or_insert(Some(at));
            prop_assert_eq!(known, Some(at), "{} twice", number);
            // Numbers as the far side counts them on: near to the highest so far.
            let place = highest.map_or(i64::from(number), |highest| {
                highest + i64::from(number.wrapping_sub(highest as u16) as i16)
            });
            if is_newest {
                let skipped = newest.map_or(0, |newest| at - newest - 1) as i64;
                let step = highest.map(|highest| place - highest);
                prop_assert!(step.is_none_or(|step| step >= 1 && step <= 1 + skipped), "{step:?}");
            }
            let before = places.range(..at).next_back().map(|(_, place)| *place);
            let after = places.range(at + 1..).next().map(|(_, place)| *place);
            prop_assert!(before.is_none_or(|before| before < place), "it overtakes an older one");
            prop_assert!(after.is_none_or(|after| place < after), "it falls behind a newer one");
            let repeated = places.insert(at, place).is_some();
            highest = highest.max(Some(place));
            newest = newest.max(Some(at));
            let is_first = sent.len() == 1 && !repeated;
            match sender.protect(&mut slot) {
                Ok(()) => prop_assert!(receiver.unprotect(&mut slot).is_ok()),
                // What comes before the first has no index; what comes twice goes once.
                Err(why) => prop_assert!(
                    why == DropReason::Replay && !is_first && (repeated || !is_newest)
                ),
            }
        }
        prop_assert_eq!(ours, sent.values().filter(|of| of.is_none()).count());
    }
}
