//! The crypto attribute (RFC 4568, 9.1): SDES keys to and from text.

use crate::suite::{SrtpKey, Suite};
use crate::words::{number, text, words};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// Most keys taken from one line; each costs the far side's packets one more trial.
const MAX_KEYS: usize = 4;
/// RFC 4568, 9.1: a tag has at most nine digits.
const MAX_TAG: u32 = 999_999_999;
/// RFC 3711, 9.2: no key protects more packets.
const MAX_LIFETIME: u64 = 1 << 48;
/// What a line of ours declares where the key has nothing else: SRTCP has no more indices.
const OUR_LIFETIME: u64 = 1 << 31;
/// RFC 4568, 6.3.6: a replay window is no smaller.
const MIN_WINDOW: u32 = 64;
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

/// A crypto line of ours: no MKI and no session parameters, as Teams has it (TDR-SDP-005).
pub(crate) fn write(tag: u32, key: &SrtpKey) -> String {
    let inline = Zeroizing::new(STANDARD.encode(key.key_salt()));
    let lifetime = match key.lifetime().unwrap_or(OUR_LIFETIME) {
        OUR_LIFETIME => "2^31".to_owned(),
        packets => packets.to_string(),
    };
    format!("a=crypto:{tag} {} inline:{}|{lifetime}\r\n", key.suite().name(), *inline)
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
        key = key.with_lifetime(packets(lifetime)?);
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

/// Key and salt in base64: as many characters as the suite's octets take (TDR-SDP-004). Padding is
/// discarded where it is due (RFC 4568, 6.1), and rtpengine writes none.
fn decoded(encoded: &str, suite: Suite) -> Option<SrtpKey> {
    let bare = encoded.trim_end_matches('=');
    let whole = suite.key_salt_len().div_ceil(3) * 4;
    (encoded.len() == whole || encoded.len() == bare.len()).then_some(())?;
    let mut octets = Zeroizing::new([0; 48]);
    let len = STANDARD_NO_PAD.decode_slice(bare, &mut octets[..]).ok()?;
    SrtpKey::from_octets(suite, octets.get(..len)?)
}

/// The packets of a lifetime: `2^31` or a decimal number, not 0.
fn packets(text: &str) -> Option<u64> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => 1u64.checked_shl(number(power.as_bytes())?)?,
        None => number(text.as_bytes())?,
    };
    (1..=MAX_LIFETIME).contains(&packets).then_some(packets)
}

/// Whether a line with this session parameter can be used; one that we must understand and cannot do
/// makes the line unusable (RFC 4568, 6.3). The window size is a hint, the order of error correction
/// says nothing of a stream that has none, and a dash says that we may ignore what follows. No key
/// is derived anew on the way (`KDR`), and nothing goes in the clear (`UNENCRYPTED_SRTP`,
/// `UNENCRYPTED_SRTCP`, `UNAUTHENTICATED_SRTP`).
fn is_bearable(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    match name.to_ascii_uppercase().as_str() {
        "WSH" => number(value.as_bytes()).is_some_and(|size: u32| size >= MIN_WINDOW),
        "FEC_ORDER" => value.eq_ignore_ascii_case("FEC_SRTP"),
        name => name.starts_with('-'),
    }
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
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            format!("1 AES_192_CM_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 {long} inline:{KEY}|0"),
            format!("1 {long} inline:{KEY}|2^0x"),
            format!("1 {long} inline:{KEY}|2^49"),
            format!("1 {long} inline:{KEY}|2^64"),
            format!("1 {long} inline:{KEY}|281474976710657"),
            format!("1 {long} inline:{KEY}|-1"),
            format!("1 {long} inline:{KEY}|"),
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
            format!("1 {long} inline:{KEY} KDR=0"),
            format!("1 {long} inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 {long} inline:{KEY} UNENCRYPTED_SRTCP"),
            format!("1 {long} inline:{KEY} WSH=128 UNAUTHENTICATED_SRTP"),
            format!("1 {long} inline:{KEY} WSH=32"),
            format!("1 {long} inline:{KEY} WSH"),
            format!("1 {long} inline:{KEY} FEC_ORDER=SRTP_FEC"),
            format!("1 {long} inline:{KEY} FEC_KEY=inline:{OTHER}"),
            format!("1 {long} inline:{KEY} X=1"),
            format!("1 {long} inline:{KEY};inline:{OTHER}"),
        ] {
            assert_eq!(parse(&value), None, "{value}");
        }
    }

    #[test]
    fn each_suite_has_keys_of_its_own_length() {
        for (suite, characters) in Suite::ALL.into_iter().zip([40, 40, 64, 40, 60]) {
            let octets = [0x5a; 46];
            let key = SrtpKey::from_octets(suite, &octets[..suite.key_salt_len()]).unwrap();
            let written = write(3, &key);
            let value = written.trim_end().strip_prefix("a=crypto:").unwrap();
            let line = parse(value).expect(value);
            assert!(line.keys[0].is_same_secret(&key) && line.suite == suite);
            let inline = value.split("inline:").nth(1).unwrap().split('|').next().unwrap();
            assert_eq!(inline.len(), characters, "{value}");
            let bare = inline.trim_end_matches('=');
            assert!(parse(&value.replace(inline, bare)).is_some_and(|same| same == line));
            for wrong in [&inline[4..], &bare[1..], &bare[..bare.len() - 1]] {
                assert_eq!(parse(&value.replace(inline, wrong)), None);
            }
            assert_eq!(parse(&value.replace(inline, &format!("{inline}="))), None);
        }
    }

    #[test]
    fn the_lifetime_of_a_key_is_read_and_bearable_parameters_are_borne() {
        let long = "AES_CM_128_HMAC_SHA1_80";
        for (rest, lifetime) in [
            ("", None),
            ("|2^31", Some(1 << 31)),
            ("|2^20|1:4", Some(1 << 20)),
            ("|2^48", Some(1 << 48)),
            ("|50 WSH=64 FEC_ORDER=FEC_SRTP", Some(50)),
            ("|1048576 -KDR=3 -UNENCRYPTED_SRTP", Some(1_048_576)),
        ] {
            let line = parse(&format!("1 {long} inline:{KEY}{rest}")).expect(rest);
            assert_eq!(line.keys[0].lifetime(), lifetime, "{rest}");
        }
        let key = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &[1; 30]).unwrap();
        assert!(write(1, &key.clone().with_lifetime(1 << 20)).ends_with("|1048576\r\n"));
        assert!(write(1, &key).ends_with("|2^31\r\n"));
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
        assert!(line.tag == 7 && line.keys[0].is_same_secret(&key));
    }
}
