//! `tollgate diff --replay`: the recorded calls of the last day, put to the configuration in force and to
//! the one on disk.

pub(crate) mod backwards;
#[cfg(test)]
mod tests;

use crate::clock;
use crate::config::Records;
use crate::past_calls;
use b2bua::{Destination, PastInvite, Plan, Replay};
use backwards::Backwards;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Calls that are looked at, the newest first: a day of a busy host, and some seconds of work.
pub const CALLS_MAX: u64 = 100_000;
/// Calls that are listed, the newest first; the others are counted.
pub const LISTED_MAX: usize = 200;
/// How long it may take, judging the files included: its client waits for no more than half a minute.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What became of the calls, as `--json` prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Calls that were put to both configurations.
    pub calls: u64,
    /// They go where they went, or are refused for the reason that they were.
    pub same: u64,
    /// They would go to other trunks, in another order, or for another tenant.
    pub elsewhere: u64,
    /// They would be refused, and are not now.
    pub would_fail: u64,
    /// They are refused now, and would not be.
    pub would_succeed: u64,
    /// They would be refused for another reason.
    pub refused_otherwise: u64,
    /// Of all of them, calls of tenants with a routing hook, which is not asked.
    pub hook_not_asked: u64,
    /// Records that were not put to anybody, by the reason: `unreadable`, `no_tenant`, `nobody_called`.
    pub skipped: BTreeMap<String, u64>,
    /// Why older calls were not looked at, though there may be some.
    pub cut: Option<String>,
    /// The file of records.
    pub records: PathBuf,
    /// Whether there is one.
    pub recorded: bool,
    /// What kept records from being read.
    pub failed: Option<String>,
    /// The calls that are not the same, the newest first.
    pub listed: Vec<Changed>,
    /// At most so many are listed.
    pub listed_max: usize,
    /// What is wrong with files: such a tenant would stay as it is, or absent.
    pub problems: Vec<String>,
    /// Nothing would change, because of the problems.
    pub refused: bool,
}

/// A call that would go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the record")]
pub struct Changed {
    pub started: String,
    pub tenant: Option<String>,
    pub from: String,
    pub to: String,
    pub trunk_in: String,
    pub verdict: Verdict,
    pub old: Decision,
    pub new: Decision,
}

/// What one configuration decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// In words: `colt, bt`, or `refused no_route`.
    pub words: String,
    /// The trunks in order; none if it is refused.
    pub trunks: Vec<String>,
    /// The reason, if it is refused.
    pub refused: Option<String>,
    /// The same in a sentence.
    pub why: Option<String>,
}

/// What a call's two decisions are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are those of the totals")]
pub enum Verdict {
    Same,
    Elsewhere,
    WouldFail,
    WouldSucceed,
    RefusedOtherwise,
}

impl Verdict {
    fn of(old: &Destination, new: &Destination) -> Self {
        match (&old.to, &new.to) {
            (Ok(was), Ok(is)) if was == is && old.fqdn == new.fqdn => Self::Same,
            (Ok(_), Ok(_)) => Self::Elsewhere,
            (Ok(_), Err(_)) => Self::WouldFail,
            (Err(_), Ok(_)) => Self::WouldSucceed,
            (Err(was), Err(is)) if was == is => Self::Same,
            (Err(_), Err(_)) => Self::RefusedOtherwise,
        }
    }
}

impl Replayed {
    /// Whether every call that was looked at would go where it goes now, or at least somewhere.
    pub fn is_harmless(&self) -> bool {
        let holds = !self.refused && self.problems.is_empty() && self.failed.is_none();
        holds && self.elsewhere == 0 && self.would_fail == 0
    }

    fn count(&mut self, record: Recorded, [old, new]: [Destination; 2]) {
        let verdict = Verdict::of(&old, &new);
        self.calls += 1;
        self.hook_not_asked += u64::from(old.hook || new.hook);
        let total = match verdict {
            Verdict::Same => &mut self.same,
            Verdict::Elsewhere => &mut self.elsewhere,
            Verdict::WouldFail => &mut self.would_fail,
            Verdict::WouldSucceed => &mut self.would_succeed,
            Verdict::RefusedOtherwise => &mut self.refused_otherwise,
        };
        *total += 1;
        if verdict == Verdict::Same || self.listed.len() >= LISTED_MAX {
            return;
        }
        let moved = old.fqdn != new.fqdn && old.to.is_ok() && new.to.is_ok();
        let Recorded { started, tenant, from, to, trunk_in, .. } = record;
        let [old, new] = [old, new].map(|destination| Decision::new(destination, moved));
        self.listed.push(Changed { started, tenant, from, to, trunk_in, verdict, old, new });
    }

    fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }
}

impl Decision {
    /// `moved`: it is another tenant's, or goes out under another name.
    fn new(destination: Destination, moved: bool) -> Self {
        let mut words = destination.to_string();
        if let Some(fqdn) = destination.fqdn.filter(|_| moved) {
            words.push_str(&format!(" ({fqdn})"));
        }
        match destination.to {
            Ok(trunks) => Self { words, trunks, refused: None, why: None },
            Err(refusal) => {
                let (refused, why) = (Some(refusal.reason.to_owned()), Some(refusal.why));
                Self { words, trunks: Vec::new(), refused, why }
            }
        }
    }
}

/// What is needed of a record.
#[derive(Debug, Deserialize)]
struct Recorded {
    started: String,
    #[serde(default)]
    setup_ms: Option<u64>,
    #[serde(default)]
    talk_ms: u64,
    tenant: Option<String>,
    from: String,
    to: String,
    trunk_in: String,
}

impl Recorded {
    fn read(line: &[u8]) -> Option<(Self, SystemTime)> {
        let record: Self = serde_json::from_slice(line).ok()?;
        let started = humantime::parse_rfc3339(&record.started).ok()?;
        Some((record, started))
    }

    /// Records are written in the order of this.
    fn ended(&self, started: SystemTime) -> SystemTime {
        let lasted = self.setup_ms.unwrap_or_default().saturating_add(self.talk_ms);
        started.checked_add(Duration::from_millis(lasted)).unwrap_or(started)
    }

    fn invite(&self, at: SystemTime) -> PastInvite {
        // The same in both configurations, and over replays.
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let digits = self.to.bytes().fold(since.as_nanos() as u64, |sum, octet| {
            (sum ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        PastInvite {
            tenant: self.tenant.clone(),
            trunk: self.trunk_in.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            at,
            draw: digits.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }
}

/// Puts the calls of the last day to both plans, until there are no more, or no more time.
pub(crate) fn run(records: &Records, in_force: Plan, candidate: Plan, until: Instant) -> Replayed {
    let now = clock::now();
    let mut replayed =
        Replayed { records: records.file.clone(), listed_max: LISTED_MAX, ..Replayed::default() };
    let replay = Replay::new(in_force, candidate, now.mono);
    match files(records) {
        Ok(files) => {
            replayed.recorded = !files.is_empty();
            let mut lines = 0;
            for file in files {
                match look(file, &replay, (now.wall, until), &mut lines, &mut replayed) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        replayed.failed = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        Err(error) => replayed.failed = Some(error.to_string()),
    }
    replayed
}

/// The files of records, the newest first; opened together, as they may be turned over meanwhile.
fn files(records: &Records) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for number in 0..records.files_max {
        match File::open(past_calls::numbered(&records.file, number)) {
            Ok(file) => files.push(file),
            // Who moves the newest away may not have moved the others.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Looks at one file; whether those before it are to be looked at.
fn look(
    file: File,
    replay: &Replay,
    (now, until): (SystemTime, Instant),
    lines: &mut u64,
    replayed: &mut Replayed,
) -> io::Result<bool> {
    let mut file = Backwards::new(file)?;
    while let Some(line) = file.next()? {
        if *lines >= CALLS_MAX {
            replayed.cut = Some(format!("these are the newest {CALLS_MAX}"));
            return Ok(false);
        }
        if clock::now().mono >= until {
            let seconds = TIME_MAX.as_secs();
            replayed.cut = Some(format!("there were no more than {seconds} seconds for them"));
            return Ok(false);
        }
        *lines += 1;
        let Some((record, started)) = Recorded::read(&line) else {
            replayed.skip("unreadable");
            continue;
        };
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        if age(record.ended(started)) > DAY {
            return Ok(false);
        }
        if age(started) > DAY {
            continue;
        }
        match replay.of(&record.invite(started)) {
            Ok(both) => replayed.count(record, both),
            Err(unasked) => replayed.skip(unasked.as_str()),
        }
    }
    Ok(true)
}
