//! What media has to tell signalling, until it is read.

use crate::Side;
use sdp::Notice;

/// Notices that may wait: they are read after every packet, and no packet makes more (the first of a fork,
/// which ends a silence and brings two keys). What else has some to tell waits until there is room.
const WAITING_MAX: usize = 4;

/// A queue without allocation. Beyond its bound a notice is lost, and counted.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Notices {
    len: u8,
    first: u8,
    /// Notices that found no room.
    pub(crate) lost: u32,
    waiting: [Option<(Side, Notice)>; WAITING_MAX],
}

impl Notices {
    pub(crate) fn push(&mut self, side: Side, notice: Notice) {
        if !self.has_room() {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.waiting[usize::from(self.first + self.len) % WAITING_MAX] = Some((side, notice));
        self.len += 1;
    }

    /// What is touched of it where nothing waits.
    pub(crate) const fn touched_to(&self) -> &u8 {
        &self.len
    }

    pub(crate) const fn has_room(&self) -> bool {
        (self.len as usize) < WAITING_MAX
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<(Side, Notice)> {
        if self.len == 0 { None } else { self.take() }
    }

    fn take(&mut self) -> Option<(Side, Notice)> {
        let next = self.waiting[usize::from(self.first)].take();
        self.first = (self.first + 1) % WAITING_MAX as u8;
        self.len -= 1;
        next
    }
}
