//! An INVITE of ours that is out: where it went, the early dialogs of its forks, and the leg that the
//! first 2xx makes of one of them.

use crate::core::{Abandoned, Core, Owner};
use crate::identity::{Identity, PRODUCT};
use crate::io::{CallId, Hop, Target};
use crate::leg::{self, Leg, SDP};
use crate::party::{Called, Caller, is_telephone};
use crate::plan::{Plan, TargetName};
use crate::session::Session;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Media, Negotiation, Stream};
use sip_core::transaction::{ClientId, GIVE_UP};
use sip_core::{Dialog, Method, Name, Request, Response};

/// Early dialogs of one INVITE: a Teams user has a handful of clients, a queue some twenty agents.
const FORKS_MAX: usize = 32;

/// An endpoint of a target of the route.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) trunk: usize,
    pub(super) target: TargetName,
    /// Where it is, or the word for why it is passed over.
    pub(super) to: Result<Target, &'static str>,
}

/// What every target is asked: who calls whom, and with what media.
pub(super) struct Invitation {
    pub(super) caller: Caller,
    pub(super) called: Called,
    pub(super) max_forwards: u8,
    /// The other leg's offer.
    pub(super) offer: Media,
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
}

/// One early dialog of the INVITE.
struct Fork {
    dialog: Dialog,
    negotiation: Negotiation,
    /// What its answer says, once it gave one.
    answer: Option<Media>,
}

/// A 2xx without Contact makes no dialog and cannot be acknowledged.
pub(super) struct NoContact;

impl Invitation {
    /// Sends it to one target. Our offer names `negotiation`'s address and keys.
    pub(super) fn send(
        &self,
        core: &mut Core,
        plan: &Plan,
        call: CallId,
        to: (&Candidate, Hop),
        us: (Identity, Negotiation),
    ) -> Attempt {
        let ((candidate, hop), (identity, mut negotiation)) = (to, us);
        let contact = identity.contact(self.caller.contact_user());
        let mut request = self.request(core, plan, candidate, &hop, &identity);
        request.headers.push(Name::Contact, contact.clone());
        request.headers.push(Name::Allow, identity.allow());
        request.headers.push(Name::UserAgent, PRODUCT);
        let session = Session::new(plan, candidate.trunk);
        session.timer.offer(&mut request.headers);
        let offer = self.offer.for_other_leg(None).unwrap_or_else(|_| self.offer.clone());
        request.set_body(SDP, negotiation.make_offer(&offer));
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
        }
    }

    /// The INVITE up to the headers that make it one of ours.
    fn request(
        &self,
        core: &mut Core,
        plan: &Plan,
        candidate: &Candidate,
        hop: &Hop,
        identity: &Identity,
    ) -> Request {
        let (branch, tag, call_id) = (core.branch(), core.token(), core.token());
        let teams = leg::is_teams(plan, candidate.trunk);
        let called = if teams { self.called.clone().with_plus() } else { self.called.clone() };
        let transport = match hop {
            Hop::Target(target) => target.transport.param(),
            Hop::Flow { flow, .. } => flow.transport.param(),
        };
        let phone = if is_telephone(&called.user) { ";user=phone" } else { "" };
        // TDR-OUT-001: the FQDN that is tried, user=phone, transport=tls.
        let uri = format!("sip:{}@{}{phone};transport={transport}", called.user, candidate.target);
        let mut request = Request::new(Method::Invite, uri);
        let headers = &mut request.headers;
        headers.push(Name::Via, identity.via(&branch));
        headers.push(Name::MaxForwards, self.max_forwards.to_string());
        let mut from = self.caller.from(identity);
        from.extend_from_slice(format!(";tag={tag}").as_bytes());
        headers.push(Name::From, from);
        headers.push(
            Name::To,
            format!("<sip:{}@{}{phone}>", called.user, candidate.target.host_part()),
        );
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, "1 INVITE");
        request
    }
}

impl Attempt {
    /// Where it went.
    pub(super) const fn to(&self) -> Option<&Target> {
        match &self.hop {
            Hop::Target(target) => Some(target),
            Hop::Flow { .. } => None,
        }
    }

    /// The Call-ID it went out with.
    pub(super) fn call_id(&self) -> String {
        super::text(self.request.headers.call_id())
    }

    /// Takes the SDP of a 18x into its early dialog; whether it is a usable answer.
    pub(super) fn progress(&mut self, response: &Response) -> Option<(Stream, Media)> {
        let fork = self.fork(response)?;
        let sdp = leg::sdp_of(&response.headers, response.body());
        if sdp.is_empty() || !fork.take_answer(&sdp) {
            return None;
        }
        Some((fork.negotiation.stream()?.clone(), fork.answer.clone()?))
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
        let Some(mut fork) = self.take_fork(response) else {
            core.clients.remove(&self.client);
            return Err(NoContact);
        };
        fork.dialog.confirm(response);
        let sdp = leg::sdp_of(&response.headers, response.body());
        let usable = sdp.is_empty() || fork.take_answer(&sdp);
        let mut session = self.session.clone();
        session.accepted(core.now.mono, &response.headers);
        let leg = Leg {
            trunk: self.trunk,
            session,
            identity: self.identity.clone(),
            contact: self.contact.clone(),
            dialog: fork.dialog,
            negotiation: fork.negotiation,
            flow: match from {
                Hop::Flow { flow, .. } => Some(flow.clone()),
                Hop::Target(_) => None,
            },
            invited: self.to().cloned(),
            unacknowledged: None,
        };
        let ack = leg.ack(core, self.request.headers.cseq().number);
        if let Some(to) = leg.hop(core, plan) {
            core.acknowledge(self.client, to, ack);
        }
        core.arm(GIVE_UP, Timer::Forget(self.client));
        self.leave(core, true);
        Ok((leg, fork.answer.filter(|_| usable)))
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
        self.forks.clear();
        self.heard = false;
        self.client = core.request(self.hop.clone(), self.request.clone(), Owner::Invite(call));
        true
    }

    /// Cancels it. Should its 2xx come all the same, it is acknowledged and hung up.
    pub(super) fn abandon(self, core: &mut Core, reason: Option<String>) {
        core.cancel(self.client, reason.map(Bytes::from));
        self.leave(core, false);
    }

    fn leave(self, core: &mut Core, answered: bool) {
        let Self { client, request, hop, identity, .. } = self;
        let abandoned = Abandoned { request, hop, identity, answered };
        core.clients.insert(client, Owner::Abandoned(Box::new(abandoned)));
    }

    /// The early dialog that a response belongs to, made if it is new and there is room.
    fn fork(&mut self, response: &Response) -> Option<&mut Fork> {
        let tag = response.headers.to().tag().unwrap_or_default();
        let known = self.forks.iter().position(|fork| fork.dialog.id().remote_tag == tag);
        if let Some(at) = known {
            return self.forks.get_mut(at);
        }
        if self.forks.len() >= FORKS_MAX && response.status < 200 {
            return None;
        }
        let dialog = Dialog::uac(&self.request, response).ok()?;
        let negotiation = self.negotiation.clone();
        self.forks.push(Fork { dialog, negotiation, answer: None });
        self.forks.last_mut()
    }

    fn take_fork(&mut self, response: &Response) -> Option<Fork> {
        self.fork(response)?;
        let tag = response.headers.to().tag().unwrap_or_default();
        let at = self.forks.iter().position(|fork| fork.dialog.id().remote_tag == tag)?;
        Some(self.forks.swap_remove(at))
    }
}

impl Fork {
    /// Takes the answer; whether it can be used.
    fn take_answer(&mut self, body: &[u8]) -> bool {
        match self.negotiation.receive_answer(body) {
            Ok((media, _)) => {
                self.answer = Some(media);
                true
            }
            Err(_) => false,
        }
    }
}

/// A 2xx to an INVITE that nobody waits for: acknowledge it and hang up (RFC 3261, 13.2.2.4).
pub(crate) fn hang_up_late(core: &mut Core, client: ClientId, from: &Hop, response: &Response) {
    // First of all, as a 2xx without Contact, which nobody can acknowledge, is an end too.
    core.arm(GIVE_UP, Timer::Forget(client));
    let Some(Owner::Abandoned(abandoned)) = core.clients.get_mut(&client) else { return };
    abandoned.answered = true;
    let Ok(mut dialog) = Dialog::uac(&abandoned.request, response) else { return };
    let cseq = abandoned.request.headers.cseq().number;
    let identity = abandoned.identity.clone();
    let hop = match from {
        Hop::Flow { flow, .. } if flow.transport.reliable() => from.clone(),
        _ => abandoned.hop.clone(),
    };
    let mut ack = dialog.ack(cseq);
    ack.headers.push_front(Name::Via, identity.via(&core.branch()));
    core.acknowledge(client, hop.clone(), ack);
    core.bye(&mut dialog, hop, &identity, Some("SIP;cause=487"));
}
