//! INVITE server transactions that a call has yet to answer, or whose ACK it awaits: by transaction, as
//! ACK and CANCEL find their call, and by call, so that the end of one looks at no other's.

use crate::io::CallId;
use sip_core::transaction::ServerId;
use std::collections::{BTreeSet, HashMap};

/// Who owns which; `C` is [`CallId`], but for the test that counts how many a look touches.
#[derive(Debug)]
pub(crate) struct Servers<C = CallId> {
    calls: HashMap<ServerId, C>,
    /// The same the other way round.
    of_calls: BTreeSet<(C, ServerId)>,
}

impl<C: Copy + Ord> Servers<C> {
    pub(crate) fn insert(&mut self, server: ServerId, call: C) {
        if let Some(before) = self.calls.insert(server, call) {
            self.of_calls.remove(&(before, server));
        }
        self.of_calls.insert((call, server));
    }

    pub(crate) fn get(&self, server: ServerId) -> Option<C> {
        self.calls.get(&server).copied()
    }

    pub(crate) fn remove(&mut self, server: ServerId) -> Option<C> {
        let call = self.calls.remove(&server)?;
        self.of_calls.remove(&(call, server));
        Some(call)
    }

    /// This call is over: nothing is its any more.
    pub(crate) fn forget(&mut self, call: C) {
        while let Some((_, server)) = self.first_of(call) {
            self.remove(server);
        }
    }

    fn first_of(&self, call: C) -> Option<(C, ServerId)> {
        self.of_calls.range((call, ServerId(0))..=(call, ServerId(u64::MAX))).next().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}

impl<C> Default for Servers<C> {
    fn default() -> Self {
        Self { calls: HashMap::new(), of_calls: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    #[test]
    fn a_call_that_ends_takes_all_of_its_own_and_nothing_of_another() {
        let mut servers = Servers::default();
        let (ends, lives) = (CallId(1), CallId(2));
        servers.insert(ServerId(1), ends);
        servers.insert(ServerId(2), lives);
        servers.insert(ServerId(3), ends);
        servers.forget(ends);
        assert_eq!([1, 2, 3].map(|id| servers.get(ServerId(id))), [None, Some(lives), None]);
        servers.forget(ends);
        assert_eq!((servers.len(), servers.of_calls.len()), (1, 1));
    }

    #[test]
    fn a_transaction_that_changes_hands_or_is_answered_is_nobody_elses() {
        let mut servers = Servers::default();
        let (before, after) = (CallId(1), CallId(2));
        servers.insert(ServerId(1), before);
        servers.insert(ServerId(1), after);
        servers.forget(before);
        assert_eq!(servers.get(ServerId(1)), Some(after));
        assert_eq!(servers.remove(ServerId(1)), Some(after));
        assert_eq!((servers.remove(ServerId(1)), servers.of_calls.len()), (None, 0));
    }

    #[test]
    fn the_end_of_a_call_looks_at_none_of_ten_thousand_that_are_set_up() {
        let mut servers = Servers::default();
        for call in 0..10_000 {
            servers.insert(ServerId(call), Counted(call));
        }
        LOOKS.set(0);
        servers.forget(Counted(5_000));
        assert_eq!(servers.len(), 9_999);
        assert!(LOOKS.get() < 300, "{} looks", LOOKS.get());
    }

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// A call that counts how often one is compared with it.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Counted(u64);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            LOOKS.set(LOOKS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
}
