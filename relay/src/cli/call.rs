//! `tollgate call ID`: one call, with what comes from each side and what the other gets of it; one that is
//! over as its record tells, with what Microsoft's code means and what to do about it.

use super::ask::{FLOWS, answer, as_json, problems_told};
use super::{ConfigFlag, Exit, complain, print, print_json};
use crate::admin::{Answer, CallRow, FAX, Request};
use crate::{config, past_calls};
use b2bua::codes;
use serde_json::Value;
use std::fmt::Write as _;

/// Show one call: both directions as measured now, and why one is not heard; or how it ended, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// Its number in `tollgate calls`, or in its record
    call: u64,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(crate) fn run(self) -> Exit {
        let records = config::records(&self.config.clone().path());
        let over = || match past_calls::find(&records, self.call) {
            Ok(record) => record,
            Err(error) => {
                complain(&format!("{} cannot be read: {error}", records.file.display()));
                None
            }
        };
        let answer = match answer(self.config.clone(), Request::Call { call: self.call }) {
            Ok(answer @ Answer::Refused { .. }) => match over() {
                Some(record) => return told(&record, self.json),
                None => answer,
            },
            Ok(answer) => answer,
            Err(exit) => return exit,
        };
        let exit = match &answer {
            Answer::Refused { .. } => Exit::No,
            _ => Exit::Done,
        };
        match (self.json, answer) {
            (true, answer) => print_json(&as_json(answer)),
            (false, Answer::Call { call, media }) => print(&text(&call, media.as_ref())),
            (false, Answer::Refused { problems }) => problems_told(&problems),
            (false, _) => {}
        }
        exit
    }
}

/// A call that is over.
fn told(record: &Value, json: bool) -> Exit {
    match json {
        true => print_json(&explained(record)),
        false => print(&over(record)),
    }
    Exit::Done
}

/// The row of the table that Microsoft's words in a record stand for.
fn meaning(record: &Value) -> Option<&'static codes::Meaning> {
    let said = &record["microsoft"];
    let status = said["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let code = said["code"].as_u64().and_then(|code| u32::try_from(code).ok());
    codes::meaning(status, code)
}

/// The record, with the meaning of Microsoft's code beside it.
fn explained(record: &Value) -> Value {
    let mut record = record.clone();
    if let Some(found) = meaning(&record) {
        record["microsoft"]["means"] = found.means.into();
        record["microsoft"]["action"] = found.action.into();
    }
    serde_json::json!({ "record": record })
}

fn over(record: &Value) -> String {
    let word = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = String::new();
    let mut line = |words: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(&format!(
        "call {}  over, {} ({}), {}",
        record["call"],
        word(&record["cause"]),
        record["status"],
        word(&record["direction"])
    ));
    line(&format!("  {} calls {}", word(&record["from"]), word(&record["to"])));
    line(&format!("  tenant {}, {}", word(&record["tenant"]), word(&record["fqdn"])));
    line(&format!("  began {}", word(&record["started"])));
    line(&format!(
        "  rang after {} ms, answered after {} ms, talked {} ms",
        word(&record["ringing_ms"]),
        word(&record["setup_ms"]),
        word(&record["talk_ms"])
    ));
    line(&format!("  {}", word(&record["route"])));
    for attempt in record["attempts"].as_array().into_iter().flatten() {
        line(&format!(
            "  {} {}: {}",
            word(&attempt["trunk"]),
            word(&attempt["target"]),
            word(&attempt["outcome"])
        ));
    }
    for (leg, name) in [("a", "in"), ("b", "out")] {
        let leg = &record["media"][leg];
        if let Some(datapath) = leg["datapath"].as_str() {
            let why = leg["why_not_faster"].as_str();
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            line(&format!("  media {name} was carried by {datapath}{why}"));
        }
    }
    let said = &record["microsoft"];
    if !said.is_null() {
        line(&format!(
            "\nMicrosoft: {} {}, code {}",
            word(&said["status"]),
            word(&said["phrase"]),
            word(&said["code"])
        ));
        line(&format!("  id {}, of which Microsoft's support asks", word(&said["guid"])));
        if let Some(found) = meaning(record) {
            line(&format!("  means {}", found.means));
            line(&format!("  do    {}", found.action));
        }
    }
    text
}

fn text(call: &CallRow, media: Option<&Value>) -> String {
    let out = call.trunk_out.as_deref().unwrap_or("-");
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "call {}  {}, {} s, {}",
        call.call, call.state, call.age_seconds, call.direction
    );
    let _ = writeln!(text, "  {} calls {}", call.from, call.to);
    let _ = writeln!(text, "  tenant {}", call.tenant);
    let Some(media) = media else {
        text.push_str("  no media is open\n");
        return text;
    };
    let (a, b) = (&media["a"], &media["b"]);
    // What comes in on one leg is what goes out on the other.
    direction(&mut text, (&call.trunk_in, out), (a, b), word(call));
    direction(&mut text, (out, &call.trunk_in), (b, a), word(call));
    carried(&mut text, (&call.trunk_in, out), (a, b));
    text
}

/// What carries both legs, and why nothing faster does.
fn carried(text: &mut String, (name_a, name_b): (&str, &str), (a, b): (&Value, &Value)) {
    let mut named = false;
    for (name, leg) in [(name_a, a), (name_b, b)] {
        let Some(datapath) = leg["datapath"].as_str() else { continue };
        if !std::mem::replace(&mut named, true) {
            text.push('\n');
        }
        let why =
            leg["why_not_faster"].as_str().map_or_else(String::new, |why| format!(" ({why})"));
        let _ = writeln!(text, "{name}: carried by {datapath}{why}");
    }
}

/// What is said of a leg that is not silent.
fn word(call: &CallRow) -> &'static str {
    match &call.audio {
        Some((a, _)) if a == FAX => "fax by T.38",
        _ => FLOWS,
    }
}

/// Lines of a dozen words: they fit a terminal of sixty columns.
fn direction(
    text: &mut String,
    (from, to): (&str, &str),
    (came, went): (&Value, &Value),
    flows: &str,
) {
    let silent = came["silent_now"].as_str().unwrap_or(flows);
    let _ = writeln!(text, "\n{from} -> {to}: {silent}");
    let n = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let _ = writeln!(
        text,
        "  in   {} packets, {} lost, {} late, {} again, {} reordered",
        n(&came["received"]),
        n(&came["lost"]),
        n(&came["late"]),
        n(&came["duplicates"]),
        n(&came["reordered"]),
    );
    let _ = writeln!(
        text,
        "       jitter {} ms, longest gap {} ms, bursts {}",
        n(&came["jitter_ms"]),
        n(&came["longest_gap_ms"]),
        n(&came["bursts"]["count"]),
    );
    let round_trip = match came["round_trip_ms"].is_null() {
        true => "not known yet".to_owned(),
        false => format!("{} ms", n(&came["round_trip_ms"])),
    };
    let _ = writeln!(text, "       MOS {}, round trip {round_trip}", n(&came["mos"]));
    if came["silent_ms"].as_u64().is_some_and(|ms| ms > 0) {
        let cause = came["silence"].as_str().unwrap_or("-");
        let _ =
            writeln!(text, "       silent for {} ms so far, first: {cause}", n(&came["silent_ms"]));
    }
    if let Some(drops) = came["drops"].as_object().filter(|drops| !drops.is_empty()) {
        let drops: Vec<String> =
            drops.iter().map(|(why, count)| format!("{why} {count}")).collect();
        let _ = writeln!(text, "       dropped: {}", drops.join(", "));
    }
    let told = &went["told"];
    let _ = write!(text, "  out  {} packets", n(&went["sent"]));
    if !told.is_null() {
        let _ = write!(
            text,
            ", the far side lost {}, jitter {} ms, MOS {}",
            n(&told["lost"]),
            n(&told["jitter_ms"]),
            n(&told["mos"])
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured;
    use media::CallStats;

    /// TDR-ERR-001, TDR-MON-004: the code of a call that Microsoft refused leads to what is to be done.
    #[test]
    fn who_is_on_duty_reads_what_a_code_means_and_what_to_do() {
        let record = serde_json::json!({
            "call": 7, "cause": "forbidden", "status": 403, "direction": "from_carrier",
            "from": "+498912345", "to": "+4930123450", "tenant": "contoso",
            "fqdn": "contoso.sbc1.example.net", "route": "contoso: carrier * -> teams",
            "attempts": [{ "trunk": "teams", "target": "sip.pstnhub.microsoft.com:5061", "outcome": "403" }],
            "microsoft": {
                "status": 403, "q850": 63, "code": 510_532,
                "guid": "23b8c1e9-3924-56de-3eb1-3b9046685257", "phrase": "No trunk config was found",
            },
        });
        let shown = over(&record);
        for part in [
            "over, forbidden (403)",
            "code 510532",
            "23b8c1e9-3924",
            "means no tenant",
            "do    the Teams admin",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(explained(&record)["record"]["microsoft"]["action"].is_string());
        let answered = serde_json::json!({ "call": 8, "cause": "caller_hangup", "status": 200 });
        assert!(!over(&answered).contains("Microsoft"));
    }

    #[test]
    fn a_call_fits_a_narrow_terminal_and_says_who_is_not_heard() {
        let call = CallRow::example(7);
        let mut stats = CallStats::default();
        stats.a.received_packets = 123_456;
        stats.a.mos = Some(4.3);
        stats.b.drops[media::DropReason::Unlatched as usize] = 9;
        stats.b.silence = sdp::Silences {
            now: Some(sdp::Silence::WrongSource),
            first: Some(sdp::Silence::WrongSource),
            total: std::time::Duration::from_secs(9),
        };
        let carried = [("steer", ""), ("portable", "its port was taken on the fast way")];
        let carried = carried.map(|(by, why)| b2bua::Carried { by, why_not_faster: why.into() });
        let shown = text(&call, Some(&measured::live(&stats, Some(&carried))));
        assert!(shown.contains("\nteams: carried by steer\n"), "{shown}");
        assert!(shown.contains("\ncolt: carried by portable (its port was taken"), "{shown}");
        assert!(shown.contains("teams -> colt: flows\n") && shown.contains("MOS 4.3,"), "{shown}");
        assert!(shown.contains("colt -> teams: wrong_source\n"), "{shown}");
        assert!(shown.contains("dropped: unlatched 9\n") && shown.contains("MOS -,"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(text(&call, None).contains("no media is open"));
        let fax = CallRow { audio: Some((FAX.into(), FAX.into())), ..call };
        let shown = text(&fax, Some(&measured::live(&CallStats::default(), None)));
        assert!(shown.contains("colt -> teams: fax by T.38\n"), "{shown}");
    }
}
