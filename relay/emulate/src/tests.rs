//! Whole calls between two agents, over a pipe in virtual time.
use std::time::Instant;
/// Virtual time zero.
pub(crate) fn zero() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    fn any() -> Instant {
        Instant::now()
    }
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(any)
}
