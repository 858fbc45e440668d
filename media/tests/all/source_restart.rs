//! No two packets under one (key, SSRC, index), whatever a source does.

use crate::wire::{Dice, key, mark_of, rtp, sequence_of, ssrc_of};
use media::DropReason;
use media::srtp::{PacketIndex, Receiver, Sender};
use std::collections::HashMap;

/// Watches the wire behind a sender.
#[derive(Default)]
struct Recorder {
    highest: HashMap<u32, PacketIndex>,
    sent: HashMap<(u32, PacketIndex), Vec<u8>>,
}

impl Recorder {
    /// Notes a protected packet under the index any receiver would give it.
    fn note(&mut self, ssrc: u32, sequence: u16, octets: &[u8]) {
        let highest = self.highest.entry(ssrc).or_insert(PacketIndex::new(0, sequence));
        let index = highest.nearest(sequence).expect("before index 0");
        *highest = (*highest).max(index);
        let before = self.sent.insert((ssrc, index), octets.to_vec());
        assert_eq!(before, None, "SSRC {ssrc:x} index {index:?} went out twice");
    }

    fn ssrcs(&self) -> usize {
        self.highest.len()
    }
}

struct Wire {
    sender: Sender,
    recorder: Recorder,
    mark: u32,
}

impl Wire {
    fn new() -> Self {
        Self { sender: Sender::new(&key(1), 0xcafe_0000), recorder: Recorder::default(), mark: 0 }
    }

    /// Sends a packet of its own content; returns what went out, if anything.
    fn sends(&mut self, ssrc: u32, sequence: u16) -> Option<u32> {
        self.mark += 1;
        let mut packet = rtp(ssrc, sequence, self.mark);
        match self.sender.protect(&mut packet) {
            Ok(()) => {
                let out = ssrc_of(&packet);
                self.recorder.note(out, sequence_of(&packet), packet.packet());
                Some(out)
            }
            Err(reason) => {
                assert_eq!(reason, DropReason::Replay);
                None
            }
        }
    }
}

#[test]
fn source_restart_never_reuses_an_index() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut wire = Wire::new();
        let mut sources = [(10u32, 0u16), (11, 32_767), (12, 65_500)];
        for _ in 0..20_000 {
            let (ssrc, sequence) = &mut sources[dice.below(3) as usize];
            *sequence = match dice.below(1000) {
                0 => dice.next() as u16,                                // restarts anywhere
                1 => sequence.wrapping_sub(1 + dice.below(200) as u16), // jumps back
                2 => sequence.wrapping_add(dice.below(40_000) as u16),  // jumps ahead
                3..50 => sequence.wrapping_sub(dice.below(20) as u16),  // reorders
                50..80 => *sequence,                                    // repeats
                _ => sequence.wrapping_add(1),
            };
            if dice.below(3000) == 0 {
                *ssrc = dice.below(60) as u32; // another source, perhaps one that was there
            }
            let (ssrc, sequence) = (*ssrc, *sequence);
            wire.sends(ssrc, sequence);
        }
        assert!(wire.recorder.ssrcs() > 10);
    }
}

#[test]
fn a_source_that_is_in_order_keeps_its_ssrc_and_sequence() {
    let mut wire = Wire::new();
    for n in 0..200_000u32 {
        assert_eq!(wire.sends(77, n as u16), Some(77));
    }
}

#[test]
fn late_packets_go_out_and_repeated_ones_do_not() {
    let mut wire = Wire::new();
    for sequence in [65_530, 65_532, 65_535, 1] {
        assert_eq!(wire.sends(7, sequence), Some(7));
    }
    for late in [65_531, 65_534, 0, 65_529] {
        assert_eq!(wire.sends(7, late), Some(7));
        assert_eq!(wire.sends(7, late), None);
    }
}

#[test]
fn a_source_that_starts_anew_is_heard_again_under_another_ssrc() {
    for back_to in [0, 900, 990, 997, 20_000] {
        let mut wire = Wire::new();
        for sequence in 0..1000 {
            wire.sends(7, sequence);
        }
        let heard: Vec<_> = (0..20).map(|n| wire.sends(7, back_to + n)).collect();
        let lost = heard.iter().filter(|out| out.is_none()).count();
        assert!(lost <= 3, "{back_to}: {heard:?}");
        let last = heard[19].unwrap();
        assert_eq!(last == 7, back_to >= 997, "{back_to}: {heard:?}");
    }
}

#[test]
fn repeats_in_pairs_are_not_a_restart() {
    let mut wire = Wire::new();
    for sequence in 0..1000 {
        assert_eq!(wire.sends(7, sequence), Some(7));
        assert_eq!(wire.sends(7, sequence), None);
    }
    assert_eq!(wire.recorder.ssrcs(), 1);
}

#[test]
fn a_source_that_happens_to_have_an_ssrc_of_ours_shares_no_index_with_it() {
    // `Wire` counts its own SSRCs up from this.
    let ours = 0xcafe_0000;
    for order in [[7, ours], [ours, 7]] {
        let mut wire = Wire::new();
        for ssrc in order {
            for _start in 0..3 {
                for sequence in 0..200 {
                    wire.sends(ssrc, sequence);
                }
            }
        }
        assert_eq!(wire.recorder.ssrcs(), 6);
    }
}

#[test]
fn sources_beyond_those_that_are_remembered_get_ssrcs_of_ours() {
    let mut wire = Wire::new();
    for round in 0..3 {
        for ssrc in 0..100 {
            let sent = wire.sends(ssrc, 5).unwrap();
            assert_eq!(sent == ssrc, round == 0 && ssrc < 32);
        }
    }
    assert_eq!(wire.recorder.ssrcs(), 300);
}

#[test]
fn a_far_side_reads_everything_over_restarts() {
    let mut sender = Sender::new(&key(1), 0xcafe_0000);
    let mut receiver = Receiver::new(&[key(1)]);
    let mut dice = Dice(9);
    let (mut sequence, mut refused) = (0u16, 0);
    for mark in 0..40_000 {
        sequence = if mark % 1000 == 999 { dice.next() as u16 } else { sequence.wrapping_add(1) };
        let mut packet = rtp(7, sequence, mark);
        if sender.protect(&mut packet).is_err() {
            refused += 1;
            continue;
        }
        receiver.unprotect(&mut packet).unwrap();
        assert_eq!(mark_of(&packet), mark);
    }
    assert!(refused <= 40 * 3, "{refused}");
}

#[test]
fn every_rtcp_packet_has_its_own_index() {
    let mut sender = Sender::new(&key(1), 1);
    let mut seen = std::collections::HashSet::new();
    for n in 0..1000u32 {
        let mut packet = crate::wire::slot(&[0x80, 201, 0, 1, 0, 0, 0, (n % 3) as u8]);
        sender.protect_rtcp(&mut packet).unwrap();
        let index = crate::wire::word(packet.packet(), packet.len() - 14);
        assert_eq!(index >> 31, 1, "encrypted");
        assert!(seen.insert(index));
    }
}
