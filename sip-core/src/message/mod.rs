//! SIP messages: bytes to a request or response and back, losing nothing that was not changed
//! (RFC 3261, 7 and 25).
//!
//! A received message is scanned once into offsets over its `Bytes`; typed views are made on
//! demand; a header that was not touched is written as the octets it came in.

mod header;
mod judge;
mod method;
mod multipart;
mod name;
mod parse;
mod text;
mod uri;
mod via;
mod write;

pub use header::Headers;
pub use judge::{Rejection, Supported, judge};
pub use method::{CSeq, Method};
pub use multipart::{MAX_PARTS, body_part, body_parts};
pub use name::Name;
pub use parse::ParseError;
pub(crate) use parse::{Fault, content_length, line_end, refuse};
pub(crate) use text::{decimal, quoted_len, token_len, trim};

/// Whether a header name as written is that of Content-Length.
pub(crate) fn is_content_length(name: &[u8]) -> bool {
    name::code_of(name) == Name::ContentLength.code()
}
pub use text::Params;
pub use uri::{NameAddr, Uri};
pub use via::Via;

use bytes::Bytes;
use write::StartLine;

/// Octets of start line and headers: what a datagram can hold.
pub const MAX_HEAD: usize = 64 * 1024;

/// Octets of a body: SDP and SIP-I take a few thousand, a datagram holds no more than this.
pub const MAX_BODY: usize = 64 * 1024;

/// Octets of a message.
pub const MAX_MESSAGE: usize = MAX_HEAD + MAX_BODY;

/// Octets of one header line with its folds, and of a start line (TDR-LIM-001).
pub const MAX_LINE: usize = 8 * 1024;

/// Header lines of a message (TDR-LIM-001).
pub const MAX_HEADERS: usize = 200;

/// Via elements of a message: RFC 4475, 3.1.1.7 has 34, and Max-Forwards starts at 70.
pub const MAX_VIAS: usize = 64;

/// The long form of a header name as written; what is not known stays as it is.
pub fn long_name(name: &[u8]) -> &[u8] {
    name::long_of(name)
}

/// A value on one line.
#[cfg(feature = "rsip")]
pub(crate) fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    header::push_clean(&mut out, value);
    out
}

/// A SIP message, syntactically whole: mandatory headers are present and well formed.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// The header fields, to change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Self::Request(request) => &mut request.headers,
            Self::Response(response) => &mut response.headers,
        }
    }

    /// The body octets.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

/// A request: method, Request-URI, headers, body.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI, as written.
    pub uri: Bytes,
    /// The header fields.
    pub headers: Headers,
    body: Bytes,
    line: StartLine,
}

impl Request {
    /// A new request with no headers.
    pub fn new(method: Method, uri: impl Into<Bytes>) -> Self {
        Self {
            method,
            uri: uri.into(),
            headers: Headers::default(),
            body: Bytes::new(),
            line: StartLine::OURS,
        }
    }

    /// The body octets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Replaces the body, Content-Type and Content-Length. An empty body removes Content-Type.
    pub fn set_body(&mut self, content_type: impl Into<Bytes>, body: impl Into<Bytes>) {
        self.body = body.into();
        describe_body(&mut self.headers, content_type.into(), self.body.len());
    }

    /// The Request-URI, read.
    pub fn request_uri(&self) -> Result<Uri<'_>, ParseError> {
        Uri::parse(&self.uri)
    }

    /// Whether a response to it may make a dialog (RFC 3261, 12; RFC 6665; RFC 3515).
    fn can_make_dialog(&self) -> bool {
        matches!(self.method, Method::Invite | Method::Subscribe | Method::Refer)
    }
}

/// A response: status, reason phrase, headers, body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase, as written.
    pub reason: Bytes,
    /// The header fields.
    pub headers: Headers,
    body: Bytes,
    line: StartLine,
}

impl Response {
    /// A new response with no headers and the standard reason phrase of `status` (RFC 3261, 21).
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: Bytes::from_static(reason_phrase(status).as_bytes()),
            headers: Headers::default(),
            body: Bytes::new(),
            line: StartLine::OURS,
        }
    }

    /// A response to `request` (RFC 3261, 8.2.6): copies Via, From, To, Call-ID, CSeq, and
    /// Record-Route for 101 to 299 of a request that can make a dialog. Adds `to_tag` to To where
    /// To has none.
    pub fn to(request: &Request, status: u16, to_tag: Option<&[u8]>) -> Self {
        let mut response = Self::new(status);
        let mut copied = COPIED_TO_RESPONSE;
        if request.can_make_dialog() && (101..300).contains(&status) {
            copied |= 1 << Name::RecordRoute.code();
        }
        response.headers.copy_codes(&request.headers, copied);
        if let Some(tag) = to_tag {
            add_to_tag(&mut response.headers, tag);
        }
        response
    }

    /// The body octets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Replaces the body, Content-Type and Content-Length. An empty body removes Content-Type.
    pub fn set_body(&mut self, content_type: impl Into<Bytes>, body: impl Into<Bytes>) {
        self.body = body.into();
        describe_body(&mut self.headers, content_type.into(), self.body.len());
    }
}

const COPIED_TO_RESPONSE: u64 = 1 << Name::Via.code()
    | 1 << Name::From.code()
    | 1 << Name::To.code()
    | 1 << Name::CallId.code()
    | 1 << Name::CSeq.code();

/// Adds a tag to a To that is readable and has none.
fn add_to_tag(headers: &mut Headers, tag: &[u8]) {
    let Some(to) = headers.get(Name::To) else { return };
    if NameAddr::parse(to).is_ok_and(|address| address.tag().is_none()) {
        let tagged = [to, b";tag=", tag].concat();
        headers.set(Name::To, tagged);
    }
}

fn describe_body(headers: &mut Headers, content_type: Bytes, len: usize) {
    if len == 0 {
        headers.remove(Name::ContentType);
    } else {
        headers.set(Name::ContentType, content_type);
    }
    headers.set(Name::ContentLength, len.to_string());
}

/// The standard reason phrase (RFC 3261, 21, and the IANA registry).
fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        425 => "Bad Alert Message",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => class_phrase(status),
    }
}

/// An unknown status means what the x00 of its class means (RFC 3261, 8.1.3.2).
fn class_phrase(status: u16) -> &'static str {
    match status / 100 {
        1 => "Session Progress",
        2 => "OK",
        3 => "Multiple Choices",
        4 => "Bad Request",
        5 => "Server Internal Error",
        _ => "Busy Everywhere",
    }
}
