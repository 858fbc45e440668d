//! One call of an agent, from INVITE to BYE.

use crate::Hop;
use crate::core::{Asked, Core, Wanted};
use crate::deed::{AGAIN, Deed, Deeds, schedule};
use crate::io::{CallId, Event};
use crate::mp_sdp::Role;
use crate::placing::Calling;
use crate::reinvite::{Change, Wish};
use crate::script::Fork;
use crate::sound::Sound;
use crate::taking::Incoming;
use crate::teams::Dress;
use crate::transfer::Transfer;
use bytes::Bytes;
use media::Now;
use rand_core::RngCore;
use sdp::ice::Credentials;
use sdp::{Direction, IcePolicy, Local, Negotiation, SrtpKey, Stream};
use sip_core::transaction::{ClientId, ServerId};
use sip_core::usage::prack;
use sip_core::usage::session_timer::SessionTimer;
use sip_core::{Dialog, Headers, Method, Name, Request, Response};
use std::collections::VecDeque;
use std::time::Instant;

pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) state: State,
    /// Where its dialog began.
    pub(crate) hop: Hop,
    pub(crate) contact: Bytes,
    pub(crate) call_id: Bytes,
    /// Our tag.
    pub(crate) tag: Bytes,
    pub(crate) negotiation: Negotiation,
    pub(crate) dress: Dress,
    pub(crate) sound: Sound,
    /// Whether media flows both ways, once agreed.
    flows: Option<bool>,
    /// Whether we hold the call.
    pub(crate) on_hold: bool,
    /// What the far side's messages are measured by.
    pub(crate) seen: Seen,
    pub(crate) session: SessionTimer,
    /// The early dialog of our INVITE, once a reliable response has made one.
    pub(crate) early: Option<Dialog>,
    /// The reliable responses to an INVITE that we got.
    pub(crate) reliable: Option<prack::Uas>,
    /// What it does once it is up.
    pub(crate) deeds: Deeds,
    /// The user at our end, and the one at the far end.
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

/// What the far side has said so far, to find out whether it keeps to it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The host that the far side must name itself by.
    pub(crate) host: String,
    /// Its To tag in answers to our INVITE.
    pub(crate) to_tag: Option<Bytes>,
    /// Its last description.
    pub(crate) sdp: Option<Bytes>,
    /// It says that it understands REFER.
    pub(crate) allows_refer: bool,
}

pub(crate) enum State {
    /// We called, and have no final answer.
    Calling(Calling),
    /// We are called, and have not answered.
    Incoming(Incoming),
    Up(Up),
    Over,
}

pub(crate) struct Up {
    pub(crate) dialog: Dialog,
    pub(crate) hang_up_at: Option<Instant>,
    /// Our re-INVITE under way.
    pub(crate) change: Option<Change>,
    /// One to try again (RFC 3261, 14.1).
    pub(crate) retry: Option<(Instant, Wish)>,
    /// What we have asked the far side to do instead of talking to us.
    pub(crate) transfer: Option<Transfer>,
    /// Whether the dialog's Call-ID is ours.
    pub(crate) owner: bool,
    /// What is still to be done.
    pub(crate) deeds: VecDeque<(Instant, Deed)>,
    /// When to repeat our description.
    pub(crate) refresh_at: Option<Instant>,
}

impl Up {
    pub(crate) fn new(
        now: Now,
        dialog: Dialog,
        talk: Option<std::time::Duration>,
        owner: bool,
    ) -> Self {
        let hang_up_at = talk.map(|talk| now.mono + talk);
        Self {
            dialog,
            hang_up_at,
            change: None,
            retry: None,
            transfer: None,
            owner,
            deeds: VecDeque::new(),
            refresh_at: None,
        }
    }
}

impl Call {
    /// A call with media ports; `None` if there is none left.
    pub(crate) fn open(
        core: &mut Core,
        id: CallId,
        hop: Hop,
        contact: String,
        call_id: Bytes,
        state: State,
    ) -> Option<Self> {
        let sound = core.open_sound(id)?;
        let tag = Bytes::from(core.token());
        core.dialogs.insert((call_id.clone(), tag.clone()), id);
        let ability = core.persona.ability();
        let local = Local {
            address: core.plan.address,
            rtp_port: sound.rtp_port,
            rtcp_port: sound.rtp_port + 1,
            session_id: u64::from(core.rng.next_u32()),
            keys: ability.suites.iter().map(|s| SrtpKey::generate(s, &mut core.rng)).collect(),
        };
        let mut negotiation =
            Negotiation::new(local, ability).with_certificate(core.persona.certificate());
        let ice = core.persona.ice();
        if ice != IcePolicy::Off {
            negotiation = negotiation.with_ice(ice, Credentials::generate(&mut core.rng));
        }
        Some(Self {
            id,
            state,
            hop,
            contact: contact.into(),
            call_id,
            tag,
            negotiation,
            dress: Dress::new(&mut core.rng),
            sound,
            flows: None,
            on_hold: false,
            seen: Seen::default(),
            session: SessionTimer::new(core.persona.abilities().and_then(|it| it.session)),
            early: None,
            reliable: None,
            deeds: Deeds::new(),
            ours: String::new(),
            theirs: String::new(),
        })
    }

    /// When to call [`Self::run`].
    pub(crate) fn due(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Calling(calling) => calling.cancel_at.into_iter().chain(calling.patience).min(),
            State::Incoming(incoming) => {
                let repeat = self.reliable.as_ref().and_then(prack::Uas::due);
                incoming.acts.front().map(|(at, _)| *at).into_iter().chain(repeat).min()
            }
            State::Up(up) => {
                let own = up.hang_up_at.into_iter().chain(up.retry.map(|(at, _)| at));
                let own = own.chain(up.deeds.front().map(|(at, _)| *at)).chain(up.refresh_at);
                own.chain(self.session.poll_timeout()).min()
            }
            State::Over => None,
        };
        own.into_iter().chain(self.sound.due()).min()
    }

    /// Does what is due.
    pub(crate) fn run(&mut self, core: &mut Core, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        match &mut self.state {
            State::Calling(calling) if due(calling.patience) => {
                calling.patience = None;
                core.blame_for_patience(now.mono);
                self.hang_up(core, now);
            }
            State::Calling(calling) if due(calling.cancel_at) => self.hang_up(core, now),
            State::Incoming(_) => {
                self.repeat(core, now);
                self.act(core, now);
            }
            State::Up(up) if due(up.hang_up_at) => self.hang_up(core, now),
            State::Up(up) => {
                if let Some((_, wish)) = up.retry.take_if(|(at, _)| *at <= now.mono) {
                    self.change(core, now, wish);
                }
                self.keep_session(core, now);
                self.do_deeds(core, now);
            }
            _ => {}
        }
        self.sound.run(now, &mut core.outputs);
    }

    /// What is to be done from the answer on.
    pub(crate) fn begin_deeds(&mut self, core: &Core, now: Now) {
        let State::Up(up) = &mut self.state else { return };
        up.deeds = schedule(now.mono, &self.deeds);
        up.refresh_at = core.persona.refresh_every().map(|every| now.mono + every);
    }

    fn do_deeds(&mut self, core: &mut Core, now: Now) {
        let State::Up(up) = &mut self.state else { return };
        if up.refresh_at.is_some_and(|at| at <= now.mono) {
            up.refresh_at = core.persona.refresh_every().map(|every| now.mono + every);
            self.change(core, now, Wish::Refresh);
        }
        let State::Up(up) = &mut self.state else { return };
        let due = up.deeds.front().is_some_and(|(at, _)| *at <= now.mono);
        let Some((_, deed)) = due.then(|| up.deeds.pop_front()).flatten() else { return };
        let done = match &deed {
            Deed::Hold => self.change(core, now, Wish::Hold),
            Deed::Music => self.change(core, now, Wish::Music),
            Deed::Resume => self.change(core, now, Wish::Resume),
            Deed::Refresh => self.change(core, now, Wish::Refresh),
            Deed::Move => self.change(core, now, Wish::Move),
            Deed::Restart => self.change(core, now, Wish::Restart),
            // Without REFER in Allow, Teams does it in the cloud: media comes from elsewhere.
            Deed::Transfer { .. } if core.persona.is_teams() && !self.seen.allows_refer => {
                self.change(core, now, Wish::Move)
            }
            Deed::Transfer { to, hasty } => self.refer(core, now, to, None, *hasty),
            Deed::Replace => {
                core.wanted.push_back(Wanted::Replace { of: self.id });
                true
            }
            Deed::HangUp => {
                self.hang_up(core, now);
                true
            }
        };
        if let (false, State::Up(up)) = (done, &mut self.state) {
            up.deeds.push_front((now.mono + AGAIN, deed));
        }
    }

    /// Rings for a call that waits for another.
    pub(crate) fn ring(&mut self, core: &mut Core, now: Now) {
        if matches!(&self.state, State::Incoming(incoming) if !incoming.rung) {
            self.signal(core, now, 180, Fork::Winner);
        }
    }

    /// CANCEL for a client that was slower (TDR-DLG-042), BYE if it was not.
    pub(crate) fn answered_elsewhere(&mut self, core: &mut Core, now: Now) {
        match &mut self.state {
            State::Calling(calling) => {
                (calling.cancel_at, calling.patience) = (None, None);
                calling.cancelled = true;
                let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
                core.layer.cancel(now.mono, calling.client, Some(reason.into()));
            }
            _ => self.hang_up(core, now),
        }
    }

    /// Ends the call, whatever its state: BYE, CANCEL or 603.
    pub(crate) fn hang_up(&mut self, core: &mut Core, now: Now) {
        match &mut self.state {
            State::Calling(calling) => {
                (calling.cancel_at, calling.patience) = (None, None);
                calling.cancelled = true;
                let reason = core.farewell();
                core.layer.cancel(now.mono, calling.client, Some(reason.into()));
            }
            State::Incoming(_) => self.refuse(core, now, 603),
            State::Up(up) => {
                let bye = up.dialog.request(Method::Bye);
                self.send_bye(core, now, bye);
                self.over(core, Event::Ended { call: self.id, by_us: true, cause: None });
            }
            State::Over => {}
        }
    }

    pub(crate) fn send_bye(&self, core: &mut Core, now: Now, mut bye: Request) {
        let reason = core.farewell();
        bye.headers.push(Name::Reason, reason);
        let hop = core.persona.next_hop(&bye_target(&bye), &self.hop);
        core.request(now.mono, &hop, bye, Asked::Bye);
    }

    /// The far side's BYE has been answered.
    pub(crate) fn bye(&mut self, core: &mut Core, now: Now, request: &Request) {
        if let State::Incoming(incoming) = &self.state {
            // BYE in an early dialog (TDR-DLG-044).
            let (server, invite) = (incoming.server, incoming.invite.clone());
            core.answer(now.mono, server, &invite, 487, None);
            return self.over(core, Event::Refused { call: self.id, status: 487 });
        }
        let cause = cause_of(&request.headers);
        self.over(core, Event::Ended { call: self.id, by_us: false, cause });
    }

    pub(crate) fn over(&mut self, core: &mut Core, event: Event) {
        if matches!(self.state, State::Over) {
            return;
        }
        self.state = State::Over;
        core.dialogs.remove(&(self.call_id.clone(), self.tag.clone()));
        core.close_sound(&mut self.sound);
        core.emit(event);
    }

    /// Sends the ACK for a 2xx to our INVITE with this CSeq.
    pub(crate) fn acknowledge(
        &self,
        core: &mut Core,
        now: Now,
        client: ClientId,
        dialog: &Dialog,
        cseq: u32,
        answer: Option<Bytes>,
    ) {
        let hop = core.persona.next_hop(&dialog.next_hop(), &self.hop);
        let mut ack = dialog.ack(cseq);
        if let Some(answer) = answer {
            ack.set_body("application/sdp", answer);
        }
        core.acknowledge(now.mono, client, &hop, ack);
    }

    /// Our answer to an INVITE, with our description.
    pub(crate) fn reply(
        &self,
        core: &Core,
        request: &Request,
        status: u16,
        tag: &[u8],
        body: &Bytes,
    ) -> Response {
        let mut response = Response::to(request, status, Some(tag));
        response.headers.push(Name::Contact, self.contact.clone());
        core.persona.extend(&mut response.headers);
        if !body.is_empty() {
            response.set_body("application/sdp", body.clone());
        }
        response
    }

    /// Accepts an INVITE or UPDATE.
    pub(crate) fn accept(
        &mut self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        request: &Request,
        body: &Bytes,
    ) {
        let mut response = self.reply(core, request, 200, &self.tag, body);
        self.session.answer(now.mono, &request.headers, &mut response.headers);
        core.respond(now.mono, server, response);
    }

    /// Media as agreed from now on.
    pub(crate) fn agree(
        &mut self,
        core: &mut Core,
        now: Now,
        stream: &Stream,
        role: Role,
        by_us: bool,
    ) {
        let key = core.persona.media_key(role, &self.dress);
        self.sound.shakes_hands = core.persona.shakes_hands();
        self.sound.agree(now, stream, key);
        let flows = stream.direction == Direction::SendRecv;
        let up = matches!(self.state, State::Up(_));
        match (self.flows.replace(flows), flows) {
            (Some(true), false) if up => core.emit(Event::Held { call: self.id, by_us }),
            (Some(false), true) if up => {
                self.sound.listen_anew();
                core.emit(Event::Resumed { call: self.id, by_us });
            }
            _ => {}
        }
    }
}

/// Whom the BYE goes to first: the topmost Route, or the Request-URI.
fn bye_target(bye: &Request) -> Vec<u8> {
    let route = bye.headers.list(Name::Route).next();
    let route = route.and_then(|route| sip_core::NameAddr::parse(route).ok());
    route.map_or_else(|| bye.uri.to_vec(), |route| route.uri.to_vec())
}

/// The Q.850 cause of a Reason header (RFC 3326).
fn cause_of(headers: &Headers) -> Option<u16> {
    headers.list(Name::Reason).find_map(|reason| {
        let text = std::str::from_utf8(reason).ok()?;
        let (protocol, parameters) = text.split_once(';')?;
        protocol.trim().eq_ignore_ascii_case("Q.850").then_some(())?;
        let cause = parameters.split(';').find_map(|p| p.trim().strip_prefix("cause="))?;
        cause.trim().parse().ok()
    })
}
