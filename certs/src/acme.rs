//! What ACME (RFC 8555) needs of certificates: a key with a request to be signed, and what proves a name
//! in a TLS handshake (RFC 8737). Who asks, and over which connection, is told elsewhere.

use crate::{KeyType, provider};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The protocol that a validator speaks (RFC 8737, 6.2).
const ALPN: &[u8] = b"acme-tls/1";

/// A fresh key and a request for a certificate over it (RFC 2986).
pub struct Request {
    /// The request, in DER.
    pub csr: Vec<u8>,
    /// The key, in PEM.
    pub key: String,
}

/// Makes a key and asks for `names`; computes for a while where the key is RSA.
pub fn request(names: &[String], key: KeyType) -> Result<Request, rcgen::Error> {
    let key = key.generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    // Names are alternative names alone (RFC 8555, 7.4).
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?.der().to_vec();
    Ok(Request { csr, key: key.serialize_pem() })
}

/// What is shown to validators, by the name they ask about; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    by_name: Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>,
}

impl Proofs {
    /// Shows `digest`, the SHA-256 of a key authorization, to who asks about `name`.
    pub fn show(&self, name: &str, digest: &[u8; 32]) -> Result<(), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        let secret = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let signer = provider()
            .key_provider
            .load_private_key(secret)
            .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let shown = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer));
        self.by_name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_ascii_lowercase(), shown);
        Ok(())
    }

    /// Shows nothing of `name` any more.
    pub fn hide(&self, name: &str) {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.remove(&name.to_ascii_lowercase());
    }
}

impl ResolvesServerCert for Proofs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Whoever is no validator gets no certificate at all.
        if !hello.alpn()?.any(|protocol| protocol == ALPN) {
            return None;
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}

/// For validators: shows `proofs` and wants no certificate.
pub fn proof_config(proofs: Proofs) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(proofs));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
