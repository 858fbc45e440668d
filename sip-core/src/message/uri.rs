//! URIs (RFC 3261, 19.1; RFC 3966 for tel) and the addresses that hold them (RFC 3261, 20.10).

use super::ParseError;
use super::text::{
    Params, decimal, has_non_uri_octet, is_lws, quoted_len, trim, trim_end, trim_start,
};
use memchr::{memchr, memchr2};
use std::net::Ipv6Addr;

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
    password: Option<&'a [u8]>,
    params: &'a [u8],
    headers: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads an addr-spec; any scheme parses (RFC 4475, 3.3.2: unknown ones earn 416 later).
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        if has_non_uri_octet(text) {
            return Err(ParseError::new("URI holds white space, quotes or controls", 0));
        }
        Self::read(text)
    }

    /// Reads an addr-spec whose octets have been checked.
    fn read(text: &'a [u8]) -> Result<Self, ParseError> {
        let colon = scheme_len(text).ok_or_else(|| ParseError::new("URI has no scheme", 0))?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        let bare = Self {
            scheme,
            user: None,
            host: b"",
            port: None,
            password: None,
            params: b"",
            headers: b"",
            rest,
        };
        if rest.is_empty() {
            return Err(ParseError::new("URI is empty", colon));
        }
        if bare.is_sip() {
            bare.read_sip(rest).map_err(|error| error.shifted(text.len() - rest.len()))
        } else if bare.is_tel() {
            let (subscriber, params) = cut(rest, b';');
            Ok(Self { user: Some(subscriber), params: params.unwrap_or_default(), ..bare })
        } else {
            Ok(bare)
        }
    }

    /// `[user [:password] @] host [:port] *(;param) [?headers]`
    fn read_sip(self, text: &'a [u8]) -> Result<Self, ParseError> {
        // A user may hold `;`, `?`, `/` and `,` but no `@`; nothing after it may hold one either.
        let (userinfo, hostport) = match memchr(b'@', text) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        let (user, password) = match userinfo.map(|text| cut(text, b':')) {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        let HostPort { host, port, rest } =
            read_host(hostport).map_err(|error| error.shifted(text.len() - hostport.len()))?;
        let (params, headers) = match rest.first() {
            None => (&b""[..], None),
            Some(b';') => cut(&rest[1..], b'?'),
            Some(b'?') => (&b""[..], Some(&rest[1..])),
            Some(_) => {
                return Err(ParseError::new("URI host is not valid", text.len() - rest.len()));
            }
        };
        let headers = headers.unwrap_or_default();
        Ok(Self { user, password, host, port, params, headers, ..self })
    }

    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"sip") || self.is_sips()
    }

    /// Whether the scheme is `sips`.
    pub fn is_sips(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"sips")
    }

    /// Whether the scheme is `tel`.
    pub fn is_tel(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"tel")
    }

    /// The password, if one was written; deprecated, so only carried.
    pub fn password(&self) -> Option<&'a [u8]> {
        self.password
    }

    /// The value of a URI parameter, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        Params::new(self.params).value(name)
    }

    /// The parameters as written, without the leading `;`.
    pub fn params(&self) -> &'a [u8] {
        self.params
    }

    /// The headers after `?`, as written.
    pub fn header_part(&self) -> &'a [u8] {
        self.headers
    }

    /// All that follows the scheme's colon, for schemes that we do not take apart (`urn:`).
    pub fn scheme_part(&self) -> &'a [u8] {
        self.rest
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
    /// Reads one element. An unquoted display name may hold what it should not (RFC 4475,
    /// 3.1.2.15), and the brackets may hold white space at their edges (3.1.2.14).
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let text = trim(text);
        let bad = |what, rest: &[u8]| ParseError::new(what, text.len() - rest.len());
        let (display, rest) = if text.starts_with(b"\"") {
            let len =
                quoted_len(text).ok_or_else(|| bad("display name has an open quote", text))?;
            let rest = trim_start(&text[len..]);
            if !rest.starts_with(b"<") {
                return Err(bad("no < after the display name", rest));
            }
            (&text[..len], rest)
        } else {
            // A quote before any bracket belongs to a parameter of an addr-spec.
            match memchr2(b'<', b'"', text) {
                Some(open) if text[open] == b'<' => (trim_end(&text[..open]), &text[open..]),
                _ => (&b""[..], text),
            }
        };
        let (uri, rest) = if rest.starts_with(b"<") {
            let close = memchr(b'>', rest).ok_or_else(|| bad("< without >", rest))?;
            (trim(&rest[1..close]), trim_start(&rest[close + 1..]))
        } else {
            // Without brackets each parameter is one of the header (RFC 3261, 20.10).
            let end = rest.iter().position(|&b| b == b';' || is_lws(b)).unwrap_or(rest.len());
            (&rest[..end], trim_start(&rest[end..]))
        };
        if uri.is_empty() || has_non_uri_octet(uri) {
            return Err(bad("address has no valid URI", rest));
        }
        let params = match rest.first() {
            None => &b""[..],
            Some(b';') if Params::new(&rest[1..]).well_formed() && rest.len() > 1 => &rest[1..],
            Some(b';') => return Err(bad("header parameters are not well formed", rest)),
            Some(_) => return Err(bad("text after the address", rest)),
        };
        Ok(Self { display, uri, params })
    }

    /// The URI, read.
    pub fn uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::read(self.uri)
    }

    /// A header parameter's value, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        Params::new(self.params).value(name)
    }

    /// The header parameters as written, without the leading `;`.
    pub fn params(&self) -> &'a [u8] {
        self.params
    }

    /// The tag, if any (RFC 3261, 19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param("tag")
    }
}

/// Splits at the first `sign`, which is left out.
fn cut(text: &[u8], sign: u8) -> (&[u8], Option<&[u8]>) {
    match memchr(sign, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Where the colon after a valid scheme stands (RFC 3986, 3.1).
fn scheme_len(text: &[u8]) -> Option<usize> {
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let end = text.iter().position(|&b| !is_scheme(b))?;
    (text[end] == b':' && text[0].is_ascii_alphabetic()).then_some(end)
}

/// Characters of a host name or an IPv4 address, and the underscore that hosts in the wild have.
const HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        b += 1;
    }
    table
};

/// `host [":" port]` and what follows it.
pub(super) struct HostPort<'a> {
    pub(super) host: &'a [u8],
    pub(super) port: Option<u16>,
    pub(super) rest: &'a [u8],
}

/// Reads `host [":" port]` and returns what follows. An IPv6 reference loses its brackets; an
/// underscore is let through, as hosts in the wild have it. White space may surround the colon
/// (in Via; a URI has been checked to hold none).
pub(super) fn read_host(text: &[u8]) -> Result<HostPort<'_>, ParseError> {
    let (host, rest) = if text.starts_with(b"[") {
        let close = memchr(b']', text).ok_or_else(|| ParseError::new("[ without ]", 0))?;
        let inner = &text[1..close];
        std::str::from_utf8(inner)
            .ok()
            .and_then(|address| address.parse::<Ipv6Addr>().ok())
            .ok_or_else(|| ParseError::new("IPv6 reference is not an address", 0))?;
        (inner, &text[close + 1..])
    } else {
        let end = text.iter().position(|&b| !HOST[usize::from(b)]).unwrap_or(text.len());
        if end == 0 {
            return Err(ParseError::new("host is empty or not valid", 0));
        }
        text.split_at(end)
    };
    let Some(after_colon) = trim_start(rest).strip_prefix(b":") else {
        return Ok(HostPort { host, port: None, rest });
    };
    let after_colon = trim_start(after_colon);
    let digits = after_colon.iter().position(|b| !b.is_ascii_digit()).unwrap_or(after_colon.len());
    let port = decimal(&after_colon[..digits], u32::from(u16::MAX))
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| ParseError::new("port is not in 0 to 65535", host.len()))?;
    Ok(HostPort { host, port: Some(port), rest: &after_colon[digits..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn parts_of_a_full_sip_uri() {
        let uri = uri("sips:alice;p=1:se%20cret@[2001:db8::1]:5061;user=phone;lr?Route=%3Ca%3E");
        assert!(uri.is_sip() && uri.is_sips());
        assert_eq!(uri.user, Some(&b"alice;p=1"[..]));
        assert_eq!(uri.password(), Some(&b"se%20cret"[..]));
        assert_eq!((uri.host, uri.port), (&b"2001:db8::1"[..], Some(5061)));
        assert_eq!(uri.param("USER"), Some(&b"phone"[..]));
        assert_eq!(uri.param("lr"), Some(&b""[..]));
        assert_eq!(uri.param("maddr"), None);
        assert_eq!(uri.header_part(), b"Route=%3Ca%3E");
    }

    #[test]
    fn host_without_user_keeps_its_params_and_headers() {
        let uri = uri("SIP:Example.com;lr?a=b");
        assert_eq!((uri.user, uri.host, uri.port), (None, &b"Example.com"[..], None));
        assert_eq!((uri.params(), uri.header_part()), (&b"lr"[..], &b"a=b"[..]));
    }

    #[test]
    fn plus_of_a_tel_number_survives() {
        let uri = uri("tel:+49-30-123;phone-context=example.com;ext=1");
        assert!(uri.is_tel() && !uri.is_sip());
        assert_eq!(uri.user, Some(&b"+49-30-123"[..]));
        assert_eq!(uri.param("ext"), Some(&b"1"[..]));
        assert_eq!(uri.host, b"");
    }

    #[test]
    fn unknown_scheme_is_kept_whole() {
        let uri = uri("urn:service:sos.police");
        assert_eq!((uri.scheme, uri.scheme_part()), (&b"urn"[..], &b"service:sos.police"[..]));
        assert_eq!((uri.user, uri.host), (None, &b""[..]));
    }

    #[test]
    fn second_at_sign_cannot_move_the_host() {
        assert!(Uri::parse(b"sip:a@evil.example@good.example").is_err());
    }

    #[test]
    fn what_is_not_a_uri() {
        for text in [
            "",
            "sip",
            "sip:",
            ":a",
            "1sip:a@b",
            "sip:a@",
            "sip:a@:5060",
            "sip:a@b:",
            "sip:a@b:65536",
            "sip:a@b:5x",
            "sip:2001:db8::10",
            "sip:[2001:db8::10",
            "sip:[2001:db8:::10]",
            "sip:a b@c",
            "sip:a@b;x=\"y\"",
            "<sip:a@b>",
            "sip:a@b/c",
            "*",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn address_with_and_without_brackets() {
        let with = NameAddr::parse(br#" "A <b>; c" < sip:a@b;u=1 > ; tag = x;lr"#).unwrap();
        assert_eq!(with.display, br#""A <b>; c""#);
        assert_eq!((with.uri, with.params()), (&b"sip:a@b;u=1"[..], &b" tag = x;lr"[..]));
        assert_eq!((with.tag(), with.param("lr")), (Some(&b"x"[..]), Some(&b""[..])));
        let without = NameAddr::parse(b"sip:a@b;tag=x").unwrap();
        assert_eq!((without.uri, without.tag()), (&b"sip:a@b"[..], Some(&b"x"[..])));
        let quoted = NameAddr::parse(br#"sip:a@b;x="<c>";tag=y"#).unwrap();
        assert_eq!((quoted.uri, quoted.tag()), (&b"sip:a@b"[..], Some(&b"y"[..])));
    }

    #[test]
    fn what_is_not_an_address() {
        for text in [
            "",
            "<>",
            "\"a <sip:a@b>",
            "\"a\" sip:a@b",
            "<sip:a@b",
            "<sip:a b@c>",
            "<sip:a@b> x",
            "<sip:a@b>;",
            "<sip:a@b>;;a",
            "<sip:a@b>;=x",
            "<sip:a@b>;x=\"y",
            "<sip:a@b>;x=y z",
            "<sip:a@b\r\n ;x>",
        ] {
            assert!(NameAddr::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
