//! Methods and CSeq (RFC 3261, 7.1 and 20.16).

use super::text::{decimal, token_len, trim, trim_start};
use super::{Headers, ParseError};
use bytes::Bytes;

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
        match self {
            Self::Invite => b"INVITE",
            Self::Ack => b"ACK",
            Self::Bye => b"BYE",
            Self::Cancel => b"CANCEL",
            Self::Options => b"OPTIONS",
            Self::Register => b"REGISTER",
            Self::Prack => b"PRACK",
            Self::Update => b"UPDATE",
            Self::Info => b"INFO",
            Self::Refer => b"REFER",
            Self::Notify => b"NOTIFY",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Message => b"MESSAGE",
            Self::Publish => b"PUBLISH",
            Self::Other(text) => text,
        }
    }

    /// The known method that `text` is, to the letter.
    pub(super) fn known(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"REFER" => Self::Refer,
            b"NOTIFY" => Self::Notify,
            b"SUBSCRIBE" => Self::Subscribe,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ => return None,
        })
    }
}

impl From<&[u8]> for Method {
    fn from(text: &[u8]) -> Self {
        Self::known(text).unwrap_or_else(|| Self::Other(Bytes::copy_from_slice(text)))
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
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

impl CSeq {
    /// Reads a CSeq value.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let (number, method) = read(text)?;
        Ok(Self { number, method: method.into() })
    }
}

impl Headers {
    /// CSeq.
    pub fn cseq(&self) -> CSeq {
        let value = self.get(super::Name::CSeq).unwrap_or_default();
        CSeq::parse(value).unwrap_or(CSeq { number: 0, method: Method::Other(Bytes::new()) })
    }
}

/// The number and method of a CSeq value, with any white space between them.
pub(super) fn read(text: &[u8]) -> Result<(u32, &[u8]), ParseError> {
    let text = trim(text);
    let digits = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let number = decimal(&text[..digits], u32::MAX)
        .ok_or_else(|| ParseError::new("CSeq number is not in 0 to 4294967295", 0))?;
    let method = trim_start(&text[digits..]);
    let spaced = method.len() < text.len() - digits;
    if !spaced || method.is_empty() || token_len(method) != method.len() {
        return Err(ParseError::new("CSeq has no valid method", digits));
    }
    Ok((number, method))
}
