//! The agent: finds the call that a message, packet or deadline is for, and lets it act.

use crate::agenda::Agenda;
use crate::call::{Call, State};
use crate::core::{Asked, Core};
use crate::io::{CallId, Event, Input, Output};
use crate::judge::Heard;
use crate::ladder::Step;
use crate::options::{self, Probes};
use crate::persona::{Persona, user_of};
use crate::reinvite::Wish;
use crate::sound::MediaPlan;
use crate::strict::{self, Violation};
use crate::teams::{Health, Teams};
use crate::{Behaviour, Carrier, Hop, gate, placing, taking};
use bytes::Bytes;
use media::Now;
use rand_chacha::ChaCha20Rng;
use sip_core::transaction::{self, ClientId, ServerId};
use sip_core::{Message, Method, Request, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Calls that are kept for [`Agent::heard`] after they are over; the oldest go first.
const MAX_KEPT: usize = 10_000;

/// One side of the border: a carrier, or Teams.
pub struct Agent {
    core: Core,
    calls: BTreeMap<CallId, Call>,
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
        let id = self.fresh_id();
        let named = |id: CallId| self.calls.get(&id)?.named().ok_or(()).ok();
        let replaces = match dial.replaces {
            Some(id) => Some(named(id).ok_or(Unable::NotUp)?),
            None => None,
        };
        let call = placing::place(&mut self.core, now, id, dial, replaces)?;
        self.keep(id, call);
        self.settle(now);
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
        let done = self.with(call, |core, call| call.refer(core, now, to, consulted));
        self.settle(now);
        done.unwrap_or(false)
    }

    /// Ends a call, whatever its state: BYE if it is up, CANCEL if we called, 603 if we are called.
    pub fn hang_up(&mut self, now: Now, call: CallId) {
        self.with(call, |core, call| call.hang_up(core, now));
        self.settle(now);
    }

    /// Sets how an endpoint of Teams is from now on.
    pub fn set_health(&mut self, fqdn: &str, health: Health) {
        if let Persona::Teams(teams) = &mut self.core.persona {
            let named = teams.endpoints.iter_mut().filter(|e| e.fqdn.eq_ignore_ascii_case(fqdn));
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

    fn with<T>(&mut self, id: CallId, act: impl FnOnce(&mut Core, &mut Call) -> T) -> Option<T> {
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
        while let Some(event) = self.core.layer.poll_event() {
            self.event(now, event);
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
        let faults = strict::request(&self.core.persona, hop, &request, seen);
        let message = Message::Request(request.clone());
        self.core.blame(now.mono, &faults, &message);
        if let Some((status, text)) = strict::refusal(&self.core.persona, &faults) {
            if request.method == Method::Options {
                let host = request.headers.contact().map(|c| crate::persona::host_of(&c));
                let host = host.unwrap_or_default();
                self.core.emit(Event::OptionsReceived { host, status });
            }
            return self.core.answer(now.mono, server, &request, status, Some(text));
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
            Asked::Invite(id) | Asked::Reinvite(id) | Asked::Update(id) => self.calls.get_mut(id),
            Asked::Bye | Asked::Prack | Asked::Refer(_) | Asked::Options { .. } => None,
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
