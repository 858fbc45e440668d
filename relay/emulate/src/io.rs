//! What goes in and out of an agent.

use crate::Hop;
use bytes::Bytes;
use sip_core::Message;
use sip_core::transaction::ClientId;
use std::net::SocketAddr;

/// A call of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What happens to an agent.
#[derive(Debug)]
pub enum Input {
    /// A message came in whole.
    Message {
        /// How it came.
        hop: Hop,
        /// The message.
        message: Message,
    },
    /// A datagram came to a media port.
    Packet {
        /// The port it came to.
        local_port: u16,
        /// Where from.
        from: SocketAddr,
        /// The datagram.
        octets: Bytes,
    },
    /// The far side of a connection has shown a certificate.
    Shown {
        /// The connection, as in [`Hop::flow`].
        flow: u64,
        /// The DNS names in it.
        names: Vec<String>,
    },
    /// A request could not be sent.
    SendFailed {
        /// The transaction that [`Output::Send`] named.
        client: ClientId,
    },
}

/// What an agent wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this message.
    Send {
        /// Where.
        hop: Hop,
        /// The message.
        bytes: Bytes,
        /// The transaction to name in [`Input::SendFailed`].
        client: Option<ClientId>,
    },
    /// Send this datagram.
    SendPacket {
        /// From this media port.
        from_port: u16,
        /// Where.
        to: SocketAddr,
        /// The datagram.
        octets: Bytes,
    },
    /// Something happened.
    Event(Event),
}

/// What an agent saw happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call came in.
    Incoming {
        /// The call.
        call: CallId,
        /// The user part of From.
        from: String,
        /// The user part of the Request-URI.
        to: String,
    },
    /// A call was placed that nobody asked for: a number that a user's calls go to, or a client that
    /// takes the place of another.
    Placed {
        /// The call.
        call: CallId,
        /// The calling number.
        from: String,
        /// The called number.
        to: String,
    },
    /// The far side of our call rings (180).
    Ringing {
        /// The call.
        call: CallId,
    },
    /// Early media was agreed (183 with SDP).
    EarlyMedia {
        /// The call.
        call: CallId,
    },
    /// The call is up.
    Answered {
        /// The call.
        call: CallId,
    },
    /// Media stopped in one or both directions by agreement.
    Held {
        /// The call.
        call: CallId,
        /// Whether it was our wish.
        by_us: bool,
    },
    /// Media flows both ways again.
    Resumed {
        /// The call.
        call: CallId,
        /// Whether it was our wish.
        by_us: bool,
    },
    /// A re-INVITE was repeated without a change (session refresh), by us or the far side.
    Refreshed {
        /// The call.
        call: CallId,
    },
    /// Our re-INVITE was refused; the call goes on as before.
    ChangeRefused {
        /// The call.
        call: CallId,
        /// The status.
        status: u16,
    },
    /// A call that was up is over.
    Ended {
        /// The call.
        call: CallId,
        /// Whether we sent the BYE.
        by_us: bool,
        /// The Q.850 cause of its Reason, if it had one.
        cause: Option<u16>,
    },
    /// A call never came up: refused by its callee with this status, or cancelled (487), or without
    /// any answer (408), or not to be sent (503).
    Refused {
        /// The call.
        call: CallId,
        /// The status.
        status: u16,
    },
    /// OPTIONS came in and was answered.
    OptionsReceived {
        /// The host in its Contact or, without one, its From.
        host: String,
        /// Our answer.
        status: u16,
    },
    /// OPTIONS of ours was answered; 408 where nothing came.
    OptionsAnswered {
        /// Who was asked.
        host: String,
        /// The answer.
        status: u16,
    },
}
