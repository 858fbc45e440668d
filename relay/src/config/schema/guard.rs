//! `[limits]`, `[[fraud]]`, `[[class]]`, `failover` and `[trunk.breaker]`.

use super::Kind::{self, List, Number, Shaped, Table as One, Whole, Words};
use super::shapes::{DURATION, NAME};
use super::{Table, key, table};

/// As much as any bound may be.
const BOUND: Kind = Whole(1, 1_000_000);
const CEILING: Kind = Whole(0, 1_000_000);

const CALLS: &str = "Concurrent calls.";
const CALLS_PER_SECOND: &str = "New calls per second in the long run.";
const BURST: &str = "New calls at once, after a while without any; calls_per_second if left out.";

pub(super) const TRUNK_LIMITS: Table = table(
    "Bounds on calls; without them there is none.",
    &[
        key("calls", BOUND, CALLS),
        key("calls_per_second", BOUND, CALLS_PER_SECOND),
        key("burst", BOUND, BURST),
        key("in", One(&SIDE), "Bounds on calls that come in on the trunk."),
        key("out", One(&SIDE), "Bounds on calls that go out on the trunk."),
    ],
);

pub(super) const TENANT_LIMITS: Table = table(
    "Bounds on calls; without them there is none.",
    &[
        key("calls", BOUND, CALLS),
        key("calls_per_second", BOUND, CALLS_PER_SECOND),
        key("burst", BOUND, BURST),
        key("from_teams", One(&SIDE), "Bounds on calls from Teams."),
        key("from_carrier", One(&SIDE), "Bounds on calls from carriers."),
        key(
            "when_full",
            Words(&["unavailable", "busy"]),
            "What a caller beyond these bounds is told: 503, so that another SBC may try, or 486.",
        )
        .default("unavailable"),
    ],
);

const SIDE: Table = table(
    "Bounds on calls of one direction.",
    &[
        key("calls", BOUND, CALLS),
        key("calls_per_second", BOUND, CALLS_PER_SECOND),
        key("burst", BOUND, BURST),
    ],
);

pub(super) const STATUSES: Kind = List(&Shaped("^([3-6][0-9][0-9]|[345]xx)$", "503"));
pub(super) const FAILOVER: &str = "Responses after which the next target is tried; 401, 407, 408, 503 and 504 if left out. A class such as 4xx spares what the subscriber has answered.";
pub(super) const ANSWER_TIMEOUT: &str =
    "How long a target may say nothing before the next one is tried; 500ms to 30s.";

pub(super) const BREAKER: Table = table(
    "A target that fails calls one after the other gets none for a while.",
    &[
        key("failures", Whole(1, 1000), "So many in a row.").default("5"),
        key("pause", DURATION, "For so long, and twice as long each time again; 1s to 10m.")
            .default("30s"),
    ],
);

pub(super) const CLASS: Table = table(
    "A class of destinations, for [[fraud]] of tenants: more prefixes for international, premium or satellite, or another one.",
    &[
        key("name", NAME, "What [[fraud]] calls it.").required(),
        key(
            "prefixes",
            List(&Shaped("^\\+[1-9][0-9]*\\*?$", "+49900")),
            "How its numbers begin, in E.164.",
        )
        .required(),
    ],
);

pub(super) const FRAUD: Table = table(
    "What a tenant may use of a class of destinations. At least one bound is there.",
    &[
        key("class", NAME, "international, premium, satellite, or one of [[class]].").required(),
        key("calls_per_hour", CEILING, "Calls that begin within an hour."),
        key("calls_per_day", CEILING, "Calls that begin within a day."),
        key("minutes_per_hour", CEILING, "Minutes talked within an hour."),
        key("minutes_per_day", CEILING, "Minutes talked within a day."),
        key("alarm_at", Number(0.0, 1.0), "The share of any of them at which an alarm is raised.")
            .default("0.8"),
    ],
);
