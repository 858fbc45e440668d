//! `[[route]]`: which calls of a tenant go where.

use super::Patterns;

/// Where a call comes from, for routing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteFrom {
    /// From Teams.
    #[default]
    Teams,
    /// From a carrier trunk.
    Carrier,
}

/// One `[[route]]` of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The direction it serves.
    pub from: RouteFrom,
    /// The called numbers it matches.
    pub called: Patterns,
    /// Trunks in order.
    pub to: Vec<usize>,
    /// Only for emergency numbers.
    pub emergency: bool,
}
