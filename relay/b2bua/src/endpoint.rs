//! The endpoints of a trunk's targets, in the order a new request tries them.
//!
//! Located ahead of calls ([`crate::locate`]); which of them failed a moment ago is remembered here, so
//! that the next call does not wait for the same silence.

use crate::core::Core;
use crate::io::{Hop, Target};
use crate::locate::{Located, Sought};
use crate::plan::{Plan, TargetName, TrunkKind};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An endpoint that was silent or refused is tried after all others for so long, and for twice as
/// long each time again,
const AVOID_MIN: Duration = Duration::from_secs(30);
/// up to this: a call that finds out that it is back, or not, every five minutes.
const AVOID_MAX: Duration = Duration::from_secs(300);
/// The longest Retry-After that is followed (TDR-FO-002 has one second): one wrong header is not to
/// take a trunk away for an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Endpoints that are remembered; beyond it failures are not, and cost each call their silence.
const REMEMBERED_MAX: usize = 4_096;

/// What new calls hold against endpoints.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    failed: HashMap<Key, Failed>,
    resting: HashMap<(Arc<str>, Place), Instant>,
}

type Key = (Arc<str>, SocketAddr);

/// What of a target a pause is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// One endpoint.
    Address(SocketAddr),
    /// All of a name.
    Name(Arc<str>),
}

#[derive(Debug)]
struct Failed {
    until: Instant,
    in_a_row: u32,
}

/// How a new call regards an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is tried in its turn.
    Good,
    /// It failed a moment ago: it is tried last.
    Failed,
    /// It has asked for a pause: it is not tried (RFC 3261, 21.5.4).
    Resting,
}

impl Endpoints {
    /// It was silent, refused the connection or could not be reached.
    pub(crate) fn failed(&mut self, now: Instant, target: &Target) {
        let key = key(target);
        if self.failed.len() >= REMEMBERED_MAX && !self.failed.contains_key(&key) {
            self.failed.retain(|_, failed| failed.until > now);
            if self.failed.len() >= REMEMBERED_MAX {
                return;
            }
        }
        let failed = self.failed.entry(key).or_insert(Failed { until: now, in_a_row: 0 });
        let doubled = AVOID_MIN.saturating_mul(1 << failed.in_a_row.min(16));
        failed.until = now + doubled.min(AVOID_MAX);
        failed.in_a_row = failed.in_a_row.saturating_add(1);
    }

    /// It has said something.
    pub(crate) fn heard(&mut self, target: &Target) {
        if !self.failed.is_empty() {
            self.failed.remove(&key(target));
        }
    }

    /// It has answered 503 with this Retry-After. One of Microsoft's names is a region, and what one
    /// of its proxies says is true of all (TDR-FO-002); a carrier's endpoint speaks for itself.
    pub(crate) fn rests(
        &mut self,
        now: Instant,
        target: &Target,
        kind: TrunkKind,
        retry_after: Duration,
    ) {
        self.resting.retain(|_, until| *until > now);
        if self.resting.len() < REMEMBERED_MAX {
            let place = match (kind, &target.server_name) {
                (TrunkKind::Teams, Some(name)) => Place::Name(Arc::clone(name)),
                _ => Place::Address(target.address),
            };
            let until = now + retry_after.min(RETRY_AFTER_MAX);
            self.resting.insert((Arc::clone(&target.trunk), place), until);
        }
    }

    /// How much is left of the pause that it has asked for.
    pub(crate) fn rest_left(&self, now: Instant, target: &Target) -> Option<Duration> {
        let name = target.server_name.clone().map(Place::Name);
        let places = [Some(Place::Address(target.address)), name].into_iter().flatten();
        let until = places
            .filter_map(|place| self.resting.get(&(Arc::clone(&target.trunk), place)))
            .max()?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// How a new call regards it.
    pub(crate) fn standing(&self, now: Instant, target: &Target) -> Standing {
        if self.failed.is_empty() && self.resting.is_empty() {
            return Standing::Good;
        }
        if self.rest_left(now, target).is_some() {
            Standing::Resting
        } else if self.failed.get(&key(target)).is_some_and(|failed| failed.until > now) {
            Standing::Failed
        } else {
            Standing::Good
        }
    }
}

fn key(target: &Target) -> Key {
    (Arc::clone(&target.trunk), target.address)
}

impl Hop {
    /// Where it leads, as far as failures are remembered.
    pub(crate) fn endpoint(&self) -> Target {
        match self {
            Self::Target(target) => target.clone(),
            Self::Flow { flow, .. } => Target {
                trunk: Arc::clone(&flow.trunk),
                listener: Arc::clone(&flow.listener),
                transport: flow.transport,
                address: flow.remote,
                server_name: None,
                own_name: None,
            },
        }
    }
}

impl Core {
    /// Where a target is, as far as that is known: an address, `[resolve]`, or the last good answer of
    /// DNS.
    fn located(&self, plan: &Plan, trunk: usize, target: &TargetName) -> Option<Arc<Located>> {
        let sought = Sought::of(plan, trunk, target)?;
        let literal = target.host.parse::<IpAddr>().ok();
        let fixed = literal.as_ref().map(std::slice::from_ref);
        let fixed = fixed.or_else(|| plan.resolve.get(&target.host).map(Vec::as_slice));
        match fixed {
            Some(addresses) => Some(Arc::new(Located::fixed(&sought, addresses))),
            None => self.names.get(&sought).cloned(),
        }
    }

    /// The endpoints of a target in the order a new request tries them: as drawn, those that failed
    /// lately after the others.
    pub(crate) fn endpoints(
        &mut self,
        plan: &Plan,
        trunk: usize,
        target: &TargetName,
    ) -> Vec<Target> {
        let Some(located) = self.located(plan, trunk, target) else { return Vec::new() };
        let drawn = located.draw(&mut self.rng);
        let mut endpoints: Vec<Target> = drawn
            .into_iter()
            .filter_map(|address| endpoint(plan, trunk, target, address))
            .collect();
        let now = self.now.mono;
        endpoints.sort_by_key(|to| self.endpoints.standing(now, to) != Standing::Good);
        endpoints
    }

    /// The endpoint of a target that a request of no call goes to first.
    pub(crate) fn target(
        &mut self,
        plan: &Plan,
        trunk: usize,
        target: &TargetName,
    ) -> Option<Target> {
        self.endpoints(plan, trunk, target).into_iter().next()
    }

    /// Every address of a target, as the records have them: nothing is drawn.
    pub(crate) fn addresses(
        &self,
        plan: &Plan,
        trunk: usize,
        target: &TargetName,
    ) -> Vec<SocketAddr> {
        let located = self.located(plan, trunk, target);
        located.map_or_else(Vec::new, |located| located.endpoints().collect())
    }

    /// The same as places to send to.
    pub(crate) fn fixed_order(
        &self,
        plan: &Plan,
        trunk: usize,
        target: &TargetName,
    ) -> Vec<Target> {
        let addresses = self.addresses(plan, trunk, target).into_iter();
        addresses.filter_map(|address| endpoint(plan, trunk, target, address)).collect()
    }

    /// The endpoint of `trunk` that a request of no new call goes to, where nothing better is known.
    pub(crate) fn first_target(&self, plan: &Plan, trunk: usize) -> Option<Target> {
        let of = plan.trunks.get(trunk)?;
        let up = of.targets.iter().filter(|target| self.health.is_up(&of.name, target, None));
        let mut all = up.chain(&of.targets);
        all.find_map(|target| self.fixed_order(plan, trunk, target).into_iter().next())
    }
}

/// An address of a target as a place to send to. The certificate has to carry the name as configured,
/// wherever SRV led (RFC 5922, 4). No certificate names an address that few authorities sign for: where
/// the target is one, the name is the first that the trunk's peer is known by.
fn endpoint(plan: &Plan, trunk: usize, target: &TargetName, address: SocketAddr) -> Option<Target> {
    let trunk = plan.trunks.get(trunk)?;
    let listener = plan.listeners.get(trunk.listener)?;
    Some(Target {
        trunk: trunk.name.as_str().into(),
        listener: listener.name.as_str().into(),
        transport: listener.transport,
        address,
        server_name: Some(
            trunk
                .peer_names
                .first()
                .filter(|_| target.host.parse::<IpAddr>().is_ok())
                .unwrap_or(&target.host)
                .as_str()
                .into(),
        ),
        own_name: None,
    })
}
