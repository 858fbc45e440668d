//! PEM files as operators have them: CRLF, notes before the first block, several blocks
//! (TDR-CRT-022).

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A certificate, key or root file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: FileProblem,
}

impl FileError {
    pub(crate) fn new(path: &Path, problem: FileProblem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    /// What the operator can do about it.
    pub const fn hint(&self) -> &'static str {
        self.problem.hint()
    }
}

/// As operators know it; an "entity" is no file to them.
pub fn in_words(why: ErrorKind) -> String {
    match why {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "this user may not".to_owned(),
        why => why.to_string(),
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The file cannot be read.
    #[error("cannot be read: {}", in_words(*.0))]
    Unreadable(ErrorKind),
    /// The file is far larger than any chain.
    #[error("is larger than {FILE_OCTETS_MAX} octets")]
    TooLarge,
    /// A PEM block is damaged.
    #[error("holds a damaged PEM block: {0}")]
    Damaged(String),
    /// No certificate is in it.
    #[error("holds no certificate")]
    NoCertificate,
    /// No private key is in it.
    #[error("holds no private key")]
    NoKey,
    /// The key is encrypted.
    #[error("holds an encrypted private key")]
    EncryptedKey,
    /// A PKCS #12 file does not open.
    #[error("does not open with this password")]
    WrongPassword,
    /// A file is not PKCS #12.
    #[error("is not PKCS #12, or locked in a way that is not supported")]
    NotPkcs12,
    /// A certificate is not X.509.
    #[error("holds a certificate that is not X.509: {0}")]
    NotX509(String),
    /// The key's kind is not supported.
    #[error("holds a private key that cannot be used: {0}")]
    UnsupportedKey(String),
    /// Key and certificate are not a pair.
    #[error("is not the key of the first certificate in {}", chain.display())]
    KeyMismatch {
        /// The chain the key was given for.
        chain: PathBuf,
    },
    /// A certificate is not signed by the one after it.
    #[error("certificate {number} is issued by \"{issuer}\", but the next one is \"{next}\"")]
    OutOfOrder {
        /// Position in the file, from 1.
        number: usize,
        /// Its issuer.
        issuer: String,
        /// The subject of the certificate after it.
        next: String,
    },
    /// The operating system's store is empty or unreadable.
    #[error("no root certificate was found: {0}")]
    NoSystemRoots(String),
}

impl FileProblem {
    /// What the operator can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(ErrorKind::NotFound) => {
                "a relative name starts at the folder of tollgate.toml"
            }
            Self::Unreadable(ErrorKind::PermissionDenied) => {
                "the service's user has to read it: chgrp tollgate FILE; chmod 0640 FILE"
            }
            Self::Unreadable(ErrorKind::IsADirectory) => "name the file in it",
            Self::Unreadable(_) => "can the service's user read it (cat)?",
            Self::TooLarge => "give the certificate chain only",
            Self::Damaged(_) => "export the file again; a block runs from -----BEGIN to -----END",
            Self::NoCertificate => "give a PEM file with a block -----BEGIN CERTIFICATE-----",
            Self::NoKey => "give a PEM file with a block -----BEGIN PRIVATE KEY-----",
            Self::EncryptedKey => "decrypt it once: openssl pkey -in KEY -out PLAIN",
            Self::WrongPassword => "write the password it was exported with into password_file",
            Self::NotPkcs12 => {
                "export it again with AES-256 and SHA-256: openssl pkcs12 -export -in CHAIN -inkey KEY"
            }
            Self::NotX509(_) => "export the certificate again as PEM",
            Self::UnsupportedKey(_) => {
                "use an RSA key of 2048 bits or more (Teams), or ECDSA P-256 or P-384"
            }
            Self::KeyMismatch { .. } => "give the key that the certificate was requested with",
            Self::OutOfOrder { .. } => "order the file: own certificate, then each issuer in turn",
            Self::NoSystemRoots(_) => "install ca-certificates, or name a PEM file in roots",
        }
    }
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(strip_bom(&text))
        .collect::<Result<_, _>>()
        .map_err(|error| FileError::new(path, FileProblem::Damaged(describe(&error))))?;
    if certificates.is_empty() {
        return Err(FileError::new(path, FileProblem::NoCertificate));
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(strip_bom(&text)).map_err(|error| {
        let problem = match error {
            PemError::NoItemsFound if contains(&text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
                FileProblem::EncryptedKey
            }
            PemError::NoItemsFound => FileProblem::NoKey,
            other => FileProblem::Damaged(describe(&other)),
        };
        FileError::new(path, problem)
    })
}

/// A chain has a few kilobytes; the whole of Mozilla's roots a quarter of a megabyte.
const FILE_OCTETS_MAX: u64 = 4 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable =
        |error: std::io::Error| FileError::new(path, FileProblem::Unreadable(error.kind()));
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_OCTETS_MAX {
        return Err(FileError::new(path, FileProblem::TooLarge));
    }
    std::fs::read(path).map_err(unreadable)
}

/// Editors on Windows put a byte order mark before the first BEGIN, which then would not be seen.
fn strip_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// The error without the octets it quotes: they may be a key's.
fn describe(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "the END line is missing".to_owned(),
        PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        PemError::Base64Decode(_) => "its text is not base64".to_owned(),
        _ => "it cannot be decoded".to_owned(),
    }
}
