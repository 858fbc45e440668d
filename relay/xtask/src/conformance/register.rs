//! The register of requirements: docs/teams-requirements.toml, read and judged by itself.

use std::fmt::{self, Display};

/// Every requirement, in the order of the file.
#[derive(Debug)]
pub(super) struct Register {
    pub(super) areas: Vec<Area>,
}

/// What belongs together: the middle part of an id, and what a reader calls it.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) requirements: Vec<Requirement>,
}

/// One requirement.
#[derive(Debug)]
pub(super) struct Requirement {
    pub(super) id: String,
    pub(super) severity: Severity,
    pub(super) text: String,
    /// Why no test names it.
    pub(super) reason: Option<String>,
    /// Where it stands in the register.
    pub(super) line: usize,
}

/// How much depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Must,
    Should,
    Note,
}

impl Severity {
    fn read(word: &str) -> Option<Self> {
        [Self::Must, Self::Should, Self::Note].into_iter().find(|one| one.to_string() == word)
    }
}

impl Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Note => "NOTE",
        })
    }
}

/// The reasons that excuse a requirement; more words may follow.
const REASONS: &[&str] = &["unconfirmed", "not on the wire", "next release: "];

/// A complaint as `LINE: words`.
type Wrong = String;

impl Register {
    /// Reads it; the complaint begins with the line.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let table: toml::Table = text.parse().map_err(|error| format!("1: {error}"))?;
        let mut areas = areas(&table)?;
        for (number, line) in text.lines().enumerate() {
            let Some(id) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) else {
                continue;
            };
            let entry = table.get(id).and_then(toml::Value::as_table);
            let entry = entry.ok_or_else(|| format!("{}: {id} is no table", number + 1))?;
            let requirement = Requirement::read(id, number + 1, entry)?;
            let area = id.split('-').nth(1).unwrap_or_default();
            let area = areas.iter_mut().find(|one| one.name == area);
            let area = area.ok_or_else(|| format!("{}: no area for {id}", requirement.line))?;
            area.requirements.push(requirement);
        }
        Ok(Self { areas })
    }

    /// All of them.
    pub(super) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.areas.iter().flat_map(|area| &area.requirements)
    }
}

fn areas(table: &toml::Table) -> Result<Vec<Area>, Wrong> {
    let listed = table.get("areas").and_then(toml::Value::as_array);
    let listed = listed.ok_or_else(|| "1: `areas` is missing".to_owned())?;
    let read = |pair: &toml::Value| {
        let word = |index: usize| Some(pair.get(index)?.as_str()?.to_owned());
        Some(Area { name: word(0)?, title: word(1)?, requirements: Vec::new() })
    };
    let pairs: Option<Vec<Area>> = listed.iter().map(read).collect();
    pairs.ok_or_else(|| "1: an area is a pair of words".to_owned())
}

impl Requirement {
    fn read(id: &str, line: usize, entry: &toml::Table) -> Result<Self, Wrong> {
        let word = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        let known = ["severity", "text", "reason"];
        if let Some(key) = entry.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("{line}: {id} has `{key}`, which means nothing here"));
        }
        let severity = word("severity").and_then(Severity::read);
        let severity =
            severity.ok_or_else(|| format!("{line}: {id} is neither MUST, SHOULD nor NOTE"))?;
        let text = word("text").filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| format!("{line}: {id} says nothing"))?.to_owned();
        let reason = word("reason").map(str::to_owned);
        if let Some(reason) = &reason
            && !REASONS.iter().any(|one| reason.starts_with(one))
        {
            return Err(format!("{line}: {id}: a reason begins with one of {REASONS:?}"));
        }
        Ok(Self { id: id.to_owned(), severity, text, reason, line })
    }
}

#[cfg(test)]
mod tests {
    use super::{Register, Severity};

    const AREAS: &str = "areas = [[\"HLD\", \"Hold\"], [\"EM\", \"Early media\"]]\n";

    #[test]
    fn requirements_keep_the_order_of_the_file_and_know_their_line() {
        let text = format!(
            "{AREAS}[TDR-HLD-002]\nseverity = \"MUST\"\ntext = \"b\"\n\
             [TDR-HLD-001]\nseverity = \"NOTE\"\ntext = \"a\"\nreason = \"unconfirmed: who knows\"\n"
        );
        let register = Register::read(&text).unwrap();
        let seen: Vec<_> =
            register.requirements().map(|one| (&*one.id, one.severity, one.line)).collect();
        assert_eq!(seen, [("TDR-HLD-002", Severity::Must, 2), ("TDR-HLD-001", Severity::Note, 5)]);
    }

    #[test]
    fn a_reason_that_is_none_is_refused_with_its_line() {
        let entry = "[TDR-EM-001]\nseverity = \"MUST\"\ntext = \"a\"\nreason = \"too much work\"\n";
        let wrong = Register::read(&format!("{AREAS}{entry}")).unwrap_err();
        assert!(wrong.starts_with("2: TDR-EM-001: a reason begins with"), "{wrong}");
    }

    #[test]
    fn a_requirement_of_no_area_is_refused() {
        let entry = "[TDR-XX-001]\nseverity = \"MUST\"\ntext = \"a\"\n";
        assert_eq!(
            Register::read(&format!("{AREAS}{entry}")).unwrap_err(),
            "2: no area for TDR-XX-001"
        );
    }
}
