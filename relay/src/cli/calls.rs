//! `tollgate calls`: the calls that are up, or the last of those that are over.

use super::call::over::trunk_out;
use super::daemon::{answer, as_json};
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, CallRow, FAX, Request};
use crate::terminal::{complain, print, print_json, table};
use crate::{config, past_calls};
use serde_json::{Value, json};

/// Show the calls that are up, or with `--over` the last of those that are over
///
/// `tollgate call ID` then tells what happened to one of them. Those that are over are read from the file of
/// records, also where the daemon does not run; its newest 64 MiB are looked through.
#[derive(Debug, clap::Args)]
pub(crate) struct Calls {
    /// Show those that are over, the last one first
    #[arg(long)]
    over: bool,
    /// Only calls from or to a number with these digits in it, such as 4930123450 or 0123450
    #[arg(long, value_name = "DIGITS")]
    number: Option<String>,
    /// Only calls of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// With --over: at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, requires = "over")]
    last: usize,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Calls {
    pub(crate) fn run(self) -> Exit {
        if self.over {
            return self.over();
        }
        match answer(self.config.clone(), Request::Calls) {
            Ok(Answer::Calls { mut calls }) => {
                calls.retain(|it| self.is_wanted(Some(&it.tenant), [&it.from, &it.to]));
                match self.json {
                    true => print_json(&as_json(Answer::Calls { calls })),
                    false => print(&text(&calls)),
                }
                Exit::Done
            }
            Ok(_) => Exit::No,
            Err(exit) => exit,
        }
    }

    fn over(&self) -> Exit {
        let records = config::records(&self.config.clone().path());
        let wanted = |record: &Value| {
            let number = |key: &str| record[key].as_str().unwrap_or_default();
            self.is_wanted(record["tenant"].as_str(), [number("from"), number("to")])
        };
        let calls = match past_calls::newest(&records, "", &wanted, self.last) {
            Ok(calls) => calls,
            Err(error) => {
                complain(&format!(
                    "{} cannot be read: {error}\nhint: those in the group of the service may read it",
                    records.file.display()
                ));
                return Exit::No;
            }
        };
        match self.json {
            true => print_json(&json!({ "calls": calls })),
            false => print(&over_text(&calls)),
        }
        Exit::Done
    }

    fn is_wanted(&self, tenant: Option<&str>, numbers: [&str; 2]) -> bool {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let number = self.number.as_deref().map(digits);
        let is_of = self.tenant.as_deref().is_none_or(|wanted| tenant == Some(wanted));
        let mut numbers = numbers.into_iter();
        is_of && number.is_none_or(|number| numbers.any(|it| digits(it).contains(&number)))
    }
}

fn text(calls: &[CallRow]) -> String {
    if calls.is_empty() {
        return "no calls\n".into();
    }
    let head = [
        "CALL",
        "TENANT",
        "DIRECTION",
        "FROM",
        "TO",
        "STATE",
        "AGE",
        "TRUNKS",
        "AUDIO",
        "DATAPATH",
    ];
    let rows = calls.iter().map(|call| {
        let out = call.trunk_out.as_deref().unwrap_or("-");
        [
            call.call.to_string(),
            call.tenant.clone(),
            call.direction.clone(),
            call.from.clone(),
            call.to.clone(),
            call.state.clone(),
            format!("{} s", call.age_seconds),
            format!("{} -> {out}", call.trunk_in),
            audio(call),
            datapath(call),
        ]
    });
    table(&head, rows)
}

/// What carries the legs, in the order of the trunks.
fn datapath(call: &CallRow) -> String {
    match &call.datapath {
        None => "-".into(),
        Some((a, b)) if a == b => a.clone(),
        Some((a, b)) => format!("{a}, {b}"),
    }
}

/// Whether both legs are heard; who is not, and why.
fn audio(call: &CallRow) -> String {
    let Some((a, b)) = &call.audio else { return "-".into() };
    if a == b && [FLOWS, FAX].contains(&a.as_str()) {
        return a.clone();
    }
    let out = call.trunk_out.as_deref().unwrap_or("b");
    let silent = [(call.trunk_in.as_str(), a), (out, b)].into_iter().filter(|(_, it)| *it != FLOWS);
    let silent: Vec<String> = silent.map(|(trunk, cause)| format!("{trunk}: {cause}")).collect();
    silent.join(", ")
}

/// One row a call: when, who, how it ended, and how it was heard.
fn over_text(calls: &[Value]) -> String {
    if calls.is_empty() {
        return "no calls\n".into();
    }
    let head = ["CALL", "BEGAN", "TENANT", "FROM", "TO", "TRUNKS", "ENDED", "TALKED", "AUDIO"];
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = calls.iter().map(|record| {
        let began = word(&record["started"]);
        let (trunk_in, out) = (word(&record["trunk_in"]), trunk_out(record).unwrap_or("-"));
        [
            record["call"].to_string(),
            // To the second.
            began.split_once('.').map_or(began.clone(), |(until, _)| format!("{until}Z")),
            word(&record["tenant"]),
            word(&record["from"]),
            word(&record["to"]),
            format!("{trunk_in} -> {out}"),
            format!("{} ({})", word(&record["cause"]), record["status"]),
            record["talk_ms"].as_u64().map_or("-".into(), |ms| format!("{} s", ms / 1000)),
            heard(record),
        ]
    });
    table(&head, rows)
}

/// Who was not heard, and why; else how both legs sounded, in the order of the trunks.
fn heard(record: &Value) -> String {
    let media = &record["media"];
    if record["setup_ms"].is_null() || media.is_null() {
        return "-".into();
    }
    let legs = [(record["trunk_in"].as_str(), &media["a"]), (trunk_out(record), &media["b"])];
    let silent = legs.iter().filter_map(|(trunk, leg)| {
        let cause = leg["silence"].as_str().filter(|cause| !["held", "muted"].contains(cause))?;
        Some(format!("{}: {cause}", trunk.unwrap_or("-")))
    });
    let silent: Vec<String> = silent.collect();
    if !silent.is_empty() {
        return silent.join(", ");
    }
    if record["fax"] == "t38" {
        return FAX.into();
    }
    let mos = legs.map(|(_, leg)| leg["mos"].as_f64().map_or("-".into(), |mos| format!("{mos}")));
    format!("MOS {}", mos.join(", "))
}

/// The word for a leg that is heard.
pub(super) const FLOWS: &str = "flows";

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(number: Option<&str>, tenant: Option<&str>) -> Calls {
        let config = crate::cli::ConfigFlag { config: None };
        let [number, tenant] = [number, tenant].map(|it| it.map(str::to_owned));
        Calls { over: true, number, tenant, last: 20, config, json: false }
    }

    #[test]
    fn a_call_is_not_found_by_the_number_that_its_user_tells() {
        let numbers = ["+4930123450", "+498912345"];
        for asked in ["4930123450", "+49 30 123450", "0123450", "8912345"] {
            assert!(calls(Some(asked), None).is_wanted(Some("contoso"), numbers), "{asked}");
        }
        assert!(!calls(Some("4930123451"), None).is_wanted(Some("contoso"), numbers));
        assert!(!calls(None, Some("fabrikam")).is_wanted(Some("contoso"), numbers));
        assert!(!calls(None, Some("fabrikam")).is_wanted(None, numbers));
    }

    #[test]
    fn a_list_of_calls_does_not_say_which_was_not_heard() {
        let record = |silence: &str, mos: Option<f64>| {
            json!({
                "call": 7, "started": "2026-11-30T18:03:04.941Z", "tenant": "contoso",
                "from": "+4930123450", "to": "+498912345", "trunk_in": "teams", "status": 200,
                "attempts": [{ "trunk": "bt" }, { "trunk": "colt" }], "cause": "caller_hangup",
                "setup_ms": 1200, "talk_ms": 9004,
                "media": { "a": { "mos": 4.41 }, "b": { "mos": mos, "silence": silence } },
            })
        };
        let refused = json!({
            "call": 8, "started": "2026-11-30T18:03:05.000Z", "tenant": null, "from": "+498912345",
            "to": "+4930999", "trunk_in": "colt", "status": 404, "attempts": [],
            "cause": "unknown_tenant", "setup_ms": null, "talk_ms": 0, "media": null,
        });
        let shown = over_text(&[record("no_packets", None), record("held", Some(4.2)), refused]);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].starts_with("7     2026-11-30T18:03:04Z  contoso"), "{shown}");
        assert!(lines[1].ends_with("caller_hangup (200)   9 s     colt: no_packets"), "{shown}");
        assert!(lines[2].ends_with("9 s     MOS 4.41, 4.2"), "{shown}");
        assert!(lines[3].contains("colt -> -") && lines[3].ends_with("0 s     -"), "{shown}");
    }
}
