//! What media has to tell signalling, until it is read.

use crate::Side;
use sdp::Notice;

/// Notices that may wait: they are read after every packet, and no packet makes more than two.
const WAITING_MAX: usize = 8;

/// A queue without allocation. Beyond its bound a notice is lost, and counted.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: [Option<(Side, Notice)>; WAITING_MAX],
    first: usize,
    len: usize,
    /// Notices that found no room.
    pub(crate) lost: u64,
}

impl Notices {
    pub(crate) fn push(&mut self, side: Side, notice: Notice) {
        if self.len == WAITING_MAX {
            self.lost += 1;
            return;
        }
        self.waiting[(self.first + self.len) % WAITING_MAX] = Some((side, notice));
        self.len += 1;
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.len < WAITING_MAX
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<(Side, Notice)> {
        if self.len == 0 { None } else { self.take() }
    }

    fn take(&mut self) -> Option<(Side, Notice)> {
        let next = self.waiting[self.first].take();
        self.first = (self.first + 1) % WAITING_MAX;
        self.len -= 1;
        next
    }
}
