//! A call that we place: INVITE and its answers (RFC 3261, 13.2).

use crate::call::{Call, State, Up};
use crate::core::{Asked, Core};
use crate::io::{CallId, Event};
use crate::mp_sdp::Role;
use crate::{Dial, Unable, location, reliable};
use bytes::Bytes;
use media::Now;
use sip_core::transaction::ClientId;
use sip_core::usage::prack::{Heard, Uac};
use sip_core::{Dialog, Method, Name, Request, Response};
use std::time::{Duration, Instant};

pub(crate) struct Calling {
    pub(crate) client: ClientId,
    /// As sent.
    invite: Request,
    pub(crate) cancel_at: Option<Instant>,
    pub(crate) cancelled: bool,
    /// When the far side must have said more than 100 (TDR-FO-012).
    pub(crate) patience: Option<Instant>,
    talk: Option<Duration>,
    early: bool,
    reliable: Uac,
    /// A 422 has raised our session interval.
    raised: bool,
}

/// Sends the INVITE of a new call.
pub(crate) fn place(
    core: &mut Core,
    now: Now,
    id: CallId,
    dial: &Dial,
    replaces: Option<String>,
) -> Result<Call, Unable> {
    let (call_id, guid) = (core.token(), core.guid());
    let style = core.persona.style(&mut core.rng);
    let opening = core.persona.opening(dial, &call_id, &guid, style);
    let opening = opening.ok_or(Unable::UnknownTenant)?;
    let call_id = Bytes::from(call_id);
    let mut call = Call::open(core, id, opening.hop, opening.contact, call_id, State::Over)
        .ok_or(Unable::NoPort)?;
    call.seen.host = dial.tenant.to_ascii_lowercase();
    call.dress.style = style;
    call.deeds.clone_from(&dial.deeds);
    (call.ours, call.theirs) = (dial.from.clone(), dial.to.clone());

    let mut invite = Request::new(Method::Invite, opening.uri);
    let headers = &mut invite.headers;
    let tag = String::from_utf8_lossy(&call.tag).into_owned();
    headers.push(Name::From, format!("{};tag={tag}", opening.from));
    headers.push(Name::To, opening.to);
    headers.push(Name::CSeq, "1 INVITE");
    headers.push(Name::CallId, call.call_id.clone());
    headers.push(Name::MaxForwards, "70");
    headers.push(Name::Contact, call.contact.clone());
    if let Some(replaces) = replaces {
        headers.push(Name::Replaces, replaces);
        headers.push(Name::Require, "replaces");
    }
    for (name, value) in &opening.further {
        headers.push_named(name, value.clone());
    }
    core.persona.extend(headers);
    for (name, value) in &dial.headers {
        headers.push_named(name, value.clone());
    }
    if opening.routed {
        headers.push(Name::RecordRoute, crate::Teams::route());
    }
    reliable::announce(core, headers);
    call.session.offer(headers);
    if !core.persona.abilities().is_some_and(|abilities| abilities.offerless) {
        let mut media = core.persona.offers();
        media.direction = dial.direction.unwrap_or(media.direction);
        let offer = call.negotiation.make_offer(&media);
        call.dress.remember(&offer);
        let offer = core.persona.dress(&offer, Role::Offer, &call.dress);
        match dial.location {
            None => invite.set_body("application/sdp", offer),
            Some(order) => {
                invite.headers.push(Name::Geolocation, location::geolocation());
                invite.headers.push(Name::Priority, "emergency");
                invite.set_body(location::content_type(), location::body(&offer, order));
            }
        }
        call.sound.expect_checks(call.negotiation.ice_offered().as_ref());
    }

    let (client, invite) = core.request(now.mono, &call.hop, invite, Asked::Invite(id));
    call.state = State::Calling(Calling {
        client,
        invite,
        cancel_at: dial.cancel_after.map(|after| now.mono + after),
        cancelled: false,
        patience: core.persona.patience().map(|patience| now.mono + patience),
        talk: dial.talk,
        early: false,
        reliable: Uac::default(),
        raised: false,
    });
    Ok(call)
}

impl Call {
    /// A response to our first INVITE.
    pub(crate) fn invite_response(
        &mut self,
        core: &mut Core,
        now: Now,
        client: ClientId,
        response: &Response,
    ) {
        if response.status == 422 && self.asks_again(core, now, response) {
            return;
        }
        match (&mut self.state, response.status) {
            (State::Calling(_), 100) => {}
            (State::Calling(calling), 101..=199) => {
                calling.patience = None;
                self.provisional(core, now, response);
            }
            (State::Calling(_), 200..=299) => self.accepted(core, now, client, response),
            (State::Calling(_), status) => {
                self.over(core, Event::Refused { call: self.id, status });
            }
            // A further fork answered; nobody wants it.
            (State::Up(_) | State::Over, 200..=299) => self.drop_fork(core, now, client, response),
            _ => {}
        }
    }

    /// Calls again with the session interval that a 422 demands, once; whether it does.
    fn asks_again(&mut self, core: &mut Core, now: Now, response: &Response) -> bool {
        let State::Calling(calling) = &mut self.state else { return false };
        let again = !calling.raised && !calling.cancelled;
        if !again || !self.session.was_too_small(&response.headers) {
            return false;
        }
        let mut invite = calling.invite.clone();
        let cseq = invite.headers.cseq().number + 1;
        invite.headers.remove(Name::Via);
        invite.headers.set(Name::CSeq, format!("{cseq} INVITE"));
        self.session.offer(&mut invite.headers);
        let asked = Asked::Invite(self.id);
        (calling.client, calling.invite) = core.request(now.mono, &self.hop, invite, asked);
        (calling.raised, calling.reliable, self.early) = (true, Uac::default(), None);
        true
    }

    fn provisional(&mut self, core: &mut Core, now: Now, response: &Response) {
        let State::Calling(calling) = &mut self.state else { return };
        match calling.reliable.hear(response) {
            Heard::Unreliable => {}
            Heard::Acknowledge(rack) => {
                let invite = calling.invite.clone();
                self.acknowledge_provisional(core, now, &invite, response, &rack);
            }
            Heard::Repeat | Heard::OutOfOrder => return,
        }
        if response.status == 180 {
            core.emit(Event::Ringing { call: self.id });
        }
        if response.body().is_empty() {
            return;
        }
        let body = core.persona.understand(self.negotiation.last_local(), response.body());
        let Ok((_, stream)) = self.negotiation.receive_answer(&body) else { return };
        self.agree(core, now, &stream, Role::Offer, true);
        if let State::Calling(calling) = &mut self.state
            && !std::mem::replace(&mut calling.early, true)
        {
            core.emit(Event::EarlyMedia { call: self.id });
        }
    }

    fn accepted(&mut self, core: &mut Core, now: Now, client: ClientId, response: &Response) {
        let State::Calling(calling) = &self.state else { return };
        let cseq = calling.invite.headers.cseq().number;
        let (cancelled, talk) = (calling.cancelled, calling.talk);
        let Some(mut dialog) = self.dialog_of(&calling.invite, response) else {
            // Nobody to send an ACK to (RFC 3261, 12.1.2).
            return self.over(core, Event::Refused { call: self.id, status: response.status });
        };
        let theirs = self.asks_for_offer();
        let ours = theirs.then(|| self.answer_theirs(core, now, response.body())).flatten();
        self.acknowledge(core, now, client, &dialog, cseq, ours);
        let body = core.persona.understand(self.negotiation.last_local(), response.body());
        let answer = match theirs || response.body().is_empty() {
            // The 183 may have said it all.
            true => self.negotiation.stream().cloned().ok_or(488),
            false => self.negotiation.receive_answer(&body).map(|agreed| agreed.1).map_err(|_| 488),
        };
        match answer {
            Ok(stream) if !cancelled => {
                self.state = State::Up(Up::new(now, dialog, talk, true));
                self.session.accepted(now.mono, &response.headers);
                self.begin_deeds(core, now);
                core.emit(Event::Answered { call: self.id });
                self.agree(core, now, &stream, Role::Offer, true);
            }
            refused => {
                self.send_bye(core, now, dialog.request(Method::Bye));
                let status = refused.err().unwrap_or(487);
                self.over(core, Event::Refused { call: self.id, status });
            }
        }
    }

    /// The dialog that this 2xx confirms: the early one, which may have sent PRACK, or a new one.
    fn dialog_of(&self, invite: &Request, response: &Response) -> Option<Dialog> {
        let id = Dialog::id_of_response(response);
        match self.early.as_ref().filter(|early| *early.id() == id) {
            Some(early) => {
                let mut dialog = early.clone();
                dialog.confirm(response);
                Some(dialog)
            }
            None => Dialog::uac(invite, response).ok(),
        }
    }

    fn drop_fork(&self, core: &mut Core, now: Now, client: ClientId, response: &Response) {
        // Its From, To and Contact are all that ACK and BYE need of the INVITE.
        let mut invite = Request::new(Method::Invite, self.contact.clone());
        invite.headers.copy_from(&response.headers, Name::From);
        invite.headers.copy_from(&response.headers, Name::CSeq);
        if let Some(mut dialog) = self.dialog_of(&invite, response) {
            let cseq = response.headers.cseq().number;
            self.acknowledge(core, now, client, &dialog, cseq, None);
            self.send_bye(core, now, dialog.request(Method::Bye));
        }
    }

    /// Our first INVITE found no answer, or could not be sent.
    pub(crate) fn invite_failed(&mut self, core: &mut Core, status: u16) {
        if matches!(self.state, State::Calling(_)) {
            self.over(core, Event::Refused { call: self.id, status });
        }
    }
}
