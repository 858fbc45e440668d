//! Destinations by what they cost: `[[class]]`, and the ceilings of a tenant on them, `[[fraud]]`.

use std::sync::Arc;

/// Numbers that are watched together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: Arc<str>,
    /// Every number outside this country.
    pub outside: Option<Home>,
    /// Numbers that begin so.
    pub prefixes: Prefixes,
}

impl Class {
    /// Whether this number, in E.164 with its `+`, is one of them. What is no such number is of no class.
    pub fn holds(&self, number: &str) -> bool {
        number.starts_with('+')
            && (self.outside.as_ref().is_some_and(|home| !home.holds(number))
                || self.prefixes.hold(number))
    }
}

/// The numbers of one country.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// How they begin.
    pub codes: Prefixes,
    /// How others begin that have the country's code as well.
    pub but: Prefixes,
}

impl Home {
    /// Whether a number is in this country.
    pub fn holds(&self, number: &str) -> bool {
        self.codes.hold(number) && !self.but.hold(number)
    }
}

/// Beginnings of numbers, each with its `+`: none of them is that of another, and they are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Arc<[Box<str>]>);

impl Prefixes {
    /// Whether a number begins with one of them.
    pub fn hold(&self, number: &str) -> bool {
        // The one that the number may begin with is the last that does not come after it: what stood
        // between the two would begin with it as well.
        let after = self.0.partition_point(|prefix| **prefix <= *number);
        let nearest = after.checked_sub(1).and_then(|at| self.0.get(at));
        nearest.is_some_and(|prefix| number.starts_with(&**prefix))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|prefix| &**prefix)
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Prefixes {
    fn from_iter<I: IntoIterator<Item = S>>(prefixes: I) -> Self {
        let mut sorted: Vec<Box<str>> = prefixes.into_iter().map(Into::into).collect();
        sorted.sort();
        sorted.dedup_by(|longer, shorter| longer.starts_with(&**shorter));
        Self(sorted.into())
    }
}

/// What a tenant may use of a class. At least one of the four is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ceiling {
    /// The class.
    pub class: Arc<Class>,
    /// Calls that begin within an hour.
    pub calls_per_hour: Option<u32>,
    /// Calls that begin within a day.
    pub calls_per_day: Option<u32>,
    /// Minutes talked within an hour.
    pub minutes_per_hour: Option<u32>,
    /// Minutes talked within a day.
    pub minutes_per_day: Option<u32>,
    /// The share of any of these at which an alarm is raised.
    pub alarm_at: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_found_among_others_and_one_within_another_counts_once() {
        let prefixes: Prefixes =
            ["+49900", "+979", "+4990", "+881", "+44", "+449", "+1900"].into_iter().collect();
        assert_eq!(prefixes.iter().collect::<Vec<_>>(), ["+1900", "+44", "+4990", "+881", "+979"]);
        for within in ["+49900123", "+4490", "+44", "+979800", "+19005550100", "+88116"] {
            assert!(prefixes.hold(within), "{within}");
        }
        for outside in ["+49", "+4989", "+4", "", "+", "+1901", "+882", "44", "49900", "112"] {
            assert!(!prefixes.hold(outside), "{outside}");
        }
        assert!(!Prefixes::default().hold("+49"));
    }

    #[test]
    fn what_has_the_countrys_code_and_is_another_country_is_outside() {
        let home = Home {
            codes: ["+1"].into_iter().collect(),
            but: ["+1876", "+1809"].into_iter().collect(),
        };
        let class = Class { outside: Some(home), ..Class::default() };
        for (number, outside) in
            [("+12125550100", false), ("+18765550100", true), ("+4930", true), ("911", false)]
        {
            assert_eq!(class.holds(number), outside, "{number}");
        }
    }
}
