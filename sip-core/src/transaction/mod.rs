//! The transaction layer: makes SIP reliable (RFC 3261, 17; RFC 6026; RFC 4320).
//!
//! Contract: call one input method (`receive`, `request`, `respond`, `cancel`, `acknowledge`,
//! `transport_failed`, `handle_timeout`), then drain [`Layer::poll_transmit`] and
//! [`Layer::poll_event`], then arm [`Layer::poll_timeout`].
//!
//! The four state machines stand in files of their own and know nothing but events and time; their
//! tables are drawn in `docs/state-machines`. The layer finds the machine a message is for, feeds
//! it and does what it says.

mod automatic;
mod client;
mod invite_client;
mod invite_server;
mod matching;
mod non_invite_client;
mod non_invite_server;
mod server;
mod table;
mod timer;

#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod tests;

pub use client::MAX_FORKS;
pub use server::RETRY_AFTER_S;
pub use timer::{GIVE_UP, T1, T2, T4};

use crate::message::{Message, Request, Response};
use bytes::Bytes;
use client::Client;
use matching::Key;
use server::Server;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;
use timer::Deadlines;

/// Where a message goes: the user of the layer says what that is.
pub trait Hop: Clone {
    /// Whether the transport retransmits by itself (TCP, TLS), so that timers A, E, G are off.
    fn reliable(&self) -> bool;
}

/// A client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u64);

/// Octets to send.
#[derive(Clone, Debug)]
pub struct Transmit<H> {
    /// Where to.
    pub hop: H,
    /// The message.
    pub bytes: Bytes,
    /// The client transaction to report a transport failure to, for requests but ACK.
    pub client: Option<ClientId>,
}

/// What the transaction user learns.
#[derive(Clone, Debug)]
pub enum Event<H> {
    /// A new request (never ACK or CANCEL). For INVITE, 100 has been sent already.
    Request {
        /// The transaction to answer.
        server: ServerId,
        /// Where it came from.
        hop: H,
        /// The request.
        request: Request,
    },
    /// An ACK for a 2xx; its repeats do not come here. `server` names the INVITE whose 2xx it
    /// acknowledges, if it is still here.
    Ack {
        /// The INVITE transaction, whose 2xx is not retransmitted any more.
        server: Option<ServerId>,
        /// The ACK.
        request: Request,
    },
    /// A CANCEL for an INVITE that has no final response yet; 200 to it has been sent. The user
    /// answers the INVITE with 487.
    Cancel {
        /// The INVITE transaction.
        server: ServerId,
        /// The CANCEL.
        request: Request,
    },
    /// A provisional or final response. Of a 2xx to INVITE only the first with its To tag comes
    /// here; one with another To tag is another fork's.
    Response {
        /// The transaction.
        client: ClientId,
        /// Where it came from.
        hop: H,
        /// The response.
        response: Response,
    },
    /// No final response in time (timer B or F; for INVITE after a provisional only if it was
    /// cancelled).
    Timeout {
        /// The transaction.
        client: ClientId,
    },
    /// The request could not be sent.
    TransportError {
        /// The transaction.
        client: ClientId,
    },
    /// No ACK came for the 2xx within 64*T1 (RFC 3261, 13.3.1.4).
    AckMissing {
        /// The INVITE transaction.
        server: ServerId,
    },
}

/// What happened since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Repeats of requests and responses that ended here.
    pub retransmissions_received: u64,
    /// Repeats that we sent.
    pub retransmissions_sent: u64,
    /// Responses to no request of ours.
    pub unmatched_responses: u64,
    /// Requests answered 482 (RFC 3261, 8.2.2.2).
    pub merged: u64,
    /// Requests answered 503 because of the limit.
    pub overload: u64,
    /// Inputs that a transaction had no use for: ignored.
    pub unexpected: u64,
}

/// What of the table a request may take that is nobody's repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// No place at all.
    Nothing,
    /// A place, unless as many are taken as the limit says.
    Usual,
    /// The same beyond the limit, up to twice as many: for what is few and matters.
    Reserve,
}

/// All transactions of one core.
#[derive(Debug)]
pub struct Layer<H> {
    limit: usize,
    next_id: u64,
    clients: HashMap<ClientId, Client<H>>,
    client_keys: HashMap<Key, ClientId>,
    servers: HashMap<ServerId, Server<H>>,
    server_keys: HashMap<Key, ServerId>,
    /// Requests outside a dialog, to find the same request by another way.
    merge_keys: HashMap<Key, ServerId>,
    /// Accepted INVITEs, to find the ACK for a 2xx.
    ack_keys: HashMap<Key, ServerId>,
    deadlines: Deadlines<Owner>,
    transmits: VecDeque<Transmit<H>>,
    events: VecDeque<Event<H>>,
    counters: Counters,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(ClientId),
    Server(ServerId),
}

impl<H: Hop> Layer<H> {
    /// A layer that holds at most `limit` transactions; requests beyond it (within a dialog: beyond
    /// twice as many) are answered 503 without one. Our own requests and CANCEL in both directions
    /// are not refused: their number is bounded by the calls that cause them.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            next_id: 0,
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            merge_keys: HashMap::new(),
            ack_keys: HashMap::new(),
            deadlines: Deadlines::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A message came in from `hop`. Retransmissions end here; 100 to a new INVITE, 200 to CANCEL,
    /// 481 to a stray CANCEL and 482 to a merged request (RFC 3261, 8.2.2.2) are sent from here.
    ///
    /// The top Via of a request already carries `received` and `rport` (RFC 3581): responses
    /// repeat it, and go to `hop`.
    pub fn receive(&mut self, now: Instant, hop: H, message: Message) {
        let share = match message.headers().to().tag() {
            // They are few, and BYE is what ends an overload.
            Some(_) => Share::Reserve,
            None => Share::Usual,
        };
        self.receive_within(now, share, hop, message);
    }

    /// [`Self::receive`] where the user says what a new request may take. One that finds no place is
    /// answered 503 with Retry-After, costs nothing else and is counted.
    pub fn receive_within(&mut self, now: Instant, share: Share, hop: H, message: Message) {
        match message {
            Message::Request(request) => self.receive_request(now, share, hop, request),
            Message::Response(response) => self.receive_response(now, hop, response),
        }
        self.settle();
    }

    /// Sends a request that already carries its top Via with a fresh `z9hG4bK` branch.
    /// ACK for 2xx does not go here but through [`Self::acknowledge`].
    pub fn request(&mut self, now: Instant, hop: H, request: Request) -> ClientId {
        let id = self.start_client(now, hop, &request, client::Author::User);
        self.settle();
        id
    }

    /// Answers a request. A 2xx to INVITE is retransmitted until its ACK comes (also on reliable
    /// transports: RFC 3261, 13.3.1.4).
    ///
    /// What RFC 4320 forbids to send for a request other than INVITE is counted and not sent: 408,
    /// an answer after 64*T1, and provisional responses (the 100 that is due after a while is sent
    /// from here).
    pub fn respond(&mut self, now: Instant, server: ServerId, response: Response) {
        self.answer(now, server, &response);
        self.settle();
    }

    /// Cancels an INVITE: CANCEL goes out once a provisional response has come (RFC 3261, 9.1).
    /// `reason` becomes its Reason header. A no-op after a final response.
    pub fn cancel(&mut self, now: Instant, client: ClientId, reason: Option<Bytes>) {
        self.cancel_client(now, client, reason);
        self.settle();
    }

    /// Sends the ACK for a 2xx (built by the dialog, with its own Via) and sends it again for each
    /// repeat of that 2xx (same To tag).
    pub fn acknowledge(&mut self, _now: Instant, client: ClientId, hop: H, ack: Request) {
        self.acknowledge_client(client, hop, &ack);
    }

    /// The transport could not send for `client`.
    pub fn transport_failed(&mut self, now: Instant, client: ClientId) {
        self.fail_client(now, client);
        self.settle();
    }

    /// Lets timers that are due fire.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, owner)) = self.deadlines.pop_due(now) {
            match owner {
                Owner::Client(id) => self.fire_client(now, id, at),
                Owner::Server(id) => self.fire_server(now, id, at),
            }
        }
        self.settle();
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<H>> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<H>> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether as many are held as the limit says.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Transactions held now (for bounds, metrics and leak tests).
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Keeps the front of the deadlines true, so that `poll_timeout` need not search.
    fn settle(&mut self) {
        let live = self.len();
        let (clients, servers) = (&self.clients, &self.servers);
        self.deadlines.settle(live, |at, owner| {
            let scheduled = match owner {
                Owner::Client(id) => clients.get(&id).and_then(|client| client.scheduled),
                Owner::Server(id) => servers.get(&id).and_then(|server| server.scheduled),
            };
            scheduled == Some(at)
        });
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
