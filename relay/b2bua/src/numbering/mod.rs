//! Telephone numbers as they are dialled in each country, and as E.164 has them.

mod country;
mod format;
mod table;
#[cfg(test)]
mod tests;

pub use country::Country;
pub use format::NumberFormat;

use std::borrow::Cow;

/// Digits of the shortest number in E.164 with its calling code: those of Niue and Saint Helena have
/// seven and eight, and what is shorter is an emergency or short number, whatever stands before it.
const E164_DIGITS_MIN: usize = 7;

/// E.164 allows 15 digits; a few more are seen with extensions, and 18 always fit in 64 bits.
pub const E164_DIGITS_MAX: u8 = 18;

/// Whether `number` is `+` and the digits of a whole number.
pub(crate) fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(are_e164)
}

/// Whether `digits` are those of a whole number: no calling code begins with 0.
fn are_e164(digits: &str) -> bool {
    (E164_DIGITS_MIN..=usize::from(E164_DIGITS_MAX)).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The number in E.164 with its `+` that is meant by `dialled`, however a client of this country has
/// dialled it; `dialled` itself where no such number is. Digits that are too many change nothing, as
/// networks let the rest go.
pub(crate) fn meant<'a>(country: Option<&Country>, dialled: &'a str) -> Cow<'a, str> {
    let normalise = |dialled| country?.normalise(dialled);
    if let Some(meant) = normalise(dialled) {
        return Cow::Owned(meant);
    }
    let bare = dialled.strip_prefix("00").unwrap_or(dialled);
    let whole = bare.len() >= INTERNATIONAL_DIGITS_MIN
        && !bare.starts_with('0')
        && bare.bytes().all(|b| b.is_ascii_digit());
    if whole {
        return Cow::Owned(format!("+{bare}"));
    }
    let mut ends = (OVERDIALLED_MIN..OVERDIALLED_MAX).rev();
    let part = ends.find_map(|end| normalise(dialled.get(..end)?));
    part.map_or(Cow::Borrowed(dialled), Cow::Owned)
}

/// Shorter ones are numbers within a country or a company.
const INTERNATIONAL_DIGITS_MIN: usize = 8;
/// A national number with its prefix has fewer digits than that everywhere,
const OVERDIALLED_MIN: usize = 8;
/// and an international one no more.
const OVERDIALLED_MAX: usize = 24;

/// Whether `number` is as long as a whole number is, in whatever form: what is shorter is an emergency
/// or short number, and what has more than digits a service code or a name.
pub(crate) fn is_whole(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or(number);
    digits.len() >= E164_DIGITS_MIN && digits.bytes().all(|b| b.is_ascii_digit())
}
