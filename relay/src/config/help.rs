//! What a tenant says of calls to emergency numbers: `[[location]]`, `emergency_caller` and
//! `emergency_call_back` (docs/operations/emergency.md).

use super::numbers;
use super::problem::At;
use super::reader::Reader;
use super::value;
use b2bua::plan::{CALL_BACK, Help, Location, NumberRange};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Places of one tenant: a campus with every floor of every building.
const LOCATIONS_MAX: usize = 2000;
/// Numbers of one place: so many of its callers are told apart at once.
const ELINS_MAX: usize = 64;
/// Elements of one civic address (RFC 5139 has some forty).
const CIVIC_MAX: usize = 64;
/// Shorter than [`CALL_BACK`] is hardly meant; what Microsoft's partners ask for is longer.
const CALL_BACK_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(7 * 24 * 3600);

/// Reads it from the top of a tenant's file, whose numbers are these.
pub(super) fn read(top: &mut Reader<'_>, owned: &[At<NumberRange>]) -> Help {
    let caller = top.optional("emergency_caller", numbers::number);
    if let Some(caller) = &caller
        && !owns(owned, &caller.value)
    {
        let said =
            "`emergency_caller` is no number of the tenant: nobody here is called back there";
        let hint = "list it in `numbers`, or have whoever owns it know".to_owned();
        top.warning(caller.place, said, Some(hint));
    }
    let call_back = top.optional("emergency_call_back", value::duration(CALL_BACK_RANGE));
    if let Some(call_back) = &call_back
        && call_back.value < CALL_BACK
    {
        let said = "`emergency_call_back` is shorter than the hour that emergency services expect";
        top.warning(call_back.place, said, None);
    }
    let locations = top.each("location", "location", "name", |table| location(table, owned));
    if locations.len() > LOCATIONS_MAX {
        let said = format!("{} tables [[location]]; {LOCATIONS_MAX} are the most", locations.len());
        top.error(top.place(), &said, None);
    }
    Help {
        locations: locations.into_iter().flatten().collect(),
        caller: caller.map(|at| at.value),
        call_back: call_back.map(|at| at.value),
    }
}

fn location(table: &mut Reader<'_>, owned: &[At<NumberRange>]) -> Option<Location> {
    let name = table.required("name", value::label);
    let elins = table.list("elin", 1..=ELINS_MAX, numbers::number);
    if elins.is_none() {
        let hint = "the numbers that stand for the place: elin = [\"+4930123450\"]";
        table.missing("elin", Some(hint.to_owned()));
    }
    for elin in elins.iter().flatten().filter(|elin| !owns(owned, &elin.value)) {
        let said = format!(
            "ELIN \"{}\" is no number of the tenant, so that nobody can call back to it",
            elin.value
        );
        table.error(elin.place, &said, Some("list it in `numbers`".to_owned()));
    }
    let civic = table.section("civic", |civic| {
        let elements = civic.entries();
        if elements.len() > CIVIC_MAX {
            let said = format!("has {} elements; {CIVIC_MAX} are the most", elements.len());
            civic.error(civic.place(), &said, None);
        }
        let mut read = |name: &str| {
            let text = civic.optional(name, value::label)?.value;
            Some((Box::from(name), text.trim().into()))
        };
        elements.iter().filter_map(|element| read(&element.value)).collect()
    });
    let elins: Vec<Box<str>> = elins?.into_iter().map(|at| at.value).collect();
    Some(Location {
        name: name?.value.into(),
        elins: elins.into(),
        civic: civic.unwrap_or_default(),
    })
}

fn owns(owned: &[At<NumberRange>], number: &str) -> bool {
    let digits = number.trim_start_matches('+');
    let (Ok(value), Ok(count)) = (digits.parse::<u64>(), u8::try_from(digits.len())) else {
        return false;
    };
    owned.iter().any(|at| {
        let range = &at.value;
        range.digits == count && (range.first..=range.last).contains(&value)
    })
}
