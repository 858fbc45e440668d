//! The calls of the last day, as their records tell: what the fraud guard had counted before a restart.

use crate::config::Records;
use crate::replay::backwards::Backwards;
use b2bua::fraud::PastCall;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is older has left every ceiling: a day, and the slot that it began in.
const DAY: Duration = Duration::from_secs(24 * 3600 + 900);
/// Octets of records that are read, the newest first: a start must not wait for more of them.
const OCTETS_MAX: u64 = 64 << 20;
/// What a record has that counted for a class; all others are passed over unread.
const COUNTED: &str = "\"classes\":[\"";

/// The calls of the last day that counted for a class of destinations. What cannot be read is told in
/// the log: the ceilings then begin lower than they might.
pub(crate) fn read(records: &Records, now: SystemTime) -> Vec<PastCall> {
    let mut calls = Vec::new();
    let mut left = OCTETS_MAX;
    for number in 0..records.files_max {
        let path = numbered(&records.file, number);
        match tail(&path, now, left) {
            Ok(Some(octets)) => {
                left = left.saturating_sub(octets.len() as u64);
                let lines = octets.split(|octet| *octet == b'\n');
                calls.extend(lines.filter_map(|line| counted(line, now)));
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the fraud guard cannot read records");
                break;
            }
        }
        if left == 0 {
            let octets = OCTETS_MAX;
            tracing::warn!(octets, "the fraud guard has read no more records than these");
            break;
        }
    }
    calls
}

/// The end of a file, at most `most` octets; `None` if it was last written more than a day ago.
fn tail(path: &Path, now: SystemTime, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if now.duration_since(about.modified()?).is_ok_and(|ago| ago > DAY) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(about.len().saturating_sub(most)))?;
    let mut octets = Vec::new();
    // A line that is cut off is no record, and is passed over as such.
    file.take(most).read_to_end(&mut octets)?;
    Ok(Some(octets))
}

/// The call of a record, if it counted and is not too old.
fn counted(line: &[u8], now: SystemTime) -> Option<PastCall> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.contains(COUNTED))?;
    let record: Value = serde_json::from_str(line).ok()?;
    let started = humantime::parse_rfc3339(record["started"].as_str()?).ok()?;
    // A clock that was set back does not make calls of the future.
    let began_ago = now.duration_since(started).unwrap_or_default();
    let ms = |key: &str| record[key].as_u64().map(Duration::from_millis).unwrap_or_default();
    let talk = ms("talk_ms");
    let classes = record["classes"].as_array()?.iter().filter_map(Value::as_str);
    let call = PastCall {
        tenant: record["tenant"].as_str()?.to_owned(),
        classes: classes.map(str::to_owned).collect(),
        began_ago,
        answered_ago: began_ago.saturating_sub(ms("setup_ms")),
        talk,
    };
    (call.answered_ago.saturating_sub(talk) <= DAY).then_some(call)
}

/// The record of the call that has this number, the newest if a restart has begun to count anew.
pub(crate) fn find(records: &Records, call: u64) -> io::Result<Option<Value>> {
    let written = format!("\"call\":{call},");
    let is_it = |record: &Value| record["call"].as_u64() == Some(call);
    newest(records, &written, &is_it, 1).map(|mut found| found.pop())
}

/// The record of the newest call of which a leg has this Call-ID.
pub(crate) fn with_call_id(records: &Records, id: &str) -> io::Result<Option<Value>> {
    let is_it =
        |record: &Value| [&record["call_id_in"], &record["call_id_out"]].contains(&&id.into());
    // As it stands in a record.
    let written = Value::from(id).to_string();
    newest(records, &written, &is_it, 1).map(|mut found| found.pop())
}

/// The newest records that are wanted, the last one first, at most `most`; they are looked for in the newest
/// [`OCTETS_MAX`] octets. Lines without `written` are passed over unread.
pub(crate) fn newest(
    records: &Records,
    written: &str,
    wanted: &dyn Fn(&Value) -> bool,
    most: usize,
) -> io::Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut left = OCTETS_MAX;
    for number in 0..records.files_max {
        let file = match File::open(numbered(&records.file, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let mut lines = Backwards::new(file)?;
        while let Some(line) = lines.next()? {
            if found.len() >= most || left == 0 {
                return Ok(found);
            }
            left = left.saturating_sub(line.len() as u64);
            let line = String::from_utf8_lossy(&line);
            // A line that is cut off is no record.
            if line.contains(written)
                && let Ok(record) = serde_json::from_str::<Value>(&line)
                && wanted(&record)
            {
                found.push(record);
            }
        }
    }
    Ok(found)
}

/// The file of records that has this number; the newest has 0.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tenant: &str, classes: &str, started: SystemTime, talk_ms: u64) -> String {
        let started = humantime::format_rfc3339_millis(started);
        format!(
            "{{\"call\":1,\"classes\":{classes},\"setup_ms\":2000,\"started\":\"{started}\",\"talk_ms\":{talk_ms},\"tenant\":\"{tenant}\"}}\n"
        )
    }

    #[test]
    fn calls_of_the_last_day_are_found_in_all_files_and_others_passed_over() {
        let folder = std::env::temp_dir().join(format!("past-calls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let now = crate::clock::now().wall;
        let ago = |minutes: u64| now - Duration::from_secs(60 * minutes);
        let file = folder.join("r");
        let newest = [
            line("contoso", "[\"premium\",\"international\"]", ago(30), 60_000),
            line("contoso", "[]", ago(20), 60_000),
            "{\"classes\":[\"premium\"], this is cut o\n".to_owned(),
            line("contoso", "[\"premium\"]", now + Duration::from_secs(5), 0),
        ];
        std::fs::write(&file, newest.concat()).unwrap();
        let before = [
            line("fabrikam", "[\"premium\"]", ago(25 * 60), 45 * 60_000),
            line("fabrikam", "[\"premium\"]", ago(25 * 60), 1_000),
        ];
        std::fs::write(folder.join("r.1"), before.concat()).unwrap();
        let records = Records { file, ..Records::default() };
        let calls = read(&records, now);
        let seen: Vec<_> = calls
            .iter()
            .map(|call| (&*call.tenant, call.classes.len(), call.began_ago.as_secs() / 60))
            .collect();
        assert_eq!(seen, [("contoso", 2, 30), ("contoso", 1, 0), ("fabrikam", 1, 1500)]);
        assert_eq!(calls[0].answered_ago.as_secs(), 30 * 60 - 2);
        assert_eq!(calls[0].talk, Duration::from_secs(60));
        let nothing = Records { file: folder.join("none"), ..Records::default() };
        assert_eq!(read(&nothing, now), []);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_newest_of_calls_that_are_wanted_come_first_over_all_files() {
        let folder = std::env::temp_dir().join(format!("past-calls-newest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let line = |call: u64, id: &str| {
            format!("{{\"call\":{call},\"call_id_in\":\"{id}\",\"call_id_out\":null}}\n")
        };
        let file = folder.join("r");
        std::fs::write(&file, [line(1, "c"), "{\"call\":9, cut".into()].concat()).unwrap();
        std::fs::write(folder.join("r.1"), [line(1, "a"), line(2, "b")].concat()).unwrap();
        let records = Records { file, ..Records::default() };
        let calls =
            |found: Vec<Value>| found.iter().map(|it| it["call"].clone()).collect::<Vec<_>>();
        assert_eq!(calls(newest(&records, "", &|_| true, 9).unwrap()), [1, 2, 1]);
        assert_eq!(calls(newest(&records, "", &|_| true, 2).unwrap()), [1, 2]);
        assert_eq!(find(&records, 1).unwrap().unwrap()["call_id_in"], "c");
        assert_eq!(with_call_id(&records, "b").unwrap().unwrap()["call"], 2);
        assert_eq!(with_call_id(&records, "d").unwrap(), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_record_as_it_is_written_is_found() {
        let written = serde_json::json!({ "classes": ["premium"] }).to_string();
        assert!(written.contains(COUNTED));
    }
}
