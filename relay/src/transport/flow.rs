//! The flows that are open: found by number for answers, by target for requests.

use b2bua::io::{Flow, FlowId, Target};
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use sip_core::transaction::ClientId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Octets on their way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Bytes,
    /// Whom to tell if they cannot be sent.
    pub(super) client: Option<ClientId>,
    /// Where else they may go.
    pub(super) otherwise: Option<Box<Target>>,
}

/// Messages that wait for one connection: more than a busy trunk has in flight in a round trip. A
/// far side that reads slower than this is not healthy.
pub(super) const QUEUE_MAX: usize = 256;

/// What makes an open flow fit for a request: the same far side, name and trunk, and the same
/// certificate shown by us (TDR-CON-005), so that a renewed one opens new flows (TDR-CRT-007).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) target: Target,
    pub(super) certificate: Option<[u8; 32]>,
}

/// Who opened a flow.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The far side.
    Accepted,
    /// We, for requests that find it by this key.
    Opened(PoolKey),
}

struct Open {
    flow: Flow,
    origin: Origin,
    queue: mpsc::Sender<Outgoing>,
}

/// All open connections. A flow that is taken out of here gets no more messages, hands none in,
/// sends what it has queued and closes.
pub(super) struct Flows {
    next: AtomicU64,
    open: DashMap<FlowId, Open>,
    pool: DashMap<PoolKey, FlowId>,
    opened: Arc<Semaphore>,
}

/// Connections that we have opened or are opening: several to each address of each trunk.
const OPENED_MAX: usize = 2_048;

/// A flow was opened or found, or why not.
pub(super) enum Pooled {
    /// The message is queued on a flow that was open.
    Queued,
    /// It is the first on this new flow, which is now to be connected.
    New(Flow, mpsc::Receiver<Outgoing>, OwnedSemaphorePermit),
    /// The flow's queue is full.
    Full(Outgoing),
    /// No more flows may be opened.
    TooMany(Outgoing),
}

impl Flows {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU64::new(1),
            open: DashMap::new(),
            pool: DashMap::new(),
            opened: Arc::new(Semaphore::new(OPENED_MAX)),
        }
    }

    /// A number that was never given before.
    pub(super) fn number(&self) -> FlowId {
        FlowId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Enters a flow that the far side opened.
    pub(super) fn accept(&self, flow: Flow) -> mpsc::Receiver<Outgoing> {
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        self.open.insert(flow.id, Open { flow, origin: Origin::Accepted, queue });
        outgoing
    }

    /// Queues `outgoing` on the flow that `key` names, which is entered if there is none.
    pub(super) fn pooled(&self, key: PoolKey, mut outgoing: Outgoing) -> Pooled {
        let entry = self.pool.entry(key);
        if let Entry::Occupied(found) = &entry {
            match self.queue(*found.get(), outgoing) {
                Ok(()) => return Pooled::Queued,
                Err(TrySendError::Full(back)) => return Pooled::Full(back),
                Err(TrySendError::Closed(back)) => outgoing = back,
            }
        }
        let Ok(permit) = Arc::clone(&self.opened).try_acquire_owned() else {
            return Pooled::TooMany(outgoing);
        };
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let target = &entry.key().target;
        let flow = Flow {
            id: self.number(),
            listener: target.listener.clone(),
            transport: target.transport,
            remote: target.address,
            trunk: target.trunk.clone(),
        };
        if let Err(TrySendError::Full(back) | TrySendError::Closed(back)) = queue.try_send(outgoing)
        {
            return Pooled::Full(back); // Never: it is the first.
        }
        let origin = Origin::Opened(entry.key().clone());
        self.open.insert(flow.id, Open { flow: flow.clone(), origin, queue });
        entry.insert(flow.id);
        Pooled::New(flow, waiting, permit)
    }

    /// Queues `outgoing` on a flow, which may be gone.
    pub(super) fn queue(
        &self,
        id: FlowId,
        outgoing: Outgoing,
    ) -> Result<(), TrySendError<Outgoing>> {
        match self.open.get(&id) {
            Some(open) => open.queue.try_send(outgoing),
            None => Err(TrySendError::Closed(outgoing)),
        }
    }

    /// Whether the flow may still hand messages in.
    pub(super) fn is_open(&self, id: FlowId) -> bool {
        self.open.contains_key(&id)
    }

    /// Takes a flow out.
    pub(super) fn remove(&self, id: FlowId) {
        if let Some((_, Open { origin: Origin::Opened(key), .. })) = self.open.remove(&id) {
            self.pool.remove_if(&key, |_, found| *found == id);
        }
    }

    /// Takes out all flows that `keep` does not want.
    pub(super) fn retain(&self, keep: impl Fn(&Flow, &Origin) -> bool) {
        let gone: Vec<FlowId> = self
            .open
            .iter()
            .filter(|open| !keep(&open.flow, &open.origin))
            .map(|open| *open.key())
            .collect();
        for id in gone {
            self.remove(id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

/// The numbers of one UDP listener's flows. Nothing hangs on a number but its identity, so the
/// oldest may be forgotten: a far side that comes back after that gets a new one.
pub(super) struct UdpFlows {
    young: HashMap<SocketAddr, FlowId>,
    old: HashMap<SocketAddr, FlowId>,
    half: usize,
}

/// Addresses remembered by a UDP listener: two entries of 50 octets for each port of a NAT.
pub(super) const UDP_FLOWS_MAX: usize = 65_536;

impl UdpFlows {
    /// Remembers the `max` addresses used last, and at least half as many.
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (max / 2).max(1) }
    }

    /// The number of the flow from `remote`.
    pub(super) fn number(&mut self, remote: SocketAddr, flows: &Flows) -> FlowId {
        if let Some(id) = self.young.get(&remote) {
            return *id;
        }
        let id = self.old.remove(&remote).unwrap_or_else(|| flows.number());
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(remote, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_flow_keeps_its_number_while_it_is_used_and_none_is_given_twice() {
        let flows = Flows::new();
        let mut udp = UdpFlows::new(8);
        let from = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let mut given = std::collections::HashSet::new();
        let busy = udp.number(from(1), &flows);
        given.insert(busy);
        for port in 2..100 {
            assert!(given.insert(udp.number(from(port), &flows)));
            assert_eq!(udp.number(from(1), &flows), busy);
            assert!(udp.young.len() + udp.old.len() <= 8);
        }
        assert!(given.insert(udp.number(from(2), &flows)), "forgotten, so a new number");
    }
}
