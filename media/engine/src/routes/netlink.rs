//! Messages of rtnetlink, written and read (RFC 3549; netlink(7), rtnetlink(7)). What does not fit its
//! own length ends the reading.

use crate::sys;
use socket2::{Domain, Protocol, Type};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;

/// A netlink socket of the calling thread's network namespace, which never waits.
#[derive(Debug)]
pub(super) struct Socket {
    socket: socket2::Socket,
    buffer: Box<[u8]>,
    sequence: u32,
}

impl Socket {
    /// One that hears of changes to what the groups (RTNLGRP_*) stand for.
    pub(super) fn new(groups: &[u32]) -> io::Result<Self> {
        Self::of(libc::NETLINK_ROUTE, groups)
    }

    /// The same of another part of the kernel.
    pub(super) fn of(protocol: i32, groups: &[u32]) -> io::Result<Self> {
        let kind = Type::RAW.nonblocking().cloexec();
        let protocol = Protocol::from(protocol);
        let socket = socket2::Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(protocol))?;
        // Without an address of its own, it is taken for the kernel and told nothing.
        let bits = groups.iter().fold(0, |bits, group| bits | 1 << (group - 1));
        sys::bind_netlink(socket.as_fd(), bits)?;
        if !groups.is_empty() {
            // What does not fit is lost, and everything is read anew.
            socket.set_recv_buffer_size(CHANGES)?;
        }
        Ok(Self { socket, buffer: vec![0; DUMP].into(), sequence: 0 })
    }

    /// What the kernel has told, one datagram of it; `None`: nothing more for now.
    pub(super) fn told(&mut self) -> io::Result<Option<Messages<'_>>> {
        match self.socket.read(&mut self.buffer) {
            Ok(len) => Ok(Some(Messages(&self.buffer[..len]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks, and hands over each part of the answer. The kernel's refusal is an error.
    pub(super) fn ask(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(Message<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let dump = request.flags & DUMP_ALL == DUMP_ALL;
        self.socket.write_all(request.finish(self.sequence))?;
        let sequence = self.sequence;
        loop {
            // The kernel answers while it is asked: there is nothing to wait for.
            let Some(messages) = self.told()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            for message in messages.filter(|message| message.sequence == sequence) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => return message.refusal().map_or(Ok(()), Err),
                    _ => each(message),
                }
                if !dump {
                    return Ok(());
                }
            }
        }
    }

    /// Tells the kernel something and hears no answer.
    pub(super) fn tell(&mut self, request: &mut Request) -> io::Result<()> {
        self.socket.write_all(request.finish(0))
    }
}

/// Octets of changes that may wait: a thousand and more, as a host with routes by BGP makes at once.
const CHANGES: usize = 1 << 20;
/// The most that the kernel puts into one datagram of a dump.
const DUMP: usize = 32 * 1024;

const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const HEADER: usize = 16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
/// The flags of a request for all that there is.
pub(super) const DUMP_ALL: u16 = libc::NLM_F_DUMP as u16;
/// The flags of a bit string whose upper bits say how an attribute is made.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// A message to the kernel. The longest has two addresses.
pub(super) struct Request {
    octets: [u8; 128],
    len: usize,
    kind: u16,
    flags: u16,
}

impl Request {
    /// `fixed` is what stands before the attributes.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut request = Self { octets: [0; 128], len: HEADER, kind, flags };
        request.put(fixed);
        request
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.put(&(4 + value.len() as u16).to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        self.put(value);
        self.len = self.len.next_multiple_of(4);
    }

    fn put(&mut self, octets: &[u8]) {
        self.octets[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    fn finish(&mut self, sequence: u32) -> &[u8] {
        self.octets[..4].copy_from_slice(&(self.len as u32).to_ne_bytes());
        self.octets[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.octets[6..8].copy_from_slice(&(self.flags | REQUEST).to_ne_bytes());
        self.octets[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.octets[..self.len]
    }
}

/// The messages of one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = word_at(self.0, 0)? as usize;
        let body = self.0.get(HEADER..len)?;
        let message = Message { kind: half_at(self.0, 4)?, sequence: word_at(self.0, 8)?, body };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    sequence: u32,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Its attributes, which begin behind `fixed` octets.
    pub(super) fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.body.get(fixed..).unwrap_or_default())
    }

    /// The error that an ERROR brings; `None`: it acknowledges.
    fn refusal(&self) -> Option<io::Error> {
        let code = word_at(self.body, 0).map_or(-libc::EPROTO, u32::cast_signed);
        (code != 0).then(|| io::Error::from_raw_os_error(-code))
    }
}

/// Attributes, of a message or within another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let len = usize::from(half_at(self.0, 0)?);
        let kind = half_at(self.0, 2)? & ATTRIBUTE_KIND;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

pub(super) fn half_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|octets| u16::from_ne_bytes(*octets))
}

pub(super) fn word_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

/// An address by its length.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}
