//! The verbs about configurations that are not in force: `diff`, and `rollback`.

use super::daemon::{answer, problems_told};
use super::{ConfigFlag, Exit, replay};
use crate::admin::{Answer, Request};
use crate::config::{Difference, Kept};
use crate::terminal::{complain, print, print_json, table};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show what a reload would change now, tenant by tenant; nothing changes
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Show which recorded calls of the last day would go elsewhere or fail; exit code 1 if any would
    #[arg(long)]
    pub(super) replay: bool,
    /// Show what the configuration there would change, instead of the one that the daemon follows: a
    /// directory that the daemon may read, or the tollgate.toml in it
    #[arg(long, value_name = "PATH")]
    pub(super) with: Option<PathBuf>,
}

/// Go back to the configuration before, or to one of the last ten; the files on disk count again when
/// they are changed, or at `tollgate reload`
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The number of the configuration [default: the one before that in force]
    number: Option<u64>,
    /// Show which there are
    #[arg(long, conflicts_with = "number")]
    list: bool,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self) -> Exit {
        // The daemon's working directory is another.
        let with = match self.with.map(|path| std::fs::canonicalize(&path).map_err(|e| (path, e))) {
            Some(Err((path, error))) => {
                complain(&format!(
                    "{}: {error}\nhint: --with names a directory with a tollgate.toml in it",
                    path.display()
                ));
                return Exit::No;
            }
            Some(Ok(path)) => Some(path),
            None => None,
        };
        if self.replay {
            return replay::run(self.config, with, self.json);
        }
        let (differences, problems, refused) = match answer(self.config, Request::Diff { with }) {
            Ok(Answer::Differs { differences, problems, refused }) => {
                (differences, problems, refused)
            }
            Ok(_) => return Exit::Unreachable,
            Err(exit) => return exit,
        };
        let holds = problems.is_empty();
        match self.json {
            true => print_json(&json!({
                "ok": holds, "refused": refused, "differences": differences, "problems": problems,
            })),
            false => {
                print(&differences_text(&differences, refused));
                problems_told(&problems);
                if refused {
                    complain("a reload would be refused; the configuration in force would stay");
                }
            }
        }
        if holds { Exit::Done } else { Exit::No }
    }
}

impl Rollback {
    pub(crate) fn run(self) -> Exit {
        let request = match self.list {
            true => Request::Generations,
            false => Request::Rollback { number: self.number },
        };
        match answer(self.config, request) {
            Ok(Answer::Generations { generations, current }) => {
                match self.json {
                    true => {
                        print_json(&json!({ "current": current, "generations": generations }));
                    }
                    false => print(&generations_text(&generations, current)),
                }
                Exit::Done
            }
            Ok(Answer::Reloaded { generation, problems }) => {
                match self.json {
                    true => print_json(&json!({ "ok": true, "generation": generation })),
                    false => print(&format!(
                        "configuration {generation} is in force, as it was before; the files on disk \
                         count again when they are changed\n"
                    )),
                }
                problems_told(&problems);
                Exit::Done
            }
            Ok(Answer::Refused { problems }) => {
                match self.json {
                    true => print_json(&json!({ "ok": false, "problems": problems })),
                    false => problems_told(&problems),
                }
                Exit::No
            }
            Ok(_) => Exit::Unreachable,
            Err(exit) => exit,
        }
    }
}

fn differences_text(differences: &[Difference], refused: bool) -> String {
    let mut text = String::new();
    for difference in differences {
        let _ = writeln!(text, "{difference}");
    }
    if differences.is_empty() && !refused {
        text.push_str("no differences\n");
    }
    text
}

fn generations_text(generations: &[Kept], current: u64) -> String {
    if generations.is_empty() {
        return "no configurations\n".into();
    }
    let head = ["", "NUMBER", "SINCE", "TENANTS", "CHANGED"];
    let rows = generations.iter().rev().map(|kept| {
        let sign = match (kept.number == current, kept.undone) {
            (true, _) => "*",
            (false, true) => "-",
            (false, false) => "",
        };
        [
            sign.to_owned(),
            kept.number.to_string(),
            kept.at.clone(),
            kept.tenants.to_string(),
            kept.what.clone(),
        ]
    });
    table(&head, rows)
}
