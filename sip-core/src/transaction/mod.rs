//! The transaction layer: makes SIP reliable (RFC 3261, 17; RFC 6026; RFC 4320).
//!
//! Contract: call one input method (`receive`, `request`, `respond`, `cancel`, `acknowledge`,
//! `transport_failed`, `handle_timeout`), then drain [`Layer::poll_transmit`] and
//! [`Layer::poll_event`], then arm [`Layer::poll_timeout`].

use crate::message::{Message, Request, Response};
use bytes::Bytes;
use std::time::Instant;

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
    /// An ACK for a 2xx. `server` names the INVITE whose 2xx it acknowledges, if it is still here.
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
    /// A provisional or final response. Repeats of a 2xx that was acknowledged do not come here.
    Response {
        /// The transaction.
        client: ClientId,
        /// Where it came from.
        hop: H,
        /// The response.
        response: Response,
    },
    /// No final response in time (timer B or F; for INVITE after a provisional: never).
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

/// All transactions of one core.
#[derive(Debug)]
pub struct Layer<H> {
    _hop: std::marker::PhantomData<H>,
}

impl<H: Hop> Layer<H> {
    /// A layer that holds at most `limit` transactions; requests beyond it are answered 503.
    pub fn new(limit: usize) -> Self {
        let _ = limit;
        todo!()
    }
    /// A message came in from `hop`. Retransmissions end here; 100 to a new INVITE, 200 to CANCEL,
    /// 481 to a stray CANCEL and 482 to a merged request (RFC 3261, 8.2.2.2) are sent from here.
    pub fn receive(&mut self, now: Instant, hop: H, message: Message) {
        let _ = (now, hop, message);
        todo!()
    }
    /// Sends a request that already carries its top Via with a fresh `z9hG4bK` branch.
    /// ACK for 2xx does not go here but through [`Self::acknowledge`].
    pub fn request(&mut self, now: Instant, hop: H, request: Request) -> ClientId {
        let _ = (now, hop, request);
        todo!()
    }
    /// Answers a request. A 2xx to INVITE is retransmitted until its ACK comes (also on reliable
    /// transports: RFC 3261, 13.3.1.4).
    pub fn respond(&mut self, now: Instant, server: ServerId, response: Response) {
        let _ = (now, server, response);
        todo!()
    }
    /// Cancels an INVITE: CANCEL goes out once a provisional response has come (RFC 3261, 9.1).
    /// `reason` becomes its Reason header. A no-op after a final response.
    pub fn cancel(&mut self, now: Instant, client: ClientId, reason: Option<Bytes>) {
        let _ = (now, client, reason);
        todo!()
    }
    /// Sends the ACK for a 2xx (built by the dialog, with its own Via) and sends it again for each
    /// repeat of that 2xx (same To tag).
    pub fn acknowledge(&mut self, now: Instant, client: ClientId, hop: H, ack: Request) {
        let _ = (now, client, hop, ack);
        todo!()
    }
    /// The transport could not send for `client`.
    pub fn transport_failed(&mut self, now: Instant, client: ClientId) {
        let _ = (now, client);
        todo!()
    }
    /// Lets timers that are due fire.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<H>> {
        todo!()
    }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<H>> {
        todo!()
    }
    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Transactions held now (for bounds, metrics and leak tests).
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
