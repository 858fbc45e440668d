//! Texts of far sides, cut to what is kept of them.

/// At most this many octets of a text.
pub(crate) fn clipped(text: &str, most: usize) -> &str {
    let most = most.min(text.len());
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    &text[..end]
}

/// Leaves at most this many octets of a text.
pub(crate) fn clip(text: &mut String, most: usize) {
    let end = clipped(text, most).len();
    text.truncate(end);
}
