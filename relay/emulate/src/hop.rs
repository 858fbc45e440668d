//! Where a message goes to or came from.

use std::net::SocketAddr;
use std::sync::Arc;

/// A SIP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    /// As a Via names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// One way between an address of the agent and its far side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The transport.
    pub transport: Transport,
    /// The agent's address, as it was told at construction: also where the octets leave from
    /// another port, as on a connection that was opened for the agent.
    pub local: SocketAddr,
    /// The far side.
    pub remote: SocketAddr,
    /// For TLS connections that are to be opened: the name for SNI and the certificate.
    pub server_name: Option<Arc<str>>,
    /// The connection a message came on, and its answers go on. Without one, any connection
    /// between the two addresses will do, or a new one.
    pub flow: Option<u64>,
}

impl sip_core::transaction::Hop for Hop {
    fn reliable(&self) -> bool {
        self.transport != Transport::Udp
    }
}
