//! The rings that an AF_XDP socket shares with the kernel, one side of each: four of them carry frames
//! (`if_xdp.h`; the kernel's `Documentation/networking/af_xdp.rst`).
//!
//! ```text
//!  fill        we ──▶ kernel   frames to put packets into
//!  receive     we ◀── kernel   frames with packets
//!  transmit    we ──▶ kernel   frames to be sent
//!  completion  we ◀── kernel   frames that were sent
//! ```

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Memory that the kernel has given us, or shares with us.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to whoever has the mapping; nothing in it is bound to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `len` octets of our own, zeroed and in memory already.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Self::new(len, flags, -1, 0)
    }

    /// `len` octets of a ring of `fd`, which `offset` names.
    fn of_ring(fd: BorrowedFd<'_>, len: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    fn new(len: usize, flags: c_int, fd: c_int, offset: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a place where nothing of ours is.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(super) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// What lies `offset` octets into it, if `size` octets do and `align` fits.
    fn at<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidData)?;
        let end = size_of::<T>().checked_mul(count).and_then(|size| size.checked_add(offset));
        if end.is_none_or(|end| end > self.len) || offset % align_of::<T>() != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: it ends within the mapping, which starts on a page.
        Ok(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped just this, and what points into it is gone with its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Which of a socket's rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    /// The option that makes it.
    pub(super) option: c_int,
    /// Where it can be mapped.
    pub(super) page: libc::off_t,
}

/// What both sides of a ring have of it.
#[derive(Debug)]
struct Shared<T> {
    _map: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
}

// SAFETY: it points into its own mapping alone, which nothing binds to a thread.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    fn map(
        fd: BorrowedFd<'_>,
        which: Which,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let entries = size_of::<T>() * size as usize;
        let len = entries + usize::try_from(offsets.desc).unwrap_or(usize::MAX);
        let map = Mapping::of_ring(fd, len, which.page)?;
        Ok(Self {
            producer: map.at(offsets.producer, 1)?,
            consumer: map.at(offsets.consumer, 1)?,
            flags: map.at(offsets.flags, 1)?,
            entries: map.at(offsets.desc, size as usize)?,
            _map: map,
            mask: size - 1,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `map` has found it within the mapping, which lives as long as we do; the kernel
        // touches it as an atomic, too.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }
    }

    /// The place of an entry: always one within the ring.
    fn entry(&self, at: u32) -> NonNull<T> {
        // SAFETY: the mask keeps it below the ring's size, for which `map` has seen that there is room.
        unsafe { self.entries.add((at & self.mask) as usize) }
    }
}

/// Our side of a ring that the kernel reads: fill, transmit.
#[derive(Debug)]
pub(super) struct Producer<T> {
    shared: Shared<T>,
    /// Entries written so far, told to the kernel by [`Self::publish`].
    written: u32,
    /// Entries that the kernel had read when we last looked.
    read: u32,
}

impl<T: Copy> Producer<T> {
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        which: Which,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self { shared: Shared::map(fd, which, offsets, size)?, written: 0, read: 0 })
    }

    /// Writes an entry; `false` where the ring is full.
    #[inline]
    pub(super) fn push(&mut self, value: T) -> bool {
        let size = self.shared.mask + 1;
        if self.written.wrapping_sub(self.read) >= size {
            self.read = self.shared.consumer().load(Ordering::Acquire);
            if self.written.wrapping_sub(self.read) >= size {
                return false;
            }
        }
        // SAFETY: an entry that the kernel has read (or never had) is ours until it is published.
        unsafe { self.shared.entry(self.written).write(value) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Lets the kernel see what was written.
    pub(super) fn publish(&mut self) {
        self.shared.producer().store(self.written, Ordering::Release);
    }

    /// The entries that the kernel reads next, so many at most.
    pub(super) fn next(&mut self, most: u32) -> impl Iterator<Item = T> {
        let waiting = self.pending().min(most);
        let (first, shared) = (self.read, &self.shared);
        // SAFETY: we wrote them, and do so again only once the kernel has read them.
        (0..waiting).map(move |ahead| unsafe { shared.entry(first.wrapping_add(ahead)).read() })
    }

    /// Entries that were written and that the kernel has not read.
    pub(super) fn pending(&mut self) -> u32 {
        self.read = self.shared.consumer().load(Ordering::Acquire);
        self.written.wrapping_sub(self.read)
    }

    /// Whether the kernel looks at the ring only if it is told to. A driver falls asleep and then looks once
    /// more: what was published has to be there before it is seen whether it sleeps.
    pub(super) fn needs_wakeup(&self) -> bool {
        fence(Ordering::SeqCst);
        self.shared.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// Our side of a ring that the kernel writes: receive, completion.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    shared: Shared<T>,
    /// Entries that the kernel had written when we last looked.
    written: u32,
    /// Entries read so far, told to the kernel by [`Self::release`].
    read: u32,
}

impl<T: Copy> Consumer<T> {
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        which: Which,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self { shared: Shared::map(fd, which, offsets, size)?, written: 0, read: 0 })
    }

    /// Looks at what the kernel has written meanwhile; says how many entries can be read.
    pub(super) fn look(&mut self) -> u32 {
        self.written = self.shared.producer().load(Ordering::Acquire);
        self.written.wrapping_sub(self.read)
    }

    /// The entry that comes `ahead` entries after the next one, of those that were there at the last look.
    pub(super) fn peek(&self, ahead: u32) -> Option<T> {
        if ahead >= self.written.wrapping_sub(self.read) {
            return None;
        }
        // SAFETY: the kernel has written it, and writes it again only after it was released.
        Some(unsafe { self.shared.entry(self.read.wrapping_add(ahead)).read() })
    }

    /// Takes the next entry, of those that were there at the last look.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let entry = self.peek(0)?;
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    /// Lets the kernel have the places of what was taken.
    pub(super) fn release(&mut self) {
        self.shared.consumer().store(self.read, Ordering::Release);
    }
}
