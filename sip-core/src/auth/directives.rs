//! The text of all digest header fields: a scheme and `name=value` pairs between commas
//! (RFC 3261, 25.1: `challenge`, `credentials`, `ainfo`).

use crate::message::{quoted_len, token_len, trim};

/// One challenge or one set of credentials, as written.
#[derive(Debug, Default)]
pub(super) struct Directives<'a> {
    /// Empty in Authentication-Info.
    pub(super) scheme: &'a [u8],
    pairs: Vec<(&'a [u8], &'a [u8])>,
    /// Something in it is neither a pair nor skipped safely.
    damaged: bool,
}

impl<'a> Directives<'a> {
    /// Reads one header line. SIP has one challenge on a line (RFC 3261, 20.44), HTTP may have
    /// several (RFC 9110, 11.6.1), and gateways between the two are out there.
    pub(super) fn read(line: &'a [u8]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let mut rest = Some(line);
        while let Some(text) = rest {
            let (element, after) = split(text);
            rest = after;
            let mut element = trim(element);
            if element.is_empty() {
                continue;
            }
            if let Some((scheme, first)) = scheme_of(element) {
                all.push(Self { scheme, ..Self::default() });
                element = first;
            }
            if all.is_empty() {
                all.push(Self::default());
            }
            if let Some(last) = all.last_mut()
                && !element.is_empty()
            {
                last.take(element);
            }
        }
        all
    }

    fn take(&mut self, element: &'a [u8]) {
        let name = &element[..token_len(element)];
        match trim(&element[name.len()..]).strip_prefix(b"=") {
            Some(value) if !name.is_empty() => self.pairs.push((name, trim(value))),
            _ => self.damaged = true,
        }
    }

    /// Whether it is Digest and can be trusted to mean one thing: each name once, quotes closed.
    pub(super) fn is_digest(&self) -> bool {
        let once = |(nth, (name, _)): (usize, &(&[u8], &[u8]))| {
            !self.pairs[..nth].iter().any(|(before, _)| before.eq_ignore_ascii_case(name))
        };
        let whole = |(_, value): &(&[u8], &[u8])| match value.first() {
            Some(b'"') => quoted_len(value) == Some(value.len()),
            _ => true,
        };
        self.scheme.eq_ignore_ascii_case(b"Digest")
            && !self.damaged
            && self.pairs.iter().all(whole)
            && self.pairs.iter().enumerate().all(once)
    }

    /// The value under `name` without its quotes; escapes stay, since both sides hash what stands
    /// between the quotes.
    pub(super) fn value(&self, name: &str) -> Option<&'a [u8]> {
        let (_, value) =
            self.pairs.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(match value {
            [b'"', inner @ .., b'"'] => inner,
            bare => bare,
        })
    }
}

/// Splits at the first comma outside quotes.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b',', b'"', &text[at..]) {
        at += found;
        if text[at] == b',' {
            return (&text[..at], Some(&text[at + 1..]));
        }
        match quoted_len(&text[at..]) {
            Some(len) => at += len,
            None => break,
        }
    }
    (text, None)
}

/// The scheme that an element begins with, and what follows it: `Digest realm="x"`, but not
/// `realm = "x"`.
fn scheme_of(element: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = token_len(element);
    let after = trim(&element[len..]);
    let spaced = after.len() < element.len() - len || after.is_empty();
    (len > 0 && spaced && !after.starts_with(b"=")).then_some((&element[..len], after))
}
