//! What waits for the core: what belongs to calls that are up goes before what wants to begin.

use b2bua::io::Flow;
use sip_core::transaction::ClientId;
use sip_core::{Message, Method};
use std::time::Instant;
use tokio::sync::mpsc;

/// What comes from the network.
#[derive(Debug)]
pub enum Event {
    /// A message came in whole from an accepted peer. `received` and `rport` are in its top Via.
    Message {
        /// The flow it came on.
        flow: Flow,
        /// The message.
        message: Message,
        /// When it was read.
        at: Instant,
    },
    /// A message could not be sent.
    SendFailed {
        /// The transaction that was named with it.
        client: ClientId,
        /// Why, in words for the record.
        why: String,
    },
}

/// Whether a message asks for something new. OPTIONS asks only whether we live, and an ACK for nothing.
/// CANCEL is with what it cancels, so that it cannot overtake it.
pub fn begins(message: &Message) -> bool {
    match message {
        Message::Request(request) => {
            !matches!(request.method, Method::Options | Method::Ack)
                && request.headers.to().tag().is_none()
        }
        Message::Response(_) => false,
    }
}

/// What came from the network, in order within each lane.
#[derive(Debug)]
pub struct Events {
    ongoing: mpsc::Receiver<Event>,
    beginning: mpsc::Receiver<Event>,
    failures: mpsc::UnboundedReceiver<Event>,
    /// Taken from `ongoing` since anything was from `beginning`.
    ahead: usize,
}

/// Where the transports put them.
pub(super) struct Lanes {
    ongoing: mpsc::Sender<Event>,
    beginning: mpsc::Sender<Event>,
    /// Each answers one `send` of the core's that named a transaction, so there are never more than
    /// the core has transactions.
    failures: mpsc::UnboundedSender<Event>,
}

/// The lanes and their far end.
pub(super) fn lanes() -> (Lanes, Events) {
    let (ongoing, of_calls) = mpsc::channel(LANE_MAX);
    let (beginning, of_new) = mpsc::channel(LANE_MAX);
    let (failures, failed) = mpsc::unbounded_channel();
    let events = Events { ongoing: of_calls, beginning: of_new, failures: failed, ahead: 0 };
    (Lanes { ongoing, beginning, failures }, events)
}

impl Lanes {
    /// Where `message` is to wait.
    pub(super) fn lane(&self, message: &Message) -> &mpsc::Sender<Event> {
        if begins(message) { &self.beginning } else { &self.ongoing }
    }

    /// Tells that a request could not be sent.
    pub(super) fn failed(&self, client: ClientId, why: String) {
        // Nobody listens any more only while the process ends.
        let _ = self.failures.send(Event::SendFailed { client, why });
    }

    pub(super) fn is_closed(&self) -> bool {
        self.ongoing.is_closed()
    }
}

impl Events {
    /// The next event; `None` when all transports are gone. May be dropped while it waits.
    pub async fn recv(&mut self) -> Option<Event> {
        if let Some(event) = self.its_turn() {
            return Some(event);
        }
        let Self { ongoing, beginning, failures, ahead } = self;
        tokio::select! {
            biased;
            Some(failure) = failures.recv() => Some(failure),
            Some(message) = ongoing.recv() => {
                *ahead += 1;
                Some(message)
            }
            message = beginning.recv() => {
                *ahead = 0;
                message
            }
        }
    }

    /// The next event, if one is there.
    pub fn try_recv(&mut self) -> Option<Event> {
        if let Some(event) = self.its_turn() {
            return Some(event);
        }
        if let Ok(event) = self.failures.try_recv() {
            return Some(event);
        }
        if let Ok(event) = self.ongoing.try_recv() {
            self.ahead += 1;
            return Some(event);
        }
        self.ahead = 0;
        self.beginning.try_recv().ok()
    }

    /// What wants to begin, where enough has gone ahead of it.
    fn its_turn(&mut self) -> Option<Event> {
        if self.ahead < AHEAD_MAX {
            return None;
        }
        self.ahead = 0;
        self.beginning.try_recv().ok()
    }
}

/// Messages that wait for the core in each lane: a burst of a second. Then streams are not read on and
/// datagrams are lost.
const LANE_MAX: usize = 4_096;

/// Messages of calls that are up for one that wants to begin: more than a call has after its first, so
/// that who is let in also gets through, and yet nobody who floods us with such messages shuts others out.
const AHEAD_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use b2bua::io::FlowId;
    use b2bua::plan::Transport;
    use bytes::Bytes;

    fn event(method: &str, to: &str) -> Event {
        let text = format!(
            "{method} sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\nFrom: <sip:b@192.0.2.2>;tag=b\r\nTo: <sip:a@192.0.2.1>{to}\r\n\
             Call-ID: 1\r\nCSeq: 1 {method}\r\nContact: <sip:b@192.0.2.2>\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(Bytes::from(text)).unwrap();
        let flow = Flow {
            id: FlowId(1),
            listener: "udp".into(),
            transport: Transport::Udp,
            remote: ([192, 0, 2, 2], 5060).into(),
            trunk: "carrier".into(),
        };
        Event::Message { flow, message, at: crate::clock::now().mono }
    }

    fn put(lanes: &Lanes, method: &str, to: &str) {
        let event = event(method, to);
        let Event::Message { message, .. } = &event else { unreachable!() };
        lanes.lane(message).try_send(event).unwrap();
    }

    fn method(event: Option<Event>) -> Option<Method> {
        match event {
            Some(Event::Message { message: Message::Request(request), .. }) => Some(request.method),
            _ => None,
        }
    }

    #[test]
    fn what_belongs_to_a_call_or_asks_whether_we_live_overtakes_new_calls() {
        let (lanes, mut events) = lanes();
        put(&lanes, "INVITE", "");
        put(&lanes, "CANCEL", "");
        put(&lanes, "OPTIONS", "");
        put(&lanes, "BYE", ";tag=a");
        let order: Vec<_> = std::iter::from_fn(|| method(events.try_recv())).collect();
        let expected = [Method::Options, Method::Bye, Method::Invite, Method::Cancel];
        assert_eq!(order, expected, "and CANCEL stays behind its INVITE");
    }

    #[test]
    fn a_flood_inside_calls_does_not_shut_out_new_ones() {
        let (lanes, mut events) = lanes();
        put(&lanes, "INVITE", "");
        for _ in 0..AHEAD_MAX * 2 {
            put(&lanes, "BYE", ";tag=a");
        }
        let place = std::iter::from_fn(|| method(events.try_recv()))
            .position(|method| method == Method::Invite);
        assert_eq!(place, Some(AHEAD_MAX));
        assert_eq!(std::iter::from_fn(|| events.try_recv()).count(), AHEAD_MAX, "nothing is lost");
    }
}
