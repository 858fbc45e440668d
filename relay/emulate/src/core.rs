//! What all calls of an agent share: its personality, transactions, randomness, ports and outputs.

use crate::deed::Forward;
use crate::io::{CallId, Event, Output};
use crate::ladder::Steps;
use crate::persona::Persona;
use crate::sound::{MediaPlan, Sound};
use crate::strict::Said;
use crate::strict::{Fault, Violation};
use crate::{Hop, ladder};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use sip_core::auth::Guard;
use sip_core::transaction::{ClientId, Layer, ServerId};
use sip_core::{Message, Name, Request, Response};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

/// Transactions held at once: enough for some thousand calls in setup.
const TRANSACTIONS_MAX: usize = 20_000;
/// Transfers whose words are remembered: those of calls that are up, and some.
const REFERRED_MAX: usize = 1000;
/// Connections whose certificate is remembered; the oldest go first.
const SHOWN_MAX: usize = 4000;
/// Violations that are kept; one is enough to fail a test.
const MAX_VIOLATIONS: usize = 1000;

pub(crate) struct Core {
    pub(crate) persona: Persona,
    pub(crate) plan: MediaPlan,
    pub(crate) layer: Layer<Hop>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) asked: HashMap<ClientId, Asked>,
    /// INVITEs to answer, or whose ACK is awaited.
    pub(crate) servers: HashMap<ServerId, CallId>,
    /// Call-ID and our tag to call.
    pub(crate) dialogs: HashMap<(Bytes, Bytes), CallId>,
    /// Media port to call: RTP and RTCP.
    pub(crate) ports: HashMap<u16, CallId>,
    pub(crate) free: VecDeque<u16>,
    /// What calls want that only the agent can do.
    pub(crate) wanted: VecDeque<Wanted>,
    /// Events that the agent itself has not looked at yet.
    pub(crate) news: VecDeque<Event>,
    /// Transfers that were asked for: what comes of them is called by these words.
    pub(crate) referred: VecDeque<Referred>,
    /// The names in the certificate that the far side of a connection has shown.
    pub(crate) shown: BTreeMap<u64, Vec<String>>,
    pub(crate) steps: Steps,
    pub(crate) violations: Vec<Violation>,
    /// Who may come in, once somebody was asked.
    pub(crate) guard: Option<Guard>,
}

/// What a call wants that only the agent can do.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Call this number as well.
    Forward { of: CallId, forward: Forward },
    /// A client takes the place of this call.
    Replace { of: CallId },
}

/// A transfer that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Referred {
    /// The URI in Refer-To.
    pub(crate) target: Bytes,
    /// Referred-By, to come back octet by octet.
    pub(crate) by: Bytes,
    /// A call has come of it.
    pub(crate) used: bool,
}

/// What a request of ours was for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Invite(CallId),
    Reinvite(CallId),
    Update(CallId),
    Prack,
    Refer(CallId),
    Bye,
    Options { host: String },
}

impl Core {
    pub(crate) fn new(persona: Persona, plan: MediaPlan, rng: ChaCha20Rng) -> Self {
        Self {
            persona,
            layer: Layer::new(TRANSACTIONS_MAX),
            rng,
            outputs: VecDeque::new(),
            asked: HashMap::new(),
            servers: HashMap::new(),
            dialogs: HashMap::new(),
            ports: HashMap::new(),
            free: plan.rtp_ports.iter().copied().filter(|port| *port < u16::MAX).collect(),
            plan,
            wanted: VecDeque::new(),
            news: VecDeque::new(),
            referred: VecDeque::new(),
            shown: BTreeMap::new(),
            steps: Steps::default(),
            violations: Vec::new(),
            guard: None,
        }
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.news.push_back(event.clone());
        self.outputs.push_back(Output::Event(event));
    }

    /// Takes a pair of ports; the one longest free, so that packets of the last call are no strays
    /// of the next.
    pub(crate) fn open_sound(&mut self, call: CallId) -> Option<Sound> {
        let port = self.further_port(call)?;
        Some(Sound::new(port, &self.plan, &mut self.rng))
    }

    pub(crate) fn close_sound(&mut self, sound: &mut Sound) {
        sound.stop();
        self.give_back(sound.rtp_port);
        if let Some(port) = sound.moving_to.take() {
            self.give_back(port);
        }
    }

    /// Takes a pair of ports for a call that has one.
    pub(crate) fn further_port(&mut self, call: CallId) -> Option<u16> {
        let port = self.free.pop_front()?;
        self.ports.insert(port, call);
        self.ports.insert(port + 1, call);
        Some(port)
    }

    pub(crate) fn give_back(&mut self, port: u16) {
        if self.ports.remove(&port).is_some() {
            self.ports.remove(&(port + 1));
            self.free.push_back(port);
        }
    }

    /// The far side of a connection has shown a certificate with these names.
    pub(crate) fn show(&mut self, flow: u64, names: Vec<String>) {
        self.shown.insert(flow, names);
        if self.shown.len() > SHOWN_MAX {
            self.shown.pop_first();
        }
    }

    /// Remembers a transfer that is asked for.
    pub(crate) fn refers(&mut self, target: Bytes, by: Bytes) {
        self.referred.push_back(Referred { target, by, used: false });
        if self.referred.len() > REFERRED_MAX {
            self.referred.pop_front();
        }
    }

    /// 32 hexadecimal digits, as Teams' tags and Call-IDs have (TDR-IN-008).
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    pub(crate) fn guid(&mut self) -> String {
        let token = self.token();
        let parts = [&token[..8], &token[8..12], &token[12..16], &token[16..20], &token[20..]];
        parts.join("-")
    }

    /// The Reason of a BYE or CANCEL.
    pub(crate) fn farewell(&mut self) -> String {
        let guid = self.guid();
        self.persona.farewell(&guid)
    }

    fn via(&mut self, hop: &Hop) -> String {
        let rport = if hop.transport == crate::Transport::Udp { ";rport" } else { "" };
        let branch = self.rng.next_u64();
        let transport = hop.transport.as_str();
        format!("SIP/2.0/{transport} {};branch=z9hG4bK{branch:016x}{rport}", hop.local)
    }

    /// Sends a request that lacks only its Via.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        hop: &Hop,
        mut request: Request,
        asked: Asked,
    ) -> (ClientId, Request) {
        let via = self.via(hop);
        request.headers.push_front(Name::Via, via);
        self.persona.stamp_request(&mut request);
        let client = self.layer.request(now, hop.clone(), request.clone());
        self.asked.insert(client, asked);
        (client, request)
    }

    /// Sends the ACK for a 2xx.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        client: ClientId,
        hop: &Hop,
        mut ack: Request,
    ) {
        let via = self.via(hop);
        ack.headers.push_front(Name::Via, via);
        self.persona.stamp_request(&mut ack);
        self.layer.acknowledge(now, client, hop.clone(), ack);
    }

    pub(crate) fn respond(&mut self, now: Instant, server: ServerId, mut response: Response) {
        self.persona.stamp_response(&mut response);
        self.layer.respond(now, server, response);
    }

    /// Answers without a body.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        server: ServerId,
        request: &Request,
        status: u16,
        text: Option<Said>,
    ) {
        let tag = self.token();
        let tag = self.persona.tags_answer(request).then_some(tag.as_bytes());
        let mut response = Response::to(request, status, tag);
        if status >= 300 {
            let guid = self.guid();
            self.persona.explain(&mut response, &guid, text);
        }
        self.respond(now, server, response);
    }

    pub(crate) fn blame_for_silence(&mut self, now: Instant) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation::ack_missing(now));
        }
    }

    pub(crate) fn blame_for_patience(&mut self, now: Instant) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation::nothing_heard(now));
        }
    }

    pub(crate) fn blame(&mut self, now: Instant, faults: &[Fault], message: &Message) {
        let room = MAX_VIOLATIONS.saturating_sub(self.violations.len());
        let found = faults.iter().take(room).map(|fault| Violation::new(now, fault, message));
        self.violations.extend(found);
    }

    /// Moves what the transactions want sent to the outputs.
    pub(crate) fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.layer.poll_transmit() {
            let bytes = self.persona.spell(transmit.bytes);
            // What we wrote ourselves can be read.
            if let Ok(message) = Message::parse(bytes.clone()) {
                self.steps.note(now, &transmit.hop, true, &message);
            }
            self.outputs.push_back(Output::Send {
                hop: transmit.hop,
                bytes,
                client: transmit.client,
            });
        }
    }

    /// Nothing is asked for a call any more that is not kept any more.
    pub(crate) fn forget(&mut self, call: CallId) {
        self.asked.retain(|_, asked| !matches!(asked, Asked::Invite(id) if *id == call));
    }

    pub(crate) fn steps(&self) -> &[ladder::Step] {
        &self.steps.list
    }
}
