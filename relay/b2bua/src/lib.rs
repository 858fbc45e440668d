//! The back-to-back user agent: calls, legs, routing, trunks. Sans-IO.
#![forbid(unsafe_code)]
