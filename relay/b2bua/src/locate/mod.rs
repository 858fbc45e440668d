//! Where a target is: the endpoints behind a configured name, in the order to try them (RFC 3263,
//! RFC 2782).
//!
//! A name without a port is asked for by NAPTR and SRV of its trunk's transport, a name with a port by
//! address alone, as Microsoft's three are (TDR-DNS-003); an address is where it says. [`Directory`]
//! decides what to ask DNS and when, [`Located`] is what came of it, and each call draws its own order
//! from that.

mod directory;
mod record;

pub use directory::{Age, Directory, Output};
pub use record::{Answer, Kind, Question, Record};

use crate::plan::{Plan, TargetName, Transport};
use rand_core::RngCore;
use std::net::{IpAddr, SocketAddr};

/// A target's name as its trunk needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sought {
    /// The name, in lower case.
    pub host: String,
    /// The port, where one is configured: then there is nothing to learn from SRV (RFC 3263, 4.2).
    pub port: Option<u16>,
    /// The transport of the trunk's listener.
    pub transport: Transport,
    /// The addresses its listener can send to.
    pub family: Family,
}

/// Which addresses a listener reaches: its sockets are of one family only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    /// The family of a bound address.
    pub const fn of(bind: SocketAddr) -> Self {
        if bind.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Whether `address` is of it.
    pub const fn has(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }

    const fn kind(self) -> Kind {
        match self {
            Self::V4 => Kind::A,
            Self::V6 => Kind::Aaaa,
        }
    }
}

impl Sought {
    /// What has to be known to reach `target` by the listener of `trunk`.
    pub fn of(plan: &Plan, trunk: usize, target: &TargetName) -> Option<Self> {
        let listener = plan.listeners.get(plan.trunks.get(trunk)?.listener)?;
        Some(Self {
            host: target.host.clone(),
            port: target.port,
            transport: listener.transport,
            family: Family::of(listener.bind),
        })
    }

    /// Every name of `plan` that DNS has to be asked for: no addresses, and nothing that
    /// `[resolve]` gives.
    pub fn all(plan: &Plan) -> Vec<Self> {
        let of_trunk = |(index, trunk): (usize, &crate::plan::Trunk)| {
            let named = trunk.targets.iter().filter(|target| {
                target.host.parse::<IpAddr>().is_err() && !plan.resolve.contains_key(&target.host)
            });
            named.filter_map(|target| Self::of(plan, index, target)).collect::<Vec<_>>()
        };
        let mut all: Vec<Self> = plan.trunks.iter().enumerate().flat_map(of_trunk).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The port, where neither the configuration nor SRV names one.
    pub fn default_port(&self) -> u16 {
        self.port.unwrap_or(self.transport.default_port())
    }

    /// The name whose SRV records are asked for where NAPTR gives none (RFC 3263, 4.2).
    fn service(&self) -> String {
        let prefix = match self.transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
        };
        format!("{prefix}.{}", self.host)
    }

    /// The NAPTR service of the transport (RFC 3263, 4.1).
    ///
    /// Records of other transports are passed over. The trunk's listener is where its certificate,
    /// its sources and its firewall are; if a record, which nothing authenticates, could choose
    /// another, it could turn TLS into UDP.
    const fn naptr_service(&self) -> &'static str {
        match self.transport {
            Transport::Udp => "SIP+D2U",
            Transport::Tcp => "SIP+D2T",
            Transport::Tls => "SIPS+D2T",
        }
    }
}

/// The endpoints behind a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// By priority, the one to try first in front.
    services: Vec<Service>,
}

/// One SRV record with its host's addresses; without SRV, the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower is tried before higher.
    pub priority: u16,
    /// Its share of what goes to its priority.
    pub weight: u16,
    /// In the order DNS gave them.
    pub addresses: Vec<SocketAddr>,
}

/// Endpoints of one name; a call has time for a handful.
pub const ENDPOINTS_MAX: usize = 64;

impl Located {
    /// The endpoints of `services`, which are cut at [`ENDPOINTS_MAX`].
    pub fn new(services: impl IntoIterator<Item = Service>) -> Self {
        let mut services: Vec<Service> =
            services.into_iter().filter(|service| !service.addresses.is_empty()).collect();
        // Stable: what is equal stays as DNS had it.
        services.sort_by_key(|service| service.priority);
        let mut room = ENDPOINTS_MAX;
        for service in &mut services {
            service.addresses.truncate(room);
            room -= service.addresses.len();
        }
        services.retain(|service| !service.addresses.is_empty());
        Self { services }
    }

    /// A host that is at these addresses, whatever DNS may say.
    pub fn fixed(sought: &Sought, addresses: &[IpAddr]) -> Self {
        let port = sought.default_port();
        let fitting = addresses.iter().filter(|address| sought.family.has(**address));
        let addresses = fitting.map(|address| SocketAddr::new(*address, port)).collect();
        Self::new([Service { priority: 0, weight: 0, addresses }])
    }

    /// Whether there is no endpoint.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Every endpoint, in the order of the records.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.services.iter().flat_map(|service| service.addresses.iter().copied())
    }

    /// The endpoints in the order to try them, drawn anew for each call, so that calls spread by
    /// weight: priority by priority, in each by weight (RFC 2782, "Weight").
    pub fn draw(&self, rng: &mut impl RngCore) -> Vec<SocketAddr> {
        let mut order = Vec::with_capacity(self.endpoints().count());
        for group in self.services.chunk_by(|one, other| one.priority == other.priority) {
            let mut left: Vec<&Service> = group.iter().collect();
            // Those of weight 0 in front: they are drawn by the number 0 alone.
            left.sort_by_key(|service| service.weight > 0);
            while !left.is_empty() {
                let drawn = left.remove(draw_one(&left, rng));
                for address in &drawn.addresses {
                    if !order.contains(address) {
                        order.push(*address);
                    }
                }
            }
        }
        order
    }
}

/// The place of the one whose running sum of weights is the first not below a number between 0 and
/// the sum of all.
fn draw_one(services: &[&Service], rng: &mut impl RngCore) -> usize {
    let sum: u64 = services.iter().map(|service| u64::from(service.weight)).sum();
    let number = rng.next_u64() % (sum + 1);
    let mut running = 0;
    let reached = services.iter().position(|service| {
        running += u64::from(service.weight);
        running >= number
    });
    reached.unwrap_or(0)
}

#[cfg(test)]
mod tests;
