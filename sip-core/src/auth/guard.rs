//! The side that challenges: whether a request comes from somebody who knows a secret
//! (RFC 3261, 22; RFC 8760, 2.3).

use super::algorithm::Ingredients;
use super::challenge::Asker;
use super::credentials::Credentials;
use super::directives::Directives;
use super::nonces::{Nonces, Worth};
use super::{Algorithm, Secret};
use crate::message::{Request, Response};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a nonce is taken: a few refreshes of a registration behind NAT, or a burst of calls.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The password.
    pub secret: Secret,
}

/// Challenges and judges for one realm.
pub struct Guard {
    realm: String,
    algorithms: Vec<Algorithm>,
    nonces: Nonces,
    /// Stands in for the secret of a user who is not there, so that the answer takes as long.
    nobody: Secret,
}

/// What a request is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is of this user (an index).
    Genuine(usize),
    /// It is not believed.
    Denied(Denied),
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// No credentials for our realm that can be read.
    Missing,
    /// An algorithm that we do not offer.
    Algorithm,
    /// User or secret is wrong; which of them is told to nobody.
    WrongCredentials,
    /// They were right for another Request-URI.
    OtherUri,
    /// They are right, but the nonce is too old or not of ours.
    Stale,
    /// They are right, and were used before.
    Replayed,
}

impl Denied {
    /// As in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Algorithm => "algorithm",
            Self::WrongCredentials => "wrong_credentials",
            Self::OtherUri => "other_uri",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
        }
    }

    /// Whether a new nonce is all that is missing.
    pub const fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Replayed)
    }
}

impl Guard {
    /// A guard of `realm` that offers `algorithms`, the preferred one first. `key` is random and
    /// known to nobody.
    pub fn new(now: Instant, key: [u8; 32], realm: &str, algorithms: &[Algorithm]) -> Self {
        // The realm stands in a quoted-string as it is.
        let realm = realm.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        let nobody = Secret::new(key);
        let nonces = Nonces::new(now, key, NONCE_LIFE);
        Self { realm, algorithms: algorithms.to_vec(), nonces, nobody }
    }

    /// Judges a request by its credentials for our realm. Nothing is remembered of a request whose
    /// digest is wrong.
    pub fn judge(
        &mut self,
        now: Instant,
        asker: Asker,
        request: &Request,
        users: &[User],
    ) -> Verdict {
        match self.weigh(now, asker, request, users) {
            Ok(user) => Verdict::Genuine(user),
            Err(denied) => Verdict::Denied(denied),
        }
    }

    fn weigh(
        &mut self,
        now: Instant,
        asker: Asker,
        request: &Request,
        users: &[User],
    ) -> Result<usize, Denied> {
        let said: Vec<_> =
            request.headers.all(asker.answers()).flat_map(Directives::read).collect();
        let ours = |said: &Credentials<'_>| said.realm == self.realm.as_bytes();
        let said = said.iter().filter_map(Credentials::read).find(ours).ok_or(Denied::Missing)?;
        if !self.algorithms.contains(&said.algorithm) {
            return Err(Denied::Algorithm);
        }
        let user = users.iter().position(|user| said.is_user(&user.name));
        let known = user.and_then(|user| users.get(user));
        let expected = said.algorithm.response(&Ingredients {
            user: known.map_or(said.user, |user| user.name.as_bytes()),
            realm: said.realm,
            secret: known.map_or(&self.nobody, |user| &user.secret),
            nonce: said.nonce,
            cnonce: said.cnonce,
            nc: said.nc.0,
            qop: said.qop,
            method: request.method.as_bytes(),
            uri: said.uri,
            body: request.body(),
        });
        let right: bool = expected.as_bytes().ct_eq(&said.response.to_ascii_lowercase()).into();
        let user = user.filter(|_| right).ok_or(Denied::WrongCredentials)?;
        // RFC 7616, 3.4.6. Nobody stands between a PBX and us who may rewrite it.
        if said.uri != request.uri.as_ref() {
            return Err(Denied::OtherUri);
        }
        match self.nonces.spend(now, said.nonce, said.nc.1, &self.realm) {
            Worth::Fresh => Ok(user),
            Worth::Stale => Err(Denied::Stale),
            Worth::Replayed => Err(Denied::Replayed),
        }
    }

    /// Adds our challenge to a 401 or 407: a line for each algorithm, the preferred one topmost
    /// (RFC 8760, 2.3). `number` is random.
    pub fn challenge(
        &self,
        now: Instant,
        asker: Asker,
        response: &mut Response,
        stale: bool,
        number: u64,
    ) {
        let nonce = self.nonces.issue(now, number, &self.realm);
        let stale = if stale { ", stale=true" } else { "" };
        for algorithm in &self.algorithms {
            let (realm, algorithm) = (&self.realm, algorithm.as_str());
            let value = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, \
                 qop=\"auth,auth-int\"{stale}"
            );
            response.headers.push(asker.asks(), value);
        }
    }

    /// Nonces whose use is remembered: at most [`super::NONCES_MAX`].
    pub fn nonces_held(&self) -> usize {
        self.nonces.held()
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("realm", &self.realm).finish_non_exhaustive()
    }
}
