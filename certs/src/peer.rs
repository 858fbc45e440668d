//! Who is on the other side: chain, dates, purpose and name of a peer's certificate.

use crate::refusal::PeerRefusal;
use crate::{Roots, provider};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage};

/// Whom a trunk believes: a certificate from one of these roots that carries one of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Accepted roots.
    pub roots: Roots,
    /// Names (or addresses, in text) of which the certificate must carry one (TDR-TLS-008).
    /// Without any, nobody is believed.
    pub names: Vec<String>,
}

/// Checks the certificate of a peer that connects to us, which is mandatory (TDR-TLS-006).
///
/// The purpose may be serverAuth or clientAuth: Microsoft presents its server certificate also
/// when it is the client (TDR-TLS-007).
#[derive(Debug)]
pub struct PeerVerifier {
    roots: Roots,
    names: Vec<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl PeerVerifier {
    /// A verifier for peers of `trust`. A name that is neither a DNS name nor an address matches
    /// nothing.
    pub fn new(trust: &Trust) -> Arc<Self> {
        let names =
            trust.names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        Arc::new(Self {
            roots: trust.roots.clone(),
            names,
            algorithms: provider().signature_verification_algorithms,
            hints: hints(&trust.roots),
        })
    }

    /// Checks a chain as of `now`.
    pub fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), PeerRefusal> {
        let certificate = EndEntityCert::try_from(end_entity)?;
        self.verify_chain(&certificate, intermediates, now, KeyUsage::server_auth()).or_else(
            |as_server| {
                let as_client =
                    self.verify_chain(&certificate, intermediates, now, KeyUsage::client_auth());
                as_client.map_err(|_| as_server)
            },
        )?;
        let named = |name| certificate.verify_is_valid_for_subject_name(name).is_ok();
        if self.names.iter().any(named) { Ok(()) } else { Err(PeerRefusal::NameMismatch) }
    }

    fn verify_chain(
        &self,
        certificate: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        certificate
            .verify_for_usage(
                self.algorithms.all,
                &self.roots.store().roots,
                intermediates,
                now,
                usage,
                None,
                None,
            )
            .map(|_| ())
    }
}

/// The names of the roots, so that a peer with several certificates shows the right one. A whole
/// operating system's store would not fit in a handshake that every peer can read: then no hint.
fn hints(roots: &Roots) -> Vec<DistinguishedName> {
    if roots.len() > HINTS_MAX { Vec::new() } else { roots.store().subjects() }
}

/// More roots than this are not sent as hints.
const HINTS_MAX: usize = 20;

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
