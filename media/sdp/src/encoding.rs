//! The name of an encoding. A call has dozens of them, copied from offer to answer to stream: those that are in
//! use stand here once, and take no room of their own.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::ops::Deref;

/// An encoding name as written; compare without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding(Cow<'static, str>);

/// As telephones and Teams write them.
const KNOWN: [&str; 14] = [
    "PCMA",
    "PCMU",
    "telephone-event",
    "CN",
    "G722",
    "opus",
    "G729",
    "SILK",
    "RED",
    "x-msrta",
    "G7221",
    "AMR",
    "AMR-WB",
    "iLBC",
];

impl From<&str> for Encoding {
    fn from(name: &str) -> Self {
        let known = KNOWN.into_iter().find(|known| *known == name);
        Self(known.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed))
    }
}

impl Deref for Encoding {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for Encoding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq<&str> for Encoding {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_was_written_and_one_in_use_takes_no_room() {
        for (name, is_known) in [("PCMA", true), ("pcma", false), ("X-made-up", false)] {
            let encoding = Encoding::from(name);
            assert_eq!(encoding, name);
            assert_eq!(matches!(encoding.0, Cow::Borrowed(_)), is_known, "{name}");
        }
    }
}
