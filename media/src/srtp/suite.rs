//! What a crypto suite does with one packet: AES-CM and truncated HMAC-SHA1 (RFC 3711, 4.1 and 4.2).

use super::kdf::{Protocol, SessionKeys};
use crate::DropReason;
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use hmac::{Hmac, KeyInit, Mac};
use sdp::{SrtpKey, Suite};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// One master key with what was derived from it, ready for packets.
pub(super) struct Context {
    pub(super) rtp: Session,
    pub(super) rtcp: Session,
}

impl Context {
    pub(super) fn new(key: &SrtpKey) -> Self {
        Self { rtp: Session::new(key, Protocol::Srtp), rtcp: Session::new(key, Protocol::Srtcp) }
    }
}

/// The session keys of one protocol, expanded and pre-keyed.
pub(super) struct Session {
    cipher: EncryptingKey,
    salt: [u8; 14],
    /// Holds the state after the key's block; a packet works on a copy.
    mac: Hmac<Sha1>,
    tag_len: usize,
}

impl Session {
    fn new(key: &SrtpKey, protocol: Protocol) -> Self {
        let keys = SessionKeys::derive(key.key_salt(), protocol);
        // A key shorter than the block is padded with zeros to it (RFC 2104, 2).
        let mut padded = [0; 64];
        padded[..20].copy_from_slice(&keys.authentication);
        Self {
            cipher: counter_mode(&keys.encryption),
            salt: keys.salt,
            mac: Hmac::new(&padded.into()),
            tag_len: tag_len(key.suite(), protocol),
        }
    }

    /// Octets of tag behind a packet.
    pub(super) const fn tag_len(&self) -> usize {
        self.tag_len
    }

    /// Encrypts or decrypts `octets` of the packet `index` of `ssrc`: both are the same XOR.
    pub(super) fn apply(&self, ssrc: u32, index: u64, octets: &mut [u8]) -> Result<(), DropReason> {
        if octets.is_empty() {
            return Ok(());
        }
        // IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16) (RFC 3711, 4.1.1).
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        self.cipher
            .less_safe_encrypt(octets, EncryptionContext::Iv128(FixedLength::from(iv)))
            .map(drop)
            .map_err(|_| DropReason::Malformed)
    }

    /// The whole HMAC over what is sent and what is not (the ROC).
    fn mac(&self, sent: &[u8], implied: &[u8]) -> [u8; 20] {
        let mut mac = self.mac.clone();
        mac.update(sent);
        mac.update(implied);
        mac.finalize().into_bytes().into()
    }

    /// Writes the tag over `sent` and `implied` into `tag`, which is [`Self::tag_len`] long.
    pub(super) fn write_tag(&self, sent: &[u8], implied: &[u8], tag: &mut [u8]) {
        tag.copy_from_slice(&self.mac(sent, implied)[..self.tag_len]);
    }

    /// Whether `tag` is right, in constant time.
    pub(super) fn tag_is_right(&self, sent: &[u8], implied: &[u8], tag: &[u8]) -> bool {
        self.mac(sent, implied)[..self.tag_len].ct_eq(tag).into()
    }
}

/// The master key identifier as packets carry it, before the tag (RFC 3711, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mki {
    value: u32,
    len: usize,
}

impl Mki {
    /// That of a key, if packets under it carry one.
    pub(super) fn of(key: &SrtpKey) -> Option<Self> {
        key.mki().map(|(value, len)| Self { value, len: usize::from(len) })
    }

    pub(super) const fn len(self) -> usize {
        self.len
    }

    /// The octet `at` of the value written with `len` octets, most significant first.
    fn octet(self, at: usize) -> u8 {
        let shift = 8 * (self.len - 1 - at);
        if shift < 32 { (self.value >> shift) as u8 } else { 0 }
    }

    pub(super) fn matches(self, octets: &[u8]) -> bool {
        octets.len() == self.len && octets.iter().enumerate().all(|(at, &o)| o == self.octet(at))
    }

    pub(super) fn write(self, octets: &mut [u8]) {
        for (at, octet) in octets.iter_mut().enumerate().take(self.len) {
            *octet = self.octet(at);
        }
    }
}

/// Both suites have 80 bits of tag for SRTCP (RFC 4568, 6.2.2).
const fn tag_len(suite: Suite, protocol: Protocol) -> usize {
    match (suite, protocol) {
        (Suite::AesCm128HmacSha1_32, Protocol::Srtp) => 4,
        (Suite::AesCm128HmacSha1_80, _) | (Suite::AesCm128HmacSha1_32, Protocol::Srtcp) => 10,
    }
}

#[expect(clippy::expect_used, reason = "AES-128 refuses no 16 octets, and the type holds 16")]
fn counter_mode(key: &[u8; 16]) -> EncryptingKey {
    UnboundCipherKey::new(&AES_128, key)
        .and_then(EncryptingKey::ctr)
        .expect("16 octets are an AES-128 key")
}

/// AES-CM keystream from `counter` on; for key derivation.
#[expect(clippy::expect_used, reason = "counter mode takes any length under a 16-octet IV")]
pub(super) fn keystream(key: &[u8; 16], counter: [u8; 16], out: &mut [u8]) {
    out.fill(0);
    counter_mode(key)
        .less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(counter)))
        .expect("counter mode takes any length");
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (a, b) in into.iter_mut().zip(with) {
        *a ^= b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mki_longer_than_its_value_has_leading_zeros() {
        let mki = Mki { value: 0x0102, len: 6 };
        assert!(mki.matches(&[0, 0, 0, 0, 1, 2]));
        assert!(!mki.matches(&[1, 0, 0, 0, 1, 2]));
        let mut written = [9; 6];
        mki.write(&mut written);
        assert!(mki.matches(&written));
    }
}
