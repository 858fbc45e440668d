//! Headers that cross as they are, each where somebody on the other side reads it. Whatever is not
//! named here stays on its leg: `P-Charging-Vector` and its kin, `X-MS-...`, `Referred-By`
//! (TDR-OUT-010, TDR-FWD-007).

use bytes::Bytes;
use sip_core::{Headers, Name};

/// Octets of one value: User-to-User holds 128 octets in hexadecimal (RFC 7433, 4.1), a reference
/// to a location is a URI.
const VALUE_MAX: usize = 1024;
/// Values of one header.
const VALUES_MAX: usize = 4;

/// Where a header may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Everywhere,
    /// Never to Teams, and never from there.
    Carriers,
    /// With the location of the caller, or about it.
    Location,
}

/// RFC 7433, RFC 3261, RFC 5009 and RFC 6442.
const CARRIED: &[(Name, Reach)] = &[
    (Name::Other("User-to-User"), Reach::Everywhere),
    (Name::Priority, Reach::Everywhere),
    (Name::Other("P-Early-Media"), Reach::Carriers),
    (Name::Geolocation, Reach::Location),
    (Name::Other("Geolocation-Routing"), Reach::Location),
    (Name::Other("Geolocation-Error"), Reach::Location),
];

/// What is between two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Neither leg is Teams.
    pub(crate) carriers: bool,
    /// The location crosses.
    pub(crate) location: bool,
}

/// Headers to be carried across.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried(Vec<(Name, Reach, Bytes)>);

impl Carried {
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut carried = Vec::new();
        for (name, reach) in CARRIED {
            let values = headers.all(*name).filter(|value| value.len() <= VALUE_MAX);
            let values = values.take(VALUES_MAX).map(Bytes::copy_from_slice);
            carried.extend(values.map(|value| (*name, *reach, value)));
        }
        Self(carried)
    }

    pub(crate) fn write(&self, headers: &mut Headers, passage: Passage) {
        for (name, reach, value) in &self.0 {
            let passes = match reach {
                Reach::Everywhere => true,
                Reach::Carriers => passage.carriers,
                Reach::Location => passage.location,
            };
            if passes {
                headers.push(*name, value.clone());
            }
        }
    }
}
