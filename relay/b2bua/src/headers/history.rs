//! History-Info as it is really written (RFC 7044, RFC 4244; TDR-FWD-001): each entry a target the
//! call had, so that who diverted it is seen only from two of them.

use super::diverted::{Diversion, Diversions, ELEMENTS_MAX, Why};
use super::named::{NOBODY, Named};
use super::policy::Trust;
use crate::identity::Identity;
use sip_core::{Headers, Name, Uri};

/// Levels of an index that are read.
const DEPTH_MAX: usize = 32;

/// One entry.
struct Entry {
    party: Named,
    /// `index`, where it can be read.
    index: Option<Vec<u32>>,
    /// Why the call left this target: Reason in its URI.
    left: Option<Why>,
    /// Why it came here: `cause` in its URI (RFC 4458).
    came: Option<Why>,
    private: bool,
    how: How,
}

/// How the target was found (RFC 7044, 5).
#[derive(PartialEq, Eq)]
enum How {
    /// `mp`: it is somebody else.
    Mapped,
    /// `rc` or `np`: it is the same one at another place.
    Same,
    Unsaid,
}

/// The diversions that History-Info tells of.
pub(super) fn read(headers: &Headers) -> Diversions {
    let all = || headers.list(Name::HistoryInfo);
    let mut entries: Vec<Entry> = all().take(ELEMENTS_MAX).filter_map(Entry::parse).collect();
    if entries.iter().all(|entry| entry.index.is_some()) {
        entries.sort_by(|one, other| one.index.cmp(&other.index));
    }
    let after = entries.iter().skip(1).map(Some).chain([None]);
    let list = entries.iter().zip(after).filter_map(|(entry, next)| entry.diversion(next));
    Diversions { list: list.collect(), too_many: all().nth(ELEMENTS_MAX).is_some() }
}

/// Writes the diversions, and the target that the call has now.
pub(super) fn write(
    diversions: &Diversions,
    headers: &mut Headers,
    called: &str,
    to: (Trust, &Identity),
    plus: bool,
) {
    let (trust, us) = to;
    let mut entries = Vec::new();
    let (mut index, mut came) = ("1".to_owned(), None);
    for one in &diversions.list {
        let hidden = one.private && trust == Trust::Untrusted;
        let uri = if hidden { NOBODY.to_owned() } else { one.party.uri(us, plus) };
        let privacy = if one.private { "Privacy=history&" } else { "" };
        let cause = one.why.cause();
        entries.push(format!(
            "<{uri}{}?{privacy}Reason=SIP%3Bcause%3D{cause}>;{}",
            cause_of(came.as_ref()),
            place(&index, came.as_ref())
        ));
        came = Some((one.why, index.clone()));
        // A gap stands for those who are not named (RFC 7544, 7.1).
        (0..one.times).for_each(|_| index.push_str(".1"));
    }
    if let Some(last) = &came {
        let phone = if crate::party::is_telephone(called) { ";user=phone" } else { "" };
        let uri = format!("sip:{called}@{}{phone}", us.host());
        entries.push(format!("<{uri}{}>;{}", cause_of(Some(last)), place(&index, Some(last))));
        headers.push(Name::HistoryInfo, entries.join(", "));
    }
}

/// The URI parameter that says why a call came to a target.
fn cause_of(came: Option<&(Why, String)>) -> String {
    came.map_or_else(String::new, |(why, _)| format!(";cause={}", why.cause()))
}

/// `index`, and whose mapping made the target.
fn place(index: &str, came: Option<&(Why, String)>) -> String {
    came.map_or_else(|| format!("index={index}"), |(_, from)| format!("index={index};mp={from}"))
}

impl Entry {
    /// Reads an entry whether or not what stands in its URI is escaped: Microsoft's examples have
    /// quotes and semicolons there (TDR-FWD-001).
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (uri, params) = match text.find('<') {
            Some(open) => text.get(open + 1..)?.split_once('>')?,
            None => text.split_once(';').unwrap_or((text, "")),
        };
        let (address, inner) = uri.trim().split_once('?').unwrap_or((uri.trim(), ""));
        let parsed = Uri::parse(address.as_bytes()).ok()?;
        let mut entry = Self {
            party: Named::of(b"", &parsed)?,
            index: None,
            left: None,
            came: parsed.param("cause").and_then(number).map(Why::of_cause),
            private: false,
            how: How::Unsaid,
        };
        inner.split('&').for_each(|header| entry.header(header));
        for param in params.split(';') {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "index" => entry.index = index(value.trim()),
                "mp" => entry.how = How::Mapped,
                "rc" | "np" => entry.how = How::Same,
                _ => {}
            }
        }
        Some(entry)
    }

    /// A header in the URI.
    fn header(&mut self, text: &str) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = unescaped(value);
        if name.eq_ignore_ascii_case("Privacy") {
            self.private |= !value.eq_ignore_ascii_case("none");
        }
        if name.eq_ignore_ascii_case("Reason") {
            let cause = value.split(';').skip(1).find_map(|param| {
                let (name, cause) = param.split_once('=')?;
                name.trim().eq_ignore_ascii_case("cause").then(|| number(cause.trim().as_bytes()))
            });
            let sip = value.trim_start().to_ascii_uppercase().starts_with("SIP");
            let why = cause.flatten().filter(|_| sip).map_or(Why::Unknown, Why::of_cause);
            self.left.get_or_insert(why);
        }
    }

    /// The diversion that took the call from here to `next`; the last entry is where it is now,
    /// unless it says why the call left.
    fn diversion(&self, next: Option<&Self>) -> Option<Diversion> {
        let other = next.is_some_and(|next| next.party.user != self.party.user);
        let mapped = next.is_some_and(|next| match next.how {
            How::Mapped => true,
            How::Same => false,
            How::Unsaid => other && next.party.is_telephone() && self.party.is_telephone(),
        });
        // The same number tried at another place was diverted by nobody.
        if next.is_some() && !other && !mapped {
            return None;
        }
        let came = next.and_then(|next| next.came);
        let why = came.or(self.left).or(mapped.then_some(Why::Unknown))?;
        let depth = |entry: &Self| entry.index.as_ref().map_or(0, Vec::len);
        let times = next.map_or(1, |next| depth(next).saturating_sub(depth(self))).max(1);
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        Some(Diversion { party: self.party.clone(), why, private: self.private, times })
    }
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn index(text: &str) -> Option<Vec<u32>> {
    let levels: Option<Vec<u32>> =
        text.split('.').take(DEPTH_MAX + 1).map(|level| level.parse().ok()).collect();
    levels.filter(|levels| levels.len() <= DEPTH_MAX)
}

/// Percent escapes undone. A backslash is left out: it stands in Microsoft's own example, where a
/// line was broken.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut ahead = rest.clone();
        let escape = match (octet, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => Some(high << 4 | low),
            _ => None,
        };
        match escape {
            Some(escaped) => {
                plain.push(escaped);
                rest = ahead;
            }
            None if octet == b'\\' => {}
            None => plain.push(octet),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
