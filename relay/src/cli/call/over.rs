//! A call that is over, as its record tells.

use super::heard::{self, FAX_WORD, HEARD, number, seconds};
use b2bua::codes;
use serde_json::Value;
use std::fmt::Write as _;

/// Rules tried that are shown; the record has all of them.
const DECISION_LINES_MAX: usize = 12;

/// All of it, as a screen has it.
pub(super) fn text(record: &Value) -> String {
    let mut text = String::new();
    who(&mut text, record);
    way(&mut text, record);
    media(&mut text, record);
    microsoft(&mut text, record);
    text
}

/// The record, with the meaning of Microsoft's code beside it.
pub(super) fn explained(record: &Value) -> Value {
    let mut record = record.clone();
    if let Some(found) = meaning(&record) {
        record["microsoft"]["means"] = found.means.into();
        record["microsoft"]["action"] = found.action.into();
    }
    serde_json::json!({ "record": record })
}

/// The trunk that took the call, or was tried last.
pub(in super::super) fn trunk_out(record: &Value) -> Option<&str> {
    record["attempts"].as_array()?.last()?["trunk"].as_str()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| number(value), str::to_owned)
}

/// Who called whom, when, and how it ended.
fn who(text: &mut String, record: &Value) {
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
    let mut times = Vec::new();
    for (key, done) in [("ringing_ms", "rang"), ("setup_ms", "answered")] {
        if let Some(ms) = record[key].as_u64() {
            times.push(format!("{done} after {ms} ms"));
        }
    }
    times.push(match record["setup_ms"].is_null() {
        true => "not answered".to_owned(),
        false => format!("talked {}", seconds(&record["talk_ms"])),
    });
    line(&format!("  {}", times.join(", ")));
    for (key, leg) in [("call_id_in", "in "), ("call_id_out", "out")] {
        if let Some(id) = record[key].as_str() {
            line(&format!("  Call-ID {leg} {id}"));
        }
    }
}

/// Where it went, and why there.
fn way(text: &mut String, record: &Value) {
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    line(&format!("  {}", word(&record["route"])));
    let decision = record["decision"].as_array().map(Vec::as_slice).unwrap_or_default();
    for step in decision.iter().take(DECISION_LINES_MAX) {
        line(&format!("    {}", word(step)));
    }
    if decision.len() > DECISION_LINES_MAX {
        let more = decision.len() - DECISION_LINES_MAX;
        line(&format!("    and {more} more steps (--json)"));
    }
    for attempt in record["attempts"].as_array().into_iter().flatten() {
        line(&format!(
            "  {} {}: {}",
            word(&attempt["trunk"]),
            word(&attempt["target"]),
            word(&attempt["outcome"])
        ));
    }
    for transfer in record["transfers"].as_array().into_iter().flatten() {
        line(&format!(
            "  transfer by {} to {} after {}: {}",
            word(&transfer["by"]),
            word(&transfer["to"]),
            seconds(&transfer["after_ms"]),
            word(&transfer["outcome"])
        ));
    }
    if let Some([from, to]) = record["transcoded"].as_array().map(Vec::as_slice) {
        line(&format!("  transcoded, {} and {}", word(from), word(to)));
    }
}

/// What was heard of both sides, and what carried it.
fn media(text: &mut String, record: &Value) {
    let media = &record["media"];
    let (a, b) = (&media["a"], &media["b"]);
    if media.is_null() || record["setup_ms"].is_null() {
        return;
    }
    let trunk_in = record["trunk_in"].as_str().unwrap_or("in");
    let out = trunk_out(record).unwrap_or("out");
    let heard = if record["fax"] == "t38" { FAX_WORD } else { HEARD };
    heard::direction(text, (trunk_in, out), (a, b), heard);
    heard::direction(text, (out, trunk_in), (b, a), heard);
    heard::carried(text, (trunk_in, out), (a, b));
}

/// The row of the table that Microsoft's words in a record stand for.
fn meaning(record: &Value) -> Option<&'static codes::Meaning> {
    let said = &record["microsoft"];
    let status = said["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let code = said["code"].as_u64().and_then(|code| u32::try_from(code).ok());
    codes::meaning(status, code)
}

fn microsoft(text: &mut String, record: &Value) {
    let said = &record["microsoft"];
    if said.is_null() {
        return;
    }
    let words = [&said["status"], &said["phrase"]].into_iter().filter(|it| !it.is_null());
    let words: Vec<String> = words.map(word).collect();
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    let code = said["code"].as_u64().map(|code| format!(", code {code}"));
    line(&format!("\nMicrosoft: {}{}", words.join(" "), code.unwrap_or_default()));
    if let Some(id) = said["guid"].as_str() {
        line(&format!("  id {id}, of which Microsoft's support asks"));
    }
    if let Some(found) = meaning(record) {
        line(&format!("  means {}", found.means));
        line(&format!("  do    {}", found.action));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_file::tests::record;
    use crate::record_line;
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
        let shown = text(&record);
        for part in [
            "over, forbidden (403)",
            "Microsoft: 403 No trunk config was found, code 510532",
            "23b8c1e9-3924",
            "means no tenant",
            "do    the Teams admin",
            "  not answered\n",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(explained(&record)["record"]["microsoft"]["action"].is_string());
        let answered = serde_json::json!({ "call": 8, "cause": "caller_hangup", "status": 200 });
        assert!(!text(&answered).contains("Microsoft"));
        let phrase = "CallEndReasonLocalUserInitiated";
        let ended = serde_json::json!({ "call": 9, "microsoft": { "phrase": phrase, "q850": 16 } });
        assert!(text(&ended).ends_with("\nMicrosoft: CallEndReasonLocalUserInitiated\n"));
    }

    #[test]
    fn one_side_of_a_call_that_is_over_was_not_heard_and_nobody_can_tell_any_more() {
        let mut stats = CallStats::default();
        stats.a.received_packets = 450;
        stats.a.mos = Some(4.41);
        stats.b.drops[media::DropReason::NoFlow as usize] = 1;
        stats.b.silence = sdp::Silences {
            now: None,
            first: Some(sdp::Silence::NoPackets),
            total: std::time::Duration::from_millis(9004),
        };
        let ended = b2bua::record::Record {
            attempts: vec![b2bua::record::Attempt {
                trunk: "colt".into(),
                target: "192.0.2.7:5060".into(),
                outcome: "200".into(),
            }],
            decision: vec!["tenants.d/contoso.toml:6 match +49*: matches".into()],
            media: Some(Box::new(stats)),
            ..record(7)
        };
        let shown = text(&serde_json::to_value(record_line::of(&ended)).unwrap());
        for part in [
            "\nteams -> colt: heard\n  in   450 packets",
            "MOS 4.41, round trip not known\n",
            "\ncolt -> teams: no_packets\n",
            "       silent for 9.0 s, first: no_packets\n",
            "       look at firewall and NAT in front of us; the far side itself\n",
            "       dropped: 1 no_flow (came while no media was agreed)\n",
            "answered after 1200 ms, talked 5.0 s\n",
            "  Call-ID in  a\"b\n",
            "    tenants.d/contoso.toml:6 match +49*: matches\n",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }
}
