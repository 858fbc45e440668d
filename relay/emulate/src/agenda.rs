//! Who is due when: one deadline per owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Agenda<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_owner: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Agenda<K> {
    pub(crate) const fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_owner: BTreeMap::new() }
    }

    /// Replaces the owner's deadline.
    pub(crate) fn set(&mut self, owner: K, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.by_owner.insert(owner, due),
            None => self.by_owner.remove(&owner),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, owner));
        }
        if let Some(due) = due {
            self.by_time.insert((due, owner));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes an owner that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, owner) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(owner, None);
        Some(owner)
    }
}
