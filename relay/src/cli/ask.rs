//! The verbs that ask the running daemon and show what it says: `trunks`, `alarms`, `reload`.

use super::daemon::{answer, as_json, problems_told};
use super::versions::Diff;
use super::{ConfigFlag, Exit};
use crate::admin::{AlarmRow, Answer, FqdnRow, Request, TargetRow};
use crate::terminal::{complain, one_line, print, print_json, table};

/// Show the trunks and their targets: which answer, what they said last, calls on each
#[derive(Debug, clap::Args)]
pub(crate) struct Trunks {
    #[command(flatten)]
    flags: Flags,
}

/// Show the alarms that stand; the exit code is 0 whether there are any or not
#[derive(Debug, clap::Args)]
pub(crate) struct Alarms {
    #[command(flatten)]
    flags: Flags,
}

/// Read the configuration again and put it in force if it holds; calls go on
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    /// Only tell whether it holds, with all problems, and what would change
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args)]
struct Flags {
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Trunks {
    pub(crate) fn run(self) -> Exit {
        self.flags.ask(Request::Trunks)
    }
}

impl Alarms {
    pub(crate) fn run(self) -> Exit {
        self.flags.ask(Request::Alarms)
    }
}

impl Reload {
    pub(crate) fn run(self) -> Exit {
        let Flags { config, json } = self.flags;
        match self.check {
            true => Diff { config, json, replay: false, with: None }.run(),
            false => Flags { config, json }.ask(Request::Reload),
        }
    }
}

impl Flags {
    fn ask(self, request: Request) -> Exit {
        let answer = match answer(self.config, request) {
            Ok(answer) => answer,
            Err(exit) => return exit,
        };
        let exit = match &answer {
            Answer::Refused { .. } => Exit::No,
            // Not all that was asked for is in force.
            Answer::Reloaded { problems, .. } if !problems.is_empty() => Exit::No,
            _ => Exit::Done,
        };
        match (self.json, answer) {
            (true, answer) => print_json(&as_json(answer)),
            (false, Answer::Trunks { targets, fqdns }) => {
                print(&trunks_text(&targets));
                print(&fqdns_text(&fqdns));
            }
            (false, Answer::Alarms { alarms }) => print(&alarms_text(&alarms)),
            (false, Answer::Reloaded { problems, .. }) => {
                problems_told(&problems);
                if !problems.is_empty() {
                    complain("these tenants stay as they were, or absent; all else changes");
                }
                // The number that it has here is not the one that it is kept under: `tollgate rollback --list`.
                print(match problems.is_empty() {
                    true => "the files on disk are in force\n",
                    false => "all else on disk is in force\n",
                });
            }
            (false, Answer::Refused { problems }) => {
                problems_told(&problems);
                complain("refused; the configuration in force stays");
            }
            // Verbs of their own have these.
            (
                false,
                Answer::Calls { .. }
                | Answer::Call { .. }
                | Answer::Media(_)
                | Answer::Route(_)
                | Answer::Teams { .. }
                | Answer::Drains { .. }
                | Answer::Differs { .. }
                | Answer::Replayed(_)
                | Answer::Generations { .. }
                | Answer::Expected
                | Answer::Trace { .. }
                | Answer::Failed { .. },
            ) => {}
        }
        exit
    }
}

fn trunks_text(targets: &[TargetRow]) -> String {
    if targets.is_empty() {
        return "no trunks\n".into();
    }
    let head = ["TRUNK", "TARGET", "ADDRESS", "STATE", "ANSWERED", "LAST", "CALLS"];
    let mut before = "";
    let rows = targets.iter().map(|target| {
        let answered = target.answered_seconds_ago;
        // They are the trunk's: once is enough.
        let calls = (target.trunk != before).then_some(target.calls);
        before = &target.trunk;
        [
            target.trunk.clone(),
            target.target.clone(),
            target.address.clone().unwrap_or_else(|| "unresolved".into()),
            state(target),
            answered.map_or_else(|| "never".into(), |ago| format!("{ago} s ago")),
            target.last.clone(),
            calls.map(|calls| calls.to_string()).unwrap_or_default(),
        ]
    });
    table(&head, rows)
}

/// How Microsoft sees us: by which name, what it took, and what it sends.
fn fqdns_text(fqdns: &[FqdnRow]) -> String {
    if fqdns.is_empty() {
        return String::new();
    }
    let head = ["TRUNK", "FQDN", "TAKES OURS", "OPTIONS FROM MICROSOFT"];
    let rows = fqdns.iter().map(|row| {
        let took = match row.answered_seconds_ago {
            Some(ago) => format!("{ago} s ago"),
            None if row.asks => "never".into(),
            None => "not asked".into(),
        };
        [row.trunk.clone(), row.fqdn.clone(), took, seen(row)]
    });
    format!("\n{}", table(&head, rows))
}

/// When each region was heard last.
pub(super) fn seen(row: &FqdnRow) -> String {
    let regions = row.regions.iter().map(|it| format!("{} {} s ago", it.region, it.seconds_ago));
    let regions: Vec<String> = regions.collect();
    match (regions.is_empty(), row.unseen_seconds) {
        (true, None) => "none yet".into(),
        (true, Some(for_seconds)) => format!("none for {for_seconds} s: it cannot connect to us"),
        (false, None) => regions.join(", "),
        (false, Some(_)) => format!("{}: it cannot connect to us", regions.join(", ")),
    }
}

fn alarms_text(alarms: &[AlarmRow]) -> String {
    if alarms.is_empty() {
        return "no alarms\n".into();
    }
    let head = ["ALARM", "SUBJECT", "SINCE", "TEXT"];
    let rows = alarms.iter().map(|row| {
        [row.alarm.clone(), row.subject.clone(), row.since.clone(), one_line(&row.text)]
    });
    table(&head, rows)
}

/// `up`, `down`, or how long it takes no new call, though it may well answer OPTIONS.
fn state(target: &TargetRow) -> String {
    match (target.resting_seconds, target.up) {
        (Some(0), _) => "resting, a call tries it".into(),
        (Some(seconds), _) => format!("resting {seconds} s"),
        (None, true) => "up".into(),
        (None, false) => "down".into(),
    }
}
