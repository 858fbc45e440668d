//! Choices from a seed: the same seed makes the same ones.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Choices from a seed.
pub struct Dice(ChaCha20Rng);

impl Dice {
    /// The dice of this seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound.max(1)
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}
