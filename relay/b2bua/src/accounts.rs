//! Who we are to a trunk, and who it is to us: the part of the plan that has to do with secrets.

use sip_core::auth::Algorithm;
pub use sip_core::auth::{Account, Secret, User};
pub use sip_core::usage::bindings::Times;
use std::sync::Arc;
use std::time::Duration;

/// The accounts of one trunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `[trunk.auth]`: what we answer challenges with.
    pub ours: Option<Arc<Account>>,
    /// `[trunk.register]`: we register there.
    pub register: Option<Register>,
    /// `[trunk.registrar]`: a PBX registers with us.
    pub registrar: Option<Arc<Registrar>>,
}

/// A registration of ours; the trunk's targets are its registrars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The user part of the address-of-record and of our Contact.
    pub user: String,
    /// The host of the address-of-record, and the Request-URI.
    pub domain: String,
    /// The time asked for.
    pub expires: Duration,
}

/// The registrar of a trunk: what is bound there is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// The realm of our challenges.
    pub realm: String,
    /// Who may register, each an address-of-record of its own, in the order calls try them.
    pub users: Vec<User>,
    /// What the answers to our challenges may be made with, first choice first (RFC 8760).
    pub algorithms: Vec<Algorithm>,
    /// How long bindings may last.
    pub times: Times,
    /// Whether an INVITE over a flow that nobody has registered on is challenged.
    pub challenge_calls: bool,
}
