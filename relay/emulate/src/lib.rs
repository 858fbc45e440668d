//! Emulated Teams and carrier user agents, without I/O: they place and take calls, play a tone, and
//! judge what they see and hear.
//!
//! An [`Agent`] is driven like every core here: [`Agent::handle_input`] and
//! [`Agent::handle_timeout`], then [`Agent::poll_output`] until it is empty, then
//! [`Agent::poll_timeout`]. The Teams side is strict: it refuses what Microsoft refuses, and writes
//! down what Microsoft's documents forbid ([`Agent::violations`]).
#![forbid(unsafe_code)]

mod abilities;
mod advice;
mod agenda;
mod agent;
mod call;
mod carrier;
mod chain;
mod core;
mod deed;
mod failure;
mod gate;
mod hop;
mod io;
mod judge;
mod ladder;
mod location;
mod manner;
mod moving;
mod mp_sdp;
mod options;
mod persona;
mod placing;
mod reception;
mod reinvite;
mod reliable;
mod rtcp;
mod script;
mod session;
mod sound;
mod strict;
mod strict_headers;
mod strict_sdp;
mod strict_transfer;
mod taking;
mod teams;
mod tone;
mod transfer;

#[cfg(test)]
mod tests;

pub use abilities::{Abilities, Challenges, Reliability};
pub use advice::{Advice, advice};
pub use agent::{Agent, Dial, Unable};
pub use carrier::Carrier;
pub use deed::{Deed, Deeds, Forward};
pub use failure::{FAILURES, Failure};
pub use hop::{Hop, Transport};
pub use io::{CallId, Event, Input, Output};
pub use judge::Heard;
pub use ladder::{Step, ladder};
pub use location::Pidf;
pub use manner::Manner;
pub use script::{Behaviour, Progress, Script};
pub use sound::MediaPlan;
pub use strict::Violation;
pub use teams::{AnswerKeys, Endpoint, Health, Teams, Tenant};
