//! Calls' media in virtual time, and SRTP against its reference.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panic"
)]

mod call;
mod contexts;
mod dtls;
mod fax;
mod forks;
mod hold;
mod ice;
mod ice_settled;
mod keys;
mod latching;
mod laws;
mod libsrtp;
mod mutations;
mod offload;
mod passthrough;
mod rtcp;
mod sounds;
mod source_restart;
mod srtp;
mod watching;
mod wire;
