//! `tollgate emulate`: Teams, or a carrier, on addresses of this host, for any border controller to be
//! tried against without the real one.
//!
//! ```text
//! setup.rs   the file                         pki.rs      certificates where there are none
//! script.rs  what users do, calls to place    peer.rs     an agent over sockets
//! round.rs   one run of it                    attack.rs   peers that must get no answer
//! watch.rs   calls and rules as they come     report.rs   ladders and advice, or JSON
//! ```

pub(crate) mod attack;
pub(crate) mod peer;
mod pki;
mod report;
mod round;
mod script;
mod setup;
#[cfg(test)]
mod tests;
mod watch;

use crate::config::Problem;
pub(crate) use round::{Round, run};
pub(crate) use setup::Side;
use std::path::PathBuf;

/// Why nothing can be emulated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The file does not hold.
    #[error("the file does not hold")]
    File(Vec<Problem>),
    /// No threads.
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
    /// No metrics, by which refusals in TLS are known.
    #[error("cannot record metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    /// No sockets.
    #[error(transparent)]
    Peer(#[from] peer::PeerFailure),
    /// No certificates.
    #[error(transparent)]
    Lab(#[from] certs::lab::LabError),
    /// No certificates.
    #[error(transparent)]
    Certificate(#[from] certs::FileError),
    /// A laboratory that is not whole, or the other side's.
    #[error("{} is there, but not {}: nothing is written over", root.display(), missing.display())]
    Foreign { root: PathBuf, missing: PathBuf },
    /// A laboratory from before the file named this.
    #[error("{} is not for {name}", file.display())]
    Names { file: PathBuf, name: String },
}

impl Failure {
    /// What can be done about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::File(_) => "docs/operations/emulate.md has all keys",
            Self::Runtime(_) => "is the limit of processes or open files reached (ulimit -a)?",
            Self::Recorder(_) => "this is a bug of ours: one process has one recorder",
            Self::Peer(_) => {
                "has this host the addresses of the file (ip addr), and is nobody else on its ports \
                 (ss -lnp)?"
            }
            Self::Lab(_) | Self::Certificate(_) => {
                "may this user read and write there? `lab` names another folder"
            }
            Self::Foreign { .. } | Self::Names { .. } => {
                "name another folder with `lab`, or remove this one: its certificates are made anew then"
            }
        }
    }
}
