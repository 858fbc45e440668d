//! Crypto suites of SRTP (RFC 4568, 6.2; RFC 6188, 4; RFC 7714, 14.2), and master keys for them.

use rand_core::{CryptoRng, RngCore};
use zeroize::ZeroizeOnDrop;

/// An SRTP crypto suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES_CM_128_HMAC_SHA1_80.
    AesCm128HmacSha1_80,
    /// AES_CM_128_HMAC_SHA1_32: 32 bits of tag on media, 80 on SRTCP.
    AesCm128HmacSha1_32,
    /// AES_256_CM_HMAC_SHA1_80.
    Aes256CmHmacSha1_80,
    /// AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM.
    AeadAes256Gcm,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 5] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::Aes256CmHmacSha1_80,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// Its name in a crypto line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of a name, compared without case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| name.eq_ignore_ascii_case(suite.name()))
    }

    /// Octets of its master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::Aes256CmHmacSha1_80 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Octets of its master salt.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Octets of master key and salt.
    pub const fn key_salt_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Whether encryption and authentication are one (RFC 7714): a packet that was not opened was
    /// not authenticated.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

/// Some suites, first preferred, none twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Suites([Option<Suite>; Suite::ALL.len()]);

impl Suites {
    /// The two of RFC 4568 that every SDES peer knows, the longer tag first (TDR-SDP-002).
    pub const COMMON: Self = Self([
        Some(Suite::AesCm128HmacSha1_80),
        Some(Suite::AesCm128HmacSha1_32),
        None,
        None,
        None,
    ]);

    /// Each of them, in order of preference.
    pub fn iter(self) -> impl Iterator<Item = Suite> + Clone {
        self.0.into_iter().flatten()
    }

    /// The place of a suite, 0 for the preferred one; `None` if it is not among them.
    pub fn place(self, suite: Suite) -> Option<usize> {
        self.iter().position(|known| known == suite)
    }
}

impl Default for Suites {
    fn default() -> Self {
        Self::COMMON
    }
}

impl FromIterator<Suite> for Suites {
    fn from_iter<I: IntoIterator<Item = Suite>>(suites: I) -> Self {
        let mut kept = Self([None; Suite::ALL.len()]);
        for suite in suites {
            if kept.place(suite).is_none()
                && let Some(free) = kept.0.iter_mut().find(|place| place.is_none())
            {
                *free = Some(suite);
            }
        }
        kept
    }
}

impl std::fmt::Debug for Suites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Octets of the longest master key and salt.
const KEY_SALT_MAX: usize = Suite::Aes256CmHmacSha1_80.key_salt_len();

/// A master key and salt with their suite. Wiped when dropped; its `Debug` shows no key octet.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct SrtpKey {
    #[zeroize(skip)]
    suite: Suite,
    /// Master key, then master salt; zeros behind what the suite needs.
    key_salt: [u8; KEY_SALT_MAX],
    /// The MKI value and its length in octets that packets carry, if declared.
    #[zeroize(skip)]
    mki: Option<(u32, u8)>,
    /// The packets it may protect, if fewer than the protocol allows.
    #[zeroize(skip)]
    lifetime: Option<u64>,
    /// It is another leg's, told on so that nothing need be decrypted in between.
    #[zeroize(skip)]
    is_passed: bool,
}

impl SrtpKey {
    /// A key from its octets; `None` unless they are as many as the suite wants (TDR-SDP-004).
    pub fn from_octets(suite: Suite, octets: &[u8]) -> Option<Self> {
        let mut key = Self::zeros(suite);
        (octets.len() == suite.key_salt_len()).then_some(())?;
        key.octets().copy_from_slice(octets);
        Some(key)
    }
    /// The same key with an MKI of `len` octets.
    pub fn with_mki(mut self, value: u32, len: u8) -> Self {
        self.mki = Some((value, len));
        self
    }
    /// The same key for so many packets of each of SRTP and SRTCP (RFC 4568, 6.1).
    pub fn with_lifetime(mut self, packets: u64) -> Self {
        self.lifetime = Some(packets);
        self
    }
    /// A fresh key. Only a cryptographic generator can make one.
    pub fn generate<R: CryptoRng + RngCore>(suite: Suite, rng: &mut R) -> Self {
        let mut key = Self::zeros(suite);
        rng.fill_bytes(key.octets());
        key
    }
    /// The suite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }
    /// Key and salt, for key derivation only.
    pub fn key_salt(&self) -> &[u8] {
        &self.key_salt[..self.suite.key_salt_len()]
    }
    /// The MKI value and length in octets, if packets carry one.
    pub const fn mki(&self) -> Option<(u32, u8)> {
        self.mki
    }
    /// The same key as it is told to the far side of the other leg. Its owner protects under it, too:
    /// we may do so under SSRCs of ours alone.
    pub fn passed(mut self) -> Self {
        self.is_passed = true;
        self
    }
    /// Whether it is the key of another leg's far side.
    pub const fn is_passed(&self) -> bool {
        self.is_passed
    }
    /// The packets that it may protect, if they were declared.
    pub const fn lifetime(&self) -> Option<u64> {
        self.lifetime
    }
    /// Whether both are the same secret under the same suite, whatever was declared beside it: what
    /// was counted under one goes on under the other.
    pub fn is_same_secret(&self, other: &Self) -> bool {
        self.suite == other.suite && self.key_salt == other.key_salt
    }
    const fn zeros(suite: Suite) -> Self {
        Self { suite, key_salt: [0; KEY_SALT_MAX], mki: None, lifetime: None, is_passed: false }
    }
    fn octets(&mut self) -> &mut [u8] {
        &mut self.key_salt[..self.suite.key_salt_len()]
    }
}

impl std::fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SrtpKey({:?})", self.suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_is_none() {
        for (suite, len) in Suite::ALL.into_iter().zip([30, 30, 46, 28, 44]) {
            assert_eq!(suite.key_salt_len(), len);
            for other in [0, len - 1, len + 1, 64] {
                assert!(SrtpKey::from_octets(suite, &[7; 64][..other]).is_none());
            }
            let key = SrtpKey::from_octets(suite, &[7; 64][..len]).unwrap();
            assert_eq!(key.key_salt(), &[7; 64][..len]);
            assert_eq!(Suite::named(&suite.name().to_lowercase()), Some(suite));
        }
    }

    #[test]
    fn a_suite_named_twice_keeps_its_first_place() {
        let [long, short, ..] = Suite::ALL;
        let suites: Suites = [short, long, short].into_iter().chain(Suite::ALL).collect();
        assert_eq!(suites.iter().count(), 5);
        assert_eq!((suites.place(short), suites.place(long)), (Some(0), Some(1)));
        assert_eq!(Suites::COMMON.place(Suite::AeadAes128Gcm), None);
    }
}
