//! A few seconds of calls through the real program: none may fail, and nothing may be left of them.

use crate::bench::Bench;
use crate::cargo::cargo;
use crate::fail::{Fail, Outcome, While};
use crate::tally::Tally;
use serde_json::Value;
use std::process::{Command, ExitCode};

/// A rate that any machine has, with whatever else it does: speed is not judged here.
const CALLS_PER_SECOND: &str = "50";
const SECONDS: &str = "4";

/// UDP to UDP and UDP to TLS, each as one test.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let build = ["build", "--release", "--locked", "-p", "tollgate", "-p", "perf"];
    let built = bench.watch(&mut cargo(&build), "load-build.log")?;
    if !built.success() {
        return Err(Fail(built.account()));
    }
    let mut command = Command::new(bench.workspace.release_binary_named("perf"));
    command.args(["sip", "--alone", "--check", "--json", "--rounds", "1"]);
    command.args(["--cps", CALLS_PER_SECOND, "--seconds", SECONDS]);
    let finished = bench.watch(&mut command, "load.log")?;
    let report = finished.said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let rows = report.as_ref().and_then(|report| report["rows"].as_array());
    let rows = rows.map_or(&[][..], Vec::as_slice);
    if !finished.success() || rows.len() != WAYS {
        return Err(Fail(finished.account()));
    }
    for row in rows {
        println!("    {}: {} calls, {} failed", row["way"], row["calls"], row["failed"]);
    }
    Ok(Tally { passed: rows.len(), ..Tally::default() })
}

const WAYS: usize = 2;

/// `cargo xtask soak`: many calls for a long time through the real program, told by `perf soak`.
pub(crate) fn soak(words: &[&str]) -> ExitCode {
    let soaked = Bench::open().and_then(|bench| {
        let build = ["build", "--release", "--locked", "-p", "tollgate", "-p", "perf"];
        let built = bench.watch(&mut cargo(&build), "soak-build.log")?;
        if !built.success() {
            return Err(Fail(built.account()));
        }
        let mut command = Command::new(bench.workspace.release_binary_named("perf"));
        // What it says of its progress is to be seen as it goes.
        command.arg("soak").args(words).status().while_("perf soak")
    });
    match soaked {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(fail) => {
            println!("{fail}");
            ExitCode::FAILURE
        }
    }
}
