//! `tollgate diff --replay`: what the recorded calls of the last day would meet after a reload.

use super::daemon::{answer, problems_told};
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, Request};
use crate::replay::{Changed, Replayed};
use crate::terminal::{complain, print, print_json, table};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

pub(super) fn run(config: ConfigFlag, with: Option<PathBuf>, as_json: bool) -> Exit {
    let replayed = match answer(config, Request::Replay { with }) {
        Ok(Answer::Replayed(replayed)) => *replayed,
        Ok(_) => return Exit::Unreachable,
        Err(exit) => return exit,
    };
    let harmless = replayed.is_harmless();
    if as_json {
        let mut object = json!(replayed);
        if let Some(keys) = object.as_object_mut() {
            keys.insert("ok".into(), harmless.into());
        }
        print_json(&object);
    } else {
        print(&text(&replayed));
        problems_told(&replayed.problems);
        if replayed.refused {
            complain("a reload would be refused; the configuration in force would stay");
        }
    }
    if harmless { Exit::Done } else { Exit::No }
}

fn text(replayed: &Replayed) -> String {
    if replayed.refused {
        return String::new();
    }
    let mut text = String::new();
    let file = replayed.records.display();
    if let Some(why) = &replayed.failed {
        let _ = writeln!(text, "records cannot be read: {file}: {why}");
    } else if !replayed.recorded {
        let _ = writeln!(text, "no records: {file} is not there, so no call was looked at");
        return text;
    }
    if !replayed.listed.is_empty() {
        let head = ["TIME", "TENANT", "FROM", "TO", "IN", "WOULD", "IN FORCE -> ON DISK"];
        text.push_str(&table(&head, replayed.listed.iter().map(row)));
    }
    let changed = replayed.elsewhere
        + replayed.would_fail
        + replayed.would_succeed
        + replayed.refused_otherwise;
    let more = changed.saturating_sub(replayed.listed.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    let Replayed { calls, same, elsewhere, would_fail, would_succeed, .. } = replayed;
    let _ = writeln!(
        text,
        "{calls} calls of the last day: {same} same, {elsewhere} elsewhere, {would_fail} would fail, \
         {would_succeed} would now succeed"
    );
    if replayed.refused_otherwise > 0 {
        let _ = writeln!(text, "refused for another reason: {}", replayed.refused_otherwise);
    }
    if replayed.hook_not_asked > 0 {
        let _ = writeln!(
            text,
            "by the routes alone, as hooks are not asked: {}",
            replayed.hook_not_asked
        );
    }
    for (reason, count) in &replayed.skipped {
        let _ = writeln!(text, "records skipped, {reason}: {count}");
    }
    if let Some(why) = &replayed.cut {
        let _ = writeln!(text, "older calls were not looked at: {why}");
    }
    text
}

fn row(changed: &Changed) -> [String; 7] {
    let verdict = json!(changed.verdict);
    [
        changed.started.clone(),
        changed.tenant.clone().unwrap_or_else(|| "-".into()),
        changed.from.clone(),
        changed.to.clone(),
        changed.trunk_in.clone(),
        verdict.as_str().unwrap_or_default().trim_start_matches("would_").replace('_', " "),
        format!("{} -> {}", changed.old.words, changed.new.words),
    ]
}
