//! The certificate that this process shows in DTLS handshakes of the media (RFC 5763): self-signed,
//! as its fingerprint in SDP is what the far side believes.

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A certificate with its key, both in memory alone.
pub struct SelfSigned {
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its ECDSA P-256 key, PKCS #8 in DER.
    pub key: Vec<u8>,
    /// The SHA-256 digest of the certificate.
    pub sha256: [u8; 32],
}

/// Makes one. Nothing in it tells who we are: whoever sees the handshake has no business with that.
pub fn self_signed() -> Result<SelfSigned, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "DTLS");
    let certificate = params.self_signed(&key)?.der().to_vec();
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, &certificate).as_ref());
    Ok(SelfSigned { certificate, key: key.serialize_der(), sha256 })
}

#[cfg(test)]
mod tests {
    use super::self_signed;

    #[test]
    fn no_two_processes_show_the_same_certificate() -> Result<(), rcgen::Error> {
        let (one, other) = (self_signed()?, self_signed()?);
        assert_ne!(one.sha256, other.sha256);
        assert_ne!(one.key, other.key);
        Ok(())
    }
}
