//! A program on an interface, of which can be told whether it still is there (bpf(2)).

use std::ffi::{c_int, c_long};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The driver, on its own buffers.
    Driver,
    /// The stack, on packets that are already its own.
    Generic,
    /// The stack as well, where it looks for programs of tc (tcx).
    Ingress,
}

/// A program on an interface; dropping it takes the program off.
#[derive(Debug)]
pub(super) struct ProgramLink(OwnedFd);

impl ProgramLink {
    pub(super) fn new(program: BorrowedFd<'_>, interface: u32, mode: Mode) -> io::Result<Self> {
        let mut create = Create {
            program: program.as_raw_fd() as u32,
            interface,
            attach_type: if mode == Mode::Ingress { BPF_TCX_INGRESS } else { BPF_XDP },
            flags: match mode {
                Mode::Driver => XDP_FLAGS_DRV_MODE,
                Mode::Generic => XDP_FLAGS_SKB_MODE,
                // Behind those that are there already.
                Mode::Ingress => 0,
            },
        };
        let fd = bpf(BPF_LINK_CREATE, &mut create)?;
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as c_int) }))
    }

    /// Has another program in its place from the next packet on.
    pub(super) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut update = Update {
            link: self.0.as_raw_fd() as u32,
            program: program.as_raw_fd() as u32,
            flags: 0,
            old: 0,
        };
        bpf(BPF_LINK_UPDATE, &mut update).map(|_| ())
    }

    /// Whether the program is on an interface: the link outlives both an interface that goes and a
    /// program that somebody takes off.
    pub(super) fn is_attached(&self) -> bool {
        let mut info = Info::default();
        let mut ask = AskInfo {
            fd: self.0.as_raw_fd() as u32,
            len: mem::size_of::<Info>() as u32,
            info: (&raw mut info).addr() as u64,
        };
        // Exposed, as the kernel writes through the address.
        let _ = (&raw mut info).expose_provenance();
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut ask).is_ok() && info.interface != 0
    }

    /// What somebody with the privilege may do at any time.
    #[cfg(test)]
    pub(super) fn take_away(&self) {
        const BPF_LINK_DETACH: c_int = 34;
        bpf(BPF_LINK_DETACH, &mut self.0.as_raw_fd()).unwrap();
    }
}

/// `bpf_attr` of `BPF_LINK_CREATE`, as far as it is used.
#[repr(C)]
struct Create {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// `bpf_attr` of `BPF_LINK_UPDATE`.
#[repr(C)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    old: u32,
}

/// `bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct AskInfo {
    fd: u32,
    len: u32,
    info: u64,
}

/// `bpf_link_info` of a link to an interface: XDP and tcx have it in the same place.
#[derive(Default)]
#[repr(C, align(8))]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    _pad: u32,
    interface: u32,
}

const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_LINK_CREATE: c_int = 28;
const BPF_LINK_UPDATE: c_int = 29;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_long> {
    // SAFETY: the kernel reads as many octets of the attributes as they have, takes what is missing for
    // zeroes, and writes only where an address in them says that there is room.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command, (&raw mut *attributes), mem::size_of::<T>())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}
