//! `tenants.d/NAME.toml`.

use super::Kind::{Flag, List, OneOrMore, Table as One, Tables as Several, Words};
use super::shapes::{COUNTRY, DIALLED, FQDN, NAME, NUMBERS, PATTERN};
use super::{Table, key, table, trunk};

pub(super) const TENANT: Table = table(
    "A tenant. Its name is the file's.",
    &[
        key(
            "fqdns",
            List(&FQDN),
            "The names that Teams knows this tenant's SBC by; each belongs to one tenant of the host.",
        )
        .required(),
        key(
            "numbers",
            List(&NUMBERS),
            "Its numbers in E.164, single or as a range; each belongs to one tenant of the host.",
        ),
        key(
            "emergency",
            List(&DIALLED),
            "Numbers that are emergency calls here, as dialled in Teams.",
        ),
        key(
            "hold",
            Words(&["inactive", "absorb"]),
            "How a hold by the carrier reaches Teams: told, or not told at all.",
        )
        .default("inactive"),
        key(
            "transfer",
            Words(&["refer", "none"]),
            "Who does a transfer that a Teams user asks for: Tollgate (refer), or Teams in its cloud (none).",
        )
        .default("none"),
        key("country", COUNTRY, "Where it is; that of [node] if left out."),
        key("limits", One(&trunk::LIMITS), "Bounds on calls of this tenant; without them there is none."),
        key("route", Several(&ROUTE), "Routes are tried from the top; the first that matches decides."),
    ],
);

const ROUTE: Table = table(
    "Which calls go where.",
    &[
        key("from", Words(&["teams", "carrier"]), "The side that the calls come from.").required(),
        key("match", OneOrMore(&PATTERN), "The called number, as one pattern or several."),
        key("to", List(&NAME), "Trunks in order: the next one is tried if one fails."),
        key("emergency", Flag, "Whether it is for emergency numbers.").default("false"),
    ],
);
