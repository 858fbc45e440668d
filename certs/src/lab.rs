//! A throw-away certificate authority for the demo, the emulated peers and tests.
//!
//! Its keys live in memory and in files it is told to write; nobody outside trusts it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A root with one intermediate under it, as public authorities have them.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// What kind of key to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// ECDSA P-256: made at once.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA with 2048 bits, which Teams' suites need; takes some hundred milliseconds.
    Rsa2048,
    /// RSA with 4096 bits; takes seconds.
    Rsa4096,
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

/// A leaf to be issued.
#[derive(Clone, Debug, Default)]
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

/// A leaf with its chain and key.
pub struct Leaf {
    chain: String,
    der: Vec<u8>,
    key: String,
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
        let der = certificate.der().to_vec();
        Ok(Leaf { chain, der, key: key.serialize_pem() })
    }
}

impl Leaf {
    /// The leaf and the intermediate, in PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// The leaf's certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.der
    }

    /// The key, in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// Writes `DIR/NAME.pem` and `DIR/NAME.key`, the latter for the owner only; returns both paths.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf), LabError> {
        let chain = write(dir.join(format!("{name}.pem")), &self.chain)?;
        let key = write(dir.join(format!("{name}.key")), &self.key)?;
        Ok((chain, key))
    }
}

impl Key {
    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
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
