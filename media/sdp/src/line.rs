//! A line of a body, kept as it came.

use bytes::Bytes;

/// One line and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: Bytes,
    pub(crate) end: End,
}

impl Line {
    /// The letter before `=`; `None` for what is no SDP line.
    pub(crate) fn kind(&self) -> Option<u8> {
        match &self.text[..] {
            [kind, b'=', ..] => Some(*kind),
            _ => None,
        }
    }

    /// What follows `=`, without the blanks around it.
    pub(crate) fn value(&self) -> &[u8] {
        self.text.get(2..).unwrap_or_default().trim_ascii()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    CrLf,
    Lf,
    /// The last line of a body that stops without one.
    Missing,
}

impl End {
    pub(crate) const fn octets(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
            Self::Missing => b"",
        }
    }
}
