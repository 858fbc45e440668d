//! `tollgate check`: whether the configuration holds, and everything that is wrong if not.

use super::{ConfigFlag, Exit};
use crate::config::{self, Loaded, Problem};
use crate::media_setup::{self, Shortfall};
use crate::service_user::{Account, RunsAs};
use crate::terminal::{complain, print, print_json};
use serde_json::json;
use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Tell whether the configuration holds: every problem with file, line, value and a hint
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Warn of files that this user cannot read, which root can tell [default: that of tollgate.service]
    #[arg(long)]
    user: Option<String>,
}

impl Check {
    pub(crate) fn run(self) -> Exit {
        let account = match self.account() {
            Ok(account) => account,
            Err(why) => {
                complain(&why);
                return Exit::No;
            }
        };
        let path = self.config.path();
        let outcome = config::load(&path);
        // A daemon that runs holds media ports itself, and whoever is asked here cannot tell whose.
        let runs = || UnixStream::connect(config::admin_socket(&path)).is_ok();
        let short = outcome.as_ref().map_or_else(
            |_| Vec::new(),
            |loaded| {
                let lacks = media_engine::lacks(loaded.media_engine, loaded.media_offload);
                let mut short = media_setup::shortfalls(&loaded.plan, &media_setup::Here, !runs());
                short.extend(lacks.into_iter().map(Shortfall::from));
                match account.map(|it| it.unreadable(&config::files(&path, loaded))) {
                    Some(Ok(unreadable)) => short.extend(unreadable),
                    // Who asks for a user is told that nothing is known, as in a container without the right.
                    Some(Err(error)) if self.user.is_some() => short.push(Shortfall {
                        what: format!("what the user may read is not known: {error}"),
                        mend: "run this where root may take another user's place (CAP_SETUID, CAP_SETGID)"
                            .to_owned(),
                    }),
                    Some(Err(_)) | None => {}
                }
                short
            },
        );
        match self.json {
            true => print_json(&as_json(&outcome, &short)),
            false => print(&as_text(&outcome, &short)),
        }
        if outcome.is_ok() { Exit::Done } else { Exit::No }
    }

    /// Who is to read the files beside us; only root can look as somebody else.
    fn account(&self) -> Result<Option<Account>, String> {
        let root = nix::unistd::geteuid().is_root();
        match &self.user {
            Some(_) if !root => Err("only root can tell what another user may read".to_owned()),
            Some(user) => match Account::of(&RunsAs::named(user)) {
                None => Err(format!("there is no user {user}, or it is root")),
                account => Ok(account),
            },
            None if root => Ok(RunsAs::here().and_then(|runs_as| Account::of(&runs_as))),
            None => Ok(None),
        }
    }
}

/// What was found, counted.
struct Summary {
    listeners: usize,
    trunks: usize,
    tenants: usize,
    numbers: u64,
}

impl Summary {
    fn of(loaded: &Loaded) -> Self {
        let ranges = loaded.plan.tenants.iter().flat_map(|tenant| &tenant.numbers);
        let sizes = ranges.map(|range| (range.last - range.first).saturating_add(1));
        Self {
            listeners: loaded.plan.listeners.len(),
            trunks: loaded.plan.trunks.len(),
            tenants: loaded.plan.tenants.len(),
            numbers: sizes.fold(0, u64::saturating_add),
        }
    }
}

fn as_text(outcome: &Result<Loaded, Vec<Problem>>, short: &[Shortfall]) -> String {
    let mut text = String::new();
    match outcome {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(text, "{}", warning.as_warning());
            }
            for Shortfall { what, mend } in short {
                let _ = writeln!(text, "this host: warning: {what}\n  hint: {mend}");
            }
            let Summary { listeners, trunks, tenants, numbers } = Summary::of(loaded);
            let counted = [
                count(listeners as u64, "listener"),
                count(trunks as u64, "trunk"),
                count(tenants as u64, "tenant"),
                count(numbers, "number"),
            ];
            let _ = writeln!(text, "ok: {}", counted.join(", "));
        }
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(text, "{problem}");
            }
            let verdicts = verdicts(problems);
            for verdict in &verdicts {
                let file = verdict.file.display();
                let _ = writeln!(text, "{file}: {}", count(verdict.problems as u64, "problem"));
            }
            // Of a single file all is said.
            if verdicts.len() > 1 {
                let _ = writeln!(text, "{}", count(problems.len() as u64, "problem"));
            }
        }
    }
    text
}

/// A file that does not hold. A tenant's harms the tenant alone; the host's all.
#[derive(serde::Serialize)]
struct Verdict<'a> {
    file: &'a Path,
    problems: usize,
}

/// One verdict for each file that has a problem, in the order of these.
fn verdicts(problems: &[Problem]) -> Vec<Verdict<'_>> {
    let mut verdicts: Vec<Verdict<'_>> = Vec::new();
    for Problem { file, .. } in problems {
        match verdicts.iter_mut().find(|verdict| verdict.file == file) {
            Some(verdict) => verdict.problems += 1,
            None => verdicts.push(Verdict { file, problems: 1 }),
        }
    }
    verdicts
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn as_json(outcome: &Result<Loaded, Vec<Problem>>, short: &[Shortfall]) -> serde_json::Value {
    match outcome {
        Ok(loaded) => {
            let Summary { listeners, trunks, tenants, numbers } = Summary::of(loaded);
            json!({
                "ok": true,
                "problems": [],
                "warnings": loaded.warnings,
                "host": short,
                "listeners": listeners,
                "trunks": trunks,
                "tenants": tenants,
                "numbers": numbers,
            })
        }
        Err(problems) => {
            json!({ "ok": false, "problems": problems, "files": verdicts(problems) })
        }
    }
}
