//! What is on disk now: which tenant files there are, which have changed since they were last read, and
//! what these say.

use super::problem::{Place, Problem, Problems};
use super::source::{self, Layout};
use super::version::{Sum, sum};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// At tollgate.toml, and the files it names.
    pub host: bool,
    /// At these tenants, whatever their fingerprints say; `None`: at all that have changed.
    pub tenants: Option<BTreeSet<String>>,
    /// Not at these files: they are being written, and are looked at when that is done.
    pub held: BTreeSet<PathBuf>,
    /// Tenants whose files are gone may be about to come back: they stay for now.
    pub patient: bool,
    /// An operator asked for it: files that were rolled back from count again.
    pub asked: bool,
    /// It is only to find what was missed: what has not changed is not looked at, and what was
    /// changed a moment ago may still be changing.
    pub poll: bool,
}

impl Scope {
    /// At all that both look at.
    pub(crate) fn and(&mut self, other: Self) {
        self.tenants = match (self.tenants.take(), other.tenants) {
            (Some(mut own), Some(more)) => {
                own.extend(more);
                Some(own)
            }
            // All that have changed; those that were to be looked at in any case have.
            _ => None,
        };
        self.host |= other.host;
        self.patient &= other.patient;
        self.poll &= other.poll;
        self.asked |= other.asked;
    }

    /// At everything, at once.
    pub fn all() -> Self {
        Self { host: true, asked: true, ..Self::default() }
    }
}

/// How a file looked when it was read: one that looks the same is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// It had been as it is for a while: a later change shows in its times.
    settled: bool,
}

/// Within this a file may change again without a change of its times: clocks of file systems tick.
const SETTLED: Duration = Duration::from_secs(1);

impl Print {
    fn of(about: &Metadata, now: SystemTime) -> Self {
        let modified = about.modified().ok().and_then(|at| now.duration_since(at).ok());
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
            settled: modified.is_some_and(|age| age > SETTLED),
        }
    }

    /// How a file looks now; `None` if there is none.
    pub(crate) fn now(path: &Path, now: SystemTime) -> Option<Self> {
        std::fs::metadata(path).ok().map(|about| Self::of(&about, now))
    }

    /// Whether it was not changed a moment ago.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether it is the same file with the same times.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Self { settled: other.settled, ..*self } == *other
    }

    /// Whether a file that looks like this now is as it was.
    pub(crate) fn still(&self, now: &Self) -> bool {
        self.settled && Self { settled: true, ..*now } == *self
    }
}

/// A file's content.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    /// Its text with the name of that, or why it cannot be read.
    pub(crate) text: Result<(Arc<str>, Sum), Problem>,
    pub(crate) print: Option<Print>,
}

impl Content {
    /// Reads `path`.
    pub(crate) fn read(path: &Path, now: SystemTime) -> Self {
        let problem =
            |line, message: String| Problem { file: path.to_owned(), line, message, hint: None };
        let print = Print::now(path, now);
        let text = match source::bounded(path, source::FILE_SIZE_MAX) {
            Err(error) => Err(Problem {
                hint: source::hint(path, &error),
                ..problem(1, format!("cannot be read: {}", source::in_words(&error)))
            }),
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let valid = error.utf8_error().valid_up_to();
                let before = error.as_bytes().get(..valid).unwrap_or_default();
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                problem(u32::try_from(line).unwrap_or(u32::MAX), "is not UTF-8".to_owned())
            }),
        };
        let text = text.map(|text| {
            let name = sum(&text);
            (text.into(), name)
        });
        Self { path: path.to_owned(), text, print }
    }
}

/// A tenant's file, looked at.
#[derive(Debug)]
pub(crate) enum Seen {
    /// As it was, or not to be looked at.
    Same,
    /// Read.
    Read(Content),
    /// There is none any more.
    Gone,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The host's file, if it was to be looked at.
    pub(crate) host: Option<Content>,
    /// Tenants by name.
    pub(crate) tenants: Vec<(Arc<str>, Seen)>,
    /// What is wrong with the directory itself: nothing is to change.
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Tenants that are known and not found, where the look was patient.
    pub(crate) missing: Vec<Arc<str>>,
    /// Nothing was looked at: the host's file was refused, and neither it nor what it names has changed.
    pub(crate) refused: bool,
}

impl Look {
    /// Has these tenants' files say this, whatever is on disk.
    pub(crate) fn assume(&mut self, layout: &Layout, tenants: &BTreeMap<&str, &str>) {
        self.tenants.retain(|(name, _)| !tenants.contains_key(&**name));
        self.tenants.extend(tenants.iter().map(|(name, text)| {
            let path = layout.tenant(name);
            let text = match text.len() as u64 > source::FILE_SIZE_MAX {
                false => Ok((Arc::from(*text), sum(text))),
                true => Err(Problem {
                    file: path.clone(),
                    line: 1,
                    message: format!("is larger than {} KiB", source::FILE_SIZE_MAX >> 10),
                    hint: None,
                }),
            };
            (Arc::from(*name), Seen::Read(Content { path, text, print: None }))
        }));
        self.tenants.sort_by(|(one, _), (two, _)| one.cmp(two));
        let most = source::TENANTS_MAX;
        if self.tenants.len() > most {
            let message = format!("would hold {} tenants; {most} are the most", self.tenants.len());
            self.errors.push(Problem {
                file: layout.tenants.clone(),
                line: 1,
                message,
                hint: None,
            });
        }
    }

    /// Whether a tenant's file that was read is a symbolic link.
    pub(crate) fn is_linked(&self) -> bool {
        self.tenants.iter().any(|(_, seen)| match seen {
            Seen::Read(content) => content.path.is_symlink(),
            Seen::Same | Seen::Gone => false,
        })
    }
}

/// Looks at the files of `layout`, at many with idle priority if `idle`. `known` is how each tenant's file looked last; tenants that are known
/// and not found are gone.
pub(crate) fn look(
    layout: &Layout,
    scope: &Scope,
    idle: bool,
    known: &mut dyn Iterator<Item = (Arc<str>, Option<Print>)>,
    now: SystemTime,
) -> Look {
    let held = |path: &Path| scope.held.contains(path);
    let host = scope.host && !held(&layout.host);
    let host = host.then(|| Content::read(&layout.host, now));
    let mut look = Look { host, ..Look::default() };
    let mut wanted: Vec<(Arc<str>, PathBuf)> = Vec::new();
    match &scope.tenants {
        Some(names) => {
            for name in names {
                let path = layout.tenant(name);
                let there = std::fs::symlink_metadata(&path).is_ok();
                match there {
                    _ if held(&path) => {}
                    true => wanted.push((name.as_str().into(), path)),
                    false if scope.patient => {}
                    false => look.tenants.push((name.as_str().into(), Seen::Gone)),
                }
            }
        }
        None => {
            let problems = Problems::default();
            let mut known: std::collections::BTreeMap<Arc<str>, Option<Print>> = known.collect();
            let files = match layout.tenant_files(&problems) {
                Some(files) => files,
                // Without the directory there may be none, or it is being replaced.
                None if known.is_empty() => Vec::new(),
                None => {
                    let place = Place { file: problems.add_file(&layout.tenants), line: 1 };
                    let message = format!("is not there, and {} tenants are in force", known.len());
                    let hint = "an empty directory means that there are none";
                    problems.error(place, message, Some(hint.to_owned()));
                    Vec::new()
                }
            };
            for path in files {
                let name = name_of(&path);
                let before = known.remove(&name).flatten();
                let about = Print::now(&path, now);
                let same = match (before, about) {
                    (Some(before), Some(about)) => before.still(&about),
                    _ => false,
                };
                let same = same || (scope.poll && about.is_some_and(|about| !about.settled));
                match same || held(&path) {
                    true => look.tenants.push((name, Seen::Same)),
                    false => wanted.push((name, path)),
                }
            }
            (look.errors, look.warnings) = problems.into_lists();
            if look.errors.is_empty() {
                let gone = known.into_keys().filter(|name| !held(&layout.tenant(name)));
                match scope.patient {
                    true => look.missing.extend(gone),
                    false => look.tenants.extend(gone.map(|name| (name, Seen::Gone))),
                }
            }
        }
    }
    let read = parallel(&wanted, idle, |(_, path)| Content::read(path, now));
    let read = wanted.into_iter().zip(read).map(|((name, _), it)| (name, Seen::Read(it)));
    look.tenants.extend(read);
    look.tenants.sort_by(|(one, _), (two, _)| one.cmp(two));
    look
}

/// The tenant that a file makes.
pub(crate) fn name_of(path: &Path) -> Arc<str> {
    path.file_stem().unwrap_or_default().to_string_lossy().into()
}

/// As few as these are done at once, by whoever is there: starting threads would take longer.
const FEW: usize = 16;

/// `each` of `items`, in order, on all processors; with idle priority if `idle`.
pub(crate) fn parallel<T: Sync, R: Send>(
    items: &[T],
    idle: bool,
    each: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if items.len() <= FEW {
        return items.iter().map(each).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let next = AtomicUsize::new(0);
    let work = || {
        if idle && let Err(error) = media_engine::idle_priority() {
            tracing::debug!(%error, "priority stays as it is");
        }
        let mut done = Vec::new();
        while let Some((at, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
        {
            done.push((at, each(item)));
        }
        done
    };
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.flatten().collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, done)| done).collect()
}

/// Whether a name in `tenants.d` is that of a tenant's file, not of what editors leave beside it.
pub(crate) fn is_tenant_file(name: &str) -> bool {
    !source::is_backup(name) && name.ends_with(".toml")
}
