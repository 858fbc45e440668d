//! Digest authentication, on both sides (RFC 3261, 22; RFC 8760; RFC 7616).
//!
//! [`answer`] puts credentials into a request that was challenged; [`Standing`] remembers the
//! challenge, so that the next request need not be. [`Guard`] challenges others and judges what
//! they answer; it keeps nothing for those who do not know the secret.

mod algorithm;
mod answer;
mod challenge;
mod credentials;
mod directives;
mod guard;
mod nonces;
mod secret;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use answer::{Account, Refusal, STALE_MAX, Standing, answer};
pub use challenge::{Asker, Challenge, MAX_CHALLENGES, Qop, challenges};
pub use guard::{Denied, Guard, NONCE_LIFE, User, Verdict};
pub use nonces::NONCES_MAX;
pub use secret::Secret;
