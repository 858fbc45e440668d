//! What a UAS or proxy refuses although it parses: method, URI scheme, hops, extensions, body
//! (RFC 3261, 8.2.1 to 8.2.3, 16.3 and 20.1).

use super::{Method, Name, Request, Response};

/// What the one who judges can do.
#[derive(Clone, Copy, Debug)]
pub struct Supported<'a> {
    /// Methods that are served.
    pub methods: &'a [Method],
    /// URI schemes of a Request-URI.
    pub schemes: &'a [&'a str],
    /// Option tags (RFC 3261, 19.2).
    pub extensions: &'a [&'a str],
    /// Media types of bodies that are read, and of those sent in answer to INVITE.
    pub content_types: &'a [&'a str],
    /// Media types of bodies that are taken and left unread: notes to a person, where no person is.
    pub unread_types: &'a [&'a str],
    /// Whether requests go on to another hop: then Max-Forwards and Proxy-Require count.
    pub forwards: bool,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The method is known but not served here: 405 with Allow.
    #[error("method is not allowed here")]
    MethodNotAllowed,
    /// The method is not known: 501.
    #[error("method is not known")]
    NotImplemented,
    /// The scheme of the Request-URI is not served: 416.
    #[error("URI scheme is not supported")]
    UriScheme,
    /// Max-Forwards is used up: 483.
    #[error("too many hops")]
    TooManyHops,
    /// Require or Proxy-Require names what we do not have: 420 with these tags in Unsupported.
    #[error("required extension is not supported")]
    BadExtension(Vec<u8>),
    /// The body cannot be read: 415 with Accept.
    #[error("body is of an unsupported media type")]
    MediaType,
    /// The caller accepts nothing that we could answer: 406.
    #[error("caller accepts none of our media types")]
    NotAcceptable,
}

impl Rejection {
    /// The status that says so.
    pub const fn status(&self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::NotImplemented => 501,
            Self::UriScheme => 416,
            Self::TooManyHops => 483,
            Self::BadExtension(_) => 420,
            Self::MediaType => 415,
            Self::NotAcceptable => 406,
        }
    }

    /// The name of the header at fault, and where in the received message its value (for an
    /// extension: the tag) stands.
    pub fn place(&self, request: &Request, supported: &Supported<'_>) -> (&'static str, usize) {
        let headers = &request.headers;
        let offset = |part: &[u8]| headers.offset(part).unwrap_or_default();
        let first = |name: Name| {
            let value = headers.get(name).unwrap_or_default();
            (name.as_str(), headers.offset(value).unwrap_or_else(|| offset(request.body())))
        };
        match self {
            // The method stands right before the Request-URI, one space apart.
            Self::MethodNotAllowed | Self::NotImplemented => {
                let before = request.method.as_bytes().len() + 1;
                ("method", offset(&request.uri).saturating_sub(before))
            }
            Self::UriScheme => ("Request-URI", offset(&request.uri)),
            Self::TooManyHops => first(Name::MaxForwards),
            Self::BadExtension(_) => {
                let mut unknown = unknown_extensions(request, supported);
                unknown.next().map_or_else(
                    || first(Name::Require),
                    |(name, tag)| (name.as_str(), offset(tag)),
                )
            }
            Self::MediaType if is_encoded(request) => first(Name::ContentEncoding),
            Self::MediaType => first(Name::ContentType),
            Self::NotAcceptable => first(Name::Accept),
        }
    }

    /// The refusing response with the headers that its status calls for.
    pub fn response(
        &self,
        request: &Request,
        supported: &Supported<'_>,
        to_tag: Option<&[u8]>,
    ) -> Response {
        let mut response = Response::to(request, self.status(), to_tag);
        match self {
            Self::MethodNotAllowed | Self::NotImplemented => {
                let methods: Vec<_> = supported.methods.iter().map(Method::as_bytes).collect();
                response.headers.push(Name::Allow, methods.join(&b", "[..]));
            }
            Self::BadExtension(tags) => {
                response.headers.push(Name::Unsupported, tags.clone());
            }
            Self::MediaType => {
                response.headers.push(Name::Accept, supported.content_types.join(", "));
            }
            Self::UriScheme | Self::TooManyHops | Self::NotAcceptable => {}
        }
        response
    }
}

/// Checks a request in the order of RFC 3261, 8.2 and 16.3. ACK is never refused, as nothing
/// answers it; CANCEL is not judged by Require (8.2.2.3).
pub fn judge(request: &Request, supported: &Supported<'_>) -> Result<(), Rejection> {
    if request.method == Method::Ack {
        return Ok(());
    }
    check_method(request, supported)?;
    let scheme = request.request_uri().map(|uri| uri.scheme).unwrap_or_default();
    if !supported.schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes())) {
        return Err(Rejection::UriScheme);
    }
    if supported.forwards && request.headers.max_forwards() == Some(0) {
        return Err(Rejection::TooManyHops);
    }
    if request.method != Method::Cancel {
        check_extensions(request, supported)?;
        check_body(request, supported)?;
        check_accept(request, supported)?;
    }
    Ok(())
}

fn check_method(request: &Request, supported: &Supported<'_>) -> Result<(), Rejection> {
    if supported.methods.contains(&request.method) {
        return Ok(());
    }
    Err(match request.method {
        Method::Other(_) => Rejection::NotImplemented,
        _ => Rejection::MethodNotAllowed,
    })
}

fn check_extensions(request: &Request, supported: &Supported<'_>) -> Result<(), Rejection> {
    let unknown: Vec<&[u8]> = unknown_extensions(request, supported).map(|(_, tag)| tag).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Rejection::BadExtension(unknown.join(&b", "[..])))
}

/// Option tags that are required and not there, each with the header that requires it.
fn unknown_extensions<'a>(
    request: &'a Request,
    supported: &'a Supported<'_>,
) -> impl Iterator<Item = (Name, &'a [u8])> {
    let required = |name| request.headers.list(name).map(move |tag| (name, tag));
    let proxied = required(Name::ProxyRequire).filter(|_| supported.forwards);
    required(Name::Require)
        .chain(proxied)
        .filter(|(_, tag)| !supported.extensions.iter().any(|have| same(tag, have)))
}

/// A body that we cannot read is refused unless its sender does not mind (RFC 3261, 20.11).
fn check_body(request: &Request, supported: &Supported<'_>) -> Result<(), Rejection> {
    if request.body().is_empty() {
        return Ok(());
    }
    let headers = &request.headers;
    let optional = headers
        .get(Name::ContentDisposition)
        .and_then(|value| value.iter().position(|&b| b == b';').map(|at| &value[at + 1..]))
        .and_then(|params| super::Params::new(params).value("handling"))
        .is_some_and(|handling| handling.eq_ignore_ascii_case(b"optional"));
    let known = headers.get(Name::ContentType).is_some_and(|value| {
        let media = media_type(value);
        let taken = supported.content_types.iter().chain(supported.unread_types);
        taken.into_iter().any(|have| same(media, have))
    });
    if optional || (known && !is_encoded(request)) { Ok(()) } else { Err(Rejection::MediaType) }
}

fn is_encoded(request: &Request) -> bool {
    request.headers.list(Name::ContentEncoding).any(|coding| !same(coding, "identity"))
}

/// An INVITE is answered with a body, so its Accept must leave us one of our types.
fn check_accept(request: &Request, supported: &Supported<'_>) -> Result<(), Rejection> {
    if request.method != Method::Invite {
        return Ok(());
    }
    let mut ranges = request.headers.list(Name::Accept).map(media_type).peekable();
    let fits = |range: &[u8]| {
        same(range, "*/*")
            || supported.content_types.iter().any(|have| {
                let wildcard = range.strip_suffix(b"/*");
                same(range, have)
                    || wildcard.is_some_and(|kind| {
                        have.split_once('/').is_some_and(|(ours, _)| same(kind, ours))
                    })
            })
    };
    // An empty Accept forbids every body by the letter; what sends it means none of this.
    if ranges.peek().is_none() || ranges.any(fits) { Ok(()) } else { Err(Rejection::NotAcceptable) }
}

/// `type/subtype` without parameters.
fn media_type(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    super::text::trim(&value[..end])
}

fn same(text: &[u8], known: &str) -> bool {
    text.eq_ignore_ascii_case(known.as_bytes())
}
