//! Octets to message: one scan for the lines, then the checks every recipient makes
//! (RFC 3261, 7, 8.1.1, 8.2.2, 16.3; RFC 4475 for what people send).

use super::header::{Line, in_set, scan_line};
use super::name::OTHER;
use super::text::{Elements, decimal, split_element, token_len, trim, trim_start};
use super::write::StartLine;
use super::{
    Headers, MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_LINE, MAX_MESSAGE, MAX_VIAS, Message, Method,
    Name, NameAddr, Request, Response, Uri, Via, method,
};
use bytes::Bytes;
use memchr::memchr2;

/// What is wrong with a message, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} at octet {offset}")]
pub struct ParseError {
    /// What is wrong, in words for an operator.
    pub what: &'static str,
    /// Where in the message.
    pub offset: usize,
    /// The header line at fault, as written; the bare name of one that is missing, or of the part
    /// of the start line.
    pub header: Option<Bytes>,
    /// The status that a UAS answers a request with; `None`: drop without an answer.
    pub status: Option<u16>,
    /// The refusing response ready to be sent back where the request came from, if one can be made.
    pub response: Option<Box<Response>>,
}

impl ParseError {
    pub(super) fn new(what: &'static str, offset: usize) -> Self {
        Self { what, offset, header: None, status: Some(400), response: None }
    }

    /// The name of the header at fault, as written: without its value.
    pub fn header_name(&self) -> Option<&[u8]> {
        let line = self.header.as_deref()?;
        let end = memchr::memchr(b':', line).unwrap_or(line.len());
        Some(trim(&line[..end]))
    }

    /// The same error in a text that starts `by` octets earlier.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { offset: self.offset + by, ..self }
    }
}

/// What `read` found wrong: cheap, made into a [`ParseError`] at the edge.
pub(crate) struct Fault {
    what: &'static str,
    offset: usize,
    status: u16,
    at: Part,
}

/// The part of a message that is at fault.
enum Part {
    /// The line that the offset is in, if it is a header's.
    Offset,
    /// The header line with these bounds.
    Line(usize, usize),
    /// What has no line of its own.
    Named(&'static str),
}

impl Fault {
    pub(crate) fn bad(what: &'static str, offset: usize) -> Self {
        Self { what, offset, status: 400, at: Part::Offset }
    }

    pub(crate) fn too_large(what: &'static str, offset: usize) -> Self {
        Self { what, offset, status: 513, at: Part::Offset }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { at: Part::Named(name), ..self }
    }

    pub(crate) fn shifted(self, by: usize) -> Self {
        Self { offset: self.offset + by, ..self }
    }

    fn in_line(self, line: &Line) -> Self {
        Self { at: Part::Line(line.start as usize, line.end as usize), ..self }
    }
}

impl From<(&'static str, usize)> for Fault {
    fn from((what, offset): (&'static str, usize)) -> Self {
        Self::bad(what, offset)
    }
}

impl Message {
    /// Reads one datagram, or one message cut from a stream by [`crate::framing`].
    ///
    /// Octets after Content-Length are ignored (RFC 3261, 18.3), and so is CRLF before the start
    /// line (7.5). Checks what every recipient must check (start line, mandatory and
    /// single-instance headers, CSeq against method, lengths).
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        read(&bytes).map_err(|fault| refuse(&bytes, fault))
    }
}

fn read(bytes: &Bytes) -> Result<Message, Fault> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Fault::too_large("message is too long", MAX_MESSAGE));
    }
    let start = leading_crlf(bytes);
    let (start_line, mut at) = read_start_line(bytes, start)?;

    let mut lines = smallvec::SmallVec::new();
    loop {
        if bytes[at..].starts_with(b"\r\n") {
            break;
        }
        let (line, next) = scan_line(bytes, at)?;
        if next - at > MAX_LINE {
            return Err(Fault::too_large("header line is too long", at).in_line(&line));
        }
        if next - start > MAX_HEAD {
            return Err(Fault::too_large("header section is too long", at));
        }
        if lines.len() == MAX_HEADERS {
            return Err(Fault::too_large("too many header lines", at));
        }
        lines.push(line);
        at = next;
    }
    let body_start = at + 2;
    if let Some(nul) = stray_nul(&bytes[start..at]) {
        return Err(Fault::bad("NUL in a header", start + nul));
    }

    let headers = Headers::received(bytes.clone(), lines);
    let found = check(bytes, at, &headers, &start_line)?;
    let available = bytes.len() - body_start;
    let body_len = found.content_length.unwrap_or(available);
    if body_len > MAX_BODY {
        return Err(Fault::too_large("body is too long", body_start).named(BODY));
    }
    if body_len > available {
        let what = "Content-Length is above what came";
        let line = headers.lines().iter().find(|line| line.code == CONTENT_LENGTH);
        return Err(match line {
            Some(line) => Fault::bad(what, line.value_start as usize).in_line(line),
            None => Fault::bad(what, body_start).named(BODY),
        });
    }
    let body = bytes.slice(body_start..body_start + body_len);
    Ok(match start_line {
        Start::Request { method, uri, line } => Message::Request(Request {
            method: Method::known(&bytes[method.0..method.1])
                .unwrap_or_else(|| Method::Other(bytes.slice(method.0..method.1))),
            uri: bytes.slice(uri.0..uri.1),
            headers,
            body,
            line,
        }),
        Start::Response { status, reason, line } => Message::Response(Response {
            status,
            reason: bytes.slice(reason.0..reason.1),
            headers,
            body,
            line,
        }),
    })
}

/// How many octets of CRLF stand before the message.
fn leading_crlf(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

enum Start {
    Request { method: (usize, usize), uri: (usize, usize), line: StartLine },
    Response { status: u16, reason: (usize, usize), line: StartLine },
}

fn read_start_line(bytes: &[u8], start: usize) -> Result<(Start, usize), Fault> {
    start_line(bytes, start).map_err(|fault| match fault.at {
        Part::Offset => fault.named(START_LINE),
        Part::Line(..) | Part::Named(_) => fault,
    })
}

/// Reads the start line (RFC 3261, 7.1 and 7.2); elements are one space apart.
fn start_line(bytes: &[u8], start: usize) -> Result<(Start, usize), Fault> {
    let end = start
        + memchr2(b'\r', b'\n', &bytes[start..])
            .ok_or(Fault::bad("start line has no end", bytes.len()))?;
    if !bytes[end..].starts_with(b"\r\n") {
        return Err(Fault::bad("CR or LF alone in the start line", end));
    }
    if end - start > MAX_LINE {
        return Err(Fault::too_large("start line is too long", start));
    }
    let text = &bytes[start..end];
    let line = if is_response(text) {
        read_status_line(text, start)?
    } else {
        read_request_line(text, start)?
    };
    Ok((line, end + 2))
}

fn read_request_line(text: &[u8], start: usize) -> Result<Start, Fault> {
    let method_len = token_len(text);
    if method_len == 0 || text.get(method_len) != Some(&b' ') {
        return Err(Fault::bad("request has no method", start));
    }
    let uri_start = method_len + 1;
    let uri_len = memchr::memchr(b' ', &text[uri_start..])
        .ok_or(Fault::bad("request line has no version", start + text.len()))?;
    let uri_end = uri_start + uri_len;
    let version = &text[uri_end + 1..];
    let version_at = start + uri_end + 1;
    let Some((line, b"2.0")) = StartLine::read(version) else {
        return Err(match StartLine::read(version) {
            Some((_, other)) if is_version(other) => {
                Fault { status: 505, ..Fault::bad("SIP version is not 2.0", version_at) }
            }
            _ => Fault::bad("request line does not end in SIP/2.0", version_at),
        });
    };
    Uri::parse(&text[uri_start..uri_end])
        .map_err(|error| inner(error).shifted(start + uri_start).named(REQUEST_URI))?;
    Ok(Start::Request {
        method: (start, start + method_len),
        uri: (start + uri_start, start + uri_end),
        line,
    })
}

fn read_status_line(text: &[u8], start: usize) -> Result<Start, Fault> {
    let bad = Fault::bad("status line is not SIP/2.0, status, reason", start);
    let Some((line, rest)) = StartLine::read(text) else { return Err(bad) };
    let Some(rest) = rest.strip_prefix(b"2.0 ") else { return Err(bad) };
    let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let status = decimal(&rest[..digits], 699).and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.filter(|&status| digits == 3 && status >= 100) else {
        return Err(Fault::bad("status is not in 100 to 699", start + 8));
    };
    let reason_at = start + text.len() - rest.len() + digits;
    let end = start + text.len();
    match rest.get(digits) {
        // Some leave out the space before an empty reason phrase.
        None => Ok(Start::Response { status, reason: (end, end), line: line.without_space() }),
        Some(b' ') => Ok(Start::Response { status, reason: (reason_at + 1, end), line }),
        Some(_) => Err(Fault::bad("no space after the status", reason_at)),
    }
}

fn is_response(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// `1*DIGIT "." 1*DIGIT`
fn is_version(text: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    memchr::memchr(b'.', text).is_some_and(|dot| digits(&text[..dot]) && digits(&text[dot + 1..]))
}

/// A NUL is only allowed after a backslash in a quoted string (RFC 3261, 25.1, quoted-pair).
fn stray_nul(head: &[u8]) -> Option<usize> {
    memchr::memchr_iter(0, head).find(|&at| at == 0 || head[at - 1] != b'\\')
}

/// What the checks have read and `read` needs.
struct Found {
    content_length: Option<usize>,
}

const VIA: u8 = Name::Via.code();
const FROM: u8 = Name::From.code();
const TO: u8 = Name::To.code();
const CALL_ID: u8 = Name::CallId.code();
const CSEQ: u8 = Name::CSeq.code();
const MAX_FORWARDS: u8 = Name::MaxForwards.code();
const CONTACT: u8 = Name::Contact.code();
const CONTENT_LENGTH: u8 = Name::ContentLength.code();
const CONTENT_TYPE: u8 = Name::ContentType.code();

const fn bit(code: u8) -> u64 {
    1 << code
}

/// Headers that may stand once; two of them could mean different things to two readers.
const SINGLE: u64 = bit(FROM)
    | bit(TO)
    | bit(CALL_ID)
    | bit(CSEQ)
    | bit(MAX_FORWARDS)
    | bit(CONTENT_LENGTH)
    | bit(CONTENT_TYPE);

/// Headers without which nothing can be matched or answered (RFC 3261, 8.1.1).
const MANDATORY: [(u8, &str, &str); 5] = [
    (VIA, "Via", "Via is missing"),
    (FROM, "From", "From is missing"),
    (TO, "To", "To is missing"),
    (CALL_ID, "Call-ID", "Call-ID is missing"),
    (CSEQ, "CSeq", "CSeq is missing"),
];

/// What is named as at fault where no header line is.
const START_LINE: &str = "start line";
const REQUEST_URI: &str = "Request-URI";
const BODY: &str = "body";

fn check(bytes: &[u8], head_end: usize, headers: &Headers, start: &Start) -> Result<Found, Fault> {
    let mut seen = 0_u64;
    let mut vias = 0;
    let mut found = Found { content_length: None };
    for line in headers.lines() {
        if line.code == OTHER {
            continue;
        }
        if in_set(SINGLE & seen, line.code) {
            let fault = Fault::bad("header may stand only once", line.start as usize);
            return Err(fault.in_line(line));
        }
        seen |= bit(line.code);
        let value = headers.value(line);
        let checked = match line.code {
            VIA => check_vias(value, &mut vias, start),
            FROM | TO => check_address(value),
            CALL_ID => check_call_id(value),
            CSEQ => check_cseq(value, bytes, start),
            MAX_FORWARDS if matches!(start, Start::Request { .. }) => {
                match decimal(value, u32::from(u8::MAX)) {
                    Some(_) => Ok(()),
                    None => Err(Fault::bad("Max-Forwards is not in 0 to 255", 0)),
                }
            }
            CONTACT => Elements { rest: Some(value) }.try_for_each(|contact| {
                let offset = offset_in(value, contact);
                NameAddr::parse(contact).map(|_| ()).map_err(|error| inner(error).shifted(offset))
            }),
            CONTENT_LENGTH => content_length(value).map(|len| found.content_length = Some(len)),
            _ => Ok(()),
        };
        checked.map_err(|fault| fault.shifted(line.value_start as usize).in_line(line))?;
    }
    match MANDATORY.iter().find(|(code, ..)| !in_set(seen, *code)) {
        Some((_, name, what)) => Err(Fault::bad(what, head_end).named(name)),
        None => Ok(found),
    }
}

fn inner(error: ParseError) -> Fault {
    Fault::bad(error.what, error.offset)
}

/// From and To: an address whose URI we can read.
fn check_address(value: &[u8]) -> Result<(), Fault> {
    let address = NameAddr::parse(value).map_err(inner)?;
    let offset = offset_in(value, address.uri);
    address.uri().map(|_| ()).map_err(|error| inner(error).shifted(offset))
}

/// Where `part` stands in the text that it was cut from.
fn offset_in(text: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn check_vias(value: &[u8], vias: &mut usize, start: &Start) -> Result<(), Fault> {
    let mut rest = Some(value);
    while let Some(text) = rest {
        let (element, after) = split_element(text);
        let offset = value.len() - text.len();
        rest = after;
        let via = Via::parse(element)
            .map_err(|error| inner(error).shifted(offset_in(value, trim_start(element))))?;
        *vias += 1;
        if *vias > MAX_VIAS {
            return Err(Fault::too_large("too many Vias", offset));
        }
        if via.host == b"255.255.255.255" && matches!(start, Start::Response { .. }) {
            // Nobody forwards a response to everybody (RFC 4475, 3.3.10).
            return Err(Fault::bad("Via of a response is a broadcast address", offset));
        }
    }
    Ok(())
}

/// `word ["@" word]`: hardly any restriction, but nothing that could break a line or a list.
fn check_call_id(value: &[u8]) -> Result<(), Fault> {
    match value.iter().position(|&b| b <= b' ' || b == 0x7f) {
        Some(at) => Err(Fault::bad("Call-ID holds white space or controls", at)),
        None if value.is_empty() => Err(Fault::bad("Call-ID is empty", 0)),
        None => Ok(()),
    }
}

/// The method in CSeq is that of the request (RFC 3261, 8.1.1.5). A method that we do not know is
/// left for the application to refuse with 501, which is the better answer (RFC 4475, 3.1.2.18).
fn check_cseq(value: &[u8], bytes: &[u8], start: &Start) -> Result<(), Fault> {
    let (_, cseq_method) = method::read(value).map_err(inner)?;
    match start {
        Start::Request { method: (from, to), .. } => {
            let method = &bytes[*from..*to];
            if method != cseq_method && Method::known(method).is_some() {
                return Err(Fault::bad("CSeq has another method than the request", 0));
            }
            Ok(())
        }
        Start::Response { .. } => Ok(()),
    }
}

/// Reads a Content-Length value; what cannot be a body of ours is too long, not wrapped.
pub(crate) fn content_length(value: &[u8]) -> Result<usize, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::bad("Content-Length is not a number", 0));
    }
    match decimal(value, u32::MAX) {
        Some(len) => Ok(len as usize),
        None => Err(Fault::bad("Content-Length is above what came", 0)),
    }
}

/// Turns a fault into the error the caller sees: for a request that may be answered, with the
/// answer, made of what can still be read.
pub(crate) fn refuse(bytes: &Bytes, fault: Fault) -> ParseError {
    let text = &bytes[leading_crlf(bytes)..];
    let answerable = !text.is_empty() && !is_response(text) && !text.starts_with(b"ACK ");
    let header = match fault.at {
        Part::Named(name) => Some(Bytes::from_static(name.as_bytes())),
        Part::Line(start, end) => Some(bytes.slice_ref(trim(&bytes[start..end]))),
        Part::Offset => header_at(bytes, fault.offset).map(|line| bytes.slice_ref(trim(line))),
    };
    let mut error = ParseError { header, ..ParseError::new(fault.what, fault.offset) };
    error.status = answerable.then_some(fault.status);
    error.response =
        error.status.and_then(|status| salvage(text, status, fault.what)).map(Box::new);
    error
}

/// The line of the header section that holds `offset`, folds and all; what only CR or LF ends is
/// part of the line that it would hide in.
fn header_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let mut at = leading_crlf(bytes);
    let mut start_line = true;
    while at <= offset && !bytes[at..].starts_with(b"\r\n") {
        let end = line_end(bytes, at);
        if offset < end || end == bytes.len() {
            return (!start_line).then(|| &bytes[at..end]);
        }
        start_line = false;
        at = end;
    }
    None
}

/// Where the line with its folds ends (RFC 3261, 7.3.1).
pub(crate) fn line_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = memchr::memmem::find(&text[at..], b"\r\n") {
        at += found + 2;
        if !matches!(text.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    text.len()
}

/// A response made of the Via, From, To, Call-ID and CSeq of a request that does not parse. They
/// need not be well formed themselves: it goes back where the request came from, for its sender to
/// make sense of.
fn salvage(text: &[u8], status: u16, what: &'static str) -> Option<Response> {
    let mut response = Response::new(status);
    if status == 400 {
        // The reason phrase should say what is wrong (RFC 3261, 21.4.1).
        response.reason = Bytes::from_static(what.as_bytes());
    }
    let mut seen = 0;
    let mut vias = 0;
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&text[at..], b"\r\n") {
        at += found + 2;
        if text[at..].starts_with(b"\r\n") || at > MAX_HEAD {
            break;
        }
        let Ok((line, next)) = scan_line(text, at) else { continue };
        at = next - 2;
        let value = &text[line.value_start as usize..line.value_end as usize];
        let name = match line.code {
            VIA => {
                vias += Elements { rest: Some(value) }.count();
                if vias > MAX_VIAS {
                    return None;
                }
                Name::Via
            }
            FROM => Name::From,
            TO => Name::To,
            CALL_ID => Name::CallId,
            CSEQ => Name::CSeq,
            _ => continue,
        };
        if in_set(SINGLE & seen, line.code) || value.is_empty() {
            continue;
        }
        seen |= bit(line.code);
        response.headers.push(name, Bytes::copy_from_slice(value));
    }
    let whole = MANDATORY.iter().all(|(code, ..)| in_set(seen, *code));
    if !whole || response.headers.cseq().method == Method::Ack {
        return None;
    }
    let tag = stateless_tag(&response.headers);
    super::add_to_tag(&mut response.headers, &tag);
    Some(response)
}

/// The same tag for each repeat of a request, as nothing is remembered of it (RFC 3261, 8.2.7).
/// FNV-1a: the tag identifies, it does not protect.
fn stateless_tag(headers: &Headers) -> [u8; 16] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (_, value) in headers.iter() {
        for &b in value {
            hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    std::array::from_fn(|at| b"0123456789abcdef"[(hash >> (60 - 4 * at) & 15) as usize])
}
