//! One UDP socket for one media port, with the options that voice wants.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Binds a port, whose packets leave with `dscp`. Without SO_REUSEADDR: a port that somebody else holds must fail, not be shared.
pub(crate) fn bind(address: SocketAddr, dscp: u8) -> io::Result<OwnedFd> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    // The six bits of the DSCP come before the two of ECN (RFC 2474, 3).
    let octet = u32::from(dscp) << 2;
    if address.is_ipv4() {
        socket.set_tos_v4(octet)?;
    } else {
        // Otherwise `[::]` would claim the port of `0.0.0.0` too.
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(octet)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Whether a port can be had: what somebody else has bound is seen by binding.
pub(crate) fn is_free(address: SocketAddr) -> io::Result<()> {
    let kind = Type::DGRAM.cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Octets that may wait on one port. The kernel doubles it and charges about 1 KB for a 20 ms voice
/// packet, so this is over a second of one stream: enough for a worker that was held up, too little
/// for a flood to buy much memory. What waits to be sent needs no bound of ours: it is what we forward,
/// and the system's usual bound is a call into the kernel less for each port.
const RECEIVE_BUFFER: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::Socket;

    #[test]
    fn a_port_that_somebody_has_is_not_free_and_one_that_was_looked_at_still_is() {
        for any in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let held = Socket::from(bind(any.parse().unwrap(), 46).unwrap());
            let at = held.local_addr().unwrap().as_socket().unwrap();
            assert_eq!(is_free(at).unwrap_err().kind(), io::ErrorKind::AddrInUse, "{at}");
            drop(held);
            is_free(at).unwrap();
            is_free(at).unwrap();
        }
    }

    #[test]
    fn packets_are_marked_as_they_are_to_be() {
        for (dscp, octet) in [(46, 0xb8), (0, 0), (34, 0x88)] {
            let v4 = Socket::from(bind("127.0.0.1:0".parse().unwrap(), dscp).unwrap());
            assert_eq!(v4.tos_v4().unwrap(), octet);
            let v6 = Socket::from(bind("[::1]:0".parse().unwrap(), dscp).unwrap());
            assert_eq!(v6.tclass_v6().unwrap(), octet);
        }
    }
}
