//! The BPF programs that hand media packets to workers, and the maps that say which worker has a port.
//!
//! One per engine, shared by its workers, which ask for it when a port opens or closes and never for a
//! packet. Programs and links end with the process: nothing stays behind in the kernel.

mod flows;
mod link;

use crate::offload::{FLOWS_MAX, Hook};
use crate::sys;
use aya::maps::{Array, HashMap, Map, MapData, MapError, SockMap, XskMap};
use aya::programs::sk_lookup::SkLookupLink;
use aya::programs::{ProgramError, SkLookup, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use link::{Mode, ProgramLink};
use std::collections::{HashMap as Table, HashSet};
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Local addresses that these programs know at once; as many as `ADDRESSES_MAX` in the program.
pub(crate) const ADDRESSES_MAX: u32 = 64;
/// Queues with a socket of AF_XDP; as many as `QUEUES_MAX` in the program.
const QUEUES_MAX: u32 = 1024;

/// The programs, loaded, and their maps.
pub(crate) struct Kernel {
    programs: Ebpf,
    /// The network namespace whose packets are steered, and what holds the program there.
    steered: Option<(File, Option<SkLookupLink>)>,
    addresses: HashMap<MapData, [u8; 16], u32>,
    /// Who has the ports, eight in an element, and what we have written there: nobody else does.
    ports: Array<MapData, Owners>,
    owners: Table<u32, Owners>,
    sockets: SockMap<MapData>,
    queues: HashMap<MapData, Queue, Place>,
    xsks: XskMap<MapData>,
    /// Packets that came in at a queue where their worker has no socket.
    astray: Array<MapData, u64>,
    /// Flows that come in at a port, four even ports in an element.
    slots: Array<MapData, [u16; 4]>,
    flows: MapData,
    /// The index of each local address, and how many ports are taken on it.
    indices: Table<IpAddr, (u32, usize)>,
    /// What else a wildcard's index stands for, as long as it has none of its own.
    aliases: Vec<(u32, IpAddr)>,
    /// Interfaces that have the program of AF_XDP.
    attached: Table<u32, Attached>,
    /// Queues with a socket, and its place among these.
    places: Table<Queue, u32>,
    /// Interfaces on which flows are looked for by a program that does nothing else.
    forwards: Table<(u32, Hook), ProgramLink>,
    /// Interfaces whose program of AF_XDP somebody has taken away.
    taken_away: HashSet<u32>,
}

/// The program of AF_XDP on an interface.
#[derive(Debug)]
struct Attached {
    link: ProgramLink,
    /// The driver runs it.
    native: bool,
}

/// The workers that have eight ports beside each other, from 1 on; 0: nobody.
type Owners = [u8; OWNERS];
const OWNERS: usize = 8;
const NOBODY: Owners = [0; OWNERS];

/// Workers that these programs can know, as many as `WORKERS_MAX` there: a number has to fit an octet.
pub(crate) const WORKERS_MAX: usize = 128;

/// Times that a program is loaded at most: one takes a few milliseconds, and signals are seldom.
const LOADS: u32 = 5;

/// As many programs as the kernel has in one place (`MAX_BPF_SK_LOOKUP` is 64).
const LOOKUPS_MAX: usize = 64;
/// The kind of attachment (`enum bpf_attach_type`).
const BPF_SK_LOOKUP: u32 = 36;

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
    /// More workers than the programs can know.
    #[error("no room for media worker {0}: {WORKERS_MAX} are the most")]
    WorkersFull(usize),
    /// A worker has this port already.
    #[error("a media worker has the port already")]
    Taken,
    /// Somebody does not want the program where it was.
    #[error("the program was taken away, which takes a restart")]
    TakenAway,
    /// More queues than the programs can know.
    #[error("no room for another queue: {QUEUES_MAX} is the most")]
    QueuesFull,
    /// An interface has one XDP program, and this one is not ours.
    #[error("another XDP program is on the interface (bpftool net show)")]
    HasProgram,
    /// The network namespace cannot be named.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Kernel {
    /// Loads the object; nothing is attached yet. There is no room for flows, which takes 27 MB.
    pub(crate) fn load() -> Result<Self, KernelError> {
        Self::load_for(1, 1)
    }

    /// The same with room for flows.
    pub(crate) fn load_with_flows() -> Result<Self, KernelError> {
        Self::load_for(FLOWS_MAX, ADDRESSES_MAX << 16 >> 3)
    }

    /// For so many flows, and elements of the map that says where they come in.
    fn load_for(flows: u32, slots: u32) -> Result<Self, KernelError> {
        let object = aya::include_bytes_aligned!("../bpf/plane.bpf.o");
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("flows", flows).map_max_entries("slots", slots);
        let mut programs = loader.load(object)?;
        let mut map = |name| programs.take_map(name).ok_or(KernelError::NoSuch(name));
        Ok(Self {
            addresses: HashMap::try_from(map("addresses")?)?,
            ports: Array::try_from(map("ports")?)?,
            sockets: SockMap::try_from(map("sockets")?)?,
            queues: HashMap::try_from(map("queues")?)?,
            xsks: XskMap::try_from(map("xsks")?)?,
            astray: Array::try_from(map("astray")?)?,
            owners: Table::new(),
            slots: Array::try_from(map("slots")?)?,
            flows: match map("flows")? {
                Map::Array(flows) => flows,
                _ => return Err(KernelError::NoSuch("array of flows")),
            },
            programs,
            steered: None,
            indices: Table::new(),
            aliases: Vec::new(),
            attached: Table::new(),
            places: Table::new(),
            forwards: Table::new(),
            taken_away: HashSet::new(),
        })
    }

    /// From now on packets to ports that workers have go to the workers' sockets, in the calling thread's
    /// network namespace.
    pub(crate) fn steer(&mut self) -> Result<(), KernelError> {
        let program = self.programs.program_mut("to_worker");
        let program: &mut SkLookup = program.ok_or(KernelError::NoSuch("to_worker"))?.try_into()?;
        load(|| program.load())?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let mut others = [0; LOOKUPS_MAX];
        let others = sys::attached_programs(namespace.as_fd(), BPF_SK_LOOKUP, &mut others);
        if let Ok(others @ 1..) = others {
            tracing::warn!(
                others,
                "another process has its sockets by a program (sk_lookup): a port that both have stays its own"
            );
        }
        let link = program.attach(&namespace)?;
        self.steered = Some((namespace, Some(program.take_link(link)?)));
        Ok(())
    }

    /// Whether packets still go to the workers' sockets: an administrator can take the program away.
    /// Where the kernel does not say, they do.
    pub(crate) fn steers(&self) -> bool {
        self.is_attached().unwrap_or(true)
    }

    fn is_attached(&self) -> Result<bool, KernelError> {
        let program = self.programs.program("to_worker").ok_or(KernelError::NoSuch("to_worker"))?;
        let number = <&SkLookup>::try_from(program)?.info()?.id();
        let mut numbers = [0; LOOKUPS_MAX];
        let Some((namespace, _)) = &self.steered else { return Ok(false) };
        let count = sys::attached_programs(namespace.as_fd(), BPF_SK_LOOKUP, &mut numbers)?;
        Ok(numbers.iter().take(count).any(|other| *other == number))
    }

    /// Takes the program away, as an administrator might.
    #[cfg(test)]
    pub(crate) fn stop_steering(&mut self) {
        self.steered.as_mut().unwrap().1 = None;
    }

    /// Names the UDP socket that has the ports of a worker (from 0): one of IPv6 that takes both
    /// families, or of IPv4 where there is no other.
    pub(crate) fn set_socket(
        &mut self,
        worker: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        Ok(self.sockets.set(number_of(worker)?.into(), &socket.as_raw_fd(), 0)?)
    }

    /// A worker (from 0) has this port from now on.
    pub(crate) fn take_port(&mut self, at: SocketAddr, worker: usize) -> Result<(), KernelError> {
        let number = number_of(worker)? + 1;
        let index = self.index_of(at.ip())?;
        let owner = self.set_owner(index, at.port(), |owner| match *owner {
            0 => {
                *owner = number;
                Ok(())
            }
            _ => Err(KernelError::Taken),
        });
        if let Some((_, ports)) = self.indices.get_mut(&at.ip()) {
            *ports += usize::from(owner.is_ok());
        }
        self.forget_if_unused(at.ip());
        owner
    }

    /// A worker (from 0) no longer has this port. One that it did not have is no error.
    pub(crate) fn leave_port(&mut self, at: SocketAddr, worker: usize) {
        let Some(&(index, _)) = self.indices.get(&at.ip()) else { return };
        let left = self.set_owner(index, at.port(), |owner| {
            if usize::from(*owner) != worker + 1 {
                return Err(KernelError::Taken);
            }
            *owner = 0;
            Ok(())
        });
        if let Some((_, ports)) = self.indices.get_mut(&at.ip()) {
            *ports = ports.saturating_sub(usize::from(left.is_ok()));
        }
        self.forget_if_unused(at.ip());
    }

    fn set_owner(
        &mut self,
        index: u32,
        port: u16,
        set: impl FnOnce(&mut u8) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let number = index << 16 | u32::from(port);
        let (at, place) = (number / OWNERS as u32, number as usize % OWNERS);
        let mut owners = self.owners.get(&at).copied().unwrap_or_default();
        set(&mut owners[place])?;
        self.ports.set(at, owners, 0)?;
        match owners {
            NOBODY => self.owners.remove(&at),
            _ => self.owners.insert(at, owners),
        };
        Ok(())
    }

    /// An address of the host that packets to a wildcard's ports may be for. One that has ports of its
    /// own keeps them: what it has none of is looked for under the wildcard, too.
    pub(crate) fn alias(&mut self, wildcard: IpAddr, local: IpAddr) -> Result<(), KernelError> {
        let Some((index, _)) = self.indices.get(&wildcard) else { return Ok(()) };
        let index = *index;
        if self.aliases.contains(&(index, local)) {
            return Ok(());
        }
        if !self.indices.contains_key(&local) {
            self.addresses.insert(octets_of(local), index, 0)?;
        }
        self.aliases.push((index, local));
        Ok(())
    }

    /// Of the addresses that a wildcard stands for these remain: the others are the host's no more.
    pub(crate) fn keep_aliases(&mut self, wildcard: IpAddr, is_there: impl Fn(IpAddr) -> bool) {
        let Some(&(index, _)) = self.indices.get(&wildcard) else { return };
        let Self { aliases, indices, addresses, .. } = self;
        for (_, local) in aliases.extract_if(.., |(of, it)| *of == index && !is_there(*it)) {
            if !indices.contains_key(&local) {
                let _ = addresses.remove(&octets_of(local));
            }
        }
    }

    /// Puts the program of AF_XDP on an interface, unless it is there; says whether its driver runs it
    /// (else the stack does, on a packet that is a buffer of its own by then).
    pub(crate) fn watch(&mut self, interface: u32) -> Result<bool, KernelError> {
        // One that has gone may be back under its number, without a program.
        if self.has_program(interface)
            && let Some(Attached { native, .. }) = self.attached.get(&interface)
        {
            return Ok(*native);
        }
        let program = self.programs.program_mut("to_queue");
        let program: &mut Xdp = program.ok_or(KernelError::NoSuch("to_queue"))?.try_into()?;
        if program.fd().is_err() {
            load(|| program.load())?;
        }
        let fd = program.fd()?.as_fd();
        // One of ours that sends on flows there and does nothing else: this one does that, too.
        let forwards =
            self.forwards.remove(&(interface, Hook::Xdp)).filter(ProgramLink::is_attached);
        if let Some(link) = forwards
            && link.replace(fd).is_ok()
        {
            self.attached.insert(interface, Attached { link, native: true });
            return Ok(true);
        }
        let driver = ProgramLink::new(fd, interface, Mode::Driver);
        let native = driver.is_ok();
        let link = driver.or_else(|_| ProgramLink::new(fd, interface, Mode::Generic));
        let link = link.map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => KernelError::HasProgram,
            _ => error.into(),
        })?;
        self.attached.insert(interface, Attached { link, native });
        self.taken_away.remove(&interface);
        Ok(native)
    }

    /// The same where the driver runs it; else the program does not stay there.
    pub(crate) fn watch_native(&mut self, interface: u32) -> Result<bool, KernelError> {
        let native = self.watch(interface)?;
        if !native {
            self.attached.remove(&interface);
        }
        Ok(native)
    }

    /// Whether an interface still has the program. One that has not can be watched anew.
    pub(crate) fn has_program(&mut self, interface: u32) -> bool {
        let has = self.attached.get(&interface).is_some_and(|it| it.link.is_attached());
        if !has && self.attached.remove(&interface).is_some() {
            self.taken_away.insert(interface);
        }
        has
    }

    /// Whether AF_XDP takes the packets of an interface, before a program of tc would see them.
    pub(crate) fn takes_all(&self, interface: u32) -> bool {
        self.attached.contains_key(&interface)
    }

    /// Takes the program off an interface, as somebody else would.
    #[cfg(test)]
    pub(crate) fn take_away(&mut self, interface: u32) {
        self.attached[&interface].link.take_away();
    }

    /// What an XDP program makes of a frame, and of it.
    #[cfg(test)]
    pub(crate) fn run_by_hand(&mut self, program: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        use aya::programs::{TestRun as _, TestRunOptions};
        let program: &mut Xdp = self.programs.program_mut(program).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            load(|| program.load()).unwrap();
        }
        let mut goes = vec![0; 2048];
        let (data_in, data_out) = (Some(frame), Some(&mut goes[..]));
        let options = TestRunOptions { data_in, data_out, ..TestRunOptions::new() };
        let ran = program.test_run(options).unwrap();
        goes.truncate(ran.data_size_out as usize);
        (ran.return_value, goes)
    }

    /// Queues that a worker has.
    #[cfg(test)]
    pub(crate) fn queues_taken(&self) -> usize {
        self.places.len()
    }

    /// A worker (from 0) takes the packets of a queue with this AF_XDP socket.
    pub(crate) fn set_queue(
        &mut self,
        queue: Queue,
        worker: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        let worker = u32::from(number_of(worker)?) + 1;
        let taken = |place| self.places.values().any(|other| *other == place);
        let place = (0..QUEUES_MAX).find(|place| !taken(*place)).ok_or(KernelError::QueuesFull)?;
        self.xsks.set(place, socket.as_fd(), 0)?;
        self.queues.insert(queue, Place { socket: place, worker }, 0)?;
        self.places.insert(queue, place);
        Ok(())
    }

    /// Nobody takes the packets of a queue any more.
    pub(crate) fn leave_queue(&mut self, queue: Queue) {
        if let Some(place) = self.places.remove(&queue) {
            // What cannot be taken out has gone with its interface or its socket.
            let _ = self.queues.remove(&queue);
            let _ = self.xsks.unset(place);
        }
    }

    /// Packets to ports of a worker (from 0) that came in at a queue where it has no socket, so far.
    pub(crate) fn astray(&self, worker: usize) -> u64 {
        let number = number_of(worker).map(u32::from);
        number.and_then(|number| Ok(self.astray.get(&number, 0)?)).unwrap_or(0)
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

    fn forget_if_unused(&mut self, ip: IpAddr) {
        if let Some(&(index, 0)) = self.indices.get(&ip) {
            self.indices.remove(&ip);
            // It has no ports, so that nothing is found there even if it stays.
            let _ = match self.aliases.iter().find(|(_, local)| *local == ip) {
                Some((of, _)) => self.addresses.insert(octets_of(ip), of, 0),
                None => self.addresses.remove(&octets_of(ip)),
            };
            let Self { aliases, indices, addresses, .. } = self;
            for (_, local) in aliases.extract_if(.., |(of, _)| *of == index) {
                if !indices.contains_key(&local) {
                    let _ = addresses.remove(&octets_of(local));
                }
            }
        }
    }
}

/// Has a program loaded. The kernel leaves off where a signal comes while it looks at one, or the process is
/// stopped for a moment.
fn load(once: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    again(once, |error| match error {
        ProgramError::LoadError { io_error, .. } => io_error.kind() == io::ErrorKind::WouldBlock,
        _ => false,
    })
}

fn again<E>(
    mut once: impl FnMut() -> Result<(), E>,
    leaves_off: impl Fn(&E) -> bool,
) -> Result<(), E> {
    for _ in 1..LOADS {
        match once() {
            Err(error) if leaves_off(&error) => {}
            done => return done,
        }
    }
    once()
}

/// A worker as the programs know it.
fn number_of(worker: usize) -> Result<u8, KernelError> {
    u8::try_from(worker)
        .ok()
        .filter(|_| worker < WORKERS_MAX)
        .ok_or(KernelError::WorkersFull(worker))
}

/// An address as the programs know it.
fn octets_of(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{Namespace, skipped};
    use std::io::ErrorKind;
    use std::net::{Ipv6Addr, UdpSocket};
    use std::time::Duration;

    /// The socket of a worker: bound where nobody sends to.
    fn mux() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The octet that arrives first.
    fn heard(socket: &UdpSocket) -> u8 {
        let mut octets = [0; 8];
        socket.recv(&mut octets).unwrap();
        octets[0]
    }

    fn silent(socket: &UdpSocket) -> bool {
        socket.set_nonblocking(true).unwrap();
        let silent =
            matches!(socket.recv(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        socket.set_nonblocking(false).unwrap();
        silent
    }

    #[test]
    fn a_packet_goes_to_another_worker_than_has_the_port() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(|| {
            let mut kernel = match Kernel::load() {
                Ok(kernel) => kernel,
                Err(error) => return skipped(&error.to_string()),
            };
            kernel.steer().unwrap();
            let workers = [mux(), mux()];
            for (worker, socket) in workers.iter().enumerate() {
                kernel.set_socket(worker, socket.as_fd()).unwrap();
            }
            let [one, other] = &workers;
            kernel.take_port(at("127.0.0.1:20000"), 0).unwrap();
            kernel.take_port(at("127.0.0.1:20001"), 1).unwrap();
            kernel.take_port(at("[::1]:20000"), 1).unwrap();
            kernel.take_port(at("0.0.0.0:20002"), 0).unwrap();
            kernel.take_port(at("[::]:20002"), 1).unwrap();
            kernel.take_port(at("127.0.0.2:20002"), 1).unwrap();
            let (v4, v6) =
                (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
            for (octet, socket, to, by) in [
                (1, &v4, "127.0.0.1:20000", one),
                (2, &v4, "127.0.0.1:20001", other),
                (3, &v6, "[::1]:20000", other),
                (4, &v4, "127.0.0.1:20002", one),
                (5, &v4, "127.0.0.7:20002", one),
                (6, &v4, "127.0.0.2:20002", other),
                (7, &v6, "[::1]:20002", other),
            ] {
                socket.send_to(&[octet], at(to)).unwrap();
                assert_eq!(heard(by), octet, "{to}");
            }
            // What somebody else has bound is his until it is taken, and again when it is left.
            let bound = UdpSocket::bind("127.0.0.1:20003").unwrap();
            v4.send_to(&[8], at("127.0.0.1:20003")).unwrap();
            assert_eq!(heard(&bound), 8);
            kernel.take_port(at("127.0.0.1:20003"), 0).unwrap();
            v4.send_to(&[9], at("127.0.0.1:20003")).unwrap();
            assert_eq!(heard(one), 9);
            kernel.leave_port(at("127.0.0.1:20003"), 0);
            v4.send_to(&[10], at("127.0.0.1:20003")).unwrap();
            assert_eq!(heard(&bound), 10);
            assert!(silent(one) && silent(other));
        });
    }

    #[test]
    fn a_signal_while_a_program_is_loaded_costs_the_engine() {
        let tried = |errors: &[ErrorKind]| {
            let (mut left, mut loads) = (errors.iter(), 0);
            let once = || {
                loads += 1;
                left.next().map_or(Ok(()), |kind| Err(*kind))
            };
            (again(once, |kind| *kind == ErrorKind::WouldBlock).is_ok(), loads)
        };
        assert_eq!(tried(&[]), (true, 1));
        assert_eq!(tried(&[ErrorKind::WouldBlock; 2]), (true, 3));
        assert_eq!(tried(&[ErrorKind::WouldBlock; 9]), (false, LOADS));
        assert_eq!(tried(&[ErrorKind::PermissionDenied]), (false, 1));
    }

    #[test]
    fn a_second_process_takes_the_packets_of_the_first() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(|| {
            let workers = [mux(), mux()];
            let mut kernels = Vec::new();
            for socket in &workers {
                let mut kernel = match Kernel::load() {
                    Ok(kernel) => kernel,
                    Err(error) => return skipped(&error.to_string()),
                };
                kernel.steer().unwrap();
                kernel.set_socket(0, socket.as_fd()).unwrap();
                kernels.push(kernel);
            }
            let [first, second] = &workers;
            kernels[1].take_port(at("127.0.0.1:20000"), 0).unwrap();
            kernels[0].take_port(at("0.0.0.0:20000"), 0).unwrap();
            let far = UdpSocket::bind("127.0.0.1:0").unwrap();
            far.send_to(&[1], at("127.0.0.1:20000")).unwrap();
            assert_eq!(heard(first), 1);
            // What the first one has not, the second one has.
            kernels[0].leave_port(at("0.0.0.0:20000"), 0);
            far.send_to(&[2], at("127.0.0.1:20000")).unwrap();
            assert_eq!(heard(second), 2);
            assert!(silent(first));
        });
    }

    #[test]
    fn flows_that_nobody_wants_take_memory() {
        let memory = |kernel: Result<Kernel, KernelError>| {
            let kernel = kernel.inspect_err(|error| skipped(&error.to_string())).ok()?;
            let fd = kernel.flows.fd().as_fd().as_raw_fd();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            let octets = info.lines().find_map(|line| line.strip_prefix("memlock:"));
            Some((octets.unwrap().trim().parse::<u64>().unwrap(), kernel.flows().is_ok()))
        };
        let Some((octets, has_flows)) = memory(Kernel::load()) else { return };
        assert!(octets < 1 << 16 && !has_flows, "{octets} octets");
        let (octets, has_flows) = memory(Kernel::load_with_flows()).unwrap();
        assert!(octets > 20 << 20 && has_flows, "{octets} octets");
    }

    #[test]
    fn a_port_is_taken_twice_or_left_by_who_does_not_have_it() {
        let mut kernel = match Kernel::load() {
            Ok(kernel) => kernel,
            Err(error) => return skipped(&error.to_string()),
        };
        let port = at("192.0.2.1:20000");
        kernel.take_port(port, 0).unwrap();
        assert!(matches!(kernel.take_port(port, 1), Err(KernelError::Taken)));
        assert!(matches!(kernel.take_port(port, 0), Err(KernelError::Taken)));
        kernel.leave_port(port, 1);
        assert!(matches!(kernel.take_port(port, 1), Err(KernelError::Taken)));
        kernel.leave_port(port, 0);
        assert!(kernel.indices.is_empty());
        kernel.take_port(port, 1).unwrap();
        assert!(matches!(kernel.take_port(port, 999), Err(KernelError::WorkersFull(999))));
        // An address more than there is room for.
        for last in 2..=ADDRESSES_MAX as u8 {
            kernel.take_port(([192, 0, 2, last], 20000).into(), 0).unwrap();
        }
        let more = kernel.take_port(at("198.51.100.1:20000"), 0);
        assert!(matches!(more, Err(KernelError::AddressesFull)), "{more:?}");
        kernel.leave_port(port, 1);
        kernel.take_port(at("198.51.100.1:20000"), 0).unwrap();
    }
}
