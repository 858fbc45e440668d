//! Re-INVITE after the answer: hold, resume, codec or address change, session refresh.
//!
//! The legs are anchored: a change of address or key on one leg is nobody's business on the other
//! (TDR-DLG-012). Only what the other side must know crosses: a change of direction, or a codec
//! that is no longer offered.

use super::incoming::reject_of;
use super::renegotiate::{Asker, Why};
use super::{Ask, Call, Fate, Phase};
use crate::core::Core;
use crate::io::PeerLeg;
use crate::leg::{self, SDP, Unacknowledged};
use crate::plan::{HoldDialect, HoldPolicy};
use crate::record::Fax;
use bytes::Bytes;
use sdp::{Direction, Media, Negotiation, Refusal};
use sip_core::transaction::ServerId;
use sip_core::{Method, Name, Request};
use std::sync::Arc;

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
            return self.refuse_until_later(core, &ask, status);
        }
        if self.refuse_interval(core, &ask) {
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
            let answer = self.answer_from_there(core, &ask, Negotiation::answer_refresh);
            return self.accept(core, &ask, answer);
        }
        self.ours_gives_way(core);
        if let Err(refusal) = self.turning(which, &offer) {
            return self.refuse(core, &ask, &refusal);
        }
        match self.crossing(which, &offer) {
            // Who is at the other end is about to change.
            Some(_) if self.is_being_transferred() => self.refuse_for_now(core, &ask),
            // Something is under way on the other leg, or its 200 has no ACK yet.
            Some(_) if self.is_busy(which.other()) => self.refuse_for_now(core, &ask),
            Some(out) => {
                let why = Why::Asked(Box::new(Asker { ask, offer }));
                self.renegotiate(core, which.other(), why, out)
            }
            None => self.absorb(core, &ask, &offer),
        }
    }

    /// Whether a re-INVITE must wait: 491 while ours is out or our 200 is not yet acknowledged, 500
    /// while an earlier one of theirs is unanswered (RFC 3261, 14.2; TDR-DLG-018).
    fn not_now(&self, which: PeerLeg) -> Option<u16> {
        let Phase::Up(up) = &self.phase else { return Some(491) };
        if up.ours.as_ref().is_some_and(|ours| ours.is_asked_by(which)) {
            return Some(500);
        }
        let out = up.ours.as_ref().is_some_and(|ours| ours.is_out_on(which));
        (out || self.is_unacknowledged(which)).then_some(491)
    }

    /// 491, or 500 with the time to wait.
    pub(super) fn refuse_until_later(&self, core: &mut Core, ask: &Ask, status: u16) -> Fate {
        let mut response = self.reply(ask, status);
        if status == 500 {
            // RFC 3261, 14.2: between 0 and 10 seconds, chosen at random.
            let wait = (core.random_fraction() * 10.0).floor();
            response.headers.push(Name::RetryAfter, format!("{wait}"));
        }
        core.respond(ask.server, response);
        Fate::Lives
    }

    /// 491 for an offer that was taken already.
    fn refuse_for_now(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        if let Some(leg) = self.leg(ask.leg) {
            leg.negotiation.rollback();
        }
        self.answer(core, ask, 491)
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
        self.session_answered(core, ask, &mut response);
        core.respond(ask.server, response);
        self.awaits_ack(core, ask, true);
        Fate::Lives
    }

    /// Our 200 has gone out; its ACK is to come, unless it answers an UPDATE.
    fn awaits_ack(&mut self, core: &mut Core, ask: &Ask, with_answer: bool) {
        if ask.request.method != Method::Invite {
            return;
        }
        core.servers.insert(ask.server, self.id);
        let unacknowledged = Unacknowledged { server: ask.server, opening: false, with_answer };
        if let Some(leg) = self.leg(ask.leg) {
            leg.unacknowledged = Some(unacknowledged);
        }
    }

    /// The ACK for our 200 has come, with the answer if the 200 held the offer. Without a usable
    /// one all stays as it was.
    pub(crate) fn acknowledged(
        &mut self,
        core: &mut Core,
        server: ServerId,
        ack: &Request,
    ) -> Fate {
        let of = |leg: &mut leg::Leg| leg.unacknowledged.take_if(|it| it.server == server);
        let legs = [(PeerLeg::A, Some(&mut self.a)), (PeerLeg::B, self.b.as_mut())];
        let found = legs.into_iter().find_map(|(which, leg)| Some((which, of(leg?)?)));
        let Some((which, Unacknowledged { opening, with_answer, .. })) = found else {
            return Fate::Lives;
        };
        // The call may have ended while the ACK was on its way; its media is closed.
        if matches!(self.phase, Phase::Ending) {
            return Fate::Lives;
        }
        if !with_answer {
            if opening && self.align(core) == Fate::Done {
                return Fate::Done;
            }
            return self.settled(core);
        }
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let answer = leg::sdp_of(&ack.headers, ack.body());
        if leg.negotiation.receive_answer(&answer).is_err() {
            leg.negotiation.rollback();
            return self.offer_unanswered(core, which, ack);
        }
        self.agreed(core);
        self.carry_across(core, which)
    }

    /// Tells the other side what the far side of leg `which` has agreed without asking it; if a
    /// re-INVITE is under way there, after it, and if nobody is there, once somebody is.
    pub(super) fn carry_across(&mut self, core: &mut Core, which: PeerLeg) -> Fate {
        let other = which.other();
        if self.is_busy(other) || self.transfers.has_left(other) {
            self.transfers.owed = Some(which);
            return Fate::Lives;
        }
        let described = self.leg(which).and_then(|leg| leg.negotiation.last_remote().cloned());
        match described.and_then(|media| self.crossing(which, &media)) {
            Some(out) => self.renegotiate(core, which.other(), Why::Told, out),
            None => Fate::Lives,
        }
    }

    /// The same for early media of a target that is being called for leg `which`; if another
    /// re-INVITE is under way, its answer will do.
    pub(super) fn carry_early(&mut self, core: &mut Core, which: PeerLeg, early: &Media) -> Fate {
        match self.crossing(which, early).filter(|_| !self.is_renegotiating()) {
            Some(out) => self.renegotiate(core, which.other(), Why::Told, out),
            None => Fate::Lives,
        }
    }

    /// A re-INVITE has its outcome: what waited for it follows.
    pub(super) fn settled(&mut self, core: &mut Core) -> Fate {
        let crossed = match self.transfers.owed.take() {
            Some(which) => self.carry_across(core, which),
            None => Fate::Lives,
        };
        match crossed {
            Fate::Lives => match self.rekey_owed(core) {
                Fate::Lives => self.follow_user(core),
                Fate::Done => Fate::Done,
            },
            Fate::Done => Fate::Done,
        }
    }

    /// What the other leg must be offered, if anything.
    pub(super) fn crossing(&self, which: PeerLeg, offer: &Media) -> Option<Media> {
        match self.turning(which, offer) {
            Ok(Some(turned)) => return Some(turned),
            Ok(None) => {}
            Err(_) => return None,
        }
        let other = self.at(which.other())?;
        let teams = leg::is_teams(&self.plan, other.trunk);
        let absorb = teams && self.hold_policy() == HoldPolicy::Absorb;
        let trunk = self.plan.trunks.get(other.trunk);
        let music = trunk.is_some_and(|trunk| trunk.terms.music_on_hold.is_some());
        let dialect = trunk.map(|trunk| trunk.hold).unwrap_or_default();
        let direction = match (offer.direction, dialect) {
            (Direction::SendRecv, _) => Direction::SendRecv,
            _ if absorb => Direction::SendRecv,
            // The one hold that Microsoft understands (TDR-HLD-001).
            _ if teams => Direction::Inactive,
            (_, HoldDialect::Absorb) => Direction::SendRecv,
            (_, HoldDialect::SendOnly) => Direction::SendOnly,
            (_, HoldDialect::Inactive | HoldDialect::Zero) => Direction::Inactive,
            // It hears ours.
            (Direction::Inactive, HoldDialect::Pass) if music => Direction::SendOnly,
            (held, HoldDialect::Pass) => held,
        };
        let offered = other.negotiation.last_local_media()?;
        let agreed = other.negotiation.stream()?;
        // That side wants to talk and we told it to wait, on an answer of this one.
        let waits = agreed.direction != Direction::SendRecv
            && other.negotiation.last_remote()?.direction == Direction::SendRecv;
        let turns =
            self.asked_direction(which) != direction || (waits && direction == Direction::SendRecv);
        // What is in use with the far side of the other leg, first choice first.
        let in_use = agreed.payloads.iter().find(|p| p.is_speech())?;
        let understood = offer.payloads.iter().any(|payload| payload.same_encoding(in_use));
        let turned = self.is_transcoded() && other.negotiation.can_transcode(offer);
        let codec_gone = !understood && !turned;
        if !turns && !codec_gone {
            return None;
        }
        let payloads = if codec_gone {
            let wanted = offer.for_other_leg(None).ok()?;
            // Without anything that the leg may use, nothing crosses and the offer is refused.
            Some(wanted).filter(|wanted| other.negotiation.can_offer(wanted))?.payloads
        } else {
            offered.payloads.clone()
        };
        Some(Media { payloads, direction, ptime_ms: offered.ptime_ms, fax: None })
    }

    /// The direction that leg `which` has asked of the other one so far.
    pub(super) fn asked_direction(&self, which: PeerLeg) -> Direction {
        match &self.phase {
            Phase::Up(up) => match which {
                PeerLeg::A => up.asked.0,
                PeerLeg::B => up.asked.1,
            },
            Phase::Setup(_) | Phase::Ending => Direction::SendRecv,
        }
    }

    fn hold_policy(&self) -> HoldPolicy {
        self.own_tenant().map_or(HoldPolicy::Inactive, |tenant| tenant.hold)
    }

    /// Answers without troubling the other leg.
    fn absorb(&mut self, core: &mut Core, ask: &Ask, offer: &Media) -> Fate {
        let other = self.at(ask.leg.other());
        // What was agreed there, not what its far side once offered.
        let fax = other.and_then(|leg| leg.negotiation.last_remote()?.fax.clone());
        let agreed = other
            .and_then(|leg| leg.negotiation.stream())
            .map(|stream| Media { fax, ..Media::of(stream, offer.direction.reversed()) });
        let answer = agreed
            .ok_or(Refusal::OutOfTurn)
            .and_then(|agreed| self.answer_from_there(core, ask, |leg| leg.answer_like(&agreed)));
        self.accept(core, ask, answer)
    }

    /// Answers leg `which` with `body` and connects what was agreed, or refuses and rolls back.
    pub(super) fn accept(
        &mut self,
        core: &mut Core,
        ask: &Ask,
        body: Result<Bytes, Refusal>,
    ) -> Fate {
        let body = match body {
            Ok(body) => body,
            Err(refusal) => return self.refuse(core, ask, &refusal),
        };
        let mut response = self.reply(ask, 200);
        response.set_body(SDP, body);
        self.session_answered(core, ask, &mut response);
        core.respond(ask.server, response);
        self.awaits_ack(core, ask, false);
        self.agreed(core);
        Fate::Lives
    }

    /// Something new is agreed on a leg: the media follows.
    pub(super) fn agreed(&mut self, core: &mut Core) {
        let plan = Arc::clone(&self.plan);
        let a = self.a.carriage(&plan);
        let b = self.b.as_ref().and_then(|leg| leg.carriage(&plan));
        let (a, b) = self.with_sounds(self.heard_now(a, b));
        self.connect(core, a, b);
        self.note_hold();
    }

    pub(super) fn refuse(&mut self, core: &mut Core, ask: &Ask, refusal: &Refusal) -> Fate {
        if let Some(leg) = self.leg(ask.leg) {
            leg.negotiation.rollback();
        }
        if *refusal == Refusal::NoFax {
            self.note_fax(core, Fax::Refused);
        }
        let mut response = self.reply(ask, reject_of(refusal).status());
        let agent = &self.plan.node.fqdn;
        response.headers.push(Name::Warning, format!("399 {agent} \"{refusal}\""));
        core.servers.remove(ask.server);
        core.respond(ask.server, response);
        Fate::Lives
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
