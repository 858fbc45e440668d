//! Why a peer's certificate was refused: return value, metric label and log field at once.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// A refusal of a peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRefusal {
    /// It showed none.
    NoCertificate,
    /// No chain leads from it to an accepted root.
    UnknownIssuer,
    /// It carries none of the names that it must carry.
    NameMismatch,
    /// It, or one above it, is expired or not valid yet.
    Expired,
    /// It speaks no version of TLS that we do (TDR-TLS-002).
    TlsVersion,
    /// It is malformed, its signature is wrong, or it is not meant for TLS.
    BadCertificate,
}

impl PeerRefusal {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::NoCertificate,
        Self::UnknownIssuer,
        Self::NameMismatch,
        Self::Expired,
        Self::TlsVersion,
        Self::BadCertificate,
    ];

    /// The word for it in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NameMismatch => "name_mismatch",
            Self::Expired => "expired",
            Self::TlsVersion => "tls_version_unsupported",
            Self::BadCertificate => "bad_certificate",
        }
    }

    /// The refusal behind a failed handshake; `None` if it failed for another reason.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::NoCertificatesPresented => Some(Self::NoCertificate),
            Error::InvalidCertificate(reason) => Some(match reason {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::NameMismatch,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::BadCertificate,
            }),
            Error::PeerIncompatible(
                // Who names no signature algorithms is older than TLS 1.2, which has brought them.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | Error::AlertReceived(AlertDescription::ProtocolVersion) => Some(Self::TlsVersion),
            _ => None,
        }
    }
}

impl std::fmt::Display for PeerRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<webpki::Error> for PeerRefusal {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            // A root of that name is here, but it is not the one that signed: somebody else's.
            E::UnknownIssuer
            | E::InvalidSignatureForPublicKey
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::UnknownIssuer,
            E::CertNotValidForName(_) => Self::NameMismatch,
            E::CertExpired { .. } | E::CertNotValidYet { .. } => Self::Expired,
            _ => Self::BadCertificate,
        }
    }
}

/// So that the far side gets the alert that fits (RFC 8446, 6.2).
impl From<PeerRefusal> for Error {
    fn from(refusal: PeerRefusal) -> Self {
        match refusal {
            PeerRefusal::NoCertificate => Self::NoCertificatesPresented,
            PeerRefusal::UnknownIssuer => CertificateError::UnknownIssuer.into(),
            PeerRefusal::NameMismatch => CertificateError::NotValidForName.into(),
            PeerRefusal::Expired => CertificateError::Expired.into(),
            PeerRefusal::TlsVersion => PeerIncompatible::Tls12NotOfferedOrEnabled.into(),
            PeerRefusal::BadCertificate => CertificateError::BadEncoding.into(),
        }
    }
}
