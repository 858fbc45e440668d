//! The engine that runs anywhere: one UDP socket per port, one epoll per worker, no privileges.

use crate::batch::{Batch, Packet, PortId, RECEIVE_BATCH};
use crate::by_port::ByPort;
use crate::datapath::{Carried, Datapath};
use crate::io::{Faults, PacketIo};
use crate::socket;
use crate::sys::{self, Bell, Epoll, Ready};
use media::packet::PACKET_MAX;
use std::borrow::Cow;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Sockets by port, watched by one epoll.
#[derive(Debug)]
pub(crate) struct Portable {
    epoll: Epoll,
    bell: Arc<Bell>,
    ready: Box<[Ready]>,
    /// Of these, so many were found by waiting, and their packets are still to be received.
    found: usize,
    sockets: ByPort<OwnedFd>,
    faults: Faults,
    why_not_faster: Cow<'static, str>,
}

impl Portable {
    /// `why_not_faster` is what is told of each call that is carried here.
    pub(crate) fn new(bell: Arc<Bell>, why_not_faster: Cow<'static, str>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(bell.fd(), BELL)?;
        Ok(Self {
            epoll,
            bell,
            ready: vec![Ready::NONE; RECEIVE_BATCH].into(),
            found: 0,
            sockets: ByPort::new(),
            faults: Faults::default(),
            why_not_faster,
        })
    }
}

impl Portable {
    /// Sends one packet.
    pub(crate) fn send_one(&mut self, packet: &Packet) {
        let sent = self.sockets.get(packet.port).is_some_and(|socket| {
            sys::send_to(socket.as_fd(), packet.slot().packet(), packet.peer).is_ok()
        });
        self.faults.send += u64::from(!sent);
    }

    /// Whether a port is open here.
    pub(crate) fn has(&self, port: PortId) -> bool {
        self.sockets.get(port).is_some()
    }

    /// Readable when a packet has arrived.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.fd()
    }
}

impl PacketIo for Portable {
    fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()> {
        if self.sockets.get(port).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let socket = socket::bind(at, dscp)?;
        self.epoll.add(socket.as_fd(), word_of(port))?;
        self.sockets.set(port, Some(socket));
        Ok(())
    }

    fn close(&mut self, port: PortId) {
        // Closing the descriptor also takes it out of epoll: nothing else refers to it.
        self.sockets.set(port, None);
    }

    /// One packet per ready port and round: a flooded port gets no more of a batch than others.
    fn receive(&mut self, batch: &mut Batch) -> bool {
        let Self { epoll, bell, ready, found, sockets, faults, .. } = self;
        // Asking looks at each socket, which is in no cache.
        let count = match mem::take(found) {
            0 => epoll.ready(ready, false).len(),
            found => found,
        };
        for event in &ready[..count] {
            let Some(port) = port_of(event.word()) else {
                bell.silence();
                continue;
            };
            let Some(socket) = sockets.get(port) else { continue };
            let Some(packet) = batch.spare() else { break };
            let Some(room) = packet.slot_mut().octets_mut().first_chunk_mut::<PACKET_MAX>() else {
                break;
            };
            match sys::receive_from(socket.as_fd(), room) {
                Ok(received) => {
                    packet.slot_mut().set_len(received.len.min(PACKET_MAX));
                    packet.cut = received.len > PACKET_MAX;
                    packet.port = port;
                    packet.peer = received.from;
                    packet.send = false;
                    batch.take();
                }
                // Readiness without a packet: a bad checksum, found while reading.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An ICMP error about something we sent, cleared by being read.
                Err(_) => faults.receive += 1,
            }
        }
        count > 0
    }

    fn send(&mut self, batch: &mut Batch) {
        batch
            .packets()
            .iter()
            .filter(|packet| packet.send)
            .for_each(|packet| self.send_one(packet));
    }

    fn await_ring(&mut self) {
        self.bell.await_ring();
    }

    fn wait(&mut self) {
        self.found = self.epoll.ready(&mut self.ready, true).len();
        self.bell.is_awake();
    }

    fn wait_at_most(&mut self, longest: Duration) {
        self.found = self.epoll.ready_within(&mut self.ready, longest).len();
        self.bell.is_awake();
    }

    fn ready_at(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.fd())
    }

    fn carries(&self, _: PortId) -> Carried {
        Carried { by: Datapath::Portable, why_not_faster: self.why_not_faster.clone() }
    }

    fn datapath(&self, _: PortId) -> Datapath {
        Datapath::Portable
    }

    fn faults(&self) -> Faults {
        self.faults
    }
}

/// Stands for the bell among the words of epoll; no port has it.
const BELL: u64 = u64::MAX;

fn word_of(port: PortId) -> u64 {
    u64::from(port.address) << 16 | u64::from(port.number)
}

fn port_of(word: u64) -> Option<PortId> {
    (word != BELL).then_some(PortId { address: (word >> 16) as u16, number: word as u16 })
}
