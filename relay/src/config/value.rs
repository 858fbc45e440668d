//! What a single value may say: each function reads one kind of value or tells what is wrong with it.

use super::nearest::did_you_mean;
use super::reader::Wrong;
use b2bua::numbering::Country;
use b2bua::plan::{Cidr, E164_DIGITS_MAX, NoPattern, NumberRange, Pattern};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// A problem shows no more of a value than this many characters.
const SHOWN_MAX: usize = 60;
/// Names become metric labels and file names; longer ones serve neither.
const NAME_LENGTH_MAX: usize = 64;
/// A DNS name (RFC 1035, 2.3.4), without the root's dot.
const FQDN_LENGTH_MAX: usize = 253;
/// A label of a DNS name (RFC 1035, 2.3.4).
const LABEL_LENGTH_MAX: usize = 63;

/// Text in quotes.
pub(crate) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            Err(Wrong::new(format!("is {} where text is expected", kind(value)))
                .hint(format!("put it in quotes: \"{}\"", show(value))))
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(Wrong::new(format!("is {} where text is expected", kind(value))))
        }
    }
}

/// `true` or `false`.
pub(crate) fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
            Err(Wrong::new("is text where true or false is expected")
                .hint(format!("write {text} without quotes")))
        }
        other => Err(Wrong::new(format!("is {} where true or false is expected", kind(other)))),
    }
}

/// A whole number in `range`.
pub(crate) fn whole(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Result<u32, Wrong> {
    move |value| match value {
        DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                Wrong::new(format!("is not between {} and {}", range.start(), range.end()))
            }),
        DeValue::String(text) if text.parse::<u32>().is_ok() => {
            Err(Wrong::new("is text where a number is expected")
                .hint(format!("write {text} without quotes")))
        }
        other => Err(Wrong::new(format!("is {} where a number is expected", kind(other)))),
    }
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    #[cfg(test)]
    super::survey::words(words.iter().map(|(word, _)| *word));
    move |value| {
        let written = text(value)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written) {
            return Ok(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let wrong = Wrong::new(format!("is not one of {}", known.join(", ")));
        Err(match did_you_mean(&written, known) {
            Some(near) => wrong.hint(format!("did you mean \"{near}\"?")),
            None => wrong,
        })
    }
}

/// A name that other tables refer to.
pub(crate) fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    match is_name(&name) {
        true => Ok(name),
        false => Err(Wrong::new(
            "is not a name: letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first",
        )),
    }
}

/// Whether `text` can name a trunk, a tenant and the like.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_LENGTH_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A duration such as `10s` in `range`.
pub(crate) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&DeValue<'_>) -> Result<Duration, Wrong> {
    move |value| {
        if let DeValue::Integer(_) = value {
            return Err(
                Wrong::new("has no unit").hint(format!("did you mean \"{}s\"?", show(value)))
            );
        }
        let written = text(value)?;
        let found = amount(&written, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])
            .map(Duration::from_millis)
            .ok_or_else(|| {
                Wrong::new("is not a duration such as \"500ms\", \"10s\", \"5m\" or \"1h\"")
            })?;
        match range.contains(&found) {
            true => Ok(found),
            false => {
                Err(Wrong::new(format!("is not between {:?} and {:?}", range.start(), range.end())))
            }
        }
    }
}

/// A duration in `range`, or `off`.
pub(crate) fn off_or_duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<Duration>, Wrong> {
    let duration = duration(range);
    move |value| match value {
        DeValue::String(off) if off == "off" => Ok(None),
        DeValue::Boolean(false) => {
            Err(Wrong::new("is not a duration").hint("did you mean \"off\"?"))
        }
        other => duration(other).map(Some),
    }
}

/// A number of bytes such as `64MiB` in `range`.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Result<u64, Wrong> {
    move |value| {
        let found = amount(&text(value)?, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
            .ok_or_else(|| Wrong::new("is not a size such as \"512KiB\", \"64MiB\" or \"1GiB\""))?;
        match range.contains(&found) {
            true => Ok(found),
            false => Err(Wrong::new(format!(
                "is not between {} KiB and {} KiB",
                range.start() >> 10,
                range.end() >> 10
            ))),
        }
    }
}

/// A whole number with one of `units` behind it, in the smallest of them.
fn amount(written: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// An IP address that stands for one host.
pub(crate) fn host_address(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    let address = ip(value)?;
    unicast(address)?;
    Ok(address)
}

/// An IP address; the unspecified one is all addresses of the host.
pub(crate) fn ip(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    let written = text(value)?;
    written.parse().map_err(|_| match written.parse::<SocketAddr>() {
        Ok(both) => Wrong::new("has a port where only an address is expected")
            .hint(format!("did you mean \"{}\"?", both.ip())),
        Err(_) => Wrong::new("is not an IP address"),
    })
}

/// An IP address and port to bind.
pub(crate) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    let written = text(value)?;
    let address: SocketAddr = written.parse().map_err(|_| match written.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Wrong::new("has no port").hint(format!("add it, such as \"{ip}:5061\"")),
        Ok(IpAddr::V6(ip)) => Wrong::new("has no port").hint(format!("add it, such as \"[{ip}]:5061\"")),
        Err(_) => Wrong::new("is not an IP address with a port, such as \"192.0.2.1:5061\" or \"[2001:db8::1]:5061\""),
    })?;
    match address.port() {
        0 => Err(Wrong::new("has port 0, which no peer can be told")),
        _ => Ok(address),
    }
}

/// An IP address and port that others are told.
pub(crate) fn advertised_address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    let address = socket_address(value)?;
    unicast(address.ip())?;
    Ok(address)
}

fn unicast(address: IpAddr) -> Result<(), Wrong> {
    if address.is_unspecified() {
        return Err(Wrong::new("is no address that a peer can send to"));
    }
    if address.is_multicast() {
        return Err(Wrong::new("is a multicast address"));
    }
    Ok(())
}

/// An address block, or one address.
pub(crate) fn cidr(value: &DeValue<'_>) -> Result<Cidr, Wrong> {
    let written = text(value)?;
    let nonsense = || Wrong::new("is not an address block such as \"192.0.2.0/28\"");
    let (address, length) = match written.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (written.as_str(), None),
    };
    let address: IpAddr = address.parse().map_err(|_| nonsense())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => length
            .parse::<u8>()
            .ok()
            .filter(|length| *length <= bits)
            .ok_or_else(|| Wrong::new(format!("has no prefix length between 0 and {bits}")))?,
    };
    let network = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    };
    if network != address {
        return Err(Wrong::new("has bits beyond its prefix length")
            .hint(format!("the block is \"{network}/{length}\", the one address \"{address}\"")));
    }
    Ok(Cidr { network, length })
}

/// A range of UDP ports such as `20000-29999`, trimmed to whole RTP and RTCP pairs: it begins even
/// and ends odd.
pub(crate) fn port_range(value: &DeValue<'_>) -> Result<RangeInclusive<u16>, Wrong> {
    let written = text(value)?;
    let ends =
        written.split_once('-').map(|(first, last)| (first.trim().parse(), last.trim().parse()));
    let Some((Ok(first), Ok(last))) = ends else {
        return Err(Wrong::new("is not a port range such as \"20000-29999\""));
    };
    let (first, last): (u16, u16) = (first, last);
    if first < PORT_MIN {
        return Err(Wrong::new(format!("begins below {PORT_MIN}, where ports need privileges")));
    }
    if first > last {
        return Err(
            Wrong::new("ends before it begins").hint(format!("did you mean \"{last}-{first}\"?"))
        );
    }
    let (even, odd) = (u32::from(first).next_multiple_of(2), u32::from(last).div_ceil(2) * 2);
    if odd < even + CALL_PORTS {
        return Err(Wrong::new(format!(
            "holds no call: one takes {CALL_PORTS} ports, two pairs of RTP and RTCP"
        )));
    }
    let bound = |port: u32| u16::try_from(port).unwrap_or(u16::MAX);
    Ok(bound(even)..=bound(odd - 1))
}

/// What packets are marked with (RFC 2474): six bits.
pub(crate) fn dscp(value: &DeValue<'_>) -> Result<u8, Wrong> {
    let dscp = whole(0..=63)(value).map_err(|wrong| wrong.hint("46 is voice (RFC 4594, 4.1)"))?;
    Ok(dscp as u8)
}

/// Ports below this are privileged.
const PORT_MIN: u16 = 1024;
/// Ports of one call: RTP and RTCP on either leg.
const CALL_PORTS: u32 = 4;

/// A host name of several labels, in lower case.
pub(crate) fn fqdn(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = text(value)?;
    let lower = written.to_ascii_lowercase();
    if let Some(bare) = lower.strip_suffix('.') {
        return Err(Wrong::new("ends with a dot").hint(format!("did you mean \"{bare}\"?")));
    }
    if lower.parse::<IpAddr>().is_ok() {
        return Err(Wrong::new("is an address where a name is expected"));
    }
    if lower.starts_with("*.") {
        return Err(Wrong::new("is a wildcard where one name is expected"));
    }
    let labels_hold = lower.split('.').all(is_label);
    if !labels_hold || lower.len() > FQDN_LENGTH_MAX || !lower.contains('.') {
        return Err(Wrong::new("is not a fully qualified name such as \"sbc1.example.net\""));
    }
    Ok(lower)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_LENGTH_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A host, as name or address, with an optional port.
pub(crate) fn target(value: &DeValue<'_>) -> Result<(String, Option<u16>), Wrong> {
    let written = text(value)?;
    let nonsense =
        || Wrong::new("is not HOST:PORT, such as \"192.0.2.7:5060\" or \"sip.example.net:5061\"");
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        unicast(address)?;
        return Ok((address.to_string(), None));
    }
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) => {
            (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(nonsense)?))
        }
        None => (written.as_str(), None),
    };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        unicast(address)?;
        return Ok((address.to_string(), port));
    }
    let lower = host.to_ascii_lowercase();
    // All digits is an address with a slip, never a name (RFC 1123, 2.1).
    let numeric =
        lower.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match lower.len() <= FQDN_LENGTH_MAX && lower.split('.').all(is_label) && !numeric {
        true => Ok((lower, port)),
        false => Err(nonsense()),
    }
}

/// `+4930123450` or `+4930123450-+4930123459`.
pub(crate) fn number_range(value: &DeValue<'_>) -> Result<NumberRange, Wrong> {
    let written = text(value)?;
    let (first, last) = match written.split_once('-') {
        Some((first, last)) => (first.trim(), last.trim()),
        None => (written.as_str(), written.as_str()),
    };
    let (Some((first, digits)), Some((last, last_digits))) = (e164(first), e164(last)) else {
        let wrong =
            Wrong::new("is not a number or range in E.164, such as \"+4930123450-+4930123459\"");
        let international =
            written.strip_prefix("00").filter(|rest| e164(&format!("+{rest}")).is_some());
        return Err(match international {
            Some(rest) => wrong.hint(format!("did you mean \"+{rest}\"?")),
            None => wrong,
        });
    };
    if digits != last_digits {
        return Err(Wrong::new(format!("begins with {digits} digits and ends with {last_digits}"))
            .hint("both ends of a range have the same length; write a range per length"));
    }
    if first > last {
        return Err(
            Wrong::new("ends before it begins").hint(format!("did you mean \"+{last}-+{first}\"?"))
        );
    }
    Ok(NumberRange { first, last, digits })
}

fn e164(number: &str) -> Option<(u64, u8)> {
    let digits = number.strip_prefix('+')?;
    let length = u8::try_from(digits.len()).ok()?;
    let holds = (1..=E164_DIGITS_MAX).contains(&length)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    if !holds {
        return None;
    }
    digits.parse().ok().map(|value| (value, length))
}

/// `*`, `+49*`, `+4930123`, `+4930123450-+4930123459` or `/^\\+49(30|40)/`.
pub(crate) fn pattern(value: &DeValue<'_>) -> Result<Pattern, Wrong> {
    let NoPattern { said, hint } = match text(value)?.parse() {
        Ok(pattern) => return Ok(pattern),
        Err(why) => why,
    };
    Err(Wrong { said, hint })
}

/// A country, by its code of two letters.
pub(crate) fn country(value: &DeValue<'_>) -> Result<&'static Country, Wrong> {
    let written = text(value)?;
    if let Some(country) = Country::of(&written) {
        return Ok(country);
    }
    let wrong = Wrong::new("is not the code of a country (ISO 3166), such as \"DE\" or \"US\"");
    let upper = match written.to_ascii_uppercase().as_str() {
        "UK" => "GB".to_owned(),
        other => other.to_owned(),
    };
    Err(match Country::of(&upper) {
        Some(country) => wrong.hint(format!("did you mean \"{}\"?", country.iso)),
        None => wrong,
    })
}

/// A label for operators, of any words.
pub(crate) fn label(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = text(value)?;
    let holds = !written.trim().is_empty()
        && written.len() <= NAME_LENGTH_MAX
        && !written.chars().any(char::is_control);
    match holds {
        true => Ok(written),
        false => Err(Wrong::new("is no label: some words, at most 64 octets")),
    }
}

/// A time zone of the IANA database: the host's, and where it has none, the one we bring along.
pub(crate) fn timezone(value: &DeValue<'_>) -> Result<TimeZone, Wrong> {
    let written = text(value)?;
    let bundled = TimeZoneDatabase::bundled();
    if let Ok(found) = TimeZone::get(&written).or_else(|_| bundled.get(&written)) {
        return Ok(found);
    }
    let wrong = Wrong::new("is not a time zone such as \"Europe/Berlin\"");
    let known: Vec<String> = bundled.available().map(|name| name.to_string()).collect();
    Err(match did_you_mean(&written, known.iter().map(String::as_str)) {
        Some(near) => wrong.hint(format!("did you mean \"{near}\"?")),
        None => wrong,
    })
}

/// An emergency number, as dialled.
pub(crate) fn dialled(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = text(value)?;
    let holds = (2..=usize::from(E164_DIGITS_MAX)).contains(&written.len())
        && written.bytes().all(|b| b.is_ascii_digit());
    match (holds, written.strip_prefix('+')) {
        (true, _) => Ok(written),
        (false, Some(bare)) => {
            Err(Wrong::new("begins with +; emergency numbers are dialled without")
                .hint(format!("did you mean \"{bare}\"?")))
        }
        (false, None) => Err(Wrong::new("is not a number as dialled, such as \"112\"")),
    }
}

/// What Microsoft calls a tenant.
pub(crate) fn guid(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = text(value)?;
    let groups = written.split('-').map(|group| (group.len(), group));
    let hex = |group: &str| group.bytes().all(|b| b.is_ascii_hexdigit());
    let holds = groups.clone().map(|(length, _)| length).eq([8, 4, 4, 4, 12])
        && groups.map(|(_, group)| group).all(hex);
    match holds {
        true => Ok(written.to_ascii_lowercase()),
        false => Err(Wrong::new("is not a GUID")
            .hint("Get-CsTenant shows it as TenantId: \"4d2ba0f6-1c3e-4f5a-8b7c-a1b2c3d4e5f6\"")),
    }
}

/// A file's name. What looks like the secret itself is refused, and not shown.
pub(crate) fn path(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = text(value)?;
    if written.contains("-----BEGIN") {
        return Err(Wrong::new("holds the secret or certificate itself")
            .hint("keep it in a file of its own and write the file's name here"));
    }
    match written.is_empty() {
        true => Err(Wrong::new("names no file")),
        false => Ok(written),
    }
}

/// What kind of value it is, with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The value as it would be written, in short; nothing of a PEM block.
pub(crate) fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.contains("-----BEGIN") => "\"-----BEGIN ...\"".to_owned(),
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "[...]".to_owned(),
        DeValue::Table(_) => "{...}".to_owned(),
    }
}

/// Text in quotes, cut where it gets long, with nothing that could disturb a terminal.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}", format!("{}...", &text[..end])),
        None => format!("{text:?}"),
    }
}
