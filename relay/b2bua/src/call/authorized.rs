//! Whether early media may pass, as networks of carriers tell each other: P-Early-Media (RFC 5009).
//!
//! Its words are seen from the callee's side, whichever way a message goes; Teams neither says nor is
//! told any (TDR-OUT-010).

use crate::leg::is_teams;
use crate::plan::{EarlyMedia, Plan};
use sdp::Direction;
use sip_core::{Headers, Name};

const HEADER: Name = Name::Other("P-Early-Media");

/// What a message of a callee's side authorizes of our one stream, as we see it; `None` where it says
/// nothing. Of several streams the first one is ours.
pub(super) fn said(headers: &Headers) -> Option<Direction> {
    let mut said = headers.list(HEADER).filter_map(|word| {
        let is = |name: &str| word.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        DIRECTIONS.iter().find(|(name, _)| is(name)).map(|(_, direction)| *direction)
    });
    said.next().map(Direction::reversed)
}

/// What may pass of a fork on `trunk` that has said nothing.
pub(super) fn by_default(plan: &Plan, trunk: usize) -> Direction {
    match plan.trunks.get(trunk).map(|trunk| trunk.early_media) {
        Some(EarlyMedia::Authorized) => Direction::Inactive,
        Some(EarlyMedia::Open) | None => Direction::SendRecv,
    }
}

/// Asks for it in our INVITE where the trunk wants that, unless the caller's has asked already.
pub(super) fn ask(plan: &Plan, trunk: usize, headers: &mut Headers) {
    let wanted = by_default(plan, trunk) != Direction::SendRecv && !is_teams(plan, trunk);
    if wanted && !headers.has_token(HEADER, SUPPORTED) {
        headers.push(HEADER, SUPPORTED);
    }
}

/// Tells a caller on `trunk` that has asked what passes of the early media described to it: `passes` is
/// seen from us. What the callee's side has said of its own is not said here.
pub(super) fn tell(
    plan: &Plan,
    trunk: usize,
    invite: &Headers,
    response: &mut Headers,
    passes: Option<Direction>,
) {
    response.remove(HEADER);
    if is_teams(plan, trunk) || !invite.has_token(HEADER, SUPPORTED) {
        return;
    }
    // We are the callee's side there.
    let word = DIRECTIONS.iter().find(|(_, direction)| Some(*direction) == passes);
    if let Some((word, _)) = word {
        response.push(HEADER, *word);
    }
}

const SUPPORTED: &str = "supported";

const DIRECTIONS: [(&str, Direction); 4] = [
    ("sendrecv", Direction::SendRecv),
    ("sendonly", Direction::SendOnly),
    ("recvonly", Direction::RecvOnly),
    ("inactive", Direction::Inactive),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_direction_is_that_of_our_stream_and_other_words_are_none() {
        for (written, read) in [
            ("sendrecv", Some(Direction::SendRecv)),
            ("SendOnly, gated", Some(Direction::RecvOnly)),
            ("gated, recvonly , sendrecv", Some(Direction::SendOnly)),
            ("inactive", Some(Direction::Inactive)),
            ("supported", None),
            ("send only", None),
            ("", None),
        ] {
            let mut headers = Headers::default();
            headers.push(HEADER, written);
            assert_eq!(said(&headers), read, "{written}");
        }
        assert_eq!(said(&Headers::default()), None);
    }
}
