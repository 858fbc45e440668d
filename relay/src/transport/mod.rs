//! SIP on the wire: UDP, TCP and TLS listeners, connections to targets, and who may speak at all.
//!
//! What the core has to say goes through [`Transports::send`], which never waits; what comes in
//! arrives as [`Event`]s, only from peers that were accepted. A stranger gets no answer: outside
//! `sources` a connection is closed before TLS and a datagram is dropped; inside, a failed peer check
//! ends TLS with an alert. Each refusal is counted with its reason.

mod admission;
mod events;
mod flow;
mod in_force;
mod knocks;
mod renewal;
mod stream;
mod tcp;
mod tls;
mod udp;
mod via;

use crate::alarms::Alarms;
use crate::clock;
use admission::{Bound, InForce};
use arc_swap::ArcSwap;
use b2bua::io::{Flow, FlowId, Hop, Target};
use b2bua::plan::{Plan, Transport};
use bytes::Bytes;
use certs::Identities;
use events::Lanes;
pub use events::{Event, Events, begins};
use flow::{Flows, Outgoing, PoolKey, Pooled};
use knocks::Knocks;
use sip_core::transaction::ClientId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tcp::Way;
pub(crate) use tls::load as load_roots;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

/// A plan that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("listener \"{listener}\" cannot use {} {address}: {error}", transport.param())]
    Bind {
        /// The listener.
        listener: String,
        /// Its transport.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The listener's certificate is not there.
    #[error("listener \"{listener}\" needs certificate \"{certificate}\", which is not loaded")]
    NoCertificate {
        /// The listener.
        listener: String,
        /// The certificate it names.
        certificate: String,
    },
    /// The trunk's roots cannot be loaded.
    #[error("roots of trunk \"{trunk}\": {source}")]
    Roots {
        /// The trunk.
        trunk: String,
        /// Why.
        source: certs::FileError,
    },
    /// The trunk's TLS cannot be set up.
    #[error("TLS of trunk \"{trunk}\": {source}")]
    Tls {
        /// The trunk.
        trunk: String,
        /// Why.
        source: certs::ConfigError,
    },
}

/// All transports of the host; clones are handles to the same. Methods that open sockets are called
/// inside a tokio runtime.
#[derive(Clone)]
pub struct Transports {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Transports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transports").field("open_flows", &self.open_flows()).finish_non_exhaustive()
    }
}

/// How long datagrams still come in on a port that calls were told and no listener has any more.
const LEAVING_MAX: Duration = Duration::from_secs(3600);

/// Before a failing accept or receive is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all tasks of the transport share.
struct Shared {
    force: ArcSwap<InForce>,
    /// Held while a plan is put in force: sockets that stay a while for calls that were told them.
    applying: Mutex<Vec<Weak<Bound>>>,
    flows: Flows,
    alarms: Alarms,
    /// When a peer of a trunk was last refused in TLS.
    refusals: Mutex<HashMap<String, Instant>>,
    /// Who is going to knock, and is no peer.
    knocks: Knocks,
    /// Connections that are running.
    live: watch::Sender<usize>,
    core: Lanes,
    runtimes: Runtimes,
}

/// Where the tasks of the transport run.
#[derive(Clone, Debug)]
pub struct Runtimes {
    /// Datagrams, and connections that are open: best on the thread of the core, as each message would
    /// otherwise wake two.
    pub core: Handle,
    /// Connections that are to be: best on other threads, as a TLS handshake computes for a millisecond.
    pub handshakes: Handle,
}

impl Runtimes {
    /// The runtime that is current, for both.
    pub fn current() -> Self {
        Self { core: Handle::current(), handshakes: Handle::current() }
    }
}

impl Transports {
    /// Binds all listeners of `plan` and serves them on the current runtime.
    pub fn start(plan: Arc<Plan>, identities: Identities) -> Result<(Self, Events), StartError> {
        Self::start_on(Runtimes::current(), plan, identities, Alarms::default())
    }

    /// [`Self::start`], on these runtimes; what an operator should see is raised at `alarms`.
    pub fn start_on(
        runtimes: Runtimes,
        plan: Arc<Plan>,
        identities: Identities,
        alarms: Alarms,
    ) -> Result<(Self, Events), StartError> {
        let (core, events) = events::lanes();
        let force = InForce::new(plan, identities, None, &[])?;
        let shared = Arc::new(Shared {
            force: ArcSwap::from_pointee(force),
            applying: Mutex::default(),
            flows: Flows::new(),
            alarms,
            refusals: Mutex::default(),
            knocks: Knocks::default(),
            live: watch::Sender::new(0),
            core,
            runtimes,
        });
        let transports = Self { shared };
        transports.serve()?;
        Ok((transports, events))
    }

    /// Puts another plan and other identities in force, in one step: for what comes in from now on, and
    /// for open flows, which are closed if their source or listener is no longer as it was, or their
    /// far side would not be believed any more. Those on which we have shown a certificate that is none
    /// of ours any more are opened anew, and close when they are quiet (TDR-CRT-007). On error nothing
    /// changes.
    pub fn apply(&self, plan: Arc<Plan>, identities: Identities) -> Result<(), StartError> {
        let shared = &self.shared;
        let mut staying = shared.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let stayed: Vec<Arc<Bound>> = staying.iter().filter_map(Weak::upgrade).collect();
        let old = shared.force.load_full();
        let new = Arc::new(InForce::new(plan, identities, Some(&old), &stayed)?);
        shared.force.store(Arc::clone(&new));
        if let Err(error) = self.serve() {
            shared.force.store(Arc::clone(&old));
            for (name, (_, bound)) in &new.listeners {
                if !old.bound(name).is_some_and(|kept| Arc::ptr_eq(kept, bound)) {
                    bound.stop();
                }
            }
            return Err(error);
        }
        // Whose address is a listener's again is done: one of them takes in what comes.
        for bound in stayed.iter().filter(|bound| new.serves(bound)) {
            bound.stop();
        }
        staying.retain(|bound| bound.upgrade().is_some_and(|bound| !new.serves(&bound)));
        for (name, (_, bound)) in &old.listeners {
            if !new.bound(name).is_some_and(|kept| Arc::ptr_eq(kept, bound)) {
                match bound.transport == Transport::Udp && !new.serves(bound) {
                    // Calls were told this port.
                    true => {
                        staying.push(Arc::downgrade(bound));
                        self.stop_later(Arc::clone(bound));
                    }
                    false => bound.stop(),
                }
            }
        }
        let now = clock::now().wall;
        shared.flows.retain(|open| new.keeps(&old, open, now));
        shared.forget_refusals(|trunk, _| {
            let trust =
                |force: &InForce| Some(force.tls.trust(force.plan.trunk_named(trunk)?)?.clone());
            trust(&old).is_some_and(|old| trust(&new) == Some(old))
        });
        if old.identities != new.identities {
            shared.renew(&new);
        }
        Ok(())
    }

    fn stop_later(&self, bound: Arc<Bound>) {
        self.shared.runtimes.core.spawn(async move {
            tokio::time::sleep(LEAVING_MAX).await;
            bound.stop();
        });
    }

    /// Sends `bytes`. Never waits: what cannot be queued or sent comes back as
    /// [`Event::SendFailed`], if `client` names a transaction.
    pub fn send(&self, hop: Hop, bytes: Bytes, client: Option<ClientId>) {
        let shared = &self.shared;
        match hop {
            Hop::Target(target) => {
                shared.send_to(target, Outgoing { bytes, client, otherwise: None });
            }
            Hop::Flow { flow, otherwise: Some(target) } if shared.shows_another(&flow, &target) => {
                shared.send_to(target, Outgoing { bytes, client, otherwise: None });
            }
            Hop::Flow { flow, otherwise } => {
                let outgoing = Outgoing { bytes, client, otherwise: otherwise.map(Box::new) };
                if flow.transport == Transport::Udp {
                    return udp::send(shared, &flow.listener, flow.remote, outgoing);
                }
                match shared.flows.queue(flow.id, outgoing) {
                    Ok(()) => {}
                    Err(TrySendError::Closed(outgoing)) => {
                        shared.elsewhere(outgoing, "the flow is closed");
                    }
                    Err(TrySendError::Full(outgoing)) => shared.full(outgoing, flow.remote),
                }
            }
        }
    }

    /// Sends what is queued for a connection, then closes it. What is sent to its far side from now on
    /// opens another.
    pub fn close(&self, flow: FlowId) {
        self.shared.flows.remove(flow);
    }

    /// The alternative names in the certificate that the far side of a connection has shown; `None` if
    /// it is closed, or not TLS.
    pub(crate) fn peer_names(&self, flow: FlowId) -> Option<Vec<String>> {
        self.shared.flows.peer_names(flow)
    }

    /// A tool of ours is going to connect from one of these addresses: it is refused like anybody, and not
    /// counted. `false`: too many are expected already.
    pub fn expect_knock(&self, from: &[SocketAddr]) -> bool {
        self.shared.knocks.expect(clock::now().mono, from)
    }

    /// The address a listener is bound to.
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.shared.force.load().bound(listener).map(|bound| bound.local)
    }

    /// How many connections are open or being opened.
    pub fn open_flows(&self) -> usize {
        self.shared.flows.len()
    }

    /// Takes nothing in any more, sends what is queued, and closes; what is not done by `deadline`
    /// is left behind.
    pub async fn shutdown(&self, deadline: Duration) {
        {
            let shared = &self.shared;
            let _one = shared.applying.lock().unwrap_or_else(PoisonError::into_inner);
            let old = shared.force.load_full();
            shared.force.store(Arc::new(old.closed()));
            for (_, bound) in old.listeners.values() {
                bound.stop();
            }
            shared.flows.retain(|_| false);
        }
        let mut live = self.shared.live.subscribe();
        let done = live.wait_for(|live| *live == 0);
        if tokio::time::timeout(deadline, done).await.is_err() {
            tracing::warn!("some connections were closed with messages still queued");
        }
    }

    /// Starts the tasks of listeners that are new.
    fn serve(&self) -> Result<(), StartError> {
        let force = self.shared.force.load();
        for (name, (_, bound)) in &force.listeners {
            bound.serve(&self.shared, name).map_err(|error| bound.error(name, error))?;
        }
        Ok(())
    }
}

impl Shared {
    /// Sends over a flow that is open to `target`, or over one that is opened for it.
    fn send_to(self: &Arc<Self>, target: Target, outgoing: Outgoing) {
        if target.transport == Transport::Udp {
            return udp::send(self, &target.listener, target.address, outgoing);
        }
        match Way::to(&self.force.load(), &target) {
            Ok(way) => self.send_by(way, target, Some(outgoing)),
            Err(why) => self.fail(outgoing.client, || why),
        }
    }

    /// Sends over a flow that is open that way, or opens one.
    fn send_by(self: &Arc<Self>, way: Way, target: Target, outgoing: Option<Outgoing>) {
        let shown = way.shown();
        let own_name = target.own_name.clone();
        let certificate = shown.as_ref().map(|shown| shown.fingerprint());
        let target = Target { own_name: None, ..target };
        let key = PoolKey { target: target.clone(), certificate };
        match self.flows.pooled(key, own_name, shown, outgoing) {
            Pooled::Queued => {}
            Pooled::Full(outgoing) => self.full(outgoing, target.address),
            Pooled::TooMany(outgoing) => {
                let client = outgoing.and_then(|outgoing| outgoing.client);
                self.fail(client, || "too many connections are open".to_owned());
            }
            Pooled::New(flow, queue, permit) => {
                // Counted from now on: a shutdown waits for what is queued on it.
                let live = self.live();
                let shared = Arc::clone(self);
                self.runtimes.handshakes.spawn(async move {
                    let (_permit, _live) = (permit, live);
                    tcp::dial(shared, flow, target, way, queue).await;
                });
            }
        }
    }

    /// Reports that a request could not be sent.
    fn fail(&self, client: Option<ClientId>, why: impl FnOnce() -> String) {
        let Some(client) = client else { return };
        self.core.failed(client, why());
    }

    fn full(&self, outgoing: Outgoing, remote: SocketAddr) {
        tracing::warn!(%remote, "far side does not take its messages");
        self.fail(outgoing.client, || format!("queue to {remote} is full"));
    }

    /// Sends another way what could not be sent over its flow, or reports it.
    fn elsewhere(self: &Arc<Self>, outgoing: Outgoing, why: &str) {
        let Outgoing { bytes, client, otherwise } = outgoing;
        match otherwise {
            Some(target) => self.send_to(*target, Outgoing { bytes, client, otherwise: None }),
            None => self.fail(client, || why.to_owned()),
        }
    }

    /// Takes a flow out and sends what it has queued elsewhere, or reports it.
    async fn close(self: &Arc<Self>, flow: &Flow, mut queue: mpsc::Receiver<Outgoing>, why: &str) {
        self.flows.remove(flow.id);
        queue.close();
        while let Some(outgoing) = queue.recv().await {
            self.elsewhere(outgoing, why);
        }
    }

    /// Counts a running connection as long as the guard lives.
    fn live(self: &Arc<Self>) -> Live {
        self.live.send_modify(|live| *live += 1);
        Live { shared: Arc::clone(self) }
    }
}

struct Live {
    shared: Arc<Shared>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.live.send_modify(|live| *live -= 1);
    }
}

/// Counts a peer that was turned away.
fn refused(listener: &str, reason: &'static str) {
    let listener = listener.to_owned();
    metrics::counter!("tollgate_peer_refusals_total", "listener" => listener, "reason" => reason)
        .increment(1);
}

/// Counts a message that was dropped.
fn discarded(reason: &'static str) {
    metrics::counter!("tollgate_sip_discards_total", "reason" => reason).increment(1);
}
