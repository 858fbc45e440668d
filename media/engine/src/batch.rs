//! A worker's pool of packet slots, filled and emptied as one batch.

use media::PacketBuf;
use std::net::{Ipv4Addr, SocketAddr};

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
    pub(crate) slot: PacketBuf,
}

/// The packets in hand.
#[derive(Debug)]
pub(crate) struct Batch {
    slots: Box<[Packet]>,
    len: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let empty = || Packet {
            port: PortId { address: 0, number: 0 },
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            cut: false,
            send: false,
            slot: PacketBuf::new(),
        };
        Self { slots: (0..POOL_SLOTS).map(|_| empty()).collect(), len: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// The next free slot, not yet part of the batch: [`Self::take`] makes it so.
    pub(crate) fn spare(&mut self) -> Option<&mut Packet> {
        self.slots.get_mut(self.len)
    }

    /// Adds the slot that [`Self::spare`] lent to the batch.
    pub(crate) fn take(&mut self) {
        self.len = (self.len + 1).min(self.slots.len());
    }

    pub(crate) fn packets(&self) -> &[Packet] {
        &self.slots[..self.len]
    }

    pub(crate) fn packets_mut(&mut self) -> &mut [Packet] {
        &mut self.slots[..self.len]
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
