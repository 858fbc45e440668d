//! `tollgate drain`: an orderly end without a lost call, or quiet around one customer's equipment.

use super::daemon::{answer, as_json, problems_told};
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, DrainRow, Request};
use crate::terminal::{complain, print, print_json};
use std::time::Duration;

/// Take no new calls but emergency calls, and end once the last call is over
///
/// Calls that are up go on. Teams gets no OPTIONS of ours any more and sends calls elsewhere; what it sends
/// gets 503, and so does a carrier's OPTIONS. A reload does not change that; a restart forgets it.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Only this tenant's calls are refused; the host goes on
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// End calls that are still up after so long, such as 30m [default: they are waited for]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Take calls again
    #[arg(long, conflicts_with = "deadline")]
    cancel: bool,
    /// Only tell who takes no calls
    #[arg(long, conflicts_with_all = ["deadline", "cancel", "tenant"])]
    status: bool,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(crate) fn run(self) -> Exit {
        let Self { tenant, deadline, cancel, status, config, json } = self;
        let request = match (status, cancel) {
            (true, _) => Request::Drains,
            (false, true) => Request::Resume { tenant },
            (false, false) => {
                // A second is the least that a deadline is told in.
                let seconds =
                    |it: Duration| it.as_secs().saturating_add(u64::from(it.subsec_nanos() > 0));
                Request::Drain { tenant, deadline_seconds: deadline.map(seconds) }
            }
        };
        let answer = match answer(config, request) {
            Ok(answer) => answer,
            Err(exit) => return exit,
        };
        let exit = if matches!(answer, Answer::Refused { .. }) { Exit::No } else { Exit::Done };
        match (json, answer) {
            (true, answer) => print_json(&as_json(answer)),
            (false, Answer::Drains { drains }) => print(&text(&drains)),
            (false, Answer::Refused { problems }) => problems_told(&problems),
            (false, _) => complain("the daemon does not know this verb: is it older than this?"),
        }
        exit
    }
}

fn text(drains: &[DrainRow]) -> String {
    if drains.is_empty() {
        return "calls are taken\n".into();
    }
    let line = |row: &DrainRow| match &row.tenant {
        None => format!("host: {}\n", row.text),
        Some(tenant) => format!("tenant {tenant}: {}\n", row.text),
    };
    drains.iter().map(line).collect()
}
