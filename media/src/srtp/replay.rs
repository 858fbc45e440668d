//! The replay window over the last indices (RFC 3711, 3.3.2).

/// How many indices up to the highest are told apart (TDR-SRTP-004 asks for at least 64).
pub(crate) const WINDOW: u64 = u128::BITS as u64;

/// Which of the last [`WINDOW`] indices were there, and the highest of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    highest: u64,
    /// Bit `n` of the two, the low one first, is index `highest - n`.
    seen: [u64; 2],
}

/// What the window says of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was not there yet.
    New,
    /// It was.
    Seen,
    /// It is too far back to know.
    Old,
}

impl Window {
    /// A window in which only `index` was there.
    pub(crate) const fn starting(index: u64) -> Self {
        Self { highest: index, seen: [1, 0] }
    }

    /// A window in which everything up to `index` was there, or is too late.
    pub(crate) const fn closed(index: u64) -> Self {
        Self { highest: index, seen: [u64::MAX; 2] }
    }

    const fn seen(&self) -> u128 {
        self.seen[0] as u128 | (self.seen[1] as u128) << 64
    }

    const fn set_seen(&mut self, seen: u128) {
        self.seen = [seen as u64, (seen >> 64) as u64];
    }

    /// The highest index that was there.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Looks, and changes nothing.
    pub(crate) const fn look(&self, index: u64) -> Arrival {
        if index > self.highest {
            return Arrival::New;
        }
        match self.highest - index {
            WINDOW.. => Arrival::Old,
            back if self.seen() >> back & 1 == 1 => Arrival::Seen,
            _ => Arrival::New,
        }
    }

    /// Marks an index as there. Only for one that authenticated, or that we send.
    pub(crate) fn insert(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.set_seen(if ahead < WINDOW { self.seen() << ahead | 1 } else { 1 });
            self.highest = index;
        } else if self.highest - index < WINDOW {
            self.set_seen(self.seen() | 1 << (self.highest - index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_passes_once_in_any_order() {
        let mut window = Window::starting(1000);
        for index in [1001, 1005, 1003, 1126, 999, 1002] {
            assert_eq!(window.look(index), Arrival::New, "{index}");
            window.insert(index);
            assert_eq!(window.look(index), Arrival::Seen, "{index}");
        }
    }

    /// TDR-SRTP-004
    #[test]
    fn behind_the_window_nothing_passes() {
        let mut window = Window::starting(0);
        window.insert(127);
        assert_eq!(window.look(0), Arrival::Seen);
        assert_eq!(window.look(1), Arrival::New);
        window.insert(128);
        assert_eq!(window.look(0), Arrival::Old);
        assert_eq!(window.look(1), Arrival::New);
        window.insert(1 << 40);
        assert_eq!(window.look(128), Arrival::Old);
        assert_eq!(window.highest(), 1 << 40);
    }
}
