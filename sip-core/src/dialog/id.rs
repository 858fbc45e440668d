//! The name of a dialog (RFC 3261, 12).

use crate::message::{Headers, Request, Response};
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

impl DialogId {
    /// The dialog a request belongs to, seen by its recipient: the To tag is ours.
    pub fn of_request(request: &Request) -> Self {
        Self::of(&request.headers).reversed()
    }

    /// The dialog a response belongs to, seen by its recipient: the From tag is ours.
    pub fn of_response(response: &Response) -> Self {
        Self::of(&response.headers)
    }

    fn of(headers: &Headers) -> Self {
        let tag = |tag: Option<&[u8]>| Bytes::copy_from_slice(tag.unwrap_or_default());
        Self {
            call_id: Bytes::copy_from_slice(headers.call_id()),
            local_tag: tag(headers.from().tag()),
            remote_tag: tag(headers.to().tag()),
        }
    }

    fn reversed(self) -> Self {
        Self { local_tag: self.remote_tag, remote_tag: self.local_tag, ..self }
    }
}
