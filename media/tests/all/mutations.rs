//! Packets near those we know, by the thousand, to calls of every kind of leg: the laws must hold.
//!
//! `TOLLGATE_MUTATIONS=1000000 TOLLGATE_SEED=7 cargo test --release -p media mutations` looks further;
//! what it finds goes into `fuzz/corpus`, which is replayed here.

use crate::laws::{self, KINDS};
use crate::wire::Dice;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn no_refused_packet_changes_more_than_a_counter() {
    let (cases, refused) = campaign(40, 0x5a17, |dice| laws::packets(&call(dice)));
    assert!(refused > 3 * cases, "only {refused} packets in {cases} calls: no bite");
}

#[test]
fn no_mutated_handshake_breaks_a_law() {
    campaign(100, 0xd715, |dice| {
        let mut octets = vec![dice.next() as u8];
        for _ in 0..1 + dice.below(6) {
            let datagram = raw(dice);
            octets.extend((datagram.len() as u16).to_be_bytes());
            octets.extend(datagram);
        }
        laws::handshake(&octets);
        1
    });
}

#[test]
fn no_mutated_packet_leaves_a_trace_in_a_receiver() {
    campaign(3000, 0x53c7, |dice| {
        let mut octets = vec![dice.next() as u8];
        octets.extend(raw(dice));
        laws::unprotect(&octets);
        1
    });
}

#[test]
fn what_fuzzing_found_keeps_the_laws() {
    let mut replayed = 0;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in ["packets", "handshake", "unprotect"] {
        for file in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let octets = std::fs::read(file.unwrap().path()).unwrap();
            laws::packets(&octets);
            laws::handshake(&octets);
            laws::unprotect(&octets);
            replayed += 1;
        }
    }
    assert!(replayed >= 6, "the committed corpus is gone");
}

/// Plays that many cases, or as many as are asked for, and adds up what each gives.
fn campaign(cases: usize, seed: u64, play: fn(&mut Dice) -> usize) -> (usize, usize) {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = asked("TOLLGATE_MUTATIONS").map_or(cases, |cases| cases as usize);
    let mut dice = Dice(asked("TOLLGATE_SEED").unwrap_or(seed));
    let mut sum = 0;
    for case in 0..cases {
        let seed = dice.next();
        match catch_unwind(|| play(&mut Dice(seed))) {
            Ok(given) => sum += given,
            Err(_) => panic!("case {case} breaks a law: Dice({seed}) plays it"),
        }
    }
    (cases, sum)
}

/// A call of any two kinds of legs, with packets of all kinds.
fn call(dice: &mut Dice) -> Vec<u8> {
    let mut octets = vec![dice.below(KINDS.into()) as u8, dice.below(KINDS.into()) as u8];
    for _ in 0..8 + dice.below(24) {
        let packet = raw(dice);
        octets.extend([dice.next() as u8, dice.next() as u8]);
        octets.extend((packet.len() as u16).to_be_bytes());
        octets.extend(packet);
    }
    octets
}

/// Octets near what a media port gets: RTP, RTCP, STUN, DTLS, or anything.
fn raw(dice: &mut Dice) -> Vec<u8> {
    let length = dice.below(220) as usize;
    let mut octets: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
    let head: Vec<u8> = match dice.below(8) {
        0 => vec![0x80, 8, 0, 101, 0, 0, 0, 160, 0, 0, 0, 7],
        1 => vec![0x90, 0x88, 0, 102, 0, 0, 1, 64, 0, 0, 0, 7, 0xbe, 0xde, 0, 1],
        2 => vec![0x81, 200, 0, 12, 0, 0, 0, 7],
        3 => vec![0x80, 201, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 1],
        4 => vec![0, 1, 0, length as u8, 0x21, 0x12, 0xa4, 0x42],
        5 => vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, length as u8, 1, 0, 0, 60],
        6 => vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
        _ => Vec::new(),
    };
    for (place, octet) in octets.iter_mut().zip(head) {
        *place = octet;
    }
    octets
}
