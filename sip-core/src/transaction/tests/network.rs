//! Two layers, Alice and Bob, and the network between them in virtual time; prints the ladder when
//! a test fails.

use super::answer;
use crate::message::{Message, Request, Response};
use crate::transaction::{ClientId, Event, GIVE_UP, Hop, Layer, ServerId};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How the two are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Udp,
    Tls,
}

impl Hop for Wire {
    fn reliable(&self) -> bool {
        *self == Wire::Tls
    }
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Alice,
    Bob,
}

/// What becomes of the next messages with a label.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Lost,
    Twice,
    Late(Duration),
}

pub(super) struct Network {
    pub(super) alice: Layer<Wire>,
    pub(super) bob: Layer<Wire>,
    wire: Wire,
    start: Instant,
    pub(super) now: Instant,
    flying: Vec<(Instant, Side, Bytes)>,
    fates: Vec<(usize, &'static str, Fate)>,
    events: Vec<(Side, Event<Wire>)>,
    ladder: Vec<Rung>,
}

struct Rung {
    at: Duration,
    from: Side,
    label: String,
    fate: Option<Fate>,
}

/// One way.
const LATENCY: Duration = Duration::from_millis(10);

impl Network {
    pub(super) fn new(wire: Wire) -> Self {
        Self::with_limit(wire, 1000)
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    pub(super) fn with_limit(wire: Wire, limit: usize) -> Self {
        let start = Instant::now();
        Self {
            alice: Layer::new(limit),
            bob: Layer::new(limit),
            wire,
            start,
            now: start,
            flying: Vec::new(),
            fates: Vec::new(),
            events: Vec::new(),
            ladder: Vec::new(),
        }
    }

    /// The next `count` messages with this label (`INVITE`, `200 INVITE`) meet this fate.
    pub(super) fn fate(&mut self, count: usize, label: &'static str, fate: Fate) {
        self.fates.push((count, label, fate));
    }

    pub(super) fn lose(&mut self, count: usize, label: &'static str) {
        self.fate(count, label, Fate::Lost);
    }

    pub(super) fn request(&mut self, text: &str) -> ClientId {
        let id = self.alice.request(self.now, self.wire, request(text));
        self.collect();
        id
    }

    /// What Alice or somebody else sent, laid before Bob.
    pub(super) fn deliver_to_bob(&mut self, text: &str) {
        self.deliver(Side::Bob, Bytes::copy_from_slice(text.as_bytes()));
    }

    /// What somebody sent, laid before Alice.
    pub(super) fn deliver_to_alice(&mut self, message: &Response) {
        self.deliver(Side::Alice, Message::Response(message.clone()).to_bytes());
    }

    fn deliver(&mut self, to: Side, octets: Bytes) {
        let message = Message::parse(octets).unwrap();
        match to {
            Side::Alice => self.alice.receive(self.now, self.wire, message),
            Side::Bob => self.bob.receive(self.now, self.wire, message),
        }
        self.collect();
    }

    pub(super) fn cancel(&mut self, id: ClientId, reason: Option<&'static str>) {
        self.alice.cancel(self.now, id, reason.map(|text| Bytes::from_static(text.as_bytes())));
        self.collect();
    }

    pub(super) fn acknowledge(&mut self, id: ClientId, ack: &str) {
        self.alice.acknowledge(self.now, id, self.wire, request(ack));
        self.collect();
    }

    pub(super) fn fail(&mut self, id: ClientId) {
        self.alice.transport_failed(self.now, id);
        self.collect();
    }

    pub(super) fn respond(&mut self, id: ServerId, response: Response) {
        self.bob.respond(self.now, id, response);
        self.collect();
    }

    /// Lets everything happen that is due within `span`.
    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let landing = self.flying.iter().map(|(at, ..)| *at).min();
            let timers = [self.alice.poll_timeout(), self.bob.poll_timeout()];
            let next = timers.into_iter().chain([landing]).flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if landing == Some(next) {
                let nth = self.flying.iter().position(|(at, ..)| *at == next).unwrap();
                let (_, to, octets) = self.flying.remove(nth);
                self.deliver(to, octets);
            } else {
                self.alice.handle_timeout(self.now);
                self.bob.handle_timeout(self.now);
                self.collect();
            }
        }
        self.now = end;
    }

    /// Nothing is left behind once every timer has had its time.
    pub(super) fn finish(mut self) {
        self.run_for(GIVE_UP * 3);
        assert_eq!((self.alice.len(), self.bob.len()), (0, 0), "transactions are left");
        for layer in [&self.alice, &self.bob] {
            assert_eq!(layer.poll_timeout(), None);
            assert!(layer.client_keys.is_empty() && layer.server_keys.is_empty());
            assert!(layer.merge_keys.is_empty() && layer.ack_keys.is_empty());
        }
    }

    /// How long Alice's and Bob's transactions still live.
    pub(super) fn life_ms(mut self) -> (u128, u128) {
        let from = self.now;
        let mut ends = [None, None];
        while ends.contains(&None) {
            self.run_for(Duration::from_millis(1));
            for (end, layer) in ends.iter_mut().zip([&self.alice, &self.bob]) {
                if layer.is_empty() {
                    end.get_or_insert(self.now - from);
                }
            }
        }
        let [alice, bob] = ends.map(|end| end.unwrap().as_millis());
        (alice, bob)
    }

    /// Takes from both layers what they want to send and say.
    fn collect(&mut self) {
        for side in [Side::Alice, Side::Bob] {
            let layer = match side {
                Side::Alice => &mut self.alice,
                Side::Bob => &mut self.bob,
            };
            let transmits: Vec<_> = std::iter::from_fn(|| layer.poll_transmit()).collect();
            self.events.extend(std::iter::from_fn(|| layer.poll_event()).map(|it| (side, it)));
            for transmit in transmits {
                self.send(side, transmit.bytes);
            }
        }
    }

    fn send(&mut self, from: Side, octets: Bytes) {
        let label = label(&octets);
        let fate = self.fates.iter_mut().find(|(left, name, _)| *left > 0 && *name == label).map(
            |(left, _, fate)| {
                *left -= 1;
                *fate
            },
        );
        let to = if from == Side::Alice { Side::Bob } else { Side::Alice };
        let lands = self.now + LATENCY;
        match fate {
            Some(Fate::Lost) => {}
            Some(Fate::Twice) => {
                self.flying.push((lands, to, octets.clone()));
                self.flying.push((lands, to, octets));
            }
            Some(Fate::Late(by)) => self.flying.push((lands + by, to, octets)),
            None => self.flying.push((lands, to, octets)),
        }
        self.ladder.push(Rung { at: self.now - self.start, from, label, fate });
    }

    /// How often this was sent.
    pub(super) fn sent(&self, label: &str) -> usize {
        self.ladder.iter().filter(|rung| rung.label == label).count()
    }

    /// When this was sent, in milliseconds from the start.
    pub(super) fn sent_at_ms(&self, label: &str) -> Vec<u128> {
        let rungs = self.ladder.iter().filter(|rung| rung.label == label);
        rungs.map(|rung| rung.at.as_millis()).collect()
    }

    /// Takes all events of one side.
    pub(super) fn events(&mut self, side: Side) -> Vec<Event<Wire>> {
        let (taken, left) = self.events.drain(..).partition(|(of, _)| *of == side);
        self.events = left;
        taken.into_iter().map(|(_, event): (_, Event<Wire>)| event).collect()
    }

    /// Takes the one request that Bob has.
    pub(super) fn bobs_request(&mut self) -> (ServerId, Request) {
        match self.events(Side::Bob).as_slice() {
            [Event::Request { server, request, .. }] => (*server, request.clone()),
            other => panic!("not one request: {other:?}"),
        }
    }

    /// Bob answers the one request that he has got.
    pub(super) fn bob_answers(&mut self, status: u16) -> ServerId {
        let (server, request) = self.bobs_request();
        self.respond(server, answer(&request, status));
        server
    }

    /// Takes the statuses that Alice has seen.
    pub(super) fn alices_statuses(&mut self) -> Vec<u16> {
        let events = self.events(Side::Alice);
        let status = |event| match event {
            Event::Response { response, .. } => response.status,
            other => panic!("not a response: {other:?}"),
        };
        events.into_iter().map(status).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for Rung { at, from, label, fate } in &self.ladder {
                let arrow = if *from == Side::Alice { "-->" } else { "<--" };
                let fate = fate.map(|it| format!("{it:?}")).unwrap_or_default();
                println!("{:>6} ms  Alice {arrow} Bob  {label:<12} {fate}", at.as_millis());
            }
        }
    }
}

pub(super) fn request(text: &str) -> Request {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

/// `INVITE` or `200 INVITE`.
fn label(octets: &[u8]) -> String {
    match Message::parse(Bytes::copy_from_slice(octets)).unwrap() {
        Message::Request(request) => String::from_utf8_lossy(request.method.as_bytes()).into(),
        Message::Response(response) => {
            let method = response.headers.cseq().method;
            format!("{} {}", response.status, String::from_utf8_lossy(method.as_bytes()))
        }
    }
}
