//! `perf reload`: what a configuration of ten thousand tenants costs to load, how soon one tenant's change
//! is in force, and what calls notice of a reload of everything, or of a storm of small ones.

use super::lab::{Lab, Media};
use super::load::{Load, Outcome};
use super::subject::{Subject, get};
use super::{Failure, Way};
use crate::clock;
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Tenants
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    tenants: u32,
    /// Routes of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    routes: u32,
    /// Number ranges of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    ranges: u32,
    /// Changes of one tenant, one after the other
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    changes: u32,
    /// Calls per second meanwhile
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    cps: u32,
    /// How long calls are begun, without reloads, with reloads of everything, and in a storm
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The program under test; without it the one built beside this one
    #[arg(long)]
    tollgate: Option<PathBuf>,
    /// Fails if a call failed
    #[arg(long)]
    check: bool,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tenants: u32,
    disk_octets: u64,
    start_ms: f64,
    resident_octets: u64,
    resident_after_octets: u64,
    change_ms: Vec<f64>,
    full_reload_ms: f64,
    quiet: Outcome,
    reloading: Outcome,
    full_reloads: u32,
    storm: Outcome,
    storm_changes: u32,
}

/// Measures it.
pub(crate) fn run(plan: &Plan) -> Result<Report, Failure> {
    media_engine::raise_descriptor_limit()?;
    let lab = Lab::new(plan.tollgate.as_deref())?;
    let tenants = lab.tenants()?;
    crate::complain(&format!("writing {} tenants", plan.tenants));
    for number in 0..plan.tenants {
        fs::write(tenants.join(format!("t{number:05}.toml")), tenant(plan, number, 1))?;
    }
    let disk_octets = fs::read_dir(&tenants)?
        .flatten()
        .filter_map(|it| it.metadata().ok())
        .map(|it| it.len())
        .sum();
    let began = clock::monotonic();
    let mut subject = lab.start_tollgate(Way::UdpUdp, Media::DEFAULT)?;
    let start_ms = ms(clock::monotonic() - began);
    let resident_octets = subject.usage()?.resident;
    crate::complain(&format!("started in {start_ms:.0} ms"));
    // The first generation is being kept: a busy disk is not what is measured.
    clock::sleep_until(clock::monotonic() + Duration::from_secs(10));
    let metrics = subject.metrics().ok_or("no metrics")?;
    let mut change_ms = Vec::new();
    for change in 0..plan.changes {
        let name = (change * 7919) % plan.tenants;
        change_ms.push(changed(&tenants, name, &tenant(plan, name, change + 2), metrics)?);
    }
    let full_reload_ms = everything(&lab, metrics)?;
    crate::complain(&format!("everything in {full_reload_ms:.0} ms"));
    let load = || Load {
        cps: plan.cps,
        calls: u64::from(plan.cps) * u64::from(plan.seconds),
        hold: Some(Duration::from_millis(500)),
    };
    let quiet = load().run(&mut subject, "without reloads")?;
    let (reloading, full_reloads) =
        meanwhile(&mut subject, load(), "reloads of everything", || {
            everything(&lab, metrics).map(drop)
        })?;
    let mut number = 0;
    let (storm, storm_changes) = meanwhile(&mut subject, load(), "storm", || {
        number += 1;
        storm(plan, &tenants, number)
    })?;
    let resident_after_octets = subject.usage()?.resident;
    subject.stop()?;
    let report = Report {
        tenants: plan.tenants,
        disk_octets,
        start_ms,
        resident_octets,
        resident_after_octets,
        change_ms,
        full_reload_ms,
        quiet,
        reloading,
        full_reloads,
        storm,
        storm_changes,
    };
    let failed = report.quiet.failed + report.reloading.failed + report.storm.failed;
    if plan.check && failed > 0 {
        return Err(format!("{failed} calls failed\n{report}").into());
    }
    Ok(report)
}

/// One tenant, about ten kilobytes.
fn tenant(plan: &Plan, number: u32, calls: u32) -> String {
    let mut text = format!("fqdns = [\"t{number}.sbc1.example.net\"]\nnumbers = [\n");
    for range in 0..plan.ranges {
        let first = 44_000_000_000_u64 + u64::from(number) * 100_000 + u64::from(range) * 100;
        let _ = writeln!(text, "  \"+{first}-+{}\",", first + 99);
    }
    let _ = writeln!(text, "]\n[limits]\ncalls = {calls}");
    for route in 0..plan.routes {
        let _ = writeln!(
            text,
            "[[route]]\nfrom = \"carrier\"\nmatch = \"+44{route:04}*\"\nto = [\"out\"]"
        );
    }
    text
}

/// From the rename of a tenant's file until it is in force.
fn changed(folder: &Path, name: u32, text: &str, metrics: SocketAddr) -> Result<f64, Failure> {
    let before = generation(metrics)?;
    let new = folder.join(".new");
    fs::write(&new, text)?;
    let began = clock::monotonic();
    fs::rename(&new, folder.join(format!("t{name:05}.toml")))?;
    in_force(metrics, before)?;
    Ok(ms(clock::monotonic() - began))
}

/// A host's file that is another makes every tenant be judged anew.
fn everything(lab: &Lab, metrics: SocketAddr) -> Result<f64, Failure> {
    let before = generation(metrics)?;
    let file = lab.host()?;
    let text = fs::read_to_string(&file)?;
    let new = file.with_file_name(".new");
    fs::write(&new, format!("{text}# {before}\n"))?;
    let began = clock::monotonic();
    fs::rename(&new, &file)?;
    in_force(metrics, before)?;
    Ok(ms(clock::monotonic() - began))
}

/// By rename, by a symbolic link, half-written, and every other one does not hold.
fn storm(plan: &Plan, folder: &Path, number: u32) -> Result<(), Failure> {
    let tenant_number = number % plan.tenants.min(10);
    let file = folder.join(format!("t{tenant_number:05}.toml"));
    let mut text = tenant(plan, tenant_number, number + 100);
    if number % 2 == 1 {
        text = text.replacen("carrier", "nobody", 1);
    }
    let new = folder.join(".new");
    match number % 3 {
        0 => {
            fs::write(&new, text)?;
            fs::rename(&new, &file)?;
        }
        1 => {
            let target = folder.with_file_name(format!("elsewhere-{}", number % 2));
            fs::write(&target, text)?;
            let _ = fs::remove_file(&new);
            std::os::unix::fs::symlink(&target, &new)?;
            fs::rename(&new, &file)?;
        }
        _ => {
            use std::io::Write as _;
            let _ = fs::remove_file(&file);
            let mut open = fs::File::create(&file)?;
            let (half, rest) = text.split_at(text.len() / 2);
            open.write_all(half.as_bytes())?;
            clock::sleep_until(clock::monotonic() + Duration::from_millis(100));
            open.write_all(rest.as_bytes())?;
        }
    }
    // A hundred a minute.
    clock::sleep_until(clock::monotonic() + Duration::from_millis(500));
    Ok(())
}

/// Calls, and `work` again and again as long as they last.
fn meanwhile(
    subject: &mut Subject,
    load: Load,
    what: &str,
    mut work: impl FnMut() -> Result<(), Failure> + Send,
) -> Result<(Outcome, u32), Failure> {
    let (over, done) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Err(error) = work() {
                    return Err(error.to_string());
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let outcome = load.run(subject, what);
        over.store(true, Ordering::Relaxed);
        let worked = worker.join().map_err(|_| "the worker panicked")?;
        worked?;
        Ok((outcome?, done.load(Ordering::Relaxed)))
    })
}

fn generation(metrics: SocketAddr) -> Result<u64, Failure> {
    let said = get(metrics, "/metrics")?;
    let line = said.lines().find(|line| line.starts_with("tollgate_config_generation "));
    let value = line.and_then(|line| line.rsplit(' ').next()).ok_or("no generation")?;
    Ok(value.parse::<f64>()? as u64)
}

/// Waits until another generation is in force.
fn in_force(metrics: SocketAddr, before: u64) -> Result<(), Failure> {
    let due = clock::monotonic() + IN_FORCE_MAX;
    while generation(metrics)? == before {
        if clock::monotonic() > due {
            return Err("the change is not in force".into());
        }
        clock::sleep_until(clock::monotonic() + Duration::from_millis(1));
    }
    Ok(())
}

/// A reload of everything on a machine that is busy with calls.
const IN_FORCE_MAX: Duration = Duration::from_secs(120);

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        let mut changes = self.change_ms.clone();
        changes.sort_by(f64::total_cmp);
        let at = |share: usize| {
            changes
                .get((changes.len() * share / 100).min(changes.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0.0)
        };
        writeln!(f, "{} tenants, {:.0} MiB on disk", self.tenants, mib(self.disk_octets))?;
        writeln!(f, "start                       {:8.0} ms", self.start_ms)?;
        writeln!(
            f,
            "one tenant, rename to force {:8.0} ms median, {:.0} ms at most",
            at(50),
            at(100)
        )?;
        writeln!(f, "everything                  {:8.0} ms", self.full_reload_ms)?;
        writeln!(
            f,
            "memory                      {:8.0} MiB; after all of it {:.0} MiB",
            mib(self.resident_octets),
            mib(self.resident_after_octets)
        )?;
        let mut row = |what: String, it: &Outcome| {
            writeln!(
                f,
                "{what:<40} {} calls, {} failed, set-up {:.1} ms median, {:.1} ms p99, {:.1} ms at most",
                it.begun, it.failed, it.setup_ms.p50, it.setup_ms.p99, it.setup_ms.max
            )
        };
        row("without reloads:".to_owned(), &self.quiet)?;
        row(format!("with {} reloads of everything:", self.full_reloads), &self.reloading)?;
        row(format!("with {} small ones, half of them invalid:", self.storm_changes), &self.storm)
    }
}
