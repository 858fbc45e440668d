//! REFER: whom the far side wants called instead, and on whose behalf (RFC 3515, 3892, 4488).

use super::replaces::{Replaces, ReplacesError};
use crate::message::{Headers, Name, NameAddr, Uri};
use bytes::Bytes;

/// A REFER that can be acted upon. Its parts are kept octet by octet: what stands in the parameters
/// concerns only those who wrote them (TDR-XFR-013).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refer {
    /// The URI to call, without the headers that may be embedded in it: a Request-URI holds none
    /// (RFC 3261, 19.1.1).
    pub target: Bytes,
    /// The dialog that the new INVITE is to replace (RFC 5589, 7).
    pub replaces: Option<Replaces>,
    /// Referred-By, as it is copied into the new INVITE (RFC 3892, 2.1).
    pub referred_by: Option<Bytes>,
    /// The referrer wants no NOTIFY (RFC 4488, 4: `Refer-Sub: false`).
    pub unsubscribed: bool,
}

/// A REFER that says not whom to call: answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferError {
    /// There is no Refer-To, or more than one (RFC 3515, 2.4.2).
    #[error("not exactly one Refer-To")]
    NotOne,
    /// Refer-To is no SIP URI to call, or asks for another request than INVITE.
    #[error("Refer-To names nobody to call")]
    NoTarget,
    /// The Replaces embedded in Refer-To is malformed.
    #[error("Replaces in Refer-To: {0}")]
    Replaces(#[from] ReplacesError),
    /// There is more than one Referred-By (RFC 3892, 3).
    #[error("more than one Referred-By")]
    ReferredBy,
}

/// The header of RFC 4488.
pub const REFER_SUB: Name = Name::Other("Refer-Sub");

impl Refer {
    /// Reads the headers of a REFER.
    pub fn of(headers: &Headers) -> Result<Self, ReferError> {
        let refer_to = one(headers, Name::ReferTo).map_err(|Several| ReferError::NotOne)?;
        let refer_to = refer_to.ok_or(ReferError::NotOne)?;
        let address = NameAddr::parse(refer_to).map_err(|_| ReferError::NoTarget)?;
        let uri = address.uri().map_err(|_| ReferError::NoTarget)?;
        let invites =
            uri.param("method").is_none_or(|method| method.eq_ignore_ascii_case(b"INVITE"));
        if !uri.is_sip() || !invites {
            return Err(ReferError::NoTarget);
        }
        let referred_by =
            one(headers, Name::ReferredBy).map_err(|Several| ReferError::ReferredBy)?;
        let refer_sub = headers.get(REFER_SUB).unwrap_or_default();
        let refer_sub = refer_sub.split(|b| *b == b';').next().unwrap_or_default();
        Ok(Self {
            target: Bytes::copy_from_slice(without_headers(&address, &uri)),
            replaces: embedded_replaces(&uri)?,
            referred_by: referred_by.map(Bytes::copy_from_slice),
            unsubscribed: refer_sub.trim_ascii().eq_ignore_ascii_case(b"false"),
        })
    }

    /// What the referrer says of itself in a parameter of its URI.
    pub fn referrer_param(&self, name: &str) -> Option<&[u8]> {
        NameAddr::parse(self.referred_by.as_deref()?).ok()?.uri().ok()?.param(name)
    }
}

struct Several;

fn one(headers: &Headers, name: Name) -> Result<Option<&[u8]>, Several> {
    let mut all = headers.all(name);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Several),
    }
}

fn without_headers<'a>(address: &NameAddr<'a>, uri: &Uri<'a>) -> &'a [u8] {
    let headers = uri.header_part().len();
    let question_mark = usize::from(headers > 0);
    let whole = address.uri;
    let bare = whole.get(..whole.len() - headers - question_mark).unwrap_or(whole);
    bare.strip_suffix(b"?").unwrap_or(bare)
}

/// `?Replaces=...` with its escapes undone (RFC 3261, 19.1.1); what else is embedded is left out, as
/// it would be said in our name (RFC 3261, 19.1.5).
fn embedded_replaces(uri: &Uri<'_>) -> Result<Option<Replaces>, ReplacesError> {
    let mut found = None;
    for header in uri.header_part().split(|b| *b == b'&') {
        let mut parts = header.splitn(2, |b| *b == b'=');
        let name = parts.next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"Replaces") {
            continue;
        }
        let value = unescaped(parts.next().unwrap_or_default()).ok_or(ReplacesError::Malformed)?;
        if found.replace(Replaces::parse(&value)?).is_some() {
            return Err(ReplacesError::Several);
        }
    }
    Ok(found)
}

/// `None` where a `%` is followed by anything but two hexadecimal digits.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after.get(2..)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(Name, &'static str)]) -> Headers {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(*name, *value));
        headers
    }

    fn refer_to(value: &'static str) -> Result<Refer, ReferError> {
        Refer::of(&headers(&[(Name::ReferTo, value)]))
    }

    /// TDR-XFR-012, TDR-XFR-013.
    #[test]
    fn microsofts_parameters_stay_octet_by_octet() {
        let uri = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:6b65a6a4-8b81-48f6-b38a-088ca65ed389";
        let by =
            "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:47378190;x-tt=aHR0cHM6Ly9hcGkZWY%3D>";
        let to: &'static str = format!("<{uri}>").leak();
        let refer = Refer::of(&headers(&[(Name::ReferTo, to), (Name::ReferredBy, by)])).unwrap();
        assert_eq!(refer.target, uri);
        assert_eq!(refer.referred_by.as_deref(), Some(by.as_bytes()));
        assert_eq!(refer.referrer_param("X-M"), Some(&b"8:orgid:47378190"[..]));
        assert_eq!(refer.referrer_param("x-t"), None);
        assert_eq!((refer.replaces, refer.unsubscribed), (None, false));
    }

    #[test]
    fn a_dialog_to_replace_is_taken_out_of_the_uri() {
        // RFC 3891, 6.1 and RFC 5589, 7.3.
        let refer = refer_to(
            "<sip:bob@b.example.net;gr=x?Subject=a&Replaces=90%40c.example%3Bto-tag%3Dff%3Bfrom-tag%3D4d>",
        );
        let refer = refer.unwrap();
        assert_eq!(refer.target, "sip:bob@b.example.net;gr=x");
        let replaces = refer.replaces.unwrap();
        assert_eq!(replaces.call_id, "90@c.example");
        assert_eq!((&replaces.to_tag[..], &replaces.from_tag[..]), (&b"ff"[..], &b"4d"[..]));
    }

    #[test]
    fn a_uri_without_brackets_leaves_its_parameters_to_the_header() {
        assert_eq!(
            refer_to("sip:bob@b.example.net;method=INVITE").unwrap().target,
            "sip:bob@b.example.net"
        );
        assert_eq!(refer_to("<sip:b.example.net?>").unwrap().target, "sip:b.example.net");
    }

    #[test]
    fn whoever_is_not_to_be_called_is_refused() {
        for value in [
            "",
            "bob",
            "<tel:+4930123456>",
            "<https://b.example.net>",
            "<sip:bob@b.example.net;method=BYE>",
        ] {
            assert_eq!(refer_to(value), Err(ReferError::NoTarget), "{value}");
        }
        assert_eq!(Refer::of(&headers(&[])), Err(ReferError::NotOne));
        let twice = [(Name::ReferTo, "<sip:a@b>"), (Name::ReferTo, "<sip:c@d>")];
        assert_eq!(Refer::of(&headers(&twice)), Err(ReferError::NotOne));
        let twice = [
            (Name::ReferTo, "<sip:a@b>"),
            (Name::ReferredBy, "<sip:c@d>"),
            (Name::ReferredBy, "<sip:c@d>"),
        ];
        assert_eq!(Refer::of(&headers(&twice)), Err(ReferError::ReferredBy));
        for value in ["<sip:a@b?Replaces=x>", "<sip:a@b?Replaces=x%3Bto-tag%3Dy%3Bfrom-tag%3Dz%4>"]
        {
            let error = ReferError::Replaces(ReplacesError::Malformed);
            assert_eq!(refer_to(value), Err(error), "{value}");
        }
    }

    #[test]
    fn a_referrer_may_want_no_news() {
        for (value, unsubscribed) in [("false", true), (" False ;x=1", true), ("true", false)] {
            let lines = [(Name::ReferTo, "<sip:a@b>"), (REFER_SUB, value)];
            assert_eq!(Refer::of(&headers(&lines)).unwrap().unsubscribed, unsubscribed, "{value}");
        }
    }
}
