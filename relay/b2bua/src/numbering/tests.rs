//! Numbers as people dial them, country by country, and what holds for all of them.

use super::table::COUNTRIES;
use super::{Country, NumberFormat, is_e164, meant};
use proptest::prelude::*;

fn country(iso: &str) -> &'static Country {
    Country::of(iso).unwrap()
}

#[test]
fn the_table_is_sorted_and_whole() {
    assert!(COUNTRIES.is_sorted_by(|one, other| one.iso < other.iso));
    for country in COUNTRIES {
        let digits = |texts: &[&str]| {
            texts.iter().all(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        };
        let (shortest, longest) = country.digits;
        assert!(digits(&[country.code]) && !country.code.starts_with('0'), "{}", country.iso);
        assert!(digits(country.trunk) && digits(country.international), "{}", country.iso);
        assert!(!country.international.is_empty(), "{}", country.iso);
        assert!(4 <= shortest && shortest <= longest && longest <= 15, "{}", country.iso);
    }
    assert_eq!(COUNTRIES.len(), 245);
    assert_eq!(Country::of("UK"), None);
    assert_eq!(Country::of("de"), None);
}

#[test]
fn what_is_dialled_means_a_number_of_the_world() {
    for (iso, dialled, meant) in [
        ("DE", "030123456", "+4930123456"),
        ("DE", "004930123456", "+4930123456"),
        ("DE", "4930123456", "+4930123456"),
        ("DE", "0043 1", ""),
        ("DE", "00431234567", "+431234567"),
        ("DE", "0012125550123", "+12125550123"),
        ("AT", "01234567", "+431234567"),
        ("CH", "0441234567", "+41441234567"),
        ("GB", "02079460000", "+442079460000"),
        ("GB", "442079460000", "+442079460000"),
        ("FR", "0140123456", "+33140123456"),
        ("NL", "0201234567", "+31201234567"),
        // Italy keeps its 0, San Marino is behind it, mobile numbers have none.
        ("IT", "0612345678", "+390612345678"),
        ("IT", "3912345678", "+393912345678"),
        ("IT", "390612345678", "+390612345678"),
        ("IT", "393391234567", "+393391234567"),
        ("VA", "0669812345", "+390669812345"),
        ("IT", "116117", ""),
        // Dialled whole: no trunk prefix.
        ("DK", "45123456", "+4545123456"),
        ("DK", "4545123456", "+4545123456"),
        ("NO", "22123456", "+4722123456"),
        ("NO", "116117", ""),
        ("ES", "912345678", "+34912345678"),
        ("ES", "34912345678", "+34912345678"),
        ("PT", "212345678", "+351212345678"),
        ("PL", "221234567", "+48221234567"),
        ("CZ", "221234567", "+420221234567"),
        ("GR", "2101234567", "+302101234567"),
        ("LU", "26123456", "+35226123456"),
        ("LU", "116117", ""),
        // North America: 011 abroad, 1 or nothing at home.
        ("US", "12125550123", "+12125550123"),
        ("US", "2125550123", "+12125550123"),
        ("US", "011493012345678", "+493012345678"),
        ("CA", "18765550123", "+18765550123"),
        ("JM", "8765550123", "+18765550123"),
        ("US", "5550123", ""),
        // Russia and its neighbours: 8, and 8 10 abroad.
        ("RU", "84951234567", "+74951234567"),
        ("RU", "810493012345678", "+493012345678"),
        ("RU", "74951234567", "+74951234567"),
        ("KZ", "87271234567", "+77271234567"),
        ("BY", "80171234567", "+375171234567"),
        ("HU", "0611234567", "+3611234567"),
        ("LT", "852123456", "+37052123456"),
        ("LT", "052123456", "+37052123456"),
        ("AU", "0212345678", "+61212345678"),
        ("AU", "0011493012345678", "+493012345678"),
        ("JP", "0312345678", "+81312345678"),
        ("JP", "010493012345678", "+493012345678"),
        ("HK", "21234567", "+85221234567"),
        ("HK", "001493012345678", "+493012345678"),
        ("SG", "61234567", "+6561234567"),
        ("KR", "021234567", "+8221234567"),
        ("KR", "00700493012345678", "+493012345678"),
        ("BR", "01112345678", "+551112345678"),
        ("MX", "5512345678", "+525512345678"),
        ("CI", "0123456789", "+2250123456789"),
        ("CG", "061234567", "+242061234567"),
    ] {
        let meant = Some(meant.to_owned()).filter(|it| !it.is_empty());
        assert_eq!(country(iso).normalise(dialled), meant, "{dialled} in {iso}");
    }
}

#[test]
fn emergency_short_and_strange_numbers_are_left_alone_everywhere() {
    let strange = [
        "110",
        "112",
        "115",
        "118",
        "119",
        "911",
        "999",
        "000",
        "08",
        "*21*030123456#",
        "#31#",
        "",
        "anna",
        "anonymous",
        "+112",
        "+4930123456",
        "116117",
        "11833",
        "+",
        "00",
        "0",
        "1",
    ];
    for country in COUNTRIES {
        for number in strange {
            assert_eq!(country.normalise(number), None, "{number:?} in {}", country.iso);
            for format in [NumberFormat::International, NumberFormat::National] {
                if !is_e164(number) {
                    assert_eq!(format.write(Some(country), number), None, "{number:?}");
                }
            }
        }
    }
}

#[test]
fn a_number_that_costs_means_the_same_with_digits_that_are_too_many() {
    for (iso, dialled, number) in [
        (Some("DE"), "090012345", "+4990012345"),
        (Some("DE"), "0900123450000000000000000", "+4990012345"),
        (Some("DE"), "004990012345000000000000000000", "+4990012345"),
        (Some("DE"), "090012345x", "+4990012345"),
        (Some("US"), "19005550100999", "+19005550100"),
        (Some("US"), "011882123456780000000000000", "+88212345678"),
        // Ten digits are no number of Spain, but one of Germany without its +.
        (Some("ES"), "4990012345", "+4990012345"),
        (None, "004990012345000000000000000000", "+4990012345"),
        (None, "090012345", "090012345"),
        (Some("DE"), "11833", "11833"),
        (Some("DE"), "*21*030123456#", "*21*030123456#"),
        (Some("DE"), "reception", "reception"),
    ] {
        let found = meant(iso.map(country), dialled);
        assert!(found.starts_with(number), "{dialled}: {found}");
        assert_eq!(found.starts_with('+'), number.starts_with('+'), "{dialled}: {found}");
    }
}

#[test]
fn a_trunk_is_told_numbers_as_it_wants_to_have_them() {
    use NumberFormat::{E164, International, National, Plain};
    for (format, iso, number, told) in [
        (E164, "DE", "+4930123456", ""),
        (Plain, "DE", "+4930123456", "4930123456"),
        (International, "DE", "+4930123456", "004930123456"),
        (National, "DE", "+4930123456", "030123456"),
        (National, "DE", "+431234567", "00431234567"),
        (National, "DE", "+12125550123", "0012125550123"),
        (National, "IT", "+390612345678", "0612345678"),
        (National, "DK", "+4545123456", "45123456"),
        (National, "DK", "+4930123456", "004930123456"),
        (National, "US", "+12125550123", "2125550123"),
        (National, "US", "+493012345678", "011493012345678"),
        (International, "US", "+493012345678", "011493012345678"),
        (International, "US", "+18765550123", "18765550123"),
        (National, "RU", "+74951234567", "84951234567"),
        (National, "RU", "+493012345678", "810493012345678"),
        (National, "BY", "+375171234567", "80171234567"),
        (National, "HU", "+3611234567", "0611234567"),
        (National, "AU", "+493012345678", "0011493012345678"),
        (National, "DE", "030123456", ""),
        (Plain, "DE", "+112", ""),
        (Plain, "DE", "anna", ""),
    ] {
        let told = Some(told.to_owned()).filter(|it| !it.is_empty());
        assert_eq!(format.write(Some(country(iso)), number), told, "{number} in {iso}");
    }
    assert_eq!(National.write(None, "+4930123456"), None, "nobody knows where");
    assert_eq!(Plain.write(None, "+4930123456").as_deref(), Some("4930123456"));
}

fn any_country() -> impl Strategy<Value = &'static Country> {
    (0..COUNTRIES.len()).prop_map(|at| &COUNTRIES[at])
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(country in any_country(), dialled in "[0-9]{0,20}") {
        if let Some(once) = country.normalise(&dialled) {
            prop_assert!(is_e164(&once), "{} {}", dialled, once);
            prop_assert_eq!(country.normalise(&once), None);
        }
    }

    #[test]
    fn what_is_written_for_a_trunk_means_the_same_number_there(
        country in any_country(),
        own in any::<bool>(),
        digits in "[1-9][0-9]{4,13}",
    ) {
        let number = if own { format!("+{}{digits}", country.code) } else { format!("+{digits}") };
        for format in [NumberFormat::International, NumberFormat::National] {
            if let Some(told) = format.write(Some(country), &number) {
                prop_assert_eq!(country.normalise(&told), Some(number.clone()));
            }
        }
        let told = NumberFormat::Plain.write(None, &number);
        prop_assert_eq!(told.map(|told| format!("+{told}")), Some(number).filter(|it| is_e164(it)));
    }

    #[test]
    fn a_number_of_the_country_is_written_and_read_there(
        country in any_country(),
        digits in "[2-9][0-9]{14}",
    ) {
        let (_, longest) = country.digits;
        let national = &digits[..usize::from(longest)];
        let number = format!("+{}{national}", country.code);
        prop_assume!(country.is_national(national) && is_e164(&number));
        let told = NumberFormat::International.write(Some(country), &number);
        prop_assert_eq!(told.and_then(|told| country.normalise(&told)), Some(number.clone()));
        let told = NumberFormat::National.write(Some(country), &number);
        prop_assert_eq!(told.and_then(|told| country.normalise(&told)), Some(number));
    }

    #[test]
    fn no_text_of_a_stranger_is_too_much(country in any_country(), text in any::<String>()) {
        let _ = country.normalise(&text);
        let _ = meant(Some(country), &text);
        let _ = NumberFormat::National.write(Some(country), &text);
    }
}
