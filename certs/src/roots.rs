//! The roots that a trunk's peers must chain to.

use crate::pem::{self, FileError, FileProblem};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A set of accepted roots; cheap to clone.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

impl Roots {
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
