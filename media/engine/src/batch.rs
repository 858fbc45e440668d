//! A worker's pool of packet slots, filled and emptied as one batch.

use media::PacketBuf;
use std::net::{Ipv4Addr, SocketAddr};
use std::ptr::NonNull;

/// Packets taken from the kernel before any is sent. More makes nothing cheaper (the gain is flat
/// from 16 on), and 64 slots still fit the second-level cache.
pub(crate) const RECEIVE_BATCH: usize = 64;

/// The slots of one worker. A batch runs to completion before the next one starts, and packets of
/// our own are made between batches, in the same slots: so the sum has one term, and a worker never
/// runs out of slots. What does not fit a batch waits in the kernel.
pub(crate) const POOL_SLOTS: usize = RECEIVE_BATCH;

/// One of our ports: which of a worker's addresses, and the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortId {
    pub(crate) address: u16,
    pub(crate) number: u16,
}

/// One packet on its way through a worker.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Our port: the one it came in on, and after processing the one it leaves from.
    pub(crate) port: PortId,
    /// The far side: its source, and after processing its destination.
    pub(crate) peer: SocketAddr,
    /// The kernel cut it, because it was larger than a slot takes.
    pub(crate) cut: bool,
    /// It is to be sent; set by processing.
    pub(crate) send: bool,
    /// Where its octets are: at home in the batch's own pool, or where an engine has them.
    slot: NonNull<PacketBuf>,
    home: NonNull<PacketBuf>,
}

impl Packet {
    pub(crate) fn slot(&self) -> &PacketBuf {
        // SAFETY: the pool lives as long as the batch, whose packets cannot leave it, and who lends
        // promised as much (`lend`); nothing else refers to a slot of a packet in hand.
        unsafe { self.slot.as_ref() }
    }

    pub(crate) fn slot_mut(&mut self) -> &mut PacketBuf {
        // SAFETY: as in `slot`; this packet is borrowed alone.
        unsafe { self.slot.as_mut() }
    }

    /// Has the packet where the kernel has put it, so that nobody copies it.
    ///
    /// # Safety
    /// `slot` is a valid slot that nothing else touches until [`Self::take_home`] or the batch's end.
    pub(crate) unsafe fn lend(&mut self, slot: NonNull<PacketBuf>) {
        self.slot = slot;
    }

    /// Where it was lent, if it was.
    pub(crate) fn lent(&self) -> Option<NonNull<PacketBuf>> {
        (self.slot != self.home).then_some(self.slot)
    }

    /// Where it was lent, if it was; from now on it is in the batch's own pool again.
    pub(crate) fn take_home(&mut self) -> Option<NonNull<PacketBuf>> {
        let lent = std::mem::replace(&mut self.slot, self.home);
        (lent != self.home).then_some(lent)
    }
}

/// The packets in hand.
#[derive(Debug)]
pub(crate) struct Batch {
    packets: Box<[Packet]>,
    len: usize,
    /// The homes of the packets: made in [`Self::new`] and freed when the batch is dropped.
    pool: NonNull<[PacketBuf]>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let pool: Box<[PacketBuf]> = (0..POOL_SLOTS).map(|_| PacketBuf::new()).collect();
        let pool = NonNull::from(Box::leak(pool));
        let first = pool.cast::<PacketBuf>();
        let empty = |at| {
            // SAFETY: `at` is below the pool's length.
            let home = unsafe { first.add(at) };
            Packet {
                port: PortId { address: 0, number: 0 },
                peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                cut: false,
                send: false,
                slot: home,
                home,
            }
        };
        Self { packets: (0..POOL_SLOTS).map(empty).collect(), len: 0, pool }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// The next free slot, not yet part of the batch: [`Self::take`] makes it so.
    pub(crate) fn spare(&mut self) -> Option<&mut Packet> {
        self.packets.get_mut(self.len)
    }

    /// All free slots; those that are filled, in order, become part of the batch by [`Self::take`].
    pub(crate) fn spares(&mut self) -> &mut [Packet] {
        &mut self.packets[self.len..]
    }

    /// Adds the slot that [`Self::spare`] lent to the batch.
    pub(crate) fn take(&mut self) {
        self.len = (self.len + 1).min(self.packets.len());
    }

    pub(crate) fn packets(&self) -> &[Packet] {
        &self.packets[..self.len]
    }

    pub(crate) fn packets_mut(&mut self) -> &mut [Packet] {
        &mut self.packets[..self.len]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: `new` has leaked this very box, and no packet outlives the batch.
        drop(unsafe { Box::from_raw(self.pool.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_lends_no_slot_and_a_cleared_one_does_again() {
        let mut batch = Batch::new();
        for _ in 0..POOL_SLOTS {
            assert!(batch.spare().is_some());
            batch.take();
        }
        assert!(batch.spare().is_none());
        assert_eq!(batch.packets().len(), POOL_SLOTS);
        batch.clear();
        assert!(batch.packets().is_empty());
        assert!(batch.spare().is_some());
    }
}
