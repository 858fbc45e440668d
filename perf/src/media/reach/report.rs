//! What `perf reach` found, for people and for programs.

use super::super::Failure;
use super::super::capacity::{self, Capacity};
use super::super::measured::Spread;
use super::super::report::Row;
use super::{Name, Wish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// All that was looked at.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(super) groups: BTreeMap<Name, Group>,
}

/// The rows that were taken together.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) goals: Vec<Goal>,
    pub(super) rows: Vec<Looked>,
    pub(super) capacities: Vec<Capacity>,
    /// Why it could not be looked at, or not to its end.
    pub(super) left_open: Option<String>,
    pub(super) took_seconds: u64,
}

/// One goal and how near it is.
#[derive(Serialize, Deserialize)]
pub(super) struct Goal {
    what: String,
    /// Where it has to be at most, or at least; none where it is only stated.
    bound: Option<Bound>,
    unit: String,
    found: Spread,
    /// What it was found from.
    of: String,
    met: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What a goal was judged by.
#[derive(Serialize, Deserialize)]
pub(super) struct Looked {
    pub(super) what: String,
    #[serde(flatten)]
    pub(super) row: Row,
}

impl Goal {
    pub(super) fn new(
        what: impl Into<String>,
        bound: impl Into<Option<Bound>>,
        unit: &str,
        found: Spread,
    ) -> Self {
        let bound = bound.into();
        let met = match bound {
            Some(Bound::AtMost(most)) => found.median <= most,
            Some(Bound::AtLeast(least)) => found.median >= least,
            None => true,
        };
        let (what, unit) = (what.into(), unit.to_owned());
        Self { what, bound, unit, found, of: String::new(), met }
    }

    /// Found from this.
    pub(super) fn from(self, of: String) -> Self {
        Self { of, ..self }
    }

    fn verdict(&self) -> String {
        let limit = match self.bound {
            None => return "stated".to_owned(),
            Some(Bound::AtMost(limit) | Bound::AtLeast(limit)) => limit,
        };
        match self.met {
            true => "met".to_owned(),
            false if self.found.median.is_nan() => "not measured".to_owned(),
            false => {
                format!("not met, by {:.0} %", 100.0 * (self.found.median / limit - 1.0).abs())
            }
        }
    }
}

impl Reached {
    /// Whether a group has been judged to its end.
    pub(super) fn has(&self, name: Name) -> bool {
        self.groups.get(&name).is_some_and(|group| group.left_open.is_none())
    }

    /// The rows of the picture.
    pub(super) fn load(&self) -> Option<Vec<&Row>> {
        let group = self.groups.get(&Name::Load)?;
        let rows: Vec<&Row> = group.rows.iter().map(|looked| &looked.row).collect();
        (!rows.is_empty()).then_some(rows)
    }

    /// What is to be said.
    pub(crate) fn deliver(&self, wish: &Wish) -> Result<String, Failure> {
        match &wish.json {
            Some(path) if path.as_os_str() == "-" => Ok(serde_json::to_string(self)?),
            _ => Ok(self.to_string()),
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.groups.values() {
            for Looked { what, row } in &group.rows {
                writeln!(f, "{what}\n{row}")?;
            }
            if !group.capacities.is_empty() {
                writeln!(f, "calls on one core with p50 below 1 ms and nothing lost")?;
                capacity::table(f, &group.capacities)?;
                writeln!(f)?;
            }
        }
        writeln!(
            f,
            "| what | reach | found (lowest to highest) | from | |\n|---|---|---|---|---|"
        )?;
        for goal in self.groups.values().flat_map(|group| &group.goals) {
            let reach = match goal.bound {
                Some(Bound::AtMost(most)) => format!("at most {most} {}", goal.unit),
                Some(Bound::AtLeast(least)) => format!("at least {least} {}", goal.unit),
                None => goal.unit.clone(),
            };
            let Spread { median, low, high } = goal.found;
            let (what, of) = (&goal.what, &goal.of);
            let verdict = goal.verdict();
            writeln!(
                f,
                "| {what} | {reach} | {median:.3} ({low:.3} to {high:.3}) | {of} | {verdict} |"
            )?;
        }
        for (name, group) in &self.groups {
            if let Some(why) = &group.left_open {
                writeln!(f, "\nleft open: {name:?}: {why}")?;
            }
        }
        let took: u64 = self.groups.values().map(|group| group.took_seconds).sum();
        writeln!(f, "\nall of it took {} min {} s", took / 60, took % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_on_its_side() {
        let found = Spread::one(0.5);
        let verdict = |bound, found| Goal::new("", bound, "", found).verdict();
        assert_eq!(verdict(Some(Bound::AtMost(0.5)), found), "met");
        assert_eq!(verdict(Some(Bound::AtMost(0.4)), found), "not met, by 25 %");
        assert_eq!(verdict(Some(Bound::AtLeast(0.5)), found), "met");
        assert_eq!(verdict(Some(Bound::AtLeast(1.0)), found), "not met, by 50 %");
        assert_eq!(verdict(None, found), "stated");
        assert_eq!(verdict(Some(Bound::AtMost(1.0)), Spread::NONE), "not measured");
    }

    #[test]
    fn what_was_written_down_is_known_again_and_what_was_left_open_is_not() {
        let mut reached = Reached::default();
        let goal = Goal::new("", Bound::AtMost(1.0), "", Spread::NONE);
        let looked = Looked { what: String::new(), row: Row::new(500, Vec::new(), Vec::new()) };
        let group = Group { goals: vec![goal], rows: vec![looked], ..Group::default() };
        reached.groups.insert(Name::Load, group);
        let open = Group { left_open: Some("no such engine".to_owned()), ..Group::default() };
        reached.groups.insert(Name::CostOpen, open);
        let text = serde_json::to_string(&reached).unwrap();
        let again: Reached = serde_json::from_str(&text).unwrap();
        assert!(again.has(Name::Load) && !again.has(Name::CostOpen) && !again.has(Name::Cost));
        assert_eq!(again.to_string(), reached.to_string());
        assert!(again.load().is_some());
    }
}
