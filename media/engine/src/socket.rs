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
    fn packets_are_marked_as_they_are_to_be() {
        for (dscp, octet) in [(46, 0xb8), (0, 0), (34, 0x88)] {
            let v4 = Socket::from(bind("127.0.0.1:0".parse().unwrap(), dscp).unwrap());
            assert_eq!(v4.tos_v4().unwrap(), octet);
            let v6 = Socket::from(bind("[::1]:0".parse().unwrap(), dscp).unwrap());
            assert_eq!(v6.tclass_v6().unwrap(), octet);
        }
    }
}
