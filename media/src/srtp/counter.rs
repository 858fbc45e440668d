//! AES counter mode (RFC 3711, 4.1.1), by one of two libraries: which one is faster depends on the CPU
//! ([`super::primitives`]).

use super::primitives::Library;
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use keystream::{Aes128, Aes256};

/// An expanded AES key. The usual one is at hand, as what is in a box has to be fetched first.
pub(super) enum Counter {
    Aes128(Aes128),
    Aes256(Box<Aes256>),
    AwsLc(Box<EncryptingKey>),
}

impl Counter {
    /// Of 16 or 32 octets of key.
    #[expect(clippy::expect_used, reason = "aws-lc refuses no 16 or 32 octets")]
    pub(super) fn new(library: Library, key: &[u8]) -> Self {
        match (library, key.len()) {
            (Library::AwsLc, len) => {
                let algorithm = if len == 32 { &AES_256 } else { &AES_128 };
                let key = UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr);
                Self::AwsLc(Box::new(key.expect("an AES key")))
            }
            (Library::RustCrypto, 32) => Self::Aes256(Box::new(Aes256::new(octets(key)))),
            (Library::RustCrypto, _) => Self::Aes128(Aes128::new(octets(key))),
        }
    }

    /// Encrypts or decrypts: both are the same XOR.
    #[expect(clippy::expect_used, reason = "counter mode takes any length under a 16-octet IV")]
    pub(super) fn apply(&self, iv: [u8; 16], octets: &mut [u8]) {
        match self {
            Self::AwsLc(_) if octets.is_empty() => {}
            Self::AwsLc(key) => {
                let iv = EncryptionContext::Iv128(FixedLength::from(iv));
                key.less_safe_encrypt(octets, iv).expect("counter mode takes any length");
            }
            Self::Aes128(key) => key.apply(iv, octets),
            Self::Aes256(key) => key.apply(iv, octets),
        }
    }
}

/// The same under a key that is used once and not kept.
pub(super) fn apply_once(key: &[u8], iv: [u8; 16], stream: &mut [u8]) {
    match key.len() {
        32 => Aes256::new(octets(key)).apply(iv, stream),
        _ => Aes128::new(octets(key)).apply(iv, stream),
    }
}

/// A key whose length the suite says.
#[expect(clippy::expect_used, reason = "suites have keys of 16 and of 32 octets")]
fn octets<const N: usize>(key: &[u8]) -> &[u8; N] {
    key.try_into().expect("an AES key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_say_the_same_of_every_length_over_every_carry() {
        let plain: Vec<u8> = (0..600u16).map(|n| n as u8).collect();
        for key in [&[0x5a; 16][..], &[0xa5; 32]] {
            let all = [Library::AwsLc, Library::RustCrypto].map(|of| Counter::new(of, key));
            for iv in [[3; 16], [0xff; 16], u128::MAX.rotate_left(8).to_be_bytes()] {
                for len in 0..plain.len() {
                    let [one, other] = all.each_ref().map(|counter| {
                        let mut octets = plain[..len].to_vec();
                        counter.apply(iv, &mut octets);
                        octets
                    });
                    let mut once = plain[..len].to_vec();
                    apply_once(key, iv, &mut once);
                    assert!(one == other && one == once, "{len}");
                }
            }
        }
    }
}
