//! What a registrar's answer says of time.

use crate::message::{Headers, Name, NameAddr, Uri, decimal, trim};
use std::time::Duration;

/// For how long our Contact is bound (RFC 3261, 10.2.4 and 10.3, 8): by its own `expires`, else by
/// the Expires header, else for what was asked. Registrars behind a NAT fix write our Contact
/// anew; where it is not found but others are, the shortest time among them is safe.
pub(super) fn granted(headers: &Headers, ours: &[u8], asked: Duration) -> Duration {
    let contacts: Vec<_> =
        headers.list(Name::Contact).filter_map(|text| NameAddr::parse(text).ok()).collect();
    let time = |contact: &NameAddr<'_>| contact.param("expires").and_then(seconds);
    let header = || headers.get(Name::Expires).and_then(seconds);
    let found = contacts.iter().find(|contact| same_uri(contact.uri, ours));
    let time = match found {
        Some(contact) => time(contact).or_else(header),
        None => contacts.iter().filter_map(time).min().or_else(header),
    };
    time.unwrap_or(asked)
}

/// Min-Expires of a 423 (RFC 3261, 20.23).
pub(super) fn min_expires(headers: &Headers) -> Option<Duration> {
    headers.get(Name::MinExpires).and_then(seconds)
}

/// Retry-After, whose seconds may be followed by a comment or parameters (RFC 3261, 20.33).
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let value = headers.get(Name::RetryAfter)?;
    let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    seconds(&value[..end])
}

fn seconds(text: &[u8]) -> Option<Duration> {
    Some(Duration::from_secs(decimal(trim(text), u32::MAX)?.into()))
}

/// Whether two Contact URIs lead to the same place: user, host and port (RFC 3261, 19.1.4;
/// parameters come and go between us and registrars).
fn same_uri(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (Uri::parse(one), Uri::parse(other)) else { return false };
    one.user == other.user && one.host.eq_ignore_ascii_case(other.host) && one.port == other.port
}
