//! The log: structured fields to stderr, for people or as JSON lines.

use crate::config::{Level, Log, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// The environment variable that overrides `[log] level`, with per-module levels.
const VARIABLE: &str = "TOLLGATE_LOG";

/// Installs the log. A second call (in one process: the demo) keeps the first.
pub fn install(log: Log) {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    // Colours only where somebody looks: a journal or file keeps them as escape sequences.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // `try_init` refuses only where a log is installed already, which is what is wanted.
    let _ = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
