//! Whether every requirement of Teams has a test that names it, and whether those tests pass: joins
//! docs/teams-requirements.toml with the sources and with a run of the tests.

mod document;
mod register;
mod scan;
mod verdict;

use crate::bench::Bench;
use crate::fail::{Fail, Outcome, While};
use crate::tally::Tally;
use register::Register;
use scan::Sources;
use std::path::Path;
use std::process::ExitCode;
use verdict::Coverage;

/// What is asked for, in our words.
const REGISTER: &str = "docs/teams-requirements.toml";
/// What a reader sees; written by us.
const DOCUMENT: &str = "docs/teams-conformance.md";
/// Writes the document anew.
const BLESS: &str = "TOLLGATE_BLESS";

/// Judges the register, the tests that name its requirements, what came of them in this run, and the
/// document.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let root = &bench.workspace.root;
    let (register, sources) = read(bench)?;
    let coverage = Coverage::of(&register, &sources);
    let mut wrong = coverage.objections();
    wrong.extend(coverage.gaps());
    let heard = bench.heard.borrow();
    wrong.extend(coverage.failed(&heard));
    wrong.extend(written(root, &coverage)?);
    println!("    {}", coverage.in_short());
    for objection in &wrong {
        println!("    {objection}");
    }
    let failed = if wrong.is_empty() { Vec::new() } else { vec!["conformance".to_owned()] };
    let played = heard.iter().any(|one| one.scenario);
    let skipped =
        if played { Vec::new() } else { vec!["conformance (real peers did not play)".to_owned()] };
    Ok(Tally { passed: coverage.proven(), failed, skipped, ..Tally::default() })
}

/// `cargo xtask conformance`: what no test names yet, area by area; writes the document if asked to.
pub(crate) fn run() -> ExitCode {
    match tell() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fail) => {
            println!("{fail}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Outcome<bool> {
    let bench = Bench::open()?;
    let (register, sources) = read(&bench)?;
    let coverage = Coverage::of(&register, &sources);
    print!("{}", coverage.uncovered());
    let mut wrong = coverage.objections();
    wrong.extend(coverage.gaps());
    wrong.extend(written(&bench.workspace.root, &coverage)?);
    for objection in &wrong {
        println!("{objection}");
    }
    println!("{}", coverage.in_short());
    Ok(wrong.is_empty())
}

fn read(bench: &Bench) -> Outcome<(Register, Sources)> {
    let root = &bench.workspace.root;
    let text = std::fs::read_to_string(root.join(REGISTER)).while_(REGISTER)?;
    let register = Register::read(&text).map_err(|wrong| Fail(format!("{REGISTER}:{wrong}")))?;
    Ok((register, Sources::scan(&bench.workspace)?))
}

/// Compares the document with what it should say, or writes it.
fn written(root: &Path, coverage: &Coverage<'_>) -> Outcome<Option<String>> {
    let path = root.join(DOCUMENT);
    let text = document::write(coverage);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, text).while_(DOCUMENT)?;
        return Ok(None);
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = committed.lines().zip(text.lines()).take_while(|(old, new)| old == new).count() + 1;
    let drifted = || {
        format!("{DOCUMENT}:{line}: out of date; {BLESS}=1 cargo xtask conformance writes it anew")
    };
    Ok((committed != text).then(drifted))
}
