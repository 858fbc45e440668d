//! The virtual network: latency for all, and for datagrams loss, repeats and disorder, by chance
//! from a seed or by a line in a test.

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use sip_core::Message;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One way, unless a test says otherwise.
const LATENCY: Duration = Duration::from_millis(10);
/// How much later a datagram comes that others overtake.
const OVERTAKEN: Duration = Duration::from_millis(120);

/// The wires between everybody.
#[derive(Debug)]
pub struct Network {
    /// One way.
    pub latency: Duration,
    /// Share of datagrams with SIP that get lost.
    pub loss: f64,
    /// Share of datagrams with SIP that come twice.
    pub duplication: f64,
    /// Share of datagrams with SIP that come late.
    pub disorder: f64,
    faults: Vec<Fault>,
    rng: ChaCha20Rng,
    in_flight: BinaryHeap<InFlight>,
    sent: u64,
    /// When the last message of each direction of a connection comes: nothing overtakes it.
    arrivals: HashMap<(SocketAddr, SocketAddr), Instant>,
}

/// What goes wrong with some messages. Made by [`Network::lose`] and its like.
#[derive(Debug)]
pub struct Fault {
    kind: Kind,
    left: u32,
    passing: u32,
    what: String,
    from: Option<SocketAddr>,
    to: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Lose,
    Duplicate,
    Delay(Duration),
}

impl Fault {
    /// Only what this one sends.
    pub fn from(&mut self, who: crate::Who) -> &mut Self {
        self.from = Some(who.address());
        self
    }

    /// Only what goes to this one.
    pub fn to(&mut self, who: crate::Who) -> &mut Self {
        self.to = Some(who.address());
        self
    }

    /// Lets so many pass first.
    pub fn after(&mut self, passing: u32) -> &mut Self {
        self.passing = passing;
        self
    }
}

/// What travels.
#[derive(Debug)]
pub(crate) enum Load {
    /// A SIP message; `step` is its place in the ladder, `flow` the connection it is on.
    Sip { bytes: Bytes, step: usize, flow: Option<u64> },
    /// RTP or RTCP.
    Media(Bytes),
    /// News for our core that need some time.
    Core(Box<b2bua::Input>),
}

/// Something that arrives.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) load: Load,
}

/// What the network made of a message, for the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Carried,
    Lost,
    Repeated,
    Late,
}

#[derive(Debug)]
struct InFlight {
    due: Instant,
    order: u64,
    arrival: Arrival,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for InFlight {}
impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for InFlight {
    /// The heap gives the greatest first: that is the one due first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            latency: LATENCY,
            loss: 0.0,
            duplication: 0.0,
            disorder: 0.0,
            faults: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            in_flight: BinaryHeap::new(),
            sent: 0,
            arrivals: HashMap::new(),
        }
    }

    /// Loses the next `count` datagrams that are `what`: a method (`ACK`), a status (`200`), or a
    /// status with the method it answers (`200 INVITE`).
    pub fn lose(&mut self, count: u32, what: &str) -> &mut Fault {
        self.fault(Kind::Lose, count, what)
    }

    /// Brings the next `count` such datagrams twice.
    pub fn duplicate(&mut self, count: u32, what: &str) -> &mut Fault {
        self.fault(Kind::Duplicate, count, what)
    }

    /// Lets others overtake the next `count` such datagrams.
    pub fn reorder(&mut self, count: u32, what: &str) -> &mut Fault {
        self.fault(Kind::Delay(OVERTAKEN), count, what)
    }

    /// Brings the next `count` such messages later by so much; also those of a connection, and
    /// then all behind them.
    pub fn delay(&mut self, count: u32, what: &str, by: Duration) -> &mut Fault {
        self.fault(Kind::Delay(by), count, what)
    }

    fn fault(&mut self, kind: Kind, left: u32, what: &str) -> &mut Fault {
        let what = what.to_owned();
        self.faults.push(Fault { kind, left, passing: 0, what, from: None, to: None });
        self.faults.last_mut().expect("it was pushed just now")
    }

    /// Whether a fault was ordered that met no message: then the test tests something else.
    pub(crate) fn unused_faults(&self) -> Vec<String> {
        let unused = self.faults.iter().filter(|fault| fault.left > 0);
        unused.map(|fault| format!("{:?} of {} did not happen", fault.kind, fault.what)).collect()
    }

    /// Sends a message between two SIP addresses.
    pub(crate) fn send_sip(
        &mut self,
        now: Instant,
        route: (SocketAddr, SocketAddr),
        reliable: bool,
        message: &Message,
        load: impl Fn() -> Load,
    ) -> Fate {
        let fault = self.meets(route, message);
        let (from, to) = route;
        let mut due = now + self.latency;
        if let Some(Kind::Delay(by)) = fault {
            due += by;
        }
        if reliable {
            let last = self.arrivals.entry(route).or_insert(due);
            due = due.max(*last);
            *last = due;
            self.push(due, Arrival { from, to, load: load() });
            return if fault.is_some() { Fate::Late } else { Fate::Carried };
        }
        let (lost, twice) = (self.chance(self.loss), self.chance(self.duplication));
        let late = self.chance(self.disorder);
        if fault == Some(Kind::Lose) || (fault.is_none() && lost) {
            return Fate::Lost;
        }
        if late {
            due += OVERTAKEN;
        }
        self.push(due, Arrival { from, to, load: load() });
        if fault == Some(Kind::Duplicate) || twice {
            self.push(due + Duration::from_millis(1), Arrival { from, to, load: load() });
            return Fate::Repeated;
        }
        if late || fault.is_some() { Fate::Late } else { Fate::Carried }
    }

    /// Sends anything else.
    pub(crate) fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, load: Load) {
        self.push(now + self.latency, Arrival { from, to, load });
    }

    fn push(&mut self, due: Instant, arrival: Arrival) {
        self.sent += 1;
        self.in_flight.push(InFlight { due, order: self.sent, arrival });
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.in_flight.peek().map(|next| next.due)
    }

    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Arrival> {
        (self.next_due()? <= now).then(|| self.in_flight.pop().map(|next| next.arrival))?
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && f64::from(self.rng.next_u32()) < share * f64::from(u32::MAX)
    }

    fn meets(&mut self, (from, to): (SocketAddr, SocketAddr), message: &Message) -> Option<Kind> {
        let fault = self.faults.iter_mut().find(|fault| {
            fault.left > 0
                && fault.from.is_none_or(|only| only == from)
                && fault.to.is_none_or(|only| only == to)
                && is(message, &fault.what)
        })?;
        if fault.passing > 0 {
            fault.passing -= 1;
            return None;
        }
        fault.left -= 1;
        Some(fault.kind)
    }
}

/// Whether a message is what these words say.
pub(crate) fn is(message: &Message, what: &str) -> bool {
    match message {
        Message::Request(request) => request.method.as_bytes() == what.as_bytes(),
        Message::Response(response) => {
            let status = response.status.to_string();
            let method = response.headers.cseq().method;
            match what.split_once(' ') {
                Some((number, of)) => status == number && method.as_bytes() == of.as_bytes(),
                None => status == what,
            }
        }
    }
}
