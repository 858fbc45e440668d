//! Counts what passed, failed and was skipped, and closes with the one line a runner reads.

use std::process::ExitCode;

/// What one check came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<String>,
    /// Those of what passed that are asked for by name later.
    pub(crate) named: Vec<String>,
}

impl Tally {
    /// One thing that held.
    pub(crate) fn pass() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// One thing that did not hold.
    pub(crate) fn fail(name: impl Into<String>) -> Self {
        Self { failed: vec![name.into()], ..Self::default() }
    }

    /// One thing that could not be tried, and why.
    pub(crate) fn skip(name: impl Into<String>) -> Self {
        Self { skipped: vec![name.into()], ..Self::default() }
    }

    /// Takes in what another check came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.named.extend(other.named);
    }

    /// Did everything asked for hold? A skip counts as a failure where nothing may be left out.
    fn holds(&self, strict: bool) -> bool {
        self.failed.is_empty() && (!strict || self.skipped.is_empty())
    }

    /// The lines at the end of a run; the last one is the result over everything.
    pub(crate) fn closing(&self, strict: bool) -> String {
        let mut text = String::new();
        if !self.failed.is_empty() {
            text.push_str(&format!("FAILED {}: {}\n", self.failed.len(), self.failed.join(", ")));
        }
        if !self.skipped.is_empty() {
            let names = self.skipped.join(", ");
            text.push_str(&format!("SKIPPED {}: {names}\n", self.skipped.len()));
        }
        let verdict = if self.holds(strict) { "ok" } else { "FAILED" };
        let (passed, failed, skipped) = (self.passed, self.failed.len(), self.skipped.len());
        text.push_str(&format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {skipped} skipped"
        ));
        text
    }

    /// 0 or 1, as the closing line says.
    pub(crate) fn exit_code(&self, strict: bool) -> ExitCode {
        if self.holds(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_skip_fails_only_a_strict_run() {
        let mut tally = Tally::pass();
        tally.add(Tally::skip("interop (no root)"));
        assert!(tally.closing(false).ends_with("test result: ok. 1 passed; 0 failed; 1 skipped"));
        assert!(
            tally.closing(true).ends_with("test result: FAILED. 1 passed; 0 failed; 1 skipped")
        );
        assert!(tally.closing(false).contains("SKIPPED 1: interop (no root)\n"));
    }

    #[test]
    fn a_failure_is_named_before_the_last_line() {
        let tally = Tally::fail("fmt");
        assert_eq!(
            tally.closing(false),
            "FAILED 1: fmt\ntest result: FAILED. 0 passed; 1 failed; 0 skipped"
        );
    }
}
