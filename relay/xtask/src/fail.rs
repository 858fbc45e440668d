//! Why a check failed, as the text a developer reads.

use std::fmt::Display;

/// The result of anything that can fail here.
pub(crate) type Outcome<T = ()> = Result<T, Fail>;

/// A sentence that says what is wrong, with what was seen.
#[derive(Debug)]
pub(crate) struct Fail(pub(crate) String);

impl Fail {
    /// A failure with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when something else failed.
pub(crate) trait While<T> {
    /// `what` reads as "PATH" or "starting kamailio".
    fn while_(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Display> While<T> for Result<T, E> {
    fn while_(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| Fail(format!("{what}: {error}")))
    }
}

/// Fails with the text unless the condition holds.
pub(crate) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Fail(text())) }
}
