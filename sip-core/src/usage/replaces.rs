//! Replaces: the dialog whose place a new INVITE takes (RFC 3891).

use crate::message::{Headers, Name, Params};
use bytes::Bytes;

/// The dialog to replace, as its other end names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: Bytes,
    /// The tag of the end that is asked, which is ours (RFC 3891, 3).
    pub to_tag: Bytes,
    /// The tag of its other end.
    pub from_tag: Bytes,
    /// Only while the dialog is early.
    pub early_only: bool,
}

/// A Replaces that names no dialog: answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplacesError {
    /// There is more than one (RFC 3891, 3).
    #[error("more than one Replaces")]
    Several,
    /// There is no Call-ID, or a tag is missing, twice or empty.
    #[error("Replaces does not name a dialog")]
    Malformed,
}

impl Replaces {
    /// The header of an INVITE, if it has one.
    pub fn of(headers: &Headers) -> Result<Option<Self>, ReplacesError> {
        let mut all = headers.all(Name::Replaces);
        let (first, second) = (all.next(), all.next());
        match (first, second) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value).map(Some),
            (Some(_), Some(_)) => Err(ReplacesError::Several),
        }
    }

    /// Reads `call-id;to-tag=..;from-tag=..[;early-only]`, in any order of the parameters.
    pub fn parse(value: &[u8]) -> Result<Self, ReplacesError> {
        let malformed = ReplacesError::Malformed;
        let semicolon = value.iter().position(|b| *b == b';').ok_or(malformed)?;
        let (call_id, params) = (&value[..semicolon], &value[semicolon + 1..]);
        let call_id = call_id.trim_ascii();
        if call_id.is_empty() || call_id.iter().any(|b| *b <= b' ' || *b == b',') {
            return Err(malformed);
        }
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for (name, value) in Params::new(params) {
            let place = match () {
                () if name.eq_ignore_ascii_case(b"to-tag") => &mut to_tag,
                () if name.eq_ignore_ascii_case(b"from-tag") => &mut from_tag,
                () if name.eq_ignore_ascii_case(b"early-only") => {
                    early_only = true;
                    continue;
                }
                () => continue,
            };
            let tag = value.filter(|tag| !tag.is_empty()).ok_or(malformed)?;
            if place.replace(Bytes::copy_from_slice(tag)).is_some() {
                return Err(malformed);
            }
        }
        let (Some(to_tag), Some(from_tag)) = (to_tag, from_tag) else { return Err(malformed) };
        Ok(Self { call_id: Bytes::copy_from_slice(call_id), to_tag, from_tag, early_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_named_whatever_the_order_and_case() {
        // RFC 3891, 6.1.
        let value = b"98732@sip.example.com ; FROM-tag=r33th4x0r\r\n ;to-tag=ff87ff;x=1";
        let replaces = Replaces::parse(value).unwrap();
        assert_eq!(replaces.call_id, "98732@sip.example.com");
        assert_eq!(
            (&replaces.to_tag[..], &replaces.from_tag[..]),
            (&b"ff87ff"[..], &b"r33th4x0r"[..])
        );
        assert!(!replaces.early_only);
        assert!(Replaces::parse(b"a;to-tag=b;from-tag=c;early-only").unwrap().early_only);
    }

    #[test]
    fn what_names_no_dialog_is_refused() {
        for value in [
            &b""[..],
            b"a",
            b";to-tag=b;from-tag=c",
            b"a;to-tag=b",
            b"a;from-tag=c",
            b"a;to-tag=b;from-tag",
            b"a;to-tag=;from-tag=c",
            b"a;to-tag=b;to-tag=d;from-tag=c",
            b"a b;to-tag=b;from-tag=c",
            b"a,b;to-tag=b;from-tag=c",
        ] {
            let text = String::from_utf8_lossy(value);
            assert_eq!(Replaces::parse(value), Err(ReplacesError::Malformed), "{text}");
        }
    }

    #[test]
    fn two_dialogs_cannot_be_replaced_at_once() {
        let mut headers = Headers::default();
        assert_eq!(Replaces::of(&headers), Ok(None));
        headers.push(Name::Replaces, "a;to-tag=b;from-tag=c");
        assert!(Replaces::of(&headers).unwrap().is_some());
        headers.push(Name::Replaces, "d;to-tag=e;from-tag=f");
        assert_eq!(Replaces::of(&headers), Err(ReplacesError::Several));
    }
}
