//! Re-INVITE after the answer: hold, resume, codec or address change, session refresh.
//!
//! The legs are anchored: a change of address or key on one leg is nobody's business on the other
//! (TDR-DLG-012). Only what the other side must know crosses: a change of direction, or a codec
//! that is no longer offered.

use super::incoming::reject_of;
use super::{Ask, Call, Fate, Phase};
use crate::cause;
use crate::core::{Core, Owner};
use crate::io::{Hop, PeerLeg};
use crate::leg::{self, SDP};
use crate::plan::HoldPolicy;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Direction, Media, Refusal};
use sip_core::transaction::{ClientId, GIVE_UP, ServerId};
use sip_core::{Method, Name, Request, Response};
use std::sync::Arc;

/// A re-INVITE of ours that has not been answered yet.
pub(super) struct Reinvite {
    /// The leg on whose account it is sent to the other one.
    from: PeerLeg,
    /// Who waits for its outcome; nobody after a re-INVITE without SDP, which has its 200.
    asker: Option<Asker>,
    client: ClientId,
    /// Where its ACK goes if the call ends before its answer comes, and the ACK.
    parting: Box<(Hop, Request)>,
    /// The direction that leg was offered.
    offered: Direction,
}

/// A re-INVITE of theirs that has not been answered yet.
struct Asker {
    ask: Ask,
    offer: Media,
}

impl PeerLeg {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl Call {
    /// A re-INVITE came in on leg `which`.
    pub(super) fn reinvite(&mut self, core: &mut Core, ask: Ask) -> Fate {
        let which = ask.leg;
        if let Some(status) = self.not_now(which) {
            let mut response = self.reply(&ask, status);
            if status == 500 {
                // RFC 3261, 14.2: between 0 and 10 seconds, chosen at random.
                let wait = (core.random_fraction() * 10.0).floor();
                response.headers.push(Name::RetryAfter, format!("{wait}"));
            }
            core.respond(ask.server, response);
            return Fate::Lives;
        }
        let offered = leg::sdp_of(&ask.request.headers, ask.request.body());
        if offered.is_empty() {
            return self.offer_ours(core, &ask);
        }
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let offer = match leg.negotiation.receive_offer(&offered) {
            Ok(offer) => offer,
            Err(refusal) => {
                return self.refuse(core, &ask, &refusal);
            }
        };
        if leg.negotiation.is_refresh() {
            let answer = leg.negotiation.answer_refresh();
            return self.accept(core, &ask, answer.map(|(body, _)| body));
        }
        match self.crossing(which, &offer) {
            Some(out) => self.forward(core, which, Some(Asker { ask, offer }), out),
            None => self.absorb(core, &ask, &offer),
        }
    }

    /// Whether a re-INVITE must wait: 491 while ours is out or the call is not yet acknowledged,
    /// 500 while an earlier one of theirs is unanswered (RFC 3261, 14.2; TDR-DLG-018).
    fn not_now(&self, which: PeerLeg) -> Option<u16> {
        let Phase::Up(up) = &self.phase else { return Some(491) };
        match &up.reinvite {
            Some(pending) if pending.from == which && pending.asker.is_some() => Some(500),
            Some(_) => Some(491),
            None => (!up.acknowledged).then_some(491),
        }
    }

    /// A re-INVITE without SDP asks for our offer: all that this leg has, in the direction that the
    /// other one allows. Teams is never asked the same way (TDR-DLG-010, TDR-DLG-011).
    fn offer_ours(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let which = ask.leg;
        let direction = self.asked_direction(which.other());
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let Some(last) = leg.negotiation.last_local_media().cloned() else {
            return self.refuse(core, ask, &Refusal::OutOfTurn);
        };
        let body = leg.negotiation.make_offer(&Media { direction, ..last });
        let mut response = self.reply(ask, 200);
        response.set_body(SDP, body);
        core.respond(ask.server, response);
        core.servers.insert(ask.server, self.id);
        if let Phase::Up(up) = &mut self.phase {
            up.acknowledged = false;
            up.awaits_answer = Some(which);
        }
        Fate::Lives
    }

    /// The ACK for our 200 has come, with the answer if the 200 held the offer. Without a usable
    /// one all stays as it was.
    pub(crate) fn acknowledged(&mut self, core: &mut Core, ack: &Request) -> Fate {
        let Phase::Up(up) = &mut self.phase else { return Fate::Lives };
        up.acknowledged = true;
        let Some(which) = up.awaits_answer.take() else { return Fate::Lives };
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let Ok((answer, _)) =
            leg.negotiation.receive_answer(&leg::sdp_of(&ack.headers, ack.body()))
        else {
            leg.negotiation.rollback();
            return Fate::Lives;
        };
        self.agreed(core);
        match self.crossing(which, &answer) {
            Some(out) => self.forward(core, which, None, out),
            None => Fate::Lives,
        }
    }

    /// What the other leg must be offered, if anything.
    fn crossing(&self, which: PeerLeg, offer: &Media) -> Option<Media> {
        let other = match which {
            PeerLeg::A => self.b.as_ref()?,
            PeerLeg::B => &self.a,
        };
        let teams = leg::is_teams(&self.plan, other.trunk);
        let absorb = teams && self.hold_policy() == HoldPolicy::Absorb;
        let direction = match offer.direction {
            Direction::SendRecv => Direction::SendRecv,
            _ if absorb => Direction::SendRecv,
            // The one hold that Microsoft understands (TDR-HLD-001).
            _ if teams => Direction::Inactive,
            held => held,
        };
        let offered = other.negotiation.last_local_media()?;
        let agreed = other.negotiation.stream()?;
        // That side wants to talk and we told it to wait, on an answer of this one.
        let waits = agreed.direction != Direction::SendRecv
            && other.negotiation.last_remote()?.direction == Direction::SendRecv;
        let turned =
            self.asked_direction(which) != direction || (waits && direction == Direction::SendRecv);
        // What is in use with the far side of the other leg, first choice first.
        let in_use = agreed.payloads.iter().find(|p| p.is_speech())?;
        let codec_gone = !offer.payloads.iter().any(|payload| payload.same_encoding(in_use));
        if !turned && !codec_gone {
            return None;
        }
        let payloads = if codec_gone {
            offer.for_other_leg(None).ok()?.payloads
        } else {
            offered.payloads.clone()
        };
        Some(Media { payloads, direction, ptime_ms: offered.ptime_ms })
    }

    /// The direction that leg `which` has asked of the other one so far.
    fn asked_direction(&self, which: PeerLeg) -> Direction {
        match &self.phase {
            Phase::Up(up) => match which {
                PeerLeg::A => up.asked.0,
                PeerLeg::B => up.asked.1,
            },
            Phase::Setup(_) | Phase::Ending => Direction::SendRecv,
        }
    }

    fn hold_policy(&self) -> HoldPolicy {
        let tenant = self.plan.tenants.iter().find(|tenant| tenant.name == self.tenant);
        tenant.map_or(HoldPolicy::Inactive, |tenant| tenant.hold)
    }

    /// Answers without troubling the other leg.
    fn absorb(&mut self, core: &mut Core, ask: &Ask, offer: &Media) -> Fate {
        let other = match ask.leg {
            PeerLeg::A => self.b.as_ref(),
            PeerLeg::B => Some(&self.a),
        };
        // What was agreed there, not what its far side once offered.
        let agreed = other.and_then(|leg| leg.negotiation.stream()).map(|stream| Media {
            payloads: stream.payloads.clone(),
            direction: offer.direction.reversed(),
            ptime_ms: stream.ptime_ms,
        });
        let answer = agreed
            .ok_or(Refusal::OutOfTurn)
            .and_then(|agreed| agreed.answer_for(offer))
            .and_then(|answer| {
                let leg = self.leg(ask.leg).ok_or(Refusal::OutOfTurn)?;
                leg.negotiation.make_answer(&answer)
            });
        self.accept(core, ask, answer.map(|(body, _)| body))
    }

    /// Answers leg `which` with `body` and connects what was agreed, or refuses and rolls back.
    fn accept(&mut self, core: &mut Core, ask: &Ask, body: Result<Bytes, Refusal>) -> Fate {
        let body = match body {
            Ok(body) => body,
            Err(refusal) => return self.refuse(core, ask, &refusal),
        };
        let mut response = self.reply(ask, 200);
        response.set_body(SDP, body);
        core.respond(ask.server, response);
        core.servers.insert(ask.server, self.id);
        if let Phase::Up(up) = &mut self.phase {
            up.acknowledged = false;
        }
        self.agreed(core);
        Fate::Lives
    }

    /// Something new is agreed on a leg: the media follows.
    fn agreed(&mut self, core: &mut Core) {
        let plan = Arc::clone(&self.plan);
        let a = self.a.media(&plan);
        let b = self.b.as_ref().and_then(|leg| leg.media(&plan));
        self.connect(core, a, b);
        self.note_hold();
    }

    fn refuse(&mut self, core: &mut Core, ask: &Ask, refusal: &Refusal) -> Fate {
        if let Some(leg) = self.leg(ask.leg) {
            leg.negotiation.rollback();
        }
        let mut response = self.reply(ask, reject_of(refusal).status());
        let agent = &self.plan.node.fqdn;
        response.headers.push(Name::Warning, format!("399 {agent} \"{refusal}\""));
        core.servers.remove(&ask.server);
        core.respond(ask.server, response);
        Fate::Lives
    }

    /// Sends a re-INVITE on the other leg; its answer makes ours.
    fn forward(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        asker: Option<Asker>,
        out: Media,
    ) -> Fate {
        let plan = Arc::clone(&self.plan);
        let id = self.id;
        let Some(other) = self.leg(which.other()) else { return Fate::Lives };
        let Some(hop) = other.hop(core, &plan) else {
            let Some(Asker { ask, .. }) = asker else { return Fate::Lives };
            return self.refuse(core, &ask, &Refusal::OutOfTurn);
        };
        let mut invite = other.request(core, Method::Invite);
        invite.set_body(SDP, other.negotiation.make_offer(&out));
        let parting = Box::new((hop.clone(), other.ack(core, invite.headers.cseq().number)));
        let client = core.request(hop, invite, Owner::Reinvite(id, which.other()));
        if let Some(asker) = &asker {
            core.servers.insert(asker.ask.server, id);
        }
        core.arm(GIVE_UP, Timer::Reinvite { call: id, client });
        let offered = out.direction;
        if let Phase::Up(up) = &mut self.phase {
            up.reinvite = Some(Reinvite { from: which, asker, client, parting, offered });
        }
        Fate::Lives
    }

    /// A response to our re-INVITE on leg `which`.
    pub(crate) fn reinvite_response(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        hop: &Hop,
        response: &Response,
    ) -> Fate {
        if response.status < 200 {
            return Fate::Lives;
        }
        if let Hop::Flow { flow, .. } = hop {
            self.heard_on(which, flow);
        }
        core.clients.remove(&client);
        if response.status < 300 {
            self.acknowledge(core, which, client, response);
        }
        let Some(pending) = self.take_pending(client) else { return Fate::Lives };
        if response.status >= 300 {
            return self.reinvite_failed(core, pending, response.status);
        }
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let Reinvite { from, asker, offered, .. } = pending;
        let answer =
            leg.negotiation.receive_answer(&leg::sdp_of(&response.headers, response.body()));
        if answer.is_err() {
            leg.negotiation.rollback();
        }
        if let Phase::Up(up) = &mut self.phase {
            match from {
                PeerLeg::A => up.asked.0 = offered,
                PeerLeg::B => up.asked.1 = offered,
            }
        }
        let Some(Asker { ask, offer }) = asker else {
            self.agreed(core);
            return Fate::Lives;
        };
        let body = answer.and_then(|(media, _)| {
            let mut answer = media.answer_for(&offer)?;
            // A hold was translated, so its answer is translated back (TDR-HLD-001).
            if offered != offer.direction {
                answer.direction = offer.direction.reversed();
            }
            let leg = self.leg(from).ok_or(Refusal::OutOfTurn)?;
            leg.negotiation.make_answer(&answer).map(|(body, _)| body)
        });
        self.accept(core, &ask, body)
    }

    fn acknowledge(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        response: &Response,
    ) {
        let plan = Arc::clone(&self.plan);
        let Some(leg) = self.leg(which) else { return };
        leg.dialog.refresh(response);
        let ack = leg.ack(core, response.headers.cseq().number);
        if let Some(to) = leg.hop(core, &plan) {
            core.acknowledge(client, to, ack);
        }
    }

    fn take_pending(&mut self, client: ClientId) -> Option<Reinvite> {
        let Phase::Up(up) = &mut self.phase else { return None };
        up.reinvite.take_if(|pending| pending.client == client)
    }

    /// The other side refused: the call stays as it was (TDR-DLG-017), unless it is gone there.
    fn reinvite_failed(&mut self, core: &mut Core, pending: Reinvite, status: u16) -> Fate {
        for leg in [Some(&mut self.a), self.b.as_mut()].into_iter().flatten() {
            leg.negotiation.rollback();
        }
        let gone = matches!(status, 408 | 481);
        let status = if gone { 481 } else { cause::across(status) };
        self.answer_asker(core, pending.asker, status);
        if gone {
            let word = "dialog_gone";
            return self.hang_up(core, None, Some("SIP;cause=481"), word);
        }
        Fate::Lives
    }

    /// Our re-INVITE was never answered (408), or could not be sent, which counts as 503 and does
    /// not end the call (RFC 3261, 8.1.3.1 and 12.2.1.2).
    pub(crate) fn reinvite_lost(&mut self, core: &mut Core, client: ClientId, status: u16) -> Fate {
        match self.take_pending(client) {
            Some(pending) => self.reinvite_failed(core, pending, status),
            None => Fate::Lives,
        }
    }

    /// CANCEL of a re-INVITE: it goes on, and what the other side makes of it is the answer. Its
    /// 487 leaves the state before; its 200 may have crossed the CANCEL, and then both sides have
    /// what they agreed.
    pub(crate) fn reinvite_cancelled(&mut self, core: &mut Core, server: ServerId) -> Fate {
        let asks =
            |it: &&Reinvite| it.asker.as_ref().is_some_and(|asker| asker.ask.server == server);
        let pending = self.pending().filter(asks);
        if let Some(client) = pending.map(|pending| pending.client) {
            core.cancel(client, None);
        }
        Fate::Lives
    }

    /// Our re-INVITE was heard and never answered: it is cancelled, which ends it in time.
    pub(crate) fn reinvite_overdue(&mut self, core: &mut Core, client: ClientId) -> Fate {
        if self.pending().is_some_and(|pending| pending.client == client) {
            core.cancel(client, None);
        }
        Fate::Lives
    }

    fn pending(&self) -> Option<&Reinvite> {
        match &self.phase {
            Phase::Up(up) => up.reinvite.as_ref(),
            Phase::Setup(_) | Phase::Ending => None,
        }
    }

    /// The call ends while a re-INVITE is unanswered.
    pub(super) fn refuse_reinvite(&mut self, core: &mut Core) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Some(pending) = up.reinvite.take() else { return };
        self.answer_asker(core, pending.asker, 487);
        core.cancel(pending.client, None);
        core.clients.insert(pending.client, Owner::Ended(pending.parting));
    }

    /// Refuses the re-INVITE that waits for one of ours, if there is one.
    fn answer_asker(&self, core: &mut Core, asker: Option<Asker>, status: u16) {
        if let Some(Asker { ask, .. }) = asker {
            core.servers.remove(&ask.server);
            self.answer(core, &ask, status);
        }
    }

    fn note_hold(&mut self) {
        let held = |leg: &leg::Leg| {
            leg.negotiation.stream().is_some_and(|s| s.direction != Direction::SendRecv)
        };
        let now_held = held(&self.a) || self.b.as_ref().is_some_and(held);
        if let Phase::Up(up) = &mut self.phase {
            up.held = now_held;
        }
    }
}
