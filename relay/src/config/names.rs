//! The names that one kind of table defines, and the tables that refer to them.

use super::nearest::did_you_mean;
use super::problem::{At, Problems};
use std::collections::HashMap;

/// A hint lists no more names than this.
const LISTED_MAX: usize = 8;

/// The names of one kind, each with its index.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    kind: &'static str,
    indices: HashMap<&'a str, usize>,
    /// Whether all names are known. If not, one that is not found may well be there.
    complete: bool,
}

impl<'a> Names<'a> {
    /// The names of the tables of `kind`, in file order; one that is there twice is a problem.
    pub(crate) fn new(
        kind: &'static str,
        names: impl Iterator<Item = Option<&'a At<String>>>,
        damaged: bool,
        problems: &Problems,
    ) -> Self {
        let mut indices = HashMap::new();
        let mut first: HashMap<&str, &At<String>> = HashMap::new();
        let mut complete = !damaged;
        for (index, name) in names.enumerate() {
            let Some(name) = name else {
                complete = false;
                continue;
            };
            if let Some(before) = first.get(name.value.as_str()) {
                let message = format!(
                    "{kind} \"{}\" is defined a second time, first at {}",
                    name.value,
                    problems.locate(before.place)
                );
                problems.error(name.place, message, None);
                continue;
            }
            first.insert(&name.value, name);
            indices.insert(name.value.as_str(), index);
        }
        Self { kind, indices, complete }
    }

    /// The index of what `whose` refers to by `name`; one that does not exist is a problem.
    pub(crate) fn find(
        &self,
        name: &At<String>,
        whose: &str,
        problems: &Problems,
    ) -> Option<usize> {
        let found = self.indices.get(name.value.as_str()).copied();
        if found.is_none() && self.complete {
            let message =
                format!("{whose} names {} \"{}\", which does not exist", self.kind, name.value);
            problems.error(name.place, message, self.hint(&name.value));
        }
        found
    }

    fn hint(&self, written: &str) -> Option<String> {
        let mut known: Vec<&str> = self.indices.keys().copied().collect();
        known.sort_unstable();
        if let Some(near) = did_you_mean(written, known.iter().copied()) {
            return Some(format!("did you mean \"{near}\"?"));
        }
        known.truncate(LISTED_MAX);
        match known.is_empty() {
            true => Some(format!("there is no {} at all", self.kind)),
            false => Some(format!("known are {}", known.join(", "))),
        }
    }
}
