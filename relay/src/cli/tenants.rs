//! `tollgate tenants import`: tenant files from a table, all of them or none.

use super::{ConfigFlag, Exit};
use crate::import::{self, Import, State, Wish};
use crate::terminal::{complain, print, print_json};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Work on many tenants at once
#[derive(Debug, clap::Args)]
pub(crate) struct Tenants {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    Import(ImportTable),
    Template(PrintTemplate),
}

/// Write tenants.d/NAME.toml for each row of a CSV table, after judging the whole configuration with them
#[derive(Debug, clap::Args)]
struct ImportTable {
    /// The table; its first line names the columns: name,fqdn,numbers,trunks[,calls,country]
    #[arg(value_name = "FILE.csv")]
    table: PathBuf,
    /// What a row becomes, with {column} where a cell goes [default: see `tollgate tenants template`]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFlag,
    /// Show the files and the verdict, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace files that are there and say something else
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Print the template that an import uses if none is given
#[derive(Debug, clap::Args)]
struct PrintTemplate {}

impl Tenants {
    pub(crate) fn run(self) -> Exit {
        match self.work {
            Work::Import(import) => import.run(),
            Work::Template(PrintTemplate {}) => {
                print(import::BUILT_IN);
                Exit::Done
            }
        }
    }
}

impl ImportTable {
    fn run(self) -> Exit {
        let config = self.config.path();
        let (table, template) = (self.table.as_path(), self.template.as_deref());
        let import = import::prepare(&Wish { table, template, config: &config, force: self.force });
        let holds = import.problems.is_empty();
        let written = match holds && !self.dry_run {
            true => match import.write() {
                Ok(_) => true,
                Err(error) => {
                    complain(&format!("not all was written: {error}"));
                    return Exit::No;
                }
            },
            false => false,
        };
        match self.json {
            true => print_json(&as_json(&import, written)),
            false => print(&as_text(&import, self.dry_run, written)),
        }
        if holds { Exit::Done } else { Exit::No }
    }
}

fn as_text(import: &Import, dry_run: bool, written: bool) -> String {
    let mut text = String::new();
    for file in import.files.iter().filter(|_| dry_run) {
        let _ = writeln!(text, "# {} ({})", file.path.display(), file.state.word());
        let _ = writeln!(text, "{}", file.text);
    }
    for warning in &import.warnings {
        let _ = writeln!(text, "{}", warning.as_warning());
    }
    for problem in &import.problems {
        let _ = writeln!(text, "{problem}");
    }
    let count = |state| import.files.iter().filter(|file| file.state == state).count();
    let (new, changed, same) = (count(State::New), count(State::Changed), count(State::Unchanged));
    let files = format!("{new} new, {changed} changed, {same} unchanged");
    let _ = match (import.problems.len(), written) {
        (0, true) => writeln!(text, "written: {files}"),
        (0, false) => writeln!(text, "would be written: {files}"),
        (1, _) => writeln!(text, "1 problem; nothing is written"),
        (problems, _) => writeln!(text, "{problems} problems; nothing is written"),
    };
    text
}

fn as_json(import: &Import, written: bool) -> serde_json::Value {
    let files = import.files.iter().map(|file| {
        json!({
            "tenant": file.tenant,
            "file": file.path,
            "line": file.line,
            "state": file.state,
            "text": file.text,
        })
    });
    json!({
        "ok": import.problems.is_empty(),
        "written": written,
        "problems": import.problems,
        "warnings": import.warnings,
        "files": files.collect::<Vec<_>>(),
    })
}
