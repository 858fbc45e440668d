//! Via (RFC 3261, 20.42; RFC 3581 for rport; RFC 5118, 4.5 for IPv6 in received).

use super::ParseError;
use super::text::{Params, decimal, is_lws, token_len, trim, trim_start};
use super::uri::{HostPort, read_host};
use std::net::IpAddr;

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
        let text = trim(text);
        let bad = |what, rest: &[u8]| ParseError::new(what, text.len() - rest.len());
        let (protocol, rest) = token(text);
        let (version, rest) = slash(rest)
            .map(token)
            .ok_or_else(|| bad("Via protocol is not SIP/2.0/transport", rest))?;
        let (transport, rest) = slash(rest)
            .map(token)
            .ok_or_else(|| bad("Via protocol is not SIP/2.0/transport", rest))?;
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" || transport.is_empty() {
            return Err(bad("Via protocol is not SIP/2.0/transport", text));
        }
        if !rest.first().copied().is_some_and(is_lws) {
            return Err(bad("no white space before the Via host", rest));
        }
        let sent_by = trim_start(rest);
        let HostPort { host, port, rest } =
            read_host(sent_by).map_err(|error| error.shifted(text.len() - sent_by.len()))?;
        let rest = trim_start(rest);
        let params = match rest.first() {
            None => &b""[..],
            Some(b';') if Params::new(&rest[1..]).well_formed() && rest.len() > 1 => &rest[1..],
            Some(b';') => return Err(bad("Via parameters are not well formed", rest)),
            Some(_) => return Err(bad("Via host is not valid", rest)),
        };
        Ok(Self { transport, host, port, params })
    }

    /// A parameter's value, compared without case: `Some(b"")` if it has no value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        Params::new(self.params).value(name)
    }

    /// The parameters as written, without the leading `;`.
    pub fn params(&self) -> &'a [u8] {
        self.params
    }

    /// The branch, if any.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.param("branch")
    }

    /// The address in `received`, with or without brackets (RFC 5118, 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(self.param("received")?).ok()?;
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(text).parse().ok()
    }

    /// The port in `rport`, if it has a value (RFC 3581, 4).
    pub fn rport(&self) -> Option<u16> {
        decimal(self.param("rport")?, u32::from(u16::MAX)).and_then(|port| port.try_into().ok())
    }
}

fn token(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(token_len(text))
}

/// What follows a slash with any white space around it.
fn slash(text: &[u8]) -> Option<&[u8]> {
    trim_start(text).strip_prefix(b"/").map(trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_everywhere() {
        let via = Via::parse(
            b" SIP  / 2.0\r\n / TLS-SCTP \t [2001:db8::1] : 5061 ; branch = z9hG4bK1 ;rport",
        )
        .unwrap();
        assert_eq!((via.transport, via.host), (&b"TLS-SCTP"[..], &b"2001:db8::1"[..]));
        assert_eq!((via.port, via.branch()), (Some(5061), Some(&b"z9hG4bK1"[..])));
        assert_eq!((via.param("rport"), via.rport()), (Some(&b""[..]), None));
    }

    #[test]
    fn received_is_read_with_and_without_brackets() {
        let want: IpAddr = "2001:db8::9".parse().unwrap();
        for received in ["[2001:db8::9]", "2001:db8::9"] {
            let text = format!("SIP/2.0/UDP h;received={received};rport=5070");
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!((via.received(), via.rport()), (Some(want), Some(5070)));
        }
    }

    #[test]
    fn what_is_not_a_via() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/ h",
            "SIP/2.0 h",
            "SIP/3.0/UDP h",
            "HTTP/2.0/TCP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h;",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP h;a=\"b",
            "SIP/2.0/UDP[::1]",
        ] {
            assert!(Via::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
