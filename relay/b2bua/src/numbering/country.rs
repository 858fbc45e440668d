//! A country's numbering plan, and what a number means that is dialled there.

use super::are_e164;
use super::table::COUNTRIES;

/// How numbers are dialled in a country or territory.
#[derive(Debug, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166-1, two letters.
    pub iso: &'static str,
    /// Its calling code.
    pub code: &'static str,
    /// What stands before a national number; empty where numbers are dialled whole.
    pub(super) trunk: &'static [&'static str],
    /// What stands before a calling code.
    pub(super) international: &'static [&'static str],
    /// Digits of the shortest and of the longest national number.
    pub(super) digits: (u8, u8),
}

/// A number of Italy's plan that keeps its 0 abroad is one of the fixed network; mobile ones begin
/// with 3.
const ITALY: &str = "39";
/// The North American plan: its trunk prefix is its calling code, and numbers of ten digits are whole.
const NORTH_AMERICA: &str = "1";
/// Digits of the longest short code (116117): in plans without a trunk prefix a number may be as
/// short, but begins with no 1 then.
const SHORT_CODE_MAX: usize = 6;
/// Digits of a national number behind a bare calling code: a shorter one may as well be a local
/// number that happens to begin so.
const BARE_MIN: usize = 7;

impl Country {
    /// The country of this code (ISO 3166-1, two capital letters).
    pub fn of(iso: &str) -> Option<&'static Self> {
        let at = COUNTRIES.binary_search_by(|country| country.iso.cmp(iso)).ok()?;
        COUNTRIES.get(at)
    }

    /// The codes of all countries.
    pub fn all() -> impl Iterator<Item = &'static str> {
        COUNTRIES.iter().map(|country| country.iso)
    }

    /// The number in E.164 that is meant where `dialled` is dialled in this country; `None` where it
    /// stays as it is: in E.164 already, an emergency or short number, a service code, a name.
    pub fn normalise(&self, dialled: &str) -> Option<String> {
        if dialled.is_empty() || !dialled.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let after = |prefix: &&str| dialled.strip_prefix(prefix);
        // Of 00 and 0 the first to fit is the international prefix, of 810 and 8 as well.
        let abroad = self.international.iter().filter_map(after).find(|rest| are_e164(rest));
        if let Some(whole) = abroad {
            return Some(format!("+{whole}"));
        }
        let national = self.trunk.iter().filter_map(after).find(|rest| self.is_national(rest));
        let national = national
            .or_else(|| self.behind_its_code(dialled))
            .or(Some(dialled).filter(|whole| self.is_whole(whole)));
        national.map(|national| format!("+{}{national}", self.code))
    }

    /// Whether these digits may be a number of this plan, without any prefix.
    pub(super) fn is_national(&self, digits: &str) -> bool {
        let (shortest, longest) = self.digits;
        let fits = (usize::from(shortest)..=usize::from(longest)).contains(&digits.len());
        fits && (self.code != ITALY || is_italian(digits))
    }

    /// The national number where its calling code stands before it without a `+`.
    fn behind_its_code<'a>(&self, digits: &'a str) -> Option<&'a str> {
        let national = digits.strip_prefix(self.code)?;
        let (_, longest) = self.digits;
        let least = BARE_MIN.min(usize::from(longest));
        (self.is_national(national) && national.len() >= least).then_some(national)
    }

    /// Whether these digits are dialled as they are for a number of this country.
    fn is_whole(&self, digits: &str) -> bool {
        let short = digits.starts_with('1') && digits.len() <= SHORT_CODE_MAX;
        (self.trunk.is_empty() || self.is_north_american()) && !short && self.is_national(digits)
    }

    pub(super) fn is_north_american(&self) -> bool {
        self.code == NORTH_AMERICA
    }
}

/// Whether these digits are a number of the fixed or of a mobile network of Italy: what else there
/// is (numbers of services, 800 and 899) begins with 8 and cannot be told from a short code.
fn is_italian(digits: &str) -> bool {
    match digits.bytes().next() {
        Some(b'0') => true,
        Some(b'3') => (9..=10).contains(&digits.len()),
        Some(b'8') => (9..=10).contains(&digits.len()),
        _ => false,
    }
}
