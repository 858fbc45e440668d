//! Does one thing so many times and nothing else: `cargo xtask test --only instructions` counts its
//! instructions under valgrind.

#![forbid(unsafe_code)]

use bytes::Bytes;
use sip_core::Message;
use sip_core::framing::Framer;
use std::hint::black_box;
use std::process::ExitCode;

const INVITE: &[u8] = include_bytes!("../../../sip-core/tests/corpus/extra/bench-invite.sip");

/// Does its work that many times.
type Work = fn(u32);

/// What can be counted, by name.
const WORKS: &[(&str, Work)] = &[
    ("sip-parse", parse),
    ("sip-serialise", serialise),
    ("sip-serialise-changed", serialise_changed),
    ("sip-framing", framing),
    ("sip-refuse", refuse),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(times)) = (words.first(), words.get(1)) else {
        for (name, _) in WORKS {
            say(name);
        }
        return ExitCode::SUCCESS;
    };
    let work = WORKS.iter().find(|(known, _)| known == name);
    match (work, times.parse()) {
        (Some((_, work)), Ok(times)) => {
            work(times);
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

#[expect(clippy::print_stdout, reason = "the names are what was asked for")]
fn say(name: &str) {
    println!("{name}");
}

fn parse(times: u32) {
    let octets = Bytes::from_static(INVITE);
    for _ in 0..times {
        drop(black_box(Message::parse(black_box(octets.clone()))));
    }
}

fn serialise(times: u32) {
    let Ok(message) = Message::parse(Bytes::from_static(INVITE)) else { return };
    let mut out = Vec::with_capacity(2 * INVITE.len());
    for _ in 0..times {
        out.clear();
        black_box(&message).write(&mut out);
        black_box(&out);
    }
}

/// With another Via, as each message that goes on has.
fn serialise_changed(times: u32) {
    let Ok(mut message) = Message::parse(Bytes::from_static(INVITE)) else { return };
    message.headers_mut().push_front(sip_core::Name::Via, "SIP/2.0/TLS sbc;branch=z9hG4bK1");
    let mut out = Vec::with_capacity(2 * INVITE.len());
    for _ in 0..times {
        out.clear();
        black_box(&message).write(&mut out);
        black_box(&out);
    }
}

/// In two reads, the first of which ends within the headers.
fn framing(times: u32) {
    let (first, second) = INVITE.split_at(400);
    let mut framer = Framer::new();
    for _ in 0..times {
        for part in [first, second] {
            if framer.push(black_box(part)).is_err() {
                return;
            }
            framer.by_ref().for_each(|framed| drop(black_box(framed)));
        }
    }
}

/// What a flood of malformed requests costs: the refusal with its answer.
fn refuse(times: u32) {
    let text = String::from_utf8_lossy(INVITE).replacen("INVITE\r\n", "BYE\r\n", 1);
    let octets = Bytes::from(text.into_bytes());
    for _ in 0..times {
        drop(black_box(Message::parse(black_box(octets.clone()))));
    }
}
