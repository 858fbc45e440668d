//! The system calls of floor and generator: the only module here with `unsafe`.

use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A level-triggered epoll for the floor.
pub(crate) struct Epoll(OwnedFd);

type Events = [libc::epoll_event; 128];

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add(&self, fd: RawFd, word: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: word };
        // SAFETY: the kernel reads one event, which outlives the call.
        let done =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) const fn room() -> Events {
        [libc::epoll_event { events: 0, u64: 0 }; 128]
    }

    /// Waits for a packet, for a tenth of a second at most.
    pub(crate) fn wait<'e>(&self, events: &'e mut Events) -> &'e [libc::epoll_event] {
        // SAFETY: the kernel writes at most as many events as there is room for.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 100)
        };
        &events[..usize::try_from(count).unwrap_or(0)]
    }
}

/// A destination in the kernel's form.
pub(crate) struct Name(libc::sockaddr_in);

impl Name {
    pub(crate) fn new(to: SocketAddrV4) -> Self {
        Self(libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
            sin_zero: [0; 8],
        })
    }
}

/// Receives one packet, with its source, which any relay has to know.
pub(crate) fn receive(fd: RawFd, packet: &mut [u8]) -> Option<usize> {
    // SAFETY: plain octets, for which zero is a value.
    let mut from: libc::sockaddr_in = unsafe { mem::zeroed() };
    let mut from_len = mem::size_of_val(&from) as libc::socklen_t;
    // SAFETY: the kernel writes at most the lengths given, into places that outlive the call.
    let len = unsafe {
        libc::recvfrom(
            fd,
            packet.as_mut_ptr().cast(),
            packet.len(),
            0,
            (&raw mut from).cast(),
            &mut from_len,
        )
    };
    usize::try_from(len).ok()
}

pub(crate) fn send(fd: RawFd, packet: &[u8], to: &Name) -> bool {
    let name_len = mem::size_of_val(&to.0) as libc::socklen_t;
    // SAFETY: the kernel reads packet and name, which outlive the call.
    let sent = unsafe {
        libc::sendto(
            fd,
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to.0).cast(),
            name_len,
        )
    };
    sent >= 0
}

/// Has the kernel stamp what arrives, and gives it room for `octets` (as far as it allows).
pub(crate) fn stamp_arrivals(fd: RawFd, octets: i32) -> io::Result<()> {
    let set = |option, value: libc::c_int| {
        let len = mem::size_of_val(&value) as libc::socklen_t;
        // SAFETY: the kernel reads one integer, which outlives the call.
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const value).cast(), len) }
    };
    set(libc::SO_RCVBUF, octets);
    // Goes beyond the system's limit where we are privileged.
    set(libc::SO_RCVBUFFORCE, octets);
    if set(libc::SO_TIMESTAMPNS, 1) == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives one packet: its length, when it arrived in nanoseconds of the wall clock, and the port it is
/// from.
pub(crate) fn receive_stamped(fd: RawFd, packet: &mut [u8]) -> Option<(usize, u64, u16)> {
    let mut part = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
    let mut control = [0_u64; 8];
    // SAFETY: plain octets, for which zero is a value.
    let mut from: libc::sockaddr_in = unsafe { mem::zeroed() };
    // SAFETY: a structure of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = mem::size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control);
    // SAFETY: all that the message points to outlives the call and has the lengths given.
    let len = usize::try_from(unsafe { libc::recvmsg(fd, &mut message, 0) }).ok()?;
    // SAFETY: the kernel has filled in the control part; `CMSG_FIRSTHDR` stays within it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message).as_ref() }?;
    if header.cmsg_type != libc::SCM_TIMESTAMPNS {
        return None;
    }
    // SAFETY: this kind of control message carries a `timespec`, not necessarily aligned.
    let at = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
    let at_ns = at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64;
    Some((len, at_ns, u16::from_be(from.sin_port)))
}

/// Gives a socket room for `octets`, beyond the system's limit where we are privileged.
pub(crate) fn enlarge(fd: RawFd, octets: i32) {
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE, libc::SO_SNDBUF, libc::SO_SNDBUFFORCE] {
        let len = mem::size_of_val(&octets) as libc::socklen_t;
        // SAFETY: the kernel reads one integer, which outlives the call. What is not granted shows
        // as lost messages.
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const octets).cast(), len) };
    }
}

/// Waits until one of `watched` can be read, for `longest` at most.
pub(crate) fn wait(watched: &[RawFd], longest: Duration) {
    let mut watched: Vec<libc::pollfd> =
        watched.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let longest = libc::timespec {
        tv_sec: longest.as_secs() as libc::time_t,
        tv_nsec: longest.subsec_nanos().into(),
    };
    // SAFETY: the kernel writes into as many places as there are, which outlive the call; no signal
    // mask is given.
    unsafe {
        libc::ppoll(
            watched.as_mut_ptr(),
            watched.len() as libc::nfds_t,
            &longest,
            std::ptr::null(),
        );
    }
}

/// Asks a process that we have started to end.
pub(crate) fn terminate(id: u32) {
    // SAFETY: takes numbers and touches no memory of ours.
    unsafe { libc::kill(id as libc::pid_t, libc::SIGTERM) };
}

/// Lets this thread's sleeps end on time.
pub(crate) fn sleep_precisely() {
    // SAFETY: takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}

/// Keeps a thread (0: this one) on one CPU. Where that is forbidden, figures are noisier.
pub(crate) fn pin(thread: i32, cpu: usize) {
    // SAFETY: plain octets, for which zero is a value.
    let mut cpus: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: sets one bit; the macro checks that it lies within the set.
    unsafe { libc::CPU_SET(cpu, &mut cpus) };
    // SAFETY: the kernel reads one set, which outlives the call.
    unsafe { libc::sched_setaffinity(thread, mem::size_of_val(&cpus), &cpus) };
}
