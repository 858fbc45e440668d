//! `[[route]]`: which calls of a tenant go where.

use super::{CallerId, Failover, Patterns, Pidf, Schedule};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Where a call comes from, for routing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteFrom {
    /// From Teams.
    #[default]
    Teams,
    /// From a carrier trunk.
    Carrier,
}

impl RouteFrom {
    /// As in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Carrier => "carrier",
        }
    }
}

/// Without a priority of its own, a route has this one; lower ones are tried first.
pub const PRIORITY_DEFAULT: u16 = 100;

/// One `[[route]]` of a tenant. A host may have a million of them: what few routes have stands apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The called numbers it matches.
    pub called: Patterns,
    /// Where its calls go, in order.
    pub to: Steps,
    /// What few routes have.
    pub rare: Option<Box<Rare>>,
    /// The line of the tenant's file it begins on; 0 if it stands in none.
    pub line: u32,
    /// Its priority: a tenant's routes are in the order of it already.
    pub priority: u16,
    /// The direction it serves.
    pub from: RouteFrom,
    /// Only for emergency numbers.
    pub emergency: bool,
}

/// What few routes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// Its label.
    pub name: Option<Box<str>>,
    /// The calling numbers it matches; `None`: all.
    pub calling: Option<Patterns>,
    /// The trunks it takes calls from; none: from all.
    pub via: Vec<usize>,
    /// Who is shown as caller.
    pub caller: CallerId,
    /// When it holds; `None`: always.
    pub when: Option<Schedule>,
    /// The table of rates that orders its trunks: those come before `to`.
    pub least_cost: Option<usize>,
    /// After which responses the next target is tried; `None`: as each trunk has it.
    pub failover: Option<Failover>,
    /// How long a target may say nothing before the next one is tried; `None`: as each trunk has it.
    pub answer_timeout: Option<Duration>,
    /// What becomes of the location of emergency callers; `None`: as each trunk has it.
    pub pidf: Option<Pidf>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            called: Patterns::default(),
            to: Steps::default(),
            rare: None,
            line: 0,
            priority: PRIORITY_DEFAULT,
            from: RouteFrom::default(),
            emergency: false,
        }
    }
}

impl Route {
    /// What few routes have, to change.
    pub fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// After which responses the next target is tried, if it says so.
    pub fn failover(&self) -> Option<&Failover> {
        self.rare.as_ref()?.failover.as_ref()
    }

    /// How long a target may say nothing, if it says so.
    pub fn answer_timeout(&self) -> Option<Duration> {
        self.rare.as_ref()?.answer_timeout
    }

    /// The table of rates it takes trunks from.
    pub fn least_cost(&self) -> Option<usize> {
        self.rare.as_ref()?.least_cost
    }
}

/// Where a route leads, step by step; routes that say the same share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Steps(Arc<[Step]>);

/// One step of `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `"colt"`.
    Trunk(usize),
    /// `{ colt = 70, bt = 30 }`: each call draws one by weight, the others come next.
    Share(Box<[(usize, u32)]>),
}

impl Steps {
    /// Every trunk that is named.
    pub fn trunks(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(Step::trunks)
    }
}

impl Step {
    /// The trunks of this step, as written.
    pub fn trunks(&self) -> impl Iterator<Item = usize> {
        let (one, share) = match self {
            Self::Trunk(trunk) => (Some(*trunk), &[][..]),
            Self::Share(share) => (None, &share[..]),
        };
        one.into_iter().chain(share.iter().map(|(trunk, _)| *trunk))
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Deref for Steps {
    type Target = [Step];
    fn deref(&self) -> &[Step] {
        &self.0
    }
}

impl From<Vec<Step>> for Steps {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps.into())
    }
}

impl From<Vec<usize>> for Steps {
    /// Trunks in order.
    fn from(trunks: Vec<usize>) -> Self {
        Self(trunks.into_iter().map(Step::Trunk).collect())
    }
}

impl fmt::Display for RouteFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
