//! Which keys a trunk's legs agree: `srtp`, `srtp_keying`, `srtp_suites`, `srtp_passthrough`.

use super::reader::Reader;
use super::value;
use b2bua::plan::SrtpPolicy;
use sdp::{Keying, Suite, Suites};

const SRTP: &[(&str, SrtpPolicy)] = &[
    ("required", SrtpPolicy::Required),
    ("preferred", SrtpPolicy::Preferred),
    ("off", SrtpPolicy::Off),
];

const KEYING: &[(&str, Keying)] = &[("sdes", Keying::Sdes), ("dtls", Keying::Dtls)];

/// As the registered names are written (RFC 4568, RFC 6188, RFC 7714).
const SUITES: &[(&str, Suite)] = &[
    (Suite::AesCm128HmacSha1_80.name(), Suite::AesCm128HmacSha1_80),
    (Suite::AesCm128HmacSha1_32.name(), Suite::AesCm128HmacSha1_32),
    (Suite::Aes256CmHmacSha1_80.name(), Suite::Aes256CmHmacSha1_80),
    (Suite::AeadAes128Gcm.name(), Suite::AeadAes128Gcm),
    (Suite::AeadAes256Gcm.name(), Suite::AeadAes256Gcm),
];

/// Reads `srtp`.
pub(crate) fn policy(table: &mut Reader<'_>, teams: bool) -> SrtpPolicy {
    let default = if teams { SrtpPolicy::Required } else { SrtpPolicy::Off };
    let srtp = table.optional("srtp", value::one_of(SRTP));
    if let (true, Some(srtp)) = (teams, &srtp)
        && srtp.value == SrtpPolicy::Off
    {
        table.warning(srtp.place, "Teams takes no call without SRTP", None);
    }
    srtp.map_or(default, |at| at.value)
}

/// Reads `srtp_keying`: how the keys are agreed.
pub(crate) fn keying(table: &mut Reader<'_>, teams: bool) -> Keying {
    if teams {
        table.idle("srtp_keying", "Teams takes keys in SDP alone");
        return Keying::Sdes;
    }
    table.optional_or("srtp_keying", value::one_of(KEYING), Keying::Sdes)
}

/// Reads `srtp_suites`, in order of preference.
pub(crate) fn suites(table: &mut Reader<'_>, teams: bool) -> Suites {
    if teams {
        table.idle("srtp_suites", "Teams is offered AES_CM_128_HMAC_SHA1_80, and has no better");
        return Suites::default();
    }
    let named = table.list("srtp_suites", 1..=Suite::ALL.len(), value::one_of(SUITES));
    named.map_or_else(Suites::default, |named| named.iter().map(|at| at.value).collect())
}

/// Reads `srtp_passthrough`.
pub(crate) fn passthrough(table: &mut Reader<'_>) -> bool {
    table.optional_or("srtp_passthrough", value::flag, false)
}
