//! The server side of the layer: requests we received, and the answers to them.

use super::automatic::{octets_of_response, stateless, trying};
use super::invite_server::{self, InviteServer};
use super::matching::{Key, stateless_tag};
use super::non_invite_server::{self, NonInviteServer};
use super::timer::Timer;
use super::{Event, Hop, Layer, Owner, ServerId, Share, Transmit, table};
use crate::message::{Method, Name, Request, Response};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Instant;

/// Retry-After of the 503 beyond the limit, in seconds: long enough for unreliable transactions to
/// end (timers I and K take five), short enough that the peer's next call comes back to us.
pub const RETRY_AFTER_S: u32 = 10;

/// One request we received.
#[derive(Debug)]
pub(super) struct Server<H> {
    key: Key,
    merge_key: Option<Key>,
    ack_key: Option<Key>,
    hop: H,
    /// The last response; empty while there is none, and once it need not be sent again.
    response: Bytes,
    /// The To tag of our responses, empty while there is none.
    local_tag: Bytes,
    /// The number in the request's CSeq.
    cseq: u32,
    machine: Machine,
    /// The deadline that stands for it in the heap.
    pub(super) scheduled: Option<Instant>,
}

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    NonInvite {
        state: NonInviteServer,
        /// What the 100 is made from, until there is an answer.
        request: Option<Box<Request>>,
    },
}

impl<H> Server<H> {
    fn due(&self) -> Option<(Instant, Timer)> {
        match &self.machine {
            Machine::Invite(state) => state.due(),
            Machine::NonInvite { state, .. } => state.due(),
        }
    }

    fn is_over(&self) -> bool {
        match &self.machine {
            Machine::Invite(state) => matches!(state, InviteServer::Terminated),
            Machine::NonInvite { state, .. } => matches!(state, NonInviteServer::Terminated),
        }
    }
}

impl<H: Hop> Layer<H> {
    pub(super) fn receive_request(&mut self, now: Instant, share: Share, hop: H, request: Request) {
        match request.method {
            Method::Ack => return self.receive_ack(now, request),
            Method::Cancel => return self.receive_cancel(now, hop, request),
            _ => {}
        }
        let key = Key::server(&request, &request.method);
        if let Some(id) = self.server_keys.get(&key).copied() {
            return self.receive_repeat(now, id);
        }
        let merge_key = Key::merged(&request);
        if merge_key.as_ref().is_some_and(|key| self.merge_keys.contains_key(key)) {
            self.counters.merged += 1;
            return self.answer_statelessly(hop, &stateless(&request, 482));
        }
        if self.len() >= self.limit_of(share) {
            self.counters.overload += 1;
            let mut response = stateless(&request, 503);
            response.headers.push(Name::RetryAfter, RETRY_AFTER_S.to_string());
            return self.answer_statelessly(hop, &response);
        }
        let server = self.start_server(now, hop.clone(), &request, key, merge_key);
        self.events.push_back(Event::Request { server, hop, request });
    }

    fn limit_of(&self, share: Share) -> usize {
        match share {
            Share::Nothing => 0,
            Share::Usual => self.limit,
            Share::Reserve => self.limit.saturating_mul(2),
        }
    }

    fn start_server(
        &mut self,
        now: Instant,
        hop: H,
        request: &Request,
        key: Key,
        merge_key: Option<Key>,
    ) -> ServerId {
        let id = ServerId(self.fresh_id());
        let (machine, response) = match request.method {
            // At once: 200 ms are allowed (RFC 3261, 17.2.1), but the user may have to ask others.
            Method::Invite => (Machine::Invite(InviteServer::new()), trying(request)),
            _ => {
                let request = Some(Box::new(request.clone()));
                (Machine::NonInvite { state: NonInviteServer::new(now), request }, Bytes::new())
            }
        };
        if !response.is_empty() {
            self.transmits.push_back(Transmit {
                hop: hop.clone(),
                bytes: response.clone(),
                client: None,
            });
        }
        self.server_keys.insert(key.clone(), id);
        if let Some(key) = &merge_key {
            self.merge_keys.insert(key.clone(), id);
        }
        let server = Server {
            key,
            merge_key,
            ack_key: None,
            hop,
            response,
            local_tag: Bytes::new(),
            cseq: request.headers.cseq().number,
            machine,
            scheduled: None,
        };
        self.servers.insert(id, server);
        self.update_server(id);
        id
    }

    fn receive_repeat(&mut self, now: Instant, id: ServerId) {
        self.counters.retransmissions_received += 1;
        match self.servers.get(&id).map(|server| &server.machine) {
            Some(Machine::Invite(_)) => {
                self.step_invite_server(now, id, invite_server::Event::Invite, None);
            }
            Some(Machine::NonInvite { .. }) => {
                self.step_non_invite_server(now, id, non_invite_server::Event::Request, None);
            }
            None => {}
        }
    }

    fn receive_ack(&mut self, now: Instant, request: Request) {
        let found = self
            .server_keys
            .get(&Key::server(&request, &Method::Invite))
            .or_else(|| self.server_keys.get(&Key::old_invite(&request)?))
            .or_else(|| self.ack_keys.get(&Key::acknowledged(&request.headers)))
            .copied();
        let Some(id) = found else {
            let to_tag = request.headers.to().tag().unwrap_or_default();
            if to_tag != stateless_tag(&request.headers).as_bytes() {
                self.events.push_back(Event::Ack { server: None, request });
            }
            return;
        };
        let actions = self.step_invite_server(now, id, invite_server::Event::Ack, None);
        if actions.contains(&invite_server::Action::TellAck) {
            self.events.push_back(Event::Ack { server: Some(id), request });
        }
    }

    fn receive_cancel(&mut self, now: Instant, hop: H, request: Request) {
        let key = Key::server(&request, &Method::Cancel);
        if let Some(id) = self.server_keys.get(&key).copied() {
            return self.receive_repeat(now, id);
        }
        let invite_key = Key::server(&request, &Method::Invite);
        // A CANCEL repeats the number of its INVITE (RFC 3261, 9.1).
        let number = request.headers.cseq().number;
        let Some((invite, server)) = self
            .server_keys
            .get(&invite_key)
            .and_then(|id| self.servers.get(id).map(|server| (*id, server)))
            .filter(|(_, server)| server.cseq == number)
        else {
            return self.answer_statelessly(hop, &stateless(&request, 481));
        };
        // The To tag is that of the answers to the INVITE (RFC 3261, 9.2).
        let response = match server.local_tag.is_empty() {
            true => stateless(&request, 200),
            false => Response::to(&request, 200, Some(&server.local_tag)),
        };
        let id = self.start_server(now, hop, &request, key, None);
        self.answer(now, id, &response);
        let actions = self.step_invite_server(now, invite, invite_server::Event::Cancel, None);
        if actions.contains(&invite_server::Action::TellCancel) {
            self.events.push_back(Event::Cancel { server: invite, request });
        }
    }

    pub(super) fn answer(&mut self, now: Instant, id: ServerId, response: &Response) {
        let Some(server) = self.servers.get_mut(&id) else {
            self.counters.unexpected += 1;
            return;
        };
        if server.local_tag.is_empty()
            && let Some(tag) = response.headers.to().tag()
        {
            server.local_tag = Bytes::copy_from_slice(tag);
        }
        match (&server.machine, response.status) {
            (Machine::Invite(_), status) => {
                let event = match status {
                    ..200 => invite_server::Event::Provisional,
                    200..300 => invite_server::Event::Success,
                    300.. => invite_server::Event::Failure,
                };
                let octets = octets_of_response(response);
                let actions = self.step_invite_server(now, id, event, Some(octets));
                let sent = actions.contains(&invite_server::Action::SendResponse);
                match event {
                    invite_server::Event::Success if sent => self.expect_ack(id, response),
                    invite_server::Event::Failure if sent => self.allow_again(id),
                    _ => {}
                }
            }
            // RFC 4320, 4.1 and 4.2: our own 100 is the only provisional response, and a 408
            // would come when the client has given up by itself.
            (Machine::NonInvite { .. }, ..200 | 408) => self.counters.unexpected += 1,
            (Machine::NonInvite { .. }, _) => {
                let octets = octets_of_response(response);
                let event = non_invite_server::Event::Final;
                self.step_non_invite_server(now, id, event, Some(octets));
                if response.status >= 300 {
                    self.allow_again(id);
                }
            }
        }
    }

    /// A client that was refused may come back at once with the same request and a new branch
    /// (RFC 3263, 4.3): what is refused is not ongoing, and the new one not merged with it.
    fn allow_again(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            forget(&mut self.merge_keys, server.merge_key.take().as_ref(), id);
        }
    }

    fn expect_ack(&mut self, id: ServerId, response: &Response) {
        if let Some(server) = self.servers.get_mut(&id) {
            let key = Key::acknowledged(&response.headers);
            self.ack_keys.insert(key.clone(), id);
            server.ack_key = Some(key);
        }
    }

    fn answer_statelessly(&mut self, hop: H, response: &Response) {
        let bytes = octets_of_response(response);
        self.transmits.push_back(Transmit { hop, bytes, client: None });
    }

    pub(super) fn fire_server(&mut self, now: Instant, id: ServerId, at: Instant) {
        let Some(server) = self.servers.get_mut(&id).filter(|it| it.scheduled == Some(at)) else {
            return;
        };
        server.scheduled = None;
        let Some((_, timer)) = server.due() else { return };
        match server.machine {
            Machine::Invite(_) => {
                self.step_invite_server(now, id, invite_server::Event::Timer(timer), None);
            }
            Machine::NonInvite { .. } => {
                let event = non_invite_server::Event::Timer(timer);
                self.step_non_invite_server(now, id, event, None);
            }
        }
    }

    /// Feeds an INVITE server and does what it says; telling of ACK and CANCEL is left to the
    /// caller, who has them.
    fn step_invite_server(
        &mut self,
        now: Instant,
        id: ServerId,
        event: invite_server::Event,
        response: Option<Bytes>,
    ) -> &'static [invite_server::Action] {
        use invite_server::Action;
        let Some(server) = self.servers.get_mut(&id) else { return &[] };
        let Machine::Invite(state) = &mut server.machine else { return &[] };
        let actions = state.on(now, event, server.hop.reliable());
        if matches!(state, InviteServer::Acknowledged { .. } | InviteServer::Confirmed { .. }) {
            server.response = Bytes::new();
        }
        for action in actions {
            match action {
                Action::SendResponse => {
                    server.response = response.clone().unwrap_or_default();
                    self.transmits.push_back(server.last_response());
                }
                Action::RepeatResponse => {
                    self.counters.retransmissions_sent += 1;
                    self.transmits.push_back(server.last_response());
                }
                Action::TellAckMissing => {
                    self.events.push_back(Event::AckMissing { server: id });
                }
                Action::Unexpected => self.counters.unexpected += 1,
                Action::TellAck | Action::TellCancel => {}
            }
        }
        self.update_server(id);
        actions
    }

    /// As [`Self::step_invite_server`].
    fn step_non_invite_server(
        &mut self,
        now: Instant,
        id: ServerId,
        event: non_invite_server::Event,
        response: Option<Bytes>,
    ) {
        use non_invite_server::Action;
        let Some(server) = self.servers.get_mut(&id) else { return };
        let Machine::NonInvite { state, request } = &mut server.machine else { return };
        for action in state.on(now, event, server.hop.reliable()) {
            match action {
                Action::SendTrying => {
                    server.response = request.take().map(|it| trying(&it)).unwrap_or_default();
                }
                Action::SendResponse => {
                    *request = None;
                    server.response = response.clone().unwrap_or_default();
                }
                Action::RepeatResponse => self.counters.retransmissions_sent += 1,
                Action::Unexpected => {
                    self.counters.unexpected += 1;
                    continue;
                }
            }
            self.transmits.push_back(Transmit {
                hop: server.hop.clone(),
                bytes: server.response.clone(),
                client: None,
            });
        }
        self.update_server(id);
    }

    /// Arms the next deadline of a server, or forgets it when it is over.
    fn update_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.is_over() {
            forget(&mut self.server_keys, Some(&server.key), id);
            forget(&mut self.merge_keys, server.merge_key.as_ref(), id);
            forget(&mut self.ack_keys, server.ack_key.as_ref(), id);
            table::remove(&mut self.servers, &id);
            return;
        }
        let due = server.due().map(|(at, _)| at);
        if due != server.scheduled {
            server.scheduled = due;
            if let Some(at) = due {
                self.deadlines.push(at, Owner::Server(id));
            }
        }
    }
}

impl<H: Hop> Server<H> {
    fn last_response(&self) -> Transmit<H> {
        Transmit { hop: self.hop.clone(), bytes: self.response.clone(), client: None }
    }
}

/// Removes a key unless it has come to name another transaction.
fn forget(keys: &mut HashMap<Key, ServerId>, key: Option<&Key>, id: ServerId) {
    if let Some(key) = key
        && keys.get(key) == Some(&id)
    {
        table::remove(keys, key);
    }
}
