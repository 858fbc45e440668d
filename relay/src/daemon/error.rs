//! Why the daemon cannot start, or has failed.

use crate::config::{BIND_HINT, Loaded, Problem};
use crate::in_force;
use crate::transport;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No async runtime or signal handler.
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
    /// A listener.
    #[error(transparent)]
    Transport(#[from] transport::StartError),
    /// What a listener binds cannot be had here.
    #[error("{0}")]
    Listener(Problem),
    /// The media engine.
    #[error(transparent)]
    Media(#[from] media_engine::EngineError),
    /// The media engine that the configuration names cannot be had here, and trying again would not
    /// change it.
    #[error("{0}")]
    NoSuchEngine(Problem),
    /// SRTP.
    #[error(transparent)]
    Srtp(#[from] media::srtp::WrongAnswer),
    /// The metrics address.
    #[error("cannot serve metrics on {address}: {error}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The admin socket.
    #[error("cannot use the admin socket {}: {error}", path.display())]
    Admin {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file of call records.
    #[error("cannot write call records to {}: {error}", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Signalling has ended though nobody told it to.
    #[error("signalling has failed: {0}")]
    Shard(String),
    /// The metrics recorder.
    #[error("cannot record metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
}

impl DaemonError {
    /// Why transports have not started, at its place in the files if it has one.
    pub(super) fn of_transports(error: transport::StartError, loaded: &Loaded) -> Self {
        match in_force::problem(&error, loaded) {
            Some(problem) => Self::Listener(Problem { hint: None, ..problem }),
            None => Self::Transport(error),
        }
    }

    /// What an operator can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Runtime(_) => "is the limit of processes or open files reached (ulimit -a)?",
            Self::Transport(_) => "does `tollgate check` find something, too?",
            Self::Listener(_) => BIND_HINT,
            Self::NoSuchEngine(_) => {
                "or set [media] engine = \"auto\", which goes on with what there is"
            }
            Self::Media(_) => "is the limit of threads or open files reached (ulimit -a)?",
            Self::Srtp(_) => {
                "do not run it here: what it protects could not be read, or by anybody"
            }
            Self::Metrics { .. } => {
                "choose another [metrics] listen, or end who holds it (ss -lntp)"
            }
            Self::Admin { .. } => "is another tollgate running, and may this user write there?",
            Self::Records { .. } => "may this user write there ([records] file)?",
            Self::Shard(_) => "this is a bug of ours: please report it with the log before it",
            Self::Recorder(_) => "this is a bug of ours: one process has one recorder",
        }
    }
}
