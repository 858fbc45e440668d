//! Which requirement is proven by which tests, and what is wrong with that.

use super::REGISTER;
use super::register::{Area, Register, Requirement, Severity};
use super::scan::{Kind, Mention, Naming, Sources};
use crate::cargo::Heard;
use std::collections::BTreeMap;

/// Of a hundred requirements, so many have a test; the others have a reason.
const PROVEN_PERCENT_MIN: usize = 95;

/// The register, with the tests of each requirement.
pub(super) struct Coverage<'a> {
    pub(super) register: &'a Register,
    sources: &'a Sources,
    tests: BTreeMap<&'a str, Vec<&'a Naming>>,
}

/// Counts of one area, or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: usize,
    pub(super) proven: usize,
    pub(super) musts: usize,
    pub(super) musts_proven: usize,
    /// Without a test, but with a reason.
    pub(super) excused: usize,
}

impl<'a> Coverage<'a> {
    /// Joins the two.
    pub(super) fn of(register: &'a Register, sources: &'a Sources) -> Self {
        let mut tests = BTreeMap::<&str, Vec<&Naming>>::new();
        for test in &sources.tests {
            for mention in &test.ids {
                let of_id = tests.entry(&mention.id).or_default();
                if !of_id.contains(&test) {
                    of_id.push(test);
                }
            }
        }
        Self { register, sources, tests }
    }

    /// The tests that name a requirement.
    pub(super) fn tests(&self, id: &str) -> &[&'a Naming] {
        self.tests.get(id).map_or(&[], Vec::as_slice)
    }

    /// Counts these requirements.
    pub(super) fn count<'r>(
        &self,
        requirements: impl IntoIterator<Item = &'r Requirement>,
    ) -> Counts {
        let mut counts = Counts::default();
        for requirement in requirements {
            let proven = !self.tests(&requirement.id).is_empty();
            let must = requirement.severity == Severity::Must;
            counts.all += 1;
            counts.proven += usize::from(proven);
            counts.musts += usize::from(must);
            counts.musts_proven += usize::from(must && proven);
            counts.excused += usize::from(!proven && requirement.reason.is_some());
        }
        counts
    }

    /// How many requirements have a test.
    pub(super) fn proven(&self) -> usize {
        self.count(self.register.requirements()).proven
    }

    /// One line over all.
    pub(super) fn in_short(&self) -> String {
        let Counts { all, proven, musts, musts_proven, excused } =
            self.count(self.register.requirements());
        let open = all - proven - excused;
        format!(
            "{proven} of {all} requirements proven ({musts_proven} of {musts} MUST), {excused} left with a reason, {open} open"
        )
    }

    /// What no test names, area by area.
    pub(super) fn uncovered(&self) -> String {
        let mut text = String::new();
        for Area { name, title, requirements } in &self.register.areas {
            let Counts { all, proven, excused, .. } = self.count(requirements);
            text.push_str(&format!("{name} ({title}): {proven} of {all}"));
            text.push_str(&match excused {
                0 => "\n".to_owned(),
                excused => format!(", {excused} with a reason\n"),
            });
            for requirement in requirements.iter().filter(|one| self.is_open(one)) {
                let Requirement { id, severity, text: words, .. } = requirement;
                text.push_str(&format!("    {id} {severity}: {words}\n"));
            }
        }
        text
    }

    fn is_open(&self, requirement: &Requirement) -> bool {
        requirement.reason.is_none() && self.tests(&requirement.id).is_empty()
    }

    /// What no test and no reason stands for, each with its line; and a MUST that has a reason alone.
    pub(super) fn gaps(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for requirement in self.register.requirements() {
            let Requirement { id, line, severity, .. } = requirement;
            if self.is_open(requirement) {
                wrong.push(format!("{REGISTER}:{line}: {id} has neither a test nor a reason"));
            } else if *severity == Severity::Must && self.tests(id).is_empty() {
                wrong.push(format!("{REGISTER}:{line}: {id} is a MUST and has no test"));
            }
        }
        let counts = self.count(self.register.requirements());
        if counts.proven * 100 < counts.all * PROVEN_PERCENT_MIN {
            wrong.push(format!("{REGISTER}:1: less than {PROVEN_PERCENT_MIN} % are proven"));
        }
        wrong
    }

    /// What is wrong, whatever came of the tests; each with its file and line.
    pub(super) fn objections(&self) -> Vec<String> {
        let mut wrong = self.unknown();
        for requirement in self.register.requirements() {
            let Requirement { id, line, .. } = requirement;
            if let (Some(test), Some(_)) = (self.tests(id).first(), &requirement.reason) {
                let Naming { file, line: at, name, .. } = test;
                wrong.push(format!(
                    "{REGISTER}:{line}: {id} has a reason, but {file}:{at} proves it ({name})"
                ));
            }
        }
        wrong
    }

    /// Ids that are in no register.
    fn unknown(&self) -> Vec<String> {
        let known = |id: &str| self.register.requirements().any(|requirement| requirement.id == id);
        let named = self.sources.tests.iter().flat_map(|test| &test.ids);
        named
            .chain(&self.sources.mentions)
            .filter(|mention| !known(&mention.id))
            .map(|Mention { file, line, id }| format!("{file}:{line}: {id} is not in {REGISTER}"))
            .collect()
    }

    /// Tests that name a requirement and did not pass in a run. Where no test of a harness ran at all, none
    /// of its is wrong; the same of scenarios.
    pub(super) fn failed(&self, heard: &[Heard]) -> Vec<String> {
        let ran = |scenario: bool| heard.iter().filter(move |one| one.scenario == scenario);
        let mut wrong = Vec::new();
        for test in &self.sources.tests {
            let Naming { file, line, name, kind, ids } = test;
            let ids = || ids.iter().map(|mention| &*mention.id).collect::<Vec<_>>().join(", ");
            let mut complain = |what: &str| {
                wrong.push(format!("{file}:{line}: {name} {what}; it is to prove {}", ids()));
            };
            let (scenario, names) = match kind {
                Kind::Harness => (false, std::slice::from_ref(name)),
                Kind::Interop(scenarios) => (true, scenarios.as_slice()),
            };
            let mut mine = ran(scenario).filter(|one| names.contains(&one.name)).peekable();
            if mine.peek().is_none() {
                if ran(scenario).next().is_some() {
                    complain("did not run");
                }
            } else if !mine.all(|one| one.passed) {
                complain("failed");
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::register::Register;
    use super::super::scan::{Kind, Mention, Naming, Sources};
    use super::Coverage;
    use crate::cargo::Heard;

    fn register() -> Register {
        let text = "areas = [[\"EM\", \"Early\"]]\n\
                    [TDR-EM-001]\nseverity = \"MUST\"\ntext = \"a\"\n\
                    [TDR-EM-002]\nseverity = \"NOTE\"\ntext = \"b\"\nreason = \"unconfirmed: c\"\n";
        Register::read(text).unwrap()
    }

    fn naming(ids: &[&str]) -> Sources {
        let mention =
            |id: &&str| Mention { file: "a.rs".to_owned(), line: 3, id: (*id).to_owned() };
        let test = Naming {
            file: "a.rs".to_owned(),
            line: 5,
            name: "a::rings".to_owned(),
            kind: Kind::Harness,
            ids: ids.iter().map(mention).collect(),
        };
        Sources { tests: vec![test], mentions: Vec::new() }
    }

    fn heard(name: &str, passed: bool) -> Heard {
        Heard { name: name.to_owned(), passed, scenario: false }
    }

    #[test]
    fn an_id_that_does_not_exist_is_found_where_it_stands() {
        let (register, sources) = (register(), naming(&["TDR-EM-001", "TDR-EM-100"]));
        assert_eq!(
            Coverage::of(&register, &sources).objections(),
            ["a.rs:3: TDR-EM-100 is not in docs/teams-requirements.toml"]
        );
    }

    #[test]
    fn a_reason_beside_a_test_is_one_too_many() {
        let (register, sources) = (register(), naming(&["TDR-EM-001", "TDR-EM-002"]));
        let wrong = Coverage::of(&register, &sources).objections();
        assert_eq!(
            wrong,
            [
                "docs/teams-requirements.toml:5: TDR-EM-002 has a reason, but a.rs:5 proves it (a::rings)"
            ]
        );
    }

    #[test]
    fn a_requirement_without_test_and_reason_is_a_gap() {
        let register = register();
        let none = Sources::default();
        assert_eq!(
            Coverage::of(&register, &none).gaps(),
            [
                "docs/teams-requirements.toml:2: TDR-EM-001 has neither a test nor a reason",
                "docs/teams-requirements.toml:1: less than 95 % are proven"
            ]
        );
    }

    #[test]
    fn a_test_that_failed_or_did_not_run_proves_nothing() {
        let (register, sources) = (register(), naming(&["TDR-EM-001"]));
        let coverage = Coverage::of(&register, &sources);
        let of = |heard: &[Heard]| coverage.failed(heard);
        assert_eq!(of(&[]), [""; 0]);
        assert_eq!(of(&[heard("a::rings", true)]), [""; 0]);
        assert_eq!(
            of(&[heard("a::rings", false)]),
            ["a.rs:5: a::rings failed; it is to prove TDR-EM-001"]
        );
        assert_eq!(
            of(&[heard("b::rings", true)]),
            ["a.rs:5: a::rings did not run; it is to prove TDR-EM-001"]
        );
    }

    #[test]
    fn a_scenario_that_was_left_out_proves_nothing() {
        let (register, mut sources) = (register(), naming(&["TDR-EM-001"]));
        for test in &mut sources.tests {
            test.kind = Kind::Interop(vec!["rings".to_owned()]);
        }
        let coverage = Coverage::of(&register, &sources);
        let of = |heard: &[Heard]| coverage.failed(heard);
        assert_eq!(of(&[heard("a::rings", true)]), [""; 0], "no scenario was played at all");
        assert_eq!(of(&[Heard::scenario("rings", true)]), [""; 0]);
        assert_eq!(
            of(&[Heard::scenario("rings", false)]),
            ["a.rs:5: a::rings failed; it is to prove TDR-EM-001"]
        );
        assert_eq!(
            of(&[Heard::scenario("sings", true)]),
            ["a.rs:5: a::rings did not run; it is to prove TDR-EM-001"]
        );
    }
}
