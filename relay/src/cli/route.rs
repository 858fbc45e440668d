//! `tollgate route`: where a call would go now, and why.

use super::daemon::answer;
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, Request};
use crate::explained::{RouteAnswer, RouteQuestion, RouteTarget, when};
use crate::terminal::{complain, print, print_json, table};
use serde_json::json;
use std::fmt::Write as _;

/// Tell where a call would go, and why: each rule tried, numbers, limits and health, targets in order
#[derive(Debug, clap::Args)]
pub(crate) struct Route {
    #[command(flatten)]
    config: ConfigFlag,
    /// The tenant, by the name of its file
    #[arg(long)]
    tenant: String,
    /// The number calling, as it comes in; "anonymous" for one who hides
    #[arg(long, allow_hyphen_values = true)]
    from: String,
    /// The number called, as it comes in
    #[arg(long, allow_hyphen_values = true)]
    to: String,
    /// The trunk it comes in on, or "teams" [default: teams if --from is a number of the tenant, else
    /// the first carrier that its routes name]
    #[arg(long)]
    via: Option<String>,
    /// When, such as "2026-12-24 18:30" by the tenant's clock, or 2026-12-24T18:30:00+01:00
    /// [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn time(written: &str) -> Result<String, String> {
    when(written).map(|_| written.to_owned())
}

impl Route {
    pub(crate) fn run(self) -> Exit {
        let Self { config, tenant, from, to, via, at, json } = self;
        let question = RouteQuestion { tenant, from, to, via, at };
        let answer = match answer(config, Request::Route(question)) {
            Ok(answer) => answer,
            Err(exit) => return exit,
        };
        match answer {
            Answer::Route(answer) => {
                match json {
                    true => print_json(&json!(answer)),
                    false => print(&text(&answer)),
                }
                if answer.ok { Exit::Done } else { Exit::No }
            }
            Answer::Refused { problems } => {
                match json {
                    true => print_json(&json!({ "ok": false, "problems": problems })),
                    false => problems.iter().for_each(|problem| complain(problem)),
                }
                Exit::No
            }
            other => {
                complain(&format!("an answer to another question came: {other:?}"));
                Exit::Unreachable
            }
        }
    }
}

/// For whoever is woken at night: what was asked, each stage in its order, and the answer last.
fn text(answer: &RouteAnswer) -> String {
    let RouteAnswer { tenant, from, to, via, at, .. } = answer;
    let mut text = format!("{tenant}: {from} calls {to}, in on {via}, {at}\n");
    if !answer.before.is_empty() {
        section(&mut text, "before routing", &answer.before);
    }
    let _ = writeln!(text, "\nroutes");
    let mine: Vec<_> = answer.routes.iter().filter(|route| !route.other_side).collect();
    let places = mine.iter().map(|route| route.place.len()).max().unwrap_or_default();
    for route in &mine {
        let verdict = route.why_not.as_deref().unwrap_or("matches");
        let _ = writeln!(text, "  {:places$}  {}: {verdict}", route.place, route.route);
    }
    match answer.routes.len() - mine.len() {
        0 if mine.is_empty() => text.push_str("  none was tried\n"),
        0 => {}
        others => {
            let _ = writeln!(text, "  before it, for calls from the other side: {others}");
        }
    }
    if let Some(decided) = &answer.decided {
        let _ = writeln!(text, "  {decided}");
    }
    if !answer.after.is_empty() {
        section(&mut text, "after routing", &answer.after);
    }
    if !answer.targets.is_empty() {
        let _ = writeln!(text, "\ntargets, in order");
        let head = ["TRUNK", "TARGET", "ADDRESS", "STATE", "CALLING", "CALLED", ""];
        for line in table(&head, answer.targets.iter().map(row)).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text.push('\n');
    text += &verdict(answer);
    text
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    let _ = writeln!(text, "\n{title}");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn row(target: &RouteTarget) -> [String; 7] {
    let passed_over = match (&target.full, target.tried) {
        (Some(full), _) => format!("passed over: {full}"),
        (None, false) => "passed over".to_owned(),
        (None, true) => String::new(),
    };
    [
        target.trunk.clone(),
        target.target.clone(),
        target.address.clone().unwrap_or_else(|| "-".into()),
        target.state.clone(),
        target.from.clone(),
        target.to.clone(),
        passed_over,
    ]
}

fn verdict(answer: &RouteAnswer) -> String {
    if let Some(refused) = &answer.refused {
        return format!("refused with {} {}: {}\n", refused.status, refused.reason, refused.why);
    }
    let mut trunks: Vec<&str> = Vec::new();
    for target in answer.targets.iter().filter(|target| target.tried) {
        if !trunks.contains(&target.trunk.as_str()) {
            trunks.push(&target.trunk);
        }
    }
    let emergency = if answer.emergency { "emergency call, " } else { "" };
    format!("{emergency}goes to {}\n", trunks.join(", then "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explained::{RouteRefusal, RouteRow};

    fn answer() -> RouteAnswer {
        let row = |place: &str, route: &str, why: Option<&str>, other_side| RouteRow {
            place: place.into(),
            route: route.into(),
            matches: why.is_none(),
            why_not: why.map(str::to_owned),
            other_side,
        };
        let target = |trunk: &str, state: &str, full: Option<&str>| RouteTarget {
            trunk: trunk.into(),
            target: "192.0.2.7:5060".into(),
            address: Some("192.0.2.7:5060".into()),
            state: state.into(),
            from: "+4930123450".into(),
            to: "0033140123456".into(),
            full: full.map(str::to_owned),
            tried: full.is_none() && state != "resting",
        };
        RouteAnswer {
            ok: true,
            tenant: "contoso".into(),
            direction: "teams".into(),
            via: "teams".into(),
            at: "fri 2026-11-27 18:30:00 Europe/Berlin".into(),
            from: "+4930123450".into(),
            to: "+33140123456".into(),
            emergency: false,
            before: vec!["no list has it".into()],
            routes: vec![
                row(
                    "tenants.d/contoso.toml:9",
                    "match *",
                    Some("it is for calls from carriers"),
                    true,
                ),
                row(
                    "tenants.d/contoso.toml:14",
                    "match +49*",
                    Some("the called number +33140123456 does not begin with +49"),
                    false,
                ),
                row("tenants.d/contoso.toml:20", "match *", None, false),
            ],
            decided: Some("goes to colt, bt".into()),
            after: Vec::new(),
            targets: vec![
                target("colt", "up", Some("2 calls are the most that it carries")),
                target("bt", "down", None),
            ],
            refused: None,
        }
    }

    #[test]
    fn every_stage_is_there_in_its_order_and_the_answer_comes_last() {
        let expected = "\
contoso: +4930123450 calls +33140123456, in on teams, fri 2026-11-27 18:30:00 Europe/Berlin

before routing
  no list has it

routes
  tenants.d/contoso.toml:14  match +49*: the called number +33140123456 does not begin with +49
  tenants.d/contoso.toml:20  match *: matches
  before it, for calls from the other side: 1
  goes to colt, bt

targets, in order
  TRUNK  TARGET          ADDRESS         STATE  CALLING      CALLED
  colt   192.0.2.7:5060  192.0.2.7:5060  up     +4930123450  0033140123456  passed over: 2 calls are the most that it carries
  bt     192.0.2.7:5060  192.0.2.7:5060  down   +4930123450  0033140123456

goes to bt
";
        assert_eq!(text(&answer()), expected);
    }

    #[test]
    fn a_refusal_says_status_reason_and_why() {
        let refused =
            RouteRefusal { status: 404, reason: "no_route".into(), why: "none matches".into() };
        let refused = RouteAnswer { refused: Some(refused), ..answer() };
        assert!(text(&refused).ends_with("\nrefused with 404 no_route: none matches\n"));
    }
}
