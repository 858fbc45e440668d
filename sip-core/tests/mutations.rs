//! Messages near the ones we know, by the thousand: bit flips, splices, lines doubled, moved and
//! removed, lengths that lie. The laws must hold for each.
//!
//! `TOLLGATE_MUTATIONS=1000000 TOLLGATE_SEED=7 cargo test --release -p sip-core --test mutations`
//! looks further; what it finds goes into `fuzz/corpus`, which is replayed here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a law that does not hold fails the test")]

mod common;
mod laws;

use common::corpus_messages;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[test]
fn no_mutated_message_breaks_a_law() {
    let mut read = 0;
    let cases =
        campaign(20_000, 0x5eed, mutated, |octets| read += usize::from(laws::message(octets)));
    assert!(read > cases / 20, "only {read} of {cases} still parse: the test has lost its bite");
}

#[test]
fn no_mutated_stream_breaks_a_law() {
    let mut found = 0;
    let cases = campaign(1_500, 0xf4a3, mutated_stream, |octets| found += laws::stream(octets));
    assert!(found > cases, "only {found} messages in {cases} streams: the test has lost its bite");
}

#[test]
fn torture_corpus_keeps_the_laws() {
    for octets in corpus_messages() {
        laws::message(&octets);
        laws::stream(&octets);
    }
}

#[test]
fn what_fuzzing_found_keeps_the_laws() {
    let mut replayed = 0;
    for folder in ["parser", "framer"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            let octets = std::fs::read(file.unwrap().path()).unwrap();
            laws::message(&octets);
            laws::stream(&octets);
            replayed += 1;
        }
    }
    assert!(replayed >= 8, "the committed corpus is gone");
}

/// Plays that many cases, or as many as are asked for; a case that fails is written out.
fn campaign(
    cases: usize,
    seed: u64,
    make: fn(&[bytes::Bytes], &mut Random) -> Vec<u8>,
    mut law: impl FnMut(&[u8]),
) -> usize {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = asked("TOLLGATE_MUTATIONS").map_or(cases, |cases| cases as usize);
    let corpus = corpus_messages();
    let mut random = Random(asked("TOLLGATE_SEED").unwrap_or(seed));
    for case in 0..cases {
        let octets = make(&corpus, &mut random);
        if catch_unwind(AssertUnwindSafe(|| law(&octets))).is_err() {
            let file = std::env::temp_dir().join(format!("tollgate-case-{seed:x}-{case}"));
            std::fs::write(&file, &octets).unwrap();
            panic!(
                "case {case} of seed {seed:#x} breaks a law; its octets are in {}",
                file.display()
            );
        }
    }
    cases
}

fn mutated(corpus: &[bytes::Bytes], random: &mut Random) -> Vec<u8> {
    let mut text = corpus[random.below(corpus.len())].to_vec();
    if random.below(50) > 0 {
        text.truncate(6_000);
    }
    for _ in 0..=random.below(4) {
        mutate(&mut text, corpus, random);
    }
    text
}

fn mutated_stream(corpus: &[bytes::Bytes], random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..=random.below(4) {
        let message = &corpus[random.below(corpus.len())];
        stream.extend_from_slice(&message[..message.len().min(3_000)]);
        stream.extend(b"\r\n".repeat([0, 0, 1, 2, 5][random.below(5)]));
    }
    for _ in 0..random.below(4) {
        mutate(&mut stream, corpus, random);
    }
    stream
}

fn mutate(text: &mut Vec<u8>, corpus: &[bytes::Bytes], random: &mut Random) {
    const TELLING: &[u8] = b"\r\n\0 \t:;,<>\"\\@[]=?%SIP/2.0vV0123456789\xff";
    let at = random.below(text.len() + 1);
    let octet = TELLING[random.below(TELLING.len())];
    match random.below(12) {
        0 if at < text.len() => text[at] ^= 1 << random.below(8),
        1 if at < text.len() => text[at] = octet,
        2 => text.insert(at, octet),
        3 if at < text.len() => {
            text.remove(at);
        }
        4 => text.truncate(at),
        5 => {
            let len = random.below(200).min(text.len() - at);
            let part = text[at..at + len].to_vec();
            text.splice(at..at, part);
        }
        6 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len());
            let len = random.below(100).min(other.len() - from);
            text.splice(at..at, other[from..from + len].iter().copied());
        }
        7 => {
            let line = line_at(text, at);
            text.splice(line.end..line.end, text[line].to_vec());
        }
        8 => drop(text.drain(line_at(text, at))),
        9 => {
            let line = line_at(text, at);
            let moved: Vec<u8> = text.drain(line).collect();
            let to = random.below(text.len() + 1);
            let to = line_at(text, to).start;
            text.splice(to..to, moved);
        }
        10 => {
            let other = &corpus[random.below(corpus.len())];
            let line = line_at(other, random.below(other.len()));
            let to = line_at(text, at).start;
            text.splice(to..to, other[line].iter().copied());
        }
        _ => lie_about_the_length(text, random),
    }
}

/// The line that holds octet `at`, with its LF.
fn line_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |found| found + 1);
    let end =
        text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |found| at + found + 1);
    start..end
}

fn lie_about_the_length(text: &mut Vec<u8>, random: &mut Random) {
    const LENGTHS: &[&str] = &[
        "0",
        "1",
        "149",
        "151",
        "65536",
        "65537",
        "-1",
        "+1",
        "1 1",
        "0x10",
        "",
        "007",
        "99999999999",
    ];
    let length = LENGTHS[random.below(LENGTHS.len())];
    let found = text.windows(15).position(|name| name.eq_ignore_ascii_case(b"Content-Length:"));
    let Some(at) = found else { return };
    let value = at + 15..line_at(text, at + 14).end.max(at + 15);
    text.splice(value, format!(" {length}\r\n").into_bytes());
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
