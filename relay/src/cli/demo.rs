//! `tollgate demo`: calls between an emulated Teams and emulated carriers through the real SBC.

use super::Exit;
use crate::demo::{self, Programme};
use crate::terminal::complain;
use std::path::PathBuf;

/// Show Tollgate at work on loopback: calls both ways, hold, failover, refusals; nothing to set up
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// End after the calls: exits 0 only if all went as it should. Without it, stay up until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print one JSON object per call
    #[arg(long)]
    json: bool,
    /// Put configuration, certificates and call records into this folder, and leave them there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self) -> Exit {
        let Self { once, json, keep } = self;
        match demo::run(&Programme { once, json, keep }) {
            Ok(true) => Exit::Done,
            Ok(false) => Exit::No,
            Err(error) => {
                complain(&format!("{error}\nhint: {}", error.hint()));
                Exit::No
            }
        }
    }
}
