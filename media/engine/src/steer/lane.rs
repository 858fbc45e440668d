//! A socket for packets with headers of our own: what a batch has for it goes in one call, header and
//! payload each from where it lies.

use crate::batch::{Packet, RECEIVE_BATCH};
use crate::sys::{self, Name};
use crate::wire::{HEADERS_MAX, Template};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The socket, and what is to be sent by it.
pub(crate) struct Lane {
    socket: OwnedFd,
    len: usize,
    /// For packets that are not at home in the batch.
    headers: Box<[[u8; HEADERS_MAX]]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    /// Of each: which packet of the batch it is, and how long header, name and control are.
    plans: Box<[Plan]>,
    vectors: Box<[[libc::iovec; 2]]>,
    messages: Box<[libc::mmsghdr]>,
}

// SAFETY: its pointers lead to its own boxes, and to packets only while `flush` runs.
unsafe impl Send for Lane {}

#[derive(Clone, Copy, Default)]
struct Plan {
    packet: usize,
    header: usize,
    name: libc::socklen_t,
    control: usize,
}

/// The source address, by which the kernel may choose a route.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A header and `in6_pktinfo`.
const CONTROL: usize = 40;

/// Octets that may wait to be sent: what is beyond is lost as it would be in a socket of its own. The
/// kernel doubles it.
const SEND_BUFFER: libc::c_int = 4 << 20;

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Lane {
    /// For whole Ethernet frames (packet(7)).
    pub(crate) fn of_frames() -> io::Result<Self> {
        // Without a protocol it receives nothing.
        Self::new(sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?)
    }

    /// For IP packets that the kernel routes, and asks for the neighbour for (raw(7)).
    pub(crate) fn of_ipv4() -> io::Result<Self> {
        Self::new(sys::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?)
    }

    /// The same for IPv6.
    pub(crate) fn of_ipv6() -> io::Result<Self> {
        Self::new(sys::socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_RAW)?)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        let fd = socket.as_fd();
        if sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER).is_err() {
            // As far as the system allows.
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER)?;
        }
        // SAFETY: vectors and messages that lead nowhere are all zero.
        let nothing =
            || unsafe { (mem::zeroed::<[libc::iovec; 2]>(), mem::zeroed::<libc::mmsghdr>()) };
        let (vectors, messages): (Vec<_>, Vec<_>) = (0..RECEIVE_BATCH).map(|_| nothing()).unzip();
        Ok(Self {
            socket,
            len: 0,
            headers: vec![[0; HEADERS_MAX]; RECEIVE_BATCH].into(),
            names: vec![Name::none(); RECEIVE_BATCH].into(),
            controls: vec![Control([0; CONTROL]); RECEIVE_BATCH].into(),
            plans: vec![Plan::default(); RECEIVE_BATCH].into(),
            vectors: vectors.into(),
            messages: messages.into(),
        })
    }

    /// Writes the headers of a packet of the batch, which is to leave as a frame by an interface.
    pub(crate) fn push_frame(
        &mut self,
        at: usize,
        packet: &mut Packet,
        template: &Template,
        way: Way,
    ) {
        let Way { interface, id } = way;
        let kind = if template.is_ipv4() { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
        let name = Name::of_link(interface, kind as u16);
        self.push(at, packet, template, id, name, 0);
    }

    /// Writes the headers of a packet of the batch, which the kernel is to bring to `to`.
    pub(crate) fn push_packet(
        &mut self,
        at: usize,
        packet: &mut Packet,
        template: &Template,
        (from, to): (IpAddr, SocketAddr),
        id: u16,
    ) {
        let Some(Control(control)) = self.controls.get_mut(self.len) else { return };
        let control = write_source(control, from);
        // Raw sockets have no ports; that of IPv6 means something else there.
        let name = sys::name_of(SocketAddr::new(to.ip(), 0));
        self.push(at, packet, template, id, name, control);
    }

    fn push(
        &mut self,
        of: usize,
        packet: &mut Packet,
        template: &Template,
        id: u16,
        (name, name_len): (Name, libc::socklen_t),
        control: usize,
    ) {
        let at = self.len;
        let (Some(headers), Some(place), Some(plan)) =
            (self.headers.get_mut(at), self.names.get_mut(at), self.plans.get_mut(at))
        else {
            return;
        };
        let header = template.len();
        match packet.head_mut(header) {
            Some((head, payload)) => template.write(head, payload, id),
            None => template.write(&mut headers[..header], packet.slot().packet(), id),
        }
        *place = name;
        *plan = Plan { packet: of, header, name: name_len, control };
        self.len += 1;
    }

    /// Sends what is to be sent, in its order. Of each that the kernel refuses, `refused` is told which
    /// packet of the batch it was; those behind it go all the same.
    pub(crate) fn flush(&mut self, packets: &[Packet], mut refused: impl FnMut(usize, io::Error)) {
        let len = mem::take(&mut self.len);
        if len == 0 {
            return;
        }
        let Self { socket, headers, names, controls, plans, vectors, messages, .. } = self;
        let places = headers.iter_mut().zip(names.iter_mut()).zip(controls.iter_mut());
        let rooms = vectors.iter_mut().zip(messages.iter_mut());
        for ((plan, ((headers, name), control)), (vectors, message)) in
            plans.iter().zip(places).zip(rooms).take(len)
        {
            let packet = &packets[plan.packet];
            let vector = |octets: &[u8]| libc::iovec {
                iov_base: octets.as_ptr().cast_mut().cast(),
                iov_len: octets.len(),
            };
            // In one piece where that is how it lies: the kernel reads a vector of one without a detour.
            let pieces = match packet.with_head(plan.header) {
                Some(whole) => {
                    vectors[0] = vector(whole);
                    1
                }
                None => {
                    *vectors = [vector(&headers[..plan.header]), vector(packet.slot().packet())];
                    2
                }
            };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = plan.name;
            header.msg_iov = vectors.as_mut_ptr();
            header.msg_iovlen = pieces;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = plan.control;
        }
        let mut at = 0;
        while at < len {
            let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
            let (first, count) = (&raw mut messages[at], (len - at) as libc::c_uint);
            // SAFETY: from `first` on there are `count` messages, each with a name, a control and vectors of
            // its own and the lengths that were written there; vectors lead to headers of its own or to a
            // packet of the batch, which is borrowed. All outlive the call, which only reads them.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, count, flags) };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                at += sent;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => continue,
                // No room: there is none for the next either.
                io::ErrorKind::WouldBlock => {
                    for plan in &plans[at..len] {
                        refused(plan.packet, io::ErrorKind::WouldBlock.into());
                    }
                    return;
                }
                _ => refused(plans[at].packet, error),
            }
            at += 1;
        }
    }
}

/// Where a frame leaves, and the number of its packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) interface: u32,
    pub(crate) id: u16,
}

/// Writes which source address a packet has (`in_pktinfo`, `in6_pktinfo`), and says how much that is.
fn write_source(control: &mut [u8; CONTROL], from: IpAddr) -> usize {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    const WORD: usize = mem::size_of::<usize>();
    let (level, kind, len) = match from {
        IpAddr::V4(from) => {
            // The interface is open; the local address comes second, and a third is for receiving.
            control[HEADER..HEADER + 12].fill(0);
            control[HEADER + 4..HEADER + 8].copy_from_slice(&from.octets());
            (libc::SOL_IP, libc::IP_PKTINFO, HEADER + 12)
        }
        IpAddr::V6(from) => {
            control[HEADER..HEADER + 16].copy_from_slice(&from.octets());
            control[HEADER + 16..HEADER + 20].fill(0);
            (libc::SOL_IPV6, libc::IPV6_PKTINFO, HEADER + 20)
        }
    };
    control[..WORD].copy_from_slice(&len.to_ne_bytes());
    control[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    control[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    len.next_multiple_of(WORD)
}
