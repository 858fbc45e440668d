//! The checks in their order; each runs even if an earlier one failed.

use crate::cargo::{Heard, Workspace, cargo, count_tests, heard};
use crate::fail::{Fail, Outcome};
use crate::tally::Tally;
use crate::{
    TestOptions, arrows, bpf, conformance, deploy, emulation, instructions, interop, load,
    simulate, sources, watched,
};
use serde_json::Value;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
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

/// What every check may use.
pub(crate) struct Bench {
    pub(crate) workspace: Workspace,
    /// Logs and scratch files; survives the run.
    pub(crate) scratch: PathBuf,
    /// The part of a check's tests that is asked for: `interop/NAME` runs one scenario.
    pub(crate) part: String,
    /// Tests that need a privilege fail without it, instead of saying so.
    strict: bool,
    /// What came of each test so far, for the check that asks which requirements they prove.
    pub(crate) heard: RefCell<Vec<Heard>>,
}

impl Bench {
    /// For a verb that is no check.
    pub(crate) fn open() -> Outcome<Self> {
        let workspace = Workspace::read()?;
        let scratch = workspace.scratch()?;
        let part = String::new();
        Ok(Self { workspace, scratch, part, strict: false, heard: RefCell::default() })
    }

    /// Runs a command in the workspace with its log below the scratch folder.
    pub(crate) fn watch(&self, command: &mut Command, log: &str) -> Outcome<watched::Finished> {
        watched::run(command.current_dir(&self.workspace.root), &self.scratch.join(log))
    }

    /// The same, where only success counts.
    fn must(&self, command: &mut Command, log: &str) -> Outcome {
        let finished = self.watch(command, log)?;
        if finished.success() { Ok(()) } else { Err(Fail(finished.account())) }
    }

    /// The daemon built in release, as the demonstration left it or built now.
    pub(crate) fn release_binary(&self) -> Outcome<PathBuf> {
        self.must(
            &mut cargo(&["build", "--release", "--locked", "-p", "tollgate"]),
            "release.log",
        )?;
        Ok(self.workspace.release_binary())
    }
}

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

/// A folder that is removed again unless something went wrong in it.
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    keep: bool,
}

impl TemporaryFolder {
    /// Makes an empty folder of this name below the system's temporary one. Short: a Unix socket's
    /// path has at most 107 bytes.
    pub(crate) fn new(name: &str) -> Outcome<Self> {
        use crate::fail::While;
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("tollgate-{name}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&path).while_(path.display())?;
        Ok(Self { path, keep: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for whoever looks into the failure, and says where.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
        println!("    everything of this run stays in {}", self.path.display());
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
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
