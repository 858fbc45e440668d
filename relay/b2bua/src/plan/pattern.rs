//! Which numbers are meant: the one pattern that routes, rewriting and block lists are written in.

use super::E164_DIGITS_MAX;
use regex::{Regex, RegexBuilder};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Numbers: `*`, `+49*`, `+4930123`, `+4930123450-+4930123459` or `/^\+49(30|40)/`.
///
/// Small, and without a heap of its own but for a regular expression: a host has a million of them.
#[derive(Clone, Debug, Default)]
pub enum Pattern {
    /// `*`: every number, and what is none.
    #[default]
    All,
    /// `+49*`: numbers that begin so.
    Prefix(Stem),
    /// `+4930123`: this number.
    Whole(Stem),
    /// `+4930123450-+4930123459`: numbers of this length from the first to the last.
    Range {
        /// The first, without `+`.
        first: u64,
        /// The last, without `+`.
        last: u64,
        /// Digits in each.
        digits: u8,
        /// Whether they begin with `+`.
        plus: bool,
    },
    /// `/^\+49(30|40)/`: numbers in which this is found; `^` and `$` tie it to their ends.
    Regex(Arc<Regex>),
}

/// What a regular expression may take when compiled: those that operators write take a tenth.
const REGEX_BYTES_MAX: usize = 64 << 10;
/// Octets of a regular expression as written: longer ones are lists, and lists are written as lists.
const REGEX_LENGTH_MAX: usize = 256;

/// Why a text is no pattern: `said` completes the sentence that begins with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NoPattern {
    /// What is wrong.
    pub said: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

impl NoPattern {
    fn new(said: impl Into<String>) -> Self {
        Self { said: said.into(), hint: None }
    }
}

impl Pattern {
    /// Whether `number` is one of these.
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(stem) => number.as_bytes().starts_with(stem.octets()),
            Self::Whole(stem) => number.as_bytes() == stem.octets(),
            Self::Range { first, last, digits, plus } => {
                let (has_plus, bare) = match number.strip_prefix('+') {
                    Some(bare) => (true, bare),
                    None => (false, number),
                };
                has_plus == *plus
                    && bare.len() == usize::from(*digits)
                    && value(bare).is_some_and(|value| (*first..=*last).contains(&value))
            }
            Self::Regex(regex) => regex.is_match(number),
        }
    }

    /// Why `number` is none of these, for an operator; only good where it is none.
    pub fn why_not(&self, number: &str) -> String {
        match self {
            Self::All => format!("{number} is every number"),
            Self::Prefix(stem) => format!("{number} does not begin with {stem}"),
            Self::Whole(stem) => format!("{number} is not {stem}"),
            Self::Range { .. } => format!("{number} is not in {self}"),
            Self::Regex(_) => format!("{number} does not match {self}"),
        }
    }

    fn regex(written: &str) -> Result<Self, NoPattern> {
        if written.len() > REGEX_LENGTH_MAX {
            let said =
                format!("is a regular expression of more than {REGEX_LENGTH_MAX} characters");
            return Err(NoPattern::new(said));
        }
        let built = RegexBuilder::new(written)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        built.map(|regex| Self::Regex(Arc::new(regex))).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                NoPattern::new("is a regular expression that grows too large when it is compiled")
            }
            other => {
                // The last line of its message says what is wrong, those before draw where.
                let text = other.to_string();
                let said = text.lines().last().unwrap_or_default();
                let said = said.strip_prefix("error: ").unwrap_or(said);
                NoPattern::new(format!("is no regular expression: {said}"))
            }
        })
    }

    fn range(first: &str, last: &str) -> Result<Self, NoPattern> {
        let plus = first.starts_with('+');
        let bare = |number: &str| number.strip_prefix('+').map_or(number.to_owned(), str::to_owned);
        let (one, other) = (bare(first), bare(last));
        let (Some(from), Some(to)) = (value(&one), value(&other)) else { return Err(nonsense()) };
        let digits = u8::try_from(one.len()).map_err(|_| nonsense())?;
        if digits > E164_DIGITS_MAX || plus != last.starts_with('+') {
            return Err(nonsense());
        }
        if one.len() != other.len() {
            return Err(NoPattern {
                said: format!("begins with {} digits and ends with {}", one.len(), other.len()),
                hint: Some("both ends of a range have the same length; write a list of ranges, or a prefix".into()),
            });
        }
        if from > to {
            return Err(NoPattern {
                said: "ends before it begins".into(),
                hint: Some(format!("did you mean \"{last}-{first}\"?")),
            });
        }
        Ok(Self::Range { first: from, last: to, digits, plus })
    }
}

fn nonsense() -> NoPattern {
    let hint = r#"numbers are "+4930123", "+49*", "+4930123450-+4930123459", '/^\+49(30|40)/' or "*" for all"#;
    NoPattern { said: "is not a pattern of numbers".into(), hint: Some(hint.into()) }
}

/// Digits as a value: at most 18, which always fit.
fn value(digits: &str) -> Option<u64> {
    let holds = (1..=usize::from(E164_DIGITS_MAX)).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit());
    holds.then(|| digits.parse().ok()).flatten()
}

impl FromStr for Pattern {
    type Err = NoPattern;
    fn from_str(written: &str) -> Result<Self, NoPattern> {
        if let Some(rest) = written.strip_prefix('/') {
            let Some(regex) = rest.strip_suffix('/') else {
                return Err(NoPattern {
                    said: "begins with / and does not end with it".into(),
                    hint: Some(format!("did you mean \"{written}/\"?")),
                });
            };
            return Self::regex(regex);
        }
        if written == "*" {
            return Ok(Self::All);
        }
        if let Some(stem) = written.strip_suffix('*') {
            return Stem::of(stem).map(Self::Prefix).ok_or_else(nonsense);
        }
        if let Some((first, last)) = written.split_once('-') {
            return Self::range(first.trim(), last.trim());
        }
        match Stem::of(written) {
            Some(stem) if written != "+" => Ok(Self::Whole(stem)),
            _ => Err(nonsense()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(stem) => write!(f, "{stem}*"),
            Self::Whole(stem) => write!(f, "{stem}"),
            Self::Range { first, last, digits, plus } => {
                let (sign, width) = (if *plus { "+" } else { "" }, usize::from(*digits));
                write!(f, "{sign}{first:0width$}-{sign}{last:0width$}")
            }
            Self::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Prefix(one), Self::Prefix(other)) | (Self::Whole(one), Self::Whole(other)) => {
                one == other
            }
            (
                Self::Range { first: a, last: b, digits: c, plus: d },
                Self::Range { first: e, last: f, digits: g, plus: h },
            ) => (a, b, c, d) == (e, f, g, h),
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Pattern {}

/// Digits with or without `+`, held inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stem {
    length: u8,
    octets: [u8; STEM_LENGTH_MAX],
}

/// `+` and as many digits as a number may have.
const STEM_LENGTH_MAX: usize = E164_DIGITS_MAX as usize + 1;

impl Stem {
    /// `text` as it stands, if it is digits, with or without `+`, and not empty.
    pub fn of(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let holds = !text.is_empty()
            && digits.len() <= usize::from(E164_DIGITS_MAX)
            && digits.bytes().all(|b| b.is_ascii_digit());
        let mut octets = [0; STEM_LENGTH_MAX];
        octets.get_mut(..text.len()).filter(|_| holds)?.copy_from_slice(text.as_bytes());
        Some(Self { length: u8::try_from(text.len()).ok()?, octets })
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.octets()).unwrap_or_default()
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One pattern or a list of them: a number matches if it matches one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patterns {
    /// `match = "+49*"`.
    One(Pattern),
    /// `match = ["+49*", "+43*"]`.
    Many(Box<[Pattern]>),
}

impl Patterns {
    /// The patterns.
    pub fn as_slice(&self) -> &[Pattern] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Many(list) => list,
        }
    }

    /// Whether `number` matches one of them.
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Self::One(pattern) => pattern.matches(number),
            Self::Many(list) => list.iter().any(|pattern| pattern.matches(number)),
        }
    }

    /// The first one that `number` matches.
    pub fn find(&self, number: &str) -> Option<&Pattern> {
        self.as_slice().iter().find(|pattern| pattern.matches(number))
    }
}

impl Default for Patterns {
    /// Every number.
    fn default() -> Self {
        Self::One(Pattern::All)
    }
}

impl From<Pattern> for Patterns {
    fn from(pattern: Pattern) -> Self {
        Self::One(pattern)
    }
}

impl From<Vec<Pattern>> for Patterns {
    fn from(mut list: Vec<Pattern>) -> Self {
        match list.pop() {
            Some(only) if list.is_empty() => Self::One(only),
            Some(last) => {
                list.push(last);
                Self::Many(list.into())
            }
            None => Self::Many(Box::default()),
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.as_slice().iter().enumerate() {
            write!(f, "{}{pattern}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(written: &str) -> Pattern {
        written.parse().unwrap()
    }

    #[test]
    fn every_kind_matches_what_it_says_and_is_shown_as_written() {
        let cases = [
            ("*", &["+491", "anna", ""][..], &[][..]),
            ("+49*", &["+49", "+4930"], &["49", "0049", "+4"]),
            ("110", &["110"], &["+110", "1101", "11"]),
            (
                "+4930123450-+4930123459",
                &["+4930123450", "+4930123455"],
                &["+4930123460", "4930123455", "+493012345"],
            ),
            ("0100-0199", &["0100", "0199"], &["100", "0200", "+0100"]),
            (r"/^\+49(30|40)/", &["+4930", "+49401"], &["+4989", "0+4930"]),
            ("/7$/", &["+497", "7"], &["+4971"]),
        ];
        for (written, good, bad) in cases {
            assert_eq!(pattern(written).to_string(), written);
            assert!(good.iter().all(|number| pattern(written).matches(number)), "{written}");
            assert!(!bad.iter().any(|number| pattern(written).matches(number)), "{written}");
        }
        assert_eq!(size_of::<Patterns>(), 24, "a million routes have two of them each");
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        let said = |written: &str| written.parse::<Pattern>().unwrap_err();
        for nonsense in ["", "+", "+49 30*", "anna", "+49**", "1234567890123456789", "+1-1"] {
            assert!(said(nonsense).said.starts_with("is not a pattern"), "{nonsense}");
        }
        assert_eq!(said("+499-+490").hint.unwrap(), "did you mean \"+490-+499\"?");
        assert_eq!(said("+49-+490").said, "begins with 2 digits and ends with 3");
        assert_eq!(said("/49").hint.unwrap(), "did you mean \"/49/\"?");
        assert_eq!(said("/(49/").said, "is no regular expression: unclosed group");
        assert!(said("/(1{1000}){1000}/").said.contains("too large"));
        assert!(said(&format!("/{}/", "1".repeat(300))).said.contains("256 characters"));
    }

    #[test]
    fn a_list_matches_what_one_of_it_matches() {
        let list = Patterns::from(vec![pattern("+49*"), pattern("+43*")]);
        assert!(list.matches("+43") && !list.matches("+41"));
        assert_eq!(list.find("+431").unwrap().to_string(), "+43*");
        assert_eq!(list.to_string(), "+49*, +43*");
        assert_eq!(Patterns::from(vec![pattern("1")]), Patterns::One(pattern("1")));
        assert!(!Patterns::from(Vec::new()).matches("+49"), "none of none");
    }
}
