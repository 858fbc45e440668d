//! The client side of the layer: requests we sent, and the responses to them.

use super::automatic::{InviteHead, octets_of_request};
use super::invite_client::{self, InviteClient};
use super::matching::Key;
use super::non_invite_client::{self, NonInviteClient};
use super::timer::Timer;
use super::{ClientId, Event, Hop, Layer, Owner, Transmit, table};
use crate::message::{Method, Name, Request, Response};
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Instant;

/// Forks whose 2xx one INVITE can have: more than any hunt group rings at once, and each costs the
/// far side a call.
pub const MAX_FORKS: usize = 32;

/// One request we sent.
#[derive(Debug)]
pub(super) struct Client<H> {
    key: Key,
    hop: H,
    /// The request, as long as it may have to be sent again.
    octets: Bytes,
    author: Author,
    machine: Machine<H>,
    /// The deadline that stands for it in the heap.
    pub(super) scheduled: Option<Instant>,
}

/// Who is told of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The user of the layer.
    User,
    /// Nobody: it is a CANCEL of ours.
    Layer,
}

#[derive(Debug)]
enum Machine<H> {
    Invite(Box<Invite<H>>),
    NonInvite(NonInviteClient),
}

/// An INVITE and what its ACKs and CANCEL are made from.
#[derive(Debug)]
struct Invite<H> {
    state: InviteClient,
    head: InviteHead,
    /// The Reason of the CANCEL.
    reason: Option<Bytes>,
    /// The ACK for the failure.
    ack: Bytes,
    /// The 2xx that have come.
    accepted: SmallVec<[Accepted<H>; 1]>,
}

/// One fork's 2xx.
#[derive(Debug)]
struct Accepted<H> {
    to_tag: Bytes,
    ack: Option<(H, Bytes)>,
}

impl<H> Client<H> {
    fn due(&self) -> Option<(Instant, Timer)> {
        match &self.machine {
            Machine::Invite(invite) => invite.state.due(),
            Machine::NonInvite(state) => state.due(),
        }
    }

    fn is_over(&self) -> bool {
        match &self.machine {
            Machine::Invite(invite) => matches!(invite.state, InviteClient::Terminated),
            Machine::NonInvite(state) => matches!(state, NonInviteClient::Terminated),
        }
    }
}

impl<H: Hop> Layer<H> {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        hop: H,
        request: &Request,
        author: Author,
    ) -> ClientId {
        let id = ClientId(self.fresh_id());
        let octets = octets_of_request(request);
        if request.method == Method::Ack {
            // ACK has no transaction (RFC 3261, 17.1.1.3).
            self.counters.unexpected += 1;
            self.transmits.push_back(Transmit { hop, bytes: octets, client: None });
            return id;
        }
        let machine = match request.method {
            Method::Invite => Machine::Invite(Box::new(Invite {
                state: InviteClient::new(now, hop.reliable()),
                head: InviteHead::of(request),
                reason: None,
                ack: Bytes::new(),
                accepted: SmallVec::new(),
            })),
            _ => Machine::NonInvite(NonInviteClient::new(now, hop.reliable())),
        };
        let key = Key::client(&request.headers, &request.method);
        self.client_keys.insert(key.clone(), id);
        self.transmits.push_back(Transmit {
            hop: hop.clone(),
            bytes: octets.clone(),
            client: Some(id),
        });
        self.clients.insert(id, Client { key, hop, octets, author, machine, scheduled: None });
        self.update_client(id);
        id
    }

    pub(super) fn receive_response(&mut self, now: Instant, hop: H, response: Response) {
        let headers = &response.headers;
        let key = Key::client(headers, &headers.cseq().method);
        // Two Vias: it was meant for somebody else (RFC 3261, 8.1.3.3).
        let misrouted = headers.list(Name::Via).nth(1).is_some();
        let found = self.client_keys.get(&key).copied().filter(|_| !misrouted);
        let Some((id, client)) = found.and_then(|id| Some((id, self.clients.get(&id)?))) else {
            self.counters.unmatched_responses += 1;
            return;
        };
        let author = client.author;
        let tell = match client.machine {
            Machine::Invite(_) => self.invite_response(now, id, &response),
            Machine::NonInvite(_) => {
                let event = match response.status {
                    ..200 => non_invite_client::Event::Provisional,
                    _ => non_invite_client::Event::Final,
                };
                let actions = self.step_non_invite_client(now, id, event);
                if actions.is_empty() {
                    self.counters.retransmissions_received += 1;
                }
                actions.contains(&non_invite_client::Action::TellResponse)
            }
        };
        if tell && author == Author::User {
            self.events.push_back(Event::Response { client: id, hop, response });
        }
    }

    /// A response to INVITE; whether the user is to see it.
    fn invite_response(&mut self, now: Instant, id: ClientId, response: &Response) -> bool {
        use invite_client::{Action, Event as E};
        if (200..300).contains(&response.status) {
            return self.invite_accepted(now, id, response);
        }
        if response.status < 200 {
            let actions = self.step_invite_client(now, id, E::Provisional);
            return actions.contains(&Action::TellResponse);
        }
        if let Some(invite) = self.invite_mut(id)
            && invite.ack.is_empty()
        {
            invite.ack = octets_of_request(&invite.head.ack(response));
        }
        let actions = self.step_invite_client(now, id, E::Failure);
        if actions == [Action::SendAck] {
            self.counters.retransmissions_received += 1;
            self.counters.retransmissions_sent += 1;
        }
        actions.contains(&Action::TellResponse)
    }

    /// A 2xx to INVITE: a repeat of one is answered with its ACK, if there is one yet.
    fn invite_accepted(&mut self, now: Instant, id: ClientId, response: &Response) -> bool {
        use invite_client::{Action, Event as E};
        let to_tag = response.headers.to().tag().unwrap_or_default();
        let Some(invite) = self.invite_mut(id) else { return false };
        if let Some(known) = invite.accepted.iter().find(|known| known.to_tag == to_tag) {
            let ack = known.ack.clone();
            self.counters.retransmissions_received += 1;
            if let Some((hop, bytes)) = ack {
                self.counters.retransmissions_sent += 1;
                self.transmits.push_back(Transmit { hop, bytes, client: None });
            }
            return false;
        }
        if invite.accepted.len() == MAX_FORKS {
            self.counters.unexpected += 1;
            return false;
        }
        let tell = self.step_invite_client(now, id, E::Success).contains(&Action::TellResponse);
        if let Some(invite) = self.invite_mut(id)
            && tell
        {
            let to_tag = Bytes::copy_from_slice(to_tag);
            invite.accepted.push(Accepted { to_tag, ack: None });
        }
        tell
    }

    pub(super) fn cancel_client(&mut self, now: Instant, id: ClientId, reason: Option<Bytes>) {
        if let Some(invite) = self.invite_mut(id) {
            invite.reason = invite.reason.take().or(reason);
            self.step_invite_client(now, id, invite_client::Event::Cancel);
        }
    }

    pub(super) fn acknowledge_client(&mut self, id: ClientId, hop: H, ack: &Request) {
        let bytes = octets_of_request(ack);
        let to_tag = ack.headers.to().tag().unwrap_or_default();
        if let Some(invite) = self.invite_mut(id)
            && let Some(known) = invite.accepted.iter_mut().find(|known| known.to_tag == to_tag)
        {
            known.ack = Some((hop.clone(), bytes.clone()));
        }
        self.transmits.push_back(Transmit { hop, bytes, client: None });
    }

    pub(super) fn fail_client(&mut self, now: Instant, id: ClientId) {
        match self.clients.get(&id).map(|client| &client.machine) {
            Some(Machine::Invite(_)) => {
                self.step_invite_client(now, id, invite_client::Event::TransportError);
            }
            Some(Machine::NonInvite(_)) => {
                self.step_non_invite_client(now, id, non_invite_client::Event::TransportError);
            }
            None => {}
        }
    }

    pub(super) fn fire_client(&mut self, now: Instant, id: ClientId, at: Instant) {
        let Some(client) = self.clients.get_mut(&id).filter(|it| it.scheduled == Some(at)) else {
            return;
        };
        client.scheduled = None;
        let Some((_, timer)) = client.due() else { return };
        match client.machine {
            Machine::Invite(_) => {
                self.step_invite_client(now, id, invite_client::Event::Timer(timer));
            }
            Machine::NonInvite(_) => {
                self.step_non_invite_client(now, id, non_invite_client::Event::Timer(timer));
            }
        }
    }

    /// Feeds an INVITE client and does what it says; telling of the response is left to the caller,
    /// who has it.
    fn step_invite_client(
        &mut self,
        now: Instant,
        id: ClientId,
        event: invite_client::Event,
    ) -> &'static [invite_client::Action] {
        use invite_client::Action;
        let Some(client) = self.clients.get_mut(&id) else { return &[] };
        let hop = client.hop.clone();
        let Machine::Invite(invite) = &mut client.machine else { return &[] };
        let actions = invite.state.on(now, event, hop.reliable());
        if !invite.state.may_repeat() {
            client.octets = Bytes::new();
        }
        for action in actions {
            match action {
                Action::SendInvite => {
                    self.counters.retransmissions_sent += 1;
                    let bytes = client.octets.clone();
                    self.transmits.push_back(Transmit {
                        hop: hop.clone(),
                        bytes,
                        client: Some(id),
                    });
                }
                Action::SendAck => {
                    let bytes = invite.ack.clone();
                    self.transmits.push_back(Transmit { hop: hop.clone(), bytes, client: None });
                }
                Action::TellTimeout => self.events.push_back(Event::Timeout { client: id }),
                Action::TellTransportError => {
                    self.events.push_back(Event::TransportError { client: id });
                }
                Action::Unexpected => self.counters.unexpected += 1,
                Action::TellResponse | Action::SendCancel => {}
            }
        }
        if actions.contains(&Action::SendCancel) {
            let cancel = invite.head.cancel(invite.reason.take());
            self.start_client(now, hop, &cancel, Author::Layer);
        }
        self.update_client(id);
        actions
    }

    /// As [`Self::step_invite_client`].
    fn step_non_invite_client(
        &mut self,
        now: Instant,
        id: ClientId,
        event: non_invite_client::Event,
    ) -> &'static [non_invite_client::Action] {
        use non_invite_client::Action;
        let Some(client) = self.clients.get_mut(&id) else { return &[] };
        let Machine::NonInvite(state) = &mut client.machine else { return &[] };
        let actions = state.on(now, event, client.hop.reliable());
        if matches!(state, NonInviteClient::Completed { .. }) {
            client.octets = Bytes::new();
        }
        let told = client.author == Author::User;
        for action in actions {
            match action {
                Action::SendRequest => {
                    self.counters.retransmissions_sent += 1;
                    self.transmits.push_back(Transmit {
                        hop: client.hop.clone(),
                        bytes: client.octets.clone(),
                        client: Some(id),
                    });
                }
                Action::TellTimeout if told => {
                    self.events.push_back(Event::Timeout { client: id });
                }
                Action::TellTransportError if told => {
                    self.events.push_back(Event::TransportError { client: id });
                }
                Action::Unexpected => self.counters.unexpected += 1,
                Action::TellTimeout | Action::TellTransportError | Action::TellResponse => {}
            }
        }
        self.update_client(id);
        actions
    }

    /// Arms the next deadline of a client, or forgets it when it is over.
    fn update_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_over() {
            if self.client_keys.get(&client.key) == Some(&id) {
                table::remove(&mut self.client_keys, &client.key);
            }
            table::remove(&mut self.clients, &id);
            return;
        }
        let due = client.due().map(|(at, _)| at);
        if due != client.scheduled {
            client.scheduled = due;
            if let Some(at) = due {
                self.deadlines.push(at, Owner::Client(id));
            }
        }
    }

    fn invite_mut(&mut self, id: ClientId) -> Option<&mut Invite<H>> {
        match &mut self.clients.get_mut(&id)?.machine {
            Machine::Invite(invite) => Some(invite),
            Machine::NonInvite(_) => None,
        }
    }
}
