//! Emergency numbers: those of a tenant, and by default those of its country.

use crate::plan::{RouteFrom, Tenant};

/// Whether the number is one of the tenant's emergency numbers.
pub(crate) fn is_emergency(tenant: &Tenant, from: RouteFrom, number: &str) -> bool {
    from == RouteFrom::Teams && tenant.emergency.iter().any(|e| e == dialled(number))
}

/// Emergency numbers come without `+` from Teams, and with it from old clients (TDR-EMG-001).
pub(super) fn dialled(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

/// The emergency numbers of a country (ISO 3166, two letters), as dialled there: its general ones, and
/// those of police, ambulance and fire brigade. Of a country that is not in the table, those that
/// networks all over the world know.
pub fn numbers_of(country: &str) -> &'static [&'static str] {
    let found = COUNTRIES.iter().find(|(codes, _)| codes.split(' ').any(|code| code == country));
    found.map_or(ANYWHERE, |(_, numbers)| numbers)
}

/// 3GPP TS 22.101, 10.1.1: what every mobile network takes for an emergency.
const ANYWHERE: &[&str] = &["112", "911"];

/// ITU-T E.129 and the national numbering plans. Numbers that only some town has are left out: a call
/// to them is an ordinary one.
const COUNTRIES: &[(&str, &[&str])] = &[
    ("US CA PR VI GU AS MP", &["911", "112"]),
    ("MX CR PA DO GT HN NI SV BZ BS BB JM TT EC PE UY AR PY VE CO", &["911", "112"]),
    ("DE", &["110", "112"]),
    ("AT", &["112", "122", "133", "144", "140"]),
    ("CH LI", &["112", "117", "118", "144", "1414"]),
    ("GB GG JE IM GI", &["999", "112"]),
    ("IE", &["112", "999"]),
    ("FR MC", &["112", "15", "17", "18", "114", "196"]),
    ("IT SM VA", &["112", "113", "115", "118"]),
    ("ES", &["112", "091", "062", "061", "080", "085"]),
    ("PL", &["112", "997", "998", "999"]),
    ("CZ SK", &["112", "150", "155", "158"]),
    ("HU", &["112", "104", "105", "107"]),
    ("SI", &["112", "113"]),
    ("HR", &["112", "192", "193", "194"]),
    ("GR", &["112", "100", "166", "199"]),
    ("BE", &["112", "100", "101"]),
    ("LU", &["112", "113"]),
    ("NO", &["112", "110", "113"]),
    ("DK NL PT SE FI EE LV LT MT CY BG RO IS GE AD GL FO", &["112"]),
    ("RS ME BA MK", &["112", "192", "193", "194"]),
    ("AL", &["112", "127", "128", "129"]),
    ("UA", &["112", "101", "102", "103"]),
    ("MD", &["112"]),
    ("TR", &["112"]),
    ("IL", &["100", "101", "102", "112"]),
    ("AE", &["999", "998", "997", "112"]),
    ("SA", &["911", "997", "998", "999", "112"]),
    ("QA KW BH", &["999", "112"]),
    ("EG", &["122", "123", "180", "112"]),
    ("ZA", &["10111", "10177", "112"]),
    ("NG", &["112", "199"]),
    ("KE", &["999", "112"]),
    ("IN", &["112", "100", "101", "102", "108"]),
    ("PK", &["15", "16", "1122", "112"]),
    ("BD", &["999", "112"]),
    ("LK", &["118", "119", "110", "112"]),
    ("CN", &["110", "119", "120", "122"]),
    ("HK MO", &["999", "112"]),
    ("TW", &["110", "119", "112"]),
    ("JP", &["110", "118", "119"]),
    ("KR", &["112", "119"]),
    ("SG", &["999", "995", "112"]),
    ("MY", &["999", "112"]),
    ("TH", &["191", "199", "1669"]),
    ("VN", &["112", "113", "114", "115"]),
    ("PH", &["911", "112"]),
    ("ID", &["112", "110", "113", "118"]),
    ("AU", &["000", "112", "106"]),
    ("NZ", &["111", "112"]),
    ("BR", &["190", "192", "193", "112", "911"]),
    ("CL", &["131", "132", "133"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_numbers_of_its_own_once() {
        assert_eq!(numbers_of("DE"), ["110", "112"]);
        assert_eq!(numbers_of("AU"), ["000", "112", "106"]);
        assert_eq!(numbers_of("XX"), ["112", "911"], "and so has one that we do not know");
        let mut seen = std::collections::HashSet::new();
        for (codes, numbers) in COUNTRIES {
            assert!(codes.split(' ').all(|code| code.len() == 2 && seen.insert(code)), "{codes}");
            assert!(numbers.iter().all(|n| n.len() >= 2 && n.bytes().all(|b| b.is_ascii_digit())));
        }
    }
}
