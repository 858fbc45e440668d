//! The places around the border, by name.

use b2bua::plan::Transport;
use std::net::{Ipv4Addr, SocketAddr};

/// Who stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// `sip.pstnhub.microsoft.com`.
    Sip,
    /// `sip2.pstnhub.microsoft.com`.
    Sip2,
    /// `sip3.pstnhub.microsoft.com`.
    Sip3,
    /// The carrier that is tried first.
    Colt,
    /// The other carrier.
    Bt,
}

/// Our address.
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

impl Who {
    /// Everybody.
    pub const ALL: [Self; 5] = [Self::Sip, Self::Sip2, Self::Sip3, Self::Colt, Self::Bt];

    /// Where its signalling is.
    pub const fn address(self) -> SocketAddr {
        let (ip, port) = match self {
            Self::Sip => (Ipv4Addr::new(52, 114, 75, 24), 5061),
            Self::Sip2 => (Ipv4Addr::new(52, 114, 132, 46), 5061),
            Self::Sip3 => (Ipv4Addr::new(52, 114, 14, 70), 5061),
            Self::Colt => (Ipv4Addr::new(198, 51, 100, 20), 5060),
            Self::Bt => (Ipv4Addr::new(192, 0, 2, 30), 5060),
        };
        SocketAddr::new(std::net::IpAddr::V4(ip), port)
    }

    /// Where its media is, as long as a test says nothing else.
    pub fn media(self) -> SocketAddr {
        let mut address = self.address();
        address.set_port(if self.is_teams() { 49_152 } else { 40_000 });
        address
    }

    /// Whether it is Microsoft's.
    pub const fn is_teams(self) -> bool {
        matches!(self, Self::Sip | Self::Sip2 | Self::Sip3)
    }

    /// What it speaks.
    pub const fn transport(self) -> Transport {
        if self.is_teams() { Transport::Tls } else { Transport::Udp }
    }

    /// Our address as it sees it.
    pub const fn ours(self) -> SocketAddr {
        let port = if self.is_teams() { 5061 } else { 5060 };
        SocketAddr::new(std::net::IpAddr::V4(OURS), port)
    }

    /// Its name, or address where it has none.
    pub fn host(self) -> String {
        match self {
            Self::Sip => "sip.pstnhub.microsoft.com".into(),
            Self::Sip2 => "sip2.pstnhub.microsoft.com".into(),
            Self::Sip3 => "sip3.pstnhub.microsoft.com".into(),
            Self::Colt | Self::Bt => self.address().ip().to_string(),
        }
    }

    /// Who is at this address.
    pub fn at(address: SocketAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.address() == address)
    }
}
