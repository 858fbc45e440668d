//! Connectivity checks of one leg: answers those of the far side, sends its own where it is a full
//! agent, and says where media goes (RFC 8445; TDR-ICE-001 to 014). Without I/O.
//!
//! ```text
//!  our description      a generation: our user fragment and password
//!   └ forks             the far sides that answer it, by their user fragment (TDR-ICE-005)
//!      └ pairs          each address that checks came from, or that the far side named
//! ```
//!
//! What is not authentic changes a count and nothing else, and gets few answers.

mod agent;
mod checks;
mod generation;
pub mod stun;

pub use agent::{Agent, Reply};

use std::time::{Duration, Instant};

/// A bound on how often something happens: a bucket of tokens that fills with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: u32,
    at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn full(burst: u32) -> Self {
        Self { tokens: burst, at: None }
    }

    /// Takes a token, if there is one: a new one comes each `every`, up to `burst`.
    pub(crate) fn take(&mut self, now: Instant, every: Duration, burst: u32) -> bool {
        let at = self.at.get_or_insert(now);
        let since = now.saturating_duration_since(*at);
        let fresh = (since.as_micros() / every.as_micros().max(1)).min(u128::from(burst)) as u32;
        if fresh > 0 {
            self.tokens = (self.tokens + fresh).min(burst);
            *at = if self.tokens == burst { now } else { *at + every * fresh };
        }
        let taken = self.tokens > 0;
        self.tokens -= u32::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, zero};

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_one_at_a_time() {
        let (mut bucket, t) = (Bucket::full(3), zero());
        let every = ms(100);
        assert_eq!((0..5).filter(|_| bucket.take(t, every, 3)).count(), 3);
        assert!(!bucket.take(t + ms(99), every, 3));
        assert!(bucket.take(t + ms(100), every, 3));
        assert!(!bucket.take(t + ms(150), every, 3));
        assert_eq!((0..9).filter(|_| bucket.take(t + ms(10_000), every, 3)).count(), 3);
    }
}
