//! Key derivation: from master key and salt to session keys (RFC 3711, 4.3), key derivation rate 0.

use super::suite::keystream;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Which of the two protocols the keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// SRTP: labels 0 to 2.
    Srtp,
    /// SRTCP: labels 3 to 5.
    Srtcp,
}

/// The session keys of one protocol. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct SessionKeys {
    /// The AES key.
    pub(super) encryption: [u8; 16],
    /// The HMAC-SHA1 key.
    pub(super) authentication: [u8; 20],
    /// The salt of the counter.
    pub(super) salt: [u8; 14],
}

impl SessionKeys {
    /// Derives from 16 octets of master key and 14 of master salt.
    pub(super) fn derive(key_salt: &[u8; 30], protocol: Protocol) -> Self {
        let first = match protocol {
            Protocol::Srtp => 0,
            Protocol::Srtcp => 3,
        };
        let mut keys = Self { encryption: [0; 16], authentication: [0; 20], salt: [0; 14] };
        derive(key_salt, first, &mut keys.encryption);
        derive(key_salt, first + 1, &mut keys.authentication);
        derive(key_salt, first + 2, &mut keys.salt);
        keys
    }
}

/// AES-CM keystream under the master key, counted from `salt XOR (label || r)`, with r = 0.
fn derive(key_salt: &[u8; 30], label: u8, out: &mut [u8]) {
    let mut key = [0; 16];
    key.copy_from_slice(&key_salt[..16]);
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(&key_salt[16..]);
    counter[7] ^= label;
    keystream(&key, counter, out);
    key.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        let mut out = [0; N];
        for (at, octet) in out.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        }
        out
    }

    /// RFC 3711, B.3.
    #[test]
    fn rfc_3711_b3_session_keys() {
        let master = octets::<30>("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
        let keys = SessionKeys::derive(&master, Protocol::Srtp);
        assert_eq!(keys.encryption, octets("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt, octets("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(keys.authentication, octets("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 3711, B.2: the first three blocks and the last three of 0xff02.
    #[test]
    fn rfc_3711_b2_keystream() {
        let key: [u8; 16] = octets("2B7E151628AED2A6ABF7158809CF4F3C");
        let counter = octets("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000");
        let mut stream = vec![0; 16 * 0xff02];
        keystream(&key, counter, &mut stream);
        let block = |at: usize| -> [u8; 16] { stream[16 * at..][..16].try_into().unwrap() };
        assert_eq!(block(0), octets("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(block(1), octets("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(block(2), octets("41E95B3BB0A2E8DD477901E4FCA894C0"));
        assert_eq!(block(0xfeff), octets("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(block(0xff00), octets("362B7C3C6773516318A077D7FC5073AE"));
        assert_eq!(block(0xff01), octets("6A2CC3787889374FBEB4C81B17BA6C44"));
    }
}
