//! Who calls and who is called: numbers, names and privacy, read from one INVITE and written into
//! the next.

use crate::identity::Identity;
use bytes::Bytes;
use sip_core::{Headers, Uri};
use std::borrow::Cow;

/// The calling party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user part of From, as written.
    pub(crate) user: String,
    /// The display name as written, with its quotes.
    display: Bytes,
    anonymous: bool,
}

/// The called party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// The user part of the Request-URI as written, with its `;parameters` (TDR-OUT-014).
    pub(crate) user: String,
    /// The number to route by: without parameters and visual separators.
    pub(crate) number: String,
}

impl Called {
    pub(crate) fn of(uri: &Uri<'_>) -> Option<Self> {
        let user = std::str::from_utf8(uri.user?).ok()?.to_owned();
        let number = number_in(&user);
        (!number.is_empty()).then_some(Self { user, number })
    }

    /// The same party under another number.
    pub(crate) fn renumbered(&self, number: String) -> Self {
        Self { user: with_number(&self.user, &number), number }
    }

    /// A party by its number alone.
    pub(crate) fn by_number(number: String) -> Self {
        Self { user: number.clone(), number }
    }

    /// A party by its user part.
    pub(crate) fn by_user(user: &str) -> Self {
        Self { user: user.to_owned(), number: number_in(user) }
    }

    /// The same party with its number in E.164 with `+` and nothing between the digits, which
    /// Teams insists on (TDR-OUT-001). Parameters stay as they are (TDR-OUT-014).
    pub(crate) fn with_plus(mut self) -> Self {
        let digits = self.number.strip_prefix('+').unwrap_or(&self.number);
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            let number = format!("+{digits}");
            let params = self.user.find(';').map_or("", |at| &self.user[at..]);
            self.user = format!("{number}{params}");
            self.number = number;
        }
        self
    }
}

impl Caller {
    pub(crate) fn of(headers: &Headers) -> Self {
        let from = headers.from();
        let user = from
            .uri()
            .ok()
            .and_then(|uri| std::str::from_utf8(uri.user?).ok())
            .map_or_else(String::new, str::to_owned);
        // Networks write the user of RFC 3323 at hosts of their own as well; there Teams would show
        // it as digits (TDR-OUT-015).
        let anonymous = from.uri().is_ok_and(|uri| uri.host.eq_ignore_ascii_case(ANONYMOUS_HOST))
            || user.eq_ignore_ascii_case("anonymous");
        Self { user, display: Bytes::copy_from_slice(from.display), anonymous }
    }

    /// One of whom no more is known than a number.
    pub(crate) fn of_number(number: &str) -> Self {
        let anonymous = number.eq_ignore_ascii_case("anonymous");
        Self { user: number.to_owned(), display: Bytes::new(), anonymous }
    }

    /// One who was called, as the caller of another.
    pub(crate) fn of_called(called: &Called) -> Self {
        Self { user: called.user.clone(), display: Bytes::new(), anonymous: false }
    }

    /// The number to route by: without parameters and visual separators; not that of one who is not
    /// named.
    pub(crate) fn number(&self) -> String {
        if self.anonymous { String::new() } else { number_in(&self.user) }
    }

    /// Whether nobody is named.
    pub(crate) const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// The same caller under another number.
    pub(crate) fn renumbered(self, number: &str) -> Self {
        Self { user: with_number(&self.user, number), ..self }
    }

    /// This number in place of the caller's, and no name beside it; who hides goes on hiding.
    pub(crate) fn replaced(self, number: &str) -> Self {
        Self { user: number.to_owned(), display: Bytes::new(), ..self }
    }

    /// The name that is displayed, without its quotes.
    pub(crate) fn name(&self) -> Option<String> {
        let written = std::str::from_utf8(&self.display).ok()?.trim();
        let quoted = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let name = quoted.map_or_else(|| written.to_owned(), |name| name.replace('\\', ""));
        (!self.anonymous && !name.is_empty()).then_some(name)
    }

    /// The same caller, not named.
    pub(crate) fn unnamed(self) -> Self {
        Self { anonymous: true, ..self }
    }

    /// The same caller under the number that is vouched for; who is not named stays so.
    pub(crate) fn shown_as(self, user: &str, display: &Bytes) -> Self {
        let display = if display.is_empty() { self.display } else { display.clone() };
        Self { user: user.to_owned(), display, ..self }
    }

    /// From without its tag (RFC 3323, 4.1.1.3; TDR-OUT-015).
    pub(crate) fn from(&self, us: &Identity) -> Vec<u8> {
        if self.anonymous {
            return br#""Anonymous" <sip:anonymous@anonymous.invalid>"#.to_vec();
        }
        let mut from = self.display.to_vec();
        if !from.is_empty() {
            from.push(b' ');
        }
        let at = if self.user.is_empty() { "" } else { "@" };
        let phone = if is_telephone(&self.user) { ";user=phone" } else { "" };
        from.extend_from_slice(format!("<sip:{}{at}{}{phone}>", self.user, us.host()).as_bytes());
        from
    }

    /// The user part for our Contact: none for an anonymous caller.
    pub(crate) fn contact_user(&self) -> &str {
        if self.anonymous { "" } else { &self.user }
    }
}

/// A user part without its parameters, and without what is between the digits of a number. An escaped
/// digit is a digit (RFC 3261, 19.1.4): a number must not look like another one to lists and guards.
pub(crate) fn number_in(user: &str) -> String {
    let bare = plain(user.split(';').next().unwrap_or_default());
    // No name begins so, whatever comes behind the digits.
    let dialled = bare.starts_with(['+', '0'])
        || bare.bytes().all(|b| b.is_ascii_digit() || b"+-.()*# ".contains(&b));
    match dialled {
        true => bare.chars().filter(|c| !"-.() ".contains(*c)).collect(),
        false => bare.into_owned(),
    }
}

/// Without the escapes of what numbers are written with; others stay.
fn plain(user: &str) -> Cow<'_, str> {
    let mut parts = user.split('%');
    let first = parts.next().unwrap_or_default();
    if first.len() == user.len() {
        return Cow::Borrowed(user);
    }
    let mut plain = first.to_owned();
    for part in parts {
        let meant = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match meant.filter(|b| b.is_ascii_alphanumeric() || b"+-.()* ".contains(b)) {
            Some(octet) => {
                plain.push(char::from(octet));
                plain.push_str(part.get(2..).unwrap_or_default());
            }
            None => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    Cow::Owned(plain)
}

pub(crate) const ANONYMOUS_HOST: &[u8] = b"anonymous.invalid";

/// A user part with another number; its parameters stay (TDR-OUT-014).
pub(crate) fn with_number(user: &str, number: &str) -> String {
    let params = user.find(';').and_then(|at| user.get(at..)).unwrap_or_default();
    format!("{number}{params}")
}

/// Whether a user part is a telephone number.
pub(crate) fn is_telephone(user: &str) -> bool {
    let bare = user.split(';').next().unwrap_or_default();
    let digits = bare.strip_prefix('+').unwrap_or(bare);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-OUT-001, TDR-OUT-014.
    #[test]
    fn a_number_goes_to_teams_as_e164_whatever_stands_between_its_digits() {
        for (uri, user) in [
            ("sip:+493010001234@sbc.example.net", "+493010001234"),
            ("sip:493010001234@sbc.example.net", "+493010001234"),
            ("sip:+49-30-1000(1234)@sbc.example.net", "+493010001234"),
            ("sip:+493010001234;ext=1001@sbc.example.net", "+493010001234;ext=1001"),
            ("tel:+49-30-10001234", "+493010001234"),
            ("sip:anna@sbc.example.net", "anna"),
        ] {
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!(Called::of(&uri).unwrap().with_plus().user, user);
        }
    }

    #[test]
    fn an_escaped_digit_is_a_digit_and_nothing_between_them_hides_a_number() {
        for (user, number) in [
            ("%2B4990012345", "+4990012345"),
            ("+49%39%30%3012345;ext=%31", "+4990012345"),
            ("+49%20900%2d12345", "+4990012345"),
            ("+49-900-12345x", "+4990012345x"),
            ("0900.12345x", "090012345x"),
            ("%31%31%32", "112"),
            // What would end a user part, a line or an escape stays escaped.
            ("+49%0d%0a%40%3B%22", "+49%0d%0a%40%3B%22"),
            ("*21%23", "*21%23"),
            ("%", "%"),
            ("%+1", "%+1"),
            ("%\u{e4}1", "%\u{e4}1"),
            ("anna-b.c", "anna-b.c"),
        ] {
            assert_eq!(number_in(user), number, "{user}");
        }
    }
}
