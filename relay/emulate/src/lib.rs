//! Emulated Teams and carrier user agents. Sans-IO.
#![forbid(unsafe_code)]
