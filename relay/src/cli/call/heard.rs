//! What is heard of one leg of a call, in lines of a dozen words that fit a terminal of eighty columns.

use super::super::calls::FLOWS;
use serde_json::Value;
use std::fmt::Write as _;

/// The word for a leg that is heard on a call that is over.
pub(super) const HEARD: &str = "heard";
/// The word for both legs of a fax by T.38.
pub(super) const FAX_WORD: &str = "fax by T.38";

/// One direction: what came from one side, and what the other got of it. `word` is that of a leg that is heard.
pub(super) fn direction(
    text: &mut String,
    (from, to): (&str, &str),
    (came, went): (&Value, &Value),
    word: &str,
) {
    let silence = said(came, word);
    let _ = writeln!(text, "\n{from} -> {to}: {silence}");
    received(text, came);
    if came["silent_ms"].as_u64().is_some_and(|ms| ms > 0) {
        let first = came["silence"].as_str().unwrap_or("-");
        let so_far = if is_live(came) { " so far" } else { "" };
        let seconds = seconds(&came["silent_ms"]);
        let _ = writeln!(text, "       silent for {seconds}{so_far}, first: {first}");
    }
    if let Some(look) = look_at(silence) {
        let _ = writeln!(text, "       look at {look}");
    }
    dropped(text, came, word);
    sent(text, went);
}

/// What carries both legs, and why nothing faster does.
pub(super) fn carried(text: &mut String, (name_a, name_b): (&str, &str), (a, b): (&Value, &Value)) {
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

/// A number as it is written, `-` for what was not measured.
pub(super) fn number(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Milliseconds as seconds.
pub(super) fn seconds(ms: &Value) -> String {
    ms.as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms / 1000.0))
}

/// Whether it is of a call that goes on.
fn is_live(leg: &Value) -> bool {
    leg.get("silent_now").is_some()
}

/// The word for a leg: why it is silent now, or why it was on a call that is over.
fn said<'a>(came: &'a Value, word: &'a str) -> &'a str {
    let cause = if is_live(came) { &came["silent_now"] } else { &came["silence"] };
    cause.as_str().unwrap_or(word)
}

/// What is to be looked at where a leg is silent for this cause; none where that is no fault
/// (docs/operations/media.md, "Silence").
pub(super) fn look_at(cause: &str) -> Option<&'static str> {
    match cause {
        "no_packets" => Some("firewall and NAT in front of us; the far side itself"),
        "wrong_source" => Some("NAT at the carrier: `symmetric_rtp = true`; else somebody injects"),
        "bad_tag" => Some(
            "the far side's keys after a re-INVITE; what was dropped tells `bad_tag` and `replay` apart",
        ),
        "payload_type" => Some("the far side's codecs; `codecs` of the trunk"),
        "private_address" => Some("the far side's public address; `symmetric_rtp = true`"),
        _ => None,
    }
}

fn received(text: &mut String, came: &Value) {
    let n = number;
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
    let round_trip = match (came["round_trip_ms"].is_null(), is_live(came)) {
        (true, true) => "not known yet".to_owned(),
        (true, false) => "not known".to_owned(),
        (false, _) => format!("{} ms", n(&came["round_trip_ms"])),
    };
    let _ = writeln!(text, "       MOS {}, round trip {round_trip}", n(&came["mos"]));
}

/// Packets that were refused. Those of `no_flow` are most often the first of whoever speaks before its answer
/// has come to us: without that nobody knows their key, nor where they are to go.
fn dropped(text: &mut String, came: &Value, word: &str) {
    let drops = came["drops"].as_object().filter(|drops| !drops.is_empty());
    for (why, count) in drops.into_iter().flatten() {
        // Of a fax it is RTCP that comes late.
        let early = why == "no_flow" && [FLOWS, HEARD].contains(&word);
        let meaning = if early { " (came while no media was agreed)" } else { "" };
        let _ = writeln!(text, "       dropped: {count} {why}{meaning}");
    }
}

fn sent(text: &mut String, went: &Value) {
    let n = number;
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

    /// Whoever reads a cause finds the same beside it here and in the documentation.
    #[test]
    fn a_cause_of_silence_leads_elsewhere_than_the_documentation_does() {
        let page = include_str!("../../../../docs/operations/media.md");
        for cause in sdp::Silence::ALL.map(sdp::Silence::as_str) {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{cause}` |")));
            let row = row.unwrap_or_else(|| panic!("{cause} is not on the page"));
            let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
            match look_at(cause) {
                Some(look) => assert_eq!(last.trim(), look, "{row}"),
                None => assert!(row.contains("no fault"), "{row}"),
            }
        }
    }
}
