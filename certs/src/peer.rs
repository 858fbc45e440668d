//! Who is on the other side: chain, dates, purpose and name of a peer's certificate.

use crate::facts::parse;
use crate::refusal::PeerRefusal;
use crate::{Roots, provider};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::X509Certificate;

/// Certificates above a stranger's own that are looked at: whoever knocks can send any number.
const CHAIN_MAX: usize = 10;

/// Whom a trunk believes: a certificate from one of these roots that carries one of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Accepted roots.
    pub roots: Roots,
    /// Names (or addresses, in text) of which the certificate must carry one (TDR-TLS-008).
    /// Without any, nobody is believed.
    pub names: Vec<String>,
}

impl Trust {
    /// Whether a peer that has shown `chain` before would be believed at `now`: under the name it was
    /// dialled by, or one of ours if it has called.
    pub fn believes(
        &self,
        chain: &[CertificateDer<'_>],
        dialled: Option<&str>,
        now: SystemTime,
    ) -> bool {
        let Some((end_entity, intermediates)) = chain.split_first() else { return false };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let names = dialled.map_or_else(|| self.names.clone(), |name| vec![name.to_owned()]);
        let verifier = PeerVerifier::new(&Self { roots: self.roots.clone(), names });
        verifier.check(end_entity, intermediates, UnixTime::since_unix_epoch(since)).is_ok()
    }
}

/// A peer whose chain leads to no accepted root: what an operator needs to find out whether it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Whose certificate it was.
    pub subject: String,
    /// Who is to be believed for it: the issuer of the last certificate that was shown.
    pub issuer: String,
    /// SHA-1 of that last certificate, as authorities publish it.
    pub sha1: String,
}

impl Stranger {
    fn of(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<Self> {
        let first = parse(end_entity).ok()?;
        let others = intermediates.iter().take(CHAIN_MAX);
        let others: Vec<_> = others.filter_map(|der| Some((der, parse(der).ok()?))).collect();
        // In whatever order they came: the last is the one whose issuer is not among them.
        let (mut der, mut last) = (end_entity, &first);
        for _ in 0..others.len() {
            let issued = |(one, parsed): &&(&CertificateDer<'_>, X509Certificate<'_>)| {
                *one != der && parsed.subject().as_raw() == last.issuer().as_raw()
            };
            match others.iter().find(issued) {
                Some((next, parsed)) => (der, last) = (*next, parsed),
                None => break,
            }
        }
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der.as_ref());
        let mut sha1 = String::new();
        for octet in digest.as_ref() {
            let colon = if sha1.is_empty() { "" } else { ":" };
            let _ = write!(sha1, "{colon}{octet:02X}");
        }
        Some(Self { subject: first.subject().to_string(), issuer: last.issuer().to_string(), sha1 })
    }
}

/// The last stranger that was refused; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    last: Arc<Mutex<Option<Stranger>>>,
}

impl Strangers {
    fn note(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let stranger = Stranger::of(end_entity, intermediates);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = stranger;
    }

    /// Who it was.
    pub fn last(&self) -> Option<Stranger> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks the certificate of a server that we connect to, and notes whom it refused.
#[derive(Debug)]
pub(crate) struct DialledVerifier {
    pub(crate) inner: Arc<WebPkiServerVerifier>,
    pub(crate) strangers: Strangers,
}

impl ServerCertVerifier for DialledVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if let Err(error) = &verified
            && PeerRefusal::of(error) == Some(PeerRefusal::UnknownIssuer)
        {
            self.strangers.note(end_entity, intermediates);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
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
    strangers: Strangers,
}

impl PeerVerifier {
    /// A verifier for peers of `trust`. A name that is neither a DNS name nor an address matches
    /// nothing.
    pub fn new(trust: &Trust) -> Arc<Self> {
        Self::noting(trust, Strangers::default())
    }

    /// The same, which notes whom it refused.
    pub(crate) fn noting(trust: &Trust, strangers: Strangers) -> Arc<Self> {
        let names =
            trust.names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        Arc::new(Self {
            roots: trust.roots.clone(),
            names,
            algorithms: provider().signature_verification_algorithms,
            hints: hints(&trust.roots),
            strangers,
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
        self.check(end_entity, intermediates, now).inspect_err(|refusal| {
            if *refusal == PeerRefusal::UnknownIssuer {
                self.strangers.note(end_entity, intermediates);
            }
        })?;
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
