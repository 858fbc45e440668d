//! The side that is challenged: credentials for a request, and when to stop trying.

use super::Secret;
use super::algorithm::Ingredients;
use super::challenge::{Asker, Challenge, challenges};
use super::credentials::quoted;
use super::directives::Directives;
use crate::message::{Request, Response};
use thiserror::Error;

/// Times in a row that a nonce may be called stale: a server that never holds one for the time of
/// a round trip would be asked for ever.
pub const STALE_MAX: u8 = 2;

/// Realms of one far side that are remembered: its own, and those of proxies on the way.
const REALMS_MAX: usize = 4;

/// Who we are to those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub user: String,
    /// The password.
    pub secret: Secret,
    /// The only realm that is answered; `None`: any, as the far side is configured anyway.
    pub realm: Option<String>,
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// No challenge with an algorithm and qop that we know.
    #[error("no challenge that we can answer")]
    NothingToAnswer,
    /// The account is for another realm.
    #[error("the challenge is for another realm")]
    OtherRealm,
    /// Our answer was not taken.
    #[error("user or secret is wrong")]
    WrongCredentials,
    /// Each nonce is stale by the time we use it.
    #[error("every nonce is stale")]
    AlwaysStale,
}

/// The challenges in force towards one far side: what the next request is signed with before it
/// is asked for, and what tells a wrong secret from an old nonce.
#[derive(Debug, Default)]
pub struct Standing {
    realms: Vec<Realm>,
}

#[derive(Debug)]
struct Realm {
    challenge: Challenge,
    cnonce: String,
    /// How often the nonce was used.
    nc: u32,
    /// The far side has taken an answer to it, so a challenge anew is no verdict on the secret.
    proven: bool,
    stale: u8,
}

impl Standing {
    /// Signs a request with what was asked last, so that it need not be challenged.
    pub fn sign(&mut self, request: &mut Request, account: &Account) {
        for asker in [Asker::Server, Asker::Proxy] {
            request.headers.remove(asker.answers());
        }
        for realm in &mut self.realms {
            realm.sign(request, account);
        }
    }

    /// A request was taken: its credentials were right. Authentication-Info may hold the nonce for
    /// the next one (RFC 7615).
    pub fn accepted(&mut self, response: &Response) {
        for realm in &mut self.realms {
            realm.proven = true;
            realm.stale = 0;
            let informs = realm.challenge.asker.informs();
            let next = response.headers.get(informs).and_then(next_nonce);
            if let Some(next) = next.filter(|next| *next != realm.challenge.nonce) {
                realm.challenge.nonce = next;
                realm.nc = 0;
            }
        }
        // Whether the session's key then stays that of the first nonce is told differently by
        // RFC 2617 and by servers: being challenged anew is right under both readings.
        self.realms.retain(|realm| realm.nc > 0 || !realm.challenge.algorithm.0.is_session());
    }

    /// A request signed with this (or not at all) was answered 401 or 407: whether the next one
    /// may be signed with the new challenge. On `Err` nothing stands any more, unless there was
    /// nothing for us to answer.
    pub fn challenged(
        &mut self,
        response: &Response,
        account: &Account,
        cnonce: &str,
    ) -> Result<(), Refusal> {
        let asked = challenges(&response.headers);
        if asked.is_empty() {
            return Err(Refusal::NothingToAnswer);
        }
        let ours = |challenge: &Challenge| {
            account.realm.as_ref().is_none_or(|realm| realm.as_bytes() == challenge.realm)
        };
        let mut noted = false;
        for challenge in asked.into_iter().filter(ours) {
            if let Err(refusal) = self.note(challenge, cnonce) {
                self.realms.clear();
                return Err(refusal);
            }
            noted = true;
        }
        if noted { Ok(()) } else { Err(Refusal::OtherRealm) }
    }

    /// Takes note of a challenge; whether it may be answered.
    fn note(&mut self, challenge: Challenge, cnonce: &str) -> Result<(), Refusal> {
        let known = self
            .realms
            .iter()
            .position(|realm| realm.challenge.is_of(challenge.asker, &challenge.realm));
        let mut stale = 0;
        if let Some(known) = known {
            let old = self.realms.swap_remove(known);
            if challenge.stale {
                stale = old.stale + 1;
                if stale > STALE_MAX {
                    return Err(Refusal::AlwaysStale);
                }
            } else if !old.proven {
                return Err(Refusal::WrongCredentials);
            }
        }
        if self.realms.len() >= REALMS_MAX {
            self.realms.remove(0);
        }
        let cnonce = cnonce.to_owned();
        self.realms.push(Realm { challenge, cnonce, nc: 0, proven: false, stale });
        Ok(())
    }
}

impl Realm {
    fn sign(&mut self, request: &mut Request, account: &Account) {
        self.nc = self.nc.saturating_add(1);
        let value = credentials(&self.challenge, account, request, &self.cnonce, self.nc);
        request.headers.push(self.challenge.asker.answers(), value);
    }
}

/// Puts credentials into `request`, which was answered 401 or 407 by `response`. `cnonce` is a
/// fresh random token; `standing` is that of the far side, or an empty one where only this request
/// and its repeats count. On `Err` the request is as it was.
pub fn answer(
    request: &mut Request,
    response: &Response,
    account: &Account,
    standing: &mut Standing,
    cnonce: &str,
) -> Result<(), Refusal> {
    standing.challenged(response, account, cnonce)?;
    standing.sign(request, account);
    Ok(())
}

/// The value of Authorization or Proxy-Authorization (RFC 3261, 22.4; RFC 8760, 2.5).
fn credentials(
    challenge: &Challenge,
    account: &Account,
    request: &Request,
    cnonce: &str,
    nc: u32,
) -> Vec<u8> {
    let (algorithm, named) = challenge.algorithm;
    let nc = format!("{nc:08x}");
    let response = algorithm.response(&Ingredients {
        user: account.user.as_bytes(),
        realm: &challenge.realm,
        secret: &account.secret,
        nonce: &challenge.nonce,
        cnonce: cnonce.as_bytes(),
        nc: nc.as_bytes(),
        qop: challenge.qop,
        method: request.method.as_bytes(),
        uri: &request.uri,
        body: request.body(),
    });
    let mut value = b"Digest username=".to_vec();
    quoted(&mut value, account.user.as_bytes());
    let mut pair = |name: &str, text: &[u8]| {
        value.extend_from_slice(format!(", {name}=\"").as_bytes());
        value.extend_from_slice(text);
        value.push(b'"');
    };
    pair("realm", &challenge.realm);
    pair("nonce", &challenge.nonce);
    pair("uri", &request.uri);
    pair("response", response.as_bytes());
    if let Some(opaque) = &challenge.opaque {
        pair("opaque", opaque);
    }
    // A session algorithm hashes the cnonce even where there is no qop to announce it.
    if challenge.qop.is_some() || algorithm.is_session() {
        pair("cnonce", cnonce.as_bytes());
    }
    if named {
        value.extend_from_slice(format!(", algorithm={}", algorithm.as_str()).as_bytes());
    }
    if let Some(qop) = challenge.qop {
        value.extend_from_slice(format!(", qop={}, nc={nc}", qop.as_str()).as_bytes());
    }
    value
}

fn next_nonce(line: &[u8]) -> Option<Vec<u8>> {
    Directives::read(line).first()?.value("nextnonce").map(<[u8]>::to_vec)
}
