//! Call flows of two layers over a lossy network in virtual time.

mod cancel;
mod chaos;
mod invite;
mod matching;
mod network;
mod non_invite;

use crate::message::{Request, Response};
use std::time::Duration;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Alice's request outside a dialog.
fn text(method: &str, branch: &str) -> String {
    format!(
        "{method} sip:bob@b.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP a.example:5060;branch={branch}\r\n\
         Route: <sip:proxy.example;lr>\r\n\
         Max-Forwards: 69\r\n\
         From: <sip:alice@a.example>;tag=a1\r\n\
         To: <sip:bob@b.example>\r\n\
         Call-ID: c1@a.example\r\n\
         CSeq: 7 {method}\r\n\
         Contact: <sip:alice@a.example>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn invite() -> String {
    text("INVITE", "z9hG4bKinvite")
}

/// Alice's ACK for Bob's 2xx with this To tag.
fn ack(to_tag: &str) -> String {
    text("ACK", &format!("z9hG4bKack{to_tag}"))
        .replace("To: <sip:bob@b.example>", &format!("To: <sip:bob@b.example>;tag={to_tag}"))
}

/// Bob's answer.
fn answer(request: &Request, status: u16) -> Response {
    Response::to(request, status, Some(b"b1"))
}
