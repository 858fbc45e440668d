//! Tollgate, the daemon: transports, configuration, administration and the command line around the
//! back-to-back user agent and the media engine.
#![forbid(unsafe_code)]

mod acme;
pub mod admin;
pub mod alarms;
mod capacity;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
mod demo;
mod direction;
mod dns;
mod emulation;
mod expiry;
pub mod explained;
mod hook;
mod http;
mod import;
mod in_force;
pub mod judgement;
mod keeper;
mod lent;
pub mod logging;
mod looks;
mod measured;
mod media_setup;
mod past_calls;
mod pcap;
mod readiness;
mod record_file;
mod record_line;
mod reload;
pub mod replay;
mod service_user;
mod shard;
mod signalling;
mod strangers;
mod teams;
pub mod telemetry;
mod terminal;
pub mod trace;
pub mod transport;
mod watch;
