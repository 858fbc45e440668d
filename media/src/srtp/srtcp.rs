//! SRTCP under one key (RFC 3711, 3.4; RFC 7714, 9). A far side sends some every few seconds: session keys are
//! derived when a packet comes, and take no room in between.

use super::counter::apply_once;
use super::kdf::{Protocol, SessionKeys};
use super::mac::Mac;
use super::suite::{
    GCM_TAG, Mki, counter, is_tag, nonce, split_end, tag_len, without_mki, write_mki,
};
use crate::packet::{PACKET_MAX, TAILROOM};
use crate::{DropReason, PacketBuf};
use aes::cipher::KeyInit;
use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use sdp::{SrtpKey, Suite};

/// SRTCP's E flag, in the word with the index.
const ENCRYPTED: u32 = 1 << 31;
/// The part of an RTCP packet that stays readable: header and sender SSRC.
pub(super) const RTCP_CLEAR: usize = 8;

/// The session keys of SRTCP, for one packet.
pub(super) struct Srtcp {
    keys: SessionKeys,
    /// Octets of HMAC tag; `None` with AES-GCM.
    tag_len: Option<usize>,
}

/// An SRTCP packet that is authentic.
#[derive(Clone, Copy)]
pub(super) struct AuthenticRtcp {
    /// Where the RTCP packet ends.
    end: usize,
    /// The tag of AES-GCM, which is opened with it once more.
    tag: [u8; GCM_TAG],
    word: u32,
}

impl AuthenticRtcp {
    pub(super) const fn index(&self) -> u32 {
        self.word & !ENCRYPTED
    }
}

/// What AES-GCM covers and does not encrypt: a header, or a whole packet, and the word behind.
struct Covered {
    octets: [u8; PACKET_MAX + TAILROOM],
    len: usize,
}

impl Covered {
    fn new(clear: &[u8], word: u32) -> Option<Self> {
        let mut octets = [0; PACKET_MAX + TAILROOM];
        let len = clear.len() + 4;
        let (before, behind) = octets.get_mut(..len)?.split_at_mut(clear.len());
        before.copy_from_slice(clear);
        behind.copy_from_slice(&word.to_be_bytes());
        Some(Self { octets, len })
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl Srtcp {
    pub(super) fn new(key: &SrtpKey) -> Self {
        let tag_len = tag_len(key.suite(), Protocol::Srtcp);
        Self { keys: SessionKeys::derive(key, Protocol::Srtcp), tag_len }
    }

    /// Turns the RTCP packet in the slot into SRTCP under `index`. The slot has room for it.
    pub(super) fn seal(
        &self,
        slot: &mut PacketBuf,
        ssrc: u32,
        index: u32,
        mki: Option<Mki>,
    ) -> Result<(), DropReason> {
        let end = slot.len();
        let mki_len = mki.map_or(0, Mki::len);
        let word = ENCRYPTED | index;
        match self.tag_len {
            Some(tag_len) => {
                self.crypt(ssrc, index, &mut slot.packet_mut()[RTCP_CLEAR..]);
                slot.set_len(end + 4 + mki_len + tag_len);
                slot.packet_mut()[end..end + 4].copy_from_slice(&word.to_be_bytes());
                let (sent, trailer) = slot.packet_mut().split_at_mut(end + 4);
                let (carried, tag) = trailer.split_at_mut(mki_len);
                write_mki(mki, carried);
                let whole = Mac::new(&self.keys.authentication).tag(sent, &[]);
                tag.copy_from_slice(&whole[..tag.len()]);
            }
            None => {
                let (clear, octets) = slot.packet_mut().split_at_mut(RTCP_CLEAR);
                let covered = Covered::new(clear, word).ok_or(DropReason::TooBig)?;
                let nonce = nonce(&self.keys.salt, ssrc, index.into()).into();
                let (covered, key) = (covered.octets(), self.keys.encryption());
                let tag = match key.len() {
                    32 => galois::<Aes256Enc>(key).encrypt_inout_detached(
                        &nonce,
                        covered,
                        octets.into(),
                    ),
                    _ => galois::<Aes128Enc>(key).encrypt_inout_detached(
                        &nonce,
                        covered,
                        octets.into(),
                    ),
                };
                let tag = tag.map_err(|_| DropReason::Malformed)?;
                slot.set_len(end + GCM_TAG + 4 + mki_len);
                let (written, rest) = slot.packet_mut()[end..].split_at_mut(GCM_TAG);
                written.copy_from_slice(&tag);
                rest[..4].copy_from_slice(&word.to_be_bytes());
                write_mki(mki, &mut rest[4..]);
            }
        }
        Ok(())
    }

    /// Whether an SRTCP packet of `ssrc` is authentic.
    pub(super) fn check(
        &self,
        packet: &[u8],
        ssrc: u32,
        mki: Option<Mki>,
    ) -> Option<AuthenticRtcp> {
        let (sent, word) = split(packet, self.tag_len, mki)?;
        match self.tag_len {
            Some(tag_len) => {
                let (_, tag) = split_end(packet, tag_len)?;
                let covered = packet.get(..sent.len() + 4)?;
                let whole = Mac::new(&self.keys.authentication).tag(covered, &[]);
                let authentic = AuthenticRtcp { end: sent.len(), tag: [0; GCM_TAG], word };
                is_tag(&whole, tag).then_some(authentic)
            }
            None => {
                let (sent, tag) = sent.split_last_chunk::<GCM_TAG>()?;
                let authentic = AuthenticRtcp { end: sent.len(), tag: *tag, word };
                // On a copy: a packet that is refused stays as it is, and one that passes, too.
                let mut copy = [0; PACKET_MAX + TAILROOM];
                let copy = copy.get_mut(..sent.len())?;
                copy.copy_from_slice(sent);
                self.open_galois(copy, ssrc, &authentic)?;
                Some(authentic)
            }
        }
    }

    /// Opens a packet that [`Self::check`] has just found authentic.
    pub(super) fn open(
        &self,
        slot: &mut PacketBuf,
        ssrc: u32,
        authentic: &AuthenticRtcp,
    ) -> Result<(), DropReason> {
        slot.set_len(authentic.end);
        match self.tag_len {
            None => {
                let opened = self.open_galois(slot.packet_mut(), ssrc, authentic);
                opened.ok_or(DropReason::BadTag)?;
            }
            Some(_) if authentic.word & ENCRYPTED != 0 => {
                self.crypt(ssrc, authentic.index(), &mut slot.packet_mut()[RTCP_CLEAR..]);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Opens a packet without its trailer in place; `None`, and nothing is changed, if it is not
    /// authentic.
    fn open_galois(&self, packet: &mut [u8], ssrc: u32, it: &AuthenticRtcp) -> Option<()> {
        let clear = if it.word & ENCRYPTED != 0 { RTCP_CLEAR } else { packet.len() };
        let (clear, octets) = packet.split_at_mut_checked(clear)?;
        let covered = Covered::new(clear, it.word)?;
        let nonce = nonce(&self.keys.salt, ssrc, it.index().into()).into();
        let (covered, tag, key) = (covered.octets(), it.tag.into(), self.keys.encryption());
        let opened = match key.len() {
            32 => galois::<Aes256Enc>(key).decrypt_inout_detached(
                &nonce,
                covered,
                octets.into(),
                &tag,
            ),
            _ => galois::<Aes128Enc>(key).decrypt_inout_detached(
                &nonce,
                covered,
                octets.into(),
                &tag,
            ),
        };
        opened.ok()
    }

    fn crypt(&self, ssrc: u32, index: u32, octets: &mut [u8]) {
        let iv = counter(&self.keys.salt, ssrc, index.into());
        apply_once(self.keys.encryption(), iv, octets);
    }
}

/// What stands behind an RTCP packet: word, MKI and tag.
pub(super) fn trailer_len(suite: Suite, mki: Option<Mki>) -> usize {
    4 + mki.map_or(0, Mki::len) + tag_len(suite, Protocol::Srtcp).unwrap_or(GCM_TAG)
}

/// The index of an SRTCP packet, before anything is known to be true of it.
pub(super) fn index(suite: Suite, packet: &[u8], mki: Option<Mki>) -> Option<u32> {
    let (_, word) = split(packet, tag_len(suite, Protocol::Srtcp), mki)?;
    Some(word & !ENCRYPTED)
}

/// An SRTCP packet up to the word with E flag and index, and that word.
fn split(packet: &[u8], tag_len: Option<usize>, mki: Option<Mki>) -> Option<(&[u8], u32)> {
    let behind = match tag_len {
        Some(tag_len) => split_end(packet, tag_len)?.0,
        None => packet,
    };
    let (sent, word) = without_mki(behind, mki)?.split_last_chunk::<4>()?;
    (sent.len() >= RTCP_CLEAR).then_some((sent, u32::from_be_bytes(*word)))
}

#[expect(clippy::expect_used, reason = "AES refuses no 16 or 32 octets, and suites have no others")]
fn galois<K>(key: &[u8]) -> AesGcm<K, U12>
where
    K: KeyInit,
    AesGcm<K, U12>: From<K>,
{
    K::new_from_slice(key).expect("an AES key").into()
}
