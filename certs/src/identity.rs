//! One certificate chain with its key, and what is to be known about it.

use crate::facts::{End, Facts, KeyKind, Purposes};
use crate::pem::{self, FileError, FileProblem};
use crate::{PeerRefusal, Roots, pkcs12, provider};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use webpki::{EndEntityCert, KeyUsage};

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: [u8; 32],
    names: Vec<String>,
    covered: Covered,
    end: End,
    pending: bool,
    not_before: SystemTime,
    not_after: SystemTime,
    kind: KeyKind,
    purposes: Purposes,
}

/// The alternative names, to be found at once.
#[derive(Clone, Debug, Default)]
struct Covered {
    exact: BTreeSet<String>,
    /// Those below `*.`.
    below: BTreeSet<String>,
}

impl Covered {
    fn of(names: &[String]) -> Self {
        let mut covered = Self::default();
        for name in names {
            match name.strip_prefix("*.") {
                Some(base) => covered.below.insert(base.to_owned()),
                None => covered.exact.insert(name.clone()),
            };
        }
        covered
    }

    fn covers(&self, fqdn: &str) -> bool {
        let lower;
        let fqdn = match fqdn.bytes().any(|octet| octet.is_ascii_uppercase()) {
            true => {
                lower = fqdn.to_ascii_lowercase();
                lower.as_str()
            }
            false => fqdn,
        };
        self.exact.contains(fqdn)
            || fqdn.split_once('.').is_some_and(|(label, base)| {
                !label.is_empty() && self.below.contains(base) && fqdn.parse::<IpAddr>().is_err()
            })
    }
}

impl Identity {
    /// Reads a chain (own certificate first, then its issuers) and the key that belongs to it.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, FileError> {
        let certificates = pem::certificates(chain)?;
        Self::new(certificates, pem::private_key(key)?, (chain, key))
    }

    /// Reads both from a PKCS #12 file (RFC 7292), which is locked with `password`.
    pub fn load_pkcs12(path: &Path, password: &str) -> Result<Self, FileError> {
        let (certificates, key) = pkcs12::read(path, password)?;
        Self::new(certificates, key, (path, path))
    }

    /// One that nobody believes, for as long as the real one for `names` has not been issued: its
    /// listener can be bound meanwhile.
    pub fn pending(names: &[String]) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(names.to_vec())?.self_signed(&key)?;
        let chain = vec![certificate.der().clone()];
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let identity = Self::in_memory(chain, secret);
        let identity = identity.map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self { pending: true, ..identity })
    }

    /// One that comes from no file.
    pub(crate) fn in_memory(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, FileError> {
        let nowhere = Path::new("");
        Self::new(chain, key, (nowhere, nowhere))
    }

    fn new(
        certificates: Vec<CertificateDer<'static>>,
        secret: PrivateKeyDer<'static>,
        (chain, key): (&Path, &Path),
    ) -> Result<Self, FileError> {
        let facts = Facts::read(&certificates).map_err(|problem| FileError::new(chain, problem))?;
        let signer = provider()
            .key_provider
            .load_private_key(secret)
            .map_err(|error| FileError::new(key, FileProblem::UnsupportedKey(error.to_string())))?;
        let certified = CertifiedKey::new(certificates, signer);
        if certified.keys_match().is_err() {
            let problem = FileProblem::KeyMismatch { chain: chain.to_owned() };
            return Err(FileError::new(key, problem));
        }
        Ok(Self {
            fingerprint: fingerprint(&certified),
            key: Arc::new(certified),
            covered: Covered::of(&facts.names),
            end: facts.end,
            pending: false,
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
            kind: facts.kind,
            purposes: facts.purposes,
        })
    }

    /// Whether the certificate is valid for `fqdn`. A wildcard stands for exactly one label
    /// (TDR-CRT-004); only alternative names count (TDR-CRT-003).
    pub fn covers(&self, fqdn: &str) -> bool {
        self.covered.covers(fqdn)
    }

    /// Whether it stands in for one that has not been issued yet.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The alternative names: DNS names in lower case as written, addresses in text.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it begins to be valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When it ends to be valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The kind of its key.
    pub fn key_kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether it is meant for servers, without which Teams refuses it (TDR-CRT-005).
    pub fn for_servers(&self) -> bool {
        self.purposes.server
    }

    /// Whether it is meant for clients, which Teams does not insist on (TDR-CRT-005).
    pub fn for_clients(&self) -> bool {
        self.purposes.client
    }

    /// How many certificates the chain has, its own counted.
    pub fn chain_len(&self) -> usize {
        self.key.cert.len()
    }

    /// Whether a chain leads from this certificate to `roots` at `now` with what the file holds:
    /// a far side that knows only the roots can follow it (TDR-CRT-006).
    pub fn reaches(&self, roots: &Roots, now: SystemTime) -> Result<(), PeerRefusal> {
        let (leaf, rest) = self.key.cert.split_first().ok_or(PeerRefusal::NoCertificate)?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        EndEntityCert::try_from(leaf)?.verify_for_usage(
            provider().signature_verification_algorithms.all,
            &roots.store().roots,
            rest,
            UnixTime::since_unix_epoch(since),
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        Ok(())
    }

    /// Whether what the file holds leads up to a root: one of `known` has issued its last certificate,
    /// or that is a root itself. Otherwise who is to be asked for what is missing.
    pub fn ends_at_a_root_of(&self, known: &[&Roots]) -> Result<(), &str> {
        let issued = |roots: &&Roots| roots.has_subject(&self.end.issuer);
        match self.end.is_root || known.iter().any(issued) {
            true => Ok(()),
            false => Err(&self.end.name),
        }
    }

    /// Who has issued the last certificate of the file, in words.
    pub fn root_name(&self) -> &str {
        &self.end.name
    }

    /// How long it is valid altogether.
    pub fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }

    /// SHA-256 of the certificate: what tells it from its renewal.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

/// Says nothing of the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

fn fingerprint(certified: &CertifiedKey) -> [u8; 32] {
    let leaf = certified.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}
