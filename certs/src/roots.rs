//! The roots that a trunk's peers must chain to.

use crate::pem::{self, FileError, FileProblem};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A set of accepted roots; cheap to clone.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

/// The roots that Microsoft's certificates for Direct Routing chain to (2026; TDR-CRT-020), as Debian's
/// ca-certificates has them.
const MICROSOFT: &[u8] = include_bytes!("../roots/microsoft.pem");

/// Their names, in the order of the file.
const MICROSOFT_NAMES: [&str; 7] = [
    "DigiCert Global Root CA",
    "DigiCert Global Root G2",
    "DigiCert Global Root G3",
    "DigiCert TLS ECC P384 Root G5",
    "DigiCert TLS RSA4096 Root G5",
    "Microsoft ECC Root Certificate Authority 2017",
    "Microsoft RSA Root Certificate Authority 2017",
];

impl Roots {
    /// Those that Microsoft has announced: shipped with us, so that a bare host has them too.
    pub fn microsoft() -> Self {
        static READ: OnceLock<Roots> = OnceLock::new();
        let read = || {
            let certificates = CertificateDer::pem_slice_iter(MICROSOFT).filter_map(Result::ok);
            // Never empty: a test counts them.
            Self::of(certificates.collect())
                .unwrap_or_else(|| Self { store: Arc::new(RootCertStore::empty()) })
        };
        READ.get_or_init(read).clone()
    }

    /// All of these together.
    pub fn all(of: &[Self]) -> Self {
        let mut roots: Vec<_> = of.iter().flat_map(|one| one.store.roots.iter().cloned()).collect();
        let mut seen = std::collections::HashSet::new();
        roots.retain(|root| {
            seen.insert((root.subject.to_vec(), root.subject_public_key_info.to_vec()))
        });
        Self { store: Arc::new(RootCertStore { roots }) }
    }

    /// Which of Microsoft's are not among them, by their names.
    pub fn lacks_of_microsoft(&self) -> Vec<&'static str> {
        let wanted = Self::microsoft();
        let is = |own: &TrustAnchor<'_>, root: &TrustAnchor<'_>| {
            own.subject == root.subject
                && own.subject_public_key_info == root.subject_public_key_info
        };
        let known = |root| self.store.roots.iter().any(|own| is(own, root));
        let named = wanted.store.roots.iter().zip(MICROSOFT_NAMES);
        named.filter(|(root, _)| !known(*root)).map(|(_, name)| name).collect()
    }

    /// Whether one of them is called so, in DER without the outermost sequence.
    pub(crate) fn has_subject(&self, subject: &[u8]) -> bool {
        self.store.roots.iter().any(|root| root.subject.as_ref() == subject)
    }

    /// The operating system's roots (or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name).
    pub fn system() -> Result<Self, FileError> {
        let found = rustls_native_certs::load_native_certs();
        let why = found
            .errors
            .first()
            .map_or_else(|| "the store is empty".to_owned(), ToString::to_string);
        Self::of(found.certs).ok_or_else(|| {
            FileError::new(&PathBuf::from("system roots"), FileProblem::NoSystemRoots(why))
        })
    }

    /// The roots in a PEM file.
    pub fn file(path: &Path) -> Result<Self, FileError> {
        Self::of(pem::certificates(path)?).ok_or_else(|| {
            let what = "none of them can be a root".to_owned();
            FileError::new(path, FileProblem::NotX509(what))
        })
    }

    /// The usable ones among `certificates`; `None` if none is. A store of a hundred roots always
    /// has an odd one, which must not cost the others.
    fn of(certificates: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        let (added, _ignored) = store.add_parsable_certificates(certificates);
        (added > 0).then(|| Self { store: Arc::new(store) })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Never true: a set without a root cannot be made.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    pub(crate) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store) || self.store.roots == other.store.roots
    }
}

impl Eq for Roots {}
