//! What users do with calls, by number; calls that are placed; what changes on its own.

use crate::config::reader::{Reader, Wrong};
use crate::config::value;
use emulate::{Behaviour, Deed, Deeds, Dial, Failure, Forward, Health, Pidf, Progress, Script};
use sdp::Direction;
use std::time::Duration;
use toml::de::DeValue;

/// A call to place.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) dial: Dial,
    /// When first, from the beginning on.
    pub(super) after: Duration,
    /// How often; once, without.
    pub(super) every: Option<Duration>,
}

/// How an endpoint of Teams is from a moment on.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) after: Duration,
    /// Its name, or the first label of it.
    pub(super) endpoint: String,
    pub(super) health: Health,
}

/// Longest time that a file may name.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Digits of a number, and room for some.
const NUMBER_MAX: usize = 32;
/// Deeds of one call, and headers of one INVITE.
const LIST_MAX: usize = 50;
/// When a phone rings, and when it is picked up, unless the file says.
const RING_AFTER: Duration = Duration::from_millis(200);
const ANSWER_AFTER: Duration = Duration::from_secs(2);
/// Before the first call is placed: OPTIONS have been exchanged by then.
const FIRST_CALL_AFTER: Duration = Duration::from_secs(2);

/// What a user does whom the file does not name.
pub(super) const fn usual() -> Script {
    Script::always(Behaviour::answer_after(ANSWER_AFTER))
}

/// A user; what it adds to a script.
pub(super) fn user(table: &mut Reader<'_>) -> Option<impl FnOnce(Script) -> Script + use<>> {
    let number = table.required("number", prefix);
    let behaviour = behaviour(table);
    let deeds = deeds(table);
    let forward = forward(table);
    let prefix = number?.value;
    let behaviour = behaviour?;
    Some(move |script: Script| {
        let script = match prefix.is_empty() {
            true => Script { otherwise: behaviour, ..script },
            false => script.with(&prefix, behaviour),
        };
        let script = script.then(&prefix, deeds);
        match forward {
            Some(forward) => script.forwarding(&prefix, forward),
            None => script,
        }
    })
}

#[derive(Clone, Copy)]
enum Does {
    Answer,
    Ring,
    Silent,
    Refuse,
    Fail(&'static str),
}

const DOES: &[(&str, Does)] = &[
    ("answer", Does::Answer),
    ("ring", Does::Ring),
    ("silent", Does::Silent),
    ("refuse", Does::Refuse),
    ("busy", Does::Fail("486")),
    ("decline", Does::Fail("603")),
    ("drain", Does::Fail("503")),
];
const PROGRESS: &[(&str, Progress)] = &[
    ("none", Progress::None),
    ("180", Progress::Ringing),
    ("183", Progress::EarlyMedia),
    ("180-183", Progress::RingingThenEarlyMedia),
    ("forks", Progress::Forks),
];

fn behaviour(table: &mut Reader<'_>) -> Option<Behaviour> {
    let place = table.place();
    let does = table.optional_or("does", value::one_of(DOES), Does::Answer);
    let progress = table.optional_or("progress", value::one_of(PROGRESS), Progress::Ringing);
    let ring_after = table.optional_or("ring_after", time(), RING_AFTER);
    let after = table.optional("after", time()).map(|at| at.value);
    let talk = table.optional("talk", time()).map(|at| at.value);
    let status = table.optional("status", value::whole(300..=699)).map(|at| at.value as u16);
    let sub_code = table.optional("sub_code", value::whole(1..=999_999)).map(|at| at.value);
    let answer_after = after.unwrap_or(ANSWER_AFTER);
    let refuse = |status: u16| {
        let after = after.unwrap_or_default();
        match Failure::of_status(status) {
            Some(failure) => Behaviour::Fail { failure, after },
            None => Behaviour::Refuse { status, after },
        }
    };
    let answer = |answer_after| Behaviour::Answer { ring_after, progress, answer_after, talk };
    match does {
        Does::Answer => Some(answer(Some(answer_after))),
        Does::Ring => Some(answer(None)),
        Does::Silent => Some(Behaviour::Silent),
        Does::Fail(status) => status.parse().ok().map(refuse),
        Does::Refuse => match (sub_code, status) {
            (Some(code), _) => match Failure::of_sub_code(code) {
                Some(failure) => {
                    Some(Behaviour::Fail { failure, after: after.unwrap_or_default() })
                }
                None => {
                    let said =
                        format!("`sub_code = {code}` is none that Microsoft is known to give");
                    table.error(place, &said, Some("`status` will do as well".to_owned()));
                    None
                }
            },
            (None, Some(status)) => Some(refuse(status)),
            (None, None) => {
                let hint = "status = 486, or sub_code = 510532 for Microsoft's own words";
                table.missing("status", Some(hint.to_owned()));
                None
            }
        },
    }
}

fn forward(table: &mut Reader<'_>) -> Option<Forward> {
    let alone = table.optional("forward", number);
    let too = table.optional("rings_too", number);
    let after = table.optional("forward_after", time()).map(|at| at.value);
    let cause = table.optional_or("cause", value::whole(300..=699), 302) as u16;
    let rings_too = too.is_some();
    let to = alone.or(too)?.value;
    Some(Forward { to, cause, after: after.unwrap_or_default(), rings_too })
}

/// A call to place; `teams` says by whom.
pub(super) fn planned(table: &mut Reader<'_>, teams: bool) -> Option<Planned> {
    let from = table.required("from", number);
    let to = table.required("to", number);
    let mut dial = Dial {
        deeds: deeds(table),
        talk: table.optional("talk", time()).map(|at| at.value),
        cancel_after: table.optional("cancel_after", time()).map(|at| at.value),
        headers: headers(table),
        ..Dial::default()
    };
    let after = table.optional_or("after", time(), FIRST_CALL_AFTER);
    let every = table.optional("every", value::duration(Duration::from_millis(100)..=LONGEST));
    if teams {
        let tenant = table.required("tenant", value::fqdn);
        dial.endpoint = table.optional_or("endpoint", value::whole(1..=16), 1) as usize - 1;
        dial.anonymous = table.optional_or("anonymous", value::flag, false);
        dial.location = table.optional("location", value::one_of(LOCATION)).map(|at| at.value);
        dial.direction = table.optional("direction", value::one_of(DIRECTION)).map(|at| at.value);
        dial.host = table.optional("host", value::fqdn).map(|at| at.value);
        dial.on_behalf_of = table.optional("on_behalf_of", number).map(|at| at.value);
        dial.tenant = tenant?.value;
    }
    (dial.from, dial.to) = (from?.value, to?.value);
    Some(Planned { dial, after, every: every.map(|at| at.value) })
}

const LOCATION: &[(&str, Pidf)] = &[("first", Pidf::First), ("last", Pidf::Last)];
const DIRECTION: &[(&str, Direction)] =
    &[("recvonly", Direction::RecvOnly), ("sendonly", Direction::SendOnly)];

/// A change of an endpoint.
pub(super) fn change(table: &mut Reader<'_>) -> Option<Change> {
    let after = table.required("after", time());
    let endpoint = table.required("endpoint", value::text);
    let health = table.required("health", value::one_of(HEALTH));
    let (after, endpoint) = (after?.value, endpoint?.value);
    Some(Change { after, endpoint, health: health?.value })
}

const HEALTH: &[(&str, Health)] =
    &[("up", Health::Up), ("dead", Health::Dead), ("draining", Health::Draining)];

/// What a number begins with; `*` is every number.
pub(super) fn prefix(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    let digits = written.strip_prefix('+').unwrap_or(&written);
    match written.as_str() {
        "*" => Ok(String::new()),
        _ if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(written),
        _ => Err(Wrong::new("is no beginning of a number, such as \"+4930\", nor \"*\"")),
    }
}

/// A number as it is dialled or shown.
pub(super) fn number(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    let digits = written.strip_prefix('+').unwrap_or(&written);
    let holds = !digits.is_empty()
        && digits.len() <= NUMBER_MAX
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'));
    match holds {
        true => Ok(written),
        false => Err(Wrong::new("is not a number, such as \"+4930123450\" or \"112\"")),
    }
}

/// `headers = ["X-MS-UserLocation: internal"]`.
pub(super) fn headers(table: &mut Reader<'_>) -> Vec<(String, String)> {
    let list = table.list("headers", 1..=LIST_MAX, header);
    list.into_iter().flatten().map(|at| at.value).collect()
}

fn header(value: &DeValue<'_>) -> Result<(String, String), Wrong> {
    let written = value::text(value)?;
    let is_token = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match written.split_once(':') {
        Some((name, value)) if is_token(name) && !value.contains(['\r', '\n']) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err(Wrong::new("is no header").hint("\"X-MS-UserLocation: internal\"")),
    }
}

/// `then = ["3s hold", "6s resume"]`.
fn deeds(table: &mut Reader<'_>) -> Deeds {
    let list = table.list("then", 1..=LIST_MAX, deed);
    list.into_iter().flatten().map(|at| at.value).collect()
}

fn deed(value: &DeValue<'_>) -> Result<(Duration, Deed), Wrong> {
    let written = value::text(value)?;
    let mut words = written.splitn(3, ' ');
    let when = words.next().unwrap_or_default();
    let when = time()(&DeValue::String(when.into()))?;
    let (what, whom) = (words.next().unwrap_or_default(), words.next());
    let transfer = |hasty| match whom {
        Some(whom) => Ok(Deed::Transfer { to: target(whom), hasty }),
        None => Err(Wrong::new("does not say to whom").hint(format!("\"{written} +4989123456\""))),
    };
    let deed = match what {
        "hold" => Deed::Hold,
        "music" => Deed::Music,
        "resume" => Deed::Resume,
        "refresh" => Deed::Refresh,
        "move" => Deed::Move,
        "restart" => Deed::Restart,
        "replace" => Deed::Replace,
        "hang_up" => Deed::HangUp,
        "transfer" => transfer(false)?,
        "blind" => transfer(true)?,
        _ => {
            let known = "hold, music, resume, refresh, move, restart, replace, transfer TO, blind TO \
                         and hang_up";
            let wrong = Wrong::new("is not TIME DEED, such as \"3s hold\"");
            return Err(wrong.hint(format!("known deeds: {known}")));
        }
    };
    Ok((when, deed))
}

/// Whom a transfer names: a number, a Teams user, or a URI as it is (TDR-XFR-012).
fn target(whom: &str) -> String {
    let proxy = "sip.pstnhub.microsoft.com:5061";
    match whom {
        "user" => {
            format!("sip:{proxy};transport=tls;x-m=8:orgid:6b65a6a4-8b81-48f6-b38a-088ca65ed389")
        }
        uri if uri.starts_with("sip:") => uri.to_owned(),
        number => format!("sip:{number}@{proxy};user=phone;transport=tls"),
    }
}

fn time() -> impl Fn(&DeValue<'_>) -> Result<Duration, Wrong> {
    value::duration(Duration::ZERO..=LONGEST)
}
