//! What is told: ladders, and broken rules with what Microsoft would do and how to mend them; or the
//! same as one JSON object a line.

use super::attack::Attempt;
use super::watch::{Broken, Probed, Told, Totals};
use crate::terminal::{complain, print, print_json};
use emulate::{Advice, Step, advice, ladder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Writes as things happen.
pub(super) struct Report {
    json: bool,
    /// How often each rule was broken in each way.
    counts: BTreeMap<(String, String), u64>,
}

impl Report {
    pub(super) const fn new(json: bool) -> Self {
        Self { json, counts: BTreeMap::new() }
    }

    pub(super) fn call(&self, told: &Told) {
        match self.json {
            true => print_json(&call_json(told)),
            false => print(&call_text(told)),
        }
    }

    /// A rule that is broken again in the same way is counted, and told at the end.
    pub(super) fn broken(&mut self, broken: &Broken) {
        let count = self.counts.entry((broken.rule.clone(), broken.what.clone())).or_default();
        *count += 1;
        if self.json {
            print_json(&broken_json(broken));
        } else if *count == 1 {
            print(&broken_text(broken));
        }
    }

    pub(super) fn probed(&self, probed: &Probed) {
        let Probed { host, came, status } = probed;
        if self.json {
            let direction = if *came { "in" } else { "out" };
            print_json(
                &json!({"kind": "options", "host": host, "direction": direction, "status": status}),
            );
        } else if *came {
            print(&format!("OPTIONS from {host}: answered {status}\n"));
        } else {
            print(&format!("OPTIONS to {host}: {}\n", answer(*status)));
        }
    }

    pub(super) fn attacked(&self, attempts: &[Attempt]) {
        for attempt in attempts {
            let held = attempt.held();
            let got = match &attempt.got {
                Ok(got) => {
                    let none = match (got.connected, got.left_open) {
                        (false, _) => "no connection",
                        (true, true) => "left open",
                        (true, false) => "closed without an alert",
                    };
                    let alert = got.alert.as_deref().unwrap_or(none);
                    format!("{} octets of SIP, TLS: {alert}", got.octets)
                }
                Err(why) => why.clone(),
            };
            let what = match (&attempt.got, held) {
                (Err(_), _) => "has not tried",
                (Ok(_), true) => "got nothing",
                (Ok(_), false) => "got TOO MUCH",
            };
            match self.json {
                true => print_json(
                    &json!({"kind": "attack", "who": attempt.who, "held": held, "got": got}),
                ),
                false => print(&format!("{} {what}: {got}\n", attempt.who)),
            }
        }
    }

    pub(super) fn end(&self, totals: Totals) {
        let Totals { calls, answered, broken, undone } = totals;
        if self.json {
            return print_json(&json!({
                "kind": "summary",
                "calls": calls,
                "answered": answered,
                "violations": broken,
                "undone": undone,
            }));
        }
        let mut text = String::new();
        for ((rule, what), count) in self.counts.iter().filter(|(_, count)| **count > 1) {
            let _ = writeln!(text, "{rule}: {what}: {count} times");
        }
        let verdict = match (broken, undone) {
            (0, 0) => "no rule was broken",
            (0, _) => "not all was done",
            _ => "rules were broken",
        };
        let _ = writeln!(
            text,
            "{calls} calls, {answered} answered, {broken} violations, {undone} not done: {verdict}"
        );
        print(&text);
    }

    pub(super) fn undone(&self, what: &str) {
        match self.json {
            true => print_json(&json!({"kind": "undone", "what": what})),
            false => print(&format!("NOT DONE: {what}\n")),
        }
    }

    /// Talk.
    pub(super) fn say(text: &str) {
        complain(text);
    }
}

fn answer(status: u16) -> String {
    match status {
        408 => "no answer".to_owned(),
        503 => "could not be sent, or 503".to_owned(),
        status => format!("answered {status}"),
    }
}

fn heading(told: &Told) -> String {
    let Some(call) = &told.call else {
        return format!("an INVITE that became no call: {}", told.outcome);
    };
    let way = if call.placed { "placed" } else { "taken" };
    format!("call {way}, {} -> {}: {}", call.from, call.to, told.outcome)
}

fn call_text(told: &Told) -> String {
    let mut text = format!("\n{}\n", heading(told));
    if let Some(talked) = told.talked {
        let _ = write!(text, "  talked {:.1} s", talked.as_secs_f64());
        if let Some(heard) = told.heard {
            let _ = write!(
                text,
                "; sent {} packets, heard {}, lost {}, jitter {:.1} ms, the far side's tone {:.0} %",
                told.sent,
                heard.packets,
                heard.lost,
                heard.jitter_ms,
                heard.tone_share * 100.0
            );
            if heard.srtp_failures + heard.strays > 0 {
                let (failures, strays) = (heard.srtp_failures, heard.strays);
                let _ = write!(text, "; {failures} not authentic, {strays} strays");
            }
        }
        text.push('\n');
    }
    for line in ladder(&told.steps).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn call_json(told: &Told) -> Value {
    let mut object = json!({
        "kind": "call",
        "outcome": told.outcome,
        "ladder": told.steps.iter().map(|step| step_json(step, &told.steps)).collect::<Vec<_>>(),
    });
    if let Some(call) = &told.call {
        object["direction"] = json!(if call.placed { "out" } else { "in" });
        object["from"] = json!(call.from);
        object["to"] = json!(call.to);
        object["call_id"] = json!(call.call_id);
    }
    if let Some(talked) = told.talked {
        object["talked_s"] = json!(talked.as_secs_f64());
    }
    if let Some(heard) = told.heard {
        object["media"] = json!({
            "tx": told.sent,
            "rx": heard.packets,
            "lost": heard.lost,
            "jitter_ms": heard.jitter_ms,
            "mos": heard.mos,
            "tone_share": heard.tone_share,
            "srtp_failures": heard.srtp_failures,
            "strays": heard.strays,
            "rtcp": heard.reports,
        });
    }
    object
}

fn step_json(step: &Step, all: &[Step]) -> Value {
    let start = all.first().map_or(step.at, |first| first.at);
    json!({
        "at_s": step.at.saturating_duration_since(start).as_secs_f64(),
        "sent": step.sent,
        "peer": step.peer.to_string(),
        "what": step.what,
        "method": step.method,
        "body": step.has_body,
    })
}

fn broken_text(broken: &Broken) -> String {
    let Broken { rule, what, message } = broken;
    let Advice { microsoft, mend } = advice(rule);
    format!(
        "\n{rule}: {what}\n  in         {message}\n  Microsoft  {microsoft}\n  mend       {mend}\n"
    )
}

fn broken_json(broken: &Broken) -> Value {
    let Broken { rule, what, message } = broken;
    let Advice { microsoft, mend } = advice(rule);
    json!({
        "kind": "violation",
        "rule": rule,
        "what": what,
        "message": message,
        "microsoft": microsoft,
        "mend": mend,
    })
}
