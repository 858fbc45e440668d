//! The command line: one module per verb, one exit code per outcome.
//!
//! A verb is a struct with its flags and `fn run(self) -> Exit`, in a file of its own, and one
//! variant of `Verb`.

mod ask;
mod call;
mod calls;
mod capacity;
mod check;
mod daemon;
mod demo;
mod drain;
mod emulate;
mod replay;
mod route;
mod run;
mod schema;
mod sip;
mod status;
mod teams;
mod tenants;
mod trace;
mod versions;

use crate::config;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A session border controller and media relay for Microsoft Teams Direct Routing.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Check(check::Check),
    Demo(demo::Demo),
    Emulate(emulate::Emulate),
    Sip(sip::Sip),
    Status(status::Status),
    Calls(calls::Calls),
    Call(call::Call),
    Trunks(ask::Trunks),
    Trace(trace::Trace),
    Route(route::Route),
    Alarms(ask::Alarms),
    Reload(ask::Reload),
    Diff(versions::Diff),
    Rollback(versions::Rollback),
    Drain(drain::Drain),
    Teams(teams::Teams),
    Tenants(tenants::Tenants),
    Schema(schema::Schema),
    Capacity(capacity::Capacity),
}

impl Verb {
    fn run(self) -> Exit {
        match self {
            Self::Run(run) => run.run(),
            Self::Check(check) => check.run(),
            Self::Demo(demo) => demo.run(),
            Self::Emulate(emulate) => emulate.run(),
            Self::Sip(sip) => sip.run(),
            Self::Status(status) => status.run(),
            Self::Calls(calls) => calls.run(),
            Self::Call(call) => call.run(),
            Self::Trunks(trunks) => trunks.run(),
            Self::Trace(trace) => trace.run(),
            Self::Route(route) => route.run(),
            Self::Alarms(alarms) => alarms.run(),
            Self::Reload(reload) => reload.run(),
            Self::Diff(diff) => diff.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Drain(drain) => drain.run(),
            Self::Teams(teams) => teams.run(),
            Self::Tenants(tenants) => tenants.run(),
            Self::Schema(schema) => schema.run(),
            Self::Capacity(capacity) => capacity.run(),
        }
    }
}

/// Does what the command line asks for. Wrong usage ends the process with 2.
pub fn main() -> ExitCode {
    CommandLine::parse().verb.run().into()
}

/// How a verb ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the answer is yes.
    Done,
    /// The answer is no.
    No,
    /// The daemon cannot be reached.
    Unreachable,
    /// `run` with a configuration that does not hold (EX_CONFIG of sysexits.h).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Unreachable => 3,
            Exit::Config => 78,
        }
        .into()
    }
}

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigFlag {
    /// Directory of the configuration, or the tollgate.toml in it [default: $TOLLGATE_CONFIG, else
    /// /etc/tollgate]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

impl ConfigFlag {
    /// The path in force.
    pub(crate) fn path(self) -> PathBuf {
        config::path(self.config)
    }
}
