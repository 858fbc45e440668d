//! The transports over real sockets on loopback: who gets in, what comes out, what is told when it
//! does not.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up fails"
)]

mod certificates;
mod datagrams;
mod openssl;
mod peers;
mod reload;
mod streams;
mod targets;
mod world;
