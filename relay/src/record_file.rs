//! Call records as JSON lines, in a file that is bounded by turning it over.

use b2bua::record::{MediaLeg, MediaSummary, Record};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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

    /// Appends one record.
    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = to_json(record).to_string();
        line.push('\n');
        // Somebody may have moved it away (logrotate): what follows belongs in a new one.
        if !self.path.exists() {
            self.file = append_to(&self.path)?;
            self.octets = 0;
        }
        if self.octets > 0 && self.octets + line.len() as u64 > self.octets_max {
            self.turn_over()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.octets += line.len() as u64;
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

/// The record as operators read it.
pub(crate) fn to_json(record: &Record) -> Value {
    let attempts: Vec<Value> = record
        .attempts
        .iter()
        .map(|a| json!({ "trunk": a.trunk, "target": a.target, "outcome": a.outcome }))
        .collect();
    json!({
        "call": record.call,
        "direction": crate::telemetry::direction_word(record.direction),
        "tenant": record.tenant,
        "started": humantime::format_rfc3339_millis(record.started).to_string(),
        "setup_ms": record.setup.map(|setup| setup.as_millis() as u64),
        "talk_ms": record.talk.as_millis() as u64,
        "from": record.from,
        "to": record.to,
        "call_id_in": record.call_id_in,
        "call_id_out": record.call_id_out,
        "trunk_in": record.trunk_in,
        "attempts": attempts,
        "route": record.route,
        "status": record.status,
        "cause": record.cause,
        "reason": record.reason,
        "media": record.media.as_ref().map(summary),
    })
}

fn summary(media: &MediaSummary) -> Value {
    json!({ "a": leg(&media.a), "b": leg(&media.b) })
}

fn leg(leg: &MediaLeg) -> Value {
    json!({
        "received": leg.received,
        "sent": leg.sent,
        "lost": leg.lost,
        "jitter_ms": (leg.jitter_ms * 100.0).round() / 100.0,
        "dropped": leg.dropped,
    })
}
