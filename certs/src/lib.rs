//! Certificates, trust roots and peer checks, found by FQDN.
//!
//! An [`Identity`] is a certificate chain with its key; [`Identities`] holds all of them and hands
//! the newest to each new handshake. A trunk's [`Trust`] says whose certificates are believed and
//! which names they must carry. [`server_config`] and [`client_config`] put both together for TLS.
//! Every check that fails has one word: [`PeerRefusal`].
#![forbid(unsafe_code)]

pub mod acme;
mod config;
pub mod dtls;
mod facts;
mod identities;
mod identity;
mod key;
pub mod lab;
mod peer;
mod pem;
mod pkcs12;
mod refusal;
mod roots;

pub use config::{
    ConfigError, client_config, client_config_noting, server_config, server_config_noting,
    server_name, service_config,
};
pub use facts::{KeyKind, names_of};
pub use identities::{ClientIdentity, Identities, ServerIdentity};
pub use identity::Identity;
pub use key::KeyType;
pub use peer::{PeerVerifier, Stranger, Strangers, Trust};
pub use pem::{FileError, FileProblem, in_words};
pub use refusal::PeerRefusal;
pub use roots::Roots;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, OnceLock};

/// The one crypto provider, passed explicitly everywhere: the process default is ambiguous as soon
/// as a dependency brings a second one.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}
