//! One part of a body by its media type (RFC 2046, 5.1; RFC 5621): emergency calls carry SDP beside
//! a location, SIP-I beside ISUP (TDR-EMG-003).

use super::text::{Params, trim};
use super::{Headers, Name};
use bytes::Bytes;
use memchr::memmem;

/// Parts that are looked at; real bodies have two or three (TDR-LIM-001).
pub const MAX_PARTS: usize = 64;

/// The octets of `body` that are of `media_type`: the body itself, or the first such part of a
/// multipart body, whatever the order. A body without Content-Type is taken for what is wanted.
///
/// Nested multiparts are not entered, and preamble and epilogue are no parts.
pub fn body_part(headers: &Headers, body: &Bytes, media_type: &str) -> Option<Bytes> {
    if body.is_empty() {
        return None;
    }
    let Some(content_type) = headers.get(Name::ContentType) else { return Some(body.clone()) };
    if split_type(content_type).0.eq_ignore_ascii_case(media_type.as_bytes()) {
        return Some(body.clone());
    }
    Parts::of(headers, body)?.take(MAX_PARTS).find_map(|part| {
        let (head, octets) = split_part(part)?;
        is_of_type(head, media_type).then(|| body.slice_ref(octets))
    })
}

/// The parts of a multipart body that are of `media_type`, each with its headers, octet by octet
/// as it came: what is to stand in another multipart body.
pub fn body_parts<'a>(
    headers: &'a Headers,
    body: &'a Bytes,
    media_type: &'a str,
) -> impl Iterator<Item = Bytes> + 'a {
    let parts = Parts::of(headers, body).into_iter().flatten().take(MAX_PARTS);
    let wanted =
        move |part: &&[u8]| split_part(part).is_some_and(|(head, _)| is_of_type(head, media_type));
    parts.filter(wanted).map(|part| body.slice_ref(part))
}

const MULTIPART: &[u8] = b"multipart/";

/// Media type and parameters of a Content-Type value.
fn split_type(value: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b';', value) {
        Some(at) => (trim(&value[..at]), &value[at + 1..]),
        None => (trim(value), b""),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value)
}

/// The octets between delimiter lines, headers of the part included.
struct Parts<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    /// The parts of `body`, if it is multipart and says what stands between them.
    fn of(headers: &'a Headers, body: &'a [u8]) -> Option<Self> {
        let (kind, params) = split_type(headers.get(Name::ContentType)?);
        let multipart = kind.get(..MULTIPART.len())?.eq_ignore_ascii_case(MULTIPART);
        let boundary = unquoted(Params::new(params).value("boundary")?);
        (multipart && !boundary.is_empty()).then_some(Self { body, boundary, at: 0 })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (_, start, last) = self.delimiter(self.at)?;
        if last {
            return None;
        }
        let (end, _, _) = self.delimiter(start)?;
        self.at = end;
        // The line end before a delimiter belongs to the delimiter.
        let part = self.body.get(start..end)?;
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        Some(part.strip_suffix(b"\r").unwrap_or(part))
    }
}

impl Parts<'_> {
    /// The next delimiter line from `from` on: where it begins, where the line after it begins, and
    /// whether it is the closing one.
    fn delimiter(&self, from: usize) -> Option<(usize, usize, bool)> {
        let mut from = from;
        loop {
            let at = from + memmem::find(self.body.get(from..)?, b"--")?;
            from = at + 2;
            let begins_line = at == 0 || self.body.get(at - 1) == Some(&b'\n');
            let Some(rest) = self.body.get(from..)?.strip_prefix(self.boundary) else { continue };
            let last = rest.starts_with(b"--");
            let line = memchr::memchr(b'\n', rest);
            let padding = rest.get(..line.unwrap_or(rest.len())).unwrap_or_default();
            let blank = padding.iter().all(|b| b" \t\r".contains(b));
            if begins_line && (last || blank) {
                let next =
                    line.map_or(self.body.len(), |end| self.body.len() - rest.len() + end + 1);
                return Some((at, next, last));
            }
        }
    }
}

/// Headers and octets of a part; a part may begin with its blank line.
fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(octets) = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n")) {
        return Some((b"", octets));
    }
    let at = memmem::find(part, b"\r\n\r\n").map(|at| (at, at + 4));
    let (head, octets) = at.or_else(|| memmem::find(part, b"\n\n").map(|at| (at, at + 2)))?;
    Some((part.get(..head)?, part.get(octets..)?))
}

fn is_of_type(head: &[u8], media_type: &str) -> bool {
    head.split(|b| *b == b'\n').any(|line| {
        let Some(colon) = memchr::memchr(b':', line) else { return false };
        let (name, value) = (trim(&line[..colon]), &line[colon + 1..]);
        let (kind, _) = split_type(value.strip_suffix(b"\r").unwrap_or(value));
        (name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c"))
            && kind.eq_ignore_ascii_case(media_type.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n--not a delimiter\r\n";

    fn part(content_type: &str, body: &str) -> Option<String> {
        let mut headers = Headers::default();
        headers.push(Name::ContentType, content_type.to_owned());
        let body = Bytes::from(body.to_owned());
        let part = body_part(&headers, &body, "application/sdp")?;
        Some(String::from_utf8(part.to_vec()).unwrap())
    }

    #[test]
    fn sdp_is_found_before_and_behind_a_location() {
        let sdp = format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n");
        let location = "--b1\r\nContent-ID: <a@b>\r\ncontent-type: application/pidf+xml;charset=x\r\n\r\n<presence/>\r\n";
        for body in
            [format!("{sdp}{location}--b1--"), format!("pre\r\n{location}{sdp}--b1--\r\nepi")]
        {
            assert_eq!(part("multipart/mixed; boundary=b1", &body).as_deref(), Some(SDP), "{body}");
            assert_eq!(part("Multipart/Mixed;boundary=\"b1\"", &body).as_deref(), Some(SDP));
            assert_eq!(part("multipart/mixed;boundary=b2", &body), None);
            assert_eq!(part("multipart/mixed", &body), None, "no boundary");
        }
    }

    #[test]
    fn parts_of_one_type_come_with_their_headers_as_they_are() {
        let location =
            "Content-ID: <a@b>\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n";
        let body = format!("--b1\r\n{location}\r\n--b1\r\n\r\nx\r\n--b1\r\n{location}\r\n--b1--");
        let mut headers = Headers::default();
        headers.push(Name::ContentType, "multipart/mixed;boundary=b1");
        let body = Bytes::from(body);
        let found: Vec<Bytes> = body_parts(&headers, &body, "application/pidf+xml").collect();
        assert_eq!(found, [location, location]);
        headers.set(Name::ContentType, "application/pidf+xml");
        assert_eq!(body_parts(&headers, &body, "application/pidf+xml").count(), 0);
    }

    #[test]
    fn a_plain_body_is_its_own_part() {
        assert_eq!(part("application/SDP; charset=utf-8", SDP).as_deref(), Some(SDP));
        assert_eq!(part("application/isup", SDP), None);
        assert_eq!(part("application/sdp", ""), None);
    }

    #[test]
    fn a_multipart_that_is_cut_off_anywhere_gives_sdp_or_nothing() {
        let body = format!("--b\r\n\r\nx\r\n--b\r\nc: application/sdp\r\n\r\n{SDP}\r\n--b--\r\n");
        for end in 0..body.len() {
            let found = part("multipart/mixed;boundary=b", &body[..end]);
            assert!(found.is_none_or(|sdp| sdp == SDP), "cut at {end}");
        }
        assert_eq!(part("multipart/mixed;boundary=b", &body).as_deref(), Some(SDP));
    }
}
