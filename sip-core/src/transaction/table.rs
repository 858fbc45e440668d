//! Tables that give room back: a burst of transactions is over half a minute later, and what it has grown to
//! would stay for the life of the process.

use std::collections::HashMap;
use std::hash::Hash;

/// Below this there is nothing to speak of to give back.
const FLOOR: usize = 1_024;
/// A table that uses less than one place in so many gives room back: what that moves is paid for by what was
/// removed since it was last that large.
const SLACK: usize = 8;

/// Removes an entry, and gives room back where nearly all of it is empty.
pub(super) fn remove<K: Eq + Hash, V>(table: &mut HashMap<K, V>, key: &K) -> Option<V> {
    let removed = table.remove(key);
    if is_slack(table.capacity(), table.len()) {
        table.shrink_to(table.len() * 2);
    }
    removed
}

/// Whether what has room for so many is to give some back.
pub(super) const fn is_slack(capacity: usize, len: usize) -> bool {
    capacity > FLOOR && len < capacity / SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_no_room_behind_and_what_stays_is_found() {
        let mut table: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        for n in 10..100_000 {
            assert_eq!(remove(&mut table, &n), Some(n));
        }
        assert!(table.capacity() <= FLOOR * 2, "{}", table.capacity());
        assert!((0..10).all(|n| table.get(&n) == Some(&n)));
    }
}
