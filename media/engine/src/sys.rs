//! The system calls that the standard library does not offer, each with its reason to be sound.

use media::packet::PACKET_MAX;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

/// An epoll instance (level-triggered).
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// What epoll hands back for one ready descriptor.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Ready(libc::epoll_event);

impl Ready {
    pub(crate) const NONE: Self = Self(libc::epoll_event { events: 0, u64: 0 });

    /// The word that was given with the descriptor.
    pub(crate) fn word(&self) -> u64 {
        self.0.u64
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ready({:#x})", self.word())
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it is used.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        owned(fd).map(Self)
    }

    /// Readable when anything watched is.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Watches `fd` for input until it is closed. `word` comes back with each event.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, word: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: word };
        // SAFETY: both descriptors are open, being borrowed; `event` lives through the call, which
        // only reads it.
        let done = unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What is ready now, or with `block` what is ready first. Interrupted counts as nothing.
    pub(crate) fn ready<'e>(&self, events: &'e mut [Ready], block: bool) -> &'e [Ready] {
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        let timeout = if block { -1 } else { 0 };
        // SAFETY: `Ready` is a transparent `epoll_event`; `events` has room for `room` of them
        // and lives through the call; the kernel writes no more than that.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr().cast(), room, timeout)
        };
        &events[..usize::try_from(count).unwrap_or(0)]
    }

    /// What is ready first within `longest`. Interrupted counts as nothing.
    pub(crate) fn ready_within<'e>(
        &self,
        events: &'e mut [Ready],
        longest: Duration,
    ) -> &'e [Ready] {
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(longest.subsec_nanos().cast_signed()),
        };
        // SAFETY: as in `ready`; the kernel reads one `timespec`, which outlives the call, and no
        // signal mask is given.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                room,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let error = || io::Error::last_os_error().raw_os_error();
        // Before Linux 5.11, or forbidden by a filter that is older: whole milliseconds have to do.
        let count = match count {
            -1 if matches!(error(), Some(libc::ENOSYS | libc::EPERM)) => {
                let timeout = longest.as_nanos().div_ceil(1_000_000);
                let timeout = i32::try_from(timeout).unwrap_or(i32::MAX);
                // SAFETY: as in `ready`.
                let count = unsafe {
                    let events = events.as_mut_ptr().cast();
                    libc::epoll_wait(self.0.as_raw_fd(), events, room, timeout)
                };
                libc::c_long::from(count)
            }
            count => count,
        };
        &events[..usize::try_from(count).unwrap_or(0)]
    }
}

/// Descriptors that are waited for together, now and then: unlike an epoll, it costs them nothing
/// meanwhile.
pub(crate) struct Watch(Vec<libc::pollfd>);

impl Watch {
    /// More than are ever added, so that adding them allocates nothing.
    const ROOM: usize = 260;

    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(Self::ROOM))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Waits for input there, too, from now on until [`Self::clear`]: it must stay open as long.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>) {
        if self.0.len() < Self::ROOM {
            self.0.push(libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        }
    }

    /// Waits until there is input, or for `longest`. Interrupted counts as nothing.
    pub(crate) fn wait(&mut self, longest: Option<Duration>) {
        let timeout = longest.map(|longest| libc::timespec {
            tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(longest.subsec_nanos().cast_signed()),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let count = self.0.len() as libc::nfds_t;
        // SAFETY: the kernel reads and writes `count` of them, and reads the time if there is one; all
        // outlive the call.
        unsafe { libc::ppoll(self.0.as_mut_ptr(), count, timeout, std::ptr::null()) };
    }

    /// Whether there is input at the descriptor that was added after so many others.
    pub(crate) fn is_ready(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|fd| fd.revents != 0)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({} descriptors)", self.0.len())
    }
}

/// A bell between threads: rung by signalling, heard by the worker's epoll. It costs the kernel's help
/// only where somebody sleeps beside it.
#[derive(Debug)]
pub(crate) struct Bell {
    fd: OwnedFd,
    /// The worker is about to wait, or waits.
    awaited: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it is used.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(Self { fd: owned(fd)?, awaited: AtomicBool::new(false) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// From now on the bell is heard. What was left for the worker before it said so may have rung
    /// in vain: it looks once more before it waits.
    pub(crate) fn await_ring(&self) {
        self.awaited.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// From now on the worker comes by itself.
    pub(crate) fn is_awake(&self) {
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// Wakes the worker if it waits; to be called after what it is to find is there. Never blocks:
    /// the counter can only be full when the bell has been rung and not heard.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if !self.awaited.swap(false, Ordering::SeqCst) {
            return;
        }
        let one = 1_u64;
        // SAFETY: the kernel reads the eight octets of `one`, which outlives the call.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), mem::size_of::<u64>()) };
    }

    pub(crate) fn silence(&self) {
        let mut rung = 0_u64;
        // SAFETY: the kernel writes the eight octets of `rung`, which outlives the call.
        unsafe {
            libc::read(self.fd.as_raw_fd(), (&raw mut rung).cast(), mem::size_of::<u64>());
        }
    }
}

/// What `recvfrom` brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    /// The datagram's true length in octets, also where the buffer was shorter.
    pub(crate) len: usize,
}

/// Takes one datagram of at most `buffer.len()` octets from a non-blocking socket.
pub(crate) fn receive_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8; PACKET_MAX],
) -> io::Result<Received> {
    let mut name = MaybeUninit::<Name>::uninit();
    let mut name_len = mem::size_of::<Name>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `buffer.len()` octets to the buffer and at most `name_len`
    // to the name; all three outlive the call.
    let len = unsafe {
        // Not by `recvfrom` of the C library, which lets the thread be cancelled at each call: that
        // costs more than all that it does.
        libc::syscall(
            libc::SYS_recvfrom,
            fd.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
            libc::MSG_TRUNC,
            name.as_mut_ptr(),
            &raw mut name_len,
        )
    };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: `recvfrom` succeeded and `name_len` says how much of the name it wrote.
    let from = unsafe { address_of(&name, name_len) }
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    Ok(Received { from, len })
}

/// Sends one datagram.
pub(crate) fn send_to(fd: BorrowedFd<'_>, packet: &[u8], to: SocketAddr) -> io::Result<()> {
    let (name, name_len) = name_of(to);
    // SAFETY: the kernel reads `packet.len()` octets of the packet and `name_len` of the name, which
    // `name_of` has initialised; both outlive the call.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendto,
            fd.as_raw_fd(),
            packet.as_ptr(),
            packet.len(),
            libc::MSG_NOSIGNAL,
            &raw const name,
            name_len,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets an option of a socket that is a number.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads the four octets of `value`, which outlives the call.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket of the kernel's that the standard library has no name for.
pub(crate) fn socket(
    family: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointer; the result is checked before it is used.
    owned(unsafe { libc::socket(family, kind, protocol) })
}

/// Gives a netlink socket an address of its own, and has it hear of the groups that `groups` has bits of.
pub(crate) fn bind_netlink(fd: BorrowedFd<'_>, groups: u32) -> io::Result<()> {
    // SAFETY: zeroes are an address that leaves the choice to the kernel.
    let mut name: libc::sockaddr_nl = unsafe { mem::zeroed() };
    name.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    name.nl_groups = groups;
    let len = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` octets of `name`, which outlives the call.
    let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The name of an interface in this thread's network namespace.
pub(crate) fn interface_name(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the room that a name may take.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `if_indextoname` has written a string that ends within it.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// The name of an interface's driver; empty where it has none, or does not say.
pub(crate) fn driver_of(interface: u32) -> String {
    /// `struct ethtool_drvinfo`: what comes after the driver's name is not looked at.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u32; 41],
    }
    const ETHTOOL_GDRVINFO: u32 = 3;
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 41] };
    // SAFETY: zeroes are a request without a name.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request has the room that a name may take.
    if unsafe { libc::if_indextoname(interface, request.ifr_name.as_mut_ptr()) }.is_null() {
        return String::new();
    }
    let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0") else { return String::new() };
    let what = libc::SIOCETHTOOL as libc::Ioctl;
    // SAFETY: the kernel writes one `ethtool_drvinfo`, which is as large and outlives the call.
    unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) };
    let name = info.driver.split(|octet| *octet == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The time that programs in the kernel go by.
pub(crate) fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`, which outlives the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Lets this thread's sleeps end within `slack` of when they should (the default of 50 us would
/// stretch each tick by a tenth).
pub(crate) fn set_timer_slack(slack: Duration) {
    let nanoseconds = libc::c_ulong::try_from(slack.as_nanos()).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: this option of `prctl` takes a number and touches no memory of ours. It cannot fail
    // in a way that matters: ticks would be longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0) };
}

/// Has programs that this thread, or one it begins, starts get none of the privileges that it was started
/// with. It keeps them itself.
pub(crate) fn keep_privileges_from_children() -> io::Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: this option of `prctl` takes numbers and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises this process's limit of open descriptors to the most it may have, and returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one `rlimit`, which outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// The most that the system's clock is off by (adjtimex(2)); `None` where nothing disciplines it.
pub(crate) fn clock_error() -> io::Result<Option<Duration>> {
    let mut clock = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: zeroes are a `timex` that asks for no change; the kernel writes one, which outlives the call.
    let (state, clock) = unsafe { (libc::adjtimex(clock.as_mut_ptr()), clock.assume_init()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let kept = state != libc::TIME_ERROR && clock.status & libc::STA_UNSYNC == 0;
    let microseconds = u64::try_from(clock.maxerror).unwrap_or(u64::MAX);
    Ok(kept.then(|| Duration::from_micros(microseconds)))
}

/// Gives the calling thread what processors have left (sched(7), SCHED_IDLE).
pub(crate) fn idle_priority() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: thread 0 is the caller; the kernel reads one `sched_param`, which outlives the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Which BPF programs of a kind are attached in a network namespace: their numbers, as far as there is
/// room for them.
pub(crate) fn attached_programs(
    namespace: BorrowedFd<'_>,
    kind: u32,
    numbers: &mut [u32],
) -> io::Result<usize> {
    /// `union bpf_attr` of BPF_PROG_QUERY, as far as it is used.
    #[repr(C)]
    struct Query {
        target: u32,
        kind: u32,
        flags: u32,
        attach_flags: u32,
        numbers: u64,
        count: u32,
        reserved: u32,
    }
    const BPF_PROG_QUERY: libc::c_long = 16;
    let mut query = Query {
        target: namespace.as_raw_fd().cast_unsigned(),
        kind,
        flags: 0,
        attach_flags: 0,
        numbers: numbers.as_mut_ptr() as u64,
        count: numbers.len() as u32,
        reserved: 0,
    };
    let size = mem::size_of::<Query>();
    // SAFETY: the kernel reads and writes `size` octets of `query` and writes at most `count` numbers;
    // both outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size) };
    if done == 0 { Ok(query.count as usize) } else { Err(io::Error::last_os_error()) }
}

/// A socket address as the kernel writes it: the family comes first in all.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Name {
    pub(crate) family: libc::sa_family_t,
    pub(crate) v4: libc::sockaddr_in,
    pub(crate) v6: libc::sockaddr_in6,
    pub(crate) link: libc::sockaddr_ll,
}

impl Name {
    /// Room for any.
    pub(crate) const LEN: libc::socklen_t = mem::size_of::<Self>() as libc::socklen_t;

    /// None, all zero.
    pub(crate) const fn none() -> Self {
        // SAFETY: each of the addresses may be zero throughout.
        unsafe { mem::zeroed() }
    }

    /// Where a frame leaves; its own header says the rest.
    pub(crate) const fn of_link(interface: u32, kind: u16) -> (Self, libc::socklen_t) {
        let mut name = Self::none();
        name.link = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::sa_family_t,
            sll_protocol: kind.to_be(),
            sll_ifindex: interface.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        (name, mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    }
}

/// Reads a kernel address; `None` for a family that is not the Internet's.
///
/// # Safety
/// The first `len` octets of `name` must be initialised.
pub(crate) unsafe fn address_of(
    name: &MaybeUninit<Name>,
    len: libc::socklen_t,
) -> Option<SocketAddr> {
    let len = len as usize;
    let name = name.as_ptr();
    if len < mem::size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: the caller says that `len` octets are initialised, and the family lies within.
    match i32::from(unsafe { (*name).family }) {
        libc::AF_INET if len >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: as above; the family says which address it is, `len` that it is whole.
            let v4 = unsafe { (*name).v4 };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if len >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above; the family says which address it is, `len` that it is whole.
            let v6 = unsafe { (*name).v6 };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // No flow label: two packets of one far side must compare equal.
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

pub(crate) fn name_of(address: SocketAddr) -> (Name, libc::socklen_t) {
    match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            (Name { v4: name }, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (Name { v6: name }, mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_to_the_kernel_and_back() {
        for text in ["192.0.2.7:20000", "[2001:db8::7]:40001", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let (name, len) = name_of(address);
            let name = MaybeUninit::new(name);
            // SAFETY: `name_of` initialised `len` octets.
            assert_eq!(unsafe { address_of(&name, len) }, Some(address));
        }
    }

    #[test]
    fn an_address_that_is_cut_or_of_another_family_is_none() {
        let (name, len) = name_of("192.0.2.7:20000".parse().unwrap());
        // SAFETY: fewer octets than `name_of` initialised.
        assert_eq!(unsafe { address_of(&MaybeUninit::new(name), len - 1) }, None);
        // SAFETY: none are claimed.
        assert_eq!(unsafe { address_of(&MaybeUninit::new(name), 0) }, None);
        let unix = Name { family: libc::AF_UNIX as libc::sa_family_t };
        // SAFETY: the two octets of the family are initialised.
        assert_eq!(unsafe { address_of(&MaybeUninit::new(unix), 2) }, None);
    }
}
