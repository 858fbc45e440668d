//! `[[rewrite]]` of a trunk or a tenant: numbers changed on their way in or out.

use super::{NoPattern, Pattern, Patterns, RouteFrom};
use crate::numbering::is_whole;
use regex::Regex;
use std::sync::Arc;

/// Where a rule stands, as problems name places: `tollgate.toml:33`.
pub type RulePlace = Arc<str>;

/// Which way a call goes when a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It comes in.
    In,
    /// It goes out to a trunk.
    Out,
}

/// A number of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Who is called.
    Called,
    /// Who calls, vouches for the caller or has diverted the call.
    Calling,
}

/// One `[[rewrite]]`.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Which way the call goes.
    pub way: Way,
    /// Which number it is; `None`: both.
    pub party: Option<Party>,
    /// The side the call comes from; `None`: either.
    pub from: Option<RouteFrom>,
    /// The numbers it is for.
    pub matches: Patterns,
    /// What becomes of them.
    pub change: Change,
    /// Where it stands.
    pub place: RulePlace,
}

/// What becomes of a number.
#[derive(Clone, Debug)]
pub enum Change {
    /// So many characters are taken away at its front, and others put there.
    Front {
        /// How many.
        strip: u8,
        /// What is put there.
        prepend: Box<str>,
    },
    /// What the expression finds is replaced, groups included.
    Replace(Arc<Regex>, Box<str>),
}

/// Characters of a number that a rule makes: a number has 18 digits, and prefixes of carriers go
/// before it.
const REWRITTEN_MAX: usize = 64;

/// A number, as rules are asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Which way its call goes.
    pub way: Way,
    /// Which number of the call it is.
    pub party: Party,
    /// The side its call comes from.
    pub from: RouteFrom,
    /// It is an emergency number, which only a rule for this very number changes.
    pub emergency: bool,
    /// The number itself.
    pub number: &'a str,
}

impl Rewrite {
    /// What the first of `rules` that is for this number makes of it, and that rule. `None` where the
    /// number stays as it is.
    pub fn first<'r>(rules: &'r [Self], subject: &Subject<'_>) -> Option<(&'r Self, String)> {
        let rule = rules.iter().find(|rule| rule.is_for(subject))?;
        let made = rule.change.of(subject.number)?;
        (made != subject.number).then_some((rule, made))
    }

    fn is_for(&self, subject: &Subject<'_>) -> bool {
        self.way == subject.way
            && self.party.is_none_or(|party| party == subject.party)
            && self.from.is_none_or(|from| from == subject.from)
            && self.matches.as_slice().iter().any(|one| names(one, subject))
    }
}

/// Whether a pattern means this number. What is no whole number (emergency and short numbers, service
/// codes, names) has to be named: `*` does not.
fn names(pattern: &Pattern, subject: &Subject<'_>) -> bool {
    let named = match pattern {
        Pattern::Whole(_) => true,
        _ if subject.emergency => false,
        Pattern::All => is_whole(subject.number),
        _ => true,
    };
    named && pattern.matches(subject.number)
}

impl Change {
    /// What `match = "/regex/"` finds is replaced `with` this text, in which `$1` is what its first
    /// group found.
    pub fn replace(matches: &[Pattern], with: &str) -> Result<Self, NoPattern> {
        let refused = |said: String, hint: &str| {
            Err(NoPattern { said, hint: Some(hint.to_owned()).filter(|it| !it.is_empty()) })
        };
        let [Pattern::Regex(regex)] = matches else {
            let hint = r"match = '/^\+49(\d+)$/' with a group, or strip and prepend";
            return refused("needs a regular expression in `match`".to_owned(), hint);
        };
        let (mut rest, mut text) = (with, String::new());
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            let (group, behind) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').unwrap_or((braced, "")),
                None => {
                    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                    after.split_at(after.bytes().take_while(word).count())
                }
            };
            let known = match group.parse::<usize>() {
                Ok(number) => number < regex.captures_len(),
                Err(_) => regex.capture_names().flatten().any(|name| name == group),
            };
            if !known {
                let said =
                    format!("names the group ${group}, which the regular expression has not");
                return refused(said, "groups are counted from $1; before a digit write ${1}");
            }
            rest = behind;
        }
        text.push_str(rest);
        if !text.is_empty() && !can_be_number(&text) || with.len() > REWRITTEN_MAX {
            let said = "cannot stand in a number: digits, letters, + * # - . and _ can".to_owned();
            return refused(said, "");
        }
        Ok(Self::Replace(Arc::clone(regex), with.into()))
    }

    /// What it makes of `number`; `None` where that would be no number.
    fn of(&self, number: &str) -> Option<String> {
        let made = match self {
            Self::Front { strip, prepend } => {
                let rest = number.get(usize::from(*strip)..)?;
                format!("{prepend}{rest}")
            }
            Self::Replace(regex, with) => regex.replace(number, &**with).into_owned(),
        };
        (made.len() <= REWRITTEN_MAX && can_be_number(&made)).then_some(made)
    }
}

/// Whether `text` may stand where numbers stand: nothing in it ends a user part or has to be escaped.
pub fn can_be_number(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+*#-._".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Pattern, Patterns};

    fn rule(pattern: &str, change: Change) -> Rewrite {
        Rewrite {
            way: Way::Out,
            party: None,
            from: None,
            matches: Patterns::from(pattern.parse::<Pattern>().unwrap()),
            change,
            place: "tollgate.toml:1".into(),
        }
    }

    fn front(pattern: &str, strip: u8, prepend: &str) -> Rewrite {
        rule(pattern, Change::Front { strip, prepend: prepend.into() })
    }

    fn replace(pattern: &str, with: &str) -> Rewrite {
        let regex = Arc::new(Regex::new(pattern.trim_matches('/')).unwrap());
        rule(pattern, Change::Replace(regex, with.into()))
    }

    fn subject(number: &str) -> Subject<'_> {
        Subject {
            way: Way::Out,
            party: Party::Called,
            from: RouteFrom::Teams,
            emergency: false,
            number,
        }
    }

    fn made(rules: &[Rewrite], number: &str) -> Option<String> {
        Rewrite::first(rules, &subject(number)).map(|(_, made)| made)
    }

    #[test]
    fn the_first_rule_that_matches_is_the_only_one() {
        let rules = [
            front("+4930*", 3, "0"),
            front("+49*", 0, "9999"),
            replace(r"/^\+43(\d)(\d*)$/", "0043$1-${2}9"),
            front("*", 1, ""),
        ];
        for (number, expected) in [
            ("+4930123456", Some("030123456")),
            ("+4940123456", Some("9999+4940123456")),
            ("+43123456", Some("00431-234569")),
            ("+12125550123", Some("12125550123")),
            // Nobody names these.
            ("112", None),
            ("+112", None),
            ("*21#", None),
            ("anna", None),
            ("", None),
        ] {
            assert_eq!(made(&rules, number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn a_rule_that_names_a_short_number_changes_it() {
        assert_eq!(made(&[front("115", 0, "+4930")], "115").as_deref(), Some("+4930115"));
        assert_eq!(made(&[front("1*", 0, "+4930")], "115").as_deref(), Some("+4930115"));
        assert_eq!(made(&[replace("/^anna$/", "+4930115")], "anna").as_deref(), Some("+4930115"));
    }

    #[test]
    fn an_emergency_number_is_changed_only_by_a_rule_for_itself() {
        let emergency = |rules: &[Rewrite], number| {
            let subject = Subject { emergency: true, ..subject(number) };
            Rewrite::first(rules, &subject).map(|(_, made)| made)
        };
        let wide = [front("1*", 0, "+4930"), replace("/^112$/", "1"), front("*", 1, "")];
        assert_eq!(emergency(&wide, "112"), None);
        assert_eq!(emergency(&[front("112", 0, "9")], "112").as_deref(), Some("9112"));
    }

    #[test]
    fn what_would_be_no_number_is_not_made() {
        assert_eq!(made(&[front("+49*", 3, "")], "+49"), None, "nothing is left");
        assert_eq!(made(&[front("+49*", 9, "")], "+4930"), None, "there is not so much");
        assert_eq!(made(&[replace("/^(.*)$/", "$1$1$1$1$1$1")], "+493012345678"), None, "too long");
        assert_eq!(made(&[replace("/^(.*)$/", "$1@a")], "+493012345678"), None, "a host");
    }

    #[test]
    fn a_rule_is_asked_only_for_its_number_its_way_and_its_side() {
        let mut rule = front("+49*", 3, "0");
        rule.party = Some(Party::Calling);
        rule.from = Some(RouteFrom::Carrier);
        let asked = |way, party, from| {
            let subject = Subject { way, party, from, ..subject("+4930123456") };
            Rewrite::first(std::slice::from_ref(&rule), &subject).is_some()
        };
        assert!(asked(Way::Out, Party::Calling, RouteFrom::Carrier));
        assert!(!asked(Way::In, Party::Calling, RouteFrom::Carrier));
        assert!(!asked(Way::Out, Party::Called, RouteFrom::Carrier));
        assert!(!asked(Way::Out, Party::Calling, RouteFrom::Teams));
    }
}
