//! `tollgate capacity`: what this host carries, measured on its loopback in under a minute.
//!
//! ```text
//! media.rs       the media engine under more and more calls     far_sides.rs   who talks through it
//! signalling.rs  whole calls over TLS, set up and ended         report.rs      the table, and JSON
//! ```

mod far_sides;
mod media;
mod report;
mod signalling;

use crate::cli::complain;
use crate::demo::stage::StageFailure;
use media_engine::{EngineError, EngineKind};
pub(crate) use report::Report;
use std::fs;
use std::io;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// The engine, as configured.
    pub(crate) engine: EngineKind,
    /// Media cores, as configured.
    pub(crate) workers: usize,
}

/// Why it cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot measure: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stage(#[from] StageFailure),
    #[error("cannot record metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    #[error("{0}")]
    Media(&'static str),
}

/// Measures media, then signalling.
pub(crate) fn measure(question: Question) -> Result<Report, Failure> {
    media_engine::raise_descriptor_limit()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let rtp = media::measure(question.engine, false)?;
    let srtp = media::measure(question.engine, true)?;
    let calls = signalling::measure()?;
    Ok(Report { cpus, workers: question.workers, rtp, srtp, calls })
}

fn say(text: &str) {
    complain(&format!("capacity: {text}"));
}

/// CPU time in nanoseconds that threads of this process have used whose names begin so, as the scheduler
/// has counted it.
fn used_ns(prefix: &str) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread may end while it is looked at.
        let read = |file| fs::read_to_string(path.join(file)).unwrap_or_default();
        if read("comm").starts_with(prefix) {
            let used = read("schedstat");
            sum += used.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}
