//! `[[rewrite]]`, `[[header]]` and `[block]`, of a trunk, a tenant or the host.

use super::Kind::{OneOrMore, Shaped, Text, Whole, Words};
use super::shapes::PATTERN;
use super::{Key, Kind, Table, key, table};

/// A codec's name.
pub(super) const CODEC: Kind = Shaped("^-?[A-Za-z0-9][A-Za-z0-9-]*$", "PCMA");
/// A number in E.164.
pub(super) const NUMBER: Kind = Shaped("^\\+[1-9][0-9]*$", "+4930123450");

/// Who calls, as a tenant or a route shows it.
pub(super) const CALLER: Key = key(
    "caller",
    Words(&["pass", "own", "substitute", "anonymous"]),
    "Who is shown as caller: whoever it is, a number of the tenant or else caller_number, caller_number, nobody.",
);
pub(super) const CALLER_NUMBER: Key =
    key("caller_number", NUMBER, "The number that is shown in place of the caller's.");
pub(super) const CODECS: Key = key(
    "codecs",
    Kind::List(&CODEC),
    "The only codecs, first preferred; telephone-event stays unless the list has -telephone-event.",
);

/// Of the host or a tenant.
pub(super) const BLOCK: Table = table(
    "Calls that are refused with 403, emergency calls excepted.",
    &[
        key("called", OneOrMore(&PATTERN), "By the number called."),
        key("calling", OneOrMore(&PATTERN), "By the number calling."),
    ],
);

const DIRECTION: Key =
    key("direction", Words(&["in", "out"]), "Whether the call comes in or goes out.").required();
const PARTY: Key =
    key("number", Words(&["called", "calling", "both"]), "Which number it changes.").required();
const MATCH: Key = key("match", OneOrMore(&PATTERN), "The numbers that it is for.").required();
const STRIP: Key = key("strip", Whole(1, 32), "So many characters are taken away at the front.");
const PREPEND: Key = key("prepend", Text, "What is put at the front then.");
const REPLACE: Key =
    key("replace", Text, "What the regular expression in match finds becomes; $1 is its group.");
const SIDE: Key = key("side", Words(&["teams", "carrier"]), "The side that the call comes from.");

/// Of a trunk.
pub(super) const TRUNK_REWRITE: Table = table(
    "A change of numbers; the first that is for a number decides.",
    &[DIRECTION, PARTY, MATCH, STRIP, PREPEND, REPLACE],
);

/// Of a tenant.
pub(super) const TENANT_REWRITE: Table = table(
    "A change of numbers; the first that is for a number decides.",
    &[DIRECTION, PARTY, MATCH, STRIP, PREPEND, REPLACE, SIDE],
);

const ACTION: Key =
    key("action", Words(&["add", "remove", "replace", "copy"]), "What is done.").required();
const NAME: Key = key("name", Text, "The header.").required();
const VALUE: Key = key(
    "value",
    Text,
    "What is written; {called}, {calling}, {tenant}, {trunk} and {call} stand for those of the call.",
);
const FIND: Key = key("match", Text, "The part of the line that is replaced, as /regex/.");
const FROM: Key = key("from", Text, "The header of the INVITE that came in; the same if left out.");

/// Of a trunk.
pub(super) const TRUNK_HEADER: Table =
    table("A change of header lines in INVITEs to it.", &[ACTION, NAME, VALUE, FIND, FROM]);

/// Of a tenant.
pub(super) const TENANT_HEADER: Table = table(
    "A change of header lines in INVITEs of its calls.",
    &[ACTION, NAME, VALUE, FIND, FROM, SIDE],
);
