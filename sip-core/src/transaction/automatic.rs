//! The messages that transactions write themselves: ACK for a failure, CANCEL, 100 and the answers
//! that need no user.

use super::matching::stateless_tag;
use crate::message::{Method, Name, Request, Response};
use bytes::Bytes;

/// What ACK and CANCEL repeat of the INVITE.
#[derive(Debug)]
pub(super) struct InviteHead {
    uri: Bytes,
    via: Bytes,
    routes: Vec<Bytes>,
    from: Bytes,
    to: Bytes,
    call_id: Bytes,
    cseq: u32,
}

impl InviteHead {
    pub(super) fn of(invite: &Request) -> Self {
        let headers = &invite.headers;
        let copy = |name| Bytes::copy_from_slice(headers.get(name).unwrap_or_default());
        let via = headers.list(Name::Via).next().unwrap_or_default();
        Self {
            uri: invite.uri.clone(),
            via: Bytes::copy_from_slice(via),
            routes: headers.all(Name::Route).map(Bytes::copy_from_slice).collect(),
            from: copy(Name::From),
            to: copy(Name::To),
            call_id: copy(Name::CallId),
            cseq: headers.cseq().number,
        }
    }

    /// The ACK for a failure: its To is that of the response (RFC 3261, 17.1.1.3).
    pub(super) fn ack(&self, response: &Response) -> Request {
        let to = response.headers.get(Name::To).unwrap_or_default();
        self.request(Method::Ack, Bytes::copy_from_slice(to))
    }

    /// The CANCEL (RFC 3261, 9.1), with a Reason header (RFC 3326) if one is given.
    pub(super) fn cancel(&self, reason: Option<Bytes>) -> Request {
        let mut cancel = self.request(Method::Cancel, self.to.clone());
        if let Some(reason) = reason {
            cancel.headers.push(Name::Reason, reason);
        }
        cancel
    }

    fn request(&self, method: Method, to: Bytes) -> Request {
        let cseq = [self.cseq.to_string().as_bytes(), b" ", method.as_bytes()].concat();
        let mut request = Request::new(method, self.uri.clone());
        let headers = &mut request.headers;
        headers.push(Name::Via, self.via.clone());
        for route in &self.routes {
            headers.push(Name::Route, route.clone());
        }
        headers.push(Name::MaxForwards, MAX_FORWARDS);
        headers.push(Name::From, self.from.clone());
        headers.push(Name::To, to);
        headers.push(Name::CallId, self.call_id.clone());
        headers.push(Name::CSeq, cseq);
        request
    }
}

/// 100 (RFC 3261, 8.2.6.1), with the Timestamp the client measures by.
pub(super) fn trying(request: &Request) -> Bytes {
    let mut response = Response::to(request, 100, None);
    if let Some(timestamp) = request.headers.get(TIMESTAMP) {
        response.headers.push(TIMESTAMP, Bytes::copy_from_slice(timestamp));
    }
    octets_of_response(&response)
}

/// An answer that leaves no transaction behind (RFC 3261, 8.2.7).
pub(super) fn stateless(request: &Request, status: u16) -> Response {
    Response::to(request, status, Some(stateless_tag(&request.headers).as_bytes()))
}

pub(super) fn octets_of_request(request: &Request) -> Bytes {
    let mut octets = Vec::new();
    request.write(&mut octets);
    octets.into()
}

pub(super) fn octets_of_response(response: &Response) -> Bytes {
    let mut octets = Vec::new();
    response.write(&mut octets);
    octets.into()
}

const MAX_FORWARDS: &str = "70";
const TIMESTAMP: Name = Name::Other("Timestamp");
