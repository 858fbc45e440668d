//! Does one thing so many times and nothing else: `cargo xtask test --only instructions` counts its
//! instructions under valgrind.

#![forbid(unsafe_code)]

mod packets;
mod sip;

use std::process::ExitCode;

/// Does its work that many times.
type Work = fn(u32);

/// What can be counted, by name.
const WORKS: &[(&str, Work)] = &[
    ("packet-rtp-rtp", packets::forward_rtp),
    ("packet-rtp-srtp-cm", packets::forward_to_cm),
    ("packet-rtp-srtp-gcm", packets::forward_to_gcm),
    ("packet-srtp-cm-rtp", packets::forward_from_cm),
    ("packet-srtp-gcm-rtp", packets::forward_from_gcm),
    ("sip-parse", sip::parse),
    ("sip-serialise", sip::serialise),
    ("sip-serialise-changed", sip::serialise_changed),
    ("sip-framing", sip::framing),
    ("sip-refuse", sip::refuse),
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
