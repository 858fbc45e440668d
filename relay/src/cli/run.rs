//! `tollgate run`: the daemon in the foreground.

use super::{ConfigFlag, Exit};
use crate::daemon::DaemonError;
use crate::terminal::complain;
use crate::{config, daemon, logging};

/// Run the SBC in the foreground until it is told to stop
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigFlag,
}

impl Run {
    pub(crate) fn run(self) -> Exit {
        let path = self.config.path();
        let started = match config::start(&path) {
            Ok(started) => started,
            Err(problems) => {
                for problem in problems {
                    complain(&problem.to_string());
                }
                return Exit::Config;
            }
        };
        logging::install(started.loaded.log);
        if let Err(error) = media_engine::keep_privileges_from_children() {
            tracing::warn!(%error, "programs that are started get the capabilities of the media engine");
        }
        for warning in &started.loaded.warnings {
            tracing::warn!("{}", warning.as_warning());
        }
        match daemon::run(&path, started) {
            Ok(()) => Exit::Done,
            Err(error) => {
                complain(&format!("{error}\nhint: {}", error.hint()));
                match error {
                    DaemonError::NoSuchEngine(_) => Exit::Config,
                    _ => Exit::No,
                }
            }
        }
    }
}
