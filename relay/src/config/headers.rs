//! What a trunk's headers may say and what it is told: `identity`, `identity_diverted`, `privacy_id`,
//! `forwarding`, `geolocation` and `reason`.

use super::reader::Reader;
use super::value;
use b2bua::plan::{
    DivertedIdentity, Forwarding, Geolocation, HeaderPolicy, PrivacyId, ReasonPolicy, Trust,
};

const IDENTITY: &[(&str, Trust)] = &[("trusted", Trust::Trusted), ("untrusted", Trust::Untrusted)];
const PRIVACY_ID: &[(&str, PrivacyId)] = &[
    ("honour", PrivacyId::Honour),
    ("if-anonymous", PrivacyId::IfAnonymous),
    ("strip", PrivacyId::Strip),
];
const FORWARDING: &[(&str, Forwarding)] = &[
    ("diversion", Forwarding::Diversion),
    ("history-info", Forwarding::HistoryInfo),
    ("both", Forwarding::Both),
    ("none", Forwarding::None),
];
const GEOLOCATION: &[(&str, Geolocation)] = &[
    ("emergency", Geolocation::Emergency),
    ("pass", Geolocation::Pass),
    ("strip", Geolocation::Strip),
];

const DIVERTED: &[(&str, DivertedIdentity)] =
    &[("caller", DivertedIdentity::Caller), ("diverter", DivertedIdentity::Diverter)];
const REASON: &[(&str, ReasonPolicy)] =
    &[("derive", ReasonPolicy::Derive), ("pass", ReasonPolicy::Pass), ("drop", ReasonPolicy::Drop)];

/// Reads them from a `[[trunk]]`.
pub(crate) fn read(table: &mut Reader<'_>, teams: bool) -> HeaderPolicy {
    let usual = HeaderPolicy::default();
    let privacy_id = table.optional_or("privacy_id", value::one_of(PRIVACY_ID), usual.privacy_id);
    if teams {
        table.idle("identity", "Microsoft asserts who calls, and reads no assertion of ours");
        table.idle("forwarding", "Teams is told who diverted a call by History-Info, always");
        table.idle("geolocation", "Teams takes no location");
        table.idle("reason", "Teams is always told why a call ends");
        table.idle("identity_diverted", "Microsoft reads no assertion of ours");
        return HeaderPolicy { privacy_id, ..usual };
    }
    HeaderPolicy {
        identity: table.optional_or("identity", value::one_of(IDENTITY), usual.identity),
        privacy_id,
        forwarding: table.optional_or("forwarding", value::one_of(FORWARDING), usual.forwarding),
        geolocation: table.optional_or(
            "geolocation",
            value::one_of(GEOLOCATION),
            usual.geolocation,
        ),
        reason: table.optional_or("reason", value::one_of(REASON), usual.reason),
        diverted: table.optional_or("identity_diverted", value::one_of(DIVERTED), usual.diverted),
    }
}
