//! What a user agent does beside transactions and dialogs: extensions whose rules stand in an RFC of
//! their own, and registrations on both sides (RFC 3261, 10).

pub mod bindings;
pub mod prack;
pub mod refer;
pub mod registration;
pub mod replaces;
pub mod session_timer;
pub mod subscription;
