//! The configuration snapshot in force: immutable, and valid by construction.
//!
//! Configuration files become a [`Plan`] or a list of problems; nothing below this point meets a
//! wrong value. Indices (`trunk`, `listener`, `media`) always point into the same plan.

use crate::accounts::Accounts;
pub use crate::headers::{Forwarding, Geolocation, HeaderPolicy, PrivacyId, Trust};
use sip_core::usage::session_timer::Terms;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// One immutable configuration snapshot.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rises by one with each snapshot that is put in force.
    pub generation: u64,
    /// This host.
    pub node: Node,
    /// Media addresses, in file order; the first is the default.
    pub media: Vec<MediaAddress>,
    /// Media workers.
    pub media_workers: usize,
    /// Listeners, in file order.
    pub listeners: Vec<Listener>,
    /// Trunks, in file order.
    pub trunks: Vec<Trunk>,
    /// Tenants, by name.
    pub tenants: Vec<Tenant>,
    /// FQDN in lower case to tenant.
    pub fqdns: HashMap<String, usize>,
    /// Called number to tenant, for calls from carriers: the only map in which tenants meet.
    pub numbers: NumberIndex,
    /// `[resolve]`: names with fixed addresses, in lower case.
    pub resolve: BTreeMap<String, Vec<IpAddr>>,
}

/// `[node]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Base FQDN: the carrier trunk in Microsoft's words. Lower case.
    pub fqdn: String,
    /// How long a graceful stop may take.
    pub shutdown_deadline: Duration,
    /// At most this many calls on the host.
    pub calls_max: usize,
}

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

/// What a trunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrunkKind {
    /// Microsoft Teams, for all tenants of this host.
    Teams,
    /// A carrier or a PBX.
    Carrier,
}

/// Media encryption on a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpPolicy {
    /// RTP only.
    Off,
    /// SRTP where the far side offers it; our offers are SRTP.
    Preferred,
    /// SRTP only.
    Required,
}

/// Reliable provisional responses on a trunk (RFC 3262), for each leg on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliable {
    /// Neither sent nor announced; an INVITE that requires them is refused with 420.
    Off,
    /// Sent where the far side requires them, and announced in our INVITEs.
    #[default]
    Supported,
    /// Always sent, and required in our INVITEs; an INVITE without them is refused with 421.
    Required,
}

/// One address a trunk is reached at, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetName {
    /// A name (lower case) or an IP address in text.
    pub host: String,
    /// The port; a name without one is asked for by NAPTR and SRV ([`crate::locate`]). An address
    /// has one.
    pub port: Option<u16>,
}

impl TargetName {
    /// The host as it stands in a URI: an IPv6 address in brackets.
    pub fn host_part(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host_part())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// One `[[trunk]]`.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TrunkKind,
    /// The listener its messages come in on and go out from.
    pub listener: usize,
    /// Where it is reached, in order of preference.
    pub targets: Vec<TargetName>,
    /// The addresses its messages may come from.
    pub sources: Vec<Cidr>,
    /// Media encryption.
    pub srtp: SrtpPolicy,
    /// How often OPTIONS is sent to each target; `None`: never, and every target counts as up.
    pub options_interval: Option<Duration>,
    /// Session timers (RFC 4028) on its legs; `None`: none are kept.
    pub session_timer: Option<Terms>,
    /// The media address.
    pub media: usize,
    /// Bounds on calls.
    pub limits: Limits,
    /// What its headers may say, and what it is told.
    pub headers: HeaderPolicy,
    /// Symmetric latching for plain RTP (a NATed carrier).
    pub symmetric_rtp: bool,
    /// Reliable provisional responses (a carrier; Teams has none).
    pub reliable: Reliable,
    /// Whether a 3xx is followed to this trunk's own hosts (a carrier).
    pub follow_redirects: bool,
    /// Whether REFER is taken from a carrier; for Teams the tenant says so.
    pub transfer: TransferPolicy,
    /// Names that the peer's certificate must carry one of, in lower case (Teams: `sip.pstnhub.microsoft.com`).
    pub peer_names: Vec<String>,
    /// Accepted roots: the system's or a file.
    pub roots: Roots,
    /// Who we are there.
    pub accounts: Accounts,
}

/// Where accepted roots come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The operating system's store.
    System,
    /// A PEM file.
    File(std::path::PathBuf),
}

/// Bounds on calls; `None` is no bound of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent calls.
    pub calls: Option<u32>,
    /// New calls per second.
    pub calls_per_second: Option<u32>,
}

/// One tenant: a file in `tenants.d/`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The file's stem.
    pub name: String,
    /// Its SBC FQDNs in lower case; the first is the one in Contact towards Teams for calls from carriers.
    pub fqdns: Vec<String>,
    /// Its numbers.
    pub numbers: Vec<NumberRange>,
    /// Bounds on calls.
    pub limits: Limits,
    /// Routes, in file order: the first that matches decides.
    pub routes: Vec<Route>,
    /// How a carrier's hold reaches Teams.
    pub hold: HoldPolicy,
    /// Who does a transfer that a Teams user asks for.
    pub transfer: TransferPolicy,
    /// Emergency numbers of this tenant, digits as dialled.
    pub emergency: Vec<String>,
}

/// How a hold from the carrier reaches Teams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldPolicy {
    /// As `a=inactive` (TDR-HLD-001).
    #[default]
    Inactive,
    /// Not at all: Teams stays on sendrecv.
    Absorb,
}

/// Who does a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferPolicy {
    /// The far side by itself: we name no REFER in Allow and refuse it (TDR-XFR-001).
    #[default]
    None,
    /// We, by a new INVITE for each REFER.
    Refer,
}

/// Where a call comes from, for routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteFrom {
    /// From Teams.
    Teams,
    /// From a carrier trunk.
    Carrier,
}

/// One `[[route]]` of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The direction it serves.
    pub from: RouteFrom,
    /// The called numbers it matches.
    pub pattern: Pattern,
    /// Trunks in order.
    pub to: Vec<usize>,
    /// Only for emergency numbers.
    pub emergency: bool,
}

/// A prefix of the called number (`+49*`, `*`) or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Numbers that begin so; empty matches all.
    Prefix(String),
    /// This number.
    Exact(String),
}

impl Pattern {
    /// Whether `number` matches.
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Self::Prefix(prefix) => number.starts_with(prefix.as_str()),
            Self::Exact(whole) => number == whole,
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(whole) => f.write_str(whole),
        }
    }
}

/// An E.164 range of numbers of equal length, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NumberRange {
    /// First number, without `+`.
    pub first: u64,
    /// Last number, without `+`.
    pub last: u64,
    /// Digits in each.
    pub digits: u8,
}

/// Called number to tenant: ranges that do not overlap, sorted.
#[derive(Clone, Debug, Default)]
pub struct NumberIndex {
    ranges: Vec<(NumberRange, usize)>,
}

impl NumberIndex {
    /// An index of `ranges`, or the first two entries that overlap.
    pub fn new(ranges: Vec<(NumberRange, usize)>) -> Result<Self, [(NumberRange, usize); 2]> {
        let mut ranges = ranges;
        ranges.sort_unstable_by_key(|(range, tenant)| (range.digits, range.first, *tenant));
        for pair in ranges.windows(2) {
            if let [one, two] = pair
                && one.0.digits == two.0.digits
                && two.0.first <= one.0.last
            {
                return Err([*one, *two]);
            }
        }
        Ok(Self { ranges })
    }
    /// The tenant that owns `number` (E.164 with or without `+`).
    pub fn tenant(&self, number: &str) -> Option<usize> {
        let digits = number.strip_prefix('+').unwrap_or(number);
        let length = u8::try_from(digits.len()).ok()?;
        if length == 0 || length > E164_DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        let after = self
            .ranges
            .partition_point(|(range, _)| (range.digits, range.first) <= (length, value));
        let (range, tenant) = self.ranges.get(after.checked_sub(1)?)?;
        (range.digits == length && value <= range.last).then_some(*tenant)
    }
}

/// E.164 allows 15 digits; a few more are seen with extensions, and 18 always fit in 64 bits.
pub const E164_DIGITS_MAX: u8 = 18;

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The network address.
    pub network: IpAddr,
    /// The prefix length in bits.
    pub length: u8,
}

impl Cidr {
    /// Whether `address` is inside. An IPv4-mapped IPv6 address counts as its IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.length.min(32));
                u32::from(network).checked_shr(shift).unwrap_or(0)
                    == u32::from(address).checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.length.min(128));
                u128::from(network).checked_shr(shift).unwrap_or(0)
                    == u128::from(address).checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

impl Plan {
    /// The trunk that a message on `listener` from `source` belongs to: among trunks of that
    /// listener whose sources hold the address, the one with the longest prefix, then the first.
    pub fn trunk_of_source(&self, listener: usize, source: IpAddr) -> Option<usize> {
        let mut best: Option<(u8, usize)> = None;
        for (index, trunk) in self.trunks.iter().enumerate() {
            if trunk.listener != listener {
                continue;
            }
            for cidr in &trunk.sources {
                if cidr.contains(source) && best.is_none_or(|(length, _)| cidr.length > length) {
                    best = Some((cidr.length, index));
                }
            }
        }
        best.map(|(_, index)| index)
    }
    /// The index of the trunk of this name.
    pub fn trunk_named(&self, name: &str) -> Option<usize> {
        self.trunks.iter().position(|trunk| trunk.name == name)
    }
    /// The tenant that owns this FQDN (any case).
    pub fn tenant_of_fqdn(&self, fqdn: &str) -> Option<usize> {
        self.fqdns.get(&fqdn.to_ascii_lowercase()).copied()
    }
}
