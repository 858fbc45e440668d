//! The shared memory of a dialog: tags, CSeq, route set, remote target (RFC 3261, 12).

use crate::message::{Method, Request, Response};
use bytes::Bytes;

/// Call-ID and both tags, seen from us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: Bytes,
    /// Our tag.
    pub local_tag: Bytes,
    /// The far side's tag; empty if it gave none (RFC 2543 peers).
    pub remote_tag: Bytes,
}

/// A dialog, early or confirmed.
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
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
        let _ = (request, local_tag);
        todo!()
    }
    /// The dialog that a 101-299 response makes as UAC (RFC 3261, 12.1.2).
    pub fn uac(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let _ = (request, response);
        todo!()
    }
    /// Its identity.
    pub fn id(&self) -> &DialogId {
        &self.id
    }
    /// The identity that a request belongs to, seen by its recipient (To tag is ours).
    pub fn id_of_request(request: &Request) -> DialogId {
        let _ = request;
        todo!()
    }
    /// The 2xx may change the route set of an early dialog (RFC 3261, 13.2.2.4).
    pub fn confirm(&mut self, response: &Response) {
        let _ = response;
        todo!()
    }
    /// Checks the CSeq of an in-dialog request and remembers it; a target refresh request
    /// (INVITE, UPDATE) moves the remote target to its Contact.
    pub fn receive(&mut self, request: &Request) -> Result<(), DialogError> {
        let _ = request;
        todo!()
    }
    /// A 2xx to our re-INVITE or UPDATE moves the remote target to its Contact.
    pub fn refresh(&mut self, response: &Response) {
        let _ = response;
        todo!()
    }
    /// A new in-dialog request: Request-URI and Route by RFC 3261, 12.2.1.1 (loose and strict
    /// routing), From, To, Call-ID, CSeq, Max-Forwards. No Via and no Contact yet.
    pub fn request(&mut self, method: Method) -> Request {
        let _ = method;
        todo!()
    }
    /// The ACK for a 2xx to the INVITE with this CSeq number.
    pub fn ack(&self, cseq: u32) -> Request {
        let _ = cseq;
        todo!()
    }
    /// The URI whose host the next request is sent to: the first route or the remote target.
    pub fn next_hop(&self) -> Bytes {
        todo!()
    }
    /// The remote target as the far side wrote it (TDR-IN-006: byte-exact).
    pub fn remote_target(&self) -> &Bytes {
        todo!()
    }
}
