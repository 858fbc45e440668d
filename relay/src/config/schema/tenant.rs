//! `tenants.d/NAME.toml`.

use super::Kind::{
    self, Either, Flag, List, OneOrMore, Table as One, Tables as Several, Text, Whole, Words,
};
use super::shapes::{
    COUNTRY, DIALLED, DURATION, DURATION_OR_OFF, FQDN, GUID, NAME, NUMBERS, PATTERN, SPAN, TIMEZONE,
};
use super::{Table, guard, key, rules, table};

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
            "model",
            Words(&["carrier", "classic"]),
            "Whose trunk the FQDNs are at Microsoft: names below the host's (carrier), or each a trunk that is set up in the tenant's own Teams (classic).",
        )
        .default("carrier"),
        key(
            "tenant_id",
            GUID,
            "What Microsoft calls the tenant: transfers by users of another are refused.",
        ),
        key(
            "numbers",
            List(&NUMBERS),
            "Its numbers in E.164, single or as a range; each belongs to one tenant of the host.",
        ),
        key(
            "emergency",
            List(&DIALLED),
            "Numbers that are emergency calls here, as dialled in Teams; those of its country if left out.",
        ),
        key(
            "emergency_caller",
            rules::NUMBER,
            "Shown for emergency callers who have no number of their own.",
        ),
        key(
            "emergency_call_back",
            DURATION,
            "How long a number of a location leads to who has called under it, from the end of the call; 10m to 7 days.",
        )
        .default("1h"),
        key(
            "location",
            Several(&LOCATION),
            "Places of emergency callers, with the numbers that stand for them (docs/operations/emergency.md).",
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
        key(
            "progress_after",
            DURATION_OR_OFF,
            "After so long without a word of a carrier's, Teams is told 183 without SDP, 1s to 60s; \"off\": never.",
        )
        .default("off"),
        key("timezone", TIMEZONE, "Whose clock counts for `when` of its routes."),
        key("country", COUNTRY, "Where it is; that of [node] if left out."),
        key("hook", One(&HOOK), "A service that is asked where each call goes, before the routes are."),
        key("limits", One(&guard::TENANT_LIMITS), "Bounds on calls of this tenant; without them there is none."),
        key("suspended", Flag, "Whether it makes and takes no new calls but to emergency numbers.")
            .default("false"),
        key("fraud", Several(&guard::FRAUD), "What it may use of destinations that cost."),
        key("block", One(&rules::BLOCK), "Calls of this tenant that are refused."),
        rules::CALLER,
        rules::CALLER_NUMBER,
        key(
            "privacy",
            Words(&["pass", "anonymous"]),
            "Whether carriers are told who calls: as each caller wants, or never.",
        )
        .default("pass"),
        rules::CODECS,
        key(
            "transcode",
            Flag,
            "Whether calls without a codec in common are transcoded, where no trunk says.",
        )
        .default("false"),
        key(
            "ringback",
            Words(&["pass", "all", "first", "local", "tone"]),
            "What callers are told and hear before the callee answers: early media and what its side says, the first of that alone, a tone of their own side, or one of ours.",
        )
        .default("pass"),
        key(
            "sbc",
            Several(&SBC),
            "SBCs behind this one that Teams reaches through it (Local Media Optimization).",
        ),
        key("rewrite", Several(&rules::TENANT_REWRITE), "Changes of numbers of its calls."),
        key("header", Several(&rules::TENANT_HEADER), "Changes of header lines of its calls."),
        key("route", Several(&ROUTE), "Routes are tried from the top; the first that matches decides."),
    ],
);

const SBC: Table = table(
    "An SBC behind this one, with telephone lines of its own.",
    &[
        key("fqdn", FQDN, "The name that Teams knows it by.").required(),
        key("trunk", NAME, "The trunk that leads to it.").required(),
    ],
);

const LOCATION: Table = table(
    "A place that emergency callers may be at.",
    &[
        key("name", Text, "What operators call it.").required(),
        key("elin", List(&rules::NUMBER), "The numbers that stand for it, of the tenant's own.")
            .required(),
        key(
            "civic",
            One(&CIVIC),
            "What the civic address of a caller there says, element by element; without it the place is for callers who are in no other.",
        ),
    ],
);

const CIVIC: Table = Table {
    about: "Elements of a civic address (RFC 5139) and their text, such as A3 = \"Redmond\".",
    keys: &[],
    every: Some(Text),
};

const HOOK: Table = table(
    "A service that is asked where each call goes (docs/operations/hook.md).",
    &[
        key(
            "url",
            Kind::Shaped("^https?://[^/@# ]+(/[^# ]*)?$", "https://cc.contoso.example/route"),
            "Where the question is posted.",
        )
        .required(),
        key("timeout", DURATION, "What an answer may take, 50ms to 5s: the caller waits meanwhile.")
            .default("500ms"),
        key(
            "cache",
            DURATION_OR_OFF,
            "How long an answer holds for the same called, calling and trunk, 1s to 24h; \"off\": not at all.",
        )
        .default("off"),
        key(
            "fallback",
            Words(&["table", "refuse"]),
            "Without an answer the routes decide, or the call is refused with 503.",
        )
        .default("table"),
        key(
            "token_file",
            Text,
            "The file with the bearer token and nothing else, readable for the service only.",
        ),
        key(
            "roots",
            Text,
            "What the certificate of an https service chains to: \"system\", or a PEM file.",
        )
        .default("system"),
    ],
);

const ROUTE: Table = table(
    "Which calls go where.",
    &[
        key("from", Words(&["teams", "carrier"]), "The side that the calls come from.").required(),
        key("match", OneOrMore(&PATTERN), "The called number, as one pattern or several."),
        rules::CALLER,
        rules::CALLER_NUMBER,
        key(
            "to",
            OneOrMore(&STEP),
            "Trunks in order: the next one is tried if one fails; a table shares by weight.",
        ),
        key("emergency", Flag, "Whether it is for emergency numbers.").default("false"),
        key(
            "pidf",
            Words(&["passthrough", "strip", "elin"]),
            "What becomes of the location of emergency callers: told, not told, or a number that stands for it; what each trunk says if left out.",
        ),
        key("name", Text, "A label for operators."),
        key("calling", OneOrMore(&PATTERN), "The calling number; any if left out."),
        key("via", OneOrMore(&NAME), "The trunks it takes calls from; all if left out."),
        key("when", OneOrMore(&SPAN), "Days, dates and times of day; always if left out."),
        key("timezone", TIMEZONE, "Whose clock counts for `when`; the tenant's if left out."),
        key("priority", Whole(0, 65535), "Lower ones are tried first.").default("100"),
        key("least_cost", NAME, "Rates that order its trunks; those in `to` come after."),
        key("failover", guard::STATUSES, guard::FAILOVER),
        key("answer_timeout", DURATION, guard::ANSWER_TIMEOUT),
    ],
);

/// A trunk, or several that share by weight.
const STEP: Kind = Either(&[NAME, One(&SHARE)]);

const SHARE: Table = Table {
    about: "Trunks with their weights: each call draws one, the others come next.",
    keys: &[],
    every: Some(Whole(0, 10_000)),
};
