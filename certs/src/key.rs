//! Keys as they are made: for requests by ACME, and in the laboratory.

use crate::facts::KeyKind;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};

/// What kind of key to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with 2048 bits: Teams' cipher suites need RSA (TDR-CRT-002). Takes some hundred milliseconds.
    #[default]
    Rsa2048,
    /// RSA with 4096 bits; takes seconds to make.
    Rsa4096,
    /// ECDSA P-256, for trunks that are not Teams; made at once.
    P256,
    /// ECDSA P-384.
    P384,
}

impl KeyType {
    /// The kind that a certificate with such a key says.
    pub const fn kind(self) -> KeyKind {
        match self {
            Self::Rsa2048 => KeyKind::Rsa(2048),
            Self::Rsa4096 => KeyKind::Rsa(4096),
            Self::P256 => KeyKind::Ecdsa(256),
            Self::P384 => KeyKind::Ecdsa(384),
        }
    }

    pub(crate) fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        }
    }
}
