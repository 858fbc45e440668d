//! Runs cargo as the developer would and reads the results of its test runs.

use crate::fail::{Fail, Outcome, While};
use crate::tally::Tally;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace as cargo describes it.
pub(crate) struct Workspace {
    /// The answer of `cargo metadata`, dependencies included.
    pub(crate) metadata: Value,
    /// The folder of the workspace manifest.
    pub(crate) root: PathBuf,
    /// Where builds go.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Outcome<Self> {
        let output = cargo(&["metadata", "--format-version", "1", "--all-features", "--locked"])
            .output()
            .while_("starting cargo")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Fail(format!("cargo metadata: {said}")));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).while_("cargo metadata")?;
        let path = |key: &str| PathBuf::from(metadata[key].as_str().unwrap_or_default());
        let (root, target) = (path("workspace_root"), path("target_directory"));
        Ok(Self { metadata, root, target })
    }

    /// Every package cargo resolved, ours and foreign.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().into_iter().flatten()
    }

    /// The crates of the workspace.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Value> {
        self.packages().filter(|package| package["source"].is_null())
    }

    /// The daemon as the demonstration builds it.
    pub(crate) fn release_binary(&self) -> PathBuf {
        self.release_binary_named("tollgate")
    }

    /// Another program of the workspace, built in release.
    pub(crate) fn release_binary_named(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A folder below the build folder for logs and scratch files of this run.
    pub(crate) fn scratch(&self) -> Outcome<PathBuf> {
        let path = self.target.join("xtask");
        std::fs::create_dir_all(&path).while_(path.display())?;
        Ok(path)
    }
}

/// `cargo` with these words, the same cargo that runs us.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// The folder of a crate of ours.
pub(crate) fn folder(package: &Value) -> Option<&Path> {
    Path::new(package["manifest_path"].as_str()?).parent()
}

/// Counts what the test harnesses reported; a run that stopped before any of them failed as a whole.
pub(crate) fn count_tests(said: &str, success: bool, name: &str) -> Tally {
    let mut tally = Tally::default();
    for line in said.lines() {
        if let Some(counts) = line.strip_prefix("test result: ") {
            tally.passed += counted(counts, "passed");
        } else if let Some(test) = line.strip_prefix("test ") {
            if let Some(test) = test.strip_suffix(" ... FAILED") {
                tally.failed.push(test.to_owned());
            } else if let Some((test, _)) = test.split_once(" ... ignored") {
                tally.skipped.push(test.to_owned());
            }
        }
    }
    if !success && tally.failed.is_empty() {
        tally.failed.push(name.to_owned());
    }
    tally
}

/// What came of one test.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// As its harness calls it.
    pub(crate) name: String,
    pub(crate) passed: bool,
    /// Between real peers, by the check interop.
    pub(crate) scenario: bool,
}

impl Heard {
    /// What came of a scenario of the check interop.
    pub(crate) fn scenario(name: &str, passed: bool) -> Self {
        Self { name: name.to_owned(), passed, scenario: true }
    }
}

/// Every test that a run speaks of; an ignored one did not pass.
pub(crate) fn heard(said: &str) -> impl Iterator<Item = Heard> {
    said.lines().filter_map(|line| {
        let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let name = name.strip_suffix(" - should panic").unwrap_or(name).to_owned();
        Some(Heard { name, passed: outcome == "ok", scenario: false })
    })
}

/// The number in front of a word, as in `ok. 12 passed; 0 failed; 1 ignored`.
fn counted(counts: &str, word: &str) -> usize {
    let mut before = "";
    for token in counts.split([' ', ';']) {
        if token == word {
            return before.parse().unwrap_or_default();
        }
        before = token;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::{count_tests, heard};

    const RUN: &str = "\
running 3 tests
test latch::stranger_moves_nothing ... ok
test srtp::roc_wraps ... FAILED
test corpus::known_gap ... ignored, waits for PRACK
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s
";

    #[test]
    fn every_harness_of_a_run_is_counted() {
        let tally = count_tests(RUN, false, "tests");
        assert_eq!(tally.passed, 42);
        assert_eq!(tally.failed, ["srtp::roc_wraps"]);
        assert_eq!(tally.skipped, ["corpus::known_gap"]);
    }

    #[test]
    fn only_ok_is_passed() {
        let passed: Vec<_> = heard(RUN).map(|one| (one.name, one.passed)).collect();
        let one = |name: &str, passed| (name.to_owned(), passed);
        assert_eq!(
            passed,
            [
                one("latch::stranger_moves_nothing", true),
                one("srtp::roc_wraps", false),
                one("corpus::known_gap", false),
            ]
        );
    }

    #[test]
    fn a_build_error_fails_the_run_though_no_test_failed() {
        let tally = count_tests("error: could not compile `sdp`\n", false, "tests");
        assert_eq!(tally.failed, ["tests"]);
    }
}
