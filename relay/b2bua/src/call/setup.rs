//! Before the answer: one target after another, forks, ringing and early media.

use super::attempt::{Attempt, Candidate, Invitation};
use super::failover::{RouteTerms, Watched};
use super::numbers;
use super::ringing::Ringing;
use super::{Call, Fate, Phase, Up};
use crate::admission::Full;
use crate::breaker::Failure;
use crate::cause;
use crate::core::Core;
use crate::credentials::Signed;
use crate::headers::Returned;
use crate::identity::Identity;
use crate::io::{Event, Hop, PeerLeg};
use crate::leg::{self, Leg, SDP, Unacknowledged};
use crate::plan::{Plan, RouteFrom, Trunk, TrunkKind};
use crate::record;
use crate::reject::Reject;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Direction, Media, Order};
use sip_core::transaction::{ClientId, ServerId};
use sip_core::{Name, Request, Response};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// After this long no further target is tried: the caller's side has its own clock, and Microsoft's
/// is about to run out (TDR-FO-006, TDR-FO-012).
const FAILOVER_MAX: Duration = Duration::from_secs(10);
/// How long the callee may ring: timer C asks for more than 3 minutes (RFC 3261, 16.6).
const RING_MAX: Duration = Duration::from_secs(185);

/// What is pending until the call is answered.
pub(super) struct Setup {
    /// Leg A's INVITE.
    pub(super) server: ServerId,
    pub(super) request: Request,
    /// What each target is asked.
    pub(super) invitation: Invitation,
    /// An ordinary call had to give way to it already.
    pub(super) pushed: bool,
    /// What the route says of targets that fail.
    pub(super) terms: RouteTerms,
    /// The target that is tried, if it may come to rest.
    pub(super) watched: Option<Watched>,
    pub(super) waiting: VecDeque<Candidate>,
    pub(super) attempt: Option<Attempt>,
    /// Redirections followed so far.
    pub(super) redirects: usize,
    /// What the caller was told, and hears of ours.
    pub(super) ringing: Ringing,
    /// What the last target that failed has answered.
    failure: Option<u16>,
    /// What else the last response of a target said.
    returned: Returned,
}

impl Setup {
    pub(super) fn new(
        server: ServerId,
        request: Request,
        invitation: Invitation,
        terms: RouteTerms,
        candidates: Vec<Candidate>,
    ) -> Self {
        Self {
            server,
            request,
            invitation,
            pushed: false,
            terms,
            watched: None,
            waiting: candidates.into(),
            attempt: None,
            redirects: 0,
            ringing: Ringing::default(),
            failure: None,
            returned: Returned::default(),
        }
    }

    /// A response to leg A's INVITE that tells what the far side has said beside its SDP.
    pub(super) fn response(&self, plan: &Plan, a: &Leg, status: u16) -> Response {
        let mut response = Call::response(a, &self.request, status);
        if let Some(trunk) = plan.trunks.get(a.trunk) {
            self.returned.write(&mut response.headers, (trunk, &a.identity));
        }
        response
    }
}

impl Call {
    pub(super) fn setup(&mut self) -> Option<&mut Setup> {
        match &mut self.phase {
            Phase::Setup(setup) => Some(setup),
            Phase::Up(_) | Phase::Ending => None,
        }
    }

    /// Sends the INVITE to the next target; where none is left, or the time for it is over, the
    /// call fails.
    pub(crate) fn try_next(&mut self, core: &mut Core) -> Fate {
        let plan = Arc::clone(&self.plan);
        let mut passed_over = Reject::TrunkDown;
        // The target before it has it no more, though it may be of the same trunk.
        self.count_out(core, None);
        if core.now.mono.saturating_duration_since(self.began) >= FAILOVER_MAX
            && let Some(setup) = self.setup()
        {
            // A redirection is followed however late it comes: somebody has answered.
            setup.waiting.retain(|candidate| candidate.redirected.is_some());
        }
        while let Some(candidate) = self.setup().and_then(|setup| setup.waiting.pop_front()) {
            let Some(trunk) = plan.trunks.get(candidate.trunk) else { continue };
            let name = trunk.name.clone();
            if let Err(full) = core.admission.would_carry(core.now.mono, trunk) {
                if !self.emergency {
                    passed_over = full.reject;
                    self.skip(core, &name, &candidate, full.reject.as_str());
                    continue;
                }
                if full.reject == Reject::CallLimit && self.pushes(core, &name) {
                    // Whoever gives way hangs up first.
                    if let Some(setup) = self.setup() {
                        setup.waiting.push_front(candidate);
                    }
                    return Fate::Lives;
                }
            }
            let redirected = self.redirected_classes(core, &candidate, self.emergency);
            let classes = match redirected {
                Ok(classes) => classes,
                Err(full) => {
                    passed_over = full.reject;
                    self.skip(core, &name, &candidate, passed_over.as_str());
                    continue;
                }
            };
            if !candidate.last_resort && self.has_begun_to_rest(core, &candidate) {
                self.skip(core, &name, &candidate, "resting");
                continue;
            }
            if !self.setup().is_some_and(|setup| setup.invitation.is_callable(&plan, &candidate)) {
                passed_over = Reject::NotANumber;
                self.skip(core, &name, &candidate, passed_over.as_str());
                continue;
            }
            let to = match &candidate.to {
                Ok(to) => to.clone(),
                Err(why) => {
                    self.skip(core, &name, &candidate, why);
                    continue;
                }
            };
            self.settle_transcoding(core, candidate.trunk);
            let transcoded = self.transcoding.allowed;
            let speaks =
                |setup: &mut Setup| setup.invitation.speaks(&plan, candidate.trunk, transcoded);
            if !self.setup().is_some_and(speaks) {
                let fax = self.setup().is_some_and(|setup| setup.invitation.offer.fax.is_some());
                passed_over = if fax { Reject::NoFax } else { Reject::NoCommonCodec };
                self.skip(core, &name, &candidate, passed_over.as_str());
                continue;
            }
            let Some(ports) = self.media.ports else { continue };
            if !self.open_media(core, ports.worker, ports.a, candidate.trunk) {
                passed_over = Reject::NoMediaPort;
                self.skip(core, &name, &candidate, "no_media_port");
                continue;
            }
            if let Some(classes) = classes {
                let toll = self.begin_toll(core, classes);
                self.takes_toll(core, PeerLeg::B, toll);
            }
            self.send_invite(core, &candidate, to);
            return Fate::Lives;
        }
        match self.setup().and_then(|setup| setup.failure) {
            None => self.reject(core, passed_over),
            Some(status) => self.give_up(core, status),
        }
    }

    /// Tells the caller what the callee's side has answered, or that the trunks will not have it.
    fn give_up(&mut self, core: &mut Core, status: u16) -> Fate {
        match cause::across(status) {
            503 => self.reject(core, Reject::TrunkDown),
            across => self.fail(core, across, cause::word(status)),
        }
    }

    /// What a redirection leads to counts for in place of the number that was called, if it may be
    /// called at all.
    fn redirected_classes(
        &self,
        core: &Core,
        candidate: &Candidate,
        emergency: bool,
    ) -> Result<Option<Vec<Arc<str>>>, Full> {
        let tenant = self.own_tenant();
        if let (Some(called), Some(tenant), false) = (&candidate.redirected, tenant, emergency)
            && let Some(why) = numbers::called_blocked(&self.plan, tenant, called)
        {
            return Err(Full { reject: Reject::Blocked, why });
        }
        match (&candidate.redirected, tenant, self.direction) {
            (Some(called), Some(tenant), RouteFrom::Teams) if !emergency => {
                core.fraud.would_allow(core.now.mono, tenant, &called.number).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A target that was passed over.
    fn skip(&mut self, core: &mut Core, trunk: &str, candidate: &Candidate, outcome: &'static str) {
        core.emit(Event::PassedOver { trunk: trunk.to_owned(), reason: outcome });
        let (trunk, target) = (trunk.to_owned(), candidate.target.to_string());
        self.record.attempts.push(record::Attempt { trunk, target, outcome: outcome.into() });
    }

    fn send_invite(&mut self, core: &mut Core, candidate: &Candidate, hop: Hop) {
        let plan = Arc::clone(&self.plan);
        let Some(ports) = self.media.ports else { return };
        let identity = Identity::new(&plan, candidate.trunk, Some(&self.fqdn));
        let to = (candidate.trunk, self.whose());
        let mut negotiation = leg::negotiation(core, &plan, to, ports.b);
        self.tell_transcoding(candidate.trunk, &mut negotiation);
        self.pass_key(core, candidate.trunk, &mut negotiation);
        // What the target before it has said is nothing to this one.
        *self.owed_move(PeerLeg::B) = None;
        let Phase::Setup(setup) = &mut self.phase else { return };
        let us = (identity, negotiation);
        let attempt = setup.invitation.send(
            core,
            &plan,
            self.id,
            (candidate, hop),
            us,
            Some(&setup.request.headers),
        );
        let patience = setup.terms.answer_timeout(&plan, candidate.trunk);
        core.arm(patience, Timer::Silence { call: self.id, client: attempt.client });
        core.breakers.tried(core.now.mono, &attempt.to());
        setup.watched = Watched::of(&plan, candidate);
        if setup.attempt.is_none() && setup.failure.is_none() {
            core.arm(RING_MAX, Timer::NoAnswer(self.id));
        }
        self.record.call_id_out = Some(attempt.call_id());
        core.dialogs.insert(attempt.key(), (self.id, PeerLeg::B));
        let offered = attempt.ice_offered();
        setup.attempt = Some(attempt);
        self.expect_checks(core, PeerLeg::B, offered);
        let trunk = plan.trunks.get(candidate.trunk);
        self.count_out(core, trunk);
        // Most calls have one for all their life.
        self.record.attempts.reserve_exact(1);
        self.record.attempts.push(record::Attempt {
            trunk: trunk.map_or_else(String::new, |trunk| trunk.name.clone()),
            target: candidate.target.to_string(),
            outcome: "pending".into(),
        });
    }

    /// Moves the call's place in the limits of outgoing trunks.
    pub(super) fn count_out(&mut self, core: &mut Core, trunk: Option<&Trunk>) {
        if let Some(old) = self.trunk_out.take() {
            core.admission.leave(&core.plan, &old);
        }
        if let Some(trunk) = trunk {
            core.admission.carry(core.now.mono, trunk);
            self.trunk_out = Some(trunk.name.clone());
        }
    }

    pub(super) fn outcome(&mut self, outcome: impl Into<String>) {
        if let Some(attempt) = self.record.attempts.last_mut() {
            attempt.outcome = outcome.into();
        }
    }

    /// A response to the INVITE of leg B.
    pub(crate) fn invite_response(
        &mut self,
        core: &mut Core,
        client: ClientId,
        hop: &Hop,
        response: &Response,
    ) -> Fate {
        let plan = Arc::clone(&self.plan);
        let id = self.id;
        let Some(attempt) = self.setup().and_then(|setup| setup.attempt.as_mut()) else {
            return self.transfer_response(core, client, hop, response);
        };
        if attempt.client != client {
            return Fate::Lives;
        }
        attempt.heard = true;
        let to = attempt.to();
        core.endpoints.heard(&to);
        if response.status == 503
            && let Some(pause) = cause::retry_after(&response.headers)
        {
            let kind = plan.trunks.get(attempt.trunk).map(|trunk| trunk.kind);
            core.endpoints.rests(core.now.mono, &to, kind.unwrap_or(TrunkKind::Carrier), pause);
        }
        if response.status == 422 && attempt.raise(core, id, response) {
            let (client, trunk) = (attempt.client, attempt.trunk);
            self.waits_for(core, trunk, client);
            return Fate::Lives;
        }
        let trunk = attempt.trunk;
        if let Some(of) = plan.trunks.get(trunk)
            && let Some(setup) = self.setup()
        {
            setup.returned = Returned::of(of, response);
        }
        self.note_teams(core, trunk, hop, response);
        self.target_answered_so(core, trunk, response.status);
        match response.status {
            100 => Fate::Lives,
            101..=199 => self.ringing(core, hop, response),
            200..=299 => self.answered(core, hop, response),
            status => {
                self.note_reason(trunk, &response.headers, Some(status));
                if self.follow(core, response) {
                    self.target_gone(core, status, &status.to_string());
                    return self.try_next(core);
                }
                let again = self.fails_over(trunk, status);
                self.target_failed(core, status, &status.to_string(), again)
            }
        }
    }

    /// The target has asked who we are: the INVITE goes out again with credentials, which is not a
    /// failure of the target.
    pub(crate) fn invite_signed(
        &mut self,
        core: &mut Core,
        client: ClientId,
        signed: Signed,
    ) -> Fate {
        if matches!(self.phase, Phase::Up(_)) {
            return self.transfer_signed(core, client, signed);
        }
        let attempt = self.setup().and_then(|setup| setup.attempt.as_mut());
        if let Some(attempt) = attempt.filter(|attempt| attempt.client == client) {
            attempt.sign(core, signed);
            let (client, trunk) = (attempt.client, attempt.trunk);
            self.waits_for(core, trunk, client);
        }
        Fate::Lives
    }

    /// A target has failed for good: the next one, or the end (TDR-FO-001, TDR-FO-004).
    fn target_failed(
        &mut self,
        core: &mut Core,
        status: u16,
        outcome: &str,
        tries_next: bool,
    ) -> Fate {
        self.target_gone(core, status, outcome);
        match tries_next {
            true => self.try_next(core),
            false => self.give_up(core, status),
        }
    }

    /// The target has [so long](RouteTerms::answer_timeout) to say anything.
    fn waits_for(&mut self, core: &mut Core, trunk: usize, client: ClientId) {
        let (plan, call) = (Arc::clone(&self.plan), self.id);
        let Some(setup) = self.setup() else { return };
        core.arm(setup.terms.answer_timeout(&plan, trunk), Timer::Silence { call, client });
    }

    fn target_gone(&mut self, core: &mut Core, status: u16, outcome: &str) {
        self.outcome(outcome);
        let Some(setup) = self.setup() else { return };
        setup.failure = Some(status);
        (setup.ringing.rings, setup.ringing.over) = (false, false);
        if let Some(attempt) = setup.attempt.take() {
            core.clients.remove(&attempt.client);
            core.dialogs.remove(&attempt.key());
        }
    }

    /// The INVITE could not be sent, or the transaction timed out.
    pub(crate) fn invite_failed(&mut self, core: &mut Core, client: ClientId, why: &str) -> Fate {
        if matches!(self.phase, Phase::Up(_)) {
            return self.transfer_lost(core, client, why);
        }
        let ours = self.setup().and_then(|setup| setup.attempt.as_ref());
        if ours.is_none_or(|attempt| attempt.client != client) {
            return Fate::Lives;
        }
        self.endpoint_failed(core);
        let status = if why == crate::b2bua::TIMEOUT { 504 } else { 503 };
        let attempt = self.setup().and_then(|setup| setup.attempt.as_ref());
        if let Some(attempt) = attempt.filter(|_| status == 503) {
            attempt.could_not_be_sent(core);
        }
        self.target_failed(core, status, why, true)
    }

    /// The target has had its time to say anything.
    pub(crate) fn silent(&mut self, core: &mut Core, client: ClientId) -> Fate {
        let Some(setup) = self.setup() else { return Fate::Lives };
        if setup.attempt.as_ref().is_none_or(|attempt| attempt.client != client || attempt.heard) {
            return Fate::Lives;
        }
        self.endpoint_failed(core);
        self.abandon(core, None);
        self.target_failed(core, 504, crate::b2bua::TIMEOUT, true)
    }

    /// Nothing came from where the INVITE went: the next call goes elsewhere first.
    fn endpoint_failed(&mut self, core: &mut Core) {
        let attempt = self.setup().and_then(|setup| setup.attempt.as_ref());
        if let Some(attempt) = attempt.filter(|attempt| !attempt.heard) {
            core.endpoints.failed(core.now.mono, &attempt.to());
            self.target_in_trouble(core, Failure::Silence);
        }
    }

    /// Nobody answered.
    pub(crate) fn not_answered(&mut self, core: &mut Core) -> Fate {
        if self.setup().is_none() {
            return Fate::Lives;
        }
        self.abandon(core, None);
        self.outcome("no_answer");
        self.fail(core, 480, "no_answer")
    }

    /// Cancels the INVITE that is out.
    pub(super) fn abandon(&mut self, core: &mut Core, reason: Option<String>) {
        if let Some(attempt) = self.setup().and_then(|setup| setup.attempt.take()) {
            let told = leg::is_told_reasons(&self.plan, attempt.trunk);
            attempt.abandon(core, reason.filter(|_| told));
        }
    }

    fn answered(&mut self, core: &mut Core, from: &Hop, response: &Response) -> Fate {
        let plan = Arc::clone(&self.plan);
        let Some(attempt) = self.setup().and_then(|setup| setup.attempt.take()) else {
            return Fate::Lives;
        };
        let Ok((mut b, answer)) = attempt.answered(core, &plan, from, response) else {
            self.outcome("no_contact");
            return self.fail(core, 502, "no_contact");
        };
        if let Some(setup) = self.setup() {
            setup.ringing.plays = None;
        }
        if let Some(stream) = b.negotiation.stream() {
            self.pass_key_back(core, stream);
            self.key_of_a_loser(core, stream);
        }
        let Some(body) = answer.and_then(|answer| self.describe(&answer)) else {
            b.bye(core, &plan, Some(&cause::reason_of(488)));
            self.outcome(Reject::NoCommonCodec.as_str());
            return self.reject(core, Reject::NoCommonCodec);
        };
        core.dialogs.insert(b.key(), (self.id, PeerLeg::B));
        b.session.arm(core, self.id, PeerLeg::B);
        let (media_a, media_b) = (self.a.carriage(&plan), b.carriage(&plan));
        self.b = Some(b);
        self.connect(core, media_a, media_b);
        self.note_place(PeerLeg::B, &response.headers);
        self.answer_call(core, body);
        self.follow_user(core)
    }

    /// Our description for leg A: the one it has already, or one made from leg B's answer.
    pub(super) fn describe(&mut self, answer: &Media) -> Option<Bytes> {
        let Phase::Setup(setup) = &self.phase else { return None };
        if setup.ringing.described {
            return self.a.negotiation.last_local().cloned();
        }
        if self.asks_for_offer() {
            return self.offer_agreed(answer);
        }
        self.a.negotiation.answer_like(answer).ok().map(|(body, _)| body)
    }

    /// Sends leg A its 200, now or once its PRACK has come.
    fn answer_call(&mut self, core: &mut Core, body: Bytes) {
        if self.may_answer(core) {
            self.send_answer(core, Some(body));
        }
    }

    /// Sends leg A its 200, with our description unless that was acknowledged before.
    pub(super) fn send_answer(&mut self, core: &mut Core, body: Option<Bytes>) {
        let Phase::Setup(setup) = &self.phase else { return };
        let mut response = setup.response(&self.plan, &self.a, 200);
        if let Some(body) = body.filter(|_| !self.is_described_reliably()) {
            response.set_body(SDP, body);
        }
        let session = &mut self.a.session;
        session.timer.answer(core.now.mono, &setup.request.headers, &mut response.headers);
        session.arm(core, self.id, PeerLeg::A);
        // Without an agreement the description was an offer, and ACK will hold its answer.
        let with_answer = self.a.negotiation.stream().is_none();
        let (server, direction) = (setup.server, setup.invitation.offer.direction);
        core.respond(server, response);
        self.a.unacknowledged = Some(Unacknowledged { server, opening: true, with_answer });
        self.outcome("200");
        self.toll_runs(core, PeerLeg::B);
        self.record.status = 200;
        let setup = core.now.mono.saturating_duration_since(self.began);
        self.record.setup = Some(setup);
        self.record.ringing.get_or_insert(setup);
        self.phase = Phase::Up(Up {
            answered: core.now.mono,
            ours: None,
            // The first offer need not be sendrecv (TDR-HLD-008).
            asked: (direction, Direction::SendRecv),
            held: false,
        });
        self.order(core, PeerLeg::A, Order::Watch);
        self.note_transcoding(core, None, None);
    }

    /// Refuses leg A's INVITE and ends the call.
    pub(super) fn fail(&mut self, core: &mut Core, status: u16, word: &str) -> Fate {
        self.fail_with(core, status, word, None)
    }

    fn fail_with(
        &mut self,
        core: &mut Core,
        status: u16,
        word: &str,
        phrase: Option<&'static str>,
    ) -> Fate {
        if let Phase::Setup(setup) = &self.phase {
            let mut response = Self::response(&self.a, &setup.request, status);
            response.headers.remove(Name::Contact);
            let to = self.plan.trunks.get(self.a.trunk);
            if let Some(reason) = setup.returned.reason(status, to) {
                response.headers.push(Name::Reason, reason);
            }
            if let Some(phrase) = phrase {
                response.reason = phrase.into();
            }
            let server = setup.server;
            core.servers.remove(server);
            core.respond(server, response);
            // The callee may have answered, its 200 waiting for the caller's PRACK.
            let plan = Arc::clone(&self.plan);
            if let Some(b) = &mut self.b {
                b.bye(core, &plan, Some(&cause::reason_of(status)));
            }
        }
        self.record.status = status;
        self.end(core, word)
    }

    /// Refuses leg A's INVITE for a reason of ours.
    pub(super) fn reject(&mut self, core: &mut Core, reason: Reject) -> Fate {
        core.emit(Event::Rejected { tenant: Some(self.tenant.clone()), reason });
        self.fail_with(core, reason.status(), reason.as_str(), Some(reason.phrase()))
    }

    /// The caller gives up: CANCEL, or a BYE in the early dialog.
    pub(crate) fn cancelled(&mut self, core: &mut Core, cancel: &Request) -> Fate {
        if self.setup().is_none() {
            return Fate::Lives;
        }
        self.note_reason(self.a.trunk, &cancel.headers, None);
        self.abandon(core, cause::crossing(&cancel.headers));
        self.outcome("cancelled");
        self.fail(core, 487, "cancelled")
    }
}
