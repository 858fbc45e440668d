//! What finds the transaction of a message (RFC 3261, 17.1.3, 17.2.3 and 8.2.2.2).

use crate::message::{Headers, Method, Name, Request};
use smallvec::SmallVec;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Everything that must be equal, in one run of octets; a table and the transaction it leads to share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Arc<[u8]>);

/// Octets of a key beyond which it is put together on the heap.
const USUAL: usize = 256;

impl Key {
    /// Each part carries its length, so that no two lists of parts read the same.
    fn of(parts: &[&[u8]]) -> Self {
        let mut octets = SmallVec::<[u8; USUAL]>::new();
        for part in parts {
            octets.extend_from_slice(&part.len().to_ne_bytes());
            octets.extend_from_slice(part);
        }
        Self(octets.as_slice().into())
    }

    /// The client transaction of a response, or of the request itself (RFC 3261, 17.1.3).
    pub(super) fn client(headers: &Headers, method: &Method) -> Self {
        let via = headers.top_via();
        Self::of(&[via.branch().unwrap_or_default(), method.as_bytes()])
    }

    /// The server transaction with `method` that a request belongs to (RFC 3261, 17.2.3): ACK and
    /// CANCEL look for an INVITE.
    pub(super) fn server(request: &Request, method: &Method) -> Self {
        let headers = &request.headers;
        let via = headers.top_via();
        match via.branch() {
            Some(branch) if has_cookie(branch) => {
                let host = via.host.to_ascii_lowercase();
                let port = via.port.map(u16::to_ne_bytes);
                let port = port.as_ref().map_or(&[][..], |port| port);
                Self::of(&[BY_BRANCH, branch, &host, port, method.as_bytes()])
            }
            _ => Self::old_server(request, method, headers.to().tag().unwrap_or_default()),
        }
    }

    /// The INVITE that an ACK of an RFC 2543 peer belongs to when that INVITE had no To tag; the
    /// ACK has the tag of our response.
    pub(super) fn old_invite(ack: &Request) -> Option<Self> {
        let by_branch = ack.headers.top_via().branch().is_some_and(has_cookie);
        (!by_branch).then(|| Self::old_server(ack, &Method::Invite, b""))
    }

    /// Without the magic cookie the branch says nothing.
    fn old_server(request: &Request, method: &Method, to_tag: &[u8]) -> Self {
        let headers = &request.headers;
        Self::of(&[
            BY_FIELDS,
            &request.uri,
            to_tag,
            headers.from().tag().unwrap_or_default(),
            headers.call_id(),
            &headers.cseq().number.to_ne_bytes(),
            headers.list(Name::Via).next().unwrap_or_default(),
            method.as_bytes(),
        ])
    }

    /// What two copies of one request that came by different ways have in common; requests within
    /// a dialog are not merged (RFC 3261, 8.2.2.2).
    pub(super) fn merged(request: &Request) -> Option<Self> {
        let headers = &request.headers;
        headers.to().tag().is_none().then(|| {
            Self::of(&[
                headers.from().tag().unwrap_or_default(),
                headers.call_id(),
                &headers.cseq().number.to_ne_bytes(),
                request.method.as_bytes(),
            ])
        })
    }

    /// What a 2xx to INVITE and its ACK have in common (RFC 3261, 17.1.1.3: the ACK has a branch of
    /// its own).
    pub(super) fn acknowledged(headers: &Headers) -> Self {
        Self::of(&[
            headers.call_id(),
            headers.from().tag().unwrap_or_default(),
            headers.to().tag().unwrap_or_default(),
            &headers.cseq().number.to_ne_bytes(),
        ])
    }
}

/// The To tag of answers that leave no transaction behind: the same for each repeat of the request
/// (RFC 3261, 8.2.7) and for the ACK that follows, which is how that ACK is known.
pub(super) fn stateless_tag(headers: &Headers) -> String {
    let mut hasher = DefaultHasher::new();
    headers.top_via().branch().hash(&mut hasher);
    headers.call_id().hash(&mut hasher);
    headers.from().tag().hash(&mut hasher);
    headers.cseq().number.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whether a branch is unique, as RFC 3261, 8.1.1.7 demands.
fn has_cookie(branch: &[u8]) -> bool {
    branch.get(..COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(COOKIE))
}

const COOKIE: &[u8] = b"z9hG4bK";
const BY_BRANCH: &[u8] = b"b";
const BY_FIELDS: &[u8] = b"f";
