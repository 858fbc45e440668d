//! What came of each call: as a table for people, as JSON lines for programs.

use crate::terminal::table;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One call that was played.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// What was played.
    pub(super) scenario: &'static str,
    /// The tenant, by the SBC's record.
    pub(super) tenant: Option<String>,
    /// The trunks it took, by the SBC's record.
    pub(super) route: String,
    /// The routing decision in a sentence, by the SBC's record.
    pub(super) decision: String,
    /// Messages as the caller saw them, in short.
    pub(super) ladder: Vec<String>,
    /// The messages of every side.
    pub(super) ladders: String,
    /// What was heard, each way.
    pub(super) directions: Vec<Direction>,
    /// What was not as it should be.
    pub(super) faults: Vec<Fault>,
}

/// Audio one way.
#[derive(Clone, Debug)]
pub(super) struct Direction {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// RTP packets that `from` sent.
    pub(super) tx: u64,
    /// RTP packets that `to` received.
    pub(super) rx: u64,
    /// RTP packets missing in between, by sequence number.
    pub(super) lost: u64,
    /// Interarrival jitter (RFC 3550, A.8).
    pub(super) jitter_ms: f64,
    /// The tone that should come.
    pub(super) tone_hz: u32,
    /// Its share of the energy that came.
    pub(super) tone_share: f64,
}

/// Something that was not as it should be.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What.
    pub(super) what: String,
    /// Why that is, most likely.
    pub(super) likely: &'static str,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, likely: &'static str) -> Self {
        Self { what: what.into(), likely }
    }
}

impl Outcome {
    pub(super) fn ok(&self) -> bool {
        self.faults.is_empty()
    }

    fn verdict(&self) -> &'static str {
        if self.ok() { "ok" } else { "failed" }
    }

    /// The call as one JSON object.
    pub(super) fn to_json(&self) -> Value {
        let faults: Vec<Value> =
            self.faults.iter().map(|f| json!({ "what": f.what, "likely": f.likely })).collect();
        json!({
            "scenario": self.scenario,
            "verdict": self.verdict(),
            "tenant": self.tenant,
            "route": self.route,
            "decision": self.decision,
            "ladder": self.ladder,
            "directions": self.directions.iter().map(Direction::to_json).collect::<Vec<_>>(),
            "faults": faults,
        })
    }
}

impl Direction {
    /// The mean opinion score, by the E-model for G.711; `None` where nothing came.
    pub(super) fn mos(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "packets of a call fit in 53 bits")]
        let fraction = self.lost as f64 / (self.lost + self.rx).max(1) as f64;
        (self.rx > 0).then(|| media::mos(fraction, self.jitter_ms, 0.0))
    }

    fn to_json(&self) -> Value {
        json!({
            "from": self.from,
            "to": self.to,
            "tx": self.tx,
            "rx": self.rx,
            "lost": self.lost,
            "jitter_ms": hundredths(self.jitter_ms),
            "mos": self.mos().map(hundredths),
            "tone_hz": self.tone_hz,
            "tone_share": hundredths(self.tone_share),
        })
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// All calls, for people.
pub(super) fn text(outcomes: &[Outcome]) -> String {
    let head = [
        "SCENARIO", "VERDICT", "TENANT", "ROUTE", "AUDIO", "SENT", "HEARD", "LOST", "JITTER",
        "MOS", "TONE",
    ];
    let mut text = table(&head, outcomes.iter().flat_map(rows));
    if outcomes.iter().any(|outcome| !outcome.directions.is_empty()) {
        text.push_str(READING);
    }
    let ladders = outcomes.iter().filter(|outcome| !outcome.ladder.is_empty());
    let ladders = ladders.map(|it| [it.scenario.to_owned(), it.ladder.join(" ")]);
    text.push_str(&table(&["SCENARIO", "LADDER, AS THE CALLER SAW IT (sent> <received)"], ladders));
    for outcome in outcomes.iter().filter(|outcome| !outcome.ok()) {
        let _ = writeln!(text, "\n{} failed:", outcome.scenario);
        for Fault { what, likely } in &outcome.faults {
            let _ = writeln!(text, "  {what}\n    likely: {likely}");
        }
        text.push_str(&outcome.ladders);
    }
    text
}

/// How to read the table.
const READING: &str = "\
RTP packets as the two ends counted them, 20 ms each; SENT and HEARD differ by those on their way when
talk ended, and by the first of whoever answers where it overtakes its answer: nobody knows its key then.
LOST and JITTER are those of RFC 3550, MOS is by the E-model for G.711, TONE is the share of the far
side's own tone in what came.

";

/// A row for each direction; the call's own columns stand on its first.
fn rows(outcome: &Outcome) -> Vec<[String; 11]> {
    let call = [
        outcome.scenario.to_owned(),
        outcome.verdict().to_owned(),
        outcome.tenant.clone().unwrap_or_else(|| "-".into()),
        outcome.route.clone(),
    ];
    let mut audio: Vec<[String; 7]> = outcome.directions.iter().map(cells).collect();
    if audio.is_empty() {
        audio.push(["none", "", "", "", "", "", ""].map(str::to_owned));
    }
    let mut rows = Vec::with_capacity(audio.len());
    for (number, audio) in audio.into_iter().enumerate() {
        let first = call.clone().map(|cell| if number == 0 { cell } else { String::new() });
        let mut cells = first.into_iter().chain(audio);
        rows.push(std::array::from_fn(|_| cells.next().unwrap_or_default()));
    }
    rows
}

fn cells(direction: &Direction) -> [String; 7] {
    [
        format!("{} > {}", direction.from, direction.to),
        direction.tx.to_string(),
        direction.rx.to_string(),
        direction.lost.to_string(),
        format!("{:.2} ms", direction.jitter_ms),
        direction.mos().map_or_else(|| "-".into(), |mos| format!("{mos:.2}")),
        format!("{} Hz, {:.0} %", direction.tone_hz, 100.0 * direction.tone_share),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(rx: u64, lost: u64) -> Direction {
        Direction {
            from: "teams",
            to: "colt",
            tx: rx + lost,
            rx,
            lost,
            jitter_ms: 0.123,
            tone_hz: 1000,
            tone_share: 0.998,
        }
    }

    fn outcome(faults: Vec<Fault>) -> Outcome {
        Outcome {
            scenario: "teams_to_pstn",
            tenant: Some("contoso".into()),
            route: "teams > colt".into(),
            decision: "contoso: teams +49* -> colt, bt".into(),
            ladder: vec!["INVITE>".into(), "<200".into(), "ACK>".into()],
            ladders: "teams:\n   0.000 --> 127.0.0.1:5061 INVITE\n".into(),
            directions: vec![direction(200, 0), direction(0, 0)],
            faults,
        }
    }

    #[test]
    fn json_has_what_was_promised_of_a_call_and_of_each_direction() {
        let json = outcome(Vec::new()).to_json();
        assert_eq!(json["scenario"], "teams_to_pstn");
        assert_eq!(json["verdict"], "ok");
        assert_eq!(json["route"], "teams > colt");
        let way = &json["directions"][0];
        assert_eq!((&way["tx"], &way["rx"], &way["lost"]), (&200.into(), &200.into(), &0.into()));
        assert_eq!(way["jitter_ms"], 0.12);
        assert!(way["mos"].as_f64().unwrap() > 4.3);
        assert!(json["directions"][1]["mos"].is_null(), "nothing came, so nothing is said");
        assert!(!json.to_string().contains('\n'));
    }

    #[test]
    fn table_has_a_row_for_each_direction_and_says_nothing_of_faults_if_there_are_none() {
        let text = text(&[outcome(Vec::new())]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("teams_to_pstn  ok"));
        assert!(lines[1].contains("1000 Hz, 100 %"));
        assert!(lines[2].starts_with("   ") && lines[2].contains("teams > colt"));
        assert!(text.contains("INVITE> <200 ACK>"));
        assert!(!text.contains("likely"));
    }

    #[test]
    fn fault_is_told_with_its_likely_reason_and_the_whole_ladder() {
        let fault = Fault::new("colt heard no tone", "media does not get through");
        let text = text(&[outcome(vec![fault.clone()])]);
        assert!(
            text.contains("teams_to_pstn failed:\n  colt heard no tone\n    likely: media does")
        );
        assert!(text.contains("--> 127.0.0.1:5061 INVITE"));
        assert_eq!(outcome(vec![fault]).to_json()["verdict"], "failed");
    }

    #[test]
    fn loss_lowers_the_score() {
        assert!(direction(90, 10).mos().unwrap() < 2.0);
    }
}
