//! Plays whole calls on a virtual network and clock.
#![forbid(unsafe_code)]
