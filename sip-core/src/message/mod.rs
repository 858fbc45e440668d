//! SIP messages: bytes to a request or response and back, losing nothing that was not changed
//! (RFC 3261, 7 and 25).
//!
//! A received message is scanned once into offsets over its `Bytes`; typed views are made on
//! demand; a header that was not touched is written as the octets it came in.

use bytes::Bytes;

/// A SIP message, syntactically whole: mandatory headers are present and well formed.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Reads one datagram, or one message cut from a stream by [`crate::framing`].
    ///
    /// Octets after Content-Length are ignored (RFC 3261, 18.3). Checks what every recipient must
    /// check (start line, mandatory and single-instance headers, CSeq against method, lengths).
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        let _ = bytes;
        todo!()
    }
    /// The header fields.
    pub fn headers(&self) -> &Headers {
        todo!()
    }
    /// The header fields, to change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        todo!()
    }
    /// The body octets.
    pub fn body(&self) -> &Bytes {
        todo!()
    }
    /// Appends the message as it goes on the wire; Content-Length is always right.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        todo!()
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
}

impl Request {
    /// A new request with no headers.
    pub fn new(method: Method, uri: impl Into<Bytes>) -> Self {
        let _ = (method, uri.into());
        todo!()
    }
    /// The body octets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// Replaces the body, Content-Type and Content-Length. An empty body removes Content-Type.
    pub fn set_body(&mut self, content_type: &'static str, body: impl Into<Bytes>) {
        let _ = (content_type, body.into());
        todo!()
    }
    /// The Request-URI, read.
    pub fn request_uri(&self) -> Result<Uri<'_>, ParseError> {
        todo!()
    }
    /// Appends the request as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}

impl Response {
    /// A new response with no headers and the standard reason phrase of `status` (RFC 3261, 21).
    pub fn new(status: u16) -> Self {
        let _ = status;
        todo!()
    }
    /// A response to `request` (RFC 3261, 8.2.6): copies Via, From, To, Call-ID, CSeq, and
    /// Record-Route for 101 to 299 of a request that can make a dialog. Adds `to_tag` to To where To has none.
    pub fn to(request: &Request, status: u16, to_tag: Option<&[u8]>) -> Self {
        let _ = (request, status, to_tag);
        todo!()
    }
    /// The body octets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// Replaces the body, Content-Type and Content-Length. An empty body removes Content-Type.
    pub fn set_body(&mut self, content_type: &'static str, body: impl Into<Bytes>) {
        let _ = (content_type, body.into());
        todo!()
    }
    /// Appends the response as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}

/// Views every message has (`Headers` holds them, as requests and responses share them). All are
/// infallible on a parsed message, because `parse` has checked them; on a message under
/// construction a missing header reads as empty.
impl Headers {
    /// From (RFC 3261, 20.20).
    pub fn from(&self) -> NameAddr<'_> {
        todo!()
    }
    /// To (RFC 3261, 20.39).
    pub fn to(&self) -> NameAddr<'_> {
        todo!()
    }
    /// Call-ID, as written.
    pub fn call_id(&self) -> &[u8] {
        todo!()
    }
    /// CSeq.
    pub fn cseq(&self) -> CSeq {
        todo!()
    }
    /// The topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        todo!()
    }
    /// Max-Forwards, if present.
    pub fn max_forwards(&self) -> Option<u8> {
        todo!()
    }
    /// The first Contact that is an address (not `*`).
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        todo!()
    }
}

/// The header fields of a message, in order.
#[derive(Clone, Debug, Default)]
pub struct Headers {}

impl Headers {
    /// The first value under `name`, without surrounding white space.
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }
    /// Each header line's value under `name`, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let _ = name;
        std::iter::empty()
    }
    /// Each list element under `name`: lines split at commas outside quotes and angle brackets.
    pub fn list(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let _ = name;
        std::iter::empty()
    }
    /// Whether the list under `name` holds `token`, compared without case.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        let _ = (name, token);
        todo!()
    }
    /// Appends a header line.
    pub fn push(&mut self, name: Name, value: impl Into<Bytes>) {
        let _ = (name, value.into());
        todo!()
    }
    /// Inserts a header line above the first of its name (for Via, Route), or first of all.
    pub fn push_front(&mut self, name: Name, value: impl Into<Bytes>) {
        let _ = (name, value.into());
        todo!()
    }
    /// Replaces the first line under `name` and removes the others, or appends.
    pub fn set(&mut self, name: Name, value: impl Into<Bytes>) {
        let _ = (name, value.into());
        todo!()
    }
    /// Removes all lines under `name`; whether there was one.
    pub fn remove(&mut self, name: Name) -> bool {
        let _ = name;
        todo!()
    }
    /// Removes the first list element under `name` (the top Via of a response).
    pub fn pop(&mut self, name: Name) {
        let _ = name;
        todo!()
    }
    /// All lines as written: name octets and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

/// A header name. Known names compare by this value, whatever their case or compact form; others
/// are `Other("Name")`, compared without case.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the header of that name")]
pub enum Name {
    Accept,
    Allow,
    AllowEvents,
    AlertInfo,
    Authorization,
    CallId,
    CallInfo,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Diversion,
    Event,
    Expires,
    From,
    Geolocation,
    HistoryInfo,
    MaxForwards,
    MinExpires,
    MinSe,
    PAssertedIdentity,
    Priority,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    RAck,
    Reason,
    RecordRoute,
    ReferredBy,
    ReferTo,
    Replaces,
    Require,
    RetryAfter,
    Route,
    RSeq,
    Server,
    SessionExpires,
    Subject,
    SubscriptionState,
    Supported,
    To,
    Unsupported,
    UserAgent,
    Via,
    Warning,
    WwwAuthenticate,
    Other(&'static str),
}

/// A method; case matters (RFC 3261, 7.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the method of that name")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Refer,
    Notify,
    Subscribe,
    Message,
    Publish,
    Other(Bytes),
}

impl Method {
    /// The method as written on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        todo!()
    }
}

/// CSeq (RFC 3261, 20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method,
}

/// A URI, read in place (RFC 3261, 19.1; RFC 3966 for tel).
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme as written, without colon.
    pub scheme: &'a [u8],
    /// The user part (telephone-subscriber of a tel: URI), escapes untouched; may hold `;params`.
    pub user: Option<&'a [u8]>,
    /// The host as written; an IPv6 reference without its brackets. Empty for tel:.
    pub host: &'a [u8],
    /// The port, if written.
    pub port: Option<u16>,
    params: &'a [u8],
    headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads an addr-spec; any scheme parses (RFC 4475, 3.3.2: unknown ones earn 416 later).
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let _ = text;
        todo!()
    }
    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        todo!()
    }
    /// The value of a URI parameter, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        todo!()
    }
    /// The parameters as written, without the leading `;`.
    pub fn params(&self) -> &'a [u8] {
        self.params
    }
    /// The headers after `?`, as written.
    pub fn header_part(&self) -> &'a [u8] {
        self.headers
    }
}

/// A name-addr or addr-spec with header parameters (From, To, Contact, Route ...).
#[derive(Clone, Copy, Debug, Default)]
pub struct NameAddr<'a> {
    /// The display name as written, with its quotes.
    pub display: &'a [u8],
    /// The URI as written, without angle brackets.
    pub uri: &'a [u8],
    params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one element.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let _ = text;
        todo!()
    }
    /// The URI, read.
    pub fn uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }
    /// A header parameter's value, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        todo!()
    }
    /// The tag, if any (RFC 3261, 19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param("tag")
    }
}

/// One Via element (RFC 3261, 20.42).
#[derive(Clone, Copy, Debug, Default)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, ... as written.
    pub transport: &'a [u8],
    /// sent-by host, an IPv6 reference without its brackets.
    pub host: &'a [u8],
    /// sent-by port.
    pub port: Option<u16>,
    params: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one element.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let _ = text;
        todo!()
    }
    /// A parameter's value, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        todo!()
    }
    /// The branch, if any.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.param("branch")
    }
}

/// What is wrong with a message, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} at octet {offset}")]
pub struct ParseError {
    /// What is wrong, in words for an operator.
    pub what: &'static str,
    /// Where in the message.
    pub offset: usize,
    /// The header at fault, as written, if one is.
    pub header: Option<Bytes>,
    /// The status that a UAS answers a request with; `None`: drop without an answer.
    pub status: Option<u16>,
    /// The refusing response ready to be sent back where the request came from, if one can be made.
    pub response: Option<Box<Response>>,
}
