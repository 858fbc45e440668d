//! Message to octets (RFC 3261, 7).

use super::header::{push_clean, push_number};
use super::{Headers, Message, Request, Response};
use bytes::Bytes;

/// What of a received start line is in no other field: kept so that it goes out as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartLine {
    /// `SIP` in the case it was written in (RFC 3261, 7.1: SIP-Version is case-insensitive).
    letters: [u8; 3],
    /// Whether the space before an empty reason phrase was left out.
    no_space: bool,
}

impl StartLine {
    pub(super) const OURS: Self = Self { letters: *b"SIP", no_space: false };

    /// Reads `SIP/` in any case; what follows is returned.
    pub(super) fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let (&letters, rest) = text.split_first_chunk::<3>()?;
        let rest = rest.strip_prefix(b"/")?;
        letters.eq_ignore_ascii_case(b"SIP").then_some((Self { letters, no_space: false }, rest))
    }

    pub(super) fn without_space(self) -> Self {
        Self { no_space: true, ..self }
    }
}

impl Message {
    /// Appends the message as it goes on the wire; Content-Length is always right.
    ///
    /// A message that was received and not changed is written exactly as it came, even without
    /// Content-Length if it came so (in a datagram).
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(request) => request.write(out),
            Self::Response(response) => response.write(out),
        }
    }

    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out);
        out.into()
    }
}

impl Request {
    /// Appends the request as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        let method = self.method.as_bytes();
        reserve(out, method.len() + self.uri.len(), &self.headers, &self.body);
        push_clean(out, method);
        out.push(b' ');
        push_clean(out, &self.uri);
        out.push(b' ');
        out.extend_from_slice(&self.line.letters);
        out.extend_from_slice(b"/2.0\r\n");
        write_rest(out, &self.headers, &self.body);
    }
}

impl Response {
    /// Appends the response as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        reserve(out, self.reason.len(), &self.headers, &self.body);
        out.extend_from_slice(&self.line.letters);
        out.extend_from_slice(b"/2.0 ");
        push_number(out, usize::from(self.status));
        if !(self.line.no_space && self.reason.is_empty()) {
            out.push(b' ');
        }
        push_clean(out, &self.reason);
        out.extend_from_slice(b"\r\n");
        write_rest(out, &self.headers, &self.body);
    }
}

fn write_rest(out: &mut Vec<u8>, headers: &Headers, body: &[u8]) {
    headers.write(out, body.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// One allocation instead of several while the message grows.
fn reserve(out: &mut Vec<u8>, start_line: usize, headers: &Headers, body: &[u8]) {
    out.reserve(start_line + 24 + headers.size_hint() + body.len());
}
