//! The hash functions of digest, and the arithmetic that all of them share (RFC 7616, 3.4).

use super::{Qop, Secret};
use md5::Md5;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512_256};
use zeroize::Zeroizing;

/// A digest algorithm (RFC 7616, 6.1; RFC 8760, 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `MD5`, and what a challenge without `algorithm` means.
    Md5,
    /// `MD5-sess`.
    Md5Sess,
    /// `SHA-256`.
    Sha256,
    /// `SHA-256-sess`.
    Sha256Sess,
    /// `SHA-512-256`.
    Sha512Trunc256,
    /// `SHA-512-256-sess`.
    Sha512Trunc256Sess,
}

const TOKENS: [(&str, Algorithm); 6] = [
    ("MD5", Algorithm::Md5),
    ("MD5-sess", Algorithm::Md5Sess),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-256-sess", Algorithm::Sha256Sess),
    ("SHA-512-256", Algorithm::Sha512Trunc256),
    ("SHA-512-256-sess", Algorithm::Sha512Trunc256Sess),
];

/// What goes into a response beside the algorithm (RFC 7616, 3.4.1 to 3.4.3). All values are as
/// they stand between their quotes.
pub(super) struct Ingredients<'a> {
    pub(super) user: &'a [u8],
    pub(super) realm: &'a [u8],
    pub(super) secret: &'a Secret,
    pub(super) nonce: &'a [u8],
    pub(super) cnonce: &'a [u8],
    /// Eight hex digits.
    pub(super) nc: &'a [u8],
    /// `None` as in RFC 2069.
    pub(super) qop: Option<Qop>,
    pub(super) method: &'a [u8],
    pub(super) uri: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Algorithm {
    /// The algorithm of this name, in any case.
    pub fn named(token: &[u8]) -> Option<Self> {
        let found = TOKENS.iter().find(|(name, _)| token.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, algorithm)| *algorithm)
    }

    /// The name as registered.
    pub fn as_str(self) -> &'static str {
        TOKENS.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }

    /// Whether its hash is MD5, which is answered only where nothing better is offered.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Md5Sess)
    }

    /// Whether the nonces are part of the hashed secret.
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512Trunc256Sess)
    }

    /// The `response` value.
    pub(super) fn response(self, from: &Ingredients<'_>) -> String {
        let Ingredients { nonce, cnonce, nc, qop, method, uri, .. } = *from;
        let mut a1 = self.hash(&[from.user, from.realm, from.secret.octets()]);
        if self.is_session() {
            a1 = self.hash(&[a1.as_bytes(), nonce, cnonce]);
        }
        let a2 = match qop {
            Some(Qop::AuthInt) => self.hash(&[method, uri, self.hash(&[from.body]).as_bytes()]),
            Some(Qop::Auth) | None => self.hash(&[method, uri]),
        };
        let response = match qop {
            Some(qop) => {
                let qop = qop.as_str().as_bytes();
                self.hash(&[a1.as_bytes(), nonce, nc, cnonce, qop, a2.as_bytes()])
            }
            None => self.hash(&[a1.as_bytes(), nonce, a2.as_bytes()]),
        };
        response.as_str().to_owned()
    }

    /// The hash of `parts` with colons between them, in lower case hex.
    fn hash(self, parts: &[&[u8]]) -> Zeroizing<String> {
        match self {
            Self::Md5 | Self::Md5Sess => hash::<Md5>(parts),
            Self::Sha256 | Self::Sha256Sess => hash::<Sha256>(parts),
            Self::Sha512Trunc256 | Self::Sha512Trunc256Sess => hash::<Sha512_256>(parts),
        }
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut state = D::new();
    for (nth, part) in parts.iter().enumerate() {
        if nth > 0 {
            state.update(b":");
        }
        state.update(part);
    }
    Zeroizing::new(hex(&state.finalize()))
}

/// Octets in lower case hex.
pub(super) fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    octets.iter().flat_map(|&octet| [digit(octet >> 4), digit(octet)]).collect()
}
