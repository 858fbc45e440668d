//! Writes docs/teams-conformance.md: what Teams asks for, area by area, and which test proves it.

use super::register::{Area, Requirement};
use super::scan::{Kind, Naming};
use super::verdict::{Counts, Coverage};

const OPENING: &str = "\
# What Teams Direct Routing asks for, and what proves that Tollgate does it

Each requirement of Microsoft Teams Direct Routing that we know of, in our words, with the tests that fail if Tollgate does not keep it. `cargo xtask test` writes nothing here: it
compares this page with the tests that are there and with what came of them in its own run, and fails if they differ. A test that is named here has passed.

**MUST** is documented by Microsoft, or calls do not work without it; **SHOULD** is good practice; **NOTE** is behaviour of Teams to know and to survive. Tests in virtual time play whole calls
between an emulated Teams and an emulated carrier through the product's own core; those marked *real peers* play them with programs that others wrote (see [ci.md](ci.md)).
The requirements stand in [teams-requirements.toml](teams-requirements.toml); this page is written by `TOLLGATE_BLESS=1 cargo xtask conformance`.

";

/// The whole page.
pub(super) fn write(coverage: &Coverage<'_>) -> String {
    let mut page = OPENING.to_owned();
    page.push_str(&summary(coverage));
    for area in &coverage.register.areas {
        page.push_str(&section(coverage, area));
    }
    page
}

fn summary(coverage: &Coverage<'_>) -> String {
    let mut text = String::from(
        "| area | requirements | proven | MUST | of them proven | left, with a reason |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for area in &coverage.register.areas {
        let counts = coverage.count(&area.requirements);
        text.push_str(&row(&format!("[{}](#{})", area.title, anchor(&area.title)), counts));
    }
    text.push_str(&row("**all**", coverage.count(coverage.register.requirements())));
    text
}

fn row(title: &str, counts: Counts) -> String {
    let Counts { all, proven, musts, musts_proven, excused } = counts;
    let excused = if excused == 0 { String::new() } else { excused.to_string() };
    format!("| {title} | {all} | {proven} | {musts} | {musts_proven} | {excused} |\n")
}

/// The name a heading is linked by: what GitHub makes of it.
fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn section(coverage: &Coverage<'_>, area: &Area) -> String {
    let mut text =
        format!("\n## {}\n\n| id | | requirement | proven by |\n|---|---|---|---|\n", area.title);
    for requirement in &area.requirements {
        let Requirement { id, severity, text: words, reason, .. } = requirement;
        let tests = coverage.tests(id);
        let proof = match (tests, reason) {
            ([], Some(reason)) => format!("*{}*", cell(reason)),
            ([], None) => "**not yet**".to_owned(),
            (tests, _) => tests.iter().map(|test| link(test)).collect::<Vec<_>>().join("<br>"),
        };
        text.push_str(&format!("| {id} | {severity} | {} | {proof} |\n", cell(words)));
    }
    text
}

/// A test by its own name, leading to its file.
fn link(test: &Naming) -> String {
    let name = test.name.rsplit("::").next().unwrap_or(&test.name);
    let real = if matches!(test.kind, Kind::Interop(_)) { " *real peers*" } else { "" };
    format!("[{}](../{}){real}", name.replace('_', " "), test.file)
}

/// A pipe would end the cell.
fn cell(words: &str) -> String {
    words.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::anchor;

    #[test]
    fn headings_are_linked_as_they_are_shown() {
        assert_eq!(anchor("Hold, resume and music"), "hold-resume-and-music");
        assert_eq!(anchor("ICE (media bypass)"), "ice-media-bypass");
    }
}
