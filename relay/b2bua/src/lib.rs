//! The back-to-back user agent: calls, legs, routing and trunks, without I/O.
//!
//! Contract: one [`B2bua::handle_input`] or [`B2bua::handle_timeout`], then drain
//! [`B2bua::poll_output`], then arm [`B2bua::poll_timeout`]. Nobody here has seen a packet or a socket.
#![forbid(unsafe_code)]

pub mod io;
pub mod plan;
pub mod record;
pub mod reject;

pub use io::{CallId, Input, MediaPorts, Output, PeerLeg};
pub use plan::Plan;
pub use record::Record;
pub use reject::Reject;
