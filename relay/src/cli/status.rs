//! `tollgate status`: how it is, on one screen.

use super::calls::FLOWS;
use super::daemon::answer;
use super::{ConfigFlag, Exit};
use crate::admin::{
    AlarmRow, Answer, CallRow, DrainRow, FAX, FqdnRow, MediaRow, Request, TargetRow,
};
use crate::alarms::DRAINING;
use crate::terminal::{complain, one_line, print, print_json};
use b2bua::io::NOT_ASKED_YET;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Tell how it is on one screen: configuration, calls, trunks, Microsoft, alarms; exits 1 if something wants seeing to
///
/// That is an alarm that stands, a trunk of whose targets none is up, a name under which Microsoft does not
/// reach us, or somebody who takes no calls. Each line names the verb that tells more.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the daemon says of itself.
#[derive(Debug, Default)]
struct Facts {
    /// The configuration in force and when that was; none where none are kept.
    generation: Option<(u64, String)>,
    calls: Vec<CallRow>,
    targets: Vec<TargetRow>,
    fqdns: Vec<FqdnRow>,
    media: Option<MediaRow>,
    drains: Vec<DrainRow>,
    alarms: Vec<AlarmRow>,
}

impl Status {
    pub(crate) fn run(self) -> Exit {
        let mut facts = Facts::default();
        for request in [
            Request::Generations,
            Request::Calls,
            Request::Trunks,
            Request::Media,
            Request::Drains,
            Request::Alarms,
        ] {
            match answer(self.config.clone(), request) {
                Ok(answer) => facts.take(answer),
                Err(exit) => return exit,
            }
        }
        match self.json {
            true => print_json(&facts.json()),
            false => print(&facts.text()),
        }
        if facts.is_well() { Exit::Done } else { Exit::No }
    }
}

impl Facts {
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Generations { generations, current } => {
                let since = generations.into_iter().find(|it| it.number == current);
                self.generation = Some((current, since.map(|it| it.at).unwrap_or_default()));
            }
            Answer::Calls { calls } => self.calls = calls,
            Answer::Trunks { targets, fqdns } => (self.targets, self.fqdns) = (targets, fqdns),
            Answer::Media(media) => self.media = Some(media),
            Answer::Drains { drains } => self.drains = drains,
            Answer::Alarms { alarms } => self.alarms = alarms,
            // No configurations are kept, and an alarm or the log says why.
            Answer::Refused { .. } => {}
            Answer::Call { .. }
            | Answer::Teams { .. }
            | Answer::Trace { .. }
            | Answer::Route(_)
            | Answer::Reloaded { .. }
            | Answer::Differs { .. }
            | Answer::Replayed(_)
            | Answer::Expected
            | Answer::Failed { .. } => complain("the daemon answers what was not asked"),
        }
    }

    /// Each trunk once, as it stands first, with how many of its targets are up.
    fn trunks(&self) -> Vec<(&str, usize, usize)> {
        let mut trunks: Vec<(&str, usize, usize)> = Vec::new();
        for target in &self.targets {
            let up = usize::from(target.up && target.resting_seconds.is_none());
            match trunks.iter_mut().find(|(name, ..)| *name == target.trunk) {
                Some((_, ups, of)) => (*ups, *of) = (*ups + up, *of + 1),
                None => trunks.push((&target.trunk, up, 1)),
            }
        }
        trunks
    }

    /// Targets of a trunk that count as up because nobody has asked them yet.
    fn unasked(&self, trunk: &str) -> usize {
        let unasked = |it: &&TargetRow| it.trunk == trunk && it.up && it.last == NOT_ASKED_YET;
        self.targets.iter().filter(unasked).count()
    }

    /// Names under which Microsoft has not been heard for too long.
    fn unseen(&self) -> impl Iterator<Item = &FqdnRow> {
        self.fqdns.iter().filter(|row| row.unseen_seconds.is_some())
    }

    /// Calls of which a leg is not heard.
    fn unheard(&self) -> usize {
        let silent = |call: &&CallRow| {
            let audio = call.audio.as_ref();
            audio.is_some_and(|(a, b)| [a, b].into_iter().any(|it| it != FLOWS && it != FAX))
        };
        self.calls.iter().filter(silent).count()
    }

    fn is_well(&self) -> bool {
        let down = self.trunks().iter().any(|(_, up, _)| *up == 0);
        !down && self.alarms.is_empty() && self.drains.is_empty() && self.unseen().next().is_none()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |head: &str, said: &str| {
            let _ = writeln!(text, "{head:<14} {said}");
        };
        match &self.generation {
            Some((number, since)) => line("configuration", &format!("{number}, since {since}")),
            None => line("configuration", "in force; none are kept to go back to"),
        }
        let unheard = match self.unheard() {
            0 => String::new(),
            some => format!(", {some} not heard on one side (tollgate calls)"),
        };
        line("calls", &format!("{} up{unheard}", self.calls.len()));
        let mut heads = std::iter::once("trunks").chain(std::iter::repeat(""));
        for (trunk, up, of) in self.trunks() {
            let more = match (up < of, self.unasked(trunk)) {
                (true, _) => " (tollgate trunks)".to_owned(),
                (false, 0) => String::new(),
                (false, unasked) => format!(", {unasked} of them not asked yet"),
            };
            let head = heads.next().unwrap_or_default();
            line(head, &format!("{trunk}: {up} of {of} targets up{more}"));
        }
        let mut heads = std::iter::once("media").chain(std::iter::repeat(""));
        for said in self.media.iter().flat_map(media) {
            line(heads.next().unwrap_or_default(), &said);
        }
        let mut heads = std::iter::once("microsoft").chain(std::iter::repeat(""));
        for row in self.unseen() {
            let head = heads.next().unwrap_or_default();
            line(head, &format!("{}: cannot connect to us (tollgate teams doctor)", row.fqdn));
        }
        let mut heads = std::iter::once("drain").chain(std::iter::repeat(""));
        for row in &self.drains {
            let who = row.tenant.as_deref().unwrap_or("host");
            line(heads.next().unwrap_or_default(), &format!("{who}: {}", row.text));
        }
        // Who drains has a line of his own.
        let told = |row: &&AlarmRow| row.alarm != DRAINING || self.drains.is_empty();
        let alarms: Vec<&AlarmRow> = self.alarms.iter().filter(told).collect();
        if alarms.is_empty() {
            line("alarms", "none");
        }
        let mut heads = std::iter::once("alarms").chain(std::iter::repeat(""));
        for row in alarms {
            let head = heads.next().unwrap_or_default();
            line(head, &format!("{} {}: {}", row.alarm, row.subject, one_line(&row.text)));
        }
        text
    }

    fn json(&self) -> Value {
        let trunks: Vec<Value> = self
            .trunks()
            .into_iter()
            .map(|(trunk, up, targets)| json!({ "trunk": trunk, "targets": targets, "up": up }))
            .collect();
        let unseen: Vec<&str> = self.unseen().map(|row| row.fqdn.as_str()).collect();
        json!({
            "ok": self.is_well(),
            "generation": self.generation.as_ref().map(|(number, _)| number),
            "calls": self.calls.len(),
            "calls_not_heard": self.unheard(),
            "trunks": trunks,
            "media": self.media,
            "unseen_fqdns": unseen,
            "drains": self.drains,
            "alarms": self.alarms,
        })
    }
}

/// What each worker runs with and why, then what carries the legs and what went wrong.
fn media(media: &MediaRow) -> Vec<String> {
    let MediaRow { engines, legs, offload, offloaded_packets, errors: (receive, send) } = media;
    let mut lines = Vec::new();
    for (worker, row) in engines.iter().enumerate() {
        let why = match (row.fell_back, row.engine.as_str()) {
            (false, _) => row.why.clone(),
            (true, "portable") => {
                format!("its engine is lost: {}; a restart chooses anew", row.why)
            }
            (true, _) => format!("its engine is lost: {}; until it is back", row.why),
        };
        lines.push(format!("worker {worker}: {} ({why})", row.engine));
    }
    if !legs.is_empty() {
        let legs: Vec<String> = legs.iter().map(|(by, count)| format!("{count} by {by}")).collect();
        lines.push(format!("legs: {} (tollgate calls)", legs.join(", ")));
    }
    if *offload {
        lines.push(format!("{offloaded_packets} packets were sent on by the kernel"));
    }
    if *receive + *send > 0 {
        lines.push(format!("errors: {receive} of receiving, {send} of sending"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::EngineRow;

    #[test]
    fn a_worker_that_has_lost_its_engine_says_so_and_what_brings_it_back() {
        let row = |engine: &str, why: &str, fell_back| EngineRow {
            engine: engine.into(),
            why: why.into(),
            fell_back,
        };
        let media = MediaRow {
            engines: vec![row("xdp", "configured", false), row("portable", "taken away", true)],
            legs: [("portable".to_owned(), 1), ("xdp".to_owned(), 3)].into(),
            offload: true,
            offloaded_packets: 17,
            errors: (0, 2),
        };
        let text = Facts { media: Some(media), ..Facts::default() }.text();
        for line in [
            "media          worker 0: xdp (configured)",
            "               worker 1: portable (its engine is lost: taken away; a restart chooses anew)",
            "               legs: 1 by portable, 3 by xdp (tollgate calls)",
            "               17 packets were sent on by the kernel",
            "               errors: 0 of receiving, 2 of sending",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }

    fn target(trunk: &str, up: bool) -> TargetRow {
        TargetRow {
            trunk: trunk.to_owned(),
            target: "a:5060".to_owned(),
            address: None,
            up,
            resting_seconds: None,
            answered_seconds_ago: None,
            last: String::new(),
            calls: 0,
        }
    }

    #[test]
    fn a_trunk_with_one_target_of_two_is_well_and_one_with_none_is_not() {
        let mut facts = Facts {
            generation: Some((3, "2026-11-30T14:00:00Z".to_owned())),
            targets: vec![target("teams", true), target("colt", true), target("colt", false)],
            ..Facts::default()
        };
        assert!(facts.is_well());
        let text = facts.text();
        assert!(text.contains("colt: 1 of 2 targets up (tollgate trunks)\n"), "{text}");
        assert!(text.contains("teams: 1 of 1 targets up\n"), "{text}");
        assert!(text.contains("alarms         none\n"), "{text}");
        facts.targets.push(target("bt", false));
        assert!(!facts.is_well());
        assert_eq!(facts.json()["trunks"][2]["up"], 0);
    }

    #[test]
    fn a_target_that_nobody_has_asked_yet_is_said_to_be_up() {
        let new = TargetRow { last: NOT_ASKED_YET.to_owned(), ..target("colt", true) };
        let text = Facts { targets: vec![new], ..Facts::default() }.text();
        assert!(text.contains("colt: 1 of 1 targets up, 1 of them not asked yet\n"), "{text}");
    }

    #[test]
    fn who_drains_is_told_twice() {
        let text = "no new calls but to emergency numbers; 4 calls are up";
        let drain = DrainRow {
            tenant: Some("contoso".to_owned()),
            seconds: 7,
            ends_in_seconds: None,
            calls: 4,
            text: text.to_owned(),
        };
        let alarm = AlarmRow {
            alarm: "draining".to_owned(),
            subject: "tenant contoso".to_owned(),
            text: text.to_owned(),
            since: String::new(),
        };
        let facts = Facts { drains: vec![drain], alarms: vec![alarm], ..Facts::default() };
        assert_eq!(facts.text().matches(text).count(), 1, "{}", facts.text());
        assert!(facts.text().ends_with("alarms         none\n"), "{}", facts.text());
        assert!(!facts.is_well());
    }

    #[test]
    fn a_target_that_rests_takes_no_call_though_it_answers() {
        let resting = TargetRow { resting_seconds: Some(9), ..target("colt", true) };
        assert!(!Facts { targets: vec![resting], ..Facts::default() }.is_well());
    }

    #[test]
    fn an_alarm_stands_in_one_line_and_is_not_well() {
        let alarm = AlarmRow {
            alarm: "teams_unseen".to_owned(),
            subject: "trunk teams".to_owned(),
            text: "nobody\n  asks".to_owned(),
            since: String::new(),
        };
        let facts = Facts { alarms: vec![alarm], ..Facts::default() };
        assert!(!facts.is_well());
        assert!(facts.text().ends_with("alarms         teams_unseen trunk teams: nobody; asks\n"));
    }
}
