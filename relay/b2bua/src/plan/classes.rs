//! The destination classes that are there without being configured.
//!
//! What a prefix costs is a matter of contracts and changes; these are the ranges that numbering plans
//! set apart for services at a price of their own (ITU-T E.164 and national plans). `[[class]]` adds
//! what a carrier bills as well.

use super::class::{Home, Prefixes};
use crate::numbering::Country;

/// Every country but the tenant's.
pub const INTERNATIONAL: &str = "international";
/// Numbers at a price of their own.
pub const PREMIUM: &str = "premium";
/// Satellites, and networks of no country.
pub const SATELLITE: &str = "satellite";

/// The prefixes of a built-in class; `None`: there is none of this name.
pub fn built_in(name: &str) -> Option<&'static [&'static str]> {
    match name {
        INTERNATIONAL => Some(&[]),
        PREMIUM => Some(PREMIUM_PREFIXES),
        SATELLITE => Some(SATELLITE_PREFIXES),
        _ => None,
    }
}

/// Inmarsat (870), satellite systems (881: Iridium, Globalstar), and international networks (882 and
/// 883: Thuraya, networks at sea and in the air).
const SATELLITE_PREFIXES: &[&str] = &["+870", "+881", "+882", "+883"];

const PREMIUM_PREFIXES: &[&str] = &[
    "+979",  // international premium rate
    "+1900", // North America
    "+2786", // South Africa
    "+30901", "+30909", // Greece
    "+31900", "+31906", "+31909", "+3118", // Netherlands
    "+3290", "+3270", // Belgium
    "+3389", "+33118", // France
    "+34803", "+34806", "+34807", "+34905", "+34907", "+34118", // Spain
    "+35160", "+35164", "+35176", // Portugal
    "+35290", // Luxembourg
    "+35315", // Ireland
    "+358600", "+358606", "+358700", // Finland
    "+35990",  // Bulgaria
    "+3690", "+3691",   // Hungary
    "+370900", // Lithuania
    "+37190",  // Latvia
    "+372900", // Estonia
    "+380900", "+380703", // Ukraine
    "+38560", "+38561", "+38564", "+38565", "+38569", // Croatia
    "+38689", "+38690", // Slovenia
    "+39144", "+39163", "+39164", "+39166", "+39178", // Italy
    "+39892", "+39893", "+39894", "+39895", "+39899", "+40900", "+40903", "+40906", // Romania
    "+41900", "+41901", "+41906", // Switzerland
    "+42090", "+42097",  // Czechia
    "+421900", // Slovakia
    "+43118", "+43900", "+43901", "+43930", "+43931", "+43939", // Austria
    "+44118", "+4470", "+44871", "+44872", "+44873", "+449",  // United Kingdom
    "+4590", // Denmark
    "+46900", "+46939", "+46944", "+4699", // Sweden
    "+47820", "+47829", // Norway
    "+48701", "+48703", "+48704", "+48708", "+48300", "+48400", // Poland
    "+49118", "+4912", "+49137", "+49190", "+49900", // Germany
    "+55300", "+55900",  // Brazil
    "+61190",  // Australia
    "+64900",  // New Zealand
    "+651900", // Singapore
    "+7803", "+7809",  // Russia
    "+81990", // Japan
    "+82060", "+8260",   // Korea
    "+852900", // Hong Kong
    "+90888", "+90898", "+90900", // Turkey
    "+9721900", "+9721901", // Israel
];

/// The countries within +1 beside the United States, their territories and Canada, by area codes: what
/// scams use, as they look like a call across the street.
const ISLANDS: &[(&str, &[&str])] = &[
    ("AG", &["+1268"]),
    ("AI", &["+1264"]),
    ("BB", &["+1246"]),
    ("BM", &["+1441"]),
    ("BS", &["+1242"]),
    ("DM", &["+1767"]),
    ("DO", &["+1809", "+1829", "+1849"]),
    ("GD", &["+1473"]),
    ("JM", &["+1658", "+1876"]),
    ("KN", &["+1869"]),
    ("KY", &["+1345"]),
    ("LC", &["+1758"]),
    ("MS", &["+1664"]),
    ("SX", &["+1721"]),
    ("TC", &["+1649"]),
    ("TT", &["+1868"]),
    ("VC", &["+1784"]),
    ("VG", &["+1284"]),
];

/// Kazakhstan's part of +7.
const KAZAKHSTAN: &[&str] = &["+76", "+77"];

/// Which numbers are at home in a country.
pub fn home(country: &Country) -> Home {
    let prefixes = |list: &[&str]| list.iter().copied().collect::<Prefixes>();
    let code = format!("+{}", country.code);
    let islands = || ISLANDS.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    let own = ISLANDS.iter().find(|(iso, _)| *iso == country.iso).map(|(_, codes)| *codes);
    match (country.code, country.iso, own) {
        ("1", _, Some(own)) => Home { codes: prefixes(own), but: Prefixes::default() },
        ("1", ..) => Home { codes: prefixes(&[&code]), but: islands() },
        ("7", "KZ", _) => Home { codes: prefixes(KAZAKHSTAN), but: Prefixes::default() },
        ("7", ..) => Home { codes: prefixes(&[&code]), but: prefixes(KAZAKHSTAN) },
        _ => Home { codes: prefixes(&[&code]), but: Prefixes::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_prefix_is_one() {
        let islands = ISLANDS.iter().flat_map(|(_, codes)| codes.iter());
        for prefix in PREMIUM_PREFIXES.iter().chain(SATELLITE_PREFIXES).chain(islands) {
            let digits = prefix.strip_prefix('+').unwrap_or_default();
            let holds = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() >= 3;
            assert!(holds && !digits.starts_with('0'), "{prefix}");
        }
    }

    #[test]
    fn a_call_to_an_island_is_no_call_at_home_and_neither_is_one_to_a_neighbour_of_the_same_code() {
        let home = |iso| home(Country::of(iso).unwrap());
        for (iso, number, at_home) in [
            ("US", "+12125550100", true),
            ("US", "+16135550100", true),
            ("PR", "+12125550100", true),
            ("US", "+18765550100", false),
            ("US", "+442079460000", false),
            ("JM", "+18765550100", true),
            ("JM", "+12125550100", false),
            ("DO", "+18295550100", true),
            ("RU", "+74951234567", true),
            ("RU", "+77271234567", false),
            ("KZ", "+77271234567", true),
            ("KZ", "+74951234567", false),
            ("DE", "+49301234567", true),
        ] {
            assert_eq!(home(iso).holds(number), at_home, "{iso} {number}");
        }
    }
}
