//! Key derivation: from master key and salt to session keys (RFC 3711, 4.3), key derivation rate 0.

use super::counter::Counter;
use super::primitives::Library;
use sdp::{SrtpKey, Suite};
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
    #[zeroize(skip)]
    suite: Suite,
    encryption: [u8; 32],
    /// The HMAC-SHA1 key; of no use to an AEAD suite.
    pub(super) authentication: [u8; 20],
    /// The salt of the counter or nonce; an AEAD suite has 12 octets of it.
    pub(super) salt: [u8; 14],
}

impl SessionKeys {
    /// Derives from a master key.
    pub(super) fn derive(master: &SrtpKey, protocol: Protocol) -> Self {
        let suite = master.suite();
        let first = match protocol {
            Protocol::Srtp => 0,
            Protocol::Srtcp => 3,
        };
        let (key, salt) = master.key_salt().split_at(suite.key_len());
        let key = Counter::new(Library::RustCrypto, key);
        let mut keys = Self { suite, encryption: [0; 32], authentication: [0; 20], salt: [0; 14] };
        derive(&key, salt, first, &mut keys.encryption[..suite.key_len()]);
        derive(&key, salt, first + 1, &mut keys.authentication);
        derive(&key, salt, first + 2, &mut keys.salt[..suite.salt_len()]);
        keys
    }

    /// The AES key.
    pub(super) fn encryption(&self) -> &[u8] {
        &self.encryption[..self.suite.key_len()]
    }
}

/// AES-CM keystream under the master key, counted from `salt XOR (label || r)`, with r = 0. A salt of
/// 96 bits has zeros behind it (RFC 7714, 11).
fn derive(key: &Counter, salt: &[u8], label: u8, out: &mut [u8]) {
    let mut counter = [0; 16];
    counter[..salt.len()].copy_from_slice(salt);
    counter[7] ^= label;
    out.fill(0);
    key.apply(counter, out);
    counter.zeroize();
}

#[cfg(test)]
mod tests {
    use super::super::counter::apply_once;
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn keys(suite: Suite, key_salt: &str) -> SessionKeys {
        let master = SrtpKey::from_octets(suite, &octets(key_salt)).unwrap();
        SessionKeys::derive(&master, Protocol::Srtp)
    }

    /// RFC 3711, B.3.
    #[test]
    fn rfc_3711_b3_session_keys() {
        let master = "E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6";
        let keys = keys(Suite::AesCm128HmacSha1_80, master);
        assert_eq!(keys.encryption(), octets("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(&keys.salt[..], octets("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(&keys.authentication[..], octets("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 6188, 7.3.
    #[test]
    fn rfc_6188_7_3_session_keys() {
        let keys = keys(
            Suite::Aes256CmHmacSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6\
             3b04803de51ee7c96423ab5b78d2",
        );
        assert_eq!(
            keys.encryption(),
            octets("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(&keys.salt[..], octets("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(&keys.authentication[..], octets("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    /// RFC 3711, B.2: the first three blocks and the last three of 0xff02.
    #[test]
    fn rfc_3711_b2_keystream() {
        let key = octets("2B7E151628AED2A6ABF7158809CF4F3C");
        let blocks = [
            "E03EAD0935C95E80E166B16DD92B4EB4",
            "D23513162B02D0F72A43A2FE4A5F97AB",
            "41E95B3BB0A2E8DD477901E4FCA894C0",
            "EC8CDF7398607CB0F2D21675EA9EA1E4",
            "362B7C3C6773516318A077D7FC5073AE",
            "6A2CC3787889374FBEB4C81B17BA6C44",
        ];
        has_blocks(&key, blocks);
    }

    /// RFC 6188, 7.2.
    #[test]
    fn rfc_6188_7_2_keystream() {
        let key = octets("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98");
        let blocks = [
            "92bdd28a93c3f52511c677d08b5515a4",
            "9da71b2378a854f67050756ded165bac",
            "63c4868b7096d88421b563b8c94c9a31",
            "cea518c90fd91ced9cbb18c078a54711",
            "3dbc4814f4da5f00a08772b63c6a046d",
            "6eb246913062a16891433e97dd01a57f",
        ];
        has_blocks(&key, blocks);
    }

    fn has_blocks(key: &[u8], blocks: [&str; 6]) {
        let counter: [u8; 16] = octets("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut stream = vec![0; 16 * 0xff02];
        apply_once(key, counter, &mut stream);
        for (at, block) in [0, 1, 2, 0xfeff, 0xff00, 0xff01].into_iter().zip(blocks) {
            assert_eq!(stream[16 * at..][..16], octets(block), "block {at:x}");
        }
    }
}
