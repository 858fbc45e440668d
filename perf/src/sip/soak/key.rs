//! SDES keys as SDP has them (RFC 4568): base64 of thirty octets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sdp::{SrtpKey, Suite};

/// Key and salt of a call, worth nothing but for being another one for each.
pub(super) fn of(call: usize) -> [u8; 30] {
    std::array::from_fn(|at| (call * 31 + at * 7 + (call >> 8)) as u8)
}

/// Tag and key of the crypto line that we take.
pub(super) fn crypto(sdp: &str) -> Option<(&str, &str)> {
    let line = sdp
        .lines()
        .find(|line| line.starts_with("a=crypto:") && line.contains(" AES_CM_128_HMAC_SHA1_80 "))?;
    let tag = line.strip_prefix("a=crypto:")?.split(' ').next()?;
    let key = line.split("inline:").nth(1)?.split(['|', ' ']).next()?;
    Some((tag, key))
}

pub(super) fn read(text: &str) -> Option<SrtpKey> {
    let octets = BASE64_STANDARD.decode(text).ok()?;
    SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &octets)
}

pub(super) fn write(octets: &[u8; 30]) -> String {
    BASE64_STANDARD.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::{crypto, of, read, write};

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let octets = of(77);
        let key = read(&write(&octets)).unwrap();
        assert_eq!(key.key_salt(), octets);
        let sdp = format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{}|2^31\r\n", write(&octets));
        assert_eq!(crypto(&sdp), Some(("4", &*write(&octets))));
    }
}
