//! Opens SRTP for the judge with OpenSSL's AES and the keys seen in SDP (RFC 3711, 4.1.1 and 4.3), so that
//! nothing of Tollgate's own cryptography takes part in judging it. Tags are the peer's business.

use crate::fail::{Fail, Outcome, While, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of an SDES key: 16 of master key, 14 of master salt.
const KEY_AND_SALT: usize = 30;

/// Bytes the suite appends for authentication.
pub(super) const TAG: usize = 10;

/// Bytes of an RTP header without extensions and contributing sources.
const HEADER: usize = 12;

/// Opens the payloads of one SSRC's packets in the order they were captured, all under one master key.
pub(super) fn open(packets: &[&[u8]], key: &str, scratch: &Path) -> Outcome<Vec<Vec<u8>>> {
    let master = base64(key).ok_or_else(|| Fail(format!("`{key}` is not base64")))?;
    ensure(master.len() == KEY_AND_SALT, || format!("`{key}` has {} bytes", master.len()))?;
    let (key, salt) = master.split_at(16);
    let blocks = [kdf_block(salt, LABEL_KEY), kdf_block(salt, LABEL_SALT)].concat();
    let derived = aes(key, &blocks, scratch)?;
    let (session_key, session_salt) = derived.split_at(16);
    let mut counters = Vec::new();
    let mut rollover = Rollover::default();
    for packet in packets {
        let index = rollover.index(sequence(packet));
        let iv = packet_iv(session_salt, ssrc(packet), index);
        for block in 0..sealed(packet).len().div_ceil(16) {
            counters.extend(iv.get(..14).unwrap_or_default());
            counters.extend((block as u16).to_be_bytes());
        }
    }
    let stream = aes(session_key, &counters, scratch)?;
    let mut stream = stream.as_slice();
    let mut opened = Vec::new();
    for packet in packets {
        let sealed = sealed(packet);
        let (mine, rest) = stream.split_at(sealed.len().div_ceil(16) * 16);
        opened.push(sealed.iter().zip(mine).map(|(byte, mask)| byte ^ mask).collect());
        stream = rest;
    }
    Ok(opened)
}

/// Seals RTP packets of one SSRC that begin the stream of a master key, for a peer that plays them.
pub(super) fn seal(packets: &[Vec<u8>], key: &str, scratch: &Path) -> Outcome<Vec<Vec<u8>>> {
    let roomy: Vec<Vec<u8>> = packets.iter().map(|rtp| [&rtp[..], &[0; TAG]].concat()).collect();
    let whole: Vec<&[u8]> = roomy.iter().map(Vec::as_slice).collect();
    // Counter mode opens what it seals.
    let payloads = open(&whole, key, scratch)?;
    let master = base64(key).unwrap_or_default();
    let (key, salt) = master.split_at(16);
    let mut blocks = [kdf_block(salt, LABEL_AUTHENTICATION); 2];
    blocks[1][15] ^= 1;
    let derived = aes(key, &blocks.concat(), scratch)?;
    let mut sealed: Vec<Vec<u8>> = packets
        .iter()
        .zip(payloads)
        .map(|(rtp, payload)| [rtp.get(..HEADER).unwrap_or_default(), &payload].concat())
        .collect();
    // Nothing has wrapped yet: the rollover counter that is authenticated, too, is 0.
    let tagged: Vec<Vec<u8>> = sealed.iter().map(|it| [&it[..], &[0; 4]].concat()).collect();
    let tags = tags(derived.get(..20).unwrap_or_default(), &tagged, scratch)?;
    for (packet, tag) in sealed.iter_mut().zip(tags) {
        packet.extend(tag);
    }
    Ok(sealed)
}

/// The first octets of the HMAC-SHA1 of each text, by OpenSSL.
fn tags(key: &[u8], texts: &[Vec<u8>], scratch: &Path) -> Outcome<Vec<Vec<u8>>> {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha1", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex}")]);
    for (number, text) in texts.iter().enumerate() {
        let file = scratch.join(format!("text-{number}"));
        std::fs::write(&file, text).while_(file.display())?;
        command.arg(file);
    }
    let output = command.stdin(Stdio::null()).output().while_("openssl")?;
    ensure(output.status.success(), || format!("openssl dgst: {}", output.status))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let tag = |line: &str| {
        let digits = line.rsplit(' ').next()?.as_bytes().get(..2 * TAG)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let octet = |two: &[u8]| u8::try_from(digit(two[0])? << 4 | digit(two[1])?).ok();
        digits.chunks_exact(2).map(octet).collect::<Option<Vec<u8>>>()
    };
    let tags: Vec<Vec<u8>> = said.lines().filter_map(tag).collect();
    ensure(tags.len() == texts.len(), || format!("openssl dgst: {} tags", tags.len()))?;
    Ok(tags)
}

/// Labels of RFC 3711, 4.3.2.
const LABEL_KEY: u8 = 0;
const LABEL_AUTHENTICATION: u8 = 1;
const LABEL_SALT: u8 = 2;

/// The block that makes a session key or salt: the label stands in the eighth byte of the salt.
fn kdf_block(salt: &[u8], label: u8) -> [u8; 16] {
    let mut block = [0; 16];
    for (at, byte) in salt.iter().enumerate().take(14) {
        block[at] = *byte;
    }
    block[7] ^= label;
    block
}

/// The counter's start: salt, SSRC and packet index one above the other (RFC 3711, 4.1.1).
fn packet_iv(salt: &[u8], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = kdf_block(salt, 0);
    for (at, byte) in ssrc.to_be_bytes().iter().enumerate() {
        iv[4 + at] ^= byte;
    }
    for (at, byte) in index.to_be_bytes().iter().skip(2).enumerate() {
        iv[8 + at] ^= byte;
    }
    iv
}

/// Counts the wraps of a sequence number that is captured from its first packet on.
#[derive(Default)]
struct Rollover {
    highest: Option<u64>,
}

impl Rollover {
    fn index(&mut self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            self.highest = Some(u64::from(sequence));
            return u64::from(sequence);
        };
        let ahead = sequence.wrapping_sub(highest as u16) as i16;
        let index = highest.saturating_add_signed(i64::from(ahead));
        self.highest = Some(highest.max(index));
        index
    }
}

fn sealed(packet: &[u8]) -> &[u8] {
    packet.get(HEADER..packet.len().saturating_sub(TAG)).unwrap_or_default()
}

pub(super) fn sequence(packet: &[u8]) -> u16 {
    packet.get(2..4).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(super) fn ssrc(packet: &[u8]) -> u32 {
    packet.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// AES-128 of each block, by OpenSSL.
fn aes(key: &[u8], blocks: &[u8], scratch: &Path) -> Outcome<Vec<u8>> {
    let (plain, cipher) = (scratch.join("aes.in"), scratch.join("aes.out"));
    std::fs::write(&plain, blocks).while_(plain.display())?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = Command::new("openssl");
    command.args(["enc", "-aes-128-ecb", "-nopad", "-K", &hex]);
    command.arg("-in").arg(&plain).arg("-out").arg(&cipher).stdin(Stdio::null());
    let status = command.status().while_("openssl")?;
    ensure(status.success(), || format!("openssl enc: {status}"))?;
    let bytes = std::fs::read(&cipher).while_(cipher.display())?;
    ensure(bytes.len() == blocks.len(), || "openssl enc gave too little".to_owned())?;
    Ok(bytes)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes().take_while(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{LABEL_KEY, LABEL_SALT, Rollover, base64, kdf_block, packet_iv};

    const MASTER_SALT: [u8; 14] =
        [0x0e, 0xc6, 0x75, 0xad, 0x49, 0x8a, 0xfe, 0xeb, 0xb6, 0x96, 0x0b, 0x3a, 0xab, 0xe6];

    /// RFC 3711, B.3 prints these blocks.
    #[test]
    fn the_derivation_blocks_are_those_of_the_rfc() {
        let hex = |block: [u8; 16]| format!("{:032X}", u128::from_be_bytes(block));
        assert_eq!(hex(kdf_block(&MASTER_SALT, LABEL_KEY)), "0EC675AD498AFEEBB6960B3AABE60000");
        assert_eq!(hex(kdf_block(&MASTER_SALT, LABEL_SALT)), "0EC675AD498AFEE9B6960B3AABE60000");
    }

    #[test]
    fn ssrc_and_index_stand_at_their_places() {
        let iv = packet_iv(&[0; 14], 0x1122_3344, 0x0001_0002);
        assert_eq!(u128::from_be_bytes(iv), 0x1122_3344_0000_0001_0002_0000);
    }

    #[test]
    fn a_late_packet_after_the_wrap_belongs_to_the_round_before() {
        let mut rollover = Rollover::default();
        let indexes = [65534, 65535, 1, 0, 65535, 2].map(|sequence| rollover.index(sequence));
        assert_eq!(indexes, [65534, 65535, 65537, 65536, 65535, 65538]);
    }

    #[test]
    fn sdes_keys_are_read() {
        assert_eq!(base64("AAEC/w=="), Some(vec![0, 1, 2, 255]));
        assert_eq!(base64("AA C"), None);
    }
}
