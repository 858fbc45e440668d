//! The shared memory of a dialog: tags, CSeq, route set, remote target (RFC 3261, 12).

mod early;
mod id;
mod route_set;

#[cfg(test)]
mod tests;

pub use early::{Early, EarlyDialogs, MAX_EARLY};
pub use id::DialogId;

use crate::message::{Headers, Method, Name, Request, Response};
use bytes::Bytes;
use route_set::RouteSet;

/// A dialog, early or confirmed.
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
    /// From of our requests, with our tag.
    local: Bytes,
    /// To of our requests, with the far side's tag if it has one.
    remote: Bytes,
    local_cseq: u32,
    /// Empty until the far side has sent a request.
    remote_cseq: Option<u32>,
    routes: RouteSet,
    remote_target: Bytes,
}

/// Why a request does not fit the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// CSeq is not above the last one (RFC 3261, 12.2.2): answer 500.
    #[error("CSeq out of order")]
    OutOfOrder,
    /// A mandatory header for making a dialog (Contact) is missing or unusable.
    #[error("Contact is missing or not a SIP URI")]
    NoContact,
}

impl Dialog {
    /// The dialog that our response with `local_tag` makes as UAS (RFC 3261, 12.1.1).
    pub fn uas(request: &Request, local_tag: &[u8]) -> Result<Self, DialogError> {
        let headers = &request.headers;
        let mut id = DialogId::of_request(request);
        let mut local = headers.get(Name::To).unwrap_or_default().to_vec();
        if id.local_tag.is_empty() {
            id.local_tag = Bytes::copy_from_slice(local_tag);
            local.extend_from_slice(b";tag=");
            local.extend_from_slice(local_tag);
        }
        Ok(Self {
            id,
            local: local.into(),
            remote: copy(headers, Name::From),
            local_cseq: 0,
            remote_cseq: Some(headers.cseq().number),
            routes: RouteSet::of_request(headers),
            remote_target: contact(headers).ok_or(DialogError::NoContact)?,
        })
    }

    /// The dialog that a 101-299 response makes as UAC (RFC 3261, 12.1.2).
    pub fn uac(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let headers = &response.headers;
        Ok(Self {
            id: DialogId::of_response(response),
            local: copy(&request.headers, Name::From),
            remote: copy(headers, Name::To),
            local_cseq: request.headers.cseq().number,
            remote_cseq: None,
            routes: RouteSet::of_response(headers),
            remote_target: contact(headers).ok_or(DialogError::NoContact)?,
        })
    }

    /// Its identity.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// The identity that a request belongs to, seen by its recipient (To tag is ours).
    pub fn id_of_request(request: &Request) -> DialogId {
        DialogId::of_request(request)
    }

    /// The identity that a response belongs to, seen by its recipient (From tag is ours).
    pub fn id_of_response(response: &Response) -> DialogId {
        DialogId::of_response(response)
    }

    /// The 2xx may change the route set of an early dialog (RFC 3261, 13.2.2.4); from then on it
    /// stays. The remote target is that of the 2xx.
    pub fn confirm(&mut self, response: &Response) {
        if self.id.remote_tag.is_empty() {
            self.id.remote_tag = DialogId::of_response(response).remote_tag;
            self.remote = copy(&response.headers, Name::To);
        }
        self.routes = RouteSet::of_response(&response.headers);
        self.retarget(&response.headers);
    }

    /// Checks the CSeq of an in-dialog request and remembers it; a target refresh request
    /// (INVITE, UPDATE) moves the remote target to its Contact.
    ///
    /// ACK and CANCEL carry the number of their INVITE: they pass and change nothing.
    pub fn receive(&mut self, request: &Request) -> Result<(), DialogError> {
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = request.headers.cseq().number;
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_cseq = Some(number);
        if is_target_refresh(&request.method) {
            self.retarget(&request.headers);
        }
        Ok(())
    }

    /// A 2xx to our re-INVITE or UPDATE moves the remote target to its Contact.
    pub fn refresh(&mut self, response: &Response) {
        let accepted = (200..300).contains(&response.status);
        if accepted && is_target_refresh(&response.headers.cseq().method) {
            self.retarget(&response.headers);
        }
    }

    /// A new in-dialog request: Request-URI and Route by RFC 3261, 12.2.1.1 (loose and strict
    /// routing), From, To, Call-ID, CSeq, Max-Forwards. No Via and no Contact yet.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.numbered(method, self.local_cseq)
    }

    /// The CSeq number for a request that was refused and is sent once more (RFC 3261, 22.2).
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// The ACK for a 2xx to the INVITE with this CSeq number.
    pub fn ack(&self, cseq: u32) -> Request {
        self.numbered(Method::Ack, cseq)
    }

    /// The URI whose host the next request is sent to: the first route or the remote target.
    pub fn next_hop(&self) -> Bytes {
        self.routes.first().unwrap_or_else(|| self.remote_target.clone())
    }

    /// Whether proxies have asked to stay in the path.
    pub fn has_routes(&self) -> bool {
        self.routes.first().is_some()
    }

    /// The remote target as the far side wrote it (TDR-IN-006: byte-exact).
    pub fn remote_target(&self) -> &Bytes {
        &self.remote_target
    }

    fn numbered(&self, method: Method, cseq: u32) -> Request {
        let cseq = [cseq.to_string().as_bytes(), b" ", method.as_bytes()].concat();
        let mut request = self.routes.request(method, &self.remote_target);
        let headers = &mut request.headers;
        headers.push(Name::MaxForwards, MAX_FORWARDS);
        headers.push(Name::From, self.local.clone());
        headers.push(Name::To, self.remote.clone());
        headers.push(Name::CallId, self.id.call_id.clone());
        headers.push(Name::CSeq, cseq);
        request
    }

    fn retarget(&mut self, headers: &Headers) {
        if let Some(target) = contact(headers) {
            self.remote_target = target;
        }
    }
}

fn is_target_refresh(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// The URI of the first Contact, if requests can be sent to it.
fn contact(headers: &Headers) -> Option<Bytes> {
    let contact = headers.contact()?;
    let usable = contact.uri().is_ok_and(|uri| uri.is_sip());
    usable.then(|| Bytes::copy_from_slice(contact.uri))
}

fn copy(headers: &Headers, name: Name) -> Bytes {
    Bytes::copy_from_slice(headers.get(name).unwrap_or_default())
}

/// RFC 3261, 8.1.1.6.
const MAX_FORWARDS: &str = "70";
