//! `[[listener]]` and `[[media.address]]`: where the host is reached.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// One `[[media.address]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// Its name.
    pub name: String,
    /// The address to bind.
    pub bind: IpAddr,
    /// The address in SDP.
    pub advertise: IpAddr,
    /// The port range; even ports are RTP.
    pub ports: RangeInclusive<u16>,
    /// What its packets are marked with (RFC 2474).
    pub dscp: u8,
}

/// A SIP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP, with certificates on both sides.
    Tls,
}

impl Transport {
    /// As in a Via.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
    /// As in a `transport` parameter and in the configuration.
    pub const fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
    /// The port where none is named (RFC 3261, 19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
    /// Whether the transport retransmits by itself.
    pub const fn reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its transport.
    pub transport: Transport,
    /// The address and port to bind.
    pub bind: SocketAddr,
    /// The address and port in Via and Contact towards carriers; its port is also the one in the
    /// Contact towards Teams, whose host is the tenant's FQDN.
    pub advertise: SocketAddr,
    /// Index of the certificate, for TLS.
    pub certificate: Option<String>,
}
