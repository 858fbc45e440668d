//! An INVITE of ours that is out: where it went, the early dialogs of its forks, and the leg that the
//! first 2xx makes of one of them.

use super::authorized;
use super::numbers::{self, Numbers, Whose};
use super::{fax, reliable};
use crate::core::{Abandoned, Core, DialogKey, Owner};
use crate::credentials::{Signed, show_again};
use crate::headers::{Crossing, Facts, apply_rules};
use crate::identity::{Identity, PRODUCT};
use crate::io::{CallId, Event, Hop, Target};
use crate::leg::{self, Leg, SDP};
use crate::party::{Called, Caller, is_telephone, number_in};
use crate::plan::{Plan, TargetName, TrunkKind};
use crate::registrar::Registrars;
use crate::routing::Trace;
use crate::session::Session;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Codec, Direction, Early, IceOffered, Media, Negotiation, Payload, Stream};
use sip_core::transaction::{ClientId, GIVE_UP};
use sip_core::usage::prack;
use sip_core::{Dialog, Headers, Method, Name, Request, Response};

/// Early dialogs of one INVITE: a Teams user has a handful of clients, a queue some twenty agents.
const FORKS_MAX: usize = 32;

/// An endpoint of a target of the route.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) trunk: usize,
    pub(super) target: TargetName,
    /// Where it is, or the word for why it is passed over.
    pub(super) to: Result<Hop, &'static str>,
    /// Whom a redirection named there, in place of the number that was called.
    pub(super) redirected: Option<Called>,
    /// It rests, and is tried for want of any other.
    pub(super) last_resort: bool,
    /// What else stands in the URI that is bound there, each parameter with its `;`.
    pub(super) params: String,
}

impl Candidate {
    /// An endpoint of a target as configured.
    pub(super) fn new(trunk: usize, target: TargetName, to: Result<Target, &'static str>) -> Self {
        let to = to.map(Hop::Target);
        let params = String::new();
        Self { trunk, target, to, redirected: None, last_resort: false, params }
    }
}

/// What every target is asked: who calls whom, and with what media.
pub(super) struct Invitation {
    pub(super) caller: Caller,
    pub(super) called: Called,
    pub(super) max_forwards: u8,
    /// What else its INVITE says.
    pub(super) crossing: Crossing,
    /// The other leg's offer.
    pub(super) offer: Media,
    /// Whose rules it is written by.
    pub(super) whose: Whose,
    /// On whose word they are called, where not on the caller's.
    pub(super) referred: Option<Referred>,
}

/// What a REFER puts into the INVITE, octet by octet (TDR-XFR-013).
pub(super) struct Referred {
    /// The Request-URI and the URI of To; `None` where a route says how the number is reached.
    pub(super) uri: Option<Bytes>,
    pub(super) by: Option<Bytes>,
}

/// An INVITE that is out.
pub(super) struct Attempt {
    pub(super) client: ClientId,
    pub(super) trunk: usize,
    /// Anything has come back, so the target is not silent.
    pub(super) heard: bool,
    request: Request,
    hop: Hop,
    identity: Identity,
    contact: Bytes,
    session: Session,
    /// Our offer, before any answer: each fork answers its own copy.
    negotiation: Negotiation,
    forks: Vec<Fork>,
    /// Early dialogs that were ended: should one answer all the same, its numbers go on.
    parted: Vec<Dialog>,
    /// The fork whose early media is carried.
    carried: Option<u32>,
    /// That one sends, as media tells.
    pub(super) streams: bool,
}

/// One early dialog of the INVITE: the leg that it becomes if it wins.
pub(super) struct Fork {
    pub(super) leg: Leg,
    /// What it has sent reliably.
    pub(super) reliable: prack::Uac,
    /// What its answer says, once it gave one.
    answer: Option<Media>,
    /// As media names it.
    number: u32,
    /// Which early media it may have (RFC 5009): what it says, else what its trunk says.
    authorized: Direction,
    /// When it described itself last, by the numbers that were given then.
    since: u32,
}

/// What a provisional response means to the other leg.
pub(super) enum Progress {
    /// Nothing: it is out of order, a repeat, or one fork too many.
    Ignored,
    /// Its status.
    Ringing,
    /// Early media of one fork that is new or has changed.
    Described(Described),
}

/// The early media of one fork.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) fork: u32,
    pub(super) stream: Stream,
    pub(super) answer: Media,
    /// Which of it may pass, as we see it.
    pub(super) authorized: Direction,
}

/// A 2xx without Contact makes no dialog and cannot be acknowledged.
pub(super) struct NoContact;

impl Invitation {
    /// Sends it to one target. Our offer names `negotiation`'s address and keys; `received` is what
    /// the INVITE it comes of said.
    pub(super) fn send(
        &self,
        core: &mut Core,
        plan: &Plan,
        call: CallId,
        to: (&Candidate, Hop),
        us: (Identity, Negotiation),
        received: Option<&Headers>,
    ) -> Attempt {
        let ((candidate, hop), (identity, mut negotiation)) = (to, us);
        let hop = hop.under(identity.certified());
        let trunk = plan.trunks.get(candidate.trunk);
        let numbers = self.numbers(plan, candidate);
        let contact = identity.contact(numbers.caller.contact_user());
        let mut request = self.request(core, plan, candidate, (&hop, &identity), &numbers);
        request.headers.push(Name::Contact, contact.clone());
        request.headers.push(Name::Allow, identity.allow());
        request.headers.push(Name::Supported, crate::identity::EXTENSIONS);
        request.headers.push(Name::UserAgent, PRODUCT);
        let session = Session::new(plan, candidate.trunk);
        session.timer.offer(&mut request.headers);
        reliable::announce(plan, candidate.trunk, &mut request.headers);
        authorized::ask(plan, candidate.trunk, &mut request.headers);
        let offer = self.offer.for_other_leg(None).unwrap_or_else(|_| self.offer.clone());
        let offer = negotiation.make_offer(&offer);
        self.apply_rules(plan, (call, candidate.trunk), &numbers, received, &mut request.headers);
        let (kind, body) = match trunk {
            Some(trunk) => self.crossing.body(offer, trunk, &core.token()),
            None => (SDP.into(), offer),
        };
        request.set_body(kind, body);
        let client = core.request(hop.clone(), request.clone(), Owner::Invite(call));
        Attempt {
            client,
            trunk: candidate.trunk,
            heard: false,
            request,
            hop,
            identity,
            contact,
            session,
            negotiation,
            forks: Vec::new(),
            parted: Vec::new(),
            carried: None,
            streams: false,
        }
    }

    /// Whether a leg there may be offered any speech at all, or a fax, if that is what is asked for.
    pub(super) fn speaks(&self, plan: &Plan, trunk: usize, transcoded: bool) -> bool {
        if self.offer.fax.is_some() {
            return fax::may_fax(plan, trunk);
        }
        let codecs = leg::codecs(plan, trunk, self.whose);
        let more = leg::transcodable(plan, trunk).iter().map(|codec| codec.payload());
        let more: Vec<Payload> = more.collect();
        let turned = transcoded && self.offer.payloads.iter().any(|it| Codec::of(it).is_some());
        codecs.leave_speech(&self.offer.payloads) || (turned && codecs.leave_speech(&more))
    }

    /// Whether who is called can be written as the trunk wants it: Teams takes numbers alone, and would
    /// say 404 to anything else (TDR-OUT-001).
    pub(super) fn is_callable(&self, plan: &Plan, candidate: &Candidate) -> bool {
        !leg::is_teams(plan, candidate.trunk)
            || is_telephone(&self.numbers(plan, candidate).called.user)
    }

    /// Who calls whom, as the trunk is told.
    fn numbers(&self, plan: &Plan, candidate: &Candidate) -> Numbers {
        let (called, caller) = (self.called.clone(), self.caller.clone());
        let mut numbers = Numbers { called, caller, crossing: self.crossing.clone() };
        numbers::sent(plan, candidate.trunk, self.whose, &mut numbers, &mut Trace::default());
        if let Some(redirected) = &candidate.redirected {
            numbers.called = redirected.clone();
        }
        if leg::is_teams(plan, candidate.trunk) {
            numbers.called = numbers.called.with_plus();
        }
        if let Some(trunk) = plan.trunks.get(candidate.trunk) {
            numbers.caller = numbers.crossing.caller(&numbers.caller, trunk);
        }
        numbers
    }

    /// What the header rules of tenant and trunk make of an INVITE.
    fn apply_rules(
        &self,
        plan: &Plan,
        (call, trunk): (CallId, usize),
        numbers: &Numbers,
        received: Option<&Headers>,
        headers: &mut Headers,
    ) {
        let Some(trunk) = plan.trunks.get(trunk) else { return };
        let tenant = self.whose.tenant.and_then(|tenant| plan.tenants.get(tenant));
        let of_tenant = tenant.map(|tenant| tenant.header_rules.as_slice()).unwrap_or_default();
        if of_tenant.is_empty() && trunk.header_rules.is_empty() {
            return;
        }
        let calling = match numbers.caller.is_anonymous() {
            true => "anonymous".to_owned(),
            false => number_in(&numbers.caller.user),
        };
        let facts = Facts {
            called: &numbers.called.number,
            calling: &calling,
            tenant: tenant.map_or("", |tenant| &tenant.name),
            trunk: &trunk.name,
            call: call.0,
            teams: trunk.kind == TrunkKind::Teams,
        };
        let rules = of_tenant.iter().chain(&trunk.header_rules);
        apply_rules(rules, self.whose.from, headers, &facts, received);
    }

    /// The INVITE up to the headers that make it one of ours.
    fn request(
        &self,
        core: &mut Core,
        plan: &Plan,
        candidate: &Candidate,
        (hop, identity): (&Hop, &Identity),
        numbers: &Numbers,
    ) -> Request {
        let (branch, tag, call_id) = (core.branch(), core.token(), core.token());
        let Numbers { called, caller, crossing } = numbers;
        let transport = match hop {
            Hop::Target(target) => target.transport.param(),
            Hop::Flow { flow, .. } => flow.transport.param(),
        };
        let phone = if is_telephone(&called.user) { ";user=phone" } else { "" };
        // TDR-OUT-001: the FQDN that is tried, user=phone, transport=tls.
        let Candidate { target, params, .. } = candidate;
        let uri = format!("sip:{}@{target}{phone};transport={transport}{params}", called.user);
        let to = format!("<sip:{}@{}{phone}>", called.user, candidate.target.host_part());
        let whole = self.referred.as_ref().and_then(|referred| referred.uri.as_ref());
        let (uri, to) = match whole {
            Some(uri) => (uri.clone(), [b"<", &uri[..], b">"].concat()),
            None => (uri.into(), to.into_bytes()),
        };
        let mut request = Request::new(Method::Invite, uri);
        let headers = &mut request.headers;
        headers.push(Name::Via, identity.via(&branch));
        if let Some(route) = identity.record_route() {
            headers.push(Name::RecordRoute, route);
        }
        headers.push(Name::MaxForwards, self.max_forwards.to_string());
        let mut from = caller.from(identity);
        from.extend_from_slice(format!(";tag={tag}").as_bytes());
        headers.push(Name::From, from);
        headers.push(Name::To, to);
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, "1 INVITE");
        if let Some(trunk) = plan.trunks.get(candidate.trunk) {
            crossing.write(headers, caller, &called.user, (trunk, identity));
        }
        let tenant = self.whose.tenant.and_then(|tenant| plan.tenants.get(tenant));
        if tenant.is_some_and(|it| it.sbcs.iter().any(|sbc| sbc.trunk == candidate.trunk)) {
            crossing.write_place(headers);
        }
        if let Some(by) = self.referred.as_ref().and_then(|referred| referred.by.as_ref()) {
            headers.set(Name::ReferredBy, by.clone());
        }
        request
    }
}

impl Attempt {
    /// The endpoint it went to.
    pub(super) fn to(&self) -> Target {
        self.hop.endpoint()
    }

    /// It could not be sent: if it was to go over a connection of the far side's, and there is no
    /// other way, that is not there any more.
    pub(super) fn could_not_be_sent(&self, core: &mut Core) {
        if let Hop::Flow { flow, otherwise: None } = &self.hop
            && flow.transport.reliable()
        {
            Registrars::lost(core, flow);
        }
    }

    /// Our end of ICE as its offer names it.
    pub(super) fn ice_offered(&self) -> Option<IceOffered> {
        self.negotiation.ice_offered()
    }

    /// How many early dialogs it has had.
    pub(super) const fn forks(&self) -> usize {
        self.forks.len() + self.parted.len()
    }

    /// Where requests of its dialogs may go for want of a better place.
    fn invited(&self) -> Option<Target> {
        match &self.hop {
            // The port that a connection comes from takes none.
            Hop::Flow { flow, otherwise } if flow.transport.reliable() => otherwise.clone(),
            Hop::Flow { .. } | Hop::Target(_) => Some(self.to()),
        }
    }

    /// The Call-ID it went out with.
    pub(super) fn call_id(&self) -> String {
        super::text(self.request.headers.call_id())
    }

    /// Sends it again with credentials. The dialogs that the challenged one has made are none
    /// (RFC 3261, 12.3).
    pub(super) fn sign(&mut self, core: &mut Core, signed: Signed) {
        let cseq = signed.next_cseq();
        (self.client, self.request) = core.send_signed(signed, cseq);
        self.forget_all();
    }

    /// Takes a 18x into its early dialog, and acknowledges it if it was sent reliably.
    pub(super) fn progress(
        &mut self,
        core: &mut Core,
        plan: &Plan,
        from: &Hop,
        response: &Response,
    ) -> Progress {
        if self.is_one_too_many(response) {
            core.emit(Event::Discarded { reason: "too_many_forks" });
            return Progress::Ignored;
        }
        // Without a To tag or Contact, which many gateways leave out of 180, it just rings.
        let Some(fork) = self.fork(core, plan, from, response) else { return Progress::Ringing };
        if !reliable::take(fork, core, plan, response) {
            return Progress::Ignored;
        }
        let sdp = leg::sdp_of(&response.headers, response.body());
        let before = fork.leg.negotiation.stream().cloned();
        let changed = fork.authorize(authorized::said(&response.headers));
        if !sdp.is_empty() && !fork.take_answer(&sdp) {
            return Progress::Ringing;
        }
        // One that repeats itself moves no media away from another.
        if !changed && before.as_ref() == fork.leg.negotiation.stream() {
            return Progress::Ringing;
        }
        core.forks = core.forks.wrapping_add(1);
        fork.since = core.forks;
        let described = fork.described();
        described.map_or(Progress::Ringing, Progress::Described)
    }

    /// A 2xx: acknowledged at once, as the ACK waits for nobody (TDR-DLG-040). The leg it makes, and
    /// what the far side has agreed to, if that can be used. Should another fork answer too, it is
    /// acknowledged and hung up.
    pub(super) fn answered(
        mut self,
        core: &mut Core,
        plan: &Plan,
        from: &Hop,
        response: &Response,
    ) -> Result<(Leg, Option<Media>), NoContact> {
        let Some(mut fork) = self.take_fork(core, plan, from, response) else {
            core.clients.remove(&self.client);
            core.dialogs.remove(&self.key());
            return Err(NoContact);
        };
        fork.leg.dialog.confirm(response);
        let sdp = leg::sdp_of(&response.headers, response.body());
        let usable = sdp.is_empty() || fork.take_answer(&sdp);
        fork.leg.session.accepted(core.now.mono, &response.headers);
        let Fork { leg, answer, .. } = fork;
        let mut ack = leg.ack(core, self.request.headers.cseq().number);
        show_again(&self.request, &mut ack);
        if let Some(to) = leg.hop(core, plan) {
            core.acknowledge(self.client, to, ack);
        }
        core.arm(GIVE_UP, Timer::Forget(self.client));
        self.leave(core, true);
        Ok((leg, answer.filter(|_| usable)))
    }

    /// A 422: sends it once more with the interval that was asked for, CSeq one higher
    /// (RFC 4028, 7.3; TDR-DLG-032). Whether it was.
    pub(super) fn raise(&mut self, core: &mut Core, call: CallId, response: &Response) -> bool {
        if !self.session.raise(&response.headers) {
            return false;
        }
        core.clients.remove(&self.client);
        let headers = &mut self.request.headers;
        let number = headers.cseq().number + 1;
        headers.set(Name::CSeq, format!("{number} INVITE"));
        headers.set(Name::Via, self.identity.via(&core.branch()));
        self.session.timer.offer(headers);
        self.forget_all();
        self.client = core.request(self.hop.clone(), self.request.clone(), Owner::Invite(call));
        true
    }

    /// Cancels it. Should its 2xx come all the same, it is acknowledged and hung up.
    pub(super) fn abandon(self, core: &mut Core, reason: Option<String>) {
        core.cancel(self.client, reason.map(Bytes::from));
        self.leave(core, false);
    }

    fn leave(self, core: &mut Core, answered: bool) {
        core.dialogs.remove(&self.key());
        let Self { client, request, hop, identity, forks, parted, .. } = self;
        let early = forks.into_iter().map(|fork| fork.leg.dialog).chain(parted).collect();
        let request = Abandoned::gist(&request);
        let abandoned = Abandoned { request, hop, identity, early, answered };
        core.clients.insert(client, Owner::Abandoned(Box::new(abandoned)));
    }

    /// How the early dialogs of all its forks are found: their Call-ID and our tag are the same.
    pub(super) fn key(&self) -> DialogKey {
        let headers = &self.request.headers;
        let tag = headers.from().tag().unwrap_or_default();
        (Bytes::copy_from_slice(headers.call_id()), Bytes::copy_from_slice(tag))
    }

    /// Whether a fork has this tag.
    pub(super) fn has_fork(&self, remote_tag: &[u8]) -> bool {
        self.forks.iter().any(|fork| fork.leg.dialog.id().remote_tag == remote_tag)
    }

    /// The fork that a request comes from.
    pub(super) fn fork_of(&self, request: &Request) -> Option<&Fork> {
        let tag = request.headers.from().tag().unwrap_or_default();
        self.forks.iter().find(|fork| fork.leg.dialog.id().remote_tag == tag)
    }

    /// The same, to change.
    pub(super) fn fork_of_mut(&mut self, request: &Request) -> Option<&mut Fork> {
        let tag = request.headers.from().tag().unwrap_or_default();
        self.forks.iter_mut().find(|fork| fork.leg.dialog.id().remote_tag == tag)
    }

    /// Forgets the fork that a request comes from; whether it was the last.
    pub(super) fn was_last(&mut self, request: &Request) -> bool {
        self.part(request.headers.from().tag().unwrap_or_default());
        self.forks.is_empty()
    }

    /// Has the early media of this fork carried from now on.
    pub(super) fn carry(&mut self, fork: u32) {
        if self.carried.replace(fork) != Some(fork) {
            self.streams = false;
        }
    }

    /// The fork whose early media is carried.
    pub(super) fn carried(&self) -> Option<Described> {
        self.described_by(self.carried?)
    }

    /// What this fork has described, if it is still there.
    pub(super) fn described_by(&self, number: u32) -> Option<Described> {
        self.forks.iter().find(|fork| fork.number == number)?.described()
    }

    /// Of the forks that may be heard, the last to describe itself (TDR-EM-022).
    pub(super) fn last_described(&self) -> Option<Described> {
        let heard = |fork: &&Fork| fork.answer.is_some() && fork.authorized.receives();
        self.forks.iter().filter(heard).max_by_key(|fork| fork.since)?.described()
    }

    /// What media is to know of the forks: who is carried, and who else may be heard.
    pub(super) fn early(&self) -> Option<Box<Early>> {
        let fork = self.carried?;
        let others = self.forks.iter().filter(|it| it.number != fork && it.authorized.receives());
        let known = |it: &Fork| {
            let stream = it.leg.negotiation.stream().filter(|stream| stream.dtls.is_none())?;
            let keys = stream.crypto.as_ref().map(|crypto| crypto.remote.clone());
            let (number, keys) = (it.number, keys.unwrap_or_default());
            Some(sdp::Fork { number, remote_rtp: stream.remote_rtp, keys })
        };
        Some(Box::new(Early { fork, others: others.filter_map(known).collect() }))
    }

    fn forget_all(&mut self) {
        self.forks.clear();
        self.parted.clear();
        self.heard = false;
        (self.carried, self.streams) = (None, false);
    }

    /// The early dialog that a response belongs to, made if it is new.
    fn fork(
        &mut self,
        core: &mut Core,
        plan: &Plan,
        from: &Hop,
        response: &Response,
    ) -> Option<&mut Fork> {
        let flow = match from {
            Hop::Flow { flow, .. } => Some(flow.clone()),
            Hop::Target(_) => None,
        };
        if let Some(at) = self.position(response) {
            let fork = self.forks.get_mut(at)?;
            fork.leg.flow = flow;
            return Some(fork);
        }
        let leg = Leg {
            trunk: self.trunk,
            identity: self.identity.clone(),
            contact: self.contact.clone(),
            dialog: self.dialog(response)?,
            negotiation: self.negotiation.clone(),
            session: self.session.clone(),
            flow,
            invited: self.invited(),
            unacknowledged: None,
            told: crate::call::keys::Told::default(),
        };
        core.forks = core.forks.wrapping_add(1);
        self.forks.push(Fork {
            leg,
            reliable: prack::Uac::default(),
            answer: None,
            number: core.forks,
            authorized: authorized::by_default(plan, self.trunk),
            since: 0,
        });
        self.forks.last_mut()
    }

    /// This early dialog is over (RFC 6228).
    pub(super) fn forget(&mut self, response: &Response) {
        self.part(response.headers.to().tag().unwrap_or_default());
    }

    fn part(&mut self, remote_tag: &[u8]) {
        let parts = |fork: &Fork| fork.leg.dialog.id().remote_tag == remote_tag;
        let Some(at) = self.forks.iter().position(parts) else { return };
        let fork = self.forks.swap_remove(at);
        if self.carried.take_if(|carried| *carried == fork.number).is_some() {
            self.streams = false;
        }
        if self.parted.len() < FORKS_MAX {
            self.parted.push(fork.leg.dialog);
        }
    }

    /// The dialog that a response makes, or goes on with after it was ended.
    fn dialog(&mut self, response: &Response) -> Option<Dialog> {
        let tag = response.headers.to().tag().unwrap_or_default();
        match self.parted.iter().position(|dialog| dialog.id().remote_tag == tag) {
            Some(at) => Some(self.parted.swap_remove(at)),
            None => Dialog::uac(&self.request, response).ok(),
        }
    }

    fn is_one_too_many(&self, response: &Response) -> bool {
        self.forks.len() >= FORKS_MAX && self.position(response).is_none()
    }

    fn take_fork(
        &mut self,
        core: &mut Core,
        plan: &Plan,
        from: &Hop,
        response: &Response,
    ) -> Option<Fork> {
        self.fork(core, plan, from, response)?;
        let at = self.position(response)?;
        Some(self.forks.swap_remove(at))
    }

    fn position(&self, response: &Response) -> Option<usize> {
        let tag = response.headers.to().tag().unwrap_or_default();
        self.forks.iter().position(|fork| fork.leg.dialog.id().remote_tag == tag)
    }
}

impl Fork {
    /// Takes the answer; whether it can be used.
    fn take_answer(&mut self, body: &[u8]) -> bool {
        match self.leg.negotiation.receive_answer(body) {
            Ok((media, _)) => {
                self.answer = Some(media);
                true
            }
            Err(_) => false,
        }
    }

    /// It has offered anew: what it says there counts.
    pub(super) fn has_offered(&mut self, media: Media, authorized: Option<Direction>) {
        self.answer = Some(media);
        self.authorize(authorized);
    }

    /// Takes what it says of its early media; whether that changes anything.
    pub(super) fn authorize(&mut self, said: Option<Direction>) -> bool {
        let said = said.unwrap_or(self.authorized);
        std::mem::replace(&mut self.authorized, said) != said
    }

    /// Its early media, once it has described any.
    pub(super) fn described(&self) -> Option<Described> {
        let (stream, answer) = (self.leg.negotiation.stream()?.clone(), self.answer.clone()?);
        Some(Described { fork: self.number, stream, answer, authorized: self.authorized })
    }
}

/// A 2xx to an INVITE that nobody waits for: acknowledge it and hang up (RFC 3261, 13.2.2.4).
pub(crate) fn hang_up_late(core: &mut Core, client: ClientId, from: &Hop, response: &Response) {
    // First of all, as a 2xx without Contact, which nobody can acknowledge, is an end too.
    core.arm(GIVE_UP, Timer::Forget(client));
    let Some(Owner::Abandoned(abandoned)) = core.clients.get_mut(&client) else { return };
    abandoned.answered = true;
    let Some(mut dialog) = abandoned.dialog(response) else { return };
    let cseq = abandoned.request.headers.cseq().number;
    let identity = abandoned.identity.clone();
    let hop = match from {
        Hop::Flow { flow, .. } if flow.transport.reliable() => from.clone(),
        _ => abandoned.hop.clone(),
    };
    let mut ack = dialog.ack(cseq);
    ack.headers.push_front(Name::Via, identity.via(&core.branch()));
    if let Some(Owner::Abandoned(abandoned)) = core.clients.get(&client) {
        show_again(&abandoned.request, &mut ack);
    }
    core.acknowledge(client, hop.clone(), ack);
    core.bye(&mut dialog, hop, &identity, Some("SIP;cause=487"));
}
