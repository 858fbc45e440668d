//! Digest as specified, as spoken, and as attacked.

mod answering;
mod guarding;
mod reading;
mod vectors;

use crate::auth::{Account, Secret};
use crate::message::{Message, Method, Name, Request, Response};
use bytes::Bytes;

pub(super) fn account(user: &str, secret: &str) -> Account {
    Account { user: user.into(), secret: Secret::new(secret), realm: None }
}

pub(super) fn invite() -> Request {
    let mut request = Request::new(Method::Invite, "sip:bob@biloxi.example.com");
    request.headers.push(Name::CallId, "c1");
    request
}

/// A response with these header lines.
pub(super) fn response(status: u16, lines: &[(&str, &str)]) -> Response {
    let mut text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n"
    );
    for (name, value) in lines {
        text += &format!("{name}: {value}\r\n");
    }
    match Message::parse(Bytes::from(text + "\r\n")) {
        Ok(Message::Response(response)) => response,
        other => panic!("not a response: {other:?}"),
    }
}

pub(super) fn challenged(value: &str) -> Response {
    response(401, &[("WWW-Authenticate", value)])
}

/// A parameter of the first Authorization.
pub(super) fn said<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let line = request.headers.get(Name::Authorization)?;
    let said = super::directives::Directives::read(line);
    said[0].value(name).map(|value| std::str::from_utf8(value).unwrap())
}

pub(super) fn text(request: &Request) -> Bytes {
    Message::Request(request.clone()).to_bytes()
}
