//! HMAC-SHA1 under one key (RFC 2104), on the compression function itself: a packet costs the blocks it
//! has and one more. (Buffered by block, as a general hash must be, it costs half as much again.)

use sha1::block_api::compress;
use zeroize::ZeroizeOnDrop;

/// A block of SHA-1, in octets.
const BLOCK: usize = 64;
/// Its output, in octets.
pub(super) const DIGEST: usize = 20;
/// Behind what is hashed stand one octet and its length in bits (FIPS 180-4, 5.1.1).
const LENGTH: usize = 8;
/// The state that SHA-1 begins with (FIPS 180-4, 5.3.1).
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// A key that is hashed already, inside and outside. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct Mac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Mac {
    /// For a key no longer than a block, as those of SRTP are.
    pub(super) fn new(key: &[u8; DIGEST]) -> Self {
        let hashed = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            state
        };
        Self { inner: hashed(0x36), outer: hashed(0x5c) }
    }

    /// The whole tag over what is sent and, behind it, what is not: the ROC, or nothing.
    pub(super) fn tag(&self, sent: &[u8], implied: &[u8]) -> [u8; DIGEST] {
        let mut state = self.inner;
        let (blocks, rest) = sent.as_chunks::<BLOCK>();
        compress(&mut state, blocks);
        let mut last = [[0; BLOCK]; 2];
        let octets = last.as_flattened_mut();
        octets[..rest.len()].copy_from_slice(rest);
        octets[rest.len()..rest.len() + implied.len()].copy_from_slice(implied);
        let end = rest.len() + implied.len();
        octets[end] = 0x80;
        let used = if end + 1 + LENGTH <= BLOCK { 1 } else { 2 };
        let bits = 8 * (BLOCK + sent.len() + implied.len()) as u64;
        octets[used * BLOCK - LENGTH..][..LENGTH].copy_from_slice(&bits.to_be_bytes());
        compress(&mut state, &last[..used]);

        let mut block = [0; BLOCK];
        block[..DIGEST].copy_from_slice(&written(state));
        block[DIGEST] = 0x80;
        let bits = 8 * (BLOCK + DIGEST) as u64;
        block[BLOCK - LENGTH..].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.outer;
        compress(&mut state, &[block]);
        written(state)
    }
}

fn written(state: [u32; 5]) -> [u8; DIGEST] {
    let mut octets = [0; DIGEST];
    for (octets, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *octets = word.to_be_bytes();
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

    #[test]
    fn every_length_has_the_tag_that_another_library_gives_it() {
        let octets: Vec<u8> = (0..300u16).map(|n| (n * 7) as u8).collect();
        let key: [u8; DIGEST] = std::array::from_fn(|n| n as u8 ^ 0xa5);
        let (mac, other) = (Mac::new(&key), Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key));
        for len in 0..=octets.len() {
            for implied in [0, 4.min(len)] {
                let (sent, behind) = octets[..len].split_at(len - implied);
                assert_eq!(mac.tag(sent, behind), sign(&other, &octets[..len]).as_ref(), "{len}");
            }
        }
    }
}
