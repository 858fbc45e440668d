//! One UDP socket for all ports of a worker: datagrams come by the batch, each with the port that it was
//! sent to, straight into the batch's slots.

use crate::batch::{Packet, RECEIVE_BATCH};
use crate::sys::{self, Name};
use media::packet::PACKET_MAX;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// The socket, and what the kernel writes beside the packets.
pub(super) struct Mux {
    socket: OwnedFd,
    messages: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[MaybeUninit<Name>]>,
    controls: Box<[Control]>,
}

// SAFETY: its pointers lead to its own boxes, and to slots only while `receive` runs.
unsafe impl Send for Mux {}

/// What comes beside a datagram: where it was sent to.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// An address of either family with its header, and as much again.
const CONTROL: usize = 96;

/// Octets that may wait for a worker that is held up, some ten thousand voice packets. The kernel
/// doubles it.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;
/// What a socket says of its memory (`SK_MEMINFO_VARS`), and where in that is what it has dropped.
const MEMINFO: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;
/// ICMP errors that are read in one go.
const ERRORS: usize = 64;

impl std::fmt::Debug for Mux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mux").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Mux {
    pub(super) fn new() -> io::Result<Self> {
        let socket = of_both_families().or_else(|_| of_ipv4())?;
        let fd = socket.as_fd();
        let forced = sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER);
        if forced.is_err() {
            // As far as the system allows.
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
        }
        let vectors = || libc::iovec { iov_base: ptr::null_mut(), iov_len: PACKET_MAX };
        // SAFETY: a message without name, vector and control is all zero.
        let message = || unsafe { mem::zeroed::<libc::mmsghdr>() };
        Ok(Self {
            socket,
            messages: (0..RECEIVE_BATCH).map(|_| message()).collect(),
            vectors: (0..RECEIVE_BATCH).map(|_| vectors()).collect(),
            names: vec![MaybeUninit::uninit(); RECEIVE_BATCH].into(),
            controls: vec![Control([0; CONTROL]); RECEIVE_BATCH].into(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Fills slots from the first on with what has arrived, and says how many. `arrived` is told of each
    /// where it was sent to.
    pub(super) fn receive(
        &mut self,
        packets: &mut [Packet],
        mut arrived: impl FnMut(&mut Packet, SocketAddr),
    ) -> io::Result<usize> {
        let Self { socket, messages, vectors, names, controls } = self;
        let places = messages.iter_mut().zip(vectors.iter_mut());
        let places = places.zip(names.iter_mut().zip(controls.iter_mut()));
        let mut room = 0;
        for (packet, ((message, vector), (name, control))) in packets.iter_mut().zip(places) {
            vector.iov_base = packet.slot_mut().octets_mut().as_mut_ptr().cast();
            let header = &mut message.msg_hdr;
            header.msg_name = name.as_mut_ptr().cast();
            header.msg_namelen = Name::LEN;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
            room += 1;
        }
        let (fd, no_wait) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: the first `room` messages point to a name, a control and a vector of their own, and the
        // vector to PACKET_MAX octets of a slot that is borrowed alone; all outlive the call, and their
        // lengths are what is written at most.
        let count = unsafe {
            libc::recvmmsg(fd, messages.as_mut_ptr(), room, no_wait as _, ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let filled = messages.iter().zip(names.iter().zip(controls.iter()));
        for (packet, (message, (name, control))) in packets.iter_mut().zip(filled).take(count) {
            let header = &message.msg_hdr;
            packet.slot_mut().set_len((message.msg_len as usize).min(PACKET_MAX));
            packet.cut = header.msg_flags & libc::MSG_TRUNC != 0;
            packet.send = false;
            // SAFETY: the kernel wrote so much of the name.
            let from = unsafe { sys::address_of(name, header.msg_namelen) };
            packet.peer = from.map_or(NOWHERE, canonical);
            let control = control.0.get(..header.msg_controllen).unwrap_or_default();
            arrived(packet, Told(control).find_map(destination).unwrap_or(NOWHERE));
        }
        Ok(count)
    }

    /// Takes the ICMP errors that have come, and says how many there were and whether one of them was of a
    /// packet too large for its path.
    pub(super) fn errors(&self) -> (u64, bool) {
        let (mut count, mut too_large) = (0, false);
        while count < ERRORS as u64
            && let Some(error) = self.error()
        {
            count += 1;
            too_large |= error == libc::EMSGSIZE;
        }
        (count, too_large)
    }

    /// Datagrams that the kernel has thrown away, as too many waited or their checksum was wrong.
    pub(super) fn thrown_away(&self) -> u32 {
        let mut counters = [0_u32; MEMINFO];
        let mut len = size_of_val(&counters) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` octets of the counters, which outlive the call.
        unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                counters.as_mut_ptr().cast(),
                &mut len,
            );
        }
        counters[SK_MEMINFO_DROPS]
    }

    fn error(&self) -> Option<i32> {
        let mut control = Control([0; CONTROL]);
        // SAFETY: a message without name and vector is all zero.
        let mut header = unsafe { mem::zeroed::<libc::msghdr>() };
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the message has a control alone, whose length is what is written at most.
        let read = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, flags) };
        if read < 0 {
            return None;
        }
        let control = control.0.get(..header.msg_controllen).unwrap_or_default();
        Some(Told(control).find_map(error_of).unwrap_or(0))
    }
}

/// Where nothing comes from: no port of ours has it.
const NOWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// A socket that takes both families, bound where nobody can send to it: on an address of this host
/// alone, with a port that the system chooses.
fn of_both_families() -> io::Result<OwnedFd> {
    let socket =
        Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    let (fd, on) = (socket.as_fd(), 1);
    for option in [libc::IPV6_RECVORIGDSTADDR, libc::IPV6_RECVERR] {
        sys::set_option(fd, libc::SOL_IPV6, option, on)?;
    }
    set_ipv4_options(fd)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0)).into())?;
    Ok(socket.into())
}

/// The same where the system has no IPv6.
fn of_ipv4() -> io::Result<OwnedFd> {
    let socket =
        Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    set_ipv4_options(socket.as_fd())?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

/// Each datagram says where it was sent to, ICMP errors come with what they say, and the loopback
/// interface may be down.
fn set_ipv4_options(fd: BorrowedFd<'_>) -> io::Result<()> {
    [libc::IP_RECVORIGDSTADDR, libc::IP_RECVERR, libc::IP_FREEBIND]
        .into_iter()
        .try_for_each(|option| sys::set_option(fd, libc::SOL_IP, option, 1))
}

/// An address of IPv4 is one, on a socket of either family.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            SocketAddr::new(ip.to_canonical(), address.port())
        }
        _ => address,
    }
}

/// What was told beside a datagram: level, kind and value of each (cmsg(3)).
struct Told<'a>(&'a [u8]);

impl<'a> Iterator for Told<'a> {
    type Item = (i32, i32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = mem::size_of::<libc::cmsghdr>();
        const WORD: usize = mem::size_of::<usize>();
        let len = usize::from_ne_bytes(*self.0.first_chunk()?);
        let number = |at: usize| Some(i32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?));
        let told = (number(WORD)?, number(WORD + 4)?, self.0.get(HEADER..len)?);
        self.0 = self.0.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        Some(told)
    }
}

/// The address that a datagram was sent to (`sockaddr_in`, `sockaddr_in6`).
fn destination((level, kind, value): (i32, i32, &[u8])) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*value.get(2..)?.first_chunk()?);
    match (level, kind) {
        (libc::SOL_IP, libc::IP_ORIGDSTADDR) => {
            let ip: [u8; 4] = *value.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        (libc::SOL_IPV6, libc::IPV6_ORIGDSTADDR) => {
            let ip: [u8; 16] = *value.get(8..)?.first_chunk()?;
            Some((Ipv6Addr::from(ip), port).into())
        }
        _ => None,
    }
}

/// What an ICMP error means (`sock_extended_err`).
fn error_of((level, kind, value): (i32, i32, &[u8])) -> Option<i32> {
    match (level, kind) {
        (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
            Some(i32::from_ne_bytes(*value.first_chunk()?))
        }
        _ => None,
    }
}
