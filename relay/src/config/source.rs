//! Reads configuration files: bounded, with a line for every byte offset, past syntax errors.

use super::nearest::did_you_mean;
use super::problem::{Place, Problems};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// No configuration file is read beyond this: ten thousand numbers and routes fit several times.
pub(crate) const FILE_SIZE_MAX: u64 = 4 << 20;
/// Tenant files read from one directory: twice what one host is meant for.
pub(crate) const TENANTS_MAX: usize = 20_000;
/// The host's file.
const HOST_FILE: &str = "tollgate.toml";
/// The directory of tenant files beside it.
pub(super) const TENANTS_DIRECTORY: &str = "tenants.d";

/// Where the files of one configuration are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The directory, which relative paths in files start from.
    pub(crate) directory: PathBuf,
    /// `tollgate.toml`.
    pub(crate) host: PathBuf,
    /// `tenants.d`.
    pub(crate) tenants: PathBuf,
}

impl Layout {
    /// The layout under `path`: a directory or the `tollgate.toml` in it.
    pub(crate) fn of(path: &Path) -> Self {
        // One that is not there is told as the file that is missed in it.
        let is_file = path.extension().is_some_and(|it| it == "toml") || path.is_file();
        let (directory, host) = if path.is_dir() || !is_file {
            (path.to_owned(), path.join(HOST_FILE))
        } else {
            (path.parent().map(Path::to_owned).unwrap_or_default(), path.to_owned())
        };
        let directory = directory.strip_prefix(".").map(Path::to_owned).unwrap_or(directory);
        let host = host.strip_prefix(".").map(Path::to_owned).unwrap_or(host);
        let tenants = directory.join(TENANTS_DIRECTORY);
        Self { directory, host, tenants }
    }

    /// The tenant files, by tenant. Hidden files and what editors leave beside them are passed over;
    /// a name that differs from `*.toml` only by a slip would silently lose a tenant and is told.
    /// `None` if there is no such directory.
    pub(crate) fn tenant_files(&self, problems: &Problems) -> Option<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.tenants) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                let place = Place { file: problems.add_file(&self.tenants), line: 1 };
                problems.error(place, format!("cannot be listed: {error}"), None);
                return Some(Vec::new());
            }
        };
        let mut files = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let backup = is_backup(name);
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                _ if backup => {}
                // A directory as well: no tenant may be gone because something else has its name.
                Some("toml") => files.push(path),
                _ if path.is_dir() => {}
                Some(other) if did_you_mean(other, ["toml"]).is_some() => {
                    let place = Place { file: problems.add_file(&path), line: 1 };
                    problems.warning(
                        place,
                        "is not read: tenant files end in .toml",
                        Some(format!("rename it to {}", path.with_extension("toml").display())),
                    );
                }
                _ => {}
            }
        }
        files.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
        if files.len() > TENANTS_MAX {
            let place = Place { file: problems.add_file(&self.tenants), line: 1 };
            let message = format!("holds {} tenants; {TENANTS_MAX} are the most", files.len());
            problems.error(place, message, None);
            files.truncate(TENANTS_MAX);
        }
        Some(files)
    }

    /// The file of this tenant.
    pub(crate) fn tenant(&self, name: &str) -> PathBuf {
        self.tenants.join(format!("{name}.toml"))
    }
}

/// Hidden files, and what editors leave beside those they edit.
pub(crate) fn is_backup(name: &str) -> bool {
    name.starts_with(['.', '#']) || name.ends_with('~')
}

/// One file's text and its lines.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its index in [`Problems`].
    pub(crate) file: usize,
    /// Its text; empty if it could not be read.
    pub(crate) text: String,
    /// The offset each line starts at.
    starts: Vec<usize>,
}

impl Source {
    /// Reads `path`; what goes wrong is a problem, and the text is then empty.
    pub(crate) fn read(path: &Path, problems: &Problems) -> Option<Self> {
        let file = problems.add_file(path);
        match bounded(path, FILE_SIZE_MAX) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Some(Self::new(file, text)),
                Err(error) => {
                    let valid = error.utf8_error().valid_up_to();
                    let before = &error.as_bytes()[..valid];
                    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                    let place = Place { file, line: u32::try_from(line).unwrap_or(u32::MAX) };
                    problems.error(place, "is not UTF-8", None);
                    None
                }
            },
            Err(error) => {
                let message = format!("cannot be read: {}", in_words(&error));
                problems.error(Place { file, line: 1 }, message, hint(path, &error));
                None
            }
        }
    }

    /// Text that is in this file of [`Problems`].
    pub(crate) fn new(file: usize, text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(offset, _)| offset + 1)).collect();
        Self { file, text, starts }
    }

    /// The line that `span` begins on.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        // An error at the very end belongs to the last line that has something on it.
        let offset = span.start.min(self.text.trim_end().len());
        let line = self.starts.partition_point(|start| *start <= offset);
        Place { file: self.file, line: u32::try_from(line).unwrap_or(u32::MAX) }
    }

    /// Reports syntax errors, the first of each line (one slip often yields several), and returns
    /// the lines they are on.
    pub(crate) fn syntax(&self, errors: &[toml::de::Error], problems: &Problems) -> BTreeSet<u32> {
        let mut spans: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
        spans.sort_by_key(|(span, _)| span.start);
        let mut lines = BTreeSet::new();
        for (span, message) in spans {
            let place = self.place(&span);
            if lines.insert(place.line) {
                problems.error(place, format!("is not TOML: {message}"), None);
            }
        }
        lines
    }
}

/// Why a file cannot be read, without the number that the system has for it.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => certs::in_words(error.kind()),
        // What `bounded` says of it.
        None => error.to_string(),
    }
}

/// What to do about a file of the configuration that cannot be read.
pub(super) fn hint(path: &Path, error: &io::Error) -> Option<String> {
    let is_host = path.file_name().is_some_and(|name| name == HOST_FILE);
    let hint = match error.kind() {
        ErrorKind::NotFound if is_host => {
            "--config or $TOLLGATE_CONFIG names the directory that it is in; systemd/config of the sources \
             is a commented example"
        }
        ErrorKind::PermissionDenied => {
            "who runs this has to read it: is he in the group of the service (sudo, or usermod -aG tollgate)?"
        }
        ErrorKind::IsADirectory => "tenants are files beside each other, NAME.toml",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A file's bytes, or an error if there are more than `most`.
pub(crate) fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it is larger than {} KiB", most >> 10);
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
