//! The BPF programs that hand media packets to workers, and the maps that say which worker has a port.
//!
//! One per engine, shared by its workers, which ask for it when a port opens or closes and never for a
//! packet. Programs and links end with the process: nothing stays behind in the kernel.

use aya::maps::{Array, HashMap, MapData, MapError, SockMap, XskMap};
use aya::programs::{ProgramError, SkLookup, Xdp, XdpMode};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use std::collections::HashMap as Table;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Local addresses that these programs know at once; as many as `ADDRESSES_MAX` in the program.
pub(crate) const ADDRESSES_MAX: u32 = 64;

/// The programs, loaded, and their maps.
pub(crate) struct Kernel {
    programs: Ebpf,
    addresses: HashMap<MapData, [u8; 16], u32>,
    ports: Array<MapData, u32>,
    sockets: SockMap<MapData>,
    queues: HashMap<MapData, Queue, Place>,
    xsks: XskMap<MapData>,
    /// The index of each local address, and how many ports are taken on it.
    indices: Table<IpAddr, (u32, usize)>,
    /// Interfaces that have the program of AF_XDP, and whether their driver runs it.
    attached: Table<u32, bool>,
}

/// A receive queue of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub(crate) struct Queue {
    /// The interface's index.
    pub(crate) interface: u32,
    /// The queue's number.
    pub(crate) number: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Place {
    socket: u32,
    worker: u32,
}

// SAFETY: two words each, without padding, for which any value is one.
unsafe impl Pod for Queue {}
// SAFETY: as above.
unsafe impl Pod for Place {}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { indices, attached, .. } = self;
        f.debug_struct("Kernel")
            .field("indices", indices)
            .field("attached", attached)
            .finish_non_exhaustive()
    }
}

/// Why the kernel does not do this for us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// The programs are refused: a privilege is missing (CAP_BPF, CAP_NET_ADMIN), or the kernel is old.
    #[error("BPF programs cannot be loaded (CAP_BPF and CAP_NET_ADMIN, Linux 5.9 or newer): {0}")]
    Load(#[from] EbpfError),
    /// A program cannot be put in its place.
    #[error("a BPF program cannot be attached: {0}")]
    Attach(#[from] ProgramError),
    /// A map cannot be written.
    #[error("a BPF map cannot be written: {0}")]
    Map(#[from] MapError),
    /// The object is not the one that this code belongs to.
    #[error("the BPF object has no {0}")]
    NoSuch(&'static str),
    /// More local addresses than the programs can know.
    #[error("no room for another media address: {ADDRESSES_MAX} is the most")]
    AddressesFull,
    /// The network namespace cannot be named.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Kernel {
    /// Loads the object; nothing is attached yet.
    pub(crate) fn load() -> Result<Self, KernelError> {
        let object = aya::include_bytes_aligned!("../bpf/plane.bpf.o");
        let mut programs = EbpfLoader::new().load(object)?;
        let mut map = |name| programs.take_map(name).ok_or(KernelError::NoSuch(name));
        Ok(Self {
            addresses: HashMap::try_from(map("addresses")?)?,
            ports: Array::try_from(map("ports")?)?,
            sockets: SockMap::try_from(map("sockets")?)?,
            queues: HashMap::try_from(map("queues")?)?,
            xsks: XskMap::try_from(map("xsks")?)?,
            programs,
            indices: Table::new(),
            attached: Table::new(),
        })
    }

    /// From now on packets to ports that workers have go to the workers' sockets, in this process's
    /// network namespace.
    pub(crate) fn steer(&mut self) -> Result<(), KernelError> {
        let program = self.programs.program_mut("to_worker");
        let program: &mut SkLookup = program.ok_or(KernelError::NoSuch("to_worker"))?.try_into()?;
        program.load()?;
        program.attach(File::open("/proc/self/ns/net")?)?;
        Ok(())
    }

    /// Names the socket that has the ports of a worker (from 0).
    pub(crate) fn set_socket(
        &mut self,
        worker: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        Ok(self.sockets.set(worker as u32, &socket.as_raw_fd(), 0)?)
    }

    /// A worker (from 0) has this port from now on.
    pub(crate) fn take_port(&mut self, at: SocketAddr, worker: usize) -> Result<(), KernelError> {
        let index = self.index_of(at.ip())?;
        self.ports.set(index << 16 | u32::from(at.port()), worker as u32 + 1, 0)?;
        if let Some((_, ports)) = self.indices.get_mut(&at.ip()) {
            *ports += 1;
        }
        Ok(())
    }

    /// Nobody has this port from now on. One that nobody had is no error.
    pub(crate) fn leave_port(&mut self, at: SocketAddr) {
        let Some((index, ports)) = self.indices.get_mut(&at.ip()) else { return };
        *ports = ports.saturating_sub(1);
        // A map that cannot be written was lost with the namespace, and the port with it.
        let _ = self.ports.set(*index << 16 | u32::from(at.port()), 0, 0);
        if *ports == 0 {
            let _ = self.addresses.remove(&octets_of(at.ip()));
            self.indices.remove(&at.ip());
        }
    }

    /// Puts the program of AF_XDP on an interface, unless it is there; says whether its driver runs it
    /// (else the stack does, on a packet that is a buffer of its own by then).
    pub(crate) fn watch(&mut self, interface: u32) -> Result<bool, KernelError> {
        if let Some(native) = self.attached.get(&interface) {
            return Ok(*native);
        }
        let first = self.attached.is_empty();
        let program = self.programs.program_mut("to_queue");
        let program: &mut Xdp = program.ok_or(KernelError::NoSuch("to_queue"))?.try_into()?;
        if first {
            program.load()?;
        }
        let native = program.attach_to_if_index(interface, XdpMode::Driver).is_ok();
        if !native {
            program.attach_to_if_index(interface, XdpMode::Skb)?;
        }
        self.attached.insert(interface, native);
        Ok(native)
    }

    /// A worker (from 0) takes the packets of a queue with this AF_XDP socket.
    pub(crate) fn set_queue(
        &mut self,
        queue: Queue,
        worker: usize,
        socket: BorrowedFd<'_>,
        place: u32,
    ) -> Result<(), KernelError> {
        self.xsks.set(place, socket.as_fd(), 0)?;
        self.queues.insert(queue, Place { socket: place, worker: worker as u32 + 1 }, 0)?;
        Ok(())
    }

    fn index_of(&mut self, ip: IpAddr) -> Result<u32, KernelError> {
        if let Some((index, _)) = self.indices.get(&ip) {
            return Ok(*index);
        }
        let taken = |index| self.indices.values().any(|(other, _)| *other == index);
        let free = (0..ADDRESSES_MAX).find(|index| !taken(*index));
        let index = free.ok_or(KernelError::AddressesFull)?;
        self.addresses.insert(octets_of(ip), index, 0)?;
        self.indices.insert(ip, (index, 0));
        Ok(index)
    }
}

/// An address as the programs know it.
fn octets_of(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
