//! The character classes and small splits that all SIP fields share (RFC 3261, 25.1).

use memchr::{memchr, memchr3};

/// `token` characters (RFC 3261, 25.1).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        b += 1;
    }
    table
};

pub(super) fn is_token(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// Linear white space; CR and LF count because they only occur in folds once a message is parsed.
pub(super) fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// How many token characters `text` starts with.
pub(crate) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|&b| !is_token(b)).unwrap_or(text.len())
}

pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| !is_lws(b)).unwrap_or(text.len());
    &text[start..]
}

pub(super) fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&b| !is_lws(b)).map_or(0, |last| last + 1);
    &text[..end]
}

pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// The length of the quoted string that `text` starts with, both quotes counted.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Splits at the first comma outside quotes and angle brackets; the rest is `None` without one.
pub(super) fn split_element(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    while let Some(found) = memchr3(b',', b'"', b'<', &text[at..]) {
        at += found;
        let skipped = match text[at] {
            b',' => return (&text[..at], Some(&text[at + 1..])),
            b'"' => quoted_len(&text[at..]),
            _ => memchr(b'>', &text[at..]).map(|close| close + 1),
        };
        match skipped {
            Some(len) => at += len,
            None => break,
        }
    }
    (text, None)
}

/// The non-empty elements of a comma-separated value, without surrounding white space.
pub(super) struct Elements<'a> {
    pub(super) rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (element, rest) = split_element(self.rest?);
            self.rest = rest;
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Whether a URI holds an octet that none may hold: controls, white space, `<`, `>`, `"`.
/// Written without an early exit so that it is vectorised.
pub(super) fn has_non_uri_octet(text: &[u8]) -> bool {
    text.iter().fold(false, |bad, &b| {
        bad | (b <= b' ') | (b == 0x7f) | (b == b'<') | (b == b'>') | (b == b'"')
    })
}

/// Octets of a parameter's value that need no second look: what a URI may hold, but `;`.
const PLAIN_VALUE: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = !(c <= b' ' || matches!(c, 0x7f | b'<' | b'>' | b'"' | b';'));
        b += 1;
    }
    table
};

/// A decimal number; `None` for anything but digits, or above `limit`.
pub(crate) fn decimal(text: &[u8], limit: u32) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for &b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(b - b'0');
        if value > u64::from(limit) {
            return None;
        }
    }
    u32::try_from(value).ok()
}

/// The parameters of a URI or header value: name, and value if there is one, as written
/// (a quoted value keeps its quotes).
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    /// Reads `name=value;name;..`, as `params()` of a view returns it.
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: if text.is_empty() { None } else { Some(text) } }
    }

    /// The value under `name`, compared without case: `Some(b"")` if it has no value.
    pub(crate) fn value(self, name: &str) -> Option<&'a [u8]> {
        let mut params = self;
        params
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// Whether each parameter is `token [= (token / host / quoted-string)]`: no empty name
    /// (RFC 4475, 3.1.2.1), no open quote.
    pub(super) fn well_formed(self) -> bool {
        self.rest.is_none_or(is_plain) || self.each_is_well_formed()
    }

    fn each_is_well_formed(self) -> bool {
        let mut params = self;
        params.all(|(name, value)| {
            let name_ok = !name.is_empty() && token_len(name) == name.len();
            let value_ok = match value {
                Some(text) if text.starts_with(b"\"") => quoted_len(text) == Some(text.len()),
                Some(text) => !has_non_uri_octet(text),
                None => true,
            };
            name_ok && value_ok
        })
    }
}

/// Whether the text is `token [= value]`, `;` between them, without quotes and white space: then it
/// is well formed, and nearly all are.
fn is_plain(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        let name = token_len(rest);
        rest = match rest.get(name) {
            None => return name > 0,
            Some(b';') if name > 0 => &rest[name + 1..],
            Some(b'=') if name > 0 => {
                let value = &rest[name + 1..];
                let stop = value.iter().position(|&b| !PLAIN_VALUE[usize::from(b)]);
                match stop.map(|at| (value[at], &value[at + 1..])) {
                    None => return true,
                    Some((b';', after)) => after,
                    Some(_) => return false,
                }
            }
            Some(_) => return false,
        };
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest?;
        let mut at = 0;
        let mut equals = None;
        let end = loop {
            match memchr3(b';', b'"', b'=', &text[at..]).map(|found| at + found) {
                None => break text.len(),
                Some(semicolon) if text[semicolon] == b';' => break semicolon,
                Some(quote) if text[quote] == b'"' => match quoted_len(&text[quote..]) {
                    Some(len) => at = quote + len,
                    None => break text.len(),
                },
                Some(sign) => {
                    equals = equals.or(Some(sign));
                    at = sign + 1;
                }
            }
        };
        self.rest = text.get(end + 1..);
        Some(match equals {
            Some(sign) => (trim(&text[..sign]), Some(trim(&text[sign + 1..end]))),
            None => (trim(&text[..end]), None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comma_in_quotes_or_brackets_does_not_split() {
        let text = br#" "a, \" b" <sip:x,y@h> , <sip:c>;p="," ,, d"#;
        let got: Vec<_> = Elements { rest: Some(text) }.collect();
        assert_eq!(got, [&br#""a, \" b" <sip:x,y@h>"#[..], br#"<sip:c>;p=",""#, b"d"]);
    }

    #[test]
    fn open_quote_swallows_the_rest_and_ends() {
        let got: Vec<_> = Elements { rest: Some(b"a, \"b, c") }.collect();
        assert_eq!(got, [&b"a"[..], b"\"b, c"]);
        assert!(!Params::new(b"a=\"b;c").well_formed());
        assert_eq!(quoted_len(b"\"a\\"), None);
    }

    #[test]
    fn semicolon_in_a_quoted_parameter_does_not_split() {
        let text = br#"a ; b = "x;=y" ;c=d=e"#;
        let got: Vec<_> = Params::new(text).collect();
        let want: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", None), (b"b", Some(br#""x;=y""#)), (b"c", Some(b"d=e"))];
        assert_eq!(got, want);
        assert_eq!(Params::new(text).value("B"), Some(&br#""x;=y""#[..]));
        assert_eq!(Params::new(text).value("a"), Some(&b""[..]));
        assert_eq!(Params::new(b"").count(), 0);
    }

    #[test]
    fn numbers_do_not_wrap_and_take_no_sign() {
        assert_eq!(decimal(b"0009", u32::MAX), Some(9));
        assert_eq!(decimal(b"4294967296", u32::MAX), None);
        assert_eq!(decimal(b"18446744073709551617", u32::MAX), None);
        for text in [&b""[..], b"+1", b"-1", b"0x1", b"1 ", b"1,1"] {
            assert_eq!(decimal(text, u32::MAX), None);
        }
    }
}
