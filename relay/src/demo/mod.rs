//! `tollgate demo`: the real SBC between an emulated Teams and two emulated carriers, on loopback,
//! with nothing to set up.
//!
//! ```text
//! lab.rs        ports, certificates, configuration
//! stage.rs      the SBC and everybody around it        forger.rs     the peer that gets no answer
//! scenarios.rs  the calls, and what makes them right   records.rs    the SBC's own call records
//! report.rs     the table, and JSON
//! ```

mod forger;
pub(crate) mod lab;
mod records;
mod report;
mod scenarios;
pub(crate) mod stage;

use crate::telemetry;
use crate::terminal::{complain, print, print_json};
use lab::{Folder, LabFailure};
use report::Outcome;
use stage::{Clock, Size, Stage, StageFailure};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the demo is to be given.
#[derive(Clone, Debug)]
pub(crate) struct Programme {
    /// End after the calls, instead of staying up.
    pub(crate) once: bool,
    /// JSON instead of a table.
    pub(crate) json: bool,
    /// The folder to use and to leave.
    pub(crate) keep: Option<PathBuf>,
}

/// Why the demo could not be given.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Failure(#[from] Why);

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("cannot record metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    #[error(transparent)]
    Stage(#[from] StageFailure),
}

impl Failure {
    /// What can be done about it.
    pub(crate) fn hint(&self) -> &'static str {
        match &self.0 {
            Why::Runtime(_) => "is the limit of processes or open files reached (ulimit -a)?",
            Why::Recorder(_) => "this is a bug of ours: one process has one recorder",
            Why::Stage(StageFailure::Lab(LabFailure::Foreign(_))) => {
                "name a folder that is empty or new"
            }
            Why::Stage(StageFailure::Lab(LabFailure::Folder { .. })) => {
                "may this user write there? --keep DIR names another folder"
            }
            Why::Stage(StageFailure::Daemon(error)) => error.hint(),
            Why::Stage(StageFailure::Configuration(_)) => {
                "is the folder's path very long? --keep DIR names another one"
            }
            Why::Stage(StageFailure::Lab(LabFailure::Loopback(_))) => "ip link set lo up",
            Why::Stage(_) => "is the limit of open files reached (ulimit -n)?",
        }
    }
}

/// Other ports are tried if one was taken before it was bound.
const ATTEMPTS_MAX: u32 = 3;
/// Between two calls of a demo that stays up, so that metrics move.
const ENCORE: Duration = Duration::from_secs(10);

/// Gives the demo; whether all went as it should.
pub(crate) fn run(programme: &Programme) -> Result<bool, Failure> {
    Ok(give(programme)?)
}

fn give(programme: &Programme) -> Result<bool, Why> {
    let mut folder = match &programme.keep {
        Some(path) => Folder::kept(path.clone()),
        None => Folder::temporary(),
    }
    .map_err(StageFailure::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ok = runtime.block_on(perform(programme, &folder))?;
    if ok == Some(false) && !folder.stays() {
        folder.keep();
        complain(&format!("left to look into: {}", folder.path().display()));
    }
    Ok(ok == Some(true))
}

/// Whether all went as it should; `None` if it was interrupted before that was known.
async fn perform(programme: &Programme, folder: &Folder) -> Result<Option<bool>, Why> {
    let mut interrupted = Interrupted::listen()?;
    let recorder = telemetry::install()?;
    let progress = Clock::start();
    let mut attempt = 1;
    let stage = loop {
        match Stage::set(folder, recorder.clone(), progress, Size::DEMO).await {
            Ok(stage) => break stage,
            Err(error) if error.may_pass() && attempt < ATTEMPTS_MAX => {
                progress.say("lab", &format!("once more with other ports: {error}"));
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let told = tokio::select! {
        told = play_all(&stage) => Some(told),
        () = interrupted.recv() => None,
        () = stage.gone() => {
            progress.say("sbc", "was drained before all was played");
            None
        }
    };
    if let Some(told) = &told {
        tell(programme, told, folder.path(), &stage);
        if !programme.once {
            tokio::select! {
                () = encores(&stage) => {}
                () = stage.gone() => progress.say("sbc", "is drained"),
                () = interrupted.recv() => {}
            }
        }
    }
    progress.say("sbc", "stops: calls end with BYE");
    tokio::select! {
        () = stage.strike() => {}
        () = interrupted.recv() => {}
    }
    Ok(told.map(|told| told.ok()))
}

/// What came of it all.
struct Told {
    calls: Vec<Outcome>,
    /// Targets that did not answer OPTIONS.
    silent: Vec<String>,
    /// Rules that the SBC's messages broke.
    violations: Vec<String>,
    took: Duration,
}

impl Told {
    fn ok(&self) -> bool {
        let calls = self.calls.iter().all(Outcome::ok);
        calls && self.silent.is_empty() && self.violations.is_empty()
    }
}

async fn play_all(stage: &Stage) -> Told {
    let silent = stage.probes().await;
    let (out, inwards) = tokio::join!(
        scenarios::play(stage, scenarios::TEAMS_TO_PSTN),
        scenarios::play(stage, scenarios::PSTN_TO_TEAMS),
    );
    let (hold, next) = tokio::join!(
        scenarios::play(stage, scenarios::HOLD_AND_RESUME),
        scenarios::play(stage, scenarios::NEXT_TRUNK),
    );
    let unknown = scenarios::unknown_number(stage).await;
    let forged = forger::play(stage).await;
    let violations = stage.violations().await;
    let calls = vec![out, inwards, hold, next, unknown, forged];
    Told { calls, silent, violations, took: stage.progress.elapsed() }
}

/// A call now and then, for whoever watches the metrics.
async fn encores(stage: &Stage) {
    let calls = [scenarios::TEAMS_TO_PSTN, scenarios::PSTN_TO_TEAMS];
    for call in calls.into_iter().cycle() {
        tokio::time::sleep(ENCORE).await;
        let outcome = scenarios::play(stage, call).await;
        for fault in &outcome.faults {
            stage
                .progress
                .say(outcome.scenario, &format!("{}; likely: {}", fault.what, fault.likely));
        }
    }
}

fn tell(programme: &Programme, told: &Told, dir: &Path, stage: &Stage) {
    if programme.json {
        for call in &told.calls {
            print_json(&call.to_json());
        }
    } else {
        print(&format!("\n{}\n", report::text(&told.calls)));
    }
    for target in &told.silent {
        complain(&format!("no answer to OPTIONS: {target}"));
    }
    for violation in &told.violations {
        complain(&format!("the SBC said what it must not: {violation}"));
    }
    let verdict = if told.ok() { "all went as it should" } else { "not all went as it should" };
    let ending =
        format!("{verdict}, in {:.1} s\n{}", told.took.as_secs_f64(), next(programme, dir, stage));
    if programme.json { complain(ending.trim_end()) } else { print(&ending) }
}

/// Where to look next.
fn next(programme: &Programme, dir: &Path, stage: &Stage) -> String {
    let (dir, me) = (dir.display(), own_name());
    let kept = format!(
        "  configuration  {me} check --config {dir}\n  call records   {}\n",
        stage.records.display()
    );
    match (programme.once, programme.keep.is_some()) {
        (true, true) => kept,
        (true, false) => "\
without --once the SBC stays up, with metrics, `calls` and `trunks` to look at;
--keep DIR leaves its configuration and call records in DIR\n"
            .into(),
        (false, _) => format!(
            "the SBC stays up and plays a call every {} s; Ctrl-C ends it. Look at it meanwhile:\n  \
             metrics        http://{}/metrics\n  calls          {me} calls --config {dir}\n  \
             trunks         {me} trunks --config {dir}\n{kept}",
            ENCORE.as_secs(),
            stage.metrics,
        ),
    }
}

/// This program as it can be called from here.
fn own_name() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("tollgate"));
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// Ctrl-C, and its elder sister.
struct Interrupted {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupted {
    fn listen() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
