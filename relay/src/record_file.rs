//! Call records as JSON lines, in a file that is bounded by turning it over, written by a thread of
//! its own: a disk that hangs must not hold up signalling.

use crate::clock;
use crate::record_line;
use b2bua::record::Record;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::iter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Records that wait for the disk: some seconds of a busy host. Beyond it they are lost and counted.
const WAITING_MAX: usize = 8_192;

/// While a busy host ends more calls, they gather to be written as one: a system call and a wake-up for
/// each would cost as much as a tenth of a call. On an idle host a record is written at once.
const GATHER: Duration = Duration::from_millis(20);

/// Takes records and has them written. Dropping it waits until all are.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    queue: Option<SyncSender<Box<Record>>>,
    thread: Option<JoinHandle<()>>,
}

impl RecordWriter {
    /// Writes to `file` from now on.
    pub(crate) fn start(mut file: RecordFile) -> io::Result<Self> {
        let (queue, records) = sync_channel::<Box<Record>>(WAITING_MAX);
        let write = move || {
            while let Ok(first) = records.recv() {
                let batch: Vec<_> = iter::once(first).chain(records.try_iter()).collect();
                file.write(&batch);
                clock::pause(GATHER);
            }
        };
        let thread = thread::Builder::new().name("records".into()).spawn(write)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Has a record written. Never waits.
    pub(crate) fn write(&self, record: Box<Record>) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(record) | TrySendError::Disconnected(record)) =
            queue.try_send(record)
        {
            lost(&[record], "the disk does not keep up");
        }
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.queue.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes records panicked");
        }
    }
}

fn lost(records: &[Box<Record>], why: impl Display) {
    for record in records {
        tracing::warn!(call = record.call, %why, "record is lost");
    }
    metrics::counter!("tollgate_records_lost_total").increment(records.len() as u64);
}

/// The file that records are appended to.
#[derive(Debug)]
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
    octets: u64,
    octets_max: u64,
    files_max: u32,
}

impl RecordFile {
    /// Opens or makes the file. At `octets_max` it becomes `PATH.1`, the one before `PATH.2`, and so
    /// on; at most `files_max` files are kept, this one counted.
    pub(crate) fn open(path: &Path, octets_max: u64, files_max: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append_to(path)?;
        let octets = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, octets, octets_max, files_max })
    }

    /// Appends records, in one piece where one file takes them. What cannot be written is counted.
    fn write(&mut self, records: &[Box<Record>]) {
        let mut text = Vec::new();
        let mut first = 0;
        for (index, record) in records.iter().enumerate() {
            let before = text.len();
            // Neither can what a record is made of fail to be written, nor writing into memory.
            let _ = serde_json::to_writer(&mut text, &record_line::of(record));
            text.push(b'\n');
            if self.octets + text.len() as u64 > self.octets_max && self.octets + before as u64 > 0
            {
                let line = text.split_off(before);
                self.append(&text, &records[first..index]);
                let turned = self.turn_over();
                if let Err(error) = turned {
                    return lost(&records[index..], &error);
                }
                (text, first) = (line, index);
            }
        }
        self.append(&text, &records[first..]);
    }

    fn append(&mut self, text: &[u8], records: &[Box<Record>]) {
        if let Err(error) = self.try_append(text) {
            lost(records, &error);
        }
    }

    fn try_append(&mut self, text: &[u8]) -> io::Result<()> {
        // Somebody may have moved it away (logrotate): what follows belongs in a new one.
        if !self.path.exists() {
            self.file = append_to(&self.path)?;
            self.octets = 0;
        }
        self.file.write_all(text)?;
        self.octets += text.len() as u64;
        Ok(())
    }

    fn turn_over(&mut self) -> io::Result<()> {
        for number in (1..self.files_max.saturating_sub(1)).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            if from.exists() {
                std::fs::rename(from, to)?;
            }
        }
        if self.files_max > 1 {
            std::fs::rename(&self.path, self.numbered(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append_to(&self.path)?;
        self.octets = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Records hold who called whom: others on the host have no business with them.
const MODE: u32 = 0o640;

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use b2bua::plan::RouteFrom;
    use b2bua::record::TeamsLeg;
    use serde_json::Value;
    use std::time::UNIX_EPOCH;

    pub(crate) fn record(call: u64) -> Record {
        Record {
            call,
            direction: RouteFrom::Teams,
            tenant: Some("contoso".into()),
            fqdn: None,
            ringing: None,
            microsoft: None,
            teams: TeamsLeg::default(),
            started: UNIX_EPOCH + Duration::from_millis(951_782_400_007),
            setup: Some(Duration::from_millis(1200)),
            talk: Duration::from_secs(5),
            from: "+4930123450".into(),
            to: "+498912345".into(),
            call_id_in: "a\"b".into(),
            call_id_out: None,
            trunk_in: "teams".into(),
            attempts: Vec::new(),
            classes: Vec::new(),
            route: "contoso: teams * -> colt".into(),
            decision: Vec::new(),
            status: 200,
            cause: "caller_hangup".into(),
            reason: None,
            transcoded: None,
            transfers: Vec::new(),
            dtls: (None, None),
            passthrough: None,
            carried: None,
            fax: None,
            media: None,
        }
    }

    /// A folder of this process that is gone when the test is.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
        fn lines(&self, name: &str) -> Vec<Value> {
            let text = std::fs::read_to_string(self.0.join(name)).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_full_file_is_turned_over_and_the_oldest_goes() {
        let folder = Folder::new("records-turned");
        let one = serde_json::to_vec(&record_line::of(&record(1))).unwrap().len() as u64 + 1;
        let file = RecordFile::open(&folder.0.join("r"), one * 2, 2).unwrap();
        let writer = RecordWriter::start(file).unwrap();
        for call in 1..=5 {
            writer.write(Box::new(record(call)));
        }
        drop(writer);
        let calls = |name| folder.lines(name).iter().map(|r| r["call"].clone()).collect::<Vec<_>>();
        assert_eq!(calls("r"), [5]);
        assert_eq!(calls("r.1"), [3, 4]);
        assert!(!folder.0.join("r.2").exists());
        assert_eq!(folder.lines("r")[0]["started"], "2000-02-29T00:00:00.007Z");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = Folder::new("records-moved");
        let mut file = RecordFile::open(&folder.0.join("r"), 1 << 20, 2).unwrap();
        file.write(&[Box::new(record(1))]);
        std::fs::rename(folder.0.join("r"), folder.0.join("elsewhere")).unwrap();
        file.write(&[Box::new(record(2))]);
        assert_eq!(folder.lines("r")[0]["call"], 2);
        assert_eq!(folder.lines("elsewhere")[0]["call"], 1);
    }
}
