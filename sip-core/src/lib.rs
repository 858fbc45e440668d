//! SIP messages, stream framing, transactions, dialogs, digest and registrations, without I/O.
//!
//! Nothing here opens a socket, reads a clock or draws a random number: bytes, `now` and branches
//! come in, bytes and events go out.
#![forbid(unsafe_code)]

pub mod auth;
pub mod dialog;
#[cfg(test)]
mod drawing;
pub mod framing;
pub mod message;
#[cfg(feature = "rsip")]
pub mod rsip;
pub mod transaction;
pub mod usage;

pub use dialog::{Dialog, DialogError, DialogId};
pub use message::{
    CSeq, Headers, Message, Method, Name, NameAddr, ParseError, Request, Response, Uri, Via,
};
