//! What becomes of numbers and who is shown as caller: `[[rewrite]]`, `[block]`, `format`, `caller`,
//! `codecs` and their kin, of a trunk, a tenant or a route.

use super::header_rules;
use super::nearest::did_you_mean;
use super::problem::At;
use super::reader::{Reader, Wrong};
use super::value;
use b2bua::numbering::NumberFormat;
use b2bua::plan::{
    Block, CallerId, CallerPolicy, CallerPrivacy, Change, HeaderRule, Party, Patterns, Rewrite,
    Ringback, RouteFrom, Way, can_be_number,
};
use sdp::Codecs;
use toml::de::DeValue;

/// Rules of one table: each number is looked up in them one by one.
pub(super) const RULES_MAX: usize = 200;
/// Characters that `strip` takes away: no number has more.
const STRIP_MAX: u32 = 32;
/// Characters that `prepend` puts there: a carrier's prefix, and the front of a number.
const PREPEND_MAX: usize = 32;
/// Codecs of one list.
const CODECS_MAX: usize = 32;

/// What a trunk says of them.
#[derive(Debug, Default)]
pub(crate) struct TrunkNumbers {
    pub(crate) format: Option<At<NumberFormat>>,
    pub(crate) rewrite: Vec<Rewrite>,
    pub(crate) header_rules: Vec<HeaderRule>,
    pub(crate) codecs: Codecs,
    pub(crate) transcode: Option<bool>,
    pub(crate) ringback: Option<Ringback>,
}

/// What a tenant says of them.
#[derive(Debug)]
pub(crate) struct TenantNumbers {
    pub(crate) block: Block,
    pub(crate) rewrite: Vec<Rewrite>,
    pub(crate) header_rules: Vec<HeaderRule>,
    pub(crate) caller: At<CallerId>,
    pub(crate) privacy: CallerPrivacy,
    pub(crate) codecs: Codecs,
    pub(crate) transcode: bool,
    pub(crate) ringback: Ringback,
}

const FORMATS: &[(&str, NumberFormat)] = &[
    ("e164", NumberFormat::E164),
    ("plain", NumberFormat::Plain),
    ("international", NumberFormat::International),
    ("national", NumberFormat::National),
];
const RINGBACK: &[(&str, Ringback)] = &[
    ("pass", Ringback::Pass),
    ("all", Ringback::All),
    ("first", Ringback::First),
    ("local", Ringback::Local),
    ("tone", Ringback::Tone),
];
const CALLER: &[(&str, CallerPolicy)] = &[
    ("pass", CallerPolicy::Pass),
    ("own", CallerPolicy::Own),
    ("substitute", CallerPolicy::Substitute),
    ("anonymous", CallerPolicy::Anonymous),
];
const PRIVACY: &[(&str, CallerPrivacy)] =
    &[("pass", CallerPrivacy::Pass), ("anonymous", CallerPrivacy::Anonymous)];
const WAYS: &[(&str, Way)] = &[("in", Way::In), ("out", Way::Out)];
const PARTIES: &[(&str, Option<Party>)] =
    &[("called", Some(Party::Called)), ("calling", Some(Party::Calling)), ("both", None)];
/// The side that a rule's calls come from.
pub(super) const SIDES: &[(&str, RouteFrom)] =
    &[("teams", RouteFrom::Teams), ("carrier", RouteFrom::Carrier)];
/// Encoding names in use with SIP (RFC 3551 and its registry).
const CODECS: &[&str] = &[
    "PCMA",
    "PCMU",
    "G722",
    "G729",
    "G723",
    "G726-16",
    "G726-24",
    "G726-32",
    "G726-40",
    "G7221",
    "GSM",
    "iLBC",
    "opus",
    "SILK",
    "AMR",
    "AMR-WB",
    "EVS",
    "speex",
    "L16",
    "CN",
    "telephone-event",
    "-telephone-event",
];

/// Reads them from a `[[trunk]]`.
pub(crate) fn trunk(table: &mut Reader<'_>, teams: bool) -> TrunkNumbers {
    let format = match teams {
        true => {
            table.idle("format", "Teams takes numbers in E.164 alone");
            None
        }
        false => table.optional("format", value::one_of(FORMATS)),
    };
    TrunkNumbers {
        format,
        rewrite: rewrites(table, false),
        header_rules: header_rules::read(table, Some(teams)),
        codecs: codecs(table),
        transcode: table.optional("transcode", value::flag).map(|at| at.value),
        ringback: table.optional("ringback", value::one_of(RINGBACK)).map(|at| at.value),
    }
}

/// Reads them from the top of a tenant's file.
pub(crate) fn tenant(table: &mut Reader<'_>) -> TenantNumbers {
    TenantNumbers {
        block: block(table),
        rewrite: rewrites(table, true),
        header_rules: header_rules::read(table, None),
        caller: caller(table),
        privacy: table.optional_or("privacy", value::one_of(PRIVACY), CallerPrivacy::default()),
        codecs: codecs(table),
        transcode: table.optional_or("transcode", value::flag, false),
        ringback: table.optional_or("ringback", value::one_of(RINGBACK), Ringback::default()),
    }
}

/// `[block]`, of the host or a tenant.
pub(crate) fn block(table: &mut Reader<'_>) -> Block {
    let block = table.section("block", |table| Block {
        called: table.patterns("called").map(|at| at.value),
        calling: table.patterns("calling").map(|at| at.value),
    });
    block.unwrap_or_default()
}

/// `caller` and `caller_number`, of a tenant or a route.
pub(crate) fn caller(table: &mut Reader<'_>) -> At<CallerId> {
    let policy = table.optional("caller", value::one_of(CALLER));
    let number = table.optional("caller_number", number);
    let place = policy.as_ref().map(|at| at.place).or(number.as_ref().map(|at| at.place));
    let value = CallerId { policy: policy.map(|at| at.value), number: number.map(|at| at.value) };
    At { value, place: place.unwrap_or(table.place()) }
}

/// Reports a `caller` that has no number to show, or a number that nobody shows: what is written in
/// `of` and, where that says nothing, in `otherwise`.
pub(crate) fn caller_fits(of: &CallerId, otherwise: Option<&CallerId>) -> Result<(), &'static str> {
    let number = of.number.as_ref().or(otherwise.and_then(|it| it.number.as_ref()));
    let policy = of.policy.or(otherwise.and_then(|it| it.policy)).unwrap_or_default();
    match policy {
        CallerPolicy::Substitute if number.is_none() => {
            Err("`caller = \"substitute\"` needs `caller_number`, the number to show")
        }
        CallerPolicy::Pass | CallerPolicy::Anonymous if of.number.is_some() => {
            Err("`caller_number` does nothing here: `caller` is neither \"substitute\" nor \"own\"")
        }
        _ => Ok(()),
    }
}

/// A number in E.164.
pub(super) fn number(value: &DeValue<'_>) -> Result<Box<str>, Wrong> {
    let range = value::number_range(value)?;
    match range.first == range.last {
        true => Ok(range.to_string().into()),
        false => Err(Wrong::new("is a range where one number is expected")),
    }
}

/// `codecs`: names in order of preference.
fn codecs(table: &mut Reader<'_>) -> Codecs {
    let Some(named) = table.list("codecs", 1..=CODECS_MAX, codec) else {
        return Codecs::default();
    };
    let names: Vec<String> = named.iter().map(|at| at.value.clone()).collect();
    let goes_along = |name: &str| ["CN", "telephone-event", "-telephone-event"].contains(&name);
    if let Some(first) = named.first()
        && names.iter().all(|name| goes_along(name))
    {
        let said = "`codecs` has none that carries speech";
        table.error(first.place, said, Some("codecs = [\"PCMA\", \"PCMU\"]".to_owned()));
    }
    Codecs::only(names)
}

/// An encoding name; one that is known in the spelling that is known.
fn codec(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    if let Some(known) = CODECS.iter().find(|known| known.eq_ignore_ascii_case(&written)) {
        return Ok((*known).to_owned());
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if written.is_empty() || written.starts_with('-') || !written.bytes().all(token) {
        return Err(Wrong::new("is not the name of a codec, such as \"PCMA\""));
    }
    match did_you_mean(&written, CODECS.iter().copied()) {
        Some(near) => {
            Err(Wrong::new("is no codec that is known").hint(format!("did you mean \"{near}\"?")))
        }
        None => Ok(written),
    }
}

/// Every `[[rewrite]]` of a trunk, or of a tenant, which may tell calls of the two sides apart.
fn rewrites(table: &mut Reader<'_>, of_tenant: bool) -> Vec<Rewrite> {
    let rules = table.each("rewrite", "rewrite", "match", |rule| rewrite(rule, of_tenant));
    if rules.len() > RULES_MAX {
        let said = format!("{} tables [[rewrite]]; {RULES_MAX} are the most", rules.len());
        table.error(table.place(), &said, None);
    }
    rules.into_iter().flatten().collect()
}

fn rewrite(rule: &mut Reader<'_>, of_tenant: bool) -> Option<Rewrite> {
    let way = rule.required("direction", value::one_of(WAYS));
    let party = rule.required("number", value::one_of(PARTIES));
    let side = side(rule, of_tenant);
    let matches = rule.patterns("match");
    if !rule.has("match") {
        rule.missing("match", Some("the numbers it is for, such as match = \"+49*\"".to_owned()));
    }
    let replace = rule.optional("replace", value::text);
    let strip = rule.optional("strip", value::whole(1..=STRIP_MAX));
    let prepend = rule.optional("prepend", prepend);
    let written = ["replace", "strip", "prepend"].map(|key| rule.has(key));
    let change = match written {
        [false, false, false] => {
            let hint =
                "strip = 3 and prepend = \"0\", or replace = \"+49$1\" for a regular expression";
            rule.error(rule.place(), "changes nothing", Some(hint.to_owned()));
            None
        }
        [true, false, false] => replaced(rule, matches.as_ref()?, replace?),
        [true, ..] => {
            let place = replace.map_or(rule.place(), |at| at.place);
            let said =
                "`replace` makes the whole number; `strip` and `prepend` do nothing beside it";
            rule.error(place, said, None);
            None
        }
        [false, strips, prepends] => {
            let strip = strip.map(|at| u8::try_from(at.value).unwrap_or(u8::MAX));
            let whole = strip.is_some() == strips && prepend.is_some() == prepends;
            let prepend = prepend.map(|at| at.value).unwrap_or_default();
            whole.then(|| Change::Front { strip: strip.unwrap_or(0), prepend: prepend.into() })
        }
    };
    Some(Rewrite {
        way: way?.value,
        party: party?.value,
        from: side,
        matches: matches?.value,
        change: change?,
        place: rule.named_place().into(),
    })
}

/// `side`: of calls from Teams or of calls from carriers.
pub(super) fn side(rule: &mut Reader<'_>, of_tenant: bool) -> Option<RouteFrom> {
    if !of_tenant {
        rule.idle("side", "a trunk has one direction for each side already");
        return None;
    }
    rule.optional("side", value::one_of(SIDES)).map(|at| at.value)
}

fn replaced(rule: &Reader<'_>, matches: &At<Patterns>, with: At<String>) -> Option<Change> {
    match Change::replace(matches.value.as_slice(), &with.value) {
        Ok(change) => Some(change),
        Err(wrong) => {
            let said = format!("`replace = {}` {}", value::quote(&with.value), wrong.said);
            rule.error(with.place, &said, wrong.hint);
            None
        }
    }
}

fn prepend(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    match can_be_number(&written) && written.len() <= PREPEND_MAX {
        true => Ok(written),
        false => Err(Wrong::new("cannot stand in a number: digits, letters, + * # - . and _ can")),
    }
}
