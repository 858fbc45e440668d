//! Whole calls, each test named by what goes wrong in it.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "these are tests, their shared parts too"
)]

mod teams_calls_carrier_and_hangs_up;
