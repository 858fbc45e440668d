//! What users of a dialog share beyond it: extensions whose rules stand in an RFC of their own.

pub mod prack;
pub mod session_timer;
