//! `tollgate emulate`: Teams or a carrier, for any border controller to be tried against.

use super::Exit;
use crate::emulation::{self, Failure, Round, Side};
use crate::terminal::{complain, print_json};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Play Teams or a carrier, over real TLS and SRTP, for any border controller to be tried against
#[derive(Debug, Args)]
pub(crate) struct Emulate {
    #[command(subcommand)]
    side: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Play Microsoft Teams Direct Routing, as strict as Microsoft is
    Teams(How),
    /// Play a carrier
    Carrier(How),
}

#[derive(Debug, Args)]
struct How {
    /// What to play (docs/operations/emulate.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object per call, violation and OPTIONS
    #[arg(long)]
    json: bool,
    /// End after so long, such as 30s or 5m: exits 1 if a rule was broken, or something
    /// could not be done. Without it, stay up until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
}

impl Emulate {
    pub(crate) fn run(self) -> Exit {
        let (side, how) = match self.side {
            Which::Teams(how) => (Side::Teams, how),
            Which::Carrier(how) => (Side::Carrier, how),
        };
        match emulation::run(side, &how.config, Round { json: how.json, lasts: how.lasts }) {
            Ok(true) => Exit::Done,
            Ok(false) => Exit::No,
            Err(error) => {
                tell(&error, how.json);
                Exit::No
            }
        }
    }
}

fn tell(error: &Failure, json: bool) {
    let problems = match error {
        Failure::File(problems) => problems.as_slice(),
        _ => &[],
    };
    for problem in problems {
        complain(&problem.to_string());
    }
    if json {
        print_json(&serde_json::json!({"kind": "error", "error": error.to_string()}));
    }
    complain(&format!("{error}\nhint: {}", error.hint()));
}
