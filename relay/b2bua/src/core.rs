//! What all calls and trunks of one shard share: transactions, randomness, ports, the outputs.

use crate::admission::Admission;
use crate::breaker::Breakers;
use crate::callback::Callbacks;
use crate::credentials::Signable;
use crate::drain::Drains;
use crate::endpoint::Endpoints;
use crate::fraud::Fraud;
use crate::io::{CallId, Event, FlowId, Hop, MediaPort, Now, Output, PeerLeg, Target};
use crate::locate::{Located, Sought};
use crate::microsoft::Microsoft;
use crate::overload::Overload;
use crate::plan::{MediaPlace, Plan, TrunkKind};
use crate::port_pool::PortPool;
use crate::registrar::Registrars;
use crate::registration::{RegistrationId, Registrations};
use crate::servers::Servers;
use crate::timers::{Timer, Timers};
use crate::transcoded::Transcoded;
use crate::trunk::{Health, ProbeId};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use sip_core::transaction::{ClientId, Layer, ServerId};
use sip_core::{Dialog, Method, Name, Request, Response};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Transactions held at once, before requests get 503. Over UDP they outlive their call by half a minute,
/// so that a thousand calls a second leave a hundred thousand; twice that is some 200 megabytes.
pub(crate) const TRANSACTIONS_MAX: usize = 200_000;

pub(crate) struct Core {
    /// The time of the input or deadline that is being handled.
    pub(crate) now: Now,
    /// For new calls, health and OPTIONS; a call keeps the one it began with.
    pub(crate) plan: Arc<Plan>,
    pub(crate) layer: Layer<Hop>,
    pub(crate) rng: ChaCha20Rng,
    /// Who we are in a DTLS handshake; `None`: we do without.
    pub(crate) certificate: Option<Arc<sdp::Certificate>>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) ports: PortPool,
    pub(crate) health: Health,
    pub(crate) registrations: Registrations,
    pub(crate) registrars: Registrars,
    pub(crate) admission: Admission,
    pub(crate) transcoded: Transcoded,
    pub(crate) fraud: Fraud,
    /// Who has called for help under which number.
    pub(crate) callbacks: Callbacks,
    pub(crate) overload: Overload,
    /// Where names are: the last good answers of DNS.
    pub(crate) names: HashMap<Sought, Arc<Located>>,
    /// Connections to be closed once what is queued for them is out.
    pub(crate) closing: Vec<FlowId>,
    /// Which endpoints failed lately.
    pub(crate) endpoints: Endpoints,
    /// Which of them rest.
    pub(crate) breakers: Breakers,
    pub(crate) clients: HashMap<ClientId, Owner>,
    /// INVITE server transactions that a call has yet to answer, or whose ACK it awaits.
    pub(crate) servers: Servers,
    /// Our Call-ID and tag to call and leg, those of INVITEs that are out among them; in order, as a trace
    /// finds them by Call-ID alone.
    pub(crate) dialogs: BTreeMap<DialogKey, (CallId, PeerLeg)>,
    /// BYEs that wait for the ACK of our 200 to the INVITE.
    pub(crate) farewells: HashMap<ServerId, Box<Farewell>>,
    /// Why a request could not be sent, until its transaction reports it.
    pub(crate) failures: HashMap<ClientId, String>,
    /// Requests that are out on a trunk where we have an account.
    pub(crate) signable: HashMap<ClientId, Signable>,
    /// Forks of INVITEs so far: each has a number of its own.
    pub(crate) forks: u32,
    /// Who takes no new calls for a while.
    pub(crate) drains: Drains,
    /// What Microsoft makes of us.
    pub(crate) microsoft: Microsoft,
    /// Calls for help that wait for somebody to give way on a trunk.
    pub(crate) preempting: Vec<(CallId, String)>,
    pub(crate) stopping: bool,
}

/// What is ours of a dialog's identity: enough to find it, as our tags are random.
pub(crate) type DialogKey = (Bytes, Bytes);

/// Who waits for a response.
#[derive(Debug)]
pub(crate) enum Owner {
    /// The INVITE that sets up leg B.
    Invite(CallId),
    /// A re-INVITE on this leg.
    Reinvite(CallId, PeerLeg),
    /// An UPDATE on this leg.
    Update(CallId, PeerLeg),
    /// INFO that tells this leg a key.
    Info(CallId, PeerLeg),
    /// NOTIFY of what came of a REFER.
    Notify(CallId),
    /// An INVITE given up (silent target, cancelled, lost fork): a late 2xx is ACKed and BYEd.
    Abandoned(Box<Abandoned>),
    /// A re-INVITE whose dialog has ended meanwhile: its 2xx is ACKed all the same.
    Ended(Box<(Hop, Request)>),
    /// A BYE: whatever comes, the call is over.
    Bye(Box<Bye>),
    /// A PRACK: should it fail, the far side gives its INVITE up by itself.
    Prack,
    /// OPTIONS to a target.
    Probe(ProbeId),
    /// REGISTER to a registrar; it answers challenges itself.
    Registration(RegistrationId),
}

/// A BYE, with what is needed to send it elsewhere.
#[derive(Debug)]
pub(crate) struct Bye {
    request: Request,
    identity: crate::identity::Identity,
    elsewhere: VecDeque<Target>,
}

/// Endpoints that a BYE is sent to after the first: the call is over for us, and its far side has
/// timers of its own.
const BYE_ELSEWHERE_MAX: usize = 3;

/// What is needed to end a dialog that nobody wants any more.
#[derive(Debug)]
pub(crate) struct Abandoned {
    /// The [`Self::gist`] of the INVITE as sent.
    pub(crate) request: Request,
    /// Where it went.
    pub(crate) hop: Hop,
    /// Who we are there.
    pub(crate) identity: crate::identity::Identity,
    /// Its early dialogs, which remember the CSeq of what was sent in them.
    pub(crate) early: Vec<Dialog>,
    /// A 2xx has come; what may still come is another fork's.
    pub(crate) answered: bool,
}

/// A BYE that may not go out yet: the callee sends none before the ACK for its 2xx, or the end of
/// the wait for it (RFC 3261, 15).
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) dialog: Dialog,
    pub(crate) hop: Hop,
    pub(crate) identity: crate::identity::Identity,
    pub(crate) reason: Option<String>,
}

impl Core {
    /// A pair of media ports for a leg on `trunk` of a call that this media worker owns.
    pub(crate) fn take_ports(
        &mut self,
        plan: &Plan,
        trunk: usize,
        worker: usize,
    ) -> Option<MediaPort> {
        self.take_ports_at(plan, (trunk, MediaPlace::Inside), worker)
    }

    /// The same for one whose far side is known to be there.
    pub(crate) fn take_ports_at(
        &mut self,
        plan: &Plan,
        leg: (usize, MediaPlace),
        worker: usize,
    ) -> Option<MediaPort> {
        self.ports.take(self.now.mono, &mut self.rng, plan, leg, worker)
    }

    /// Nobody has these ports any more.
    pub(crate) fn release_ports(&mut self, ports: MediaPort) {
        self.ports.release(self.now.mono, ports);
    }
}

impl Abandoned {
    /// What a dialog and an ACK are made from: an INVITE outlives its answer by half a minute, and is
    /// large.
    pub(crate) fn gist(invite: &Request) -> Request {
        let mut gist = Request::new(Method::Invite, Bytes::new());
        for name in [Name::From, Name::CSeq, Name::Authorization, Name::ProxyAuthorization] {
            gist.headers.copy_from(&invite.headers, name);
        }
        gist
    }

    /// The dialog that this 2xx confirms or makes.
    pub(crate) fn dialog(&mut self, response: &Response) -> Option<Dialog> {
        let tag = response.headers.to().tag().unwrap_or_default();
        let early = self.early.iter().position(|dialog| dialog.id().remote_tag == tag);
        let Some(at) = early else { return Dialog::uac(&self.request, response).ok() };
        let mut dialog = self.early.swap_remove(at);
        dialog.confirm(response);
        Some(dialog)
    }
}

impl Core {
    /// The ACK of this INVITE has come, or will not come: sends the BYE that waited for it.
    pub(crate) fn take_leave(&mut self, server: ServerId) {
        if let Some(farewell) = self.farewells.remove(&server) {
            let Farewell { mut dialog, hop, identity, reason } = *farewell;
            self.bye(&mut dialog, hop, &identity, reason.as_deref());
        }
    }

    /// A fresh token for a tag or a Call-ID: 128 random bits, so that it is also unguessable
    /// (RFC 3261, 19.3).
    pub(crate) fn token(&mut self) -> String {
        let mut octets = [0u8; 16];
        self.rng.fill_bytes(&mut octets);
        let mut text = String::with_capacity(32);
        for octet in octets {
            let _ = write!(text, "{octet:02x}");
        }
        text
    }

    /// A fresh branch (RFC 3261, 8.1.1.7).
    pub(crate) fn branch(&mut self) -> String {
        format!("z9hG4bK{:016x}", self.rng.next_u64())
    }

    /// A number from 0 up to 1.
    pub(crate) fn random_fraction(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Sends a request; its responses come to `owner`.
    pub(crate) fn request(&mut self, hop: Hop, request: Request, owner: Owner) -> ClientId {
        let signable = self.to_sign(&hop, &request, &owner);
        let client = self.layer.request(self.now.mono, hop, request);
        self.signable.extend(signable.map(|signable| (client, signable)));
        self.clients.insert(client, owner);
        client
    }

    /// Answers a request of the far side.
    pub(crate) fn respond(&mut self, server: ServerId, response: Response) {
        self.layer.respond(self.now.mono, server, response);
    }

    /// Cancels an INVITE of ours.
    pub(crate) fn cancel(&mut self, client: ClientId, reason: Option<Bytes>) {
        self.layer.cancel(self.now.mono, client, reason);
    }

    /// Sends the ACK for a 2xx, and again for each repeat of it.
    pub(crate) fn acknowledge(&mut self, client: ClientId, hop: Hop, ack: Request) {
        self.layer.acknowledge(self.now.mono, client, hop, ack);
    }

    /// Sets a deadline this long from now.
    pub(crate) fn arm(&mut self, after: Duration, timer: Timer) {
        self.timers.arm(self.now.mono + after, timer);
    }

    /// Sends BYE on `dialog` and forgets it.
    pub(crate) fn bye(
        &mut self,
        dialog: &mut Dialog,
        hop: Hop,
        identity: &crate::identity::Identity,
        reason: Option<&str>,
    ) {
        let mut request = dialog.request(Method::Bye);
        request.headers.push_front(Name::Via, identity.via(&self.branch()));
        request.headers.push(Name::UserAgent, crate::identity::PRODUCT);
        if let Some(reason) = reason {
            request.headers.push(Name::Reason, reason.to_owned());
        }
        let elsewhere = self.elsewhere(&hop);
        let bye = Bye { request: request.clone(), identity: identity.clone(), elsewhere };
        self.request(hop, request, Owner::Bye(Box::new(bye)));
    }

    /// A BYE that could not be sent goes to the next endpoint of where it should have gone (RFC 3263,
    /// 4.3), as another transaction.
    pub(crate) fn bye_elsewhere(&mut self, mut bye: Box<Bye>) {
        let Some(to) = bye.elsewhere.pop_front() else { return };
        let via = bye.identity.via(&self.branch());
        bye.request.headers.pop(Name::Via);
        bye.request.headers.push_front(Name::Via, via);
        let request = bye.request.clone();
        let hop = Hop::Target(to).under(bye.identity.certified());
        self.request(hop, request, Owner::Bye(bye));
    }

    /// The endpoints beside the one that `hop` leads to: of the same name, and for Teams of its other
    /// names (TDR-FO-007). An address has none.
    fn elsewhere(&self, hop: &Hop) -> VecDeque<Target> {
        let (Hop::Target(tried) | Hop::Flow { otherwise: Some(tried), .. }) = hop else {
            return VecDeque::new();
        };
        let plan = Arc::clone(&self.plan);
        let Some(index) = plan.trunk_named(&tried.trunk) else { return VecDeque::new() };
        let Some(trunk) = plan.trunks.get(index) else { return VecDeque::new() };
        let fitting = trunk.targets.iter().filter(|target| {
            trunk.kind == TrunkKind::Teams || tried.server_name.as_deref() == Some(&target.host)
        });
        let others = fitting.flat_map(|target| self.fixed_order(&plan, index, target));
        others.filter(|to| to.address != tried.address).take(BYE_ELSEWHERE_MAX).collect()
    }
}
