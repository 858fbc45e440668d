//! What keeps a trunk or a tenant within bounds: `[limits]`, `[[fraud]]` and `[[class]]`, `failover` and
//! `[trunk.breaker]`.

use super::problem::{At, Place, Problems};
use super::reader::{Reader, Wrong};
use super::value;
use b2bua::numbering::Country;
use b2bua::plan::{Breaker, Ceiling, Class, Failover, Limits, Prefixes, classes};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

/// Concurrent calls, calls per second, or calls and minutes of a ceiling, that a bound may name.
const BOUND_MAX: u32 = 1_000_000;
/// Prefixes of one class: a carrier's list of special rates has some thousand.
const PREFIXES_MAX: usize = 10_000;
/// Words in one `failover`.
const FAILOVER_MAX: usize = 64;
/// How long a target may be left to say nothing: longer than it takes Teams to give up, and shorter than
/// one that is merely slow needs.
const ANSWER_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(30);
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// A breaker opens after so many failures if it does not say.
const FAILURES: u32 = 5;
const FAILURES_MAX: u32 = 1000;
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
/// The share of a ceiling that is worth an alarm, if it is not said.
const ALARM_AT: f64 = 0.8;

/// The sides of a trunk's limits.
pub(super) const WAYS: [&str; 2] = ["in", "out"];
/// The sides of a tenant's limits.
pub(super) const FROM: [&str; 2] = ["from_teams", "from_carrier"];

/// `[limits]`, in all and for each of two sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitsDraft {
    pub(crate) all: Limits,
    pub(crate) sides: [Limits; 2],
    /// A tenant's only.
    pub(crate) busy_when_full: bool,
}

/// `[limits]`, of a trunk or a tenant.
pub(super) fn limits(sides: [&str; 2]) -> impl Fn(&mut Reader<'_>) -> LimitsDraft {
    move |table| LimitsDraft {
        all: bounds(table),
        sides: sides.map(|side| table.section(side, bounds).unwrap_or_default()),
        busy_when_full: match sides {
            FROM => table.optional_or("when_full", value::one_of(WHEN_FULL), false),
            _ => {
                table.idle("when_full", "a trunk that is full gives way to the next of the route");
                false
            }
        },
    }
}

/// Whether a caller beyond a tenant's bounds finds it busy.
const WHEN_FULL: &[(&str, bool)] = &[("unavailable", false), ("busy", true)];

fn bounds(table: &mut Reader<'_>) -> Limits {
    let mut bound = |key| table.optional(key, value::whole(1..=BOUND_MAX)).map(|at| at.value);
    let limits = Limits {
        calls: bound("calls"),
        calls_per_second: bound("calls_per_second"),
        burst: bound("burst"),
    };
    if !table.has("calls_per_second") {
        table.idle("burst", "it is what may come at once of `calls_per_second`, which is missing");
    }
    limits
}

/// `failover`, of a trunk or a route.
pub(super) fn failover(table: &mut Reader<'_>) -> Option<Failover> {
    let words = table.list("failover", 1..=FAILOVER_MAX, |written| {
        let text = value::text(written)?;
        Failover::statuses(&text).map_err(|no| {
            let wrong = Wrong::new(no.said);
            match no.hint {
                Some(hint) => wrong.hint(hint),
                None => wrong,
            }
        })
    })?;
    Some(words.into_iter().flat_map(|at| at.value).collect())
}

/// `answer_timeout`, of a trunk or a route.
pub(super) fn answer_timeout(table: &mut Reader<'_>) -> Option<Duration> {
    table.optional("answer_timeout", value::duration(ANSWER_TIMEOUT)).map(|at| at.value)
}

/// `[trunk.breaker]`.
pub(super) fn breaker(table: &mut Reader<'_>) -> Breaker {
    Breaker {
        failures: table.optional_or("failures", value::whole(1..=FAILURES_MAX), FAILURES),
        pause: table.optional_or("pause", value::duration(PAUSE), PAUSE_DEFAULT),
    }
}

/// One `[[class]]`, as read.
#[derive(Debug)]
pub(crate) struct ClassDraft {
    name: Option<At<String>>,
    prefixes: Vec<At<String>>,
}

/// Reads one `[[class]]`.
pub(super) fn class(table: &mut Reader<'_>) -> ClassDraft {
    let name = table.required("name", value::name);
    let prefixes = table.list("prefixes", 1..=PREFIXES_MAX, prefix);
    if prefixes.is_none() {
        let hint = "how its numbers begin: prefixes = [\"+49900\"]";
        table.missing("prefixes", Some(hint.to_owned()));
    }
    ClassDraft { name, prefixes: prefixes.unwrap_or_default() }
}

fn prefix(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    let stem = text.strip_suffix('*').unwrap_or(&text);
    let digits = stem.strip_prefix('+').unwrap_or_default();
    match !digits.is_empty()
        && digits.len() <= usize::from(b2bua::plan::E164_DIGITS_MAX)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
    {
        true => Ok(stem.to_owned()),
        false => Err(Wrong::new("is not the beginning of a number in E.164, such as \"+49900\"")),
    }
}

/// One `[[fraud]]`, as read.
#[derive(Debug)]
pub(crate) struct FraudDraft {
    class: Option<At<String>>,
    /// All but the class.
    ceiling: Ceiling,
    place: Place,
    whose: String,
}

/// Reads one `[[fraud]]`.
pub(super) fn fraud(table: &mut Reader<'_>) -> FraudDraft {
    let class = table.required("class", value::name);
    let mut bound = |key| table.optional(key, value::whole(0..=BOUND_MAX)).map(|at| at.value);
    let ceiling = Ceiling {
        calls_per_hour: bound("calls_per_hour"),
        calls_per_day: bound("calls_per_day"),
        minutes_per_hour: bound("minutes_per_hour"),
        minutes_per_day: bound("minutes_per_day"),
        alarm_at: table.optional_or("alarm_at", share, ALARM_AT),
        ..Ceiling::default()
    };
    let keys = ["calls_per_hour", "calls_per_day", "minutes_per_hour", "minutes_per_day"];
    if !keys.iter().any(|key| table.has(key)) {
        let hint = format!("at least one of {}", keys.join(", "));
        table.error(table.place(), "sets no ceiling", Some(hint));
    }
    FraudDraft { class, ceiling, place: table.place(), whose: table.whose().to_owned() }
}

/// A share of a ceiling.
fn share(written: &DeValue<'_>) -> Result<f64, Wrong> {
    let found = match written {
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        _ => return Err(Wrong::new("is not a number such as 0.8")),
    };
    found
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| Wrong::new("is not between 0 and 1").hint("0.8 is four fifths of a ceiling"))
}

/// The classes of a host by name.
#[derive(Debug)]
pub(crate) struct Classes {
    known: BTreeMap<String, Arc<Class>>,
    damaged: bool,
}

impl Classes {
    /// The built-in ones, with what the host's file adds. `damaged`: there may be more.
    pub(crate) fn of(drafts: &[ClassDraft], damaged: bool) -> Self {
        let built_in = [classes::INTERNATIONAL, classes::PREMIUM, classes::SATELLITE];
        let mut prefixes: BTreeMap<&str, Vec<&str>> = built_in
            .into_iter()
            .map(|name| (name, classes::built_in(name).unwrap_or_default().to_vec()))
            .collect();
        for draft in drafts {
            let Some(name) = &draft.name else { continue };
            let more = draft.prefixes.iter().map(|at| at.value.as_str());
            prefixes.entry(&name.value).or_default().extend(more);
        }
        let known = prefixes.into_iter().map(|(name, prefixes)| {
            let prefixes: Prefixes = prefixes.into_iter().collect();
            (name.to_owned(), Arc::new(Class { name: name.into(), outside: None, prefixes }))
        });
        Self { known: known.collect(), damaged }
    }

    /// The ceilings of a tenant in this country; `None` only if a problem has been reported.
    pub(crate) fn ceilings(
        &self,
        drafts: &[FraudDraft],
        country: Option<&Country>,
        problems: &Problems,
    ) -> Option<Vec<Ceiling>> {
        let mut ceilings: Vec<Ceiling> = Vec::new();
        let mut whole = true;
        for draft in drafts {
            let Some(name) = &draft.class else { continue };
            let Some(class) = self.class(draft, name, country, problems) else {
                whole = false;
                continue;
            };
            if ceilings.iter().any(|ceiling| ceiling.class.name == class.name) {
                let said = format!("{}: stands twice; write all its ceilings in one", draft.whose);
                problems.error(name.place, said, None);
            }
            ceilings.push(Ceiling { class, ..draft.ceiling.clone() });
        }
        whole.then_some(ceilings)
    }

    fn class(
        &self,
        draft: &FraudDraft,
        name: &At<String>,
        country: Option<&Country>,
        problems: &Problems,
    ) -> Option<Arc<Class>> {
        let Some(class) = self.known.get(&name.value) else {
            if !self.damaged {
                let known: Vec<&str> = self.known.keys().map(String::as_str).collect();
                let said =
                    format!("{}: there is no class {}", draft.whose, value::quote(&name.value));
                let hint = match super::nearest::did_you_mean(&name.value, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!(
                        "classes are {}; [[class]] in tollgate.toml makes another",
                        known.join(", ")
                    ),
                };
                problems.error(name.place, said, Some(hint));
            }
            return None;
        };
        if name.value != classes::INTERNATIONAL {
            return Some(Arc::clone(class));
        }
        let Some(country) = country else {
            let said = format!("{}: the tenant has no country to be outside of", draft.whose);
            let hint = "country = \"DE\", here above the first table or under [node]";
            problems.error(draft.place, said, Some(hint.to_owned()));
            return None;
        };
        let outside = Some(classes::home(country));
        Some(Arc::new(Class { outside, ..Class::clone(class) }))
    }
}
