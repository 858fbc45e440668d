//! `tollgate teams`: what a Teams admin has to do for a tenant, and whether all of it is there.

use super::{ConfigFlag, Exit};
use crate::config::{self, Loaded};
use crate::teams::{self, Finding, Verdict, onboard};
use crate::terminal::{complain, print, print_json};
use serde_json::json;
use std::fmt::Write as _;

/// Set a tenant up at Microsoft, and find out what is missing there
#[derive(Debug, clap::Args)]
pub(crate) struct Teams {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    Doctor(Doctor),
    Onboard(Onboard),
}

/// Tell what stands between Teams and a call: DNS, ports, TLS, certificates, OPTIONS both ways, the clock
///
/// Each line passes, warns or fails, with what to do about it; the exit code is 1 if one fails. It asks the
/// running daemon what only that knows, and works without. Nothing is changed by it.
#[derive(Debug, clap::Args)]
struct Doctor {
    /// Look at this tenant [default: at all of them]
    tenant: Option<String>,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Print what has to be set up in DNS and in Microsoft Teams for a tenant, filled in from the configuration
#[derive(Debug, clap::Args)]
struct Onboard {
    /// The tenant
    tenant: String,
    /// Who gets the tenant's first number, to be filled in
    #[arg(long, value_name = "NAME@DOMAIN")]
    user: Option<String>,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Teams {
    pub(crate) fn run(self) -> Exit {
        match self.work {
            Work::Doctor(doctor) => doctor.run(),
            Work::Onboard(onboard) => onboard.run(),
        }
    }
}

impl Onboard {
    fn run(self) -> Exit {
        let Some(loaded) = loaded(self.config) else { return Exit::No };
        let plan = &loaded.plan;
        let found = plan.tenant(&self.tenant);
        let Some(tenant) = found else { return unknown(&loaded, &self.tenant) };
        if plan.teams_trunks_of(tenant).is_empty() {
            complain(
                "there is no trunk to Teams\nhint: [[trunk]] name = \"teams\" kind = \"teams\"",
            );
            return Exit::No;
        }
        let guide = onboard::guide(plan, tenant, self.user.as_deref());
        match self.json {
            true => print_json(&json!(guide)),
            false => print(&guide.text()),
        }
        Exit::Done
    }
}

impl Doctor {
    fn run(self) -> Exit {
        let path = self.config.clone().path();
        let Some(loaded) = loaded(self.config) else { return Exit::No };
        if let Some(tenant) = &self.tenant
            && loaded.plan.tenants.named(tenant).is_none()
        {
            return unknown(&loaded, tenant);
        }
        let facts = match teams::look(&path, &loaded, self.tenant.as_deref()) {
            Ok(facts) => facts,
            Err(error) => {
                complain(&format!("cannot look: {error}"));
                return Exit::No;
            }
        };
        let findings = teams::judge(&facts);
        let fails = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
        match self.json {
            true => print_json(&json!({ "ok": !fails, "findings": findings })),
            false => print(&text(&findings)),
        }
        if fails { Exit::No } else { Exit::Done }
    }
}

/// The configuration, if it holds; what is wrong is told.
fn loaded(config: ConfigFlag) -> Option<Loaded> {
    match config::load(&config.path()) {
        Ok(loaded) => Some(loaded),
        Err(problems) => {
            for problem in problems {
                complain(&problem.to_string());
            }
            complain(
                "nothing was looked at: the files on disk have to hold (a daemon that runs goes on with what \
                 it has)",
            );
            None
        }
    }
}

fn unknown(loaded: &Loaded, tenant: &str) -> Exit {
    let known: Vec<&str> = loaded.plan.tenants.iter().map(|it| it.name.as_str()).collect();
    complain(&format!("there is no tenant {tenant}"));
    if let Some(near) = config::did_you_mean(tenant, known) {
        complain(&format!("hint: did you mean {near}?"));
    }
    Exit::No
}

fn text(findings: &[Finding]) -> String {
    let width =
        |of: fn(&Finding) -> &str| findings.iter().map(|it| of(it).len()).max().unwrap_or(0);
    let (check, subject) = (width(|it| it.check), width(|it| &it.subject));
    let mut text = String::new();
    for finding in findings {
        let Finding { verdict, says, .. } = finding;
        let word = verdict.as_str();
        let _ = writeln!(
            text,
            "{word:4}  {:check$}  {:subject$}  {says}",
            finding.check, finding.subject
        );
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "      fix: {fix}");
        }
    }
    let count = |verdict| findings.iter().filter(|it| it.verdict == verdict).count();
    let (pass, warn, fail) = (count(Verdict::Pass), count(Verdict::Warn), count(Verdict::Fail));
    let _ = writeln!(text, "{pass} passed, {warn} to look at, {fail} failed");
    text
}
