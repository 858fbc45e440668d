//! The SBC's call records, read back from the file as an operator's tools do.

use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(50);

/// What the demo needs of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) tenant: Option<String>,
    pub(super) call_id_in: String,
    pub(super) call_id_out: Option<String>,
    pub(super) trunk_in: String,
    /// Trunk and outcome of each attempt.
    pub(super) attempts: Vec<(String, String)>,
    pub(super) route: String,
    pub(super) status: u64,
    pub(super) cause: String,
}

impl Record {
    fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let attempts = value["attempts"].as_array()?.iter();
        Some(Self {
            tenant: text(&value["tenant"]),
            call_id_in: text(&value["call_id_in"])?,
            call_id_out: text(&value["call_id_out"]),
            trunk_in: text(&value["trunk_in"])?,
            attempts: attempts.filter_map(|a| text(&a["trunk"]).zip(text(&a["outcome"]))).collect(),
            route: text(&value["route"])?,
            status: value["status"].as_u64()?,
            cause: text(&value["cause"])?,
        })
    }

    /// The trunks it took: where it came in, and each attempt, those that failed with their outcome.
    pub(super) fn taken(&self) -> String {
        let mut taken = self.trunk_in.clone();
        for (trunk, outcome) in &self.attempts {
            taken.push_str(" > ");
            taken.push_str(trunk);
            if outcome != "200" {
                taken.push_str(&format!(" ({outcome})"));
            }
        }
        taken
    }
}

/// The record of the call that came in with this Call-ID: it is written when both legs and their
/// media are done.
pub(super) async fn wait_for(file: &Path, call_id_in: &str, patience: Duration) -> Option<Record> {
    let search = async {
        loop {
            let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
            let mut records = text.lines().rev().filter_map(Record::read);
            if let Some(record) = records.find(|record| record.call_id_in == call_id_in) {
                return record;
            }
            sleep(LOOK).await;
        }
    };
    timeout(patience, search).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_names_the_trunk_that_failed_and_the_one_that_took_the_call() {
        let line = r#"{"tenant":"contoso","call_id_in":"a","call_id_out":"b","trunk_in":"teams",
            "attempts":[{"trunk":"colt","target":"x","outcome":"503"},
            {"trunk":"bt","target":"y","outcome":"200"}],"route":"r","status":200,"cause":"caller_hangup"}"#;
        assert_eq!(Record::read(line).unwrap().taken(), "teams > colt (503) > bt");
        assert_eq!(Record::read("{"), None);
    }
}
