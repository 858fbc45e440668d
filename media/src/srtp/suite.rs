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
use super::kdf::{Protocol, SessionKeys};
use crate::packet::{PACKET_MAX, TAILROOM};
use crate::{DropReason, PacketBuf};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use hmac::{Hmac, KeyInit, Mac};
use sdp::{SrtpKey, Suite};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// SRTCP's E flag, in the word with the index.
const ENCRYPTED: u32 = 1 << 31;
/// The part of an RTCP packet that stays readable: header and sender SSRC.
pub(super) const RTCP_CLEAR: usize = 8;
/// The tag of AES-GCM, which is never shortened (RFC 7714, 13.2).
const GCM_TAG: usize = 16;

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
    cipher: Cipher,
    salt: [u8; 14],
}

enum Cipher {
    Counter {
        key: EncryptingKey,
        /// Holds the state after the key's block; a packet works on a copy.
        mac: Hmac<Sha1>,
        tag_len: usize,
    },
    Galois(LessSafeKey),
}

/// Where an authentic packet is opened that cannot be authenticated without.
///
/// A cipher that opens in place spoils what it refuses, and that packet may be due another trial.
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    /// Room for what packets under `keys` need: none, if all of them are checked before they are
    /// opened.
    pub(super) fn for_keys(keys: &[SrtpKey]) -> Self {
        let needed = keys.iter().any(|key| key.suite().is_aead());
        Self(vec![0; if needed { 2 * (PACKET_MAX + TAILROOM) } else { 0 }].into())
    }
}

/// An SRTCP packet that is authentic.
#[derive(Clone, Copy)]
pub(super) struct AuthenticRtcp {
    /// Where the RTCP packet ends.
    pub(super) end: usize,
    encrypted: bool,
    pub(super) index: u32,
}

impl Session {
    fn new(key: &SrtpKey, protocol: Protocol) -> Self {
        let keys = SessionKeys::derive(key, protocol);
        let cipher = match tag_len(key.suite(), protocol) {
            Some(tag_len) => {
                // A key shorter than the block is padded with zeros to it (RFC 2104, 2).
                let mut padded = [0; 64];
                padded[..20].copy_from_slice(&keys.authentication);
                let mac = Hmac::new(&padded.into());
                Cipher::Counter { key: counter_mode(keys.encryption()), mac, tag_len }
            }
            None => Cipher::Galois(galois_mode(keys.encryption())),
        };
        Self { cipher, salt: keys.salt }
    }

    /// Octets of tag of a packet.
    pub(super) const fn tag_len(&self) -> usize {
        match &self.cipher {
            Cipher::Counter { tag_len, .. } => *tag_len,
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
                let octets = &mut slot.packet_mut()[payload_at..];
                crypt(key, self.counter(ssrc, index.get()), octets)?;
                slot.set_len(end + mki_len + tag_len);
                let (sent, trailer) = slot.packet_mut().split_at_mut(end);
                let (carried, tag) = trailer.split_at_mut(mki_len);
                write_mki(mki, carried);
                let whole = authenticate(mac, sent, &index.roc().to_be_bytes());
                tag.copy_from_slice(&whole[..*tag_len]);
            }
            Cipher::Galois(key) => {
                let nonce = self.nonce(ssrc, index.get());
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

    /// Turns the RTCP packet in the slot into SRTCP under `index`. The slot has room for it.
    pub(super) fn seal_rtcp(
        &self,
        slot: &mut PacketBuf,
        ssrc: u32,
        index: u32,
        mki: Option<Mki>,
    ) -> Result<(), DropReason> {
        let end = slot.len();
        let mki_len = mki.map_or(0, Mki::len);
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.cipher {
            Cipher::Counter { key, mac, tag_len } => {
                let octets = &mut slot.packet_mut()[RTCP_CLEAR..];
                crypt(key, self.counter(ssrc, u64::from(index)), octets)?;
                slot.set_len(end + 4 + mki_len + tag_len);
                slot.packet_mut()[end..end + 4].copy_from_slice(&word);
                let (sent, trailer) = slot.packet_mut().split_at_mut(end + 4);
                let (carried, tag) = trailer.split_at_mut(mki_len);
                write_mki(mki, carried);
                tag.copy_from_slice(&authenticate(mac, sent, &[])[..*tag_len]);
            }
            Cipher::Galois(key) => {
                let nonce = self.nonce(ssrc, u64::from(index));
                let (clear, octets) = slot.packet_mut().split_at_mut(RTCP_CLEAR);
                let mut aad = [0; RTCP_CLEAR + 4];
                aad[..RTCP_CLEAR].copy_from_slice(clear);
                aad[RTCP_CLEAR..].copy_from_slice(&word);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), octets)
                    .map_err(|_| DropReason::Malformed)?;
                slot.set_len(end + GCM_TAG + 4 + mki_len);
                let (written, rest) = slot.packet_mut()[end..].split_at_mut(GCM_TAG);
                written.copy_from_slice(tag.as_ref());
                rest[..4].copy_from_slice(&word);
                write_mki(mki, &mut rest[4..]);
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
        scratch: &mut Scratch,
    ) -> Option<usize> {
        match &self.cipher {
            Cipher::Counter { mac, tag_len, .. } => {
                let (rest, tag) = split_end(packet, *tag_len)?;
                let sent = without_mki(rest, mki)?;
                (sent.len() >= payload_at).then_some(())?;
                let whole = authenticate(mac, sent, &index.roc().to_be_bytes());
                bool::from(whole[..*tag_len].ct_eq(tag)).then_some(sent.len())
            }
            Cipher::Galois(key) => {
                let (sent, tag) = split_end(without_mki(packet, mki)?, GCM_TAG)?;
                let (header, sealed) = sent.split_at_checked(payload_at)?;
                let nonce = self.nonce(ssrc, index.get());
                let plain = scratch.0.get_mut(..sealed.len())?;
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
        scratch: &Scratch,
    ) -> Result<(), DropReason> {
        let octets = &mut slot.packet_mut()[payload_at..end];
        match &self.cipher {
            Cipher::Counter { key, .. } => crypt(key, self.counter(ssrc, index.get()), octets)?,
            Cipher::Galois(_) => octets.copy_from_slice(&scratch.0[..end - payload_at]),
        }
        slot.set_len(end);
        Ok(())
    }

    /// The E flag and index of an SRTCP packet, before anything is known to be true of it.
    pub(super) fn rtcp_index(&self, packet: &[u8], mki: Option<Mki>) -> Option<u32> {
        let (_, word) = self.split_rtcp(packet, mki)?;
        Some(word & !ENCRYPTED)
    }

    /// Whether an SRTCP packet of `ssrc` is authentic.
    pub(super) fn check_rtcp(
        &self,
        packet: &[u8],
        ssrc: u32,
        mki: Option<Mki>,
        scratch: &mut Scratch,
    ) -> Option<AuthenticRtcp> {
        let (sent, word) = self.split_rtcp(packet, mki)?;
        let (encrypted, index) = (word & ENCRYPTED != 0, word & !ENCRYPTED);
        match &self.cipher {
            Cipher::Counter { mac, tag_len, .. } => {
                let (_, tag) = split_end(packet, *tag_len)?;
                let covered = packet.get(..sent.len() + 4)?;
                let whole = authenticate(mac, covered, &[]);
                let right = bool::from(whole[..*tag_len].ct_eq(tag));
                right.then_some(AuthenticRtcp { end: sent.len(), encrypted, index })
            }
            Cipher::Galois(key) => {
                let (sent, tag) = split_end(sent, GCM_TAG)?;
                let clear = if encrypted { RTCP_CLEAR } else { sent.len() };
                let (covered, sealed) = sent.split_at_checked(clear)?;
                let (plain, aad) = scratch.0.split_at_mut_checked(sealed.len())?;
                let aad = aad.get_mut(..clear + 4)?;
                aad[..clear].copy_from_slice(covered);
                aad[clear..].copy_from_slice(&word.to_be_bytes());
                let nonce = self.nonce(ssrc, u64::from(index));
                key.open_separate_gather(nonce, Aad::from(aad), sealed, tag, plain).ok()?;
                Some(AuthenticRtcp { end: sent.len(), encrypted, index })
            }
        }
    }

    /// Opens a packet that [`Self::check_rtcp`] has just found authentic.
    pub(super) fn open_rtcp(
        &self,
        slot: &mut PacketBuf,
        ssrc: u32,
        authentic: AuthenticRtcp,
        scratch: &Scratch,
    ) -> Result<(), DropReason> {
        slot.set_len(authentic.end);
        if !authentic.encrypted {
            return Ok(());
        }
        let octets = &mut slot.packet_mut()[RTCP_CLEAR..];
        match &self.cipher {
            Cipher::Counter { key, .. } => {
                crypt(key, self.counter(ssrc, u64::from(authentic.index)), octets)
            }
            Cipher::Galois(_) => {
                octets.copy_from_slice(&scratch.0[..octets.len()]);
                Ok(())
            }
        }
    }

    /// An SRTCP packet up to the word with E flag and index, and that word.
    fn split_rtcp<'p>(&self, packet: &'p [u8], mki: Option<Mki>) -> Option<(&'p [u8], u32)> {
        let behind = match &self.cipher {
            Cipher::Counter { tag_len, .. } => split_end(packet, *tag_len)?.0,
            Cipher::Galois(_) => packet,
        };
        let (sent, word) = without_mki(behind, mki)?.split_last_chunk::<4>()?;
        (sent.len() >= RTCP_CLEAR).then_some((sent, u32::from_be_bytes(*word)))
    }

    /// IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16) (RFC 3711, 4.1.1).
    fn counter(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        iv
    }

    /// 16 bits of zeros, the SSRC and 48 bits of index, XORed with the salt (RFC 7714, 8.1 and 9.1).
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut iv = [0; 12];
        iv.copy_from_slice(&self.salt[..12]);
        xor(&mut iv[2..6], &ssrc.to_be_bytes());
        xor(&mut iv[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(iv)
    }
}

/// The master key identifier as packets carry it (RFC 3711, 3.1).
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

    fn matches(self, octets: &[u8]) -> bool {
        octets.len() == self.len && octets.iter().enumerate().all(|(at, &o)| o == self.octet(at))
    }

    fn write(self, octets: &mut [u8]) {
        for (at, octet) in octets.iter_mut().enumerate().take(self.len) {
            *octet = self.octet(at);
        }
    }
}

fn write_mki(mki: Option<Mki>, octets: &mut [u8]) {
    if let Some(mki) = mki {
        mki.write(octets);
    }
}

/// What stands before the MKI; `None` if another does, or none.
fn without_mki(packet: &[u8], mki: Option<Mki>) -> Option<&[u8]> {
    let Some(mki) = mki else { return Some(packet) };
    let (sent, carried) = split_end(packet, mki.len())?;
    mki.matches(carried).then_some(sent)
}

/// A packet and its last `len` octets, if it has so many.
fn split_end(packet: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    packet.split_at_checked(packet.len().checked_sub(len)?)
}

/// Octets of HMAC tag; `None` for the AEAD suites. Those with HMAC have 80 bits of tag for SRTCP
/// (RFC 4568, 6.2.2).
const fn tag_len(suite: Suite, protocol: Protocol) -> Option<usize> {
    match (suite, protocol) {
        (Suite::AesCm128HmacSha1_32, Protocol::Srtp) => Some(4),
        (
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::Aes256CmHmacSha1_80,
            _,
        ) => Some(10),
        (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm, _) => None,
    }
}

/// The whole HMAC over what is sent and what is not (the ROC).
fn authenticate(mac: &Hmac<Sha1>, sent: &[u8], implied: &[u8]) -> [u8; 20] {
    let mut mac = mac.clone();
    mac.update(sent);
    mac.update(implied);
    mac.finalize().into_bytes().into()
}

/// Encrypts or decrypts: both are the same XOR.
fn crypt(key: &EncryptingKey, iv: [u8; 16], octets: &mut [u8]) -> Result<(), DropReason> {
    if octets.is_empty() {
        return Ok(());
    }
    key.less_safe_encrypt(octets, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map(drop)
        .map_err(|_| DropReason::Malformed)
}

#[expect(clippy::expect_used, reason = "AES refuses no 16 or 32 octets, and suites have no others")]
fn counter_mode(key: &[u8]) -> EncryptingKey {
    UnboundCipherKey::new(if key.len() == 32 { &AES_256 } else { &AES_128 }, key)
        .and_then(EncryptingKey::ctr)
        .expect("an AES key")
}

#[expect(clippy::expect_used, reason = "AES refuses no 16 or 32 octets, and suites have no others")]
fn galois_mode(key: &[u8]) -> LessSafeKey {
    let algorithm = if key.len() == 32 { &aead::AES_256_GCM } else { &aead::AES_128_GCM };
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("an AES key"))
}

/// AES-CM keystream from `counter` on; for key derivation.
#[expect(clippy::expect_used, reason = "counter mode takes any length under a 16-octet IV")]
pub(super) fn keystream(key: &[u8], counter: [u8; 16], out: &mut [u8]) {
    out.fill(0);
    crypt(&counter_mode(key), counter, out).expect("counter mode takes any length");
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
