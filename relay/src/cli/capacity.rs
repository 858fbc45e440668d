//! `tollgate capacity`: how much this host carries.

use super::{ConfigFlag, Exit};
use crate::capacity::{self, Question};
use crate::config;
use crate::terminal::{complain, print, print_json};
use media_engine::EngineKind;

/// Measure on loopback how many calls this host carries, within a minute: best while it carries none
#[derive(Debug, clap::Args)]
pub(crate) struct Capacity {
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Capacity {
    pub(crate) fn run(self) -> Exit {
        let path = self.config.path();
        let question = match config::load(&path) {
            Ok(loaded) => Question {
                engine: loaded.media_engine,
                workers: loaded.plan.media_workers,
                media: loaded.plan.media.iter().map(|address| address.bind).collect(),
            },
            Err(_) => {
                complain("no configuration that holds: measured with the defaults of [media]");
                Question { engine: EngineKind::default(), workers: 1, media: Vec::new() }
            }
        };
        match capacity::measure(question) {
            Ok(report) if self.json => print_json(&report.json()),
            Ok(report) => print(&report.text()),
            Err(error) => {
                complain(&error.to_string());
                return Exit::No;
            }
        }
        Exit::Done
    }
}
