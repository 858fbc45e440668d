//! What a crypto suite does with one packet: AES-CM and truncated HMAC-SHA1 (RFC 3711, 4.1 and 4.2;
//! RFC 6188), or AES-GCM (RFC 7714).
//!
//! ```text
//!  AES-CM   SRTP    header | payload* | MKI | tag          the tag covers header, payload and ROC
//!           SRTCP   8 octets | rest* | E, index | MKI | tag
//!  GCM      SRTP    header | payload* | tag | MKI          the tag covers header and payload
//!           SRTCP   8 octets | rest* | tag | E, index | MKI
//! ```

use super::PacketIndex;
use super::counter::Counter;
use super::kdf::{Protocol, SessionKeys};
use super::mac::{DIGEST, Mac};
use super::primitives;
use crate::packet::{PACKET_MAX, TAILROOM};
use crate::{DropReason, PacketBuf};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use sdp::{SrtpKey, Suite};
use std::num::NonZeroU8;
use subtle::ConstantTimeEq;

/// The tag of AES-GCM, which is never shortened (RFC 7714, 13.2).
pub(super) const GCM_TAG: usize = 16;

/// The session keys of SRTP, expanded and pre-keyed.
pub(super) struct Session {
    salt: [u8; 14],
    cipher: Cipher,
}

enum Cipher {
    Counter { key: Counter, mac: Mac, tag_len: u8 },
    Galois(LessSafeKey),
}

/// Where a packet is opened before it is known to be authentic: a cipher that authenticates by opening
/// spoils what it refuses, and that packet may be due another trial.
pub(super) type Scratch<'s> = &'s mut [u8];

/// Speech of a packet is no longer, in any of the usual codecs.
const SPEECH_MAX: usize = 256;

/// Calls with as much scratch as a packet needs: little for speech, as all of it is cleared first.
pub(super) fn with_scratch<T>(
    is_aead: bool,
    packet_len: usize,
    call: impl FnOnce(Scratch<'_>) -> T,
) -> T {
    match is_aead {
        false => call(&mut []),
        true if packet_len > SPEECH_MAX => call(&mut [0; PACKET_MAX + TAILROOM]),
        true => call(&mut [0; SPEECH_MAX]),
    }
}

impl Session {
    /// Of a master key.
    pub(super) fn new(key: &SrtpKey) -> Self {
        let keys = SessionKeys::derive(key, Protocol::Srtp);
        let cipher = match tag_len(key.suite(), Protocol::Srtp) {
            Some(tag_len) => Cipher::Counter {
                key: Counter::new(primitives::chosen().counter_mode, keys.encryption()),
                mac: Mac::new(&keys.authentication),
                tag_len: tag_len as u8,
            },
            None => Cipher::Galois(galois_mode(keys.encryption())),
        };
        Self { cipher, salt: keys.salt }
    }

    /// Octets of tag of a packet.
    pub(super) const fn tag_len(&self) -> usize {
        match &self.cipher {
            Cipher::Counter { tag_len, .. } => *tag_len as usize,
            Cipher::Galois(_) => GCM_TAG,
        }
    }

    /// Turns the RTP packet `index` of `ssrc`, whose payload starts at `payload_at`, into SRTP. The
    /// slot has room for it.
    pub(super) fn seal(
        &self,
        slot: &mut PacketBuf,
        payload_at: usize,
        (ssrc, index): (u32, PacketIndex),
        mki: Option<Mki>,
    ) -> Result<(), DropReason> {
        let end = slot.len();
        let mki_len = mki.map_or(0, Mki::len);
        match &self.cipher {
            Cipher::Counter { key, mac, tag_len } => {
                let tag_len = usize::from(*tag_len);
                let octets = &mut slot.packet_mut()[payload_at..];
                key.apply(counter(&self.salt, ssrc, index.get()), octets);
                slot.set_len(end + mki_len + tag_len);
                let (sent, trailer) = slot.packet_mut().split_at_mut(end);
                let (carried, tag) = trailer.split_at_mut(mki_len);
                write_mki(mki, carried);
                let whole = mac.tag(sent, &index.roc().to_be_bytes());
                tag.copy_from_slice(&whole[..tag_len]);
            }
            Cipher::Galois(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce(&self.salt, ssrc, index.get()));
                let (header, octets) = slot.packet_mut().split_at_mut(payload_at);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&header[..]), octets)
                    .map_err(|_| DropReason::Malformed)?;
                slot.set_len(end + GCM_TAG + mki_len);
                let (written, carried) = slot.packet_mut()[end..].split_at_mut(GCM_TAG);
                written.copy_from_slice(tag.as_ref());
                write_mki(mki, carried);
            }
        }
        Ok(())
    }

    /// Whether an SRTP packet is authentic as `index` of `ssrc`; then, where its payload ends.
    pub(super) fn check(
        &self,
        packet: &[u8],
        payload_at: usize,
        (ssrc, index): (u32, PacketIndex),
        mki: Option<Mki>,
        scratch: Scratch<'_>,
    ) -> Option<usize> {
        match &self.cipher {
            Cipher::Counter { mac, tag_len, .. } => {
                let (rest, tag) = split_end(packet, usize::from(*tag_len))?;
                let sent = without_mki(rest, mki).filter(|sent| sent.len() >= payload_at)?;
                is_tag(&mac.tag(sent, &index.roc().to_be_bytes()), tag).then_some(sent.len())
            }
            Cipher::Galois(key) => {
                let (sent, tag) = split_end(without_mki(packet, mki)?, GCM_TAG)?;
                let (header, sealed) = sent.split_at_checked(payload_at)?;
                let nonce = Nonce::assume_unique_for_key(nonce(&self.salt, ssrc, index.get()));
                let plain = scratch.get_mut(..sealed.len())?;
                key.open_separate_gather(nonce, Aad::from(header), sealed, tag, plain).ok()?;
                Some(sent.len())
            }
        }
    }

    /// Opens a packet that [`Self::check`] has just found authentic, up to where its payload ends.
    pub(super) fn open(
        &self,
        slot: &mut PacketBuf,
        (payload_at, end): (usize, usize),
        (ssrc, index): (u32, PacketIndex),
        scratch: Scratch<'_>,
    ) {
        let octets = &mut slot.packet_mut()[payload_at..end];
        match &self.cipher {
            Cipher::Counter { key, .. } => {
                key.apply(counter(&self.salt, ssrc, index.get()), octets);
            }
            Cipher::Galois(_) => octets.copy_from_slice(&scratch[..end - payload_at]),
        }
        slot.set_len(end);
    }
}

/// IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16) (RFC 3711, 4.1.1).
pub(super) fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    let mixed = u128::from_be_bytes(iv) ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
    mixed.to_be_bytes()
}

/// 16 bits of zeros, the SSRC and 48 bits of index, XORed with the salt (RFC 7714, 8.1 and 9.1).
pub(super) fn nonce(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 12] {
    let mut iv = [0; 16];
    iv[4..].copy_from_slice(&salt[..12]);
    let mixed = u128::from_be_bytes(iv) ^ u128::from(ssrc) << 48 ^ u128::from(index);
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&mixed.to_be_bytes()[4..]);
    nonce
}

/// Whether a packet carries this tag, shortened or not.
pub(super) fn is_tag(whole: &[u8; DIGEST], carried: &[u8]) -> bool {
    whole[..carried.len().min(DIGEST)].ct_eq(carried).into()
}

/// The master key identifier as packets carry it (RFC 3711, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mki {
    /// Most significant octet first: so it fits beside what else a packet needs.
    value: [u8; 4],
    len: NonZeroU8,
}

impl Mki {
    /// That of a key, if packets under it carry one.
    pub(super) fn of(key: &SrtpKey) -> Option<Self> {
        let (value, len) = key.mki()?;
        NonZeroU8::new(len).map(|len| Self { value: value.to_be_bytes(), len })
    }

    pub(super) const fn len(self) -> usize {
        self.len.get() as usize
    }

    /// The octet `at` of the value written with `len` octets, most significant first.
    fn octet(self, at: usize) -> u8 {
        let behind = self.len() - at;
        self.value.len().checked_sub(behind).map_or(0, |at| self.value[at])
    }

    fn matches(self, octets: &[u8]) -> bool {
        octets.len() == self.len() && octets.iter().enumerate().all(|(at, &o)| o == self.octet(at))
    }

    fn write(self, octets: &mut [u8]) {
        for (at, octet) in octets.iter_mut().enumerate().take(self.len()) {
            *octet = self.octet(at);
        }
    }
}

pub(super) fn write_mki(mki: Option<Mki>, octets: &mut [u8]) {
    if let Some(mki) = mki {
        mki.write(octets);
    }
}

/// What stands before the MKI; `None` if another does, or none.
pub(super) fn without_mki(packet: &[u8], mki: Option<Mki>) -> Option<&[u8]> {
    let Some(mki) = mki else { return Some(packet) };
    let (sent, carried) = split_end(packet, mki.len())?;
    mki.matches(carried).then_some(sent)
}

/// A packet and its last `len` octets, if it has so many.
pub(super) fn split_end(packet: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    packet.split_at_checked(packet.len().checked_sub(len)?)
}

/// Octets of HMAC tag; `None` for the AEAD suites. Those with HMAC have 80 bits of tag for SRTCP
/// (RFC 4568, 6.2.2).
pub(super) const fn tag_len(suite: Suite, protocol: Protocol) -> Option<usize> {
    match (suite, protocol) {
        (Suite::AesCm128HmacSha1_32, Protocol::Srtp) => Some(4),
        (
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::Aes256CmHmacSha1_80,
            _,
        ) => Some(10),
        (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm, _) => None,
    }
}

#[expect(clippy::expect_used, reason = "AES refuses no 16 or 32 octets, and suites have no others")]
fn galois_mode(key: &[u8]) -> LessSafeKey {
    let algorithm = if key.len() == 32 { &aead::AES_256_GCM } else { &aead::AES_128_GCM };
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("an AES key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mki_longer_than_its_value_has_leading_zeros() {
        let mki = Mki { value: [0, 0, 1, 2], len: NonZeroU8::new(6).unwrap() };
        assert!(mki.matches(&[0, 0, 0, 0, 1, 2]));
        assert!(!mki.matches(&[1, 0, 0, 0, 1, 2]));
        let mut written = [9; 6];
        mki.write(&mut written);
        assert!(mki.matches(&written));
    }
}
