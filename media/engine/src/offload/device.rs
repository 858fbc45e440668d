//! What a driver does with XDP (netlink family `netdev`, since Linux 6.3), in this thread's network
//! namespace.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::time::Duration;

/// What may be done with an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities(u64);

impl Abilities {
    /// Programs run where the driver has the packet, and may send it on to another interface.
    pub(crate) fn forwards(self) -> bool {
        self.0 & (BASIC | REDIRECT) == BASIC | REDIRECT
    }

    /// Programs run where the driver has the packet.
    pub(crate) fn runs(self) -> bool {
        self.0 & BASIC != 0
    }

    /// It sends what a program has redirected to it. A veth does so only while its other end takes
    /// frames; else they are gone without a word.
    pub(crate) fn sends(self) -> bool {
        self.0 & NDO_XMIT != 0
    }
}

// NETDEV_XDP_ACT_*
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const NDO_XMIT: u64 = 4;

/// Asks drivers.
#[derive(Debug)]
pub(crate) struct Drivers {
    socket: Socket,
    family: u16,
}

impl Drivers {
    /// An error where the kernel does not tell.
    pub(crate) fn new() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_GENERIC);
        let kind = Type::RAW.cloexec();
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(protocol))?;
        // The kernel answers while it is asked; this is for the case that it does not.
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut drivers = Self { socket, family: CONTROL };
        let name = (FAMILY_NAME, &b"netdev\0"[..]);
        let answer = drivers.ask(CONTROL, GET_FAMILY, 2, name)?;
        let id = attribute(&answer, FAMILY_ID).and_then(|id| id.first_chunk());
        drivers.family = id.map(|id| u16::from_ne_bytes(*id)).ok_or(io::ErrorKind::Unsupported)?;
        Ok(drivers)
    }

    /// What an interface can do; nothing where there is none.
    pub(crate) fn of(&mut self, interface: u32) -> Abilities {
        let index = (DEVICE_INDEX, &interface.to_ne_bytes()[..]);
        let answer = self.ask(self.family, GET_DEVICE, 1, index).unwrap_or_default();
        let features = attribute(&answer, DEVICE_FEATURES).and_then(|octets| octets.first_chunk());
        Abilities(features.map_or(0, |octets| u64::from_ne_bytes(*octets)))
    }

    /// Asks with one attribute; the attributes of the answer.
    fn ask(
        &mut self,
        family: u16,
        command: u8,
        version: u8,
        (kind, value): (u16, &[u8]),
    ) -> io::Result<Vec<u8>> {
        let mut request = vec![0; HEADERS];
        request.extend((4 + value.len() as u16).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(value);
        request.resize(request.len().next_multiple_of(4), 0);
        let len = request.len() as u32;
        request[..4].copy_from_slice(&len.to_ne_bytes());
        request[4..6].copy_from_slice(&family.to_ne_bytes());
        request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
        (request[16], request[17]) = (command, version);
        self.socket.write_all(&request)?;
        let mut answer = vec![0; ANSWER_MAX];
        let len = self.socket.read(&mut answer)?;
        answer.truncate(len);
        let kind = answer.get(4..6).and_then(|octets| octets.first_chunk());
        if kind.map(|kind| u16::from_ne_bytes(*kind)) != Some(family) || len < HEADERS {
            return Err(io::ErrorKind::Unsupported.into());
        }
        answer.drain(..HEADERS);
        Ok(answer)
    }
}

/// Those of netlink and of its generic family.
const HEADERS: usize = 16 + 4;
/// A family with all its operations.
const ANSWER_MAX: usize = 16 * 1024;
// GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_FAMILY_ID
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_NAME: u16 = 2;
const FAMILY_ID: u16 = 1;
// NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;

/// The value of an attribute.
fn attribute(mut octets: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let header = octets.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = octets.get(4..len)?;
        if u16::from_ne_bytes([header[2], header[3]]) & 0x3fff == wanted {
            return Some(value);
        }
        octets = octets.get(len.next_multiple_of(4)..)?;
    }
}
