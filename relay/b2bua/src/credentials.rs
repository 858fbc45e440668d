//! Requests of ours that a trunk may challenge, and how they go out again with credentials
//! (RFC 3261, 22.2 and 22.3).

use crate::core::{Core, Owner};
use crate::io::Hop;
use sip_core::auth::{Account, Standing, answer};
use sip_core::transaction::ClientId;
use sip_core::{Name, Request, Response};
use std::sync::Arc;

/// A request that is out, on a trunk where we have an account.
#[derive(Debug)]
pub(crate) struct Signable {
    request: Request,
    hop: Hop,
    account: Arc<Account>,
    standing: Standing,
}

impl Hop {
    /// The trunk it leads to.
    pub(crate) fn trunk(&self) -> &str {
        match self {
            Self::Flow { flow, .. } => &flow.trunk,
            Self::Target(target) => &target.trunk,
        }
    }
}

impl Core {
    /// What to keep of a request for the case that it is challenged. OPTIONS is not answered: that
    /// somebody asks who we are tells that he is there.
    pub(crate) fn to_sign(&self, hop: &Hop, request: &Request, owner: &Owner) -> Option<Signable> {
        if !owner.signs() {
            return None;
        }
        let trunk = self.plan.trunk(hop.trunk())?;
        let account = trunk.accounts.ours.clone()?;
        let (request, hop) = (request.clone(), hop.clone());
        Some(Signable { request, hop, account, standing: Standing::default() })
    }

    /// A final response has come: whether it is a challenge that can be met. It can if the request
    /// was kept and nobody says that our credentials are wrong. Who waits for `client` then waits
    /// for the request that [`Self::send_signed`] sends.
    pub(crate) fn sign(&mut self, client: ClientId, response: &Response) -> Option<Signed> {
        let mut signable = self.signable.remove(&client)?;
        let wanted = self.clients.get(&client).is_some_and(Owner::signs);
        if !matches!(response.status, 401 | 407) || !wanted {
            return None;
        }
        let mut request = signable.request.clone();
        // The branch comes first: it is not part of what is signed.
        let via = fresh_via(&request, &self.branch())?;
        request.headers.remove(Name::Via);
        request.headers.push_front(Name::Via, via);
        let (token, account) = (self.token(), Arc::clone(&signable.account));
        match answer(&mut request, response, &account, &mut signable.standing, &token) {
            Ok(()) => {
                signable.request = request;
                Some(Signed { signable, client })
            }
            Err(refusal) => {
                let trunk = signable.hop.trunk().to_owned();
                self.emit(crate::io::Event::ChallengeRefused { trunk, why: refusal.to_string() });
                None
            }
        }
    }

    /// Sends a request once more, as number `cseq` of its dialog: Call-ID and From stay, so that it
    /// is seen as the same request (RFC 3261, 22.2). Its owner waits for the new transaction.
    pub(crate) fn send_signed(&mut self, signed: Signed, cseq: u32) -> (ClientId, Request) {
        let Signed { mut signable, client: old } = signed;
        let method = signable.request.method.clone();
        let number = [cseq.to_string().as_bytes(), b" ", method.as_bytes()].concat();
        signable.request.headers.set(Name::CSeq, number);
        let request = signable.request.clone();
        let client = self.layer.request(self.now.mono, signable.hop.clone(), request.clone());
        if let Some(owner) = self.clients.remove(&old) {
            self.clients.insert(client, owner);
        }
        self.signable.insert(client, signable);
        (client, request)
    }
}

/// Puts the credentials of an INVITE into its ACK, which nobody can challenge (RFC 3261, 22.1).
pub(crate) fn show_again(invite: &Request, ack: &mut Request) {
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        ack.headers.copy_from(&invite.headers, name);
    }
}

/// A request with credentials that wants its CSeq number.
pub(crate) struct Signed {
    signable: Signable,
    client: ClientId,
}

impl Signed {
    /// The number after the one that was refused: for a request that makes its dialog, or is the
    /// last of it.
    pub(crate) fn next_cseq(&self) -> u32 {
        self.signable.request.headers.cseq().number.saturating_add(1)
    }
}

impl Owner {
    /// Whether a challenge to it is worth an answer.
    const fn signs(&self) -> bool {
        matches!(self, Self::Invite(_) | Self::Reinvite(..) | Self::Update(..) | Self::Bye(_))
    }
}

/// Our own top Via with another branch.
fn fresh_via(request: &Request, branch: &str) -> Option<Vec<u8>> {
    let old = std::str::from_utf8(request.headers.get(Name::Via)?).ok()?;
    let (before, after) = old.split_once(";branch=")?;
    let rest = after.find(';').map_or("", |at| &after[at..]);
    Some(format!("{before};branch={branch}{rest}").into_bytes())
}
