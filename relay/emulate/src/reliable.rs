//! Reliable provisional responses, those we send and those we get (RFC 3262).

use crate::abilities::Reliability;
use crate::call::{Call, State};
use crate::core::{Asked, Core};
use crate::mp_sdp::Role;
use bytes::Bytes;
use media::Now;
use rand_core::RngCore;
use sip_core::transaction::ServerId;
use sip_core::usage::prack::{Overdue, RAck, REL100, Uas};
use sip_core::{Dialog, Headers, Method, Name, Request, Response};

/// Says in an INVITE of ours what we can.
pub(crate) fn announce(core: &Core, headers: &mut Headers) {
    match reliability(core) {
        Reliability::Off => {}
        Reliability::Supported => headers.push(Name::Supported, REL100),
        Reliability::Required => headers.push(Name::Require, REL100),
    }
}

/// What we keep of the reliable responses to this INVITE, if it gets any.
pub(crate) fn wanted(core: &mut Core, invite: &Request) -> Option<Uas> {
    let has = |name| invite.headers.has_token(name, REL100);
    let wanted =
        reliability(core) != Reliability::Off && (has(Name::Require) || has(Name::Supported));
    wanted.then(|| Uas::new(invite, core.rng.next_u32()))
}

fn reliability(core: &Core) -> Reliability {
    core.persona.abilities().map_or(Reliability::Off, |abilities| abilities.reliable)
}

impl Call {
    /// Sends a provisional response, reliably if the caller has them so.
    pub(crate) fn inform(
        &mut self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        response: Response,
        winner: bool,
    ) {
        let sent = match self.reliable.as_mut().filter(|_| winner) {
            Some(reliable) => reliable.respond(now.mono, response).ok().flatten(),
            None => Some(response),
        };
        if let Some(response) = sent {
            core.respond(now.mono, server, response);
        }
    }

    /// Repeats a response that nobody has acknowledged, or gives the call up.
    pub(crate) fn repeat(&mut self, core: &mut Core, now: Now) {
        let State::Incoming(incoming) = &self.state else { return };
        let server = incoming.server;
        match self.reliable.as_mut().and_then(|reliable| reliable.handle_timeout(now.mono)) {
            Some(Overdue::Repeat(response)) => core.respond(now.mono, server, response),
            Some(Overdue::GiveUp) => self.refuse(core, now, 504),
            None => {}
        }
    }

    /// The far side's PRACK.
    pub(crate) fn prack(&mut self, core: &mut Core, now: Now, server: ServerId, prack: &Request) {
        let dialog = match &mut self.state {
            State::Incoming(incoming) => Some(&mut incoming.dialog),
            State::Up(up) => Some(&mut up.dialog),
            State::Calling(_) | State::Over => None,
        };
        if dialog.is_some_and(|dialog| dialog.receive(prack).is_err()) {
            return core.answer(now.mono, server, prack, 500, None);
        }
        let acknowledged = self.reliable.as_mut().and_then(|it| it.prack(now.mono, prack));
        let Some(acknowledged) = acknowledged else {
            return core.answer(now.mono, server, prack, 481, None);
        };
        core.answer(now.mono, server, prack, 200, None);
        let State::Incoming(incoming) = &mut self.state else { return };
        incoming.described |= acknowledged.described;
        let (invite, talk) = (incoming.server, incoming.held);
        if let Some(next) = acknowledged.next {
            core.respond(now.mono, invite, next);
        }
        if let (true, Some(talk)) = (acknowledged.answer, talk) {
            self.answered(core, now, talk);
        }
    }

    /// Acknowledges a provisional response to our INVITE; an offer in it is answered.
    pub(crate) fn acknowledge_provisional(
        &mut self,
        core: &mut Core,
        now: Now,
        invite: &Request,
        response: &Response,
        rack: &RAck,
    ) {
        if self.early.is_none() {
            self.early = Dialog::uac(invite, response).ok();
        }
        let answer = match self.asks_for_offer() {
            true => self.answer_theirs(core, now, response.body()),
            false => None,
        };
        let Some(early) = &mut self.early else { return };
        let mut prack = early.request(Method::Prack);
        let hop = core.persona.next_hop(&early.next_hop(), &self.hop);
        prack.headers.push(Name::RAck, rack.to_string());
        if let Some(answer) = answer {
            prack.set_body("application/sdp", answer);
        }
        core.request(now.mono, &hop, prack, Asked::Prack);
    }

    /// Whether we called without an offer and have seen none yet.
    pub(crate) fn asks_for_offer(&self) -> bool {
        self.negotiation.stream().is_none() && self.negotiation.last_local().is_none()
    }

    /// Our answer to an offer that came in a response.
    pub(crate) fn answer_theirs(
        &mut self,
        core: &mut Core,
        now: Now,
        offer: &Bytes,
    ) -> Option<Bytes> {
        if offer.is_empty() {
            return None;
        }
        let answered = self.negotiation.receive_offer(offer).and_then(|_| {
            let refresh = self.negotiation.is_refresh();
            match refresh {
                true => self.negotiation.answer_refresh(),
                false => self.negotiation.make_answer(&core.persona.answers()),
            }
        });
        let Ok((body, stream)) = answered else {
            self.negotiation.rollback();
            return None;
        };
        let body = core.persona.dress(&body, Role::Answer, &self.dress);
        self.agree(core, now, &stream, Role::Answer, true);
        Some(body)
    }
}
