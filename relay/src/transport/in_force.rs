//! What is in force of a configuration in transports: its listeners, and whose connections stay under another.

use super::admission::{
    Bound, CONNECTIONS_PER_LISTENER_MAX, HANDSHAKES_PER_LISTENER_MAX, InForce, Leaving, Socket,
    Sources,
};
use super::flow::{Open, Origin};
use super::{LEAVING_MAX, Runtimes, Shared, StartError, clock, tcp, tls, udp};
use b2bua::plan::{Listener, Plan, Transport};
use certs::Identities;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

impl InForce {
    /// Makes TLS and sockets for `plan`; sockets that are `bound` already are taken over.
    pub(super) fn new(
        plan: Arc<Plan>,
        identities: Identities,
        before: Option<&Self>,
        stayed: &[Arc<Bound>],
    ) -> Result<Self, StartError> {
        for listener in plan.listeners.iter().filter(|it| it.transport == Transport::Tls) {
            let certificate = listener.certificate.as_deref().unwrap_or_default();
            if identities.named(certificate).is_none() {
                return Err(StartError::NoCertificate {
                    listener: listener.name.clone(),
                    certificate: certificate.to_owned(),
                });
            }
        }
        let same = |old: &&Self| {
            old.plan.trunks.is(&plan.trunks) && old.plan.listeners.is(&plan.listeners)
        };
        // Where only tenants change, roots are not read again.
        let tls = match before.filter(same) {
            Some(old) => Arc::clone(&old.tls),
            None => Arc::new(tls::Tls::new(&plan)?),
        };
        let none = HashMap::new();
        let bound = before.map_or(&none, |old| &old.listeners);
        let mut listeners = HashMap::new();
        for (index, listener) in plan.listeners.iter().enumerate() {
            let kept = bound.get(listener.name.as_str()).map(|(_, bound)| bound);
            let bound = match kept.filter(|bound| bound.is(listener)) {
                Some(kept) => Arc::clone(kept),
                None => {
                    let others = bound.values().map(|(_, bound)| bound);
                    Arc::new(Bound::new(listener, others.chain(stayed))?)
                }
            };
            listeners.insert(Arc::from(listener.name.as_str()), (index, bound));
        }
        let trunks = plan.trunks.iter().map(|trunk| Arc::from(trunk.name.as_str())).collect();
        let leaving = before.map(|old| old.leaving(&plan, &listeners)).unwrap_or_default();
        Ok(Self { plan, identities, listeners, trunks, tls, leaving })
    }

    /// Listeners that are no more in `plan`, and those that had gone before and are not done.
    fn leaving(
        &self,
        plan: &Plan,
        listeners: &HashMap<Arc<str>, (usize, Arc<Bound>)>,
    ) -> HashMap<Arc<str>, Arc<Leaving>> {
        let now = clock::now().mono;
        let mut leaving = self.leaving.clone();
        for (name, (index, bound)) in &self.listeners {
            if plan.listeners.iter().any(|listener| *listener.name == **name) {
                continue;
            }
            let trunks = self.plan.trunks.iter().filter(|trunk| trunk.listener == *index);
            let again = listeners.values().any(|(_, other)| other.serves(bound));
            let one = Leaving {
                transport: bound.transport,
                datagrams: (bound.transport == Transport::Udp && !again).then(|| Arc::clone(bound)),
                trunks: trunks.map(|it| (it.name.as_str().into(), it.sources.clone())).collect(),
                until: now + LEAVING_MAX,
            };
            leaving.insert(Arc::clone(name), Arc::new(one));
        }
        leaving.retain(|name, one| one.until > now && !listeners.contains_key(name));
        leaving
    }

    /// Whether a listener has this one's address.
    pub(super) fn serves(&self, bound: &Bound) -> bool {
        self.listeners.values().any(|(_, other)| other.serves(bound))
    }

    /// The same plan with every door closed.
    pub(super) fn closed(&self) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            identities: self.identities.clone(),
            listeners: HashMap::new(),
            trunks: Vec::new(),
            tls: Arc::new(tls::Tls::none()),
            leaving: HashMap::new(),
        }
    }

    /// Whether a flow that was accepted or opened under `old` may go on.
    pub(super) fn keeps(&self, old: &Self, open: &Open, now: SystemTime) -> bool {
        let flow = &open.flow;
        let Some(trunk) = self.plan.trunk_named(&flow.trunk) else { return false };
        let Some((listener, bound)) = self.listeners.get(&flow.listener) else {
            // Its calls go on over it until it is closed.
            let left = self.leaving.get(&flow.listener);
            return left.is_some_and(|left| left.transport == flow.transport);
        };
        let admitted = match &open.origin {
            Origin::Opened(..) => self.plan.trunks[trunk].listener == *listener,
            Origin::Accepted => self
                .admit(&flow.listener, flow.remote.ip())
                .is_some_and(|admitted| admitted.trunk == flow.trunk),
        };
        let believed = old.plan.trunk_named(&flow.trunk).and_then(|trunk| old.tls.trust(trunk));
        let still_believed = || match (self.tls.trust(trunk), &open.secured) {
            (Some(trust), Some(secured)) if !secured.peer.is_empty() => {
                trust.believes(&secured.peer, open.origin.dialled().as_deref(), now)
            }
            _ => false,
        };
        admitted
            && bound.transport == flow.transport
            && (self.tls.trust(trunk) == believed || still_believed())
    }
}

impl Bound {
    /// Binds `listener`. If its address is bound already under another name or transport, that
    /// socket is shared, so that no connection is lost in between.
    fn new<'a>(
        listener: &Listener,
        mut others: impl Iterator<Item = &'a Arc<Self>>,
    ) -> Result<Self, StartError> {
        let udp = listener.transport == Transport::Udp;
        let failed = |error| StartError::Bind {
            listener: listener.name.clone(),
            transport: listener.transport,
            address: listener.bind,
            error,
        };
        let shared = others.find(|other| {
            let same_kind = (other.transport == Transport::Udp) == udp;
            same_kind && other.bind == listener.bind && listener.bind.port() != 0
        });
        let socket = match shared {
            Some(other) => other.socket.try_clone(),
            None if udp => udp::bind(listener.bind).map(Socket::Udp),
            None => tcp::bind(listener.bind).map(Socket::Stream),
        };
        let socket = socket.map_err(failed)?;
        Ok(Self {
            transport: listener.transport,
            bind: listener.bind,
            local: socket.local_addr().map_err(failed)?,
            socket,
            task: OnceLock::new(),
            connections: Sources::new(CONNECTIONS_PER_LISTENER_MAX),
            handshakes: Sources::new(HANDSHAKES_PER_LISTENER_MAX),
        })
    }

    /// Whether it has the other one's address.
    fn serves(&self, other: &Self) -> bool {
        let udp = |bound: &Self| bound.transport == Transport::Udp;
        self.local == other.local && udp(self) == udp(other)
    }

    fn is(&self, listener: &Listener) -> bool {
        self.transport == listener.transport && self.bind == listener.bind
    }

    pub(super) fn serve(&self, shared: &Arc<Shared>, name: &Arc<str>) -> std::io::Result<()> {
        if self.task.get().is_some() {
            return Ok(());
        }
        let (shared, name) = (Arc::clone(shared), Arc::clone(name));
        let Runtimes { core, handshakes } = shared.runtimes.clone();
        let task = match self.socket.try_clone()? {
            Socket::Udp(socket) => {
                let _here = core.enter();
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                tokio::spawn(udp::receive(shared, name, socket))
            }
            Socket::Stream(socket) => {
                let _here = handshakes.enter();
                let socket = tokio::net::TcpListener::from_std(socket)?;
                tokio::spawn(tcp::accept(shared, name, socket))
            }
        };
        let _ = self.task.set(task.abort_handle());
        Ok(())
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    pub(super) fn error(&self, name: &str, error: std::io::Error) -> StartError {
        StartError::Bind {
            listener: name.to_owned(),
            transport: self.transport,
            address: self.bind,
            error,
        }
    }
}

impl Socket {
    fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Udp(socket) => Self::Udp(socket.try_clone()?),
            Self::Stream(socket) => Self::Stream(socket.try_clone()?),
        })
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Stream(socket) => socket.local_addr(),
        }
    }
}
