//! The configuration snapshot in force: immutable, and valid by construction.
//!
//! Configuration files become a [`Plan`] or a list of problems; nothing below this point meets a
//! wrong value. Indices (`trunk`, `listener`, `media`) always point into the same plan; that of a
//! tenant is its own for as long as it is there, in every later plan as well.

mod absent;
mod calling;
mod class;
pub mod classes;
mod failover;
mod fqdns;
mod help;
mod hook;
mod limits;
mod listener;
mod numbers;
mod pattern;
mod rates;
mod rewrite;
mod route;
mod schedule;
mod shared;
mod tenant;
mod tenants;
mod trunk;

pub use crate::headers::{
    DivertedIdentity, Forwarding, Geolocation, HeaderAction, HeaderPolicy, HeaderRule,
    NoHeaderRule, PrivacyId, ReasonPolicy, Template, Trust, header_expression, may_be_changed,
};
pub use crate::numbering::E164_DIGITS_MAX;
pub use absent::Absent;
pub use calling::{Block, CallerId, CallerPolicy, CallerPrivacy, Ringback};
pub use class::{Ceiling, Class, Home, Prefixes};
pub use failover::{Breaker, Failover, NoStatus};
pub use fqdns::Fqdns;
pub use help::{CALL_BACK, Help, Location, Pidf};
pub use hook::{Fallback, Hook};
pub use limits::Limits;
pub use listener::{Listener, MediaAddress, Transport};
pub use numbers::{NumberIndex, NumberRange};
pub use pattern::{NoPattern, Pattern, Patterns, Stem};
pub use rates::Rates;
pub use rewrite::{Change, Party, Rewrite, RulePlace, Subject, Way, can_be_number};
pub use route::{PRIORITY_DEFAULT, Rare, Route, RouteFrom, Step, Steps};
pub use schedule::{NoSpan, Schedule, Span, local, weekday};
pub use sdp::Cidr;
pub use shared::Shared;
pub use tenant::{HoldPolicy, Model, Sbc, Tenant, TransferPolicy};
pub use tenants::Tenants;
pub use trunk::{
    EarlyMedia, FaxPolicy, HoldDialect, MediaPlace, Reliable, Roots, SrtpPolicy, TargetName, Trunk,
    TrunkKind,
};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// One immutable configuration snapshot. A clone shares all that is large with it; the default is that
/// of a host with nothing on it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Rises by one with each snapshot that is put in force.
    pub generation: u64,
    /// This host.
    pub node: Node,
    /// Media addresses, in file order; the first is the default.
    pub media: Shared<MediaAddress>,
    /// Media workers.
    pub media_workers: usize,
    /// Threads that turn speech from one codec to another.
    pub transcoders: usize,
    /// Listeners, in file order.
    pub listeners: Shared<Listener>,
    /// Trunks, in file order.
    pub trunks: Shared<Trunk>,
    /// Tenants.
    pub tenants: Tenants,
    /// FQDN in lower case to tenant.
    pub fqdns: Fqdns,
    /// Called number to tenant, for calls from carriers: the only map in which tenants meet.
    pub numbers: NumberIndex,
    /// Tenants whose files do not hold and never did.
    pub absent: Arc<Absent>,
    /// Tables of rates, in file order.
    pub rates: Shared<Rates>,
    /// `[block]`: calls that no tenant makes or gets.
    pub block: Arc<Block>,
    /// `[resolve]`: names with fixed addresses, in lower case.
    pub resolve: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

/// `[node]`.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Base FQDN: the carrier trunk in Microsoft's words. Lower case.
    pub fqdn: String,
    /// How long a graceful stop may take.
    pub shutdown_deadline: Duration,
    /// At most this many calls on the host.
    pub calls_max: usize,
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
    /// The media address of a trunk, and which of its ports are for that trunk: for a leg of which
    /// nobody knows where its far side is. Teams users are inside until they say otherwise
    /// (TDR-LMO-003).
    pub fn media_of(&self, trunk: usize) -> Option<(&MediaAddress, RangeInclusive<u16>)> {
        self.media_at(trunk, MediaPlace::Inside)
    }
    /// The same where that is known.
    pub fn media_at(
        &self,
        trunk: usize,
        place: MediaPlace,
    ) -> Option<(&MediaAddress, RangeInclusive<u16>)> {
        let trunk = self.trunks.get(trunk)?;
        if let (MediaPlace::Inside, Some(inside)) = (place, trunk.inside) {
            let address = self.media.get(inside)?;
            return Some((address, address.ports.clone()));
        }
        let address = self.media.get(trunk.media)?;
        Some((address, trunk.ports.clone().unwrap_or_else(|| address.ports.clone())))
    }
    /// What packets of a trunk's legs are marked with.
    pub fn dscp_of(&self, trunk: usize) -> u8 {
        let Some(trunk) = self.trunks.get(trunk) else { return 0 };
        trunk.dscp.or_else(|| self.media.get(trunk.media).map(|media| media.dscp)).unwrap_or(0)
    }
    /// The index of the trunk of this name.
    pub fn trunk_named(&self, name: &str) -> Option<usize> {
        self.trunks.iter().position(|trunk| trunk.name == name)
    }
    /// The trunk of this name.
    pub fn trunk(&self, name: &str) -> Option<&Trunk> {
        self.trunks.iter().find(|trunk| trunk.name == name)
    }
    /// The tenant of this name.
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.get(self.tenants.named(name)?)
    }
    /// The tenant under this FQDN (any case).
    pub fn tenant_under(&self, fqdn: &str) -> Option<&Tenant> {
        self.tenants.get(self.tenant_of_fqdn(fqdn)?)
    }
    /// The base FQDN of a trunk to Teams.
    pub fn base_of(&self, trunk: usize) -> &str {
        let own = self.trunks.get(trunk).and_then(|trunk| trunk.fqdn.as_deref());
        own.unwrap_or(&self.node.fqdn)
    }
    /// The trunks that lead to Teams for a tenant: those that its routes for carriers name, else the
    /// first there is.
    pub fn teams_trunks_of(&self, tenant: &Tenant) -> Vec<usize> {
        let teams = |index: &usize| {
            self.trunks.get(*index).is_some_and(|trunk| trunk.kind == TrunkKind::Teams)
        };
        let routes = tenant.routes.iter().filter(|route| route.from == RouteFrom::Carrier);
        let mut named: Vec<usize> = routes.flat_map(|it| it.to.trunks()).filter(teams).collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() {
            named.extend((0..self.trunks.len()).find(teams));
        }
        named
    }
    /// The tenant that owns this FQDN (any case).
    pub fn tenant_of_fqdn(&self, fqdn: &str) -> Option<usize> {
        self.fqdns.get(&fqdn.to_ascii_lowercase())
    }
}
