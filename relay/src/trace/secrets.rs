//! Keys, passwords and proofs of who somebody is, written over in what goes to others.

use std::ops::Range;

/// Headers whose value proves who somebody is.
const SECRET_HEADERS: [&[u8]; 6] = [
    b"authorization",
    b"proxy-authorization",
    b"www-authenticate",
    b"proxy-authenticate",
    b"authentication-info",
    b"proxy-authentication-info",
];
/// Attributes of SDP that hold keys.
const SECRET_ATTRIBUTES: [&[u8]; 3] = [b"ice-pwd", b"key-mgmt", b"fingerprint"];
/// Before the key of `a=crypto`, whose suite may be seen.
const INLINE: &[u8] = b"inline:";

/// The same message with its keys and secrets written over: its length stays, as Content-Length says it.
pub(super) fn without_secrets(octets: &[u8]) -> Vec<u8> {
    let mut clean = octets.to_vec();
    let mut hide = |range: Range<usize>| {
        if let Some(secret) = clean.get_mut(range) {
            secret.fill(b'x');
        }
    };
    let (mut at, mut hidden) = (0, false);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let start = at;
        at += line.len();
        let line = line.trim_ascii_end().to_ascii_lowercase();
        let folded = line.first().is_some_and(|octet| b" \t".contains(octet));
        let (name, value) = split_at_colon(&line);
        let named = value.is_some() && SECRET_HEADERS.contains(&name.trim_ascii());
        let follows = folded && hidden;
        hidden = follows || named;
        let from = match hidden {
            true if follows => Some(0),
            true => value,
            false => secret_of_sdp(&line),
        };
        if let Some(from) = from {
            hide(start + from..start + line.len());
        }
    }
    passwords(octets).into_iter().for_each(hide);
    clean
}

/// Where the secret begins in a line of SDP, if there is one. Blanks stand where our own reading of it
/// lets them.
fn secret_of_sdp(line: &[u8]) -> Option<usize> {
    let (kind, attribute) = line.split_at_checked(2)?;
    let (name, value) = split_at_colon(attribute);
    let value = value.map(|at| at + 2);
    match (kind, name.trim_ascii()) {
        (b"k=", _) => Some(2),
        (b"a=", name) if SECRET_ATTRIBUTES.contains(&name) => value,
        (b"a=", b"crypto") => find(line, INLINE).map(|at| at + INLINE.len()).or(value),
        _ => find(line, INLINE).map(|at| at + INLINE.len()),
    }
}

/// What is before the first colon, and where that ends.
fn split_at_colon(line: &[u8]) -> (&[u8], Option<usize>) {
    match line.iter().position(|octet| *octet == b':') {
        Some(colon) => (&line[..colon], Some(colon + 1)),
        None => (line, None),
    }
}

/// Where the passwords of URIs stand: `sip:user:password@host`, and the same of other schemes. Each octet is
/// looked at once, whatever a stranger writes: this is done where all calls wait for it.
fn passwords(octets: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut uri, mut since) = (Vec::new(), None::<Uri>, 0);
    for (at, octet) in octets.iter().enumerate() {
        match &mut uri {
            None => uri = Uri::begins(octets.get(since..=at).unwrap_or_default()),
            Some(within) => {
                if *octet == b'@' {
                    found.extend(within.password.map(|from| from..at));
                } else if !within.ends_at(*octet) {
                    if *octet == b':' {
                        within.password.get_or_insert(at + 1);
                    }
                    continue;
                }
                (uri, since) = (None, at);
            }
        }
    }
    found
}

/// What may be one with a password, from behind its scheme on.
struct Uri {
    /// What follows `://` ends at a slash.
    ends_at_slash: bool,
    /// Behind its first colon.
    password: Option<usize>,
}

impl Uri {
    /// Whether one begins behind this.
    fn begins(before: &[u8]) -> Option<Self> {
        let ends_with = |scheme: &[u8]| {
            let tail = before.len().checked_sub(scheme.len()).and_then(|at| before.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(scheme))
        };
        let ends_at_slash = ends_with(b"://");
        let begins = ends_at_slash || ends_with(b"sip:") || ends_with(b"sips:");
        begins.then_some(Self { ends_at_slash, password: None })
    }

    fn ends_at(&self, octet: u8) -> bool {
        octet.is_ascii_whitespace()
            || b"<>\"".contains(&octet)
            || (octet == b'/' && self.ends_at_slash)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
