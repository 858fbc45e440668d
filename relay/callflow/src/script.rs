//! A far side written by hand: it says what the test says, and nothing by itself.

use crate::peer::Who;
use crate::sdp_text;
use crate::world::World;
use b2bua::plan::Transport;
use bytes::Bytes;
use sip_core::{Headers, Message, Method, Name, NameAddr, Request, Response};

/// One end of a call at a far side.
#[derive(Clone, Debug)]
pub struct Party {
    /// Where it is.
    pub who: Who,
    /// The call's Call-ID on this leg.
    pub call_id: String,
    /// Its own tag.
    pub tag: String,
    /// From of its requests, with its tag.
    local: String,
    /// To of its requests.
    remote: String,
    /// The Request-URI of its requests.
    target: String,
    cseq: u32,
    /// Its INVITE, if it is the caller, or the one it got.
    pub invite: Request,
}

impl Party {
    /// Calls `number` from `from`; the INVITE is changed by `edit` before it is sent.
    pub fn call(
        world: &mut World,
        who: Who,
        from: &str,
        uri: &str,
        edit: impl FnOnce(&mut Request),
    ) -> Self {
        let (call_id, tag, branch) = (world.token(), world.token(), world.token());
        let host = who.host();
        let mut invite = Request::new(Method::Invite, uri.to_owned());
        let headers = &mut invite.headers;
        let local = format!("<sip:{from}@{host}>;tag={tag}");
        headers.push(Name::Via, via(who, &branch));
        headers.push(Name::MaxForwards, "68");
        headers.push(Name::From, local.clone());
        headers.push(Name::To, format!("<{uri}>"));
        headers.push(Name::CallId, call_id.clone());
        headers.push(Name::CSeq, "1 INVITE");
        headers.push(Name::Contact, contact(who));
        invite.set_body("application/sdp", usual_sdp(who));
        edit(&mut invite);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let party = Self {
            who,
            call_id,
            tag,
            local: text(invite.headers.get(Name::From).unwrap_or_default()),
            remote: text(invite.headers.get(Name::To).unwrap_or_default()),
            target: text(&invite.uri),
            cseq: 1,
            invite: invite.clone(),
        };
        world.send(who, invite);
        party
    }

    /// A carrier's subscriber calls this number.
    pub fn from_carrier(world: &mut World, who: Who, number: &str) -> Self {
        let uri = format!("sip:{number}@{}:5060;user=phone", who.ours().ip());
        Self::call(world, who, crate::plan::PSTN, &uri, |_| {})
    }

    /// A Teams user of the tenant with this FQDN calls this number.
    pub fn from_teams(world: &mut World, fqdn: &str, number: &str) -> Self {
        let uri = format!("sip:{number}@{fqdn}:5061;user=phone;transport=tls");
        let from =
            if fqdn == crate::plan::FABRIKAM { crate::plan::BORIS } else { crate::plan::ANNA };
        Self::call(world, Who::Sip, from, &uri, |_| {})
    }

    /// The one that our INVITE came to.
    pub fn called(world: &mut World, who: Who) -> Self {
        let message = world.expect(who, "INVITE");
        Self::of_invite(world, who, &message)
    }

    /// The end of the call that this INVITE of ours makes.
    pub fn of_invite(world: &mut World, who: Who, message: &Message) -> Self {
        let Message::Request(invite) = message else { panic!("it is no request") };
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let tag = world.token();
        let headers = &invite.headers;
        let to = text(headers.get(Name::To).unwrap_or_default());
        Self {
            who,
            call_id: text(headers.call_id()),
            local: format!("{to};tag={tag}"),
            tag,
            remote: text(headers.get(Name::From).unwrap_or_default()),
            target: headers.contact().map(|contact| text(contact.uri)).unwrap_or_default(),
            cseq: 100,
            invite: invite.clone(),
        }
    }

    /// The tag of the far end, once it is known.
    pub fn remote_tag(&self) -> Option<String> {
        let address = NameAddr::parse(self.remote.as_bytes()).ok()?;
        address.tag().map(|tag| String::from_utf8_lossy(tag).into_owned())
    }

    /// The same end as another fork would answer.
    pub fn fork(&self, world: &mut World) -> Self {
        let tag = world.token();
        let local = self.local.replace(&self.tag, &tag);
        Self { tag, local, ..self.clone() }
    }

    /// Answers the INVITE it got; a 2xx or 183 with its usual SDP.
    pub fn reply(&self, world: &mut World, status: u16) {
        self.answer(world, &self.invite, status, |response| {
            if (200..300).contains(&status) || status == 183 {
                response.set_body("application/sdp", usual_sdp(self.who));
            }
        });
    }

    /// Answers a request; the response is changed by `edit` before it is sent.
    pub fn answer(
        &self,
        world: &mut World,
        request: &Request,
        status: u16,
        edit: impl FnOnce(&mut Response),
    ) {
        let tag = (status > 100).then_some(self.tag.as_bytes());
        let mut response = Response::to(request, status, tag);
        if status > 100 && request.method == Method::Invite && status < 300 {
            response.headers.push(Name::Contact, contact(self.who));
        }
        edit(&mut response);
        world.send(self.who, response);
    }

    /// Answers the INVITE it got with 200 and this SDP.
    pub fn accepts(&self, world: &mut World, sdp: impl Into<Bytes>) {
        self.agrees(world, &self.invite, sdp);
    }

    /// Answers an offer with 200 and this SDP.
    pub fn agrees(&self, world: &mut World, request: &Request, sdp: impl Into<Bytes>) {
        self.answer(world, request, 200, |response| response.set_body("application/sdp", sdp));
    }

    /// Waits for a response and learns from it who the far side is.
    pub fn hears(&mut self, world: &mut World, what: &str) -> Response {
        let message = world.expect(self.who, what);
        let Message::Response(response) = message else { panic!("{what} is no response") };
        let headers = &response.headers;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        if headers.to().tag().is_some() && headers.cseq().method == Method::Invite {
            if headers.from().tag() == Some(self.tag.as_bytes()) {
                self.remote = text(headers.get(Name::To).unwrap_or_default());
            }
            if let Some(contact) = headers.contact() {
                self.target = text(contact.uri);
            }
        }
        response
    }

    /// Waits for a request within the call.
    pub fn gets(&self, world: &mut World, method: &str) -> Request {
        match world.expect(self.who, method) {
            Message::Request(request) => request,
            Message::Response(_) => panic!("{method} is no method"),
        }
    }

    /// A new request of the dialog.
    pub fn request(&mut self, world: &mut World, method: Method) -> Request {
        self.cseq += 1;
        let cseq = self.cseq;
        self.numbered(world, method, cseq)
    }

    fn numbered(&self, world: &mut World, method: Method, cseq: u32) -> Request {
        let branch = world.token();
        let name = String::from_utf8_lossy(method.as_bytes()).into_owned();
        let mut request = Request::new(method, self.target.clone());
        let headers = &mut request.headers;
        headers.push(Name::Via, via(self.who, &branch));
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, self.local.clone());
        headers.push(Name::To, self.remote.clone());
        headers.push(Name::CallId, self.call_id.clone());
        headers.push(Name::CSeq, format!("{cseq} {name}"));
        headers.push(Name::Contact, contact(self.who));
        request
    }

    /// Sends a request of the dialog, with SDP if any is given.
    pub fn asks(&mut self, world: &mut World, method: Method, sdp: Option<String>) -> Request {
        let mut request = self.request(world, method);
        if let Some(sdp) = sdp {
            request.set_body("application/sdp", sdp);
        }
        world.send(self.who, request.clone());
        request
    }

    /// Sends the ACK for this 2xx.
    pub fn acknowledges(&self, world: &mut World, response: &Response) {
        let ack = self.numbered(world, Method::Ack, response.headers.cseq().number);
        world.send(self.who, ack);
    }

    /// Sends the ACK for this 2xx with the answer to the offer in it.
    pub fn acknowledges_with(&self, world: &mut World, response: &Response, answer: &str) {
        let mut ack = self.numbered(world, Method::Ack, response.headers.cseq().number);
        ack.set_body("application/sdp", answer.to_owned());
        world.send(self.who, ack);
    }

    /// Sends the ACK for this failure of its first INVITE.
    pub fn acknowledges_failure(&self, world: &mut World, response: &Response) {
        self.acknowledges_failure_of(world, &self.invite, response);
    }

    /// Sends the ACK for this failure of that INVITE.
    pub fn acknowledges_failure_of(
        &self,
        world: &mut World,
        invite: &Request,
        response: &Response,
    ) {
        let to = response.headers.get(Name::To).unwrap_or_default().to_vec();
        world.send(self.who, about(invite, Method::Ack, to));
    }

    /// Cancels this INVITE of its own.
    pub fn cancels_this(&self, world: &mut World, invite: &Request) {
        let to = invite.headers.get(Name::To).unwrap_or_default().to_vec();
        world.send(self.who, about(invite, Method::Cancel, to));
    }

    /// Cancels its first INVITE.
    pub fn cancels(&self, world: &mut World, reason: Option<&str>) {
        let to = self.invite.headers.get(Name::To).unwrap_or_default().to_vec();
        let mut cancel = about(&self.invite, Method::Cancel, to);
        if let Some(reason) = reason {
            cancel.headers.push(Name::Reason, reason.to_owned());
        }
        world.send(self.who, cancel);
    }

    /// Hangs up and hears that it was heard.
    pub fn hangs_up(&mut self, world: &mut World) {
        self.asks(world, Method::Bye, None);
        self.hears(world, "200 BYE");
    }

    /// Gets BYE and says yes to it.
    pub fn is_hung_up(&self, world: &mut World) -> Request {
        let bye = self.gets(world, "BYE");
        self.answer(world, &bye, 200, |_| {});
        bye
    }

    /// Gets CANCEL, says yes, and 487 to the INVITE.
    pub fn is_cancelled(&self, world: &mut World) -> Request {
        let cancel = self.gets(world, "CANCEL");
        self.answer(world, &cancel, 200, |_| {});
        self.reply(world, 487);
        cancel
    }
}

/// A request that belongs to the transaction of this INVITE.
fn about(invite: &Request, method: Method, to: Vec<u8>) -> Request {
    let name = String::from_utf8_lossy(method.as_bytes()).into_owned();
    let number = invite.headers.cseq().number;
    let mut request = Request::new(method, invite.uri.clone());
    let headers = &mut request.headers;
    for copied in [Name::Via, Name::MaxForwards, Name::From] {
        headers.copy_from(&invite.headers, copied);
    }
    headers.push(Name::To, to);
    headers.copy_from(&invite.headers, Name::CallId);
    headers.push(Name::CSeq, format!("{number} {name}"));
    request
}

/// A call from the carrier to Teams that is up: the caller and the callee.
pub fn carrier_calls_teams(world: &mut World) -> (Party, Party) {
    let mut caller = Party::from_carrier(world, Who::Colt, crate::plan::ANNA);
    let callee = Party::called(world, Who::Sip);
    connect(world, &mut caller, &callee);
    (caller, callee)
}

/// A call from Teams to the carrier that is up: the caller and the callee.
pub fn teams_calls_carrier(world: &mut World) -> (Party, Party) {
    let mut caller = Party::from_teams(world, crate::plan::CONTOSO, crate::plan::PSTN);
    let callee = Party::called(world, Who::Colt);
    connect(world, &mut caller, &callee);
    (caller, callee)
}

/// The callee rings and answers; both ACKs come through.
pub fn connect(world: &mut World, caller: &mut Party, callee: &Party) {
    callee.reply(world, 180);
    caller.hears(world, "180 INVITE");
    connect_ringing(world, caller, callee);
}

/// The callee, who has rung before, answers; both ACKs come through.
pub fn connect_ringing(world: &mut World, caller: &mut Party, callee: &Party) {
    callee.reply(world, 200);
    let answer = caller.hears(world, "200 INVITE");
    caller.acknowledges(world, &answer);
    callee.gets(world, "ACK");
}

/// `one` hangs up, the other hears of it.
pub fn hang_up(world: &mut World, one: &mut Party, other: &Party) {
    one.hangs_up(world);
    other.is_hung_up(world);
}

/// The SDP by which this place usually holds.
pub fn held_sdp(who: Who) -> String {
    let direction = if who.is_teams() { "inactive" } else { "sendonly" };
    sdp_text::turned(&usual_sdp(who), direction)
}

/// The SDP this place usually writes.
pub fn usual_sdp(who: Who) -> String {
    match who.is_teams() {
        true => crate::sdp_text::teams(who.media()),
        false => crate::sdp_text::carrier(who.media()),
    }
}

fn via(who: Who, branch: &str) -> String {
    let transport = who.transport().via();
    let rport = if who.transport() == Transport::Udp { ";rport" } else { "" };
    format!("SIP/2.0/{transport} {};branch=z9hG4bK{branch}{rport}", who.address())
}

fn contact(who: Who) -> String {
    match who.is_teams() {
        true => {
            format!(
                "<sip:api-du-a-euwe.pstnhub.microsoft.com:443;x-i={who:?};x-c=4b1;transport=tls>"
            )
        }
        false => format!("<sip:pbx@{};transport=udp>", who.address()),
    }
}

/// The body of a message as text.
pub fn body(message: &impl Described) -> String {
    String::from_utf8_lossy(message.octets()).into_owned()
}

/// What has a body.
pub trait Described {
    /// The body.
    fn octets(&self) -> &[u8];
}

impl Described for Request {
    fn octets(&self) -> &[u8] {
        self.body()
    }
}

impl Described for Response {
    fn octets(&self) -> &[u8] {
        self.body()
    }
}

/// The first line of an SDP that starts so.
pub fn line<'a>(sdp: &'a str, start: &str) -> &'a str {
    sdp.lines().find(|line| line.starts_with(start)).unwrap_or_default()
}

/// The address of a name-addr header.
pub fn uri_of(value: &[u8]) -> String {
    let address = NameAddr::parse(value).map(|address| address.uri.to_vec()).unwrap_or_default();
    String::from_utf8_lossy(&address).into_owned()
}

/// What has headers.
pub trait Headed {
    /// They.
    fn headed(&self) -> &Headers;
}

impl Headed for Headers {
    fn headed(&self) -> &Headers {
        self
    }
}

impl Headed for Request {
    fn headed(&self) -> &Headers {
        &self.headers
    }
}

impl Headed for Response {
    fn headed(&self) -> &Headers {
        &self.headers
    }
}

/// The first line of a header; empty where there is none.
pub fn value(of: &impl Headed, name: Name) -> String {
    String::from_utf8_lossy(of.headed().get(name).unwrap_or_default()).into_owned()
}

/// A request as it is written.
pub fn whole(request: &Request) -> String {
    let mut octets = Vec::new();
    Message::from(request.clone()).write(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}
