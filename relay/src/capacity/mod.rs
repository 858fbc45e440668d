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

use crate::demo::stage::StageFailure;
use crate::terminal::complain;
use media_engine::{EngineError, EngineKind};
pub(crate) use report::Report;
use std::fs;
use std::io;
use std::net::IpAddr;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The engine, as configured.
    pub(crate) engine: EngineKind,
    /// Media cores, as configured.
    pub(crate) workers: usize,
    /// Where media ports are, as configured: `auto` goes by their interfaces.
    pub(crate) media: Vec<IpAddr>,
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
    let (engine, instead) = on_loopback(&question);
    let rtp = media::measure(engine, false)?;
    let srtp = media::measure(engine, true)?;
    let calls = signalling::measure()?;
    Ok(Report { cpus, workers: question.workers, instead, rtp, srtp, calls })
}

/// The engine that stands for the configured one where only loopback is used, and why if it is another:
/// there no driver takes packets, so that AF_XDP would show less than the daemon has of it.
fn on_loopback(question: &Question) -> (EngineKind, Option<String>) {
    let xdp = match question.engine {
        EngineKind::Auto => media_engine::would_take_xdp(&question.media),
        EngineKind::Xdp => Ok("configured".to_owned()),
        EngineKind::Steer | EngineKind::Portable => Err(String::new()),
    };
    match xdp {
        Ok(why) => {
            let instead = format!(
                "the daemon would take xdp ({why}), which no measure over loopback can show; what is \
                 shown is steer, which carries fewer calls"
            );
            (EngineKind::Steer, Some(instead))
        }
        Err(_) => (question.engine, None),
    }
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
