//! One shard of the back-to-back user agent: every message, timer and answer finds its owner here.

mod asked;
mod preempt;
mod requests;
mod shown;

use crate::breaker::Breakers;
use crate::call::{Asking, Call, Fate, hang_up_late};
use crate::core::{Core, Owner, TRANSACTIONS_MAX};
use crate::credentials::Signed;
use crate::drain::Drains;
use crate::endpoint::Endpoints;
use crate::io::{CallId, Event, Flow, Hop, Input, Now, Output};
use crate::locate::Sought;
use crate::microsoft::Microsoft;
use crate::nat;
use crate::overload::{self, Overload};
use crate::plan::{Plan, TrunkKind};
use crate::port_pool::PortPool;
use crate::registrar::Registrars;
use crate::registration::Registrations;
use crate::reject::Reject;
use crate::servers::Servers;
use crate::timers::{Timer, Timers};
use crate::trunk::Health;
use rand_chacha::ChaCha20Rng;
use sdp::Certificate;
use sip_core::transaction::{Event as Transaction, Layer, Share};
use sip_core::{Message, Request, Response};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The back-to-back user agent.
pub struct B2bua {
    core: Core,
    /// Each in a box: the nodes of the tree are half empty, and a call is large.
    calls: BTreeMap<CallId, Box<Call>>,
    /// Calls to be, that wait for their tenant's routing hook.
    asking: BTreeMap<CallId, Box<Asking>>,
    next_call: u64,
    stopped: bool,
}

impl B2bua {
    /// A user agent with no calls. All its randomness comes from `rng`.
    pub fn new(now: Now, plan: Arc<Plan>, rng: ChaCha20Rng) -> Self {
        Self::bounded(now, plan, rng, TRANSACTIONS_MAX)
    }

    /// The same with another bound on transactions held at once.
    pub fn bounded(now: Now, plan: Arc<Plan>, rng: ChaCha20Rng, transactions_max: usize) -> Self {
        let core = Core {
            now,
            layer: Layer::new(transactions_max),
            rng,
            certificate: None,
            outputs: VecDeque::new(),
            timers: Timers::default(),
            ports: PortPool::new(plan.media_workers),
            health: Health::default(),
            registrations: Registrations::default(),
            registrars: Registrars::default(),
            admission: crate::admission::Admission::default(),
            transcoded: crate::transcoded::Transcoded::default(),
            fraud: crate::fraud::Fraud::new(now.mono),
            callbacks: crate::callback::Callbacks::default(),
            overload: Overload::default(),
            names: HashMap::new(),
            endpoints: Endpoints::default(),
            breakers: Breakers::default(),
            closing: Vec::new(),
            clients: HashMap::new(),
            servers: Servers::default(),
            dialogs: BTreeMap::new(),
            farewells: HashMap::new(),
            failures: HashMap::new(),
            signable: HashMap::new(),
            forks: 0,
            drains: Drains::default(),
            microsoft: Microsoft::default(),
            preempting: Vec::new(),
            stopping: false,
            plan,
        };
        let mut b2bua = Self {
            core,
            calls: BTreeMap::new(),
            asking: BTreeMap::new(),
            next_call: 1,
            stopped: false,
        };
        Health::follow(&mut b2bua.core);
        Registrations::follow(&mut b2bua.core);
        Registrars::follow(&mut b2bua.core);
        b2bua.settle();
        b2bua
    }

    /// The same with a certificate for DTLS, that of this process.
    pub fn with_certificate(mut self, certificate: Arc<Certificate>) -> Self {
        self.core.certificate = Some(certificate);
        self
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        self.core.now = now;
        match input {
            Input::Message { flow, message } => self.message(flow, message),
            Input::Waited(wait) => self.core.overload.waited(now.mono, wait),
            Input::SendFailed { client, why } => {
                self.note_failure(client, &why);
                self.core.layer.transport_failed(self.core.now.mono, client);
            }
            Input::Located { sought, located } => {
                self.core.names.insert(sought, located);
                Registrations::located(&mut self.core);
            }
            Input::MediaFailed { call, why } => {
                self.core.emit(Event::MediaFailed { call, why });
                self.with(call, |call, core| call.media_failed(core));
            }
            Input::MediaClosed { call, summary, carried } => {
                self.with(call, |call, core| call.media_closed(core, Some(summary), carried));
            }
            Input::MediaNotice { call, leg, notice } => {
                self.with(call, |call, core| call.noticed(core, leg, notice));
            }
            Input::RouteAnswer { call, tenant, answer } => {
                self.route_answered(call, tenant, answer);
            }
            Input::Plan(plan) => {
                let wanted: HashSet<Sought> = Sought::all(&plan).into_iter().collect();
                self.core.names.retain(|sought, _| wanted.contains(sought));
                self.core.admission.follow(&plan);
                self.core.plan = plan;
                Health::follow(&mut self.core);
                self.core.look_at_ceilings();
                self.core.let_rest();
                Registrars::follow(&mut self.core);
                let plan = Arc::clone(&self.core.plan);
                self.core.drains.follow(&plan);
                self.core.microsoft.follow(&plan);
                if !self.core.stopping {
                    Registrations::follow(&mut self.core);
                }
            }
            Input::Lent(lent) => self.core.callbacks.lend_again(now, lent),
            Input::Past(calls) => {
                self.core.fraud.remember(now.mono, &calls);
                self.core.look_at_ceilings();
            }
            Input::Drain { tenant, until } => Drains::begin(&mut self.core, tenant, until),
            Input::Resume { tenant } => Drains::end(&mut self.core, tenant.as_deref()),
            Input::Shutdown => self.shut_down(),
        }
        self.settle();
    }

    /// Lets deadlines that are due pass.
    pub fn handle_timeout(&mut self, now: Now) {
        self.core.now = now;
        self.core.layer.handle_timeout(self.core.now.mono);
        while let Some(timer) = self.core.timers.pop_due(self.core.now.mono) {
            match timer {
                Timer::Silence { call, client } => {
                    self.with(call, |call, core| call.silent(core, client));
                }
                Timer::Ask(call) => self.route_overdue(call),
                Timer::NoAnswer(call) => self.with(call, |call, core| call.not_answered(core)),
                Timer::MediaClose(call) => {
                    self.with(call, |call, core| call.media_closed(core, None, None));
                }
                Timer::Reinvite { call, client } => {
                    self.with(call, |call, core| call.reinvite_overdue(core, client));
                }
                Timer::Session { call, leg } => {
                    self.with(call, |call, core| call.session_due(core, leg));
                }
                Timer::Update { call, server } => {
                    self.with(call, |call, core| call.update_overdue(core, server));
                }
                Timer::Again(call) => self.with(call, |call, core| call.try_again(core)),
                Timer::Prack(call) => self.with(call, |call, core| call.prack_overdue(core)),
                Timer::Quiet(call) => self.with(call, |call, core| call.still_quiet(core)),
                Timer::Transfer(call) => self.with(call, |call, core| call.transfer_due(core)),
                Timer::Forget(client) => {
                    self.core.clients.remove(&client);
                }
                Timer::Probe(id) => Health::probe(&mut self.core, id),
                Timer::Registration(id) => Registrations::handle_timeout(&mut self.core, id),
                Timer::Ceilings => self.core.look_again(),
                Timer::Binding => Registrars::handle_timeout(&mut self.core),
                Timer::Progress(call) => {
                    self.with(call, |call, core| call.progress_due(core));
                }
                Timer::Drain => self.end_drained(),
            }
        }
        self.settle();
    }

    /// What is to be done next; `None` when all is.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.core.layer.poll_timeout(), self.core.timers.next()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl B2bua {
    /// Moves what the transaction layer has to say: events to their owners, messages to the outputs.
    fn settle(&mut self) {
        loop {
            while let Some(event) = self.core.layer.poll_event() {
                self.transaction(event);
            }
            if self.core.preempting.is_empty() {
                break;
            }
            self.make_way();
        }
        while let Some(transmit) = self.core.layer.poll_transmit() {
            let (hop, bytes, client) = (transmit.hop, transmit.bytes, transmit.client);
            self.core.outputs.push_back(Output::Send { hop, bytes, client });
        }
        self.sweep_timers();
        // After what was queued for them, the ACK that belongs to them among it.
        for flow in std::mem::take(&mut self.core.closing) {
            self.core.outputs.push_back(Output::CloseFlow(flow));
        }
        // Whoever was to learn why has learnt it.
        self.core.failures.clear();
        let empty = self.calls.is_empty() && self.asking.is_empty();
        if !self.core.stopping && self.core.drains.is_over(self.core.now.mono, empty) {
            self.core.outputs.push_back(Output::Drained);
        }
        let rests = empty && self.core.registrations.is_empty();
        if self.core.stopping && !self.stopped && rests && !self.awaits_end() {
            self.stopped = true;
            self.core.outputs.push_back(Output::Stopped);
        }
    }

    /// Deadlines of calls that are over are not kept: a session's is half an hour away.
    fn sweep_timers(&mut self) {
        let (calls, clients, asking) = (&self.calls, &self.core.clients, &self.asking);
        let live = calls.len() + clients.len() + asking.len();
        self.core.timers.sweep(live, |timer| match timer {
            Timer::Ask(call) => asking.contains_key(&call),
            Timer::Silence { call, .. }
            | Timer::NoAnswer(call)
            | Timer::MediaClose(call)
            | Timer::Reinvite { call, .. }
            | Timer::Session { call, .. }
            | Timer::Update { call, .. }
            | Timer::Again(call)
            | Timer::Prack(call)
            | Timer::Quiet(call)
            | Timer::Progress(call)
            | Timer::Transfer(call) => calls.contains_key(&call),
            Timer::Forget(client) => clients.contains_key(&client),
            Timer::Probe(_)
            | Timer::Registration(_)
            | Timer::Binding
            | Timer::Ceilings
            | Timer::Drain => true,
        });
    }

    /// Whether a far side has yet to confirm that a call is over there: BYE, or the INVITE that was
    /// cancelled, whose 200 may be on its way and must be followed by BYE.
    fn awaits_end(&self) -> bool {
        if !self.core.farewells.is_empty() {
            return true;
        }
        self.core.clients.values().any(|owner| match owner {
            Owner::Bye(_) => true,
            Owner::Abandoned(invite) => !invite.answered,
            Owner::Invite(_)
            | Owner::Reinvite(..)
            | Owner::Update(..)
            | Owner::Info(..)
            | Owner::Notify(_)
            | Owner::Ended(_)
            | Owner::Probe(_)
            | Owner::Prack
            | Owner::Registration(_) => false,
        })
    }

    fn message(&mut self, flow: Flow, message: Message) {
        let share = match &message {
            Message::Request(request) => overload::share(&self.core, &flow, request),
            // Whoever it is for has its place already.
            Message::Response(_) => Share::Reserve,
        };
        let refused = self.core.layer.counters().overload;
        let hop = self.answer_hop(flow, &message);
        self.core.layer.receive_within(self.core.now.mono, share, hop, message);
        // No record: what is refused for lack of time or room must cost neither.
        if self.core.layer.counters().overload > refused {
            self.core.emit(Event::Rejected { tenant: None, reason: Reject::Overload });
        }
    }

    fn with(&mut self, id: CallId, act: impl FnOnce(&mut Call, &mut Core) -> Fate) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if act(call, &mut self.core) == Fate::Done {
            let record = self.calls.remove(&id).map(|call| call.into_record());
            self.core.outputs.extend(record);
            self.core.servers.forget(id);
        }
    }

    /// Where answers to a message from `flow` go: back on the flow, and if that is gone, for a
    /// connection, to the Via's sent-by (RFC 3261, 18.2.2; TDR-IN-007).
    ///
    /// Over UDP the flow is the address a request came from, and its port too if the request asks for
    /// that by `rport` (RFC 3581, 4); else the port is that of the sent-by, unless the far side sits
    /// behind NAT, where nothing would arrive at that port.
    fn answer_hop(&self, mut flow: Flow, message: &Message) -> Hop {
        let Message::Request(request) = message else { return Hop::Flow { flow, otherwise: None } };
        if flow.transport.reliable() {
            let otherwise = self.sent_by(&flow, request);
            return Hop::Flow { flow, otherwise };
        }
        let via = request.headers.top_via();
        let sent_by = std::str::from_utf8(via.host).ok().and_then(|host| host.parse().ok());
        let nat = nat::is_configured(&self.core.plan, &flow.trunk)
            || sent_by.is_some_and(|sent_by| nat::shows(sent_by, flow.remote.ip()));
        if via.param("rport").is_none() && !nat {
            flow.remote.set_port(via.port.unwrap_or(flow.transport.default_port()));
        }
        Hop::Flow { flow, otherwise: None }
    }

    fn sent_by(&self, flow: &Flow, request: &Request) -> Option<crate::io::Target> {
        let via = request.headers.top_via();
        let host: IpAddr = std::str::from_utf8(via.host).ok()?.parse().ok()?;
        let trunk = self.core.plan.trunk_named(&flow.trunk)?;
        let peer = self.core.plan.trunks.get(trunk)?.peer_names.first();
        Some(crate::io::Target {
            trunk: Arc::clone(&flow.trunk),
            listener: Arc::clone(&flow.listener),
            transport: flow.transport,
            address: (host, via.port.unwrap_or(flow.transport.default_port())).into(),
            server_name: peer.map(|name| name.as_str().into()),
            own_name: None,
        })
    }

    fn note_failure(&mut self, client: sip_core::transaction::ClientId, why: &str) {
        self.core.failures.insert(client, why.to_owned());
    }

    fn transaction(&mut self, event: Transaction<Hop>) {
        match event {
            Transaction::Request { server, hop, request } => self.request(server, &hop, request),
            Transaction::Ack { server: Some(server), request } => {
                self.core.take_leave(server);
                if let Some(id) = self.core.servers.remove(server) {
                    self.with(id, |call, core| call.acknowledged(core, server, &request));
                }
            }
            // A repeat of an ACK whose INVITE is forgotten: there is nothing to do.
            Transaction::Ack { server: None, .. } => {}
            Transaction::Cancel { server, request } => {
                if let Some(id) = self.core.servers.get(server)
                    && !self.route_cancelled(id, &request)
                {
                    self.with(id, |call, core| call.cancel(core, server, &request));
                }
            }
            Transaction::Response { client, hop, mut response } => {
                let plan = Arc::clone(&self.core.plan);
                crate::lmo::without_ours(&plan, &mut response.headers);
                self.response(client, hop, &response);
            }
            Transaction::Timeout { client } => self.lost(client, TIMEOUT),
            Transaction::TransportError { client } => {
                let why = self.core.failures.remove(&client);
                self.lost(client, why.as_deref().unwrap_or("refused"));
            }
            Transaction::AckMissing { server } => {
                self.core.take_leave(server);
                if let Some(id) = self.core.servers.remove(server) {
                    self.with(id, |call, core| call.ack_missing(core, server));
                }
            }
        }
    }

    fn response(&mut self, client: sip_core::transaction::ClientId, hop: Hop, response: &Response) {
        let last = response.status >= 200;
        self.close_draining(&hop, response);
        if last && let Some(signed) = self.core.sign(client, response) {
            return self.send_signed(client, signed);
        }
        match self.core.clients.get(&client) {
            Some(Owner::Invite(id)) => {
                let id = *id;
                self.with(id, |call, core| call.invite_response(core, client, &hop, response));
            }
            Some(Owner::Reinvite(id, leg)) => {
                let (id, leg) = (*id, *leg);
                self.with(id, |call, core| {
                    call.reinvite_response(core, leg, client, &hop, response)
                });
            }
            Some(Owner::Update(id, leg)) if last => {
                let (id, leg) = (*id, *leg);
                self.core.clients.remove(&client);
                self.with(id, |call, core| call.update_response(core, leg, client, &hop, response));
            }
            Some(Owner::Info(id, leg)) if last => {
                let (id, leg) = (*id, *leg);
                self.core.clients.remove(&client);
                self.with(id, |call, core| call.info_answered(core, leg, client, response.status));
            }
            Some(Owner::Notify(id)) if last => {
                let id = *id;
                self.core.clients.remove(&client);
                self.with(id, |call, core| {
                    call.notify_answered(core, client, Some(response.status))
                });
            }
            Some(Owner::Abandoned(_)) if (200..300).contains(&response.status) => {
                hang_up_late(&mut self.core, client, &hop, response);
            }
            Some(Owner::Ended(_)) if (200..300).contains(&response.status) => {
                if let Some(Owner::Ended(ended)) = self.core.clients.remove(&client) {
                    let (hop, ack) = *ended;
                    self.core.acknowledge(client, hop, ack);
                }
            }
            Some(Owner::Bye(_) | Owner::Prack | Owner::Abandoned(_) | Owner::Ended(_)) if last => {
                self.core.clients.remove(&client);
            }
            Some(Owner::Probe(id)) if last => {
                let id = *id;
                self.core.clients.remove(&client);
                Health::answered(&mut self.core, id, response);
            }
            Some(Owner::Registration(id)) if last => {
                let id = *id;
                self.core.clients.remove(&client);
                Registrations::answered(&mut self.core, id, client, response);
            }
            Some(Owner::Bye(_) | Owner::Prack | Owner::Abandoned(_) | Owner::Ended(_)) => {}
            Some(Owner::Update(..) | Owner::Info(..) | Owner::Notify(_)) => {}
            Some(Owner::Probe(_) | Owner::Registration(_)) | None => {}
        }
    }

    /// Microsoft's proxy that is about to go says 503 with Retry-After, and wants its connection
    /// closed (TDR-FO-002). Dialogs on it live on over another (TDR-CON-003).
    fn close_draining(&mut self, hop: &Hop, response: &Response) {
        let Hop::Flow { flow, .. } = hop else { return };
        if response.status != 503 || !flow.transport.reliable() {
            return;
        }
        let plan = &self.core.plan;
        let trunk = plan.trunk(&flow.trunk);
        if trunk.is_some_and(|trunk| trunk.kind == TrunkKind::Teams)
            && crate::cause::retry_after(&response.headers).is_some()
            && !self.core.closing.contains(&flow.id)
        {
            self.core.closing.push(flow.id);
        }
    }

    /// Sends a request that was challenged once more.
    fn send_signed(&mut self, client: sip_core::transaction::ClientId, signed: Signed) {
        match self.core.clients.get(&client) {
            Some(Owner::Invite(id)) => {
                let id = *id;
                self.with(id, |call, core| call.invite_signed(core, client, signed));
            }
            Some(Owner::Reinvite(id, leg)) => {
                let (id, leg) = (*id, *leg);
                self.with(id, |call, core| call.reinvite_signed(core, leg, client, signed));
            }
            Some(Owner::Update(id, leg)) => {
                let (id, leg) = (*id, *leg);
                self.with(id, |call, core| call.update_signed(core, leg, client, signed));
            }
            Some(Owner::Info(id, leg)) => {
                let (id, leg) = (*id, *leg);
                self.with(id, |call, core| call.info_signed(core, leg, client, signed));
            }
            _ => {
                let cseq = signed.next_cseq();
                self.core.send_signed(signed, cseq);
            }
        }
        // Who has sent it again waits for another transaction, and else nobody does.
        self.core.clients.remove(&client);
    }

    /// A request of ours that was never answered or could not be sent.
    fn lost(&mut self, client: sip_core::transaction::ClientId, why: &str) {
        self.core.signable.remove(&client);
        match self.core.clients.remove(&client) {
            Some(Owner::Invite(id)) => {
                self.with(id, |call, core| call.invite_failed(core, client, why));
            }
            Some(Owner::Reinvite(id, _)) => {
                let status = if why == TIMEOUT { 408 } else { 503 };
                self.with(id, |call, core| call.reinvite_lost(core, client, status));
            }
            Some(Owner::Update(id, leg)) => {
                let status = if why == TIMEOUT { 408 } else { 503 };
                self.with(id, |call, core| call.update_lost(core, leg, client, status));
            }
            Some(Owner::Info(id, leg)) => {
                self.with(id, |call, core| call.info_answered(core, leg, client, 408));
            }
            Some(Owner::Notify(id)) => {
                self.with(id, |call, core| call.notify_answered(core, client, None));
            }
            Some(Owner::Probe(id)) => Health::missed(&mut self.core, id, why.to_owned()),
            Some(Owner::Registration(id)) => Registrations::lost(&mut self.core, id, client, why),
            Some(Owner::Bye(bye)) if why != TIMEOUT => self.core.bye_elsewhere(bye),
            Some(Owner::Bye(_) | Owner::Prack | Owner::Abandoned(_) | Owner::Ended(_)) | None => {}
        }
    }

    /// Ends the calls of tenants whose drain has come to its deadline, but not those to emergency numbers.
    fn end_drained(&mut self) {
        for tenant in self.core.drains.overdue(self.core.now.mono) {
            let waits = self.asking.iter().filter(|(_, asking)| asking.is_of(&tenant));
            for id in waits.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.stop_asking_about(id);
            }
            let ends = |call: &Call| call.is_of(&tenant) && !call.is_emergency();
            let calls = self.calls.iter().filter(|(_, call)| ends(call));
            for id in calls.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.with(id, |call, core| call.shut_down(core));
            }
        }
    }

    fn shut_down(&mut self) {
        self.core.stopping = true;
        Registrations::stop(&mut self.core);
        self.stop_asking();
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for id in calls {
            self.with(id, |call, core| call.shut_down(core));
        }
    }
}

/// The word for a request that was never answered.
pub(crate) const TIMEOUT: &str = "timeout";
