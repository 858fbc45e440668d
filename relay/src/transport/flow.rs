//! The flows that are open: found by number for answers, by target for requests.

use super::tls::Secured;
use b2bua::io::{Flow, FlowId, Target};
use bytes::Bytes;
use certs::Identity;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use sip_core::transaction::ClientId;
use sip_core::{Message, Method};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
    /// We, for requests that find it by this key; the first of them went by this name of ours.
    Opened(PoolKey, Option<Arc<str>>),
}

impl Origin {
    /// The name or address that its certificate had to carry, where we dialled.
    pub(super) fn dialled(&self) -> Option<String> {
        let Self::Opened(PoolKey { target, .. }, _) = self else { return None };
        let address = || target.address.ip().to_string();
        Some(target.server_name.as_deref().map_or_else(address, str::to_owned))
    }
}

/// One open connection.
pub(super) struct Open {
    pub(super) flow: Flow,
    pub(super) origin: Origin,
    /// What TLS was built on.
    pub(super) secured: Option<Secured>,
    queue: mpsc::Sender<Outgoing>,
    /// Messages that have gone in and out: whether there have been any is what is asked.
    messages: AtomicU32,
    /// It closes when nobody needs it any more, which OPTIONS do not: what is under way on it since.
    retires: OnceLock<Mutex<UnderWay>>,
}

impl Open {
    fn new(
        flow: Flow,
        origin: Origin,
        secured: Option<Secured>,
        queue: mpsc::Sender<Outgoing>,
    ) -> Self {
        let (messages, retires) = (AtomicU32::new(0), OnceLock::new());
        Self { flow, origin, secured, queue, messages, retires }
    }

    fn count<M: Borrow<Message>>(&self, message: impl FnOnce() -> Option<M>) {
        if let Some(under_way) = self.retires.get()
            && let Some(message) = message()
        {
            if is_keepalive(message.borrow()) {
                return;
            }
            under_way.lock().unwrap_or_else(PoisonError::into_inner).note(message.borrow());
        }
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests, of either side, that wait for their final response: by branch and method, as a CANCEL has
/// the branch of its INVITE (RFC 3261, 17.1.3).
#[derive(Default)]
struct UnderWay(HashSet<(Bytes, Method)>);

/// Those that are remembered of one connection; what is beyond does not keep it.
const UNDER_WAY_MAX: usize = 4_096;

impl UnderWay {
    fn note(&mut self, message: &Message) {
        let headers = message.headers();
        let Some(branch) = headers.top_via().branch() else { return };
        let key = (Bytes::copy_from_slice(branch), headers.cseq().method);
        match message {
            Message::Request(request) if request.method == Method::Ack => {}
            Message::Request(_) if self.0.len() < UNDER_WAY_MAX => drop(self.0.insert(key)),
            Message::Request(_) => {}
            Message::Response(response) if response.status >= 200 => drop(self.0.remove(&key)),
            Message::Response(_) => {}
        }
    }
}

/// Whether a message asks nothing but whether somebody is there, or answers that.
fn is_keepalive(message: &Message) -> bool {
    message.headers().cseq().method == Method::Options
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
    TooMany(Option<Outgoing>),
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
    pub(super) fn accept(&self, flow: Flow, secured: Option<Secured>) -> mpsc::Receiver<Outgoing> {
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        self.open.insert(flow.id, Open::new(flow, Origin::Accepted, secured, queue));
        outgoing
    }

    /// The handshake of a flow that we opened is done.
    pub(super) fn secure(&self, id: FlowId, secured: Secured) {
        if let Some(mut open) = self.open.get_mut(&id) {
            open.secured = Some(secured);
        }
    }

    /// Queues `outgoing` on the flow that `key` names, which is entered if there is none. Without
    /// anything to send, it is only seen to that there is one.
    pub(super) fn pooled(
        &self,
        key: PoolKey,
        own_name: Option<Arc<str>>,
        shown: Option<Arc<Identity>>,
        mut outgoing: Option<Outgoing>,
    ) -> Pooled {
        let entry = self.pool.entry(key);
        if let Entry::Occupied(found) = &entry {
            match outgoing.take() {
                None if self.is_open(*found.get()) => return Pooled::Queued,
                None => {}
                Some(first) => match self.queue(*found.get(), first) {
                    Ok(()) => return Pooled::Queued,
                    Err(TrySendError::Full(back)) => return Pooled::Full(back),
                    Err(TrySendError::Closed(back)) => outgoing = Some(back),
                },
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
        if let Some(outgoing) = outgoing
            && let Err(TrySendError::Full(back) | TrySendError::Closed(back)) =
                queue.try_send(outgoing)
        {
            return Pooled::Full(back); // Never: it is the first.
        }
        let origin = Origin::Opened(entry.key().clone(), own_name);
        let secured = shown.map(|shown| Secured { shown, peer: Vec::new() });
        self.open.insert(flow.id, Open::new(flow.clone(), origin, secured, queue));
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
            Some(open) => {
                open.count(|| Message::parse(outgoing.bytes.clone()).ok());
                open.queue.try_send(outgoing)
            }
            None => Err(TrySendError::Closed(outgoing)),
        }
    }

    /// Whether the flow is still open.
    fn is_open(&self, id: FlowId) -> bool {
        self.open.contains_key(&id)
    }

    /// The flow hands a message in; whether it may still.
    pub(super) fn hands_in(&self, id: FlowId, message: &Message) -> bool {
        let open = self.open.get(&id);
        open.inspect(|open| open.count(|| Some(message))).is_some()
    }

    /// From now on OPTIONS are not counted on a flow, as a far side sends them for as long as it is open,
    /// and what is under way on it is known.
    pub(super) fn retires(&self, id: FlowId) {
        if let Some(open) = self.open.get(&id) {
            open.retires.get_or_init(Mutex::default);
        }
    }

    /// Whether a request that has come or gone on a flow since it retires waits for its final response.
    pub(super) fn is_under_way(&self, id: FlowId) -> bool {
        self.open.get(&id).is_some_and(|open| {
            let under_way = open.retires.get();
            under_way
                .is_some_and(|it| !it.lock().unwrap_or_else(PoisonError::into_inner).0.is_empty())
        })
    }

    /// How many messages have gone in and out on a flow, round about; `None` if it is closed.
    pub(super) fn messages(&self, id: FlowId) -> Option<u32> {
        self.open.get(&id).map(|open| open.messages.load(Ordering::Relaxed))
    }

    /// What we have shown on a flow; `None` if it is closed, or not TLS.
    pub(super) fn shown(&self, id: FlowId) -> Option<Arc<Identity>> {
        Some(Arc::clone(&self.open.get(&id)?.secured.as_ref()?.shown))
    }

    /// The names in the certificate that the far side of a flow has shown; `None` if it is closed, or
    /// not TLS.
    pub(super) fn peer_names(&self, id: FlowId) -> Option<Vec<String>> {
        let certificate = self.open.get(&id)?.secured.as_ref()?.peer.first().cloned()?;
        Some(certs::names_of(&certificate))
    }

    /// What `look` makes of each flow.
    pub(super) fn find<T>(&self, look: impl Fn(&Open) -> Option<T>) -> Vec<T> {
        self.open.iter().filter_map(|open| look(&open)).collect()
    }

    /// Takes a flow out of those that requests find, while it goes on: another is opened for the next.
    pub(super) fn unpool(&self, id: FlowId) {
        let key = match self.open.get(&id).map(|open| open.origin.clone()) {
            Some(Origin::Opened(key, _)) => key,
            _ => return,
        };
        self.pool.remove_if(&key, |_, found| *found == id);
    }

    /// Takes a flow out.
    pub(super) fn remove(&self, id: FlowId) {
        if let Some((_, Open { origin: Origin::Opened(key, _), .. })) = self.open.remove(&id) {
            self.pool.remove_if(&key, |_, found| *found == id);
        }
    }

    /// Takes out all flows that `keep` does not want.
    pub(super) fn retain(&self, keep: impl Fn(&Open) -> bool) {
        for id in self.find(|open| (!keep(open)).then_some(open.flow.id)) {
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
