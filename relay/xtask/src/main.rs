//! `cargo xtask test`: every check of the project as one command, from formatting to calls between
//! real third-party peers.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "telling what it does is this program's job")]
#![expect(clippy::disallowed_methods, reason = "it waits for other processes in real time")]

mod arrows;
mod bench;
mod bpf;
mod cargo;
mod checks;
mod conformance;
mod deb;
mod deploy;
mod emulation;
mod fail;
mod instructions;
mod interop;
mod licence;
mod load;
mod packages;
mod process;
mod simulate;
mod sources;
mod tally;
mod watched;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test [--strict] [--only NAME]
       cargo xtask simulate [--flows N [--first SEED] | --seed SEED]
       cargo xtask matrix [--pairwise] [--only NAME] [--list] [--json FILE] [--binary FILE]
       cargo xtask soak [--minutes N] [--calls N] [--reinvite-seconds N] [--json]
       cargo xtask conformance
       cargo xtask bpf
       cargo xtask deb [FILE]
       cargo xtask list

test      runs every check; --strict makes a skipped check a failure,
          --only runs the checks whose name contains NAME
simulate  plays many random call flows in virtual time, or one again by its seed
matrix    calls between each kind of leg and baresip or rtpengine; --pairwise plays the few in
          which each two choices meet, --only those whose name contains NAME, --list names
          them and those that do not exist, --binary judges this program as it is
soak      holds many calls for a long time (30 minutes, 200 calls), with a re-INVITE a minute in
          each, and fails if Tollgate makes a gap over 60 ms in any
conformance
          says which requirement of Teams no test names yet, area by area;
          TOLLGATE_BLESS=1 writes docs/teams-conformance.md anew
bpf       builds the committed BPF objects anew (Debian 12's clang)
deb       builds a Debian package, of the release build or of the program FILE
list      names the checks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", options @ ..] => match TestOptions::read(options) {
            Some(options) => checks::run(&options),
            None => usage(),
        },
        ["simulate", words @ ..] => simulate::run(words),
        ["matrix", words @ ..] => interop::matrix::run(words).unwrap_or_else(usage),
        ["soak", words @ ..] => load::soak(words),
        ["conformance"] => conformance::run(),
        ["bpf"] => bpf::run(),
        ["deb"] => deb::run(None),
        ["deb", binary] => deb::run(Some(binary)),
        ["list"] => {
            checks::list();
            ExitCode::SUCCESS
        }
        [interop::INSIDE, directory, binary, only] => {
            interop::inside(directory.as_ref(), binary.as_ref(), only)
        }
        [interop::ATTACK, host, loot] => interop::attack(host, loot),
        [interop::matrix::INSIDE, directory, binary, part] => {
            interop::matrix::inside(directory.as_ref(), binary.as_ref(), part)
        }
        _ => usage(),
    }
}

/// What `cargo xtask test` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct TestOptions {
    strict: bool,
    only: Option<String>,
}

impl TestOptions {
    fn read(mut words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        loop {
            words = match words {
                [] => return Some(options),
                ["--strict", rest @ ..] => {
                    options.strict = true;
                    rest
                }
                ["--only", name, rest @ ..] => {
                    options.only = Some((*name).to_owned());
                    rest
                }
                _ => return None,
            };
        }
    }

    /// Is this check asked for?
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}

fn usage() -> ExitCode {
    println!("{USAGE}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::TestOptions;

    #[test]
    fn an_unknown_flag_is_not_ignored() {
        assert_eq!(TestOptions::read(&["--stirct"]), None);
        assert_eq!(TestOptions::read(&["--only"]), None);
    }

    #[test]
    fn flags_come_in_any_order() {
        let wanted = Some(TestOptions { strict: true, only: Some("unit".to_owned()) });
        assert_eq!(TestOptions::read(&["--only", "unit", "--strict"]), wanted);
        assert_eq!(TestOptions::read(&["--strict", "--only", "unit"]), wanted);
    }
}
