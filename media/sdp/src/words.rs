//! The words of a line, and what they may be.

use std::str::FromStr;

/// A decimal number; unlike `parse` it takes no sign.
pub(crate) fn number<N: FromStr>(digits: &[u8]) -> Option<N> {
    digits.iter().all(u8::is_ascii_digit).then(|| text(digits)?.parse().ok())?
}

/// The words of a value. A bare CR separates as a blank does, so no word can hold one.
pub(crate) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A word as text, if it is visible ASCII.
pub(crate) fn text(word: &[u8]) -> Option<&str> {
    let visible = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    visible.then(|| std::str::from_utf8(word).ok())?
}

/// An RFC 8866 token: what may stand as an encoding name.
pub(crate) fn is_token(text: &str) -> bool {
    let token = |octet: u8| octet.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&octet);
    !text.is_empty() && text.bytes().all(token)
}

/// Whether `text` may stand as format parameters: nothing in it can end the line.
pub(crate) fn is_parameters(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
