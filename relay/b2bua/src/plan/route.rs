//! `[[route]]`: which calls of a tenant go where.

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
    pub pattern: Pattern,
    /// Trunks in order.
    pub to: Vec<usize>,
    /// Only for emergency numbers.
    pub emergency: bool,
}

/// A prefix of the called number (`+49*`, `*`) or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Numbers that begin so; empty matches all.
    Prefix(String),
    /// This number.
    Exact(String),
}

impl Default for Pattern {
    /// All numbers.
    fn default() -> Self {
        Self::Prefix(String::new())
    }
}

impl Pattern {
    /// Whether `number` matches.
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Self::Prefix(prefix) => number.starts_with(prefix.as_str()),
            Self::Exact(whole) => number == whole,
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(whole) => f.write_str(whole),
        }
    }
}
