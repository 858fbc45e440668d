//! Flows by chance in virtual time: the check that plays the usual many, and the verb for more.

use crate::bench::Bench;
use crate::cargo::cargo;
use crate::fail::Outcome;
use crate::tally::Tally;
use std::process::ExitCode;

/// Flows of each `cargo xtask test`: about half a minute of one core.
const FLOWS: &str = "10000";
/// Flows of `cargo xtask simulate` where nothing else is said: several minutes.
const MANY_FLOWS: &str = "200000";
/// The binary in release: it plays a flow in milliseconds.
const SIMULATE: [&str; 8] =
    ["run", "--release", "--locked", "-p", "callflow", "--bin", "simulate", "--"];

/// Plays [`FLOWS`] flows; the laws hold after each, and all that chance is to meet is met.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let mut command = cargo(&SIMULATE);
    let finished = bench.watch(command.args(["--flows", FLOWS]), "simulation.log")?;
    if !finished.success() {
        println!("{}", finished.account());
        return Ok(Tally::fail("simulation"));
    }
    let summary = |line: &&str| line.contains(" flows, ") || line.starts_with("met: ");
    for line in finished.said.lines().filter(summary) {
        println!("    {line}");
    }
    Ok(Tally::pass())
}

/// `cargo xtask simulate`: as the words say, or [`MANY_FLOWS`].
pub(crate) fn run(words: &[&str]) -> ExitCode {
    let words = if words.is_empty() { &["--flows", MANY_FLOWS][..] } else { words };
    match cargo(&SIMULATE).args(words).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            println!("starting cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
