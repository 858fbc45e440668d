//! SDP bytes to a [`SessionDescription`] and back, keeping every line that was not changed.

/// An SDP body, line by line as it came.
#[derive(Clone, Debug)]
pub struct SessionDescription {}

/// Why an SDP body cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SdpError {
    /// What is wrong.
    pub what: &'static str,
    /// The line, from 1.
    pub line: usize,
}
