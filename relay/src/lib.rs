//! Tollgate, the daemon: transports, configuration, administration and the command line around the
//! back-to-back user agent and the media engine.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
