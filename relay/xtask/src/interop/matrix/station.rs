//! A user agent of our own with one call: it speaks SIP over any transport, and its media is a talker, alone
//! or behind rtpengine.

use super::super::verdicts::{header, headers};
use super::channel::{BORDER, Channel, PORT, TLS_PORT};
use super::pair::{End, Transport};
use super::rtpengine::Session;
use super::talker::{Heard, Talker};
use crate::fail::{Fail, Outcome, While, ensure};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// One end with one call.
pub(super) struct Station {
    address: Ipv4Addr,
    end: End,
    number: String,
    channel: Channel,
    media: Media,
    call: Call,
    /// What is sent again until somebody answers.
    unanswered: Option<Unanswered>,
    /// The descriptions that crossed the wire: ours and Tollgate's, the last of each.
    pub(super) ours: String,
    pub(super) theirs: String,
    branches: u32,
}

struct Media {
    talker: Talker,
    at: (Ipv4Addr, u16),
    engine: Option<Session>,
}

#[derive(Default)]
struct Call {
    state: State,
    id: String,
    /// Our and the far side's From or To, tags included.
    us: String,
    them: String,
    target: String,
    sequence: u32,
    /// Why it ended, if by a refusal.
    refused: Option<String>,
    /// The last INVITE that came, and what we answered.
    answered: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Calling,
    Up,
    Ending,
    Over,
}

struct Unanswered {
    message: String,
    due: Instant,
    pause: Duration,
}

/// T1 of RFC 3261.
const T1: Duration = Duration::from_millis(500);

/// What a station is set up with.
pub(super) struct Setup {
    pub(super) address: Ipv4Addr,
    pub(super) end: End,
    pub(super) number: String,
    pub(super) channel: Channel,
    pub(super) talker: Talker,
    /// Where the talker is.
    pub(super) at: (Ipv4Addr, u16),
    pub(super) engine: Option<Session>,
}

impl Station {
    pub(super) fn new(setup: Setup) -> Self {
        let Setup { address, end, number, channel, talker, at, engine } = setup;
        Self {
            address,
            end,
            number,
            channel,
            media: Media { talker, at, engine },
            call: Call::default(),
            unanswered: None,
            ours: String::new(),
            theirs: String::new(),
            branches: 0,
        }
    }

    /// Calls this number.
    pub(super) fn dial(&mut self, number: &str) -> Outcome {
        let plain = self.media.description();
        self.ours = match &mut self.media.engine {
            Some(engine) => engine.offer_out(&plain)?,
            None => plain,
        };
        let (address, own) = (self.address, self.number.clone());
        self.call = Call {
            state: State::Calling,
            id: format!("{own}-calls@{address}"),
            us: format!("<sip:{own}@{address}>;tag=caller"),
            them: format!("<sip:{number}@{BORDER}>"),
            target: format!("sip:{number}@{BORDER}:{}", self.port()),
            ..Call::default()
        };
        let invite = self.request("INVITE");
        self.insist(invite)
    }

    /// Ends the call.
    pub(super) fn hang_up(&mut self) -> Outcome {
        self.call.state = State::Ending;
        let bye = self.request("BYE");
        self.insist(bye)
    }

    pub(super) fn is_up(&self) -> bool {
        self.call.state == State::Up
    }

    pub(super) fn is_over(&self) -> bool {
        self.call.state == State::Over
    }

    /// Why Tollgate refused the call, if it did.
    pub(super) fn refused(&self) -> Option<&str> {
        self.call.refused.as_deref()
    }

    /// What was heard; nothing is said any more.
    pub(super) fn end(self) -> Heard {
        self.media.talker.end()
    }

    /// Does what is to be done within this time.
    pub(super) fn pump(&mut self, time: Duration) -> Outcome {
        if let Some(message) = self.channel.receive(time) {
            self.take(&message)?;
        }
        let now = Instant::now();
        if let Some(it) = &mut self.unanswered
            && self.end.transport == Transport::Udp
            && it.due <= now
        {
            self.channel.send(&it.message)?;
            it.pause *= 2;
            it.due = now + it.pause;
        }
        Ok(())
    }

    fn take(&mut self, message: &str) -> Outcome {
        match message.strip_prefix("SIP/2.0 ") {
            Some(rest) => {
                let status = rest.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0);
                self.response(status, message)
            }
            None => self.request_came(message),
        }
    }

    fn response(&mut self, status: u16, message: &str) -> Outcome {
        let method =
            header(message, "CSeq").and_then(|it| it.split(' ').nth(1)).unwrap_or_default();
        if method == "INVITE" && self.call.state == State::Calling && status > 100 {
            self.unanswered = None;
        }
        match (method, status) {
            (_, ..200) => Ok(()),
            ("BYE", _) => {
                self.unanswered = None;
                self.call.state = State::Over;
                Ok(())
            }
            ("INVITE", 200..300) if self.call.state == State::Calling => {
                self.call.them = header(message, "To").unwrap_or_default().to_owned();
                self.call.target = contact(message)?;
                self.theirs = body(message).to_owned();
                self.acknowledge()?;
                self.call.state = State::Up;
                let heard = match &mut self.media.engine {
                    Some(engine) => engine.answer_in(&self.theirs)?,
                    None => self.theirs.clone(),
                };
                self.media.talk(&heard)
            }
            // A repeat: our ACK was lost.
            ("INVITE", 200..300) => self.acknowledge(),
            ("INVITE", _) if self.call.state == State::Calling => {
                self.call.them = header(message, "To").unwrap_or_default().to_owned();
                self.call.refused = message.lines().next().map(str::to_owned);
                self.call.state = State::Over;
                // The transaction's own ACK; nothing hangs on it but repeats.
                self.acknowledge()
            }
            _ => Ok(()),
        }
    }

    fn acknowledge(&mut self) -> Outcome {
        let ack = self.request("ACK");
        self.channel.send(&ack)
    }

    fn request_came(&mut self, message: &str) -> Outcome {
        match message.split(' ').next().unwrap_or_default() {
            "ACK" => {
                self.unanswered = None;
                Ok(())
            }
            "INVITE" => self.invited(message),
            "BYE" => {
                self.channel.send(&self.answer(message, "200 OK", ""))?;
                self.call.state = State::Over;
                Ok(())
            }
            _ => self.channel.send(&self.answer(message, "200 OK", "")),
        }
    }

    fn invited(&mut self, message: &str) -> Outcome {
        let sequence = header(message, "CSeq").unwrap_or_default().to_owned();
        if let Some((known, answer)) = &self.call.answered
            && *known == sequence
        {
            let answer = answer.clone();
            return self.channel.send(&answer);
        }
        self.theirs = body(message).to_owned();
        let plain = self.media.description();
        let (heard, ours) = match &mut self.media.engine {
            Some(engine) => (engine.offer_in(&self.theirs)?, engine.answer_out(&plain)?),
            None => (self.theirs.clone(), plain),
        };
        self.ours = ours;
        if self.call.state == State::Idle {
            self.call.id = header(message, "Call-ID").unwrap_or_default().to_owned();
            self.call.us = format!("{};tag=callee", header(message, "To").unwrap_or_default());
            self.call.them = header(message, "From").unwrap_or_default().to_owned();
            self.channel.send(&self.answer(message, "180 Ringing", ""))?;
        }
        self.call.target = contact(message)?;
        self.call.state = State::Up;
        let answer = self.answer(message, "200 OK", &self.ours);
        self.call.answered = Some((sequence, answer.clone()));
        self.insist(answer)?;
        self.media.talk(&heard)
    }

    /// Sends it, and again until there is an answer.
    fn insist(&mut self, message: String) -> Outcome {
        // A program that has just been started may not be there yet.
        self.channel.send(&message)?;
        self.unanswered = Some(Unanswered { message, due: Instant::now() + T1, pause: T1 });
        Ok(())
    }

    fn request(&mut self, method: &str) -> String {
        if method != "ACK" {
            self.call.sequence += 1;
            self.branches += 1;
        }
        let Call { id, us, them, target, sequence, .. } = &self.call;
        let (via, own) = (self.transport_name(), self.own());
        // The ACK of a refusal is of the transaction of its INVITE; another's branch is its own.
        let branch = match (method, &self.call.refused) {
            ("ACK", None) => format!("{}ack", self.branches),
            _ => self.branches.to_string(),
        };
        let sdp = if method == "INVITE" { self.ours.as_str() } else { "" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{via} {own};branch=z9hG4bK{}{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {us}\r\nTo: {them}\r\nCall-ID: {id}\r\n\
             CSeq: {sequence} {method}\r\nContact: {}\r\n{}",
            self.number.trim_start_matches('+'),
            self.contact(),
            with(sdp)
        )
    }

    fn answer(&self, request: &str, status: &str, sdp: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for via in headers(request, "Via") {
            text.push_str(&format!("Via: {via}\r\n"));
        }
        let to = header(request, "To").unwrap_or_default();
        let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag=callee") };
        for (name, value) in [
            ("From", header(request, "From").unwrap_or_default()),
            ("To", &to),
            ("Call-ID", header(request, "Call-ID").unwrap_or_default()),
            ("CSeq", header(request, "CSeq").unwrap_or_default()),
            ("Contact", &self.contact()),
        ] {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text + &with(sdp)
    }

    fn contact(&self) -> String {
        let transport = self.transport_name().to_ascii_lowercase();
        format!("<sip:{}@{};transport={transport}>", self.number, self.own())
    }

    fn own(&self) -> String {
        format!("{}:{}", self.address, self.port())
    }

    const fn port(&self) -> u16 {
        match self.end.transport {
            Transport::Tls => TLS_PORT,
            Transport::Udp | Transport::Tcp => PORT,
        }
    }

    const fn transport_name(&self) -> &'static str {
        match self.end.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

impl Media {
    /// The talker's own.
    fn description(&self) -> String {
        let (address, port) = self.at;
        format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        )
    }

    /// Begins to talk to who described himself so.
    fn talk(&mut self, sdp: &str) -> Outcome {
        let (rtp, rtcp) = addresses(sdp)?;
        self.talker.talk(rtp, rtcp)
    }
}

/// Where a description wants RTP and RTCP.
fn addresses(sdp: &str) -> Outcome<(SocketAddr, SocketAddr)> {
    let line = |begin: &str| sdp.lines().find_map(|line| line.strip_prefix(begin));
    let host = line("c=IN IP4 ").while_some("c=", sdp)?;
    let host: Ipv4Addr = host.trim().parse().while_(host)?;
    let port =
        line("m=audio ").and_then(|line| line.split(' ').next()).while_some("m=audio", sdp)?;
    let port: u16 = port.parse().while_(port)?;
    ensure(port > 0, || format!("the stream was refused: {sdp}"))?;
    let rtcp = line("a=rtcp:").and_then(|line| line.split(' ').next()?.trim().parse().ok());
    let rtcp = if line("a=rtcp-mux").is_some() { Some(port) } else { rtcp };
    Ok(((host, port).into(), (host, rtcp.unwrap_or(port + 1)).into()))
}

trait WhileSome<T> {
    fn while_some(self, what: &str, text: &str) -> Outcome<T>;
}

impl<T> WhileSome<T> for Option<T> {
    fn while_some(self, what: &str, text: &str) -> Outcome<T> {
        self.ok_or_else(|| Fail(format!("no {what} in {text:?}")))
    }
}

fn contact(message: &str) -> Outcome<String> {
    let contact = header(message, "Contact").while_some("Contact", message)?;
    let uri = contact.split(['<', '>']).nth(1).unwrap_or(contact);
    Ok(uri.to_owned())
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn with(sdp: &str) -> String {
    match sdp {
        "" => "Content-Length: 0\r\n\r\n".to_owned(),
        _ => format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn rtcp_is_where_the_description_wants_it() {
        let sdp = "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";
        let rtcp = |more: &str| addresses(&format!("{sdp}{more}")).unwrap().1.port();
        assert_eq!(rtcp(""), 4001);
        assert_eq!(rtcp("a=rtcp:4007\r\n"), 4007);
        assert_eq!(rtcp("a=rtcp:4007\r\na=rtcp-mux\r\n"), 4000);
        assert!(addresses("c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n").is_err());
    }
}
