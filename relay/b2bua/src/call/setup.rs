//! Before the answer: one target after another, forks, ringing and early media.

use super::{Call, Fate, Phase, Up};
use crate::cause;
use crate::core::{Abandoned, Core, Owner};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Event, Hop, MediaPorts, Now, Output, PeerLeg};
use crate::leg::{self, Leg, SDP};
use crate::party::{Called, Caller};
use crate::plan::TargetName;
use crate::record;
use crate::reject::Reject;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Direction, Media, Negotiation};
use sip_core::transaction::{ClientId, GIVE_UP, ServerId};
use sip_core::{Dialog, Method, Name, Request, Response};
use std::collections::VecDeque;
use std::time::Duration;

/// A target that says nothing for so long gives way to the next: three of them fit in the 10 s
/// that Microsoft allows before it fails over itself (TDR-FO-001, TDR-FO-006, TDR-FO-012).
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// After this long no further target is tried: the caller's side has its own clock, and Microsoft's
/// is about to run out (TDR-FO-006, TDR-FO-012).
const FAILOVER_MAX: Duration = Duration::from_secs(10);
/// How long the callee may ring: timer C asks for more than 3 minutes (RFC 3261, 16.6).
const RING_MAX: Duration = Duration::from_secs(185);
/// Early dialogs of one INVITE: a Teams user has a handful of clients, a queue some twenty agents.
const FORKS_MAX: usize = 32;

/// A target of the route.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) trunk: usize,
    pub(super) target: TargetName,
}

/// What is pending until the call is answered.
pub(super) struct Setup {
    /// Leg A's INVITE.
    pub(super) server: ServerId,
    request: Request,
    offer: Media,
    caller: Caller,
    called: Called,
    max_forwards: u8,
    /// An emergency call is held back by no limit (TDR-EMG-002).
    emergency: bool,
    waiting: VecDeque<Candidate>,
    attempt: Option<Attempt>,
    /// The last 18x that leg A was sent.
    ringing: Option<u16>,
    /// Leg A has its answer already, in an 18x: it is the only one it gets (TDR-EM-021).
    answered_early: bool,
    /// What the last target that failed has answered.
    failure: Option<u16>,
}

/// The INVITE that is out.
struct Attempt {
    client: ClientId,
    request: Request,
    hop: Hop,
    trunk: usize,
    identity: Identity,
    contact: Bytes,
    /// Our offer, before any answer: each fork answers its own copy.
    negotiation: Negotiation,
    forks: Vec<Fork>,
    /// Anything has come back, so the target is not silent.
    heard: bool,
}

/// One early dialog of the INVITE.
struct Fork {
    dialog: Dialog,
    negotiation: Negotiation,
    /// What its answer says, once it gave one.
    answer: Option<Media>,
}

impl Setup {
    pub(super) fn new(
        server: ServerId,
        request: Request,
        offer: Media,
        caller: Caller,
        called: Called,
        max_forwards: u8,
        emergency: bool,
        candidates: Vec<Candidate>,
    ) -> Self {
        Self {
            server,
            request,
            offer,
            caller,
            called,
            max_forwards,
            emergency,
            waiting: candidates.into(),
            attempt: None,
            ringing: None,
            answered_early: false,
            failure: None,
        }
    }

    pub(super) const fn is_ringing(&self) -> bool {
        self.ringing.is_some()
    }
}

impl Call {
    fn setup(&mut self) -> Option<&mut Setup> {
        match &mut self.phase {
            Phase::Setup(setup) => Some(setup),
            Phase::Up(_) | Phase::Ending => None,
        }
    }

    /// Opens the call's ports, or moves leg B's to the media address of the next trunk.
    pub(super) fn open_media(
        &mut self,
        core: &mut Core,
        now: Now,
        worker: usize,
        a: (usize, u16),
        address_b: usize,
    ) -> bool {
        if self.media.ports.is_some_and(|ports| ports.b.0 == address_b) {
            return true;
        }
        let Some(port_b) = core.ports.take(now.mono, address_b) else { return false };
        if let Some(old) = self.media.ports.take() {
            core.outputs.push_back(Output::CloseMedia { call: self.id, worker: old.worker });
            core.ports.release(now.mono, old.b.0, old.b.1);
            self.media.moves += 1;
        }
        let ports = MediaPorts { worker, a, b: (address_b, port_b) };
        self.media.ports = Some(ports);
        let mut seed = [0; 32];
        rand_core::RngCore::fill_bytes(&mut core.rng, &mut seed);
        core.outputs.push_back(Output::OpenMedia { call: self.id, ports, seed });
        true
    }

    /// Sends the INVITE to the next target; where none is left, or the time for it is over, the
    /// call fails.
    pub(super) fn try_next(&mut self, core: &mut Core, now: Now) -> Fate {
        let mut passed_over = Reject::TrunkDown;
        if now.mono.saturating_duration_since(self.began) >= FAILOVER_MAX
            && let Some(setup) = self.setup()
        {
            setup.waiting.clear();
        }
        while let Some(candidate) = self.setup().and_then(|setup| setup.waiting.pop_front()) {
            let Some(trunk) = self.plan.trunks.get(candidate.trunk) else { continue };
            let (name, address) = (trunk.name.clone(), trunk.media);
            let emergency = self.setup().is_some_and(|setup| setup.emergency);
            if !emergency && !core.admission.trunk_allows(&self.plan, candidate.trunk) {
                passed_over = Reject::CallLimit;
                self.skip(&name, &candidate, passed_over.as_str());
                continue;
            }
            let Some(to) = core.target(&self.plan, candidate.trunk, &candidate.target) else {
                self.skip(&name, &candidate, "no_address");
                continue;
            };
            let Some(ports) = self.media.ports else { continue };
            if !self.open_media(core, now, ports.worker, ports.a, address) {
                passed_over = Reject::Overload;
                self.skip(&name, &candidate, "no_media_port");
                continue;
            }
            self.send_invite(core, now, &candidate, Hop::Target(to));
            return Fate::Lives;
        }
        match self.setup().and_then(|setup| setup.failure) {
            None => self.reject(core, now, passed_over),
            Some(status) => self.give_up(core, now, status),
        }
    }

    /// Tells the caller what the callee's side has answered, or that the trunks will not have it.
    fn give_up(&mut self, core: &mut Core, now: Now, status: u16) -> Fate {
        match cause::across(status) {
            503 => self.reject(core, now, Reject::TrunkDown),
            across => self.fail(core, now, across, cause::word(status)),
        }
    }

    /// A target that was passed over.
    fn skip(&mut self, trunk: &str, candidate: &Candidate, outcome: &str) {
        let (trunk, target) = (trunk.to_owned(), candidate.target.to_string());
        self.record.attempts.push(record::Attempt { trunk, target, outcome: outcome.into() });
    }

    fn send_invite(&mut self, core: &mut Core, now: Now, candidate: &Candidate, hop: Hop) {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(ports) = self.media.ports else { return };
        let identity = Identity::new(&plan, candidate.trunk, Some(&self.fqdn));
        let mut negotiation = leg::negotiation(core, &plan, candidate.trunk, ports.b.0, ports.b.1);
        let teams = leg::is_teams(&plan, candidate.trunk);
        let (branch, tag, call_id) = (core.branch(), core.token(), core.token());
        let Phase::Setup(setup) = &mut self.phase else { return };
        let called = if teams { setup.called.clone().with_plus() } else { setup.called.clone() };
        let contact = identity.contact(setup.caller.contact_user());
        let transport = match &hop {
            Hop::Target(target) => target.transport.param(),
            Hop::Flow { flow, .. } => flow.transport.param(),
        };
        let phone = if crate::party::is_telephone(&called.user) { ";user=phone" } else { "" };
        // TDR-OUT-001: the FQDN that is tried, user=phone, transport=tls.
        let uri = format!("sip:{}@{}{phone};transport={transport}", called.user, candidate.target);
        let mut request = Request::new(Method::Invite, uri);
        let headers = &mut request.headers;
        headers.push(Name::Via, identity.via(&branch));
        headers.push(Name::MaxForwards, setup.max_forwards.to_string());
        let mut from = setup.caller.from(&identity);
        from.extend_from_slice(format!(";tag={tag}").as_bytes());
        headers.push(Name::From, from);
        headers.push(
            Name::To,
            format!("<sip:{}@{}{phone}>", called.user, candidate.target.host_part()),
        );
        headers.push(Name::CallId, call_id.clone());
        headers.push(Name::CSeq, "1 INVITE");
        headers.push(Name::Contact, contact.clone());
        headers.push(Name::Allow, crate::identity::ALLOW);
        headers.push(Name::UserAgent, PRODUCT);
        let offer = setup.offer.for_other_leg(None).unwrap_or_else(|_| setup.offer.clone());
        request.set_body(SDP, negotiation.make_offer(&offer));
        let client = core.layer.request(now.mono, hop.clone(), request.clone());
        core.clients.insert(client, Owner::Invite(self.id));
        core.timers.arm(now.mono + SILENCE_MAX, Timer::Silence { call: self.id, client });
        if setup.attempt.is_none() && setup.failure.is_none() {
            core.timers.arm(now.mono + RING_MAX, Timer::NoAnswer(self.id));
        }
        setup.attempt = Some(Attempt {
            client,
            request,
            hop,
            trunk: candidate.trunk,
            identity,
            contact,
            negotiation,
            forks: Vec::new(),
            heard: false,
        });
        let trunk = plan.trunks.get(candidate.trunk).map_or("", |trunk| trunk.name.as_str());
        self.count_out(core, Some(trunk));
        self.record.call_id_out = Some(call_id);
        self.record.attempts.push(record::Attempt {
            trunk: trunk.to_owned(),
            target: candidate.target.to_string(),
            outcome: "pending".into(),
        });
    }

    /// Moves the call's place in the limits of outgoing trunks.
    pub(super) fn count_out(&mut self, core: &mut Core, trunk: Option<&str>) {
        if let Some(old) = self.trunk_out.take() {
            core.admission.trunk_out(&old, false);
        }
        if let Some(trunk) = trunk {
            core.admission.trunk_out(trunk, true);
            self.trunk_out = Some(trunk.to_owned());
        }
    }

    fn outcome(&mut self, outcome: impl Into<String>) {
        if let Some(attempt) = self.record.attempts.last_mut() {
            attempt.outcome = outcome.into();
        }
    }

    /// A response to the INVITE of leg B.
    pub(crate) fn invite_response(
        &mut self,
        core: &mut Core,
        now: Now,
        client: ClientId,
        hop: Hop,
        response: &Response,
    ) -> Fate {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(attempt) = self.setup().and_then(|setup| setup.attempt.as_mut()) else {
            return Fate::Lives;
        };
        if attempt.client != client {
            return Fate::Lives;
        }
        attempt.heard = true;
        match response.status {
            100 => Fate::Lives,
            101..=199 => self.ringing(core, now, response),
            200..=299 => self.answered(core, now, hop, response),
            status => {
                let teams = leg::is_teams(&plan, attempt.trunk);
                self.note_reason(teams, &response.headers);
                self.target_failed(core, now, status, &status.to_string())
            }
        }
    }

    /// A target has failed for good: the next one, or the end (TDR-FO-001, TDR-FO-004).
    fn target_failed(&mut self, core: &mut Core, now: Now, status: u16, outcome: &str) -> Fate {
        self.outcome(outcome);
        if let Some(setup) = self.setup() {
            setup.failure = Some(status);
            if let Some(attempt) = setup.attempt.take() {
                core.clients.remove(&attempt.client);
            }
        }
        if cause::next_target_may_help(status) {
            return self.try_next(core, now);
        }
        self.give_up(core, now, status)
    }

    /// The INVITE could not be sent, or the transaction timed out.
    pub(crate) fn invite_failed(
        &mut self,
        core: &mut Core,
        now: Now,
        client: ClientId,
        why: &str,
    ) -> Fate {
        let ours = self.setup().and_then(|setup| setup.attempt.as_ref());
        if ours.is_none_or(|attempt| attempt.client != client) {
            return Fate::Lives;
        }
        let status = if why == crate::b2bua::TIMEOUT { 504 } else { 503 };
        self.target_failed(core, now, status, why)
    }

    /// The target has had [`SILENCE_MAX`] to say anything.
    pub(crate) fn silent(&mut self, core: &mut Core, now: Now, client: ClientId) -> Fate {
        let Some(setup) = self.setup() else { return Fate::Lives };
        if setup.attempt.as_ref().is_none_or(|attempt| attempt.client != client || attempt.heard) {
            return Fate::Lives;
        }
        self.abandon(core, now, None);
        self.target_failed(core, now, 504, crate::b2bua::TIMEOUT)
    }

    /// Nobody answered.
    pub(crate) fn not_answered(&mut self, core: &mut Core, now: Now) -> Fate {
        if self.setup().is_none() {
            return Fate::Lives;
        }
        self.abandon(core, now, None);
        self.outcome("no_answer");
        self.fail(core, now, 480, "no_answer")
    }

    /// Cancels the INVITE that is out. Should its 2xx come all the same, it is ACKed and BYEd.
    pub(super) fn abandon(&mut self, core: &mut Core, now: Now, reason: Option<String>) {
        let Some(attempt) = self.setup().and_then(|setup| setup.attempt.take()) else { return };
        core.layer.cancel(now.mono, attempt.client, reason.map(Bytes::from));
        let Attempt { client, request, hop, identity, .. } = attempt;
        let abandoned = Abandoned { request, hop, identity, answered: false };
        core.clients.insert(client, Owner::Abandoned(Box::new(abandoned)));
    }

    fn ringing(&mut self, core: &mut Core, now: Now, response: &Response) -> Fate {
        // RFC 6228: a fork has ended; it rings nobody.
        if response.status == 199 {
            return Fate::Lives;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let sdp = leg::sdp_of(&response.headers, response.body());
        let early = match attempt.fork(response) {
            Some(fork) if !sdp.is_empty() => fork.take_answer(&sdp),
            _ => false,
        };
        if !early {
            // Early media goes on while others ring: a later 180 would make the caller's client
            // play ringback over it (TDR-EM-003, TDR-EM-023). And one 180 is enough.
            if setup.answered_early || setup.ringing == Some(response.status) {
                return Fate::Lives;
            }
            setup.ringing = Some(response.status);
            let (server, status) = (setup.server, response.status);
            let ringing = Self::response(&self.a, &setup.request, status);
            self.respond(core, now, server, ringing);
            return Fate::Lives;
        }
        let trunk = attempt.trunk;
        let Some((stream, answer)) = attempt.early_media(response) else { return Fate::Lives };
        let b = crate::io::LegMedia { stream, symmetric: leg::symmetric(&plan, trunk) };
        let first = !setup.answered_early;
        if first {
            let Ok(answer) = answer.answer_for(&setup.offer) else { return Fate::Lives };
            let Ok((body, _)) = self.a.negotiation.make_answer(&answer) else {
                return Fate::Lives;
            };
            setup.answered_early = true;
            setup.ringing = Some(response.status);
            let mut progress = Self::response(&self.a, &setup.request, response.status);
            progress.set_body(SDP, body);
            let server = setup.server;
            self.respond(core, now, server, progress);
        }
        let a = self.a.media(&plan);
        self.connect(core, a, Some(b));
        Fate::Lives
    }

    fn answered(&mut self, core: &mut Core, now: Now, hop: Hop, response: &Response) -> Fate {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(setup) = self.setup() else { return Fate::Lives };
        let Some(mut attempt) = setup.attempt.take() else { return Fate::Lives };
        let cseq = attempt.request.headers.cseq().number;
        if attempt.fork(response).is_none() {
            // Without a Contact there is no dialog to acknowledge in.
            core.clients.remove(&attempt.client);
            self.outcome("no_contact");
            return self.fail(core, now, 502, "no_contact");
        }
        let tag = response.headers.to().tag().map(Bytes::copy_from_slice).unwrap_or_default();
        let position = attempt.forks.iter().position(|fork| fork.dialog.id().remote_tag == tag);
        let Some(mut fork) = position.map(|at| attempt.forks.swap_remove(at)) else {
            return Fate::Lives;
        };
        fork.dialog.confirm(response);
        let sdp = leg::sdp_of(&response.headers, response.body());
        let usable = sdp.is_empty() || fork.take_answer(&sdp);
        let Attempt { client, request, hop: invited, trunk, identity, contact, .. } = attempt;
        let flow = match &hop {
            Hop::Flow { flow, .. } => Some(flow.clone()),
            Hop::Target(_) => None,
        };
        let target = match &invited {
            Hop::Target(target) => Some(target.clone()),
            Hop::Flow { .. } => None,
        };
        let mut b = Leg {
            trunk,
            identity: identity.clone(),
            contact,
            dialog: fork.dialog,
            negotiation: fork.negotiation,
            flow,
            invited: target,
        };
        // The ACK waits for nobody (TDR-DLG-040).
        let ack = b.ack(core, cseq);
        if let Some(to) = b.hop(core, &plan) {
            core.layer.acknowledge(now.mono, client, to, ack);
        }
        // Other forks may answer too: they are ACKed and BYEd.
        let abandoned = Abandoned { request, hop: invited, identity, answered: true };
        core.clients.insert(client, Owner::Abandoned(Box::new(abandoned)));
        core.timers.arm(now.mono + GIVE_UP, Timer::Forget(client));
        let answer = fork.answer.filter(|_| usable);
        let Some(body) = self.answer_a(answer.as_ref()) else {
            b.bye(core, now.mono, &plan, Some(&cause::reason_of(488)));
            self.outcome(Reject::NoCommonCodec.as_str());
            return self.reject(core, now, Reject::NoCommonCodec);
        };
        core.dialogs.insert(b.key(), (self.id, PeerLeg::B));
        let (media_a, media_b) = (self.a.media(&plan), b.media(&plan));
        self.b = Some(b);
        self.connect(core, media_a, media_b);
        self.answer_call(core, now, body);
        Fate::Lives
    }

    /// The SDP for leg A's 200: the answer it has already, or one made from leg B's.
    fn answer_a(&mut self, answer: Option<&Media>) -> Option<Bytes> {
        let Phase::Setup(setup) = &self.phase else { return None };
        let answer = answer?;
        if setup.answered_early {
            return self.a.negotiation.last_local().cloned();
        }
        let answer = answer.answer_for(&setup.offer).ok()?;
        self.a.negotiation.make_answer(&answer).ok().map(|(body, _)| body)
    }

    fn answer_call(&mut self, core: &mut Core, now: Now, body: Bytes) {
        let Phase::Setup(setup) = &self.phase else { return };
        let mut response = Self::response(&self.a, &setup.request, 200);
        response.set_body(SDP, body);
        let (server, direction) = (setup.server, setup.offer.direction);
        self.respond(core, now, server, response);
        self.outcome("200");
        self.record.status = 200;
        self.record.setup = Some(now.mono.saturating_duration_since(self.began));
        self.phase = Phase::Up(Up {
            answered: now.mono,
            acknowledged: false,
            awaits_answer: None,
            reinvite: None,
            // The first offer need not be sendrecv (TDR-HLD-008).
            asked: (direction, Direction::SendRecv),
            held: false,
        });
    }

    /// Refuses leg A's INVITE and ends the call.
    pub(super) fn fail(&mut self, core: &mut Core, now: Now, status: u16, word: &str) -> Fate {
        if let Phase::Setup(setup) = &self.phase {
            let mut response = Self::response(&self.a, &setup.request, status);
            response.headers.remove(Name::Contact);
            response.headers.push(Name::Reason, cause::reason_of(status));
            let server = setup.server;
            core.servers.remove(&server);
            self.respond(core, now, server, response);
        }
        self.record.status = status;
        self.end(core, now, word)
    }

    /// Refuses leg A's INVITE for a reason of ours.
    pub(super) fn reject(&mut self, core: &mut Core, now: Now, reason: Reject) -> Fate {
        core.emit(Event::Rejected { tenant: Some(self.tenant.clone()), reason });
        self.fail(core, now, reason.status(), reason.as_str())
    }

    /// The caller gives up: CANCEL, or a BYE in the early dialog.
    pub(crate) fn cancelled(&mut self, core: &mut Core, now: Now, cancel: &Request) -> Fate {
        if self.setup().is_none() {
            return Fate::Lives;
        }
        let teams = leg::is_teams(&self.plan, self.a.trunk);
        self.note_reason(teams, &cancel.headers);
        self.abandon(core, now, cause::crossing(&cancel.headers));
        self.outcome("cancelled");
        self.fail(core, now, 487, "cancelled")
    }

    /// Keeps Microsoft's words about the end of the call (TDR-ERR-001).
    pub(super) fn note_reason(&mut self, teams: bool, headers: &sip_core::Headers) {
        if teams && let Some(words) = cause::text(headers) {
            self.record.reason = Some(words);
        }
    }
}

impl Attempt {
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

    /// What the fork of this response has answered.
    fn early_media(&self, response: &Response) -> Option<(sdp::Stream, Media)> {
        let tag = response.headers.to().tag().unwrap_or_default();
        let fork = self.forks.iter().find(|fork| fork.dialog.id().remote_tag == tag)?;
        Some((fork.negotiation.stream()?.clone(), fork.answer.clone()?))
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
pub(crate) fn hang_up_late(
    core: &mut Core,
    now: Now,
    client: ClientId,
    from: &Hop,
    response: &Response,
) {
    // First of all, as a 2xx without Contact, which nobody can acknowledge, is an end too.
    core.timers.arm(now.mono + GIVE_UP, Timer::Forget(client));
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
    core.layer.acknowledge(now.mono, client, hop.clone(), ack);
    core.bye(now.mono, &mut dialog, hop, &identity, Some("SIP;cause=487"));
}
