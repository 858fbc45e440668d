//! The back-to-back user agent: calls, legs, routing and trunks, without I/O.
//!
//! Contract: one [`B2bua::handle_input`] or [`B2bua::handle_timeout`], then drain
//! [`B2bua::poll_output`], then arm [`B2bua::poll_timeout`]. Nobody here has seen a packet or a socket.
#![forbid(unsafe_code)]

pub mod accounts;
mod admission;
mod b2bua;
mod breaker;
mod bucket;
mod call;
mod callback;
mod cause;
mod clip;
pub mod codes;
mod core;
mod credentials;
mod drain;
mod endpoint;
pub mod fraud;
mod headers;
pub mod hook;
mod identity;
pub mod io;
mod leg;
mod lmo;
pub mod locate;
mod microsoft;
mod nat;
pub mod numbering;
mod overload;
mod party;
pub mod plan;
mod port_pool;
pub mod record;
mod registrar;
mod registration;
pub mod reject;
pub mod routing;
mod servers;
mod session;
mod supported;
mod timers;
mod transcoded;
mod trunk;

pub use b2bua::B2bua;
pub use call::{Destination, PastInvite, Refusal, Replay, Unasked};
pub use call::{Explanation, Inquiry, TargetState, When};
pub use callback::{LENT_MAX, LentNumber};
pub use io::{CallId, Input, MediaPort, MediaPorts, Now, Output, PeerLeg};
pub use plan::Plan;
pub use record::{Carried, Record};
pub use reject::Reject;
pub use supported::SUPPORTED;
