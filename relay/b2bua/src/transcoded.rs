//! How many calls are transcoded: each costs a hundred times what another does, so they have a bound
//! of their own.

use crate::plan::Plan;

/// Calls that one transcoding thread takes on: with Opus on one side each uses up to 1 % of a core, and
/// the other half is for who shares it.
pub(crate) const TRANSCODED_PER_THREAD: usize = 100;

/// The places of a shard.
#[derive(Debug, Default)]
pub(crate) struct Transcoded {
    taken: usize,
}

impl Transcoded {
    /// Takes a place for a call that may come to need one; `false` if none is free.
    pub(crate) fn reserve(&mut self, plan: &Plan) -> bool {
        let free = self.taken < plan.transcoders * TRANSCODED_PER_THREAD;
        self.taken += usize::from(free);
        free
    }

    /// Takes a place for a call that needs one in its middle: nobody is cut off for want of it.
    pub(crate) fn enter(&mut self) {
        self.taken += 1;
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    #[cfg(test)]
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_no_place_is_lent_until_one_is_given_back() {
        let plan = Plan { transcoders: 1, ..Plan::default() };
        let mut places = Transcoded::default();
        assert!((0..TRANSCODED_PER_THREAD).all(|_| places.reserve(&plan)));
        assert!(!places.reserve(&plan));
        places.enter();
        places.leave();
        assert!(!places.reserve(&plan), "the one in its middle was one too many");
        places.leave();
        assert!(places.reserve(&plan));
        assert_eq!(places.taken(), TRANSCODED_PER_THREAD);
        assert!(!Transcoded::default().reserve(&Plan::default()), "no threads, no places");
    }
}
