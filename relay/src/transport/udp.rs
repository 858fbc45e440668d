//! SIP over UDP: one socket for each listener, for both directions (RFC 3261, 18; RFC 3581).

use super::flow::{Outgoing, UDP_FLOWS_MAX, UdpFlows};
use super::{ACCEPT_PAUSE, Event, Shared, begins, discarded, refused, via};
use crate::clock;
use b2bua::io::Flow;
use b2bua::plan::Transport;
use bytes::Bytes;
use sip_core::Message;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;

/// A bound socket that does not block.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own, or none.
        socket.set_only_v6(true)?;
    }
    // The system may grant less; bursts are then lost a little sooner.
    let _ = socket.set_recv_buffer_size(SOCKET_OCTETS);
    let _ = socket.set_send_buffer_size(SOCKET_OCTETS);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A second of two thousand messages of two kilobytes.
const SOCKET_OCTETS: usize = 4 << 20;

/// The largest datagram there is.
const DATAGRAM_OCTETS: usize = 65_535;

/// Takes datagrams in until the task is stopped.
pub(super) async fn receive(
    shared: Arc<Shared>,
    listener: Arc<str>,
    socket: tokio::net::UdpSocket,
) {
    let mut flows = UdpFlows::new(UDP_FLOWS_MAX);
    let mut buffer = vec![0; DATAGRAM_OCTETS];
    loop {
        if let Err(error) = take_all(&shared, &listener, &socket, &mut flows, &mut buffer).await {
            tracing::warn!(%listener, %error, "datagram could not be received");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        if shared.core.is_closed() {
            return;
        }
    }
}

/// Waits for datagrams and takes in all there are, whatever the core is doing: how long they wait is
/// seen only from then on, and what waits in the kernel cannot be turned away.
async fn take_all(
    shared: &Shared,
    listener: &Arc<str>,
    socket: &tokio::net::UdpSocket,
    flows: &mut UdpFlows,
    buffer: &mut [u8],
) -> io::Result<()> {
    socket.readable().await?;
    for _ in 0..READS_MAX {
        match socket.try_recv_from(buffer) {
            Ok((len, remote)) => datagram(shared, listener, flows, &buffer[..len], remote),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    // The core has its turn, under any flood.
    tokio::task::yield_now().await;
    Ok(())
}

/// Datagrams taken in before the core gets its turn: some milliseconds' work to read, and several
/// times what the core then does before it is interrupted.
const READS_MAX: usize = 512;

fn datagram(
    shared: &Shared,
    listener: &Arc<str>,
    flows: &mut UdpFlows,
    octets: &[u8],
    remote: SocketAddr,
) {
    let Some(admitted) = shared.force.load().admit(listener, remote.ip()) else {
        return refused(listener, "source");
    };
    // Keepalives that open a NAT's way (RFC 5626, 3.5.1 has others for UDP, but this is what is sent).
    if octets.iter().all(|&b| matches!(b, b'\r' | b'\n' | 0)) {
        return;
    }
    let mut message = match Message::parse(Bytes::copy_from_slice(octets)) {
        Ok(message) => message,
        Err(error) => {
            tracing::debug!(%listener, %remote, %error, "message is malformed");
            discarded("malformed");
            if let Some(response) = error.response {
                let bytes = Message::Response(*response).to_bytes();
                let outgoing = Outgoing { bytes, client: None, otherwise: None };
                send(shared, listener, remote, outgoing);
            }
            return;
        }
    };
    if shared.force.load().leaving.contains_key(listener) && begins(&message) {
        // Calls that are up go on; another is not begun on a listener that is no more.
        return refused(listener, "source");
    }
    via::note_source(&mut message, remote);
    let flow = Flow {
        id: flows.number(remote, &shared.flows),
        listener: Arc::clone(listener),
        transport: Transport::Udp,
        remote,
        trunk: admitted.trunk,
    };
    // The far side sends it again (RFC 3261, 17.1.1.2); a wait here would stall everybody.
    let lane = shared.core.lane(&message);
    if let Err(TrySendError::Full(_)) =
        lane.try_send(Event::Message { flow, message, at: clock::now().mono })
    {
        discarded("overload");
    }
}

/// Sends a datagram from the listener's socket.
pub(super) fn send(shared: &Shared, listener: &str, remote: SocketAddr, outgoing: Outgoing) {
    let force = shared.force.load();
    let Some(socket) = force.udp_socket(listener) else {
        return shared.fail(outgoing.client, || format!("listener {listener} is closed"));
    };
    match socket.send_to(&outgoing.bytes, remote) {
        Ok(_) => {}
        // As good as lost on the way: it will be sent again.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => discarded("send_buffer"),
        Err(error) => shared.fail(outgoing.client, || format!("udp to {remote}: {error}")),
    }
}
