//! Bodies and dialogs near the ones we know, by the thousand; the laws must hold for each.
//!
//! `TOLLGATE_MUTATIONS=1000000 TOLLGATE_SEED=7 cargo test --release -p sdp mutations` looks further;
//! what it finds goes into `fuzz/corpus`, which is replayed here.

use crate::laws::{self, PART_END};
use crate::support::{KEY_A, KEY_B, LONG, SHORT, carrier, crypto, secured};
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn no_mutated_body_breaks_a_law() {
    let (cases, read) = campaign(20_000, 0x5d9, |random, seeds| {
        let body = mutated(random, seeds);
        usize::from(laws::text(&body))
    });
    assert!(read > cases / 10, "only {read} of {cases} are read: the test has lost its bite");
}

#[test]
fn no_mutated_dialog_breaks_a_law() {
    let (cases, agreed) = campaign(2_000, 0xd1a, |random, seeds| {
        let dialog = mutated_dialog(random, seeds);
        laws::dialog(&dialog)
    });
    assert!(agreed > cases / 4, "only {agreed} of {cases} agree: the test has lost its bite");
}

#[test]
fn what_fuzzing_found_keeps_the_laws() {
    let mut replayed = 0;
    for folder in ["text", "offer_answer"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            let octets = std::fs::read(file.unwrap().path()).unwrap();
            laws::text(&octets);
            laws::dialog(&octets);
            replayed += 1;
        }
    }
    assert!(replayed >= 8, "the committed corpus is gone");
}

/// Plays that many cases, or as many as are asked for, and adds up what each gives.
fn campaign(cases: usize, seed: u64, play: fn(&mut Random, &[Vec<u8>]) -> usize) -> (usize, usize) {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = asked("TOLLGATE_MUTATIONS").map_or(cases, |cases| cases as usize);
    let seed = asked("TOLLGATE_SEED").unwrap_or(seed);
    let seeds = seeds();
    let mut random = Random(seed);
    let mut sum = 0;
    for case in 0..cases {
        let before = random.0;
        match catch_unwind(|| play(&mut Random(before), &seeds)) {
            Ok(given) => sum += given,
            Err(_) => panic!(
                "case {case} of seed {seed:#x} breaks a law: TOLLGATE_SEED={before} plays it first"
            ),
        }
        random.below(2);
    }
    (cases, sum)
}

fn seeds() -> Vec<Vec<u8>> {
    let both = [crypto(2, LONG, KEY_A, "|2^31|1:1"), crypto(3, LONG, KEY_B, "|2^31")];
    let teams = include_bytes!("../../../../sip-core/tests/corpus/extra/teams-invite.sip");
    let body = teams.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    vec![
        carrier("").into_bytes(),
        carrier("a=ptime:20\r\na=sendonly\r\n").into_bytes(),
        carrier("a=rtcp:4005\r\na=rtcp-mux\r\nm=video 4 RTP/AVP 96\r\n").into_bytes(),
        carrier("").replace("8 0 101", "96 8 101 9").replace("IP4", "IP6").into_bytes(),
        secured(&both, "a=rtcp-mux\r\n").into_bytes(),
        secured(&[crypto(0, SHORT, KEY_A, "")], "a=inactive\r\n").into_bytes(),
        teams[body..].to_vec(),
        crate::fax::fax("a=sendrecv\r\n").into_bytes(),
        crate::fax::fax("m=audio 0 RTP/AVP 8\r\n").into_bytes(),
    ]
}

fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut body = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(5) {
        mutate(&mut body, random, seeds);
    }
    body
}

fn mutated_dialog(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut dialog = vec![random.below(3) as u8];
    for _ in 0..=random.below(5) {
        // Offer and our answer, our offer and the answer, or anything at all.
        let steps = match random.below(3) {
            0 => vec![0, 2],
            1 => vec![3, 1],
            _ => vec![random.below(5) as u8],
        };
        for step in steps {
            dialog.push(step);
            dialog.extend(match random.below(4) {
                0 => mutated(random, seeds),
                _ => seeds[random.below(seeds.len())].clone(),
            });
            dialog.push(PART_END);
        }
    }
    dialog
}

fn mutate(body: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>]) {
    const TELLING: &[u8] = b"\r\n\0 :=/0198.-+|amct\xff";
    let at = random.below(body.len() + 1);
    let octet = TELLING[random.below(TELLING.len())];
    match random.below(9) {
        0 if at < body.len() => body[at] ^= 1 << random.below(8),
        1 if at < body.len() => body[at] = octet,
        2 => body.insert(at, octet),
        3 if at < body.len() => drop(body.remove(at)),
        4 => body.truncate(at),
        5 => {
            let line = line_at(body, at);
            body.splice(line.end..line.end, body[line].to_vec());
        }
        6 => drop(body.drain(line_at(body, at))),
        7 => {
            let line = line_at(body, at);
            let moved: Vec<u8> = body.drain(line).collect();
            let to = random.below(body.len() + 1);
            let to = line_at(body, to).start;
            body.splice(to..to, moved);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let line = line_at(other, random.below(other.len()));
            let to = line_at(body, at).start;
            body.splice(to..to, other[line].iter().copied());
        }
    }
}

/// The line that holds octet `at`, with its LF.
fn line_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |found| found + 1);
    let end =
        text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |found| at + found + 1);
    start..end
}

/// splitmix64: the same run for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
