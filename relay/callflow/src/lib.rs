//! Plays whole calls through the real core and the real media path, on a virtual network and clock.
//!
//! A [`World`] holds the back-to-back user agent, its media and the far sides around it. A test says
//! what they do; when it fails, the ladder is printed, and when it ends, [`World`] checks the laws
//! that hold for every call (see [`mod@laws`]).
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "this crate serves tests: what goes wrong ends the test, with the ladder"
)]

pub mod chance;
mod chance_rules;
mod clock;
mod dice;
mod emulated;
mod ladder;
pub mod laws;
mod media_plane;
pub mod met;
mod mischief;
pub mod net;
mod peer;
pub mod plan;
pub mod script;
pub mod sdp_text;
mod world;

pub use dice::Dice;
pub use emulated::{carrier_script, certificate, teams_script};
pub use net::{Fault, Network};
pub use peer::Who;
pub use script::Party;
pub use world::World;

use std::time::Duration;

/// Whole seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Milliseconds.
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
