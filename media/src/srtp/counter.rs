//! AES counter mode (RFC 3711, 4.1.1), by one of two libraries: which one is faster depends on the CPU
//! ([`super::primitives`]).

use super::primitives::Library;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use aes::{Aes128Enc, Aes256Enc, Block};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// Blocks of keystream that are made at a time: a packet of 20 ms of G.711 has ten.
const BLOCKS: usize = 16;

/// An expanded AES key. The usual one is at hand, as what is in a box has to be fetched first.
pub(super) enum Counter {
    Aes128(Aes128Enc),
    Aes256(Box<Aes256Enc>),
    AwsLc(Box<EncryptingKey>),
}

impl Counter {
    /// Of 16 or 32 octets of key.
    #[expect(
        clippy::expect_used,
        reason = "AES refuses no 16 or 32 octets, and suites have no others"
    )]
    pub(super) fn new(library: Library, key: &[u8]) -> Self {
        match (library, key.len()) {
            (Library::AwsLc, len) => {
                let algorithm = if len == 32 { &AES_256 } else { &AES_128 };
                let key = UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr);
                Self::AwsLc(Box::new(key.expect("an AES key")))
            }
            (Library::RustCrypto, 32) => Self::Aes256(Box::new(expanded(key))),
            (Library::RustCrypto, _) => Self::Aes128(expanded(key)),
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
            Self::Aes128(key) => apply(key, iv, octets),
            Self::Aes256(key) => apply(&**key, iv, octets),
        }
    }
}

/// The same under a key that is used once and not kept.
pub(super) fn apply_once(key: &[u8], iv: [u8; 16], octets: &mut [u8]) {
    match key.len() {
        32 => apply(&expanded::<Aes256Enc>(key), iv, octets),
        _ => apply(&expanded::<Aes128Enc>(key), iv, octets),
    }
}

#[expect(clippy::expect_used, reason = "AES refuses no 16 or 32 octets, and suites have no others")]
pub(super) fn expanded<K: KeyInit>(key: &[u8]) -> K {
    K::new_from_slice(key).expect("an AES key")
}

fn apply<K>(key: &K, iv: [u8; 16], octets: &mut [u8])
where
    K: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let mut counter = u128::from_be_bytes(iv);
    for octets in octets.chunks_mut(16 * BLOCKS) {
        let mut stream = [Block::default(); BLOCKS];
        let stream = &mut stream[..octets.len().div_ceil(16)];
        for block in &mut *stream {
            *block = counter.to_be_bytes().into();
            counter = counter.wrapping_add(1);
        }
        key.encrypt_blocks(stream);
        let (whole, rest) = octets.as_chunks_mut::<16>();
        let mut stream = stream.iter();
        for (octets, block) in whole.iter_mut().zip(&mut stream) {
            let both = u128::from_ne_bytes(*octets) ^ u128::from_ne_bytes(block.0);
            *octets = both.to_ne_bytes();
        }
        for (octet, block) in rest.iter_mut().zip(stream.next().into_iter().flatten()) {
            *octet ^= block;
        }
    }
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
