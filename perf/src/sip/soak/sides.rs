//! Both far sides of the calls in SIP: who calls, who answers, and the re-INVITEs of either.

use super::super::endpoint::Endpoint;
use super::super::lab::CALLED;
use super::super::wire::Hop;
use super::key;
use super::talk::Agreed;
use sdp::{SrtpKey, Suite};
use sip_core::transaction::{ClientId, Event, ServerId};
use sip_core::{Dialog, Method, Name, Request, Response};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

/// One side of all calls.
pub(super) struct Side {
    pub(super) endpoint: Endpoint,
    /// 0: it calls, over UDP with RTP; 1: it answers, over TLS with SRTP.
    number: usize,
    us: SocketAddr,
    /// Where its requests go; the answering side learns it.
    to: Option<Hop>,
    through: SocketAddr,
    ports: Vec<u16>,
    calls: Vec<Call>,
    calls_max: usize,
    by_id: HashMap<Vec<u8>, usize>,
    asked: HashMap<ClientId, Asked>,
    pub(super) agreed: Vec<Agreed>,
    pub(super) tally: Tally,
}

/// What has come of its requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) up: usize,
    pub(super) over: usize,
    pub(super) asked_again: u64,
    pub(super) agreed_again: u64,
    /// Re-INVITEs that came from the other side, through Tollgate.
    pub(super) was_asked: u64,
    pub(super) why: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Call {
    dialog: Option<Dialog>,
    version: u32,
    /// Whether keys are offered: what a re-INVITE changes.
    events: bool,
    busy: bool,
}

/// A request of ours under way.
struct Asked {
    call: usize,
    request: Request,
}

impl Side {
    pub(super) fn new(
        number: usize,
        us: SocketAddr,
        through: SocketAddr,
        calls: usize,
        ports: Vec<u16>,
    ) -> Self {
        let mut all = Vec::new();
        all.resize_with(calls, Call::default);
        Self {
            endpoint: Endpoint::new(),
            number,
            us,
            to: (number == 0).then_some(Hop::Datagram(through)),
            through,
            ports,
            calls: if number == 0 { all } else { Vec::new() },
            calls_max: calls,
            by_id: HashMap::new(),
            asked: HashMap::new(),
            agreed: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Begins a call.
    pub(super) fn call(&mut self, now: Instant, call: usize) {
        let (us, through) = (self.us, self.through);
        let mut request = Request::new(Method::Invite, format!("sip:{CALLED}@{through}"));
        let id = format!("{}@soak.example.net", self.endpoint.name());
        let from = format!("<sip:+4989{call:06}@{us}>;tag={}", self.endpoint.name());
        let headers = &mut request.headers;
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, from);
        headers.push(Name::To, format!("<sip:{CALLED}@{through}>"));
        headers.push(Name::CallId, id.clone());
        headers.push(Name::CSeq, "1 INVITE");
        self.by_id.insert(id.into_bytes(), call);
        self.invite(now, call, request);
    }

    /// Asks a call that is up to go on with another description; false if it cannot be asked now.
    pub(super) fn ask_again(&mut self, now: Instant, call: usize) -> bool {
        let Some(it) = self.calls.get_mut(call) else { return false };
        if it.busy {
            return false;
        }
        let Some(dialog) = &mut it.dialog else { return false };
        let request = dialog.request(Method::Invite);
        it.events = !it.events;
        self.tally.asked_again += 1;
        self.invite(now, call, request);
        true
    }

    fn invite(&mut self, now: Instant, call: usize, mut request: Request) {
        let Some(hop) = self.to else { return };
        if let Some(it) = self.calls.get_mut(call) {
            it.busy = true;
            it.version += 1;
        }
        let via = self.via();
        request.headers.push_front(Name::Via, via);
        request.headers.push(Name::Contact, self.contact());
        request.set_body("application/sdp", self.description(call, None));
        let client = self.endpoint.layer.request(now, hop, request.clone());
        self.asked.insert(client, Asked { call, request });
    }

    /// Ends a call that is up.
    pub(super) fn hang_up(&mut self, now: Instant, call: usize) {
        let (Some(hop), Some(it)) = (self.to, self.calls.get_mut(call)) else { return };
        let Some(dialog) = &mut it.dialog else { return };
        let mut bye = dialog.request(Method::Bye);
        let via = self.via();
        bye.headers.push_front(Name::Via, via);
        let client = self.endpoint.layer.request(now, hop, bye.clone());
        self.asked.insert(client, Asked { call, request: bye });
    }

    /// Does what the layer has to tell.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.event() {
            match event {
                Event::Response { client, response, .. } => self.response(now, client, &response),
                Event::Request { server, request, hop } => {
                    self.to =
                        Some(if self.number == 0 { Hop::Datagram(self.through) } else { hop });
                    self.request(now, server, &request);
                }
                Event::Timeout { client } | Event::TransportError { client } => {
                    if let Some(asked) = self.asked.remove(&client) {
                        self.fail(format!("no answer to {:?}", asked.request.method));
                    }
                }
                Event::AckMissing { .. } => self.fail("200 without ACK".to_owned()),
                Event::Ack { .. } | Event::Cancel { .. } => {}
            }
        }
    }

    fn fail(&mut self, why: String) {
        *self.tally.why.entry(why).or_default() += 1;
    }

    fn response(&mut self, now: Instant, client: ClientId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(Asked { call, request }) = self.asked.remove(&client) else { return };
        if request.method == Method::Bye {
            self.tally.over += 1;
            return;
        }
        let Some(it) = self.calls.get_mut(call) else { return };
        it.busy = false;
        if response.status >= 300 {
            return self.fail(format!("{} to INVITE", response.status));
        }
        let again = it.dialog.is_some();
        match &mut it.dialog {
            Some(dialog) => dialog.refresh(response),
            none => *none = Dialog::uac(&request, response).ok(),
        }
        let Some(dialog) = &it.dialog else {
            return self.fail("200 without Contact".to_owned());
        };
        let number = request
            .headers
            .get(Name::CSeq)
            .and_then(|it| std::str::from_utf8(it).ok()?.split(' ').next()?.parse().ok());
        let mut ack = dialog.ack(number.unwrap_or(1));
        let via = self.via();
        ack.headers.push_front(Name::Via, via);
        if let Some(hop) = self.to {
            self.endpoint.layer.acknowledge(now, client, hop, ack);
        }
        match again {
            true => self.tally.agreed_again += 1,
            false => self.tally.up += 1,
        }
        self.agree(call, response.body());
    }

    fn request(&mut self, now: Instant, server: ServerId, request: &Request) {
        let tag = self.endpoint.name();
        let respond = |side: &mut Self, status, sdp: Option<String>| {
            let mut response = Response::to(request, status, Some(tag.as_bytes()));
            response.headers.push(Name::Contact, side.contact());
            if let Some(sdp) = sdp {
                response.set_body("application/sdp", sdp);
            }
            side.endpoint.layer.respond(now, server, response);
        };
        let id = request.headers.get(Name::CallId).unwrap_or_default().to_vec();
        let known = self.by_id.get(&id).copied();
        match (&request.method, known) {
            (Method::Invite, None) => {
                let Ok(dialog) = Dialog::uas(request, tag.as_bytes()) else {
                    return respond(self, 400, None);
                };
                let call = self.calls.len();
                self.by_id.insert(id, call);
                self.calls.push(Call { dialog: Some(dialog), version: 1, ..Call::default() });
                respond(self, 180, None);
                let answer = self.description(call, Some(request.body()));
                respond(self, 200, Some(answer));
                self.tally.up += 1;
                self.agree(call, request.body());
            }
            (Method::Invite, Some(call)) => {
                let Some(it) = self.calls.get_mut(call) else { return };
                if it.busy {
                    self.fail("re-INVITEs crossed".to_owned());
                    return respond(self, 491, None);
                }
                it.version += 1;
                if let Some(dialog) = &mut it.dialog {
                    // A request out of order is the transaction layer's to find.
                    let _ = dialog.receive(request);
                }
                self.tally.was_asked += 1;
                let offer = (!request.body().is_empty()).then(|| request.body().as_ref());
                let answer = self.description(call, offer);
                respond(self, 200, Some(answer));
                self.agree(call, request.body());
            }
            (Method::Bye, Some(_)) => {
                self.tally.over += 1;
                respond(self, 200, None);
            }
            _ => respond(self, 200, None),
        }
    }

    /// What a description of Tollgate's says for our packets.
    fn agree(&mut self, call: usize, sdp: &[u8]) {
        let Ok(sdp) = std::str::from_utf8(sdp) else { return };
        let line = |begin: &str| sdp.lines().find_map(|line| line.strip_prefix(begin));
        let host = line("c=IN IP4 ").and_then(|host| host.trim().parse::<Ipv4Addr>().ok());
        let port = line("m=audio ").and_then(|it| it.split(' ').next()?.parse::<u16>().ok());
        let (Some(host), Some(port)) = (host, port) else {
            return self.fail("no address in SDP".to_owned());
        };
        let keys = match self.number {
            0 => None,
            _ => {
                let theirs = key::crypto(sdp).and_then(|(_, text)| key::read(text));
                let ours = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &key::of(call));
                let Some(keys) = ours.zip(theirs) else {
                    return self.fail("no key in SDP".to_owned());
                };
                Some(keys)
            }
        };
        let leg = self.number * self.calls_max + call;
        self.agreed.push(Agreed {
            leg,
            side: self.number,
            to: SocketAddrV4::new(host, port),
            keys,
        });
    }

    /// Our description; an answer repeats what was offered of ours.
    fn description(&self, call: usize, offer: Option<&[u8]>) -> String {
        let none = Call::default();
        let it = self.calls.get(call).unwrap_or(&none);
        let offered = offer.map(|offer| String::from_utf8_lossy(offer));
        let events = offered.as_ref().map_or(it.events, |offer| offer.contains("telephone-event"));
        let number = offered.as_ref().and_then(|offer| {
            let line = offer.lines().find(|line| line.contains("telephone-event"))?;
            line.strip_prefix("a=rtpmap:")?.split(' ').next().map(str::to_owned)
        });
        let number = number.unwrap_or_else(|| "101".to_owned());
        let ip = match self.us.ip() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        };
        let port = self.ports[call % self.ports.len()];
        let (profile, keys) = match self.number {
            0 => ("RTP/AVP", format!("a=rtcp:{port}\r\n")),
            _ => {
                let tag = offered.as_deref().and_then(key::crypto).map_or("1", |(tag, _)| tag);
                let text = key::write(&key::of(call));
                let suite = "AES_CM_128_HMAC_SHA1_80";
                ("RTP/SAVP", format!("a=rtcp-mux\r\na=crypto:{tag} {suite} inline:{text}|2^31\r\n"))
            }
        };
        let (more, lines) = match events {
            true => (
                format!(" {number}"),
                format!("a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-16\r\n"),
            ),
            false => (String::new(), String::new()),
        };
        format!(
            "v=0\r\no=- {call} {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} {profile} 8{more}\r\n{keys}a=rtpmap:8 PCMA/8000\r\n{lines}a=ptime:20\r\n",
            it.version
        )
    }

    fn via(&mut self) -> String {
        let transport = if self.number == 0 { "UDP" } else { "TLS" };
        format!("SIP/2.0/{transport} {};branch=z9hG4bK{}", self.us, self.endpoint.name())
    }

    fn contact(&self) -> String {
        match self.number {
            0 => format!("<sip:+498912345@{}>", self.us),
            _ => format!("<sip:{};transport=tls>", self.us),
        }
    }
}
