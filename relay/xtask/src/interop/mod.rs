//! Calls between real third-party peers, through the real binary, in a private network.
//!
//! baresip plays the carrier's subscriber and the Teams user, Kamailio the Teams front with its three
//! names and mutual TLS, SIPp further carriers, spandsp fax terminals, OpenSSL the strangers; tshark judges.

mod attackers;
mod audio;
mod bad_line;
mod baresip;
mod bypass;
mod call;
mod capture;
mod certificates;
mod engines;
mod fax;
mod keys;
mod lab;
pub(crate) mod matrix;
mod music;
mod namespace;
mod one_way;
mod peers;
mod pki;
mod reloads;
mod ringing;
mod scenarios;
mod setting;
mod sipp;
mod srtp;
mod strangers;
mod streams;
mod surprises;
mod tollgate;
mod verdicts;

pub(crate) use attackers::{ATTACK, attack};
pub(crate) use pki::Authority;

use crate::bench::{Bench, TemporaryFolder};
use crate::fail::{Fail, Outcome, While};
use crate::packages;
use crate::process::{self, Process};
use crate::tally::Tally;
use baresip::Agent;
use peers::Sipp;
use scenarios::{Scenario, scenarios};
use setting::Setting;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tollgate::Tollgate;

/// The hidden verb under which this program runs itself inside the private network.
pub(crate) const INSIDE: &str = "interop-inside";

/// Runs the scenarios, or says what keeps them from running.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let missing = packages::provide(packages::INTEROP, &bench.scratch)?;
    if !missing.is_empty() {
        return Ok(Tally::skip(format!("interop (needs {})", packages::names(&missing))));
    }
    if let Err(fail) = namespace::probe() {
        println!("    {fail}");
        return Ok(Tally::skip("interop (needs root with CAP_SYS_ADMIN for a private network)"));
    }
    let binary = bench.release_binary()?;
    let mut folder = TemporaryFolder::new("interop")?;
    let results = folder.path().join(RESULTS);
    let tally = namespace::run_inside(folder.path(), &binary, &bench.part)
        .and_then(|()| read_results(&results, "interop"));
    if tally.as_ref().map_or(true, |tally| !tally.failed.is_empty()) {
        folder.keep();
    }
    tally
}

/// One line per scenario: verdict, name, and why it failed.
const RESULTS: &str = "results";

fn read_results(path: &Path, check: &str) -> Outcome<Tally> {
    let text = std::fs::read_to_string(path).while_("the scenarios left no results")?;
    let mut tally = Tally::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("ok", name)) => {
                tally.passed += 1;
                tally.named.push(format!("{check}/{name}"));
            }
            Some((_, failed)) => {
                let (name, why) = failed.split_once(' ').unwrap_or((failed, "no reason"));
                tally.failed.push(format!("{check}/{name} ({why})"));
            }
            None => return Err(Fail(format!("unreadable result `{line}`"))),
        }
    }
    Ok(tally)
}

/// Everyone who is there for all scenarios.
pub(crate) struct Lab {
    folder: PathBuf,
    tollgate: Tollgate,
    /// What Teams presents, for the control group of the strangers.
    teams: pki::Leaf,
    teams_root: PathBuf,
    rogue: pki::Leaf,
    /// Who has issued our own certificate, and that.
    authority: Authority,
    own: pki::Leaf,
    /// What the carrier that speaks TLS presents.
    secure: pki::Leaf,
    /// Calls that reached Tollgate's books so far.
    calls: usize,
    /// Peers refused so far.
    refusals: usize,
    front: Process,
}

impl Lab {
    fn open(folder: &Path, binary: &Path, setting: &Setting) -> Outcome<Self> {
        std::fs::create_dir_all(folder).while_(folder.display())?;
        let authority = Authority::new(folder, "public", "Interop Root")?;
        let rogue_authority = Authority::new(folder, "rogue", "Interop Root")?;
        let names = ["sip", "sip2", "sip3"].map(|name| format!("DNS:{name}.pstnhub.microsoft.com"));
        // Microsoft calls with its server certificate, which has no clientAuth.
        let teams = authority.leaf("teams", &names.join(","), "serverAuth")?;
        let rogue = rogue_authority.leaf("forged", &names.join(","), "serverAuth,clientAuth")?;
        let own_names = format!("DNS:{0},DNS:*.{0}", lab::BASE_FQDN);
        let own = authority.leaf("own", &own_names, "serverAuth,clientAuth")?;
        let secure = format!("DNS:{}", lab::SECURE_NAME);
        let secure = authority.leaf("secure", &secure, "serverAuth,clientAuth")?;
        let front = peers::front(folder, &teams, &authority.root)?;
        let mut tollgate = Tollgate::start(binary, folder, &authority, &own, setting)?;
        tollgate.sees_teams()?;
        Ok(Self {
            folder: folder.to_owned(),
            tollgate,
            teams,
            teams_root: authority.root.clone(),
            authority,
            own,
            rogue,
            secure,
            calls: 0,
            refusals: 0,
            front,
        })
    }

    /// A folder for one scenario's files.
    fn scratch(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).while_(path.display())?;
        Ok(path)
    }

    /// One call between a softphone and a scenario, which ends it, and then there is none.
    fn plays(&mut self, softphone: &mut Agent, scenario: Sipp) -> Outcome {
        self.calls += 1;
        softphone.wait_for("CALL_ESTABLISHED")?;
        scenario.completes()?;
        softphone.wait_for("CALL_CLOSED")?;
        self.tollgate.is_empty_again()
    }
}

/// The part that runs inside the private network.
pub(crate) fn inside(folder: &Path, binary: &Path, only: &str) -> ExitCode {
    let played = namespace::prepare(folder).and_then(|()| play(folder, binary, only));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            println!("    {fail}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be played, with the daemon that it is for: one that is as usual, then those whose media goes
/// another way.
fn all(only: &str) -> impl Iterator<Item = (String, Setting, Scenario)> {
    let usual = scenarios().into_iter().map(|(name, play)| (name, Setting::USUAL, play));
    usual.chain(engines::scenarios()).filter(move |(name, ..)| name.contains(only))
}

/// Why, for the last lines of a run: they are often all that is kept of it.
fn in_short(fail: &Fail) -> String {
    let line = fail.0.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().take(REASON_MAX).collect()
}

/// Characters of a reason that are repeated at the end.
const REASON_MAX: usize = 300;

fn play(folder: &Path, binary: &Path, only: &str) -> Outcome {
    let mut results = String::new();
    let mut lab: Option<(Lab, Setting)> = None;
    for (number, (name, setting, scenario)) in all(only).enumerate() {
        let began = Instant::now();
        // Another daemon can only run once this one has ended.
        let kept = lab.take().filter(|(_, with)| *with == setting);
        let mut opened = match kept {
            Some((lab, _)) => lab,
            None => Lab::open(&folder.join(format!("lab-{number}")), binary, &setting)?,
        };
        let outcome = scenario(&mut opened);
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("    {seconds:>5.1} s  {name} ok");
                results.push_str(&format!("ok {name}\n"));
                lab = Some((opened, setting));
            }
            // What a failure left behind, such as a call, must not fail the next one too.
            Err(fail) => {
                println!("    {seconds:>5.1} s  {name} FAILED\n{fail}");
                println!("{}", opened.tollgate.process.fail("ran meanwhile"));
                if opened.front.is_over() {
                    println!("{}", opened.front.fail("had ended by itself"));
                }
                results.push_str(&format!("failed {name} {}\n", in_short(&fail)));
            }
        }
    }
    std::fs::write(folder.join(RESULTS), results).while_(RESULTS)
}
