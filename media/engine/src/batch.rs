//! A worker's pool of packet slots, filled and emptied as one batch.

use crate::wire::HEADERS_MAX;
use media::PacketBuf;
use std::mem;
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
    home: NonNull<Home>,
}

/// A slot of the batch's own, with room for headers right before it.
#[derive(Clone)]
#[repr(C)]
struct Home {
    head: [u8; HEADROOM],
    slot: PacketBuf,
}

/// Octets before a packet in its home: the longest headers, and the next multiple of eight.
pub(crate) const HEADROOM: usize = HEADERS_MAX.next_multiple_of(8);

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
        (self.slot != self.home_slot()).then_some(self.slot)
    }

    /// Where it was lent, if it was; from now on it is in the batch's own pool again.
    pub(crate) fn take_home(&mut self) -> Option<NonNull<PacketBuf>> {
        let home = self.home_slot();
        let lent = std::mem::replace(&mut self.slot, home);
        (lent != home).then_some(lent)
    }

    /// The last `len` octets of the room before a packet that is at home, and the packet.
    pub(crate) fn head_mut(&mut self, len: usize) -> Option<(&mut [u8], &[u8])> {
        if self.lent().is_some() {
            return None;
        }
        // SAFETY: as in `slot_mut`; room and slot lie beside each other and do not overlap.
        let home = unsafe { self.home.as_mut() };
        Some((home.head.get_mut(HEADROOM.checked_sub(len)?..)?, home.slot.packet()))
    }

    /// A packet that is at home, with the last `len` octets of the room before it.
    pub(crate) fn with_head(&self, len: usize) -> Option<&[u8]> {
        if self.lent().is_some() {
            return None;
        }
        let before = HEADROOM.checked_sub(len)?;
        let octets = self.home.cast::<u8>().as_ptr();
        // SAFETY: as in `slot`; a slot's octets come first in it and right behind the room, so that from
        // `before` on there are `len` octets of the room and then those of the packet.
        Some(unsafe { std::slice::from_raw_parts(octets.add(before), len + self.slot().len()) })
    }

    fn home_slot(&self) -> NonNull<PacketBuf> {
        // SAFETY: the home is valid as long as the batch lives, and the slot lies within it.
        unsafe { self.home.cast::<u8>().add(mem::offset_of!(Home, slot)).cast() }
    }
}

/// The packets in hand.
#[derive(Debug)]
pub(crate) struct Batch {
    packets: Box<[Packet]>,
    len: usize,
    /// The homes of the packets: made in [`Self::new`] and freed when the batch is dropped.
    pool: NonNull<[Home]>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let home = Home { head: [0; HEADROOM], slot: PacketBuf::new() };
        let pool: Box<[Home]> = vec![home; POOL_SLOTS].into();
        let pool = NonNull::from(Box::leak(pool));
        let first = pool.cast::<Home>();
        let empty = |at| {
            // SAFETY: `at` is below the pool's length.
            let home = unsafe { first.add(at) };
            let mut packet = Packet {
                port: PortId { address: 0, number: 0 },
                peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                cut: false,
                send: false,
                slot: NonNull::dangling(),
                home,
            };
            packet.slot = packet.home_slot();
            packet
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
    fn headers_do_not_stand_right_before_their_packet() {
        let mut batch = Batch::new();
        for (n, packet) in batch.spares().iter_mut().enumerate() {
            packet.slot_mut().octets_mut()[..3].copy_from_slice(b"abc");
            packet.slot_mut().set_len(3);
            let (head, octets) = packet.head_mut(HEADROOM - n).unwrap();
            assert_eq!(octets, b"abc");
            head.fill(n as u8);
        }
        for (n, packet) in batch.spares().iter_mut().enumerate() {
            let (head, octets) = packet.with_head(HEADROOM - n).unwrap().split_at(HEADROOM - n);
            assert!(head.iter().all(|octet| *octet == n as u8));
            assert_eq!(octets, b"abc");
            assert!(packet.with_head(HEADROOM + 1).is_none());
        }
        // Where an engine has lent it, the room is its own.
        let mut other = PacketBuf::new();
        let packet = batch.spare().unwrap();
        // SAFETY: it outlives the batch's use of it.
        unsafe { packet.lend(NonNull::from(&mut other)) };
        assert!(packet.head_mut(8).is_none() && packet.with_head(8).is_none());
        assert_eq!(packet.take_home(), Some(NonNull::from(&mut other)));
        assert!(packet.with_head(8).is_some());
    }

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
