//! Shares by weight: which trunk of a step a call tries first, and who comes next.

use crate::plan::{Step, Steps};

/// The trunks of `steps` in the order this draw gives them, each once.
///
/// The same draw gives the same order: who asks twice is told the same.
pub(super) fn order(steps: &Steps, draw: u64, trunks: &mut Vec<usize>) {
    let mut state = draw;
    for step in steps.iter() {
        match step {
            Step::Trunk(trunk) => push(trunks, *trunk),
            Step::Share(share) => drawn(share, &mut state, trunks),
        }
    }
}

pub(super) fn push(trunks: &mut Vec<usize>, trunk: usize) {
    if !trunks.contains(&trunk) {
        trunks.push(trunk);
    }
}

/// One after the other is drawn by weight from those left; a weight of 0 is drawn last.
fn drawn(share: &[(usize, u32)], state: &mut u64, trunks: &mut Vec<usize>) {
    let mut left = share.to_vec();
    while !left.is_empty() {
        let total: u64 = left.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut point = below(next(state), total);
        let at = left.iter().position(|(_, weight)| {
            let weight = u64::from(*weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        });
        let (trunk, _) = left.remove(at.unwrap_or(0));
        push(trunks, trunk);
    }
}

/// A number below `bound` that is as even as `random` is.
fn below(random: u64, bound: u64) -> u64 {
    let scaled = (u128::from(random) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or_default()
}

/// The next of a sequence that begins anywhere (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore as _, SeedableRng as _};

    /// The share of draws, in a thousand, in which each order comes out.
    fn orders(steps: Vec<Step>, of: &[usize]) -> u32 {
        let steps = Steps::from(steps);
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let hits = (0..100_000).filter(|_| {
            let mut trunks = Vec::new();
            order(&steps, rng.next_u64(), &mut trunks);
            trunks == of
        });
        u32::try_from((hits.count() + 50) / 100).unwrap()
    }

    fn about(found: u32, wanted: u32) {
        assert!(found.abs_diff(wanted) <= 8, "{found} of a thousand, not {wanted}");
    }

    #[test]
    fn each_trunk_comes_first_as_often_as_its_weight_says() {
        let share = || vec![Step::Share([(1, 70), (2, 30)].into())];
        about(orders(share(), &[1, 2]), 700);
        about(orders(share(), &[2, 1]), 300);
    }

    #[test]
    fn those_not_drawn_come_next_by_their_weights() {
        // 1 first: 1/2; then 2 of (2: 30, 3: 20): 3/5.
        let share = || vec![Step::Share([(1, 50), (2, 30), (3, 20)].into())];
        about(orders(share(), &[1, 2, 3]), 300);
        about(orders(share(), &[1, 3, 2]), 200);
        // 2 first: 3/10; then 1 of (1: 50, 3: 20): 5/7.
        about(orders(share(), &[2, 1, 3]), 214);
    }

    #[test]
    fn a_weight_of_nothing_is_a_fallback() {
        let share = || vec![Step::Share([(1, 0), (2, 5)].into()), Step::Trunk(3)];
        assert_eq!(orders(share(), &[2, 1, 3]), 1000);
    }

    #[test]
    fn two_shares_of_a_route_are_drawn_apart() {
        let even = |a, b| Step::Share([(a, 1), (b, 1)].into());
        for order in [[1, 2, 3, 4], [1, 2, 4, 3], [2, 1, 3, 4], [2, 1, 4, 3]] {
            about(orders(vec![even(1, 2), even(3, 4)], &order), 250);
        }
    }

    #[test]
    fn a_trunk_that_stands_twice_is_tried_once() {
        assert_eq!(orders(vec![Step::Trunk(1), Step::Trunk(2), Step::Trunk(1)], &[1, 2]), 1000);
    }
}
