//! What is wrong in a configuration file, where, and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing wrong in a file. Its `Display` is `FILE:LINE: message` and, on a line of its own, `hint: ...`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as it can be opened from where the command was given.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, with the value.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// The same as something to look at, in a configuration that holds.
    pub fn as_warning(&self) -> Problem {
        Problem { message: format!("warning: {}", self.message), ..self.clone() }
    }
}

/// A line of a file that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index into the files of [`Problems`].
    pub(crate) file: usize,
    /// The line, from 1.
    pub(crate) line: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands.
    pub(crate) place: Place,
}

/// Collects everything that is wrong in one set of files.
///
/// Shared by all readers of one load, so that a nested table reports into the same list.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    files: RefCell<Vec<PathBuf>>,
    errors: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: Place,
    message: String,
    hint: Option<String>,
}

impl Problems {
    /// Makes `path` a file that places can point into. Problems are listed in the order of this call.
    pub(crate) fn add_file(&self, path: &Path) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(path.to_owned());
        files.len() - 1
    }

    /// The configuration does not hold because of this.
    pub(crate) fn error(&self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.errors.borrow_mut().push(Found { place, message: message.into(), hint });
    }

    /// The configuration holds, yet this is hardly what was meant.
    pub(crate) fn warning(&self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.warnings.borrow_mut().push(Found { place, message: message.into(), hint });
    }

    /// `FILE:LINE` of a place, for a message that speaks of two.
    pub(crate) fn locate(&self, place: Place) -> String {
        format!("{}:{}", self.path(place.file).display(), place.line)
    }

    /// The same as seen from the configuration directory.
    pub(crate) fn locate_below(&self, place: Place) -> String {
        let path = self.path(place.file);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().and_then(Path::file_name);
        let below = folder.filter(|folder| *folder == super::source::TENANTS_DIRECTORY);
        let folder = below.map(|folder| format!("{}/", folder.to_string_lossy()));
        format!("{}{name}:{}", folder.unwrap_or_default(), place.line)
    }

    /// Errors and warnings, each by file and line and each once.
    pub(crate) fn into_lists(self) -> (Vec<Problem>, Vec<Problem>) {
        let errors = self.listed(&self.errors);
        let warnings = self.listed(&self.warnings);
        (errors, warnings)
    }

    fn listed(&self, found: &RefCell<Vec<Found>>) -> Vec<Problem> {
        let mut found = found.take();
        found.sort();
        found.dedup();
        let problem = |found: Found| Problem {
            file: self.path(found.place.file),
            line: found.place.line,
            message: found.message,
            hint: found.hint,
        };
        found.into_iter().map(problem).collect()
    }

    fn path(&self, file: usize) -> PathBuf {
        self.files.borrow().get(file).cloned().unwrap_or_default()
    }
}
