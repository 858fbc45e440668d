//! Who gets an FQDN or a number that two tenants claim: the one it is in force with; where it is in
//! force with neither, the earlier by name. The other one's file is the broken one.

use super::problem::Problem;
use super::version::{FQDN_HINT, NUMBER_HINT, Version};
use b2bua::plan::{Fqdns, NumberIndex, NumberRange};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A tenant whose claims are to change.
#[derive(Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) name: &'a str,
    /// Its place in the plan, also if it is new.
    pub(crate) slot: usize,
    /// Its version in force.
    pub(crate) old: Option<&'a Version>,
    /// The version that is to take its place; `None` where the tenant is to go.
    pub(crate) new: Option<&'a Version>,
}

/// Everybody's claims after the change.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) fqdns: Fqdns,
    pub(crate) numbers: NumberIndex,
    /// Claimants, by their place in the list, that stay as they were, and why.
    pub(crate) refused: BTreeMap<usize, Vec<Problem>>,
}

/// The tenant in force at a place in the plan.
pub(crate) type InForce<'a> = dyn Fn(usize) -> Option<(&'a str, &'a Version)> + 'a;

/// Changes the claims of `claimants`, who come by name, in those in force.
pub(crate) fn settle<'a>(
    fqdns: &Fqdns,
    numbers: &NumberIndex,
    claimants: &'a [Claimant<'a>],
    in_force: &'a InForce<'a>,
) -> Settled {
    let by_slot = claimants.iter().enumerate().map(|(place, one)| (one.slot, place)).collect();
    let mut table = Table { claimants, by_slot, in_force, refused: BTreeMap::new() };
    loop {
        // Each round refuses somebody, who then keeps what was theirs: others may have counted on it.
        let (fqdns, numbers, conflicts) = table.round(fqdns.clone(), numbers.clone());
        if conflicts.is_empty() {
            return Settled { fqdns, numbers, refused: table.refused };
        }
        table.refuse(conflicts);
    }
}

struct Table<'a> {
    claimants: &'a [Claimant<'a>],
    by_slot: HashMap<usize, usize>,
    in_force: &'a InForce<'a>,
    refused: BTreeMap<usize, Vec<Problem>>,
}

/// Somebody's claim that cannot be met.
struct Conflict {
    loser: usize,
    /// If that is a claimant too.
    winner: Option<usize>,
    problem: Problem,
}

#[derive(Clone, Copy)]
enum Claim<'a> {
    Fqdn(&'a str),
    Range(&'a NumberRange),
}

impl<'a> Table<'a> {
    fn round(
        &self,
        mut fqdns: Fqdns,
        mut numbers: NumberIndex,
    ) -> (Fqdns, NumberIndex, Vec<Conflict>) {
        let accepted =
            || self.claimants.iter().enumerate().filter(|(at, _)| !self.refused.contains_key(at));
        for (_, one) in accepted() {
            for fqdn in one.old.iter().flat_map(|old| old.fqdns()) {
                fqdns.remove(fqdn, one.slot);
            }
            for range in one.old.iter().flat_map(|old| old.numbers()) {
                numbers.remove(range, one.slot);
            }
        }
        // At a start nobody has anything: all of it is sorted at once, unless it does not fit together.
        let mut sorted = false;
        if numbers.is_empty() {
            let ranges = accepted().filter_map(|(_, one)| Some((one.slot, one.new?)));
            let ranges = ranges
                .flat_map(|(slot, new)| new.numbers().iter().map(move |range| (*range, slot)));
            if let Ok(index) = NumberIndex::new(ranges.collect()) {
                (numbers, sorted) = (index, true);
            }
        }
        let mut conflicts = Vec::new();
        for (at, one) in accepted() {
            let Some(new) = one.new else { continue };
            let before = conflicts.len();
            for fqdn in new.fqdns() {
                if let Some(owner) = fqdns.get(fqdn) {
                    conflicts.push(self.conflict(at, new, Claim::Fqdn(fqdn), owner, None));
                }
            }
            for range in new.numbers().iter().filter(|_| !sorted) {
                if let Some((theirs, owner)) = numbers.overlapping(range) {
                    conflicts.push(self.conflict(
                        at,
                        new,
                        Claim::Range(range),
                        owner,
                        Some(theirs),
                    ));
                }
            }
            if conflicts.len() > before {
                continue;
            }
            for fqdn in new.fqdns() {
                let _ = fqdns.insert(fqdn, one.slot);
            }
            for range in new.numbers().iter().filter(|_| !sorted) {
                let _ = numbers.insert(*range, one.slot);
            }
        }
        (fqdns, numbers, conflicts)
    }

    /// Whoever has it in force keeps it; else who was first, which is `owner`.
    fn conflict(
        &self,
        at: usize,
        new: &Version,
        claim: Claim<'_>,
        owner: usize,
        theirs: Option<NumberRange>,
    ) -> Conflict {
        let one = &self.claimants[at];
        let other = self.by_slot.get(&owner).copied().filter(|at| !self.refused.contains_key(at));
        let (other_name, other_version) = match other.map(|at| &self.claimants[at]) {
            Some(claimant) => (claimant.name, claimant.new),
            None => match (self.in_force)(owner) {
                Some((name, version)) => (name, Some(version)),
                None => ("?", None),
            },
        };
        let common = match (claim, &theirs) {
            (Claim::Range(own), Some(theirs)) => Some(NumberRange {
                first: own.first.max(theirs.first),
                last: own.last.min(theirs.last),
                digits: own.digits,
            }),
            _ => None,
        };
        let held = |old: Option<&Version>| match (claim, &common) {
            (Claim::Fqdn(fqdn), _) => old.is_some_and(|old| old.fqdns().iter().any(|f| f == fqdn)),
            (Claim::Range(_), Some(common)) => {
                old.is_some_and(|old| old.numbers().iter().any(|range| range.overlaps(common)))
            }
            (Claim::Range(_), None) => false,
        };
        let theirs_wins = match other.map(|at| &self.claimants[at]) {
            Some(claimant) => held(claimant.old) || !held(one.old),
            None => true,
        };
        let own = (one.name, Some(new), claim);
        let their_claim = match (&theirs, claim) {
            (Some(range), _) => Claim::Range(range),
            (None, claim) => claim,
        };
        let their = (other_name, other_version, their_claim);
        match (theirs_wins, other) {
            (false, Some(other)) => {
                Conflict { loser: other, winner: Some(at), problem: problem(their, own) }
            }
            _ => Conflict { loser: at, winner: other, problem: problem(own, their) },
        }
    }

    /// Refuses who lost to somebody that has not lost to others.
    fn refuse(&mut self, conflicts: Vec<Conflict>) {
        let losers: BTreeSet<usize> = conflicts.iter().map(|it| it.loser).collect();
        let sure = |it: &Conflict| it.winner.is_none_or(|winner| !losers.contains(&winner));
        let any_sure = conflicts.iter().any(sure);
        for conflict in conflicts {
            if !any_sure || sure(&conflict) {
                self.refused.entry(conflict.loser).or_default().push(conflict.problem);
            }
        }
    }
}

type Party<'a> = (&'a str, Option<&'a Version>, Claim<'a>);

fn problem(loser: Party<'_>, winner: Party<'_>) -> Problem {
    let line = |(_, version, claim): Party<'_>| match (version, claim) {
        (Some(version), Claim::Fqdn(fqdn)) => version.fqdn_line(fqdn),
        (Some(version), Claim::Range(range)) => version.number_line(range),
        (None, _) => 1,
    };
    let at = winner.1.map_or_else(String::new, |version| version.at(line(winner)));
    let (message, hint) = match (loser.2, winner.2) {
        (Claim::Range(own), Claim::Range(theirs)) => {
            (format!("numbers {own} of tenant \"{}\" overlap {theirs} of", loser.0), NUMBER_HINT)
        }
        (Claim::Fqdn(fqdn), _) | (_, Claim::Fqdn(fqdn)) => {
            (format!("FQDN \"{fqdn}\" of tenant \"{}\" is already that of", loser.0), FQDN_HINT)
        }
    };
    let message = format!("{message} tenant \"{}\" at {at}", winner.0);
    Problem {
        file: loser.1.map(|version| version.path.clone()).unwrap_or_default(),
        line: line(loser),
        message,
        hint: Some(hint.to_owned()),
    }
}
