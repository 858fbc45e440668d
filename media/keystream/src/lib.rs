//! AES in counter mode over a packet (RFC 3711, 4.1.1), by the crate `aes`.
//!
//! A crate of its own for the sake of speed. Where the CPU has VAES, `aes` spreads every round key over wide
//! registers before it asks what for, and no packet of speech has the 30 or 64 blocks that they serve. The
//! compiler leaves that out where all of it comes together in one function, which it does if that has one
//! caller for each size of key in its unit of code: `Stream` here, and nothing else. Ten blocks take a
//! third of the time then (perf/LOG.md).

#![forbid(unsafe_code)]

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use aes::{Aes128Enc, Aes256Enc, Block};

/// An expanded key of 128 bits.
pub struct Aes128(Aes128Enc);

/// An expanded key of 256 bits.
pub struct Aes256(Aes256Enc);

impl Aes128 {
    /// Expands a key.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Aes128Enc::new(key.into()))
    }

    /// Encrypts or decrypts under an initial counter: both are the same XOR.
    pub fn apply(&self, iv: [u8; 16], octets: &mut [u8]) {
        self.0.encrypt_with_backend(Stream { counter: u128::from_be_bytes(iv), octets });
    }
}

impl Aes256 {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Enc::new(key.into()))
    }

    /// Encrypts or decrypts under an initial counter: both are the same XOR.
    pub fn apply(&self, iv: [u8; 16], octets: &mut [u8]) {
        self.0.encrypt_with_backend(Stream { counter: u128::from_be_bytes(iv), octets });
    }
}

/// What is asked of a cipher: block by block, as the processor has several under way by itself.
struct Stream<'p> {
    counter: u128,
    octets: &'p mut [u8],
}

impl BlockSizeUser for Stream<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Stream<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, cipher: &B) {
        let mut counter = self.counter;
        let mut next = || {
            let mut block = Block::from(counter.to_be_bytes());
            cipher.encrypt_block_inplace(&mut block);
            counter = counter.wrapping_add(1);
            block.0
        };
        let (whole, rest) = self.octets.as_chunks_mut::<16>();
        for octets in whole {
            let both = u128::from_ne_bytes(*octets) ^ u128::from_ne_bytes(next());
            *octets = both.to_ne_bytes();
        }
        if !rest.is_empty() {
            rest.iter_mut().zip(next()).for_each(|(octet, key)| *octet ^= key);
        }
    }
}
