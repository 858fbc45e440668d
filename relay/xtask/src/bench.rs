//! What the checks and the other verbs work with: the workspace, its scratch folder, temporary folders.

use crate::cargo::{Heard, Workspace, cargo};
use crate::fail::{Fail, Outcome, While};
use crate::watched;
use std::cell::RefCell;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every check may use.
pub(crate) struct Bench {
    pub(crate) workspace: Workspace,
    /// Logs and scratch files; survives the run.
    pub(crate) scratch: PathBuf,
    /// The part of a check's tests that is asked for: `interop/NAME` runs one scenario.
    pub(crate) part: String,
    /// Tests that need a privilege fail without it, instead of saying so.
    pub(crate) strict: bool,
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
    pub(crate) fn must(&self, command: &mut Command, log: &str) -> Outcome {
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

/// A folder that is removed again unless something went wrong in it.
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    keep: bool,
}

impl TemporaryFolder {
    /// Makes an empty folder of this name below the system's temporary one. Short: a Unix socket's
    /// path has at most 107 bytes.
    pub(crate) fn new(name: &str) -> Outcome<Self> {
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
