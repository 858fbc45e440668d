//! Authorization as somebody sent it (RFC 3261, 20.7).

use super::directives::Directives;
use super::{Algorithm, Qop};

/// Credentials, as read. Texts are as they stand between their quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials<'a> {
    pub(super) user: &'a [u8],
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) uri: &'a [u8],
    pub(super) response: &'a [u8],
    pub(super) algorithm: Algorithm,
    pub(super) cnonce: &'a [u8],
    /// The counter as written, and its value; empty and 1 without qop, where a nonce serves once.
    pub(super) nc: (&'a [u8], u32),
    pub(super) qop: Option<Qop>,
}

impl<'a> Credentials<'a> {
    /// `None` if they are not Digest, not whole, or of an algorithm or qop that we do not know.
    pub(super) fn read(said: &Directives<'a>) -> Option<Self> {
        if !said.is_digest() {
            return None;
        }
        // RFC 7616, 3.4.4: we never offered to take a hashed user name.
        if said.value("userhash").is_some_and(|text| text.eq_ignore_ascii_case(b"true")) {
            return None;
        }
        let qop = match said.value("qop") {
            None => None,
            Some(text) => Some(
                [Qop::Auth, Qop::AuthInt]
                    .into_iter()
                    .find(|qop| text.eq_ignore_ascii_case(qop.as_str().as_bytes()))?,
            ),
        };
        let algorithm = match said.value("algorithm") {
            Some(token) => Algorithm::named(token)?,
            None => Algorithm::Md5,
        };
        let cnonce = match said.value("cnonce") {
            Some(cnonce) => cnonce,
            None if qop.is_none() && !algorithm.is_session() => b"",
            None => return None,
        };
        let nc = match qop {
            Some(_) => counter(said.value("nc")?)?,
            None => (&b""[..], 1),
        };
        Some(Self {
            user: said.value("username")?,
            realm: said.value("realm")?,
            nonce: said.value("nonce")?,
            uri: said.value("uri")?,
            response: said.value("response")?,
            algorithm,
            cnonce,
            nc,
            qop,
        })
    }

    /// Whether the user is `name`, whose quotes and backslashes are escaped on the wire.
    pub(super) fn is_user(&self, name: &str) -> bool {
        let mut escaped = Vec::with_capacity(name.len() + 2);
        quoted(&mut escaped, name.as_bytes());
        escaped.get(1..escaped.len() - 1) == Some(self.user)
    }
}

/// Eight hex digits (RFC 7616, 3.4); some count without leading zeros. 0 was never used.
fn counter(text: &[u8]) -> Option<(&[u8], u32)> {
    let digits = std::str::from_utf8(text).ok()?;
    if digits.len() > 8 || digits.starts_with('+') {
        return None;
    }
    let count = u32::from_str_radix(digits, 16).ok().filter(|count| *count > 0)?;
    Some((text, count))
}

/// A quoted-string (RFC 3261, 25.1).
pub(super) fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out.push(b'"');
}
