//! The checks in their order; each runs even if an earlier one failed.

use crate::bench::Bench;
use crate::cargo::{Heard, cargo, count_tests, heard};
use crate::fail::{Fail, Outcome};
use crate::tally::Tally;
use crate::{
    TestOptions, arrows, bpf, conformance, deploy, emulation, instructions, interop, load,
    simulate, sources,
};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Instant;

/// One check: its name and what it does.
struct Check {
    name: &'static str,
    run: fn(&Bench) -> Outcome<Tally>,
}

const fn check(name: &'static str, run: fn(&Bench) -> Outcome<Tally>) -> Check {
    Check { name, run }
}

/// Cheap ones first: a wrong arrow should not wait for a build.
const CHECKS: &[Check] = &[
    check("format", format),
    check("arrows", arrows),
    check("sources", sources),
    check("bpf", bpf::check),
    check("clippy", clippy),
    check("tests", tests),
    check("rsip", rsip),
    check("documentation", documentation),
    check("instructions", instructions::check),
    check("demo", demo),
    check("emulation", emulation::check),
    check("simulation", simulate::check),
    check("load", load::check),
    check("example-configuration", deploy::example_configuration),
    check("unit", deploy::unit),
    check("interop", interop::check),
    check("matrix", interop::matrix::check),
    check("conformance", conformance::check),
];

/// Names the checks.
pub(crate) fn list() {
    for check in CHECKS {
        println!("{}", check.name);
    }
}

/// Runs what was asked for and closes with the result over everything.
pub(crate) fn run(options: &TestOptions) -> ExitCode {
    let mut total = Tally::default();
    match bench(options) {
        Ok((bench, wanted)) => {
            let began = Instant::now();
            for (number, check) in wanted.iter().enumerate() {
                println!("[{}/{}] {}", number + 1, wanted.len(), check.name);
                total.add(run_one(check, &bench));
            }
            println!("everything: {:.0} s", began.elapsed().as_secs_f64());
        }
        Err(fail) => {
            println!("{fail}");
            total.add(Tally::fail("workspace"));
        }
    }
    println!("{}", total.closing(options.strict));
    total.exit_code(options.strict)
}

fn bench(options: &TestOptions) -> Outcome<(Bench, Vec<&'static Check>)> {
    let (head, part) = match options.only.as_deref().and_then(|only| only.split_once('/')) {
        Some((head, part)) => (Some(head.to_owned()), part.to_owned()),
        None => (options.only.clone(), String::new()),
    };
    let filter = TestOptions { strict: options.strict, only: head };
    let wanted: Vec<&Check> = CHECKS.iter().filter(|check| filter.wants(check.name)).collect();
    if wanted.is_empty() {
        return Err(Fail::new("no check has this name; `cargo xtask list` names them"));
    }
    Ok((Bench { part, strict: options.strict, ..Bench::open()? }, wanted))
}

fn run_one(check: &Check, bench: &Bench) -> Tally {
    let began = Instant::now();
    let tally = (check.run)(bench).unwrap_or_else(|fail| {
        println!("{fail}");
        Tally::fail(check.name)
    });
    let outcomes = [(&tally.named, true), (&tally.failed, false)];
    let of_scenarios = outcomes.into_iter().flat_map(|(names, passed)| {
        let scenarios = names.iter().filter_map(|name| name.strip_prefix("interop/"));
        scenarios.map(move |name| Heard::scenario(name, passed))
    });
    bench.heard.borrow_mut().extend(of_scenarios);
    let verdict = match (&*tally.failed, &*tally.skipped) {
        ([], []) => "ok".to_owned(),
        ([], skipped) => format!("ok, skipped {}", skipped.join(", ")),
        (failed, _) => format!("FAILED {}", failed.join(", ")),
    };
    let count = tally.passed;
    println!("    {:.1} s, {count} passed: {verdict}", began.elapsed().as_secs_f64());
    tally
}

fn format(bench: &Bench) -> Outcome<Tally> {
    bench.must(&mut cargo(&["fmt", "--all", "--check"]), "format.log")?;
    Ok(Tally::pass())
}

fn arrows(bench: &Bench) -> Outcome<Tally> {
    let looked_at = arrows::check(&bench.workspace)?;
    println!("    {looked_at} arrows between crates, licences of all");
    Ok(Tally::pass())
}

fn sources(bench: &Bench) -> Outcome<Tally> {
    let files = sources::check(&bench.workspace)?;
    println!("    {files} files");
    Ok(Tally::pass())
}

fn clippy(bench: &Bench) -> Outcome<Tally> {
    let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    bench.must(&mut cargo(&words), "clippy.log")?;
    Ok(Tally::pass())
}

fn tests(bench: &Bench) -> Outcome<Tally> {
    count(bench, &["test", "--workspace", "--no-fail-fast", "--locked"], "tests")
}

/// The optional conversions from and to the types of the crate rsip.
fn rsip(bench: &Bench) -> Outcome<Tally> {
    let lint = ["clippy", "-p", "sip-core", "--features", "rsip", "--all-targets", "--locked"];
    let mut lint = cargo(&lint);
    lint.args(["--", "-D", "warnings"]);
    bench.must(&mut lint, "rsip-clippy.log")?;
    count(bench, &["test", "-p", "sip-core", "--features", "rsip", "--locked"], "rsip")
}

fn count(bench: &Bench, words: &[&str], name: &str) -> Outcome<Tally> {
    let mut command = cargo(words);
    if bench.strict {
        command.env("TOLLGATE_STRICT", "1");
    }
    let finished = bench.watch(&mut command, &format!("{name}.log"))?;
    let tally = count_tests(&finished.said, finished.success(), name);
    bench.heard.borrow_mut().extend(heard(&finished.said));
    if !tally.failed.is_empty() {
        println!("{}", finished.account());
    }
    Ok(tally)
}

fn documentation(bench: &Bench) -> Outcome<Tally> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    bench.must(command.env("RUSTDOCFLAGS", "-D warnings"), "documentation.log")?;
    Ok(Tally::pass())
}

/// The README's first command, judged by its exit code and by what it says of each call.
fn demo(bench: &Bench) -> Outcome<Tally> {
    let finished = bench.watch(
        &mut cargo(&["run", "--release", "--locked", "--", "demo", "--once", "--json"]),
        "demo.log",
    )?;
    let calls = demo_calls(&finished.said);
    for (scenario, verdict) in &calls {
        println!("    {scenario}: {verdict}");
    }
    if !finished.success() || calls.len() < DEMO_CALLS_MIN {
        return Err(Fail(finished.account()));
    }
    Ok(Tally { passed: calls.len(), ..Tally::default() })
}

/// The demonstration plays at least these: out, in, hold, next trunk, unknown number, forged peer.
const DEMO_CALLS_MIN: usize = 6;

/// Scenario and verdict of each JSON line; compiler talk between them is passed over.
fn demo_calls(said: &str) -> Vec<(String, String)> {
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|call| {
            Some((call["scenario"].as_str()?.to_owned(), call["verdict"].as_str()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::demo_calls;

    #[test]
    fn compiler_talk_is_no_call() {
        let said = "   Compiling tollgate v0.1.0\n{\"scenario\":\"hold\",\"verdict\":\"ok\",\"a\":{}}\n{}\n";
        assert_eq!(demo_calls(said), [("hold".to_owned(), "ok".to_owned())]);
    }
}
