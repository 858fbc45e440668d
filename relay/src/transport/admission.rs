//! Who may speak to us: the plan in force, the sockets it is served by, and how many at once.

use super::tls::Tls;
use b2bua::plan::{Cidr, Plan, Transport, TrunkKind};
use certs::Identities;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tokio::task::AbortHandle;

/// The plan with all that the transport has made of it; swapped whole.
pub(super) struct InForce {
    pub(super) plan: Arc<Plan>,
    /// What we show, of which each listener's own certificate is one.
    pub(super) identities: Identities,
    /// By name: place in the plan, and the socket.
    pub(super) listeners: HashMap<Arc<str>, (usize, Arc<Bound>)>,
    /// The plan's trunks by name, in its order.
    pub(super) trunks: Vec<Arc<str>>,
    pub(super) tls: Arc<Tls>,
    /// Listeners that are in the plan no more, and what is still open on them.
    pub(super) leaving: HashMap<Arc<str>, Arc<Leaving>>,
}

/// A listener that was removed. Nobody new comes in by it; calls that came in by it go on.
pub(super) struct Leaving {
    pub(super) transport: Transport,
    /// Its socket, if that is for datagrams: other calls have connections of their own.
    pub(super) datagrams: Option<Arc<Bound>>,
    /// Its trunks and where their messages came from.
    pub(super) trunks: Vec<(Arc<str>, Vec<Cidr>)>,
    pub(super) until: Instant,
}

/// A bound listener.
pub(super) struct Bound {
    pub(super) transport: Transport,
    /// As configured; the port may be 0.
    pub(super) bind: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) socket: Socket,
    pub(super) task: OnceLock<AbortHandle>,
    pub(super) connections: Arc<Sources>,
    pub(super) handshakes: Arc<Sources>,
}

pub(super) enum Socket {
    Udp(UdpSocket),
    Stream(TcpListener),
}

/// What a source was admitted as.
pub(super) struct Admitted {
    pub(super) trunk: Arc<str>,
    pub(super) kind: TrunkKind,
}

impl InForce {
    /// The trunk that `source` speaks for on `listener`; `None` for a stranger.
    pub(super) fn admit(&self, listener: &str, source: IpAddr) -> Option<Admitted> {
        let trunk_index = match self.listeners.get(listener) {
            Some((listener_index, _)) => self.plan.trunk_of_source(*listener_index, source)?,
            None => {
                let trunks = &self.leaving.get(listener)?.trunks;
                let of = |(_, blocks): &&(Arc<str>, Vec<Cidr>)| {
                    blocks.iter().any(|block| block.contains(source))
                };
                self.plan.trunk_named(&trunks.iter().find(of)?.0)?
            }
        };
        Some(Admitted {
            trunk: Arc::clone(self.trunks.get(trunk_index)?),
            kind: self.plan.trunks.get(trunk_index)?.kind,
        })
    }

    pub(super) fn bound(&self, listener: &str) -> Option<&Arc<Bound>> {
        self.listeners.get(listener).map(|(_, bound)| bound)
    }

    pub(super) fn udp_socket(&self, listener: &str) -> Option<&UdpSocket> {
        let leaving = || self.leaving.get(listener)?.datagrams.as_ref();
        match &self.bound(listener).or_else(leaving)?.socket {
            Socket::Udp(socket) => Some(socket),
            Socket::Stream(_) => None,
        }
    }
}

/// Connections that all sources together may have open at one listener: some ten thousand octets
/// each, so this is bounded by memory and by the file descriptors that systemd grants.
pub(super) const CONNECTIONS_PER_LISTENER_MAX: usize = 4_096;

/// Handshakes that all sources together may have under way at one listener: what a processor gets done in
/// the time that one may take. Places in it are not held by those who dawdle: there is a deadline.
pub(super) const HANDSHAKES_PER_LISTENER_MAX: usize = 2_048;

/// What one source may have open or in handshake. Microsoft opens a connection for each of its
/// proxies and at times for each transaction (TDR-CON-002, TDR-CON-009); a carrier a few.
pub(super) const fn per_source_max(kind: TrunkKind) -> PerSource {
    match kind {
        TrunkKind::Teams => PerSource { connections: 500, handshakes: 500 },
        TrunkKind::Carrier => PerSource { connections: 100, handshakes: 20 },
    }
}

/// See [`per_source_max`].
pub(super) struct PerSource {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
}

/// Counts what each source has now, within a bound over all.
pub(super) struct Sources {
    max: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One place taken; given back when dropped.
pub(super) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    /// Takes a place, if fewer than `source_max` are taken by `source`.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr, source_max: usize) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { all, by_source } = &mut *counts;
        let taken = by_source.get(&source).copied().unwrap_or(0);
        if *all >= self.max || taken >= source_max {
            return None;
        }
        *all += 1;
        by_source.insert(source, taken + 1);
        Some(Place { sources: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(taken) = counts.by_source.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-CON-002, TDR-CON-009.
    #[test]
    fn five_hundred_connections_of_one_proxy_of_microsofts_are_let_in_at_once() {
        let max = per_source_max(TrunkKind::Teams);
        let proxy: IpAddr = "52.114.75.24".parse().unwrap();
        for bound in [max.connections, max.handshakes] {
            let sources = Sources::new(HANDSHAKES_PER_LISTENER_MAX);
            let places: Vec<_> = (0..500).map_while(|_| sources.enter(proxy, bound)).collect();
            assert_eq!(places.len(), 500);
        }
    }

    #[test]
    fn one_source_at_its_bound_does_not_shut_out_another_and_places_come_back() {
        let sources = Sources::new(3);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let b: IpAddr = "192.0.2.2".parse().unwrap();
        let first = sources.enter(a, 2);
        let second = sources.enter(a, 2);
        assert!(first.is_some() && second.is_some());
        assert!(sources.enter(a, 2).is_none());
        let other = sources.enter(b, 2);
        assert!(other.is_some());
        assert!(sources.enter(b, 2).is_none(), "the bound over all");
        drop((first, second, other));
        assert!(sources.counts.lock().unwrap().by_source.is_empty());
        assert!(sources.enter(a, 2).is_some());
    }
}
