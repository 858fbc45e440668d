//! Numbers that lead to who has called for help under them (ELIN), on disk: who calls back does not ask
//! whether we were started anew meanwhile (TDR-EMG-005).

use crate::config::write_state;
use b2bua::{LENT_MAX, LentNumber};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// In the state directory.
const FILE: &str = "callbacks.json";
/// Octets that are read: far more than [`LENT_MAX`] numbers have.
const OCTETS_MAX: u64 = 8 << 20;

/// What is kept of them; clones are handles to the same.
#[derive(Clone, Debug)]
pub(crate) struct LentFile {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// By tenant and number.
    lent: Mutex<BTreeMap<(String, String), Row>>,
    /// A write is on its way that has what there is now.
    waits: AtomicBool,
    writing: Mutex<()>,
}

/// One of them, as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    tenant: String,
    number: String,
    user: String,
    /// Seconds since 1970.
    until: u64,
}

impl Row {
    fn of(lent: LentNumber) -> Self {
        let LentNumber { tenant, number, user, until } = lent;
        Self { tenant, number, user, until: seconds(until) }
    }

    fn key(&self) -> (String, String) {
        (self.tenant.clone(), self.number.clone())
    }

    fn lent(self) -> LentNumber {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(self.until);
        LentNumber { tenant: self.tenant, number: self.number, user: self.user, until }
    }
}

impl LentFile {
    /// What was kept in the state directory, and the numbers that lead to somebody still.
    pub(crate) fn open(state: &Path, now: SystemTime) -> (Self, Vec<LentNumber>) {
        let rows = read(&state.join(FILE)).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(file = FILE, %error, "who has called for help is not known any more");
            }
            Vec::new()
        });
        let rows = rows.into_iter().filter(|row| row.until > seconds(now)).take(LENT_MAX);
        let lent: BTreeMap<_, _> = rows.map(|row| (row.key(), row)).collect();
        let numbers = lent.values().cloned().map(Row::lent).collect();
        let shared = Shared {
            folder: state.to_owned(),
            lent: Mutex::new(lent),
            waits: AtomicBool::new(false),
            writing: Mutex::default(),
        };
        (Self { shared: Arc::new(shared) }, numbers)
    }

    /// Has one kept.
    pub(crate) fn keep(&self, now: SystemTime, number: LentNumber) {
        self.shared.note(now, number);
        if !self.shared.waits.swap(true, Ordering::AcqRel) {
            let file = self.clone();
            tokio::task::spawn_blocking(move || file.flush());
        }
    }

    /// Writes what waits to be written.
    pub(crate) fn flush(&self) {
        if let Err(error) = self.shared.write() {
            tracing::warn!(
                file = FILE,
                %error,
                "whom numbers lead to that have called for help is not kept over a restart"
            );
        }
    }
}

impl Shared {
    fn note(&self, now: SystemTime, number: LentNumber) {
        let row = Row::of(number);
        let mut lent = lock(&self.lent);
        lent.insert(row.key(), row);
        if lent.len() > LENT_MAX {
            lent.retain(|_, row| row.until > seconds(now));
        }
        if lent.len() > LENT_MAX
            && let Some(first) = lent.values().min_by_key(|row| row.until).map(Row::key)
        {
            lent.remove(&first);
        }
    }

    fn write(&self) -> io::Result<()> {
        let _one = lock(&self.writing);
        if !self.waits.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let rows: Vec<Row> = lock(&self.lent).values().cloned().collect();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        write_state(&self.folder, FILE, &serde_json::to_vec(&rows)?, true)
    }
}

fn read(path: &Path) -> io::Result<Vec<Row>> {
    let mut text = Vec::new();
    File::open(path)?.take(OCTETS_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(name: &str) -> PathBuf {
        let name = format!("tollgate-lent-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn at(s: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + s)
    }

    fn lent(number: &str, user: &str, until_s: u64) -> LentNumber {
        let [tenant, number, user] = ["contoso", number, user].map(str::to_owned);
        LentNumber { tenant, number, user, until: at(until_s) }
    }

    #[tokio::test]
    async fn who_has_called_for_help_is_known_after_a_restart_and_nobody_else_reads_it() {
        let folder = folder("restart");
        let (file, none) = LentFile::open(&folder, at(0));
        assert_eq!(none, []);
        file.keep(at(0), lent("+1", "anna", 3600));
        file.keep(at(1), lent("+1", "boris", 3601));
        file.keep(at(2), lent("+2", "carl", 10));
        file.flush();
        let (_, there) = LentFile::open(&folder, at(20));
        assert_eq!(there, [lent("+1", "boris", 3601)], "the last, and none whose time is over");
        let mode = std::fs::metadata(folder.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_damaged_keeps_nobody_from_starting_and_the_next_call_mends_it() {
        let folder = folder("damaged");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(FILE), "[{\"tenant\":").unwrap();
        let (file, none) = LentFile::open(&folder, at(0));
        assert_eq!(none, []);
        file.shared.note(at(0), lent("+1", "anna", 3600));
        file.shared.waits.store(true, Ordering::Release);
        file.flush();
        assert_eq!(LentFile::open(&folder, at(1)).1.len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn no_more_are_kept_than_the_core_lends() {
        let (file, _) = LentFile::open(&folder("bounded"), at(0));
        for n in 0..=LENT_MAX as u64 {
            file.shared.note(at(0), lent(&format!("+{n}"), "anna", 100 + n));
        }
        let kept = lock(&file.shared.lent);
        assert_eq!(kept.len(), LENT_MAX);
        assert!(kept.keys().all(|(_, number)| number != "+0"), "who would be forgotten first");
    }
}
