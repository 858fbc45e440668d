//! A call that we get: answers by script (RFC 3261, 13.3).

use crate::call::{Call, State, Up};
use crate::core::{Core, Wanted};
use crate::deed::Forward;
use crate::io::{CallId, Event};
use crate::mp_sdp::Role;
use crate::persona::{host_of, user_of};
use crate::script::{Act, Fork, acts};
use crate::strict::Said;
use crate::{Failure, Hop, reliable, strict_transfer};
use bytes::Bytes;
use media::Now;
use sdp::Stream;
use sip_core::message::body_part;
use sip_core::transaction::ServerId;
use sip_core::{Dialog, Request};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(crate) struct Incoming {
    pub(crate) server: ServerId,
    pub(crate) invite: Request,
    pub(crate) dialog: Dialog,
    pub(crate) acts: VecDeque<(Instant, Act)>,
    /// Our answer to the offer, once given (TDR-EM-021: the same in 183 and 200).
    answer: Option<(Bytes, Stream)>,
    /// A reliable response that carried it was acknowledged.
    pub(crate) described: bool,
    /// The call is answered as soon as the reliable response with our answer is acknowledged; how
    /// long to talk then.
    pub(crate) held: Option<Option<Duration>>,
    /// The tags of clients that will not answer.
    forks: [Bytes; 2],
    /// Where else it is to ring.
    pub(crate) forward: Option<Forward>,
    /// Whether a provisional response of the dialog to come has gone out.
    pub(crate) rung: bool,
}

/// After these the next endpoint of Teams may be asked for the same (TDR-XFR-015, TDR-XFR-019).
const TRIED_ELSEWHERE: [u16; 4] = [408, 487, 503, 504];

/// A new INVITE; what cannot be taken is refused here.
pub(crate) fn take(
    core: &mut Core,
    now: Now,
    id: CallId,
    server: ServerId,
    hop: &Hop,
    invite: &Request,
) -> Option<Call> {
    let number = user_of(&invite.uri);
    let (token, guid) = (core.token(), core.guid());
    let style = core.persona.style(&mut core.rng);
    let contact = core.persona.contact(hop, &number, &token, &guid, style);
    let call_id = Bytes::copy_from_slice(invite.headers.call_id());
    let Some(mut call) = Call::open(core, id, hop.clone(), contact, call_id, State::Over) else {
        core.answer(now.mono, server, invite, 486, None);
        return None;
    };
    call.dress.style = style;
    // An emergency call has a location beside it.
    let sdp = body_part(&invite.headers, invite.body(), "application/sdp").unwrap_or_default();
    let offered = call.negotiation.receive_offer(&sdp);
    let dialog = Dialog::uas(invite, &call.tag);
    let (Ok(_), Ok(dialog)) = (&offered, dialog) else {
        let status = if offered.is_err() { 488 } else { 400 };
        core.answer(now.mono, server, invite, status, None);
        core.dialogs.remove(&(call.call_id.clone(), call.tag.clone()));
        core.close_sound(&mut call.sound);
        return None;
    };
    call.seen.host = invite.headers.contact().map(|contact| host_of(&contact)).unwrap_or_default();
    call.seen.sdp = Some(invite.body().clone());
    call.seen.allows_refer = invite.headers.has_token(sip_core::Name::Allow, "REFER");
    call.deeds = core.persona.deeds(number.as_bytes());
    let transferred = invite.headers.get(sip_core::Name::ReferredBy).is_some();
    let outside = transferred.then(|| core.leads_outside(&call.seen.host, &number)).flatten();
    let forward = outside.or_else(|| core.persona.forward(number.as_bytes()));
    let behaviour = core.persona.behaviour(number.as_bytes());
    call.state = State::Incoming(Incoming {
        server,
        invite: invite.clone(),
        dialog,
        acts: acts(behaviour, forward.as_ref(), now.mono),
        answer: None,
        described: false,
        held: None,
        forks: [core.token().into(), core.token().into()],
        forward,
        rung: false,
    });
    call.reliable = reliable::wanted(core, invite);
    core.servers.insert(server, id);
    let from = user_of(invite.headers.from().uri);
    (call.ours, call.theirs) = (number.clone(), from.clone());
    core.emit(Event::Incoming { call: id, from, to: number });
    Some(call)
}

impl Call {
    /// Gives the answers that are due.
    pub(crate) fn act(&mut self, core: &mut Core, now: Now) {
        while let State::Incoming(incoming) = &mut self.state {
            let due = incoming.acts.front().is_some_and(|(at, _)| *at <= now.mono);
            let Some((_, act)) = due.then(|| incoming.acts.pop_front()).flatten() else { return };
            match act {
                Act::Ring(fork) => self.signal(core, now, 180, fork),
                Act::Progress(fork) => self.signal(core, now, 183, fork),
                Act::Answer { talk } => self.pick_up(core, now, talk),
                Act::Refuse { status } => self.refuse(core, now, status),
                Act::Fail(failure) => self.fail(core, now, failure),
                Act::Forward => {
                    if let Some(forward) = incoming.forward.clone() {
                        core.wanted.push_back(Wanted::Forward { of: self.id, forward });
                    }
                }
            }
        }
    }

    pub(crate) fn signal(&mut self, core: &mut Core, now: Now, status: u16, fork: Fork) {
        let body = match status {
            183 => match self.answer(core) {
                Some((body, stream)) => {
                    self.agree(core, now, &stream, Role::Answer, false);
                    body
                }
                None => return self.refuse(core, now, 488),
            },
            _ => Bytes::new(),
        };
        let State::Incoming(incoming) = &mut self.state else { return };
        incoming.rung |= fork == Fork::Winner;
        let State::Incoming(incoming) = &self.state else { return };
        let tag = match fork {
            Fork::Winner => &self.tag,
            Fork::First => &incoming.forks[0],
            Fork::Second => &incoming.forks[1],
        };
        let response = self.reply(core, &incoming.invite, status, tag, &body);
        let server = incoming.server;
        self.inform(core, now, server, response, fork == Fork::Winner);
    }

    /// Answers the call.
    pub(crate) fn pick_up(&mut self, core: &mut Core, now: Now, talk: Option<Duration>) {
        if self.answer(core).is_none() {
            return self.refuse(core, now, 488);
        }
        let State::Incoming(incoming) = &mut self.state else { return };
        let waits = self.reliable.as_mut().is_some_and(|it| !it.accept(now.mono));
        if waits {
            incoming.held = Some(talk);
            return;
        }
        self.answered(core, now, talk);
    }

    /// Sends the 200; it repeats no answer that was acknowledged (RFC 3261, 13.2.1).
    pub(crate) fn answered(&mut self, core: &mut Core, now: Now, talk: Option<Duration>) {
        let Some((body, stream)) = self.answer(core) else { return };
        let State::Incoming(incoming) = &self.state else { return };
        let body = if incoming.described { Bytes::new() } else { body };
        let (server, invite) = (incoming.server, incoming.invite.clone());
        let up = Up::new(now, incoming.dialog.clone(), talk, false);
        strict_transfer::use_up(core, &invite);
        self.accept(core, now, server, &invite, &body);
        self.state = State::Up(up);
        self.begin_deeds(core, now);
        core.emit(Event::Answered { call: self.id });
        self.agree(core, now, &stream, Role::Answer, false);
    }

    /// Refuses the call, or ends it after CANCEL.
    pub(crate) fn refuse(&mut self, core: &mut Core, now: Now, status: u16) {
        self.refuse_as(core, now, status, None);
    }

    /// Refuses the call in Microsoft's own words.
    fn fail(&mut self, core: &mut Core, now: Now, failure: &'static Failure) {
        let said = Said { phrase: failure.phrase, sub_code: failure.sub_code };
        self.refuse_as(core, now, failure.status, Some(said));
    }

    fn refuse_as(&mut self, core: &mut Core, now: Now, status: u16, said: Option<Said>) {
        let State::Incoming(incoming) = &self.state else { return };
        let (server, invite) = (incoming.server, incoming.invite.clone());
        core.servers.remove(&server);
        if !TRIED_ELSEWHERE.contains(&status) {
            strict_transfer::use_up(core, &invite);
        }
        let mut response = sip_core::Response::to(&invite, status, Some(&self.tag));
        let guid = core.guid();
        core.persona.explain(&mut response, &guid, said);
        core.respond(now.mono, server, response);
        self.over(core, Event::Refused { call: self.id, status });
    }

    fn answer(&mut self, core: &Core) -> Option<(Bytes, Stream)> {
        let State::Incoming(incoming) = &mut self.state else { return None };
        if incoming.answer.is_none() {
            let (body, stream) = self.negotiation.make_answer(&core.persona.answers()).ok()?;
            let body = core.persona.dress(&body, Role::Answer, &self.dress);
            incoming.answer = Some((body, stream));
        }
        incoming.answer.clone()
    }
}
