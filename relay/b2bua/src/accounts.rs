//! Who we are to a trunk: the part of the plan that has to do with secrets.

pub use sip_core::auth::{Account, Secret};
use std::sync::Arc;
use std::time::Duration;

/// The accounts of one trunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `[trunk.auth]`: what we answer challenges with.
    pub ours: Option<Arc<Account>>,
    /// `[trunk.register]`: we register there.
    pub register: Option<Register>,
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
