//! One AF_XDP socket: a queue of an interface, with its four rings (`if_xdp.h`).

use super::ring::{Consumer, Producer, Which};
use super::umem::{FRAME, Umem};
use crate::kernel::Queue;
use std::ffi::c_int;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Packets that may wait for a worker, and frames for packets: all of 500 calls while it is kept from its
/// work for 80 ms, or those of 5,000 for 8 ms.
pub(super) const RING: u32 = 4096;
/// Packets on their way out: sixteen batches. The shorter a ring, the more of it stays in a cache.
pub(super) const SEND_RING: u32 = 1024;
/// Packets that one kick has the kernel send, where it can be told (Linux 6.17): else it stops at 32.
const BUDGET: u32 = 256;
/// Kicks for one batch: each has the kernel take 32 packets at least.
const KICKS_MAX: usize = 8;
/// Octets of sent packets that the other end has not yet read. The kernel's usual bound is some 200
/// packets, less than a batch for each of a host's links.
const SEND_BUFFER: c_int = 4 * 1024 * 1024;

/// Packets that a kick has the kernel send (`if_xdp.h` of Linux 6.17).
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

const RECEIVE: Which = Which { option: libc::XDP_RX_RING, page: libc::XDP_PGOFF_RX_RING };
const TRANSMIT: Which = Which { option: libc::XDP_TX_RING, page: libc::XDP_PGOFF_TX_RING };
const FILL: Which =
    Which { option: libc::XDP_UMEM_FILL_RING, page: libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t };
const COMPLETION: Which = Which {
    option: libc::XDP_UMEM_COMPLETION_RING,
    page: libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
};

/// How packets get between a driver and our frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The kernel copies them.
    Copy,
    /// The driver puts them there.
    ZeroCopy,
}

/// A descriptor of a packet: `libc`'s, which can be copied.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

/// What came of a kick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kicked {
    /// Packets that were thrown away.
    pub(super) lost: u64,
    /// Some are still in the ring.
    pub(super) left: bool,
}

/// A bound socket. The frames that it has must be taken back when it is gone (`Umem::reclaim`).
#[derive(Debug)]
pub(super) struct XdpSocket {
    pub(super) receive: Consumer<Descriptor>,
    pub(super) transmit: Producer<Descriptor>,
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) queue: Queue,
    // Last: the rings are unmapped before it is closed.
    fd: OwnedFd,
}

impl XdpSocket {
    /// A socket at a queue, whose frames are those of `umem`: registered anew, or as `shared` has them.
    /// All that share have packets come the same way.
    pub(super) fn open(
        umem: &Umem,
        shared: Option<&Self>,
        queue: Queue,
        mode: Mode,
    ) -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it is used.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if shared.is_none() {
            let register = libc::xdp_umem_reg {
                addr: umem.start().addr().get() as u64,
                len: umem.len() as u64,
                chunk_size: FRAME as u32,
                headroom: 0,
                flags: 0,
                tx_metadata_len: 0,
            };
            set(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &register)?;
        }
        for (ring, size) in
            [(FILL, RING), (COMPLETION, SEND_RING), (RECEIVE, RING), (TRANSMIT, SEND_RING)]
        {
            set(fd.as_fd(), libc::SOL_XDP, ring.option, &size)?;
        }
        // Neither is a reason not to go on: the kernel is older, or a privilege is missing.
        let _ = set(fd.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &BUDGET);
        let _ = set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);
        let offsets = offsets(fd.as_fd())?;
        let socket = Self {
            receive: Consumer::map(fd.as_fd(), RECEIVE, &offsets.rx, RING)?,
            transmit: Producer::map(fd.as_fd(), TRANSMIT, &offsets.tx, SEND_RING)?,
            fill: Producer::map(fd.as_fd(), FILL, &offsets.fr, RING)?,
            completion: Consumer::map(fd.as_fd(), COMPLETION, &offsets.cr, SEND_RING)?,
            queue,
            fd,
        };
        socket.bind(shared, mode)?;
        Ok(socket)
    }

    fn bind(&self, shared: Option<&Self>, mode: Mode) -> io::Result<()> {
        let mode = match mode {
            Mode::Copy => libc::XDP_COPY,
            Mode::ZeroCopy => libc::XDP_ZEROCOPY,
        };
        let name = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // One that shares has what the first was bound with.
            sxdp_flags: match shared {
                Some(_) => libc::XDP_SHARED_UMEM,
                None => mode | libc::XDP_USE_NEED_WAKEUP,
            },
            sxdp_ifindex: self.queue.interface,
            sxdp_queue_id: self.queue.number,
            sxdp_shared_umem_fd: shared.map_or(0, |first| first.fd.as_raw_fd() as u32),
        };
        // SAFETY: the kernel reads one address of AF_XDP, which outlives the call.
        let done = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const name).cast(),
                mem::size_of_val(&name) as libc::socklen_t,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Has the kernel send what is in the ring. An error means that the interface is gone or down.
    pub(super) fn kick(&mut self) -> io::Result<Kicked> {
        let mut lost = 0;
        for _ in 0..KICKS_MAX {
            // SAFETY: no data and no address are given.
            let done = unsafe {
                let fd = self.fd.as_raw_fd();
                libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0)
            };
            if done >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // It has stopped at its budget, or can take no more now.
                Some(libc::EAGAIN | libc::EINTR) => {}
                // One packet was refused further down; it goes on with the next when told so.
                Some(libc::EBUSY | libc::ENOBUFS) => lost += 1,
                _ => return Err(error),
            }
            if self.transmit.pending() == 0 {
                break;
            }
        }
        Ok(Kicked { lost, left: self.transmit.pending() > 0 })
    }

    /// Has the driver look for frames again.
    pub(super) fn wake_driver(&self) {
        // SAFETY: no room for data or an address is given.
        unsafe {
            let (fd, none) = (self.fd.as_raw_fd(), ptr::null_mut());
            libc::recvfrom(fd, none, 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut());
        }
    }

    /// Packets that the kernel had for us and threw away: no room in the ring, no frame, too long.
    pub(super) fn thrown_away(&self) -> u64 {
        // SAFETY: plain numbers, for which zeroes are values.
        let mut counters: libc::xdp_statistics = unsafe { mem::zeroed() };
        let mut len = mem::size_of_val(&counters) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` octets of the counters, which outlive the call.
        unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                (&raw mut counters).cast(),
                &mut len,
            );
        }
        counters.rx_dropped + counters.rx_ring_full
    }
}

fn set<T>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads the octets of `value`, a plain C value that outlives the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where in each ring is what.
fn offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    let mut offsets = MaybeUninit::<libc::xdp_mmap_offsets>::zeroed();
    let mut len = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets of the offsets, which outlive the call.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            offsets.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if len as usize != size_of::<libc::xdp_mmap_offsets>() {
        // Before Linux 5.4 there are no flags: nobody could be told to wake up.
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: plain numbers, zeroed and then written.
    Ok(unsafe { offsets.assume_init() })
}
