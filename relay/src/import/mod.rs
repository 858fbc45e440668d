//! `tollgate tenants import`: rows of a table become tenant files, all of them or none.
//!
//! ```text
//! table.rs     the CSV, row by row        template.rs    what a row becomes
//! ```

mod table;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use template::BUILT_IN;

use crate::config::{self, Problem};
use b2bua::plan::TrunkKind;
use std::collections::BTreeMap;
use std::fs::{self, File as OsFile};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use table::Table;
use template::Template;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) table: &'a Path,
    /// [`BUILT_IN`] if there is none.
    pub(crate) template: Option<&'a Path>,
    pub(crate) config: &'a Path,
    /// Files that are there and say something else are replaced.
    pub(crate) force: bool,
}

/// A tenant's file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) tenant: String,
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// The line of the table that it is made of.
    pub(crate) line: u32,
    pub(crate) state: State,
}

/// How it compares with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// There is none.
    New,
    /// The same is there.
    Unchanged,
    /// Another is there.
    Changed,
}

impl State {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
        }
    }
}

/// What an import comes to, before anything is written.
#[derive(Debug, Default)]
pub(crate) struct Import {
    pub(crate) files: Vec<File>,
    /// Why it cannot be written; empty if it can.
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Makes the files, and judges the whole configuration with them.
pub(crate) fn prepare(wish: &Wish<'_>) -> Import {
    let mut import = Import::default();
    let (table, problems) = Table::read(wish.table);
    import.problems.extend(problems);
    let teams = teams_trunk(wish.config);
    let template = match Template::read(wish.template, &table.columns) {
        Ok((template, unused)) => {
            let problem = |column: &String| Problem {
                file: wish.table.to_owned(),
                line: 1,
                message: format!("column `{column}` is used by nothing in the template"),
                hint: None,
            };
            match wish.template {
                Some(_) => import.warnings.extend(unused.iter().map(problem)),
                None => import.problems.extend(unused.iter().map(|column| Problem {
                    hint: Some(format!("columns are {}", template::COLUMNS)),
                    ..problem(column)
                })),
            }
            template
        }
        Err(problems) => {
            import.problems.extend(problems.into_iter().map(|problem| match wish.template {
                Some(_) => problem,
                None => Problem { file: wish.table.to_owned(), line: 1, ..problem },
            }));
            return import;
        }
    };
    for row in &table.rows {
        let path = config::tenant_file(wish.config, &row.name);
        match template.fill(&row.cells, &teams) {
            Ok(text) => {
                let state = state(&path, &text);
                let (tenant, line) = (row.name.clone(), row.line);
                import.files.push(File { tenant, path, text, line, state });
            }
            Err(said) => import.problems.extend(said.into_iter().map(|message| Problem {
                file: wish.table.to_owned(),
                line: row.line,
                message,
                hint: None,
            })),
        }
    }
    import.in_the_way(wish);
    if import.problems.is_empty() {
        import.judge(wish);
    }
    import
}

impl Import {
    /// Files that say something else are not replaced unless that is meant.
    fn in_the_way(&mut self, wish: &Wish<'_>) {
        let changed = self.files.iter().filter(|file| file.state == State::Changed && !wish.force);
        self.problems.extend(changed.map(|file| Problem {
            file: wish.table.to_owned(),
            line: file.line,
            message: format!("{} is there and says something else", file.path.display()),
            hint: Some("--force replaces it".to_owned()),
        }));
    }

    fn judge(&mut self, wish: &Wish<'_>) {
        let files: BTreeMap<&str, &str> =
            self.files.iter().map(|file| (file.tenant.as_str(), file.text.as_str())).collect();
        let problems = match config::load_with(wish.config, &files) {
            Ok(loaded) => {
                let warnings = self.by_rows(wish, loaded.warnings);
                return self.warnings.extend(warnings.into_iter().filter_map(Result::ok));
            }
            Err(problems) => problems,
        };
        let problems = self.by_rows(wish, problems).into_iter();
        self.problems = problems.map(|it| it.unwrap_or_else(|problem| problem)).collect();
    }

    /// Each at the row that its file is made of; `Err` if it is made of none.
    fn by_rows(&self, wish: &Wish<'_>, problems: Vec<Problem>) -> Vec<Result<Problem, Problem>> {
        let rows: BTreeMap<&Path, u32> =
            self.files.iter().map(|file| (file.path.as_path(), file.line)).collect();
        let by_row = |problem: Problem| {
            let Some(line) = rows.get(problem.file.as_path()) else { return Err(problem) };
            let Problem { file, line: inner, message, hint } = problem;
            let message = format!("{}:{inner}: {message}", file.display());
            Ok(Problem { file: wish.table.to_owned(), line: *line, message, hint })
        };
        problems.into_iter().map(by_row).collect()
    }

    /// Writes what is not there yet, each file whole or not at all; how many.
    pub(crate) fn write(&self) -> io::Result<usize> {
        let files: Vec<&File> =
            self.files.iter().filter(|file| file.state != State::Unchanged).collect();
        let mut written = Vec::with_capacity(files.len());
        let done = write_all(&files, &mut written);
        if done.is_err() {
            // What is not in its place yet is of no use.
            for (file, _) in &written {
                let _ = fs::remove_file(file);
            }
        }
        done.map(|()| files.len())
    }
}

/// First all beside their places, so that a full disk changes nothing, then each into its own.
fn write_all(files: &[&File], written: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    for file in files {
        let folder = file.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
        // Hidden: nobody takes it for a tenant's.
        let beside = folder.join(format!(".{}.toml.import", file.tenant));
        written.push((beside.clone(), file.path.clone()));
        let write = || {
            let mut file_beside = OsFile::create(&beside)?;
            file_beside.write_all(file.text.as_bytes())?;
            file_beside.sync_all()
        };
        write().map_err(|error| named(&beside, error))?;
    }
    for (beside, path) in written.iter() {
        fs::rename(beside, path).map_err(|error| named(path, error))?;
    }
    Ok(())
}

fn state(path: &Path, text: &str) -> State {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => State::New,
        Ok(there) if there == text.as_bytes() => State::Unchanged,
        Ok(_) | Err(_) => State::Changed,
    }
}

/// The name of the trunk to Teams, for templates; the usual one where the host's file does not say.
fn teams_trunk(config: &Path) -> String {
    let trunk = config::start(config).ok().and_then(|started| {
        let trunks = started.loaded.plan.trunks;
        trunks.iter().find(|trunk| trunk.kind == TrunkKind::Teams).map(|trunk| trunk.name.clone())
    });
    trunk.unwrap_or_else(|| "teams".to_owned())
}
