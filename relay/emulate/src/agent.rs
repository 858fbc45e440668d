//! The agent: finds the call that a message, packet or deadline is for, and lets it act.

use crate::agenda::Agenda;
use crate::call::{Call, State};
use crate::chain::Link;
use crate::core::{Asked, Core, Wanted};
use crate::deed::Deeds;
use crate::io::{CallId, Event, Input, Output};
use crate::judge::Heard;
use crate::ladder::Step;
use crate::location::Pidf;
use crate::options::{self, Probes};
use crate::persona::{Persona, user_of};
use crate::reinvite::Wish;
use crate::sound::MediaPlan;
use crate::strict::{self, Violation};
use crate::teams::{Health, Teams};
use crate::{Behaviour, Carrier, Hop, gate, placing, strict_transfer, taking};
use bytes::Bytes;
use media::Now;
use rand_chacha::ChaCha20Rng;
use sdp::Direction;
use sip_core::transaction::{self, ClientId, ServerId};
use sip_core::{Message, Method, Name, Request, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Calls that are kept for [`Agent::heard`] after they are over; the oldest go first.
const MAX_KEPT: usize = 10_000;

/// One side of the border: a carrier, or Teams.
pub struct Agent {
    pub(crate) core: Core,
    pub(crate) calls: BTreeMap<CallId, Call>,
    /// Calls of Teams that wait for, or are joined with, another of its calls.
    pub(crate) links: Vec<Link>,
    agenda: Agenda<CallId>,
    probes: Probes,
    last_call: u64,
}

/// A call to place.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// The calling number, as written in From.
    pub from: String,
    /// The called number, as written in the Request-URI.
    pub to: String,
    /// For Teams: the FQDN of the trunk that the call leaves through.
    pub tenant: String,
    /// For Teams: which of its endpoints calls.
    pub endpoint: usize,
    /// When to give up, from now on.
    pub cancel_after: Option<Duration>,
    /// When to hang up, from the answer on.
    pub talk: Option<Duration>,
    /// The call of this agent whose place it takes (RFC 3891).
    pub replaces: Option<CallId>,
    /// Whether the caller's number is withheld.
    pub anonymous: bool,
    /// For Teams: the user who forwards the call, and pays for it.
    pub on_behalf_of: Option<String>,
    /// For Teams: an emergency call, with the caller's location at this place of the body.
    pub location: Option<Pidf>,
    /// The direction it begins with, if not both ways (TDR-HLD-008).
    pub direction: Option<Direction>,
    /// For Teams: the host of the Request-URI, if it is not the trunk: a border controller behind it
    /// (TDR-IN-004).
    pub host: Option<String>,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// What it does once it is up.
    pub deeds: Deeds,
}

/// Why a call cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// All media ports are in use.
    #[error("all media ports are in use")]
    NoPort,
    /// Teams has no such tenant or endpoint.
    #[error("Teams has no such tenant or endpoint")]
    UnknownTenant,
    /// The call whose place is to be taken is not up.
    #[error("the call whose place is to be taken is not up")]
    NotUp,
}

impl Agent {
    /// A carrier.
    pub fn carrier(carrier: Carrier, media: MediaPlan, rng: ChaCha20Rng) -> Self {
        Self::new(Persona::Carrier(carrier), media, rng)
    }

    /// A Teams side.
    pub fn teams(teams: Teams, media: MediaPlan, rng: ChaCha20Rng) -> Self {
        Self::new(Persona::Teams(teams), media, rng)
    }

    fn new(persona: Persona, media: MediaPlan, rng: ChaCha20Rng) -> Self {
        Self {
            core: Core::new(persona, media, rng),
            calls: BTreeMap::new(),
            links: Vec::new(),
            agenda: Agenda::new(),
            probes: Probes::new(),
            last_call: 0,
        }
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Message { hop, message } => self.message(now, hop, message),
            Input::Packet { local_port, from, octets } => {
                if let Some(id) = self.core.ports.get(&local_port).copied() {
                    self.with(id, |core, call| {
                        call.sound.hear(now, (local_port, from), &octets, &mut core.outputs);
                    });
                }
            }
            Input::Shown { flow, names } => self.core.show(flow, names),
            Input::SendFailed { client } => self.core.layer.transport_failed(now.mono, client),
        }
        self.settle(now);
    }

    /// Lets what is due happen.
    pub fn handle_timeout(&mut self, now: Now) {
        self.core.layer.handle_timeout(now.mono);
        self.settle(now);
        while let Some(id) = self.agenda.pop_due(now.mono) {
            self.with(id, |core, call| call.run(core, now));
        }
        self.probes.run(&mut self.core, now);
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.core.layer.poll_timeout(), self.agenda.next(), self.probes.next()];
        due.into_iter().flatten().min()
    }

    /// Places a call.
    pub fn call(&mut self, now: Now, dial: &Dial) -> Result<CallId, Unable> {
        let named = |id: CallId| self.calls.get(&id)?.named().ok_or(()).ok();
        let replaces = match dial.replaces {
            Some(id) => Some(named(id).ok_or(Unable::NotUp)?),
            None => None,
        };
        let id = self.call_for(now, dial, replaces)?;
        self.settle(now);
        Ok(id)
    }

    pub(crate) fn call_for(
        &mut self,
        now: Now,
        dial: &Dial,
        replaces: Option<String>,
    ) -> Result<CallId, Unable> {
        let id = self.fresh_id();
        let call = placing::place(&mut self.core, now, id, dial, replaces)?;
        self.keep(id, call);
        Ok(id)
    }

    /// Answers a call that rings, whatever the script says.
    pub fn answer(&mut self, now: Now, call: CallId) {
        self.with(call, |core, call| call.pick_up(core, now, None));
        self.settle(now);
    }

    /// Puts a call on hold; whether it is in a state for that.
    pub fn hold(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Hold)
    }

    /// Takes a call off hold; whether it is in a state for that.
    pub fn resume(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Resume)
    }

    /// Puts a call on hold with music from another source (TDR-HLD-003); whether it is in a state for
    /// that.
    pub fn music(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Music)
    }

    /// Lets media of a call go on from another source, as a conference does that takes it over;
    /// whether it is in a state for that.
    pub fn relocate(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Move)
    }

    /// Begins ICE anew on a call; whether it is in a state for that.
    pub fn restart_ice(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Restart)
    }

    /// How far ICE has come on a call, if it has any.
    pub fn ice(&self, call: CallId) -> Option<sdp::IceReport> {
        self.calls.get(&call)?.sound.ice()
    }

    /// Repeats the description of a call (session refresh); whether it is in a state for that.
    pub fn refresh(&mut self, now: Now, call: CallId) -> bool {
        self.change(now, call, Wish::Refresh)
    }

    /// Asks the far side to call this URI instead, by REFER; whether the call is in a state for that.
    /// When the far side says that it did, the call ends, and with it the one that `consulted` the
    /// target.
    pub fn transfer(
        &mut self,
        now: Now,
        call: CallId,
        to: &str,
        consulted: Option<CallId>,
    ) -> bool {
        let done = self.with(call, |core, call| call.refer(core, now, to, consulted, false));
        self.settle(now);
        done.unwrap_or(false)
    }

    /// The same, and hangs up soon after the 202, as Microsoft does on a blind transfer.
    pub fn transfer_hastily(&mut self, now: Now, call: CallId, to: &str) -> bool {
        let done = self.with(call, |core, call| call.refer(core, now, to, None, true));
        self.settle(now);
        done.unwrap_or(false)
    }

    /// Another client of the same user takes a call's place: INVITE with Replaces.
    pub fn replace(&mut self, now: Now, call: CallId) {
        self.core.wanted.push_back(Wanted::Replace { of: call });
        self.settle(now);
    }

    /// Ends a call, whatever its state: BYE if it is up, CANCEL if we called, 603 if we are called.
    pub fn hang_up(&mut self, now: Now, call: CallId) {
        self.with(call, |core, call| call.hang_up(core, now));
        self.settle(now);
    }

    /// Ends all calls.
    pub fn hang_up_all(&mut self, now: Now) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call in calls {
            self.with(call, |core, call| call.hang_up(core, now));
        }
        self.settle(now);
    }

    /// Sets the headers that INVITEs and their answers carry from now on ([`crate::Manner::headers`]).
    pub fn set_headers(&mut self, headers: Vec<(String, String)>) {
        if let Persona::Teams(teams) = &mut self.core.persona {
            teams.manner.headers = headers;
        }
    }

    /// Sets how an endpoint of Teams is from now on; the first label of its name will do.
    pub fn set_health(&mut self, fqdn: &str, health: Health) {
        if let Persona::Teams(teams) = &mut self.core.persona {
            let is_it = |e: &&mut crate::Endpoint| {
                let label = e.fqdn.split('.').next().unwrap_or_default();
                e.fqdn.eq_ignore_ascii_case(fqdn) || label.eq_ignore_ascii_case(fqdn)
            };
            let named = teams.endpoints.iter_mut().filter(is_it);
            named.for_each(|endpoint| endpoint.health = health);
        }
    }

    /// What a call heard from its beginning on.
    pub fn heard(&self, call: CallId) -> Option<Heard> {
        self.calls.get(&call).map(|call| call.sound.heard())
    }

    /// What a call heard since it was resumed last, or since [`Self::listen_anew`].
    pub fn heard_recently(&self, call: CallId) -> Option<Heard> {
        self.calls.get(&call).map(|call| call.sound.heard_recently())
    }

    /// Begins the window of [`Self::heard_recently`].
    pub fn listen_anew(&mut self, call: CallId) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.sound.listen_anew();
        }
    }

    /// RTP packets that a call sent.
    pub fn sent(&self, call: CallId) -> u64 {
        self.calls.get(&call).map_or(0, |call| call.sound.sent)
    }

    /// A call's Call-ID.
    pub fn call_id(&self, call: CallId) -> Option<&Bytes> {
        self.calls.get(&call).map(|call| &call.call_id)
    }

    /// Calls that are not over.
    pub fn calls_in_progress(&self) -> usize {
        self.calls.values().filter(|call| !matches!(call.state, State::Over)).count()
    }

    /// Transactions held (for leak tests).
    pub fn transactions(&self) -> usize {
        self.core.layer.len()
    }

    /// Takes the messages so far out, so that a side that runs for long does not keep them.
    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.core.steps.list)
    }

    /// Takes the violations so far out.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.core.violations)
    }

    /// The messages so far.
    pub fn steps(&self) -> &[Step] {
        self.core.steps()
    }

    /// What of the border controller's messages Microsoft's documents forbid.
    pub fn violations(&self) -> &[Violation] {
        &self.core.violations
    }

    fn change(&mut self, now: Now, call: CallId, wish: Wish) -> bool {
        let done = self.with(call, |core, call| call.change(core, now, wish));
        self.settle(now);
        done.unwrap_or(false)
    }

    fn fresh_id(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    fn keep(&mut self, id: CallId, call: Call) {
        self.agenda.set(id, call.due());
        self.calls.insert(id, call);
        if self.calls.len() > MAX_KEPT {
            let oldest = self.calls.iter().find(|(_, call)| matches!(call.state, State::Over));
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.calls.remove(&id);
                self.core.forget(id);
            }
        }
    }

    pub(crate) fn with<T>(
        &mut self,
        id: CallId,
        act: impl FnOnce(&mut Core, &mut Call) -> T,
    ) -> Option<T> {
        let call = self.calls.get_mut(&id)?;
        let result = act(&mut self.core, call);
        self.agenda.set(id, call.due());
        Some(result)
    }

    fn message(&mut self, now: Now, hop: Hop, message: Message) {
        self.core.steps.note(now.mono, &hop, false, &message);
        if let Persona::Teams(teams) = &self.core.persona
            && teams.endpoint(hop.local).is_some_and(|endpoint| endpoint.health == Health::Dead)
        {
            return;
        }
        if let Message::Request(request) = &message
            && request.method == Method::Invite
            && request.headers.to().tag().is_none()
            && self.core.persona.behaviour(user_of(&request.uri).as_bytes()) == Behaviour::Silent
        {
            return;
        }
        self.core.layer.receive(now.mono, hop, message);
    }

    /// Lets the transactions' events have their effect, until nothing moves.
    fn settle(&mut self, now: Now) {
        loop {
            while let Some(event) = self.core.layer.poll_event() {
                self.event(now, event);
            }
            if self.core.wanted.is_empty() && self.core.news.is_empty() {
                break;
            }
            self.follow(now);
        }
        self.core.transmit(now.mono);
    }

    fn event(&mut self, now: Now, event: transaction::Event<Hop>) {
        use transaction::Event as E;
        match event {
            E::Request { server, hop, request } => self.request(now, server, &hop, request),
            E::Response { client, response, .. } => self.response(now, client, &response),
            E::Ack { server, request } => {
                if let Some(server) = server {
                    self.core.servers.remove(&server);
                }
                let message = Message::Request(request);
                let faults = strict::ack(&self.core.persona, &message);
                self.core.blame(now.mono, &faults, &message);
            }
            E::Cancel { server, .. } => {
                if let Some(id) = self.core.servers.get(&server).copied() {
                    self.with(id, |core, call| call.refuse(core, now, 487));
                }
            }
            E::Timeout { client } => self.failed(now, client, 408),
            E::TransportError { client } => self.failed(now, client, 503),
            E::AckMissing { server } => {
                if let Some(id) = self.core.servers.remove(&server) {
                    self.core.blame_for_silence(now.mono);
                    self.with(id, |core, call| call.hang_up(core, now));
                }
            }
        }
    }

    fn request(&mut self, now: Now, server: ServerId, hop: &Hop, request: Request) {
        let id = {
            let dialog = sip_core::Dialog::id_of_request(&request);
            self.core.dialogs.get(&(dialog.call_id, dialog.local_tag)).copied()
        };
        let seen = id.and_then(|id| self.calls.get(&id));
        let mut faults = strict::request(&self.core, hop, &request, seen);
        faults.extend(strict_transfer::invite(&self.core, &request));
        let message = Message::Request(request.clone());
        self.core.blame(now.mono, &faults, &message);
        if let Some((status, said)) = strict::refusal(&self.core.persona, &faults) {
            if request.method == Method::Options {
                let host = request.headers.contact().map(|c| crate::persona::host_of(&c));
                let host = host.unwrap_or_default();
                self.core.emit(Event::OptionsReceived { host, status });
            }
            return self.core.answer(now.mono, server, &request, status, Some(said));
        }
        if self.is_too_short(&request) {
            return self.core.answer(now.mono, server, &request, 422, None);
        }
        let in_dialog = request.headers.to().tag().is_some();
        if (id.is_some() || !in_dialog) && gate::stops(&mut self.core, now, server, &request) {
            return;
        }
        if !in_dialog && self.is_draining(hop.local) {
            return self.core.answer(now.mono, server, &request, 503, None);
        }
        match (&request.method, in_dialog, id) {
            (Method::Options, _, _) => {
                self.probes.received(&mut self.core, now, server, hop, &request)
            }
            (Method::Invite, false, _) => {
                let id = self.fresh_id();
                if let Some(call) = taking::take(&mut self.core, now, id, server, hop, &request) {
                    self.keep(id, call);
                }
            }
            (_, true, None) | (Method::Bye, ..) if id.is_none() => {
                self.core.answer(now.mono, server, &request, 481, None);
            }
            (Method::Invite, true, Some(id)) => {
                self.with(id, |core, call| call.changed(core, now, server, &request));
            }
            (Method::Bye, _, Some(id)) => {
                self.core.answer(now.mono, server, &request, 200, None);
                self.with(id, |core, call| call.bye(core, now, &request));
            }
            (Method::Prack, true, Some(id)) => {
                self.with(id, |core, call| call.prack(core, now, server, &request));
            }
            (Method::Update, true, Some(id)) if self.core.persona.abilities().is_some() => {
                self.with(id, |core, call| call.updated(core, now, server, &request));
            }
            (Method::Notify, true, _) => {
                self.core.answer(now.mono, server, &request, 200, None);
                let told = |core: &mut Core, call: &mut Call| call.notified(core, now, &request);
                if let Some(consulted) = id.and_then(|id| self.with(id, told)).flatten() {
                    self.with(consulted, |core, call| call.hang_up(core, now));
                }
            }
            _ => self.core.answer(now.mono, server, &request, 405, None),
        }
    }

    /// Whether an INVITE names a session interval below Microsoft's least (TDR-DLG-032).
    fn is_too_short(&self, request: &Request) -> bool {
        let Persona::Teams(teams) = &self.core.persona else { return false };
        let Some(value) = request.headers.get(Name::SessionExpires) else { return false };
        let digits = value.split(|octet| !octet.is_ascii_digit()).next().unwrap_or_default();
        let interval = std::str::from_utf8(digits).ok().and_then(|it| it.parse::<u32>().ok());
        request.method == Method::Invite
            && interval.is_some_and(|interval| interval < teams.manner.min_se_s)
    }

    fn is_draining(&self, local: SocketAddr) -> bool {
        match &self.core.persona {
            Persona::Carrier(_) => false,
            Persona::Teams(teams) => {
                teams.endpoint(local).is_some_and(|endpoint| endpoint.health == Health::Draining)
            }
        }
    }

    fn response(&mut self, now: Now, client: ClientId, response: &Response) {
        let Some(asked) = self.core.asked.get(&client).cloned() else { return };
        let call = match &asked {
            Asked::Invite(id) | Asked::Reinvite(id) | Asked::Update(id) | Asked::Refer(id) => {
                self.calls.get_mut(id)
            }
            Asked::Bye | Asked::Prack | Asked::Options { .. } => None,
        };
        let faults = strict::response(&self.core.persona, response, call);
        self.core.blame(now.mono, &faults, &Message::Response(response.clone()));
        // Further forks may answer an INVITE that was accepted: its entry stays as long as its call
        // is kept.
        let forks = matches!(asked, Asked::Invite(_)) && response.status < 300;
        if response.status >= 200 && !forks {
            self.core.asked.remove(&client);
        }
        match asked {
            Asked::Invite(id) => {
                self.with(id, |core, call| call.invite_response(core, now, client, response));
            }
            Asked::Reinvite(id) | Asked::Update(id) => {
                self.with(id, |core, call| call.change_response(core, now, client, response));
            }
            Asked::Options { host } => options::answered(&mut self.core, host, response),
            Asked::Refer(id) if response.status >= 300 => {
                self.with(id, |_, call| call.refer_refused());
            }
            Asked::Refer(id) if response.status >= 200 => {
                self.with(id, |_, call| call.refer_accepted(now));
            }
            Asked::Bye | Asked::Prack | Asked::Refer(_) => {}
        }
    }

    fn failed(&mut self, now: Now, client: ClientId, status: u16) {
        match self.core.asked.remove(&client) {
            Some(Asked::Invite(id)) => {
                self.with(id, |core, call| call.invite_failed(core, status));
            }
            Some(Asked::Reinvite(id) | Asked::Update(id)) => {
                self.with(id, |core, call| call.change_failed(core, now, status));
            }
            Some(Asked::Options { host }) => {
                self.core.emit(Event::OptionsAnswered { host, status });
            }
            Some(Asked::Refer(id)) => {
                self.with(id, |_, call| call.refer_refused());
            }
            Some(Asked::Bye | Asked::Prack) | None => {}
        }
    }
}
