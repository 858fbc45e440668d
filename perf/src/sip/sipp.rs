//! SIPp as caller and answerer: a generator that shares no line with us.

use super::load::{Outcome, Percentiles};
use super::subject::Subject;
use super::{Failure, Plan};
use crate::clock;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Drives the planned calls through `subject`.
pub(super) fn run(plan: &Plan, subject: &mut Subject) -> Result<Outcome, Failure> {
    let folder = Folder::new()?;
    let (caller, answerer) = subject.wire.hand_over()?;
    let far_scenario = folder.write("answerer.xml", ANSWERER)?;
    let mut far = Player::start(&folder, "far", answerer, |command| {
        command.arg("-sf").arg(far_scenario);
    })?;
    let near_scenario = folder.write("caller.xml", CALLER)?;
    let began = clock::monotonic();
    let mut near = Player::start(&folder, "near", caller, |command| {
        command.arg("-sf").arg(near_scenario).arg(subject.sip.to_string());
        command.args(["-s", super::lab::CALLED, "-recv_timeout", "40000"]);
        command.args(["-d", &plan.hold_ms.to_string(), "-trace_stat", "-stf", "near.csv"]);
        command.args(["-trace_rtt", "-rtt_freq", "1000"]);
        command.args(["-r", &plan.cps.to_string(), "-m", &plan.calls().to_string()]);
        command.args(["-l", &CALLS_AT_ONCE.to_string()]);
    })?;
    let due = began + Duration::from_secs(plan.seconds.into()) + PATIENCE;
    near.until_over(due)?;
    far.end();
    let last = folder.last_statistics()?;
    let number = |name: &str| last.iter().find(|(key, _)| key == name).map_or(0, |(_, n)| *n);
    let begun = number("TotalCallCreated");
    Ok(Outcome {
        begun,
        answered: number("SuccessfulCall(C)"),
        failed: begun.saturating_sub(number("SuccessfulCall(C)")),
        why: [("SIPp: failed".to_owned(), number("FailedCall(C)"))]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect(),
        achieved_cps: begun as f64 / f64::from(plan.seconds.max(1)),
        setup_ms: folder.round_trips()?,
        repeats: number("Retransmissions(C)"),
    })
}

/// A SIPp that is ended with us.
struct Player(Child);

impl Player {
    fn start(
        folder: &Folder,
        name: &str,
        at: SocketAddr,
        more: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let log = fs::File::create(folder.path.join(format!("{name}.log")))?;
        let mut command = Command::new("sipp");
        command.current_dir(&folder.path).args(["-i", &at.ip().to_string()]);
        command.args([
            "-p",
            &at.port().to_string(),
            "-t",
            "u1",
            "-nostdin",
            "-buff_size",
            "8388608",
        ]);
        command.args(["-cp", "0", "-timer_resol", "1"]);
        more(&mut command);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().map_err(
                |error| format!("sipp cannot be run: {error}; hint: apt install sip-tester"),
            )?;
        Ok(Self(child))
    }

    fn until_over(&mut self, due: std::time::Instant) -> Result<(), Failure> {
        while self.0.try_wait()?.is_none() {
            if clock::monotonic() > due {
                return Err("SIPp did not come to an end".into());
            }
            clock::sleep_until(clock::monotonic() + GLANCE);
        }
        Ok(())
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.end();
    }
}

/// Scenarios and statistics of one run.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tollgate-sipp-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The caller's counters at its end, by their names.
    fn last_statistics(&self) -> Result<Vec<(String, u64)>, Failure> {
        let text = fs::read_to_string(self.path.join("near.csv"))?;
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default().split(';');
        let values = lines.last().unwrap_or_default().split(';');
        Ok(names
            .zip(values)
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(0)))
            .collect())
    }

    /// INVITE to 200, as the caller has taken it down for each call.
    fn round_trips(&self) -> Result<Percentiles, Failure> {
        let mut us = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("_rtt.csv") {
                us.extend(read_round_trips(&path)?);
            }
        }
        Ok(Percentiles::of(us))
    }
}

fn read_round_trips(path: &Path) -> Result<Vec<u32>, Failure> {
    let text = fs::read_to_string(path)?;
    let ms = text.lines().skip(1).filter_map(|line| line.split(';').nth(1)?.parse::<f64>().ok());
    Ok(ms.map(|ms| (ms * 1000.0) as u32).collect())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

const CALLER: &str = include_str!("sipp/caller.xml");
const ANSWERER: &str = include_str!("sipp/answerer.xml");
const GLANCE: Duration = Duration::from_millis(50);
/// After the last call should have begun.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a subject that stops answering may pile up.
const CALLS_AT_ONCE: u32 = 20_000;
