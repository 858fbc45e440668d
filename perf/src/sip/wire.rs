//! The far sides' sockets: one datagram socket for the caller, and for the answerer another or a TLS
//! listener with the connections that come in.

use super::Failure;
use crate::sys;
use bytes::Bytes;
use rustls::{ServerConfig, ServerConnection};
use sip_core::Message;
use sip_core::framing::{Framed, Framer};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Both sides' sockets.
pub(super) struct Wire {
    near: UdpSocket,
    far: Far,
    /// Where the caller is.
    pub(super) caller: SocketAddr,
    /// Where the answerer is.
    pub(super) answerer: SocketAddr,
    buffer: Vec<u8>,
}

enum Far {
    Udp(UdpSocket),
    Tls { listener: TcpListener, config: Arc<ServerConfig>, connections: Vec<Connection> },
}

/// Where a message goes, or came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Over the side's datagram socket.
    Datagram(SocketAddr),
    /// Over this connection of the answerer's.
    Connection(usize),
}

impl sip_core::transaction::Hop for Hop {
    fn reliable(&self) -> bool {
        matches!(self, Self::Connection(_))
    }
}

/// A connection that the program under test has opened.
struct Connection {
    stream: TcpStream,
    tls: ServerConnection,
    framer: Framer,
    open: bool,
}

impl Wire {
    pub(super) fn udp(near: IpAddr, far: IpAddr) -> Result<Self, Failure> {
        let far = datagram(far)?;
        Self::new(near, far.local_addr()?, Far::Udp(far))
    }

    pub(super) fn tls(near: IpAddr, far: IpAddr, tls: Arc<ServerConfig>) -> Result<Self, Failure> {
        let listener = TcpListener::bind(SocketAddr::new(far, 0))?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        Self::new(near, at, Far::Tls { listener, config: tls, connections: Vec::new() })
    }

    fn new(near: IpAddr, answerer: SocketAddr, far: Far) -> Result<Self, Failure> {
        let near = datagram(near)?;
        let caller = near.local_addr()?;
        Ok(Self { near, far, caller, answerer, buffer: vec![0; 65_536] })
    }

    /// Whether the answerer speaks TLS.
    pub(super) const fn is_tls(&self) -> bool {
        matches!(self.far, Far::Tls { .. })
    }

    /// Gives both addresses to somebody else: our sockets are closed.
    pub(super) fn hand_over(&mut self) -> Result<(SocketAddr, SocketAddr), Failure> {
        // Something has to be there, and it is nowhere in the way.
        let aside = SocketAddr::new(ASIDE, 0);
        self.near = UdpSocket::bind(aside)?;
        self.far = Far::Udp(UdpSocket::bind(aside)?);
        Ok((self.caller, self.answerer))
    }

    /// Hands all that has come for the caller to `take`; a bounded lot at a time.
    pub(super) fn receive_near(&mut self, mut take: impl FnMut(Hop, Message)) -> usize {
        receive(&self.near, &mut self.buffer, &mut take)
    }

    /// The same for the answerer.
    pub(super) fn receive_far(
        &mut self,
        mut take: impl FnMut(Hop, Message),
    ) -> Result<usize, Failure> {
        match &mut self.far {
            Far::Udp(socket) => Ok(receive(socket, &mut self.buffer, &mut take)),
            Far::Tls { listener, config, connections } => {
                if let Ok((stream, _)) = listener.accept() {
                    connections.push(Connection::new(stream, config)?);
                }
                let mut taken = 0;
                for (index, connection) in connections.iter_mut().enumerate() {
                    taken += connection.receive(&mut self.buffer, |message| {
                        take(Hop::Connection(index), message);
                    });
                }
                Ok(taken)
            }
        }
    }

    pub(super) fn send_near(&self, hop: Hop, bytes: &Bytes) {
        send(&self.near, hop, bytes);
    }

    pub(super) fn send_far(&mut self, hop: Hop, bytes: &Bytes) {
        match (&mut self.far, hop) {
            (Far::Udp(socket), _) => send(socket, hop, bytes),
            (Far::Tls { connections, .. }, Hop::Connection(index)) => {
                if let Some(connection) = connections.get_mut(index) {
                    // A connection that breaks shows in its calls.
                    let _ = connection.tls.writer().write_all(bytes);
                }
            }
            (Far::Tls { .. }, Hop::Datagram(_)) => {}
        }
    }

    /// Puts on the wire what connections have been given.
    pub(super) fn flush(&mut self) {
        if let Far::Tls { connections, .. } = &mut self.far {
            connections.iter_mut().for_each(Connection::flush);
        }
    }

    /// Waits until something comes in, for `longest` at most.
    pub(super) fn wait(&self, longest: Duration) {
        let mut watched = vec![self.near.as_raw_fd()];
        match &self.far {
            Far::Udp(socket) => watched.push(socket.as_raw_fd()),
            Far::Tls { listener, connections, .. } => {
                watched.push(listener.as_raw_fd());
                let open = connections.iter().filter(|connection| connection.open);
                watched.extend(open.map(|connection| connection.stream.as_raw_fd()));
            }
        }
        sys::wait(&watched, longest);
    }
}

impl Connection {
    fn new(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<Self, Failure> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut tls = ServerConnection::new(Arc::clone(config))?;
        tls.set_buffer_limit(None);
        Ok(Self { stream, tls, framer: Framer::new(), open: true })
    }

    fn receive(&mut self, buffer: &mut [u8], mut take: impl FnMut(Message)) -> usize {
        let mut taken = 0;
        while self.open {
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => self.open = false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.open = false,
            }
            if self.tls.process_new_packets().is_err() {
                self.open = false;
            }
            while let Ok(len @ 1..) = self.tls.reader().read(buffer) {
                self.open &= self.framer.push(&buffer[..len]).is_ok();
                for framed in self.framer.by_ref() {
                    let Framed::Message(bytes) = framed else { continue };
                    if let Ok(message) = Message::parse(bytes) {
                        taken += 1;
                        take(message);
                    }
                }
            }
        }
        taken
    }

    fn flush(&mut self) {
        while self.open && self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.open = false,
            }
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8], take: &mut impl FnMut(Hop, Message)) -> usize {
    for taken in 0..LOT {
        let Ok((len, from)) = socket.recv_from(buffer) else { return taken };
        if let Ok(message) = Message::parse(Bytes::copy_from_slice(&buffer[..len])) {
            take(Hop::Datagram(from), message);
        }
    }
    LOT
}

fn send(socket: &UdpSocket, hop: Hop, bytes: &Bytes) {
    if let Hop::Datagram(to) = hop {
        // What does not go out is sent again by its transaction.
        let _ = socket.send_to(bytes, to);
    }
}

fn datagram(address: IpAddr) -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
    sys::enlarge(socket.as_raw_fd(), SOCKET_OCTETS);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

const ASIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Datagrams taken before the other side gets its turn.
const LOT: usize = 32;
/// Some thousand messages: what the generator has not read yet is not lost.
const SOCKET_OCTETS: i32 = 8 << 20;
