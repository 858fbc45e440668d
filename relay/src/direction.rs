//! The words for a call's direction, the same in labels, records, answers and questions.

use b2bua::plan::RouteFrom;

/// The word for where a call comes from.
pub(crate) const fn word(from: RouteFrom) -> &'static str {
    match from {
        RouteFrom::Teams => "from_teams",
        RouteFrom::Carrier => "from_carrier",
    }
}
