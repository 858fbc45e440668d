//! The crypto attribute (RFC 4568, 9.1): SDES keys to and from text.

use crate::section::{number, text, words};
use crate::suite::{SrtpKey, Suite};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Most keys taken from one line; each costs the far side's packets one more trial.
const MAX_KEYS: usize = 4;
/// RFC 4568, 9.1: a tag has at most nine digits.
const MAX_TAG: u32 = 999_999_999;
/// RFC 4568, 6.1: an MKI has at most 128 octets.
const MAX_MKI_LENGTH: u8 = 128;

/// A crypto line that we can use: a suite we know and a key of the right length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoLine {
    /// The tag, which an answer echoes. Teams counts from 0.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// The keys of the line: several only if each declares an MKI.
    pub keys: Vec<SrtpKey>,
}

impl CryptoLine {
    /// Reads the value of an `a=crypto` attribute; `None` if the line cannot be used.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = words(value).map(text);
        let tag = number(words.next()??.as_bytes()).filter(|tag| *tag <= MAX_TAG)?;
        let suite = Suite::named(words.next()??)?;
        let keys = keys(words.next()??, suite)?;
        for parameter in words {
            is_bearable(parameter?).then_some(())?;
        }
        Some(Self { tag, suite, keys })
    }

    /// Whether packets under this line carry an MKI.
    pub fn has_mki(&self) -> bool {
        self.keys.iter().any(|key| key.mki().is_some())
    }
}

/// The one crypto line that we write (TDR-SDP-005).
pub(crate) fn write(tag: u32, key: &SrtpKey) -> String {
    let inline = Zeroizing::new(STANDARD.encode(key.key_salt()));
    format!("a=crypto:{tag} {} inline:{}|2^31\r\n", key.suite().name(), *inline)
}

fn keys(parameters: &str, suite: Suite) -> Option<Vec<SrtpKey>> {
    let keys = parameters
        .split(';')
        .take(MAX_KEYS + 1)
        .map(|parameter| key(parameter, suite))
        .collect::<Option<Vec<_>>>()?;
    let told_apart = keys.len() == 1 || keys.iter().all(|key| key.mki().is_some());
    (keys.len() <= MAX_KEYS && told_apart).then_some(keys)
}

/// `inline:KEY[|LIFETIME][|MKI:LENGTH]`.
fn key(parameter: &str, suite: Suite) -> Option<SrtpKey> {
    let (method, inline) = parameter.split_once(':')?;
    method.eq_ignore_ascii_case("inline").then_some(())?;
    let mut parts = inline.split('|');
    let mut key = decoded(parts.next()?, suite)?;

    let mut next = parts.next();
    if let Some(lifetime) = next.filter(|part| !part.contains(':')) {
        is_lifetime(lifetime).then_some(())?;
        next = parts.next();
    }
    if let Some(mki) = next {
        let (value, length) = mki.split_once(':')?;
        let (value, length): (u32, u8) = (number(value.as_bytes())?, number(length.as_bytes())?);
        let fits = length >= 4 || u64::from(value) < 1 << (8 * u32::from(length));
        ((1..=MAX_MKI_LENGTH).contains(&length) && fits).then_some(())?;
        key = key.with_mki(value, length);
    }
    parts.next().is_none().then_some(key)
}

/// Key and salt in base64: as many characters as the suite's octets take (TDR-SDP-004), with padding
/// where that is due (RFC 4568, 6.1).
fn decoded(encoded: &str, suite: Suite) -> Option<SrtpKey> {
    (encoded.len() == suite.key_salt_len().div_ceil(3) * 4).then_some(())?;
    let mut octets = Zeroizing::new([0; 48]);
    let len = STANDARD.decode_slice(encoded, &mut octets[..]).ok()?;
    SrtpKey::from_octets(suite, octets.get(..len)?)
}

/// `2^31` or a decimal number. What it says is no limit for us: a call ends long before.
fn is_lifetime(text: &str) -> bool {
    let digits = text.strip_prefix("2^").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether a line with this parameter can be used: one we must understand and do not makes the
/// line unusable (RFC 4568, 6.3); the window size is a hint, and a dash says that we may ignore.
fn is_bearable(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.to_ascii_uppercase().starts_with("WSH=")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "V/Lr6Lsvhad/crSB9kCQ28jrYDxR2Yfk5bXryH5V";
    const OTHER: &str = "O1qT9tWbs/NwJVwhfrgF5tCrbNOxnVDqkIqTx4rz";

    fn parse(value: &str) -> Option<CryptoLine> {
        CryptoLine::parse(value.as_bytes())
    }

    #[test]
    fn lines_that_can_be_used() {
        let long = "AES_CM_128_HMAC_SHA1_80";
        let short = "AES_CM_128_HMAC_SHA1_32";
        for (value, tag, suite, mki) in [
            (format!("1 {long} inline:{KEY}|2^31"), 1, Suite::AesCm128HmacSha1_80, None),
            (format!("0 {short} inline:{KEY}"), 0, Suite::AesCm128HmacSha1_32, None),
            (
                format!("2 {long} inline:{KEY}|2^31|1:1"),
                2,
                Suite::AesCm128HmacSha1_80,
                Some((1, 1)),
            ),
            (format!("3 {long} inline:{KEY}|2147483648"), 3, Suite::AesCm128HmacSha1_80, None),
            (format!("4 {long} inline:{KEY}|77:4"), 4, Suite::AesCm128HmacSha1_80, Some((77, 4))),
            (
                format!("5 {long}  inline:{KEY}|2^20 WSH=128 -X=1"),
                5,
                Suite::AesCm128HmacSha1_80,
                None,
            ),
        ] {
            let line = parse(&value).expect(&value);
            assert_eq!((line.tag, line.suite, line.keys.len()), (tag, suite, 1), "{value}");
            assert_eq!(line.keys[0].mki(), mki, "{value}");
            assert_eq!(line.keys[0].key_salt()[..4], [0x57, 0xf2, 0xeb, 0xe8]);
        }
    }

    #[test]
    fn lines_that_cannot_be_used() {
        let long = "AES_CM_128_HMAC_SHA1_80";
        for value in [
            String::new(),
            "1".to_owned(),
            format!("1 {long}"),
            format!("x {long} inline:{KEY}"),
            format!("-1 {long} inline:{KEY}"),
            format!("1000000000 {long} inline:{KEY}"),
            format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 {long} uri:{KEY}"),
            format!("1 {long} inline:{}", &KEY[..39]),
            format!("1 {long} inline:{KEY}AAAA"),
            format!("1 {long} inline:{}=", &KEY[..39]),
            format!("1 {long} inline:{}*", &KEY[..39]),
            format!("1 {long} inline:{KEY}|2^x"),
            format!("1 {long} inline:{KEY}|2^31|1:0"),
            format!("1 {long} inline:{KEY}|2^31|1:129"),
            format!("1 {long} inline:{KEY}|2^31|256:1"),
            format!("1 {long} inline:{KEY}|2^31|1:1|2"),
            format!("1 {long} inline:{KEY} KDR=1"),
            format!("1 {long} inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 {long} inline:{KEY};inline:{OTHER}"),
        ] {
            assert_eq!(parse(&value), None, "{value}");
        }
    }

    #[test]
    fn several_keys_are_told_apart_by_their_mki() {
        let line = parse(&format!(
            "1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{OTHER}|2^20|2:4"
        ))
        .unwrap();
        assert_eq!(
            line.keys.iter().map(SrtpKey::mki).collect::<Vec<_>>(),
            [Some((1, 4)), Some((2, 4))]
        );
        assert!(line.has_mki());
    }

    #[test]
    fn what_we_write_we_read() {
        let key = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &[0xa5; 30]).unwrap();
        let written = write(7, &key);
        let value = written.trim_end().strip_prefix("a=crypto:").unwrap();
        assert!(value.ends_with("|2^31"));
        let line = parse(value).unwrap();
        assert_eq!((line.tag, &line.keys[..]), (7, &[key][..]));
    }
}
