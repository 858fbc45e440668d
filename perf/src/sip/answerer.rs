//! The answering side: 180 and 200 back to back, and 200 to BYE.

use super::endpoint::Endpoint;
use sip_core::transaction::{Event, ServerId};
use sip_core::{Method, Name, Request, Response};
use std::net::SocketAddr;
use std::time::Instant;

/// The far side of all calls.
pub(super) struct Answerer {
    pub(super) endpoint: Endpoint,
    contact: String,
    answer: String,
    /// 200s whose ACK never came.
    pub(super) unacknowledged: u64,
}

impl Answerer {
    pub(super) fn new(us: SocketAddr, tls: bool) -> Self {
        let contact = match tls {
            true => format!("<sip:{us};transport=tls>"),
            false => format!("<sip:{us}>"),
        };
        let answer = answer(us, tls);
        Self { endpoint: Endpoint::new(), contact, answer, unacknowledged: 0 }
    }

    /// Does what the layer has to tell.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.event() {
            match event {
                Event::Request { server, request, .. } => self.request(now, server, &request),
                Event::AckMissing { .. } => self.unacknowledged += 1,
                Event::Cancel { .. }
                | Event::Ack { .. }
                | Event::Response { .. }
                | Event::Timeout { .. }
                | Event::TransportError { .. } => {}
            }
        }
    }

    fn request(&mut self, now: Instant, server: ServerId, request: &Request) {
        let tag = self.endpoint.name();
        let response = |status| {
            let mut response = Response::to(request, status, Some(tag.as_bytes()));
            response.headers.push(Name::Contact, self.contact.clone());
            response
        };
        let layer = &mut self.endpoint.layer;
        if request.method == Method::Invite {
            layer.respond(now, server, response(180));
            let mut accepted = response(200);
            accepted.set_body("application/sdp", self.answer.clone());
            layer.respond(now, server, accepted);
        } else {
            layer.respond(now, server, response(200));
        }
    }
}

fn answer(us: SocketAddr, srtp: bool) -> String {
    let ip = us.ip();
    let (profile, key) = match srtp {
        true => ("RTP/SAVP", KEY_LINE),
        false => ("RTP/AVP", ""),
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 41000 {profile} 8 101\r\n{key}a=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
    )
}

/// Thirty octets that are worth nothing: no packet is sent.
const KEY_LINE: &str =
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:bG9hZGxvYWRsb2FkbG9hZGxvYWRsb2FkbG9hZGxv|2^31\r\n";
