//! What certificates say of themselves.

use crate::pem::FileProblem;
use rustls::pki_types::CertificateDer;
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

/// What a chain says about itself.
pub(crate) struct Facts {
    pub(crate) names: Vec<String>,
    pub(crate) end: End,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) kind: KeyKind,
    pub(crate) purposes: Purposes,
}

impl Facts {
    pub(crate) fn read(chain: &[CertificateDer<'_>]) -> Result<Self, FileProblem> {
        let parsed = chain.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        for (at, pair) in parsed.windows(2).enumerate() {
            if let [one, next] = pair
                && one.issuer().as_raw() != next.subject().as_raw()
            {
                return Err(FileProblem::OutOfOrder {
                    number: at + 1,
                    issuer: one.issuer().to_string(),
                    next: next.subject().to_string(),
                });
            }
        }
        let leaf = parsed.first().ok_or(FileProblem::NoCertificate)?;
        let validity = leaf.validity();
        let last = parsed.last().ok_or(FileProblem::NoCertificate)?;
        Ok(Self {
            names: names(leaf),
            end: End {
                issuer: without_sequence(last.issuer().as_raw()).to_vec(),
                name: last.issuer().to_string(),
                is_root: last.issuer().as_raw() == last.subject().as_raw(),
            },
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            kind: key_kind(leaf),
            purposes: purposes(leaf),
        })
    }
}

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, FileProblem> {
    X509Certificate::from_der(certificate.as_ref())
        .map(|(_, parsed)| parsed)
        .map_err(|error| FileProblem::NotX509(error.to_string()))
}

/// The content of a DER sequence: trust anchors have their subject so (RFC 5280, 4.1.2.4).
fn without_sequence(der: &[u8]) -> &[u8] {
    let head = match der.get(1) {
        Some(length) if length & 0x80 != 0 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    der.get(head..).unwrap_or_default()
}

/// The alternative names of a certificate, as [`crate::Identity::names`] has them; none, if it cannot be read.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    parse(certificate).map(|leaf| names(&leaf)).unwrap_or_default()
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*octets) {
                Some(std::net::Ipv4Addr::from(v4).to_string())
            } else {
                let v6 = <[u8; 16]>::try_from(*octets).ok()?;
                Some(std::net::Ipv6Addr::from(v6).to_string())
            }
        }
        _ => None,
    }
}

fn key_kind(leaf: &X509Certificate<'_>) -> KeyKind {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
        Ok(PublicKey::EC(point)) => KeyKind::Ecdsa(point.key_size()),
        _ => KeyKind::Other,
    }
}

fn purposes(leaf: &X509Certificate<'_>) -> Purposes {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) => Purposes {
            server: usage.value.any || usage.value.server_auth,
            client: usage.value.any || usage.value.client_auth,
        },
        Ok(None) => Purposes { server: true, client: true },
        Err(_) => Purposes { server: false, client: false },
    }
}

/// What lies before 1970 is long over, and begins with it here: times before it cannot be written down
/// everywhere (RFC 3339 texts of them make `humantime` panic).
fn moment(timestamp: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(timestamp).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with this many bits: what Teams' cipher suites need (TDR-TLS-003, TDR-CRT-002).
    Rsa(usize),
    /// ECDSA over a curve of this many bits.
    Ecdsa(usize),
    /// Something else.
    Other,
}

/// What the certificate says it is for (RFC 5280, 4.2.1.12); without the extension, everything.
#[derive(Clone, Copy)]
pub(crate) struct Purposes {
    pub(crate) server: bool,
    pub(crate) client: bool,
}

/// Where the chain of a file ends.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Issuer of its last certificate, as DER without the outermost sequence, as trust anchors have it.
    pub(crate) issuer: Vec<u8>,
    /// The same in words.
    pub(crate) name: String,
    /// It has issued itself.
    pub(crate) is_root: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};

    #[test]
    fn a_certificate_of_times_before_1970_is_one_that_is_over_and_can_be_told_of() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["sbc1.example.net".to_owned()]).unwrap();
        for (from, until) in [(1955, 1965), (1, 2)] {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
            let certificate = params.self_signed(&key).unwrap();
            let facts = Facts::read(&[certificate.der().clone()]).unwrap();
            assert_eq!([facts.not_before, facts.not_after], [SystemTime::UNIX_EPOCH; 2]);
        }
    }
}
