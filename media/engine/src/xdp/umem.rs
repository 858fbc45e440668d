//! The memory that packets are in, shared with the kernel, in frames of one size (UMEM).
//!
//! ```text
//!  0       256  270/274  290/314  298/322                                                  2048
//!  ├─ XDP's ─┼─ Ethernet ─┼── IP ──┼─ UDP ─┼─ payload, as a `PacketBuf` ───┼─ its tailroom ──┤
//! ```
//!
//! A packet stays in its frame from the card to the card: its payload is changed in place, SRTP grows
//! into what is behind, and longer headers into what is before it.

use super::ring::Mapping;
use crate::wire::HEADERS_MAX;
use media::PacketBuf;
use std::io;
use std::ptr::NonNull;

/// Octets of a frame. Two to a page: with what XDP keeps in front and a `PacketBuf` there is no room
/// for a smaller one, and no packet that we take needs more.
pub(super) const FRAME: usize = 2048;
/// What the kernel keeps free in front of a packet that it receives.
pub(super) const HEADROOM: usize = 256;

/// Lines of 64 octets that a voice packet takes, more or less.
const PREFETCH_LINES: usize = 4;

const _: () = assert!(HEADROOM + HEADERS_MAX + size_of::<PacketBuf>() <= FRAME);
const _: () = assert!(align_of::<PacketBuf>() <= 2);

/// One frame of a UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame(u32);

/// Who has a frame. Of one that the kernel has, the place of the socket that gave it there.
type Holder = u8;
/// On the pile of free ones.
const FREE: Holder = u8::MAX;
/// Part of the batch.
const IN_HAND: Holder = u8::MAX - 1;
/// Sockets that can hold frames of a UMEM.
pub(super) const SOCKETS_MAX: usize = IN_HAND as usize;

/// All frames of a worker.
#[derive(Debug)]
pub(super) struct Umem {
    memory: Mapping,
    holders: Box<[Holder]>,
    /// What was freed last is taken first: it may still be in a cache.
    free: Vec<u32>,
}

impl Umem {
    pub(super) fn new(frames: usize) -> io::Result<Self> {
        Ok(Self {
            memory: Mapping::anonymous(frames * FRAME)?,
            holders: vec![FREE; frames].into(),
            free: (0..frames as u32).rev().collect(),
        })
    }

    pub(super) const fn start(&self) -> NonNull<u8> {
        self.memory.start()
    }

    pub(super) const fn len(&self) -> usize {
        self.memory.len()
    }

    /// Frames that nobody has.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Frames that a socket has, or all that are not free.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.holders.iter().filter(|holder| **holder != FREE).count()
    }

    /// A free frame, from now on in hand.
    pub(super) fn take(&mut self) -> Option<Frame> {
        let at = self.free.pop()?;
        *self.holders.get_mut(at as usize)? = IN_HAND;
        Some(Frame(at))
    }

    /// A frame in hand is free from now on; one that is not in hand stays where it is.
    pub(super) fn give_back(&mut self, frame: Frame) {
        self.free_from(frame, IN_HAND);
    }

    /// A frame in hand goes to the kernel by way of a socket.
    pub(super) fn hand_over(&mut self, frame: Frame, socket: u8) {
        if let Some(holder) = self.holders.get_mut(frame.0 as usize) {
            *holder = socket;
        }
    }

    /// A frame comes back from the kernel with a packet in it, which starts at `address`.
    pub(super) fn hand_back(&mut self, address: u64, socket: u8) -> Option<Frame> {
        let frame = Self::at(address);
        let holder = self.holders.get_mut(frame.0 as usize)?;
        if *holder != socket {
            return None;
        }
        *holder = IN_HAND;
        Some(frame)
    }

    /// The kernel has sent a frame: it is free.
    pub(super) fn sent(&mut self, address: u64, socket: u8) {
        self.free_from(Self::at(address), socket);
    }

    /// A socket is closed: the kernel has none of its frames any more.
    pub(super) fn reclaim(&mut self, socket: u8) {
        for at in 0..self.holders.len() {
            self.free_from(Frame(at as u32), socket);
        }
    }

    fn free_from(&mut self, frame: Frame, from: Holder) {
        if let Some(holder) = self.holders.get_mut(frame.0 as usize)
            && *holder == from
        {
            *holder = FREE;
            self.free.push(frame.0);
        }
    }

    const fn at(address: u64) -> Frame {
        Frame((address / FRAME as u64) as u32)
    }

    /// The frame that this slot lies in.
    pub(super) fn frame_of(&self, slot: NonNull<PacketBuf>) -> Option<Frame> {
        let offset = slot.addr().get().checked_sub(self.memory.start().addr().get())?;
        (offset < self.memory.len()).then(|| Self::at(offset as u64))
    }

    /// `len` octets from `address` on, if they lie within one frame.
    pub(super) fn octets(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let within = address as usize % FRAME;
        if address >= self.memory.len() as u64 || within + len > FRAME {
            return None;
        }
        // SAFETY: they lie within the mapping, as was just seen; `self` is borrowed alone, and the
        // kernel writes to no frame that we have taken back.
        Some(unsafe {
            std::slice::from_raw_parts_mut(self.start().add(address as usize).as_ptr(), len)
        })
    }

    /// The slot whose packet starts at `address`: its octets behind that are all within the frame.
    pub(super) fn slot_at(&self, address: u64) -> Option<NonNull<PacketBuf>> {
        let within = address as usize % FRAME;
        let fits = within + size_of::<PacketBuf>() <= FRAME && within.is_multiple_of(2);
        // SAFETY: it lies within the mapping.
        (fits && address < self.memory.len() as u64)
            .then(|| unsafe { self.start().add(address as usize) }.cast())
    }

    /// Has a processor fetch what lies at the beginning of a packet: headers and a short payload.
    pub(super) fn prefetch(&self, address: u64) {
        #[cfg(target_arch = "x86_64")]
        self.fetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }

    /// The same of a packet that the kernel will put into the frame at `address`; not into the nearest
    /// cache, which is needed for others until then.
    pub(super) fn expect(&self, address: u64) {
        #[cfg(target_arch = "x86_64")]
        self.fetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address + HEADROOM as u64);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }

    #[cfg(target_arch = "x86_64")]
    fn fetch<const HINT: i32>(&self, address: u64) {
        if address < self.memory.len() as u64 {
            for line in 0..PREFETCH_LINES {
                // SAFETY: it only asks for a line to be fetched, whatever lies there.
                unsafe {
                    let at = self.start().as_ptr().wrapping_add(address as usize + line * 64);
                    std::arch::x86_64::_mm_prefetch::<HINT>(at.cast());
                }
            }
        }
    }

    /// How far into the memory this slot is.
    pub(super) fn address_of(&self, slot: NonNull<PacketBuf>) -> u64 {
        slot.addr().get().wrapping_sub(self.memory.start().addr().get()) as u64
    }

    /// Where a packet of ours starts in a frame: behind room for any headers.
    pub(super) const fn start_of(frame: Frame) -> u64 {
        frame.0 as u64 * FRAME as u64 + (HEADROOM + HEADERS_MAX) as u64
    }

    /// The frame's own address, as the fill ring wants it.
    pub(super) const fn address(frame: Frame) -> u64 {
        frame.0 as u64 * FRAME as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_with_one_holder_at_a_time() {
        let mut umem = Umem::new(4).unwrap();
        let frame = umem.take().unwrap();
        umem.hand_over(frame, 3);
        umem.give_back(frame);
        umem.sent(Umem::address(frame), 2);
        assert_eq!(umem.hand_back(Umem::address(frame), 2), None);
        assert_eq!(umem.free(), 3, "only its holder gives it back");
        assert_eq!(umem.hand_back(Umem::address(frame) + 298, 3), Some(frame));
        assert_eq!(umem.hand_back(Umem::address(frame), 3), None, "twice");
        umem.give_back(frame);
        umem.give_back(frame);
        assert_eq!((umem.free(), umem.held()), (4, 0));
    }

    #[test]
    fn the_end_of_a_socket_frees_what_it_had_and_nothing_else() {
        let mut umem = Umem::new(8).unwrap();
        for socket in [0, 0, 1] {
            let frame = umem.take().unwrap();
            umem.hand_over(frame, socket);
        }
        let kept = umem.take().unwrap();
        umem.reclaim(0);
        assert_eq!((umem.free(), umem.held()), (6, 2));
        umem.give_back(kept);
        umem.reclaim(1);
        assert_eq!(umem.free(), 8);
    }

    #[test]
    fn what_does_not_lie_within_one_frame_is_not_lent() {
        let mut umem = Umem::new(2).unwrap();
        assert!(umem.octets(0, FRAME).is_some());
        assert!(umem.octets(1, FRAME).is_none());
        assert!(umem.octets(2 * FRAME as u64, 1).is_none());
        assert!(umem.octets(u64::MAX, 1).is_none());
        let fits = HEADROOM + HEADERS_MAX;
        assert!(umem.slot_at(fits as u64).is_some());
        assert!(umem.slot_at(fits as u64 + 1).is_none(), "odd");
        assert!(umem.slot_at((FRAME - size_of::<PacketBuf>() + 2) as u64).is_none());
        assert!(umem.slot_at((2 * FRAME + fits) as u64).is_none());
        let mut elsewhere = PacketBuf::new();
        assert_eq!(umem.frame_of(NonNull::from(&mut elsewhere)), None);
    }
}
