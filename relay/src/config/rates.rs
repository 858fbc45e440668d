//! `[[rates]]`: files of prices, read once for as long as they stay as they are.

use super::host::HostDraft;
use super::names::Names;
use super::problem::{At, Place, Problems};
use super::reader::Reader;
use super::{source, value};
use b2bua::plan::{Rates, TrunkKind};
use b2bua::routing::{PROBLEMS_MAX, RateTable};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Tables of one host.
const TABLES_MAX: usize = 64;
/// A file of rates: a million rows are some 25 MB.
const FILE_SIZE_MAX: u64 = 128 << 20;

/// One `[[rates]]`, as read.
#[derive(Debug)]
pub(crate) struct RatesDraft {
    pub(crate) name: Option<At<String>>,
    file: Option<At<String>>,
    whose: String,
}

/// Reads every `[[rates]]`.
pub(crate) fn read(top: &mut Reader<'_>) -> Vec<RatesDraft> {
    let rates = top.each("rates", "rates", "name", |table| RatesDraft {
        name: table.required("name", value::name),
        file: table.required("file", value::path),
        whose: table.whose().to_owned(),
    });
    if rates.len() > TABLES_MAX {
        let said = format!("there are {} tables of rates; {TABLES_MAX} are the most", rates.len());
        top.error(top.place(), &said, None);
    }
    rates
}

impl RatesDraft {
    /// The file, as written.
    pub(crate) fn named(&self) -> Option<&str> {
        self.file.as_ref().map(|at| at.value.as_str())
    }
}

/// Loads the files, and finds the trunks that they name. `None` only if a problem has been reported.
pub(crate) fn load(
    directory: &Path,
    host: &HostDraft,
    trunks: &Names<'_>,
    problems: &Problems,
) -> Option<Vec<Rates>> {
    let loaded: Vec<Option<Rates>> = host
        .rates
        .iter()
        .map(|draft| {
            let file = draft.file.as_ref()?;
            let path = directory.join(&file.value);
            let index = problems.add_file(&path);
            let table = match table(&path) {
                Ok(table) => table,
                Err(Bad::Unreadable(why)) => {
                    let message = format!("{}: {} {why}", draft.whose, path.display());
                    problems.error(file.place, message, None);
                    return None;
                }
                Err(Bad::Rows(wrong)) => {
                    report(index, wrong, problems);
                    return None;
                }
            };
            let trunks = linked(&table, index, &draft.whose, host, trunks, problems)?;
            Some(Rates { name: draft.name.as_ref()?.value.clone(), table, trunks })
        })
        .collect();
    loaded.into_iter().collect()
}

fn report(file: usize, wrong: Vec<(u32, String)>, problems: &Problems) {
    let more = wrong.len() >= PROBLEMS_MAX;
    let last = wrong.last().map_or(1, |(line, _)| *line);
    for (line, why) in wrong {
        problems.error(Place { file, line }, why, None);
    }
    if more {
        let place = Place { file, line: last.saturating_add(1) };
        problems.error(place, "was not looked at: there is too much wrong before it", None);
    }
}

/// The trunks of the plan that a table names.
fn linked(
    table: &RateTable,
    file: usize,
    whose: &str,
    host: &HostDraft,
    trunks: &Names<'_>,
    problems: &Problems,
) -> Option<Vec<usize>> {
    let found: Vec<Option<usize>> = table
        .trunks()
        .iter()
        .map(|(name, line)| {
            let name = At { value: name.clone(), place: Place { file, line: *line } };
            let index = trunks.find(&name, whose, problems)?;
            if host.trunks.get(index)?.kind == Some(TrunkKind::Teams) {
                let message =
                    format!("{whose} names trunk \"{}\", which is Teams itself", name.value);
                problems.error(name.place, message, None);
            }
            Some(index)
        })
        .collect();
    found.into_iter().collect()
}

enum Bad {
    Unreadable(String),
    Rows(Vec<(u32, String)>),
}

/// What tells a file from what it was.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Tables that some snapshot still holds, each with the file as it was then.
static LOADED: Mutex<Vec<(PathBuf, Fingerprint, Weak<RateTable>)>> = Mutex::new(Vec::new());

/// The table in `path`, from memory if the file is as it was.
fn table(path: &Path) -> Result<Arc<RateTable>, Bad> {
    let unreadable = |error: std::io::Error| Bad::Unreadable(format!("cannot be read: {error}"));
    let of = std::fs::metadata(path).map_err(unreadable)?;
    let fingerprint = Fingerprint {
        device: of.dev(),
        inode: of.ino(),
        size: of.size(),
        modified: (of.mtime(), of.mtime_nsec()),
        changed: (of.ctime(), of.ctime_nsec()),
    };
    let known = |loaded: &[(PathBuf, Fingerprint, Weak<RateTable>)]| {
        let found = loaded.iter().find(|(at, was, _)| at == path && *was == fingerprint);
        found.and_then(|(_, _, table)| table.upgrade())
    };
    if let Some(table) = known(&LOADED.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(table);
    }
    let bytes = source::bounded(path, FILE_SIZE_MAX).map_err(unreadable)?;
    let table = Arc::new(RateTable::read(&bytes).map_err(Bad::Rows)?);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.retain(|(at, _, held)| at != path && held.strong_count() > 0);
    loaded.push((path.to_owned(), fingerprint, Arc::downgrade(&table)));
    Ok(table)
}
