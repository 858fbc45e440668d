//! WWW-Authenticate and Proxy-Authenticate: who asks for credentials, and in which way
//! (RFC 3261, 20.27 and 20.44; RFC 8760, 2.4).

use super::Algorithm;
use super::directives::Directives;
use crate::message::{Headers, Name, trim};

/// Challenges of one response that are looked at: three algorithms for a server and a few
/// forked-to proxies are fewer.
pub const MAX_CHALLENGES: usize = 16;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A user agent server or registrar: 401.
    Server,
    /// A proxy: 407.
    Proxy,
}

impl Asker {
    /// The header that asks.
    pub const fn asks(self) -> Name {
        match self {
            Self::Server => Name::WwwAuthenticate,
            Self::Proxy => Name::ProxyAuthenticate,
        }
    }

    /// The header that answers.
    pub const fn answers(self) -> Name {
        match self {
            Self::Server => Name::Authorization,
            Self::Proxy => Name::ProxyAuthorization,
        }
    }

    /// The header in which a nonce for the next request comes (RFC 7615).
    pub(super) const fn informs(self) -> Name {
        match self {
            Self::Server => Name::Other("Authentication-Info"),
            Self::Proxy => Name::Other("Proxy-Authentication-Info"),
        }
    }
}

/// Quality of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI are protected.
    Auth,
    /// The body too.
    AuthInt,
}

impl Qop {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// A challenge that we can answer. Texts are as they stand between their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Who asks.
    pub asker: Asker,
    /// Whose users are asked for.
    pub realm: Vec<u8>,
    /// To be hashed.
    pub nonce: Vec<u8>,
    /// To be repeated.
    pub opaque: Option<Vec<u8>>,
    /// The algorithm, and whether the challenge named it.
    pub algorithm: (Algorithm, bool),
    /// `None`: the challenge knows no qop (RFC 2069).
    pub qop: Option<Qop>,
    /// The nonce was too old; the secret may well have been right.
    pub stale: bool,
}

/// The challenges of a response to be answered: one for each asker and realm.
///
/// Among those of a realm the topmost that we can compute is taken, as its server prefers
/// (RFC 8760, 2.4), except that MD5 gives way to anything better: that is our local policy, for
/// servers that still list it first.
pub fn challenges(headers: &Headers) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    let lines = [Asker::Server, Asker::Proxy]
        .into_iter()
        .flat_map(|asker| headers.all(asker.asks()).map(move |line| (asker, line)));
    let readable = lines.flat_map(|(asker, line)| {
        Directives::read(line).into_iter().filter_map(move |said| Challenge::read(asker, &said))
    });
    for challenge in readable.take(MAX_CHALLENGES) {
        let same = chosen.iter_mut().find(|other| other.is_of(challenge.asker, &challenge.realm));
        match same {
            None => chosen.push(challenge),
            Some(other) if other.algorithm.0.is_weak() && !challenge.algorithm.0.is_weak() => {
                *other = challenge;
            }
            Some(_) => {}
        }
    }
    chosen
}

impl Challenge {
    /// `None` if it is none that we can answer: another scheme, algorithm or qop, or damaged.
    fn read(asker: Asker, said: &Directives<'_>) -> Option<Self> {
        if !said.is_digest() {
            return None;
        }
        let algorithm = match said.value("algorithm") {
            Some(token) => (Algorithm::named(token)?, true),
            None => (Algorithm::Md5, false),
        };
        let stale = said.value("stale").is_some_and(|text| text.eq_ignore_ascii_case(b"true"));
        Some(Self {
            asker,
            realm: said.value("realm")?.to_vec(),
            nonce: said.value("nonce")?.to_vec(),
            opaque: said.value("opaque").map(<[u8]>::to_vec),
            algorithm,
            qop: match said.value("qop") {
                Some(options) => Some(qop_of(options)?),
                None => None,
            },
            stale,
        })
    }

    /// Whether it is this asker's for this realm.
    pub(super) fn is_of(&self, asker: Asker, realm: &[u8]) -> bool {
        self.asker == asker && self.realm == realm
    }
}

/// What we choose of the qop offered: `auth` where it is, since proxies may change bodies.
fn qop_of(options: &[u8]) -> Option<Qop> {
    let offers = |qop: Qop| {
        options
            .split(|&octet| octet == b',')
            .any(|option| trim(option).eq_ignore_ascii_case(qop.as_str().as_bytes()))
    };
    [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| offers(*qop))
}
