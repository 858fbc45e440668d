//! The calling side: INVITE, ACK, and BYE after a while.

use super::endpoint::Endpoint;
use super::lab::CALLED;
use super::wire::Hop;
use sip_core::transaction::{ClientId, Event};
use sip_core::{Dialog, Method, Name, Request, Response};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// All calls of one run.
pub(super) struct Caller {
    pub(super) endpoint: Endpoint,
    us: SocketAddr,
    /// Where every request goes first.
    through: SocketAddr,
    /// From the 200 to the BYE; calls stand until they are hung up if there is none.
    hold: Option<Duration>,
    inviting: HashMap<ClientId, Invited>,
    ending: HashMap<ClientId, ()>,
    standing: VecDeque<(Instant, Dialog)>,
    pub(super) tally: Tally,
}

/// An INVITE without an answer.
struct Invited {
    at: Instant,
    request: Request,
}

/// What has come of the calls.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) begun: u64,
    pub(super) answered: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    /// By status, or what else went wrong.
    pub(super) why: BTreeMap<String, u64>,
    /// INVITE to 200 of each call, in microseconds.
    pub(super) setup_us: Vec<u32>,
}

impl Tally {
    fn fail(&mut self, why: impl ToString) {
        self.failed += 1;
        *self.why.entry(why.to_string()).or_default() += 1;
    }
}

impl Caller {
    pub(super) fn new(us: SocketAddr, through: SocketAddr, hold: Option<Duration>) -> Self {
        Self {
            endpoint: Endpoint::new(),
            us,
            through,
            hold,
            inviting: HashMap::new(),
            ending: HashMap::new(),
            standing: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Calls that are neither done nor failed.
    pub(super) fn pending(&self) -> u64 {
        self.tally.begun - self.tally.done - self.tally.failed
    }

    pub(super) fn begin(&mut self, now: Instant) {
        let (us, through) = (self.us, self.through);
        let mut request = Request::new(Method::Invite, format!("sip:{CALLED}@{through}"));
        let headers = &mut request.headers;
        headers.push(Name::Via, self.endpoint.via(us));
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("<sip:{CALLING}@{us}>;tag={}", self.endpoint.name()));
        headers.push(Name::To, format!("<sip:{CALLED}@{through}>"));
        headers.push(Name::CallId, format!("{}@load.example.net", self.endpoint.name()));
        headers.push(Name::CSeq, "1 INVITE");
        headers.push(Name::Contact, format!("<sip:{CALLING}@{us}>"));
        request.set_body("application/sdp", offer(us));
        let hop = Hop::Datagram(through);
        let client = self.endpoint.layer.request(now, hop, request.clone());
        self.inviting.insert(client, Invited { at: now, request });
        self.tally.begun += 1;
    }

    /// Does what the layer has to tell.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.event() {
            match event {
                Event::Response { client, response, .. } => self.response(now, client, &response),
                Event::Timeout { client } | Event::TransportError { client } => {
                    let known = self.inviting.remove(&client).is_some();
                    if known || self.ending.remove(&client).is_some() {
                        self.tally.fail(if known { "no answer" } else { "no answer to BYE" });
                    }
                }
                Event::Request { server, request, .. } => {
                    let status = if request.method == Method::Options { 200 } else { 481 };
                    let response = Response::to(&request, status, Some(b"caller"));
                    self.endpoint.layer.respond(now, server, response);
                    if request.method == Method::Bye {
                        *self.tally.why.entry("hung up on".to_owned()).or_default() += 1;
                    }
                }
                Event::Ack { .. } | Event::Cancel { .. } | Event::AckMissing { .. } => {}
            }
        }
    }

    fn response(&mut self, now: Instant, client: ClientId, response: &Response) {
        if response.status < 200 {
            return;
        }
        if self.ending.remove(&client).is_some() {
            match response.status {
                ..300 => self.tally.done += 1,
                status => self.tally.fail(format!("{status} to BYE")),
            }
            return;
        }
        let Some(Invited { at, request }) = self.inviting.remove(&client) else { return };
        if response.status >= 300 {
            return self.tally.fail(response.status);
        }
        let Ok(dialog) = Dialog::uac(&request, response) else {
            return self.tally.fail("200 without Contact");
        };
        let mut ack = dialog.ack(1);
        ack.headers.push_front(Name::Via, self.endpoint.via(self.us));
        self.endpoint.layer.acknowledge(now, client, Hop::Datagram(self.through), ack);
        self.tally.answered += 1;
        let setup = now.saturating_duration_since(at).as_micros();
        self.tally.setup_us.push(u32::try_from(setup).unwrap_or(u32::MAX));
        self.standing.push_back((now, dialog));
    }

    /// Hangs up the calls that have stood long enough.
    pub(super) fn hang_up_due(&mut self, now: Instant) {
        let Some(hold) = self.hold else { return };
        while self.standing.front().is_some_and(|(since, _)| *since + hold <= now) {
            self.hang_up_first(now);
        }
    }

    /// Hangs up the call that has stood longest.
    pub(super) fn hang_up_first(&mut self, now: Instant) {
        let Some((_, mut dialog)) = self.standing.pop_front() else { return };
        let mut bye = dialog.request(Method::Bye);
        bye.headers.push_front(Name::Via, self.endpoint.via(self.us));
        let client = self.endpoint.layer.request(now, Hop::Datagram(self.through), bye);
        self.ending.insert(client, ());
    }

    /// When the next call is to be hung up.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.standing.front()?.0 + self.hold?)
    }
}

impl Endpoint {
    fn via(&mut self, us: SocketAddr) -> String {
        format!("SIP/2.0/UDP {us};branch=z9hG4bK{}", self.name())
    }
}

/// The number that calls.
const CALLING: &str = "+49895551234";

fn offer(us: SocketAddr) -> String {
    let ip = us.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
    )
}
