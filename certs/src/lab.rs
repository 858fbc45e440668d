//! A throw-away certificate authority for the demo, the emulated peers and tests.
//!
//! Its keys live in memory and in files it is told to write; nobody outside trusts it.

use crate::Identity;
pub use crate::KeyType as Key;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A root with one intermediate under it, as public authorities have them.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// What a leaf is said to be for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// serverAuth and clientAuth.
    #[default]
    Both,
    /// serverAuth only, as public authorities issue since 2026 (TDR-CRT-005).
    Server,
    /// clientAuth only.
    Client,
    /// Neither: codeSigning.
    Neither,
}

/// A leaf to be issued; if nothing is said, with a key that is made at once.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Alternative names: DNS names (with wildcards) and addresses.
    pub names: &'a [&'a str],
    /// Its key.
    pub key: Key,
    /// Its purpose.
    pub purpose: Purpose,
    /// Whether it has expired long ago.
    pub expired: bool,
    /// From when until when it is valid, in days since 2026-01-01.
    pub days: Option<(u32, u32)>,
}

impl Default for Request<'_> {
    fn default() -> Self {
        let (names, purpose) = (&[][..], Purpose::default());
        Self { names, key: Key::P256, purpose, expired: false, days: None }
    }
}

/// A leaf with its chain and key.
pub struct Leaf {
    chain: String,
    certificates: [CertificateDer<'static>; 2],
    key: KeyPair,
    key_pem: String,
}

/// The laboratory authority could not make or write a certificate.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A certificate or key could not be made.
    #[error("a throw-away certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Authority {
    /// A new authority called `name` with P-256 keys.
    pub fn new(name: &str) -> Result<Self, LabError> {
        Self::with_key(name, Key::P256)
    }

    /// A new authority called `name` with keys of this kind.
    pub fn with_key(name: &str, key: Key) -> Result<Self, LabError> {
        let root = CertifiedIssuer::self_signed(issuer(&format!("{name} Root")), key.generate()?)?;
        let params = issuer(&format!("{name} Intermediate"));
        let intermediate = CertifiedIssuer::signed_by(params, key.generate()?, &root)?;
        Ok(Self { root, intermediate })
    }

    /// The root's certificate, in PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The intermediate's certificate, in PEM.
    pub fn intermediate_pem(&self) -> String {
        self.intermediate.pem()
    }

    /// Writes the root's certificate to `DIR/NAME.pem`.
    pub fn write_root(&self, dir: &Path, name: &str) -> Result<PathBuf, LabError> {
        write(dir.join(format!("{name}.pem")), &self.root_pem())
    }

    /// A leaf for `names`, for both purposes.
    pub fn leaf(&self, names: &[&str]) -> Result<Leaf, LabError> {
        self.issue(&Request { names, ..Request::default() })
    }

    /// A leaf as asked for.
    pub fn issue(&self, request: &Request<'_>) -> Result<Leaf, LabError> {
        let names: Vec<String> = request.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(request.names.first().copied().unwrap_or("leaf"));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = request.purpose.usages();
        params.use_authority_key_identifier_extension = true;
        if request.expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        if let Some((from, until)) = request.days {
            let first = date_time_ymd(2026, 1, 1);
            let day = |days: u32| first + std::time::Duration::from_secs(u64::from(days) * 86_400);
            params.not_before = day(from);
            params.not_after = day(until);
        }
        let key = request.key.generate()?;
        let certificate = params.signed_by(&key, &self.intermediate)?;
        let chain = certificate.pem() + &self.intermediate.pem();
        let certificates = [certificate.der().clone(), self.intermediate.der().clone()];
        Ok(Leaf { chain, certificates, key_pem: key.serialize_pem(), key })
    }
}

impl Leaf {
    /// The leaf and the intermediate, in PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// The leaf's certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        let [leaf, _] = &self.certificates;
        leaf
    }

    /// The same to be shown, without a file in between.
    pub fn identity(&self) -> Result<Identity, LabError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let identity = Identity::in_memory(self.certificates.to_vec(), key);
        identity.map_err(|_| rcgen::Error::CouldNotParseCertificate.into())
    }

    /// The key, in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Writes `DIR/NAME.pem` and `DIR/NAME.key`, the latter for the owner only; returns both paths.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf), LabError> {
        let chain = write(dir.join(format!("{name}.pem")), &self.chain)?;
        let key = write(dir.join(format!("{name}.key")), &self.key_pem)?;
        Ok((chain, key))
    }
}

impl Purpose {
    fn usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
        match self {
            Self::Both => vec![ServerAuth, ClientAuth],
            Self::Server => vec![ServerAuth],
            Self::Client => vec![ClientAuth],
            Self::Neither => vec![CodeSigning],
        }
    }
}

fn issuer(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Keys are among what is written, so the file is the owner's alone from the start.
fn write(path: PathBuf, text: &str) -> Result<PathBuf, LabError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(path),
        Err(error) => Err(LabError::Write { path, error }),
    }
}
