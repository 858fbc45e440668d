//! TLS 1.2 and 1.3 with certificates on both sides, as server and as client (TDR-TLS-002, -003).

use crate::peer::DialledVerifier;
use crate::{ClientIdentity, PeerVerifier, Roots, ServerIdentity, Strangers, Trust, provider};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::net::IpAddr;
use std::sync::Arc;

/// A TLS configuration that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Suites and versions do not fit.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The roots cannot be used.
    #[error("the accepted roots cannot be used: {0}")]
    Roots(#[from] rustls::server::VerifierBuilderError),
    /// A name to connect to is neither a DNS name nor an address.
    #[error("\"{0}\" is neither a DNS name nor an address")]
    Name(String),
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// For connections that come in: shows `identity`, demands a certificate that `trust` believes.
/// Nothing is resumed, so each connection is checked again (TDR-TLS-009).
pub fn server_config(
    identity: ServerIdentity,
    trust: &Trust,
) -> Result<Arc<ServerConfig>, ConfigError> {
    server_config_noting(identity, trust, Strangers::default())
}

/// The same; who is refused for an issuer that nobody knows is noted in `strangers`.
pub fn server_config_noting(
    identity: ServerIdentity,
    trust: &Trust,
    strangers: Strangers,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(PeerVerifier::noting(trust, strangers))
        .with_cert_resolver(Arc::new(identity));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For connections to a service that is no SIP peer: shows no certificate, demands one from `roots` that
/// carries the name dialled.
pub fn service_config(roots: &Roots) -> Result<Arc<ClientConfig>, ConfigError> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&VERSIONS)?
        .with_root_certificates(Arc::clone(roots.store()))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// For connections that go out: shows `identity` when asked, demands a server certificate from
/// `roots` that carries the name dialled (TDR-TLS-004, TDR-TLS-008).
pub fn client_config(
    identity: ClientIdentity,
    roots: &Roots,
) -> Result<Arc<ClientConfig>, ConfigError> {
    client_config_noting(identity, roots, Strangers::default())
}

/// The same; who is refused for an issuer that nobody knows is noted in `strangers`.
pub fn client_config_noting(
    identity: ClientIdentity,
    roots: &Roots,
    strangers: Strangers,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let inner = WebPkiServerVerifier::builder_with_provider(
        Arc::clone(roots.store()),
        Arc::clone(provider()),
    )
    .build()?;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(DialledVerifier { inner, strangers }))
        .with_client_cert_resolver(Arc::new(identity));
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name to dial: `name`, or the address where there is none.
pub fn server_name(
    name: Option<&str>,
    address: IpAddr,
) -> Result<ServerName<'static>, ConfigError> {
    match name {
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::Name(name.to_owned()))
        }
        None => Ok(ServerName::IpAddress(address.into())),
    }
}
