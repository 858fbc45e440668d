//! The codes that docs/operations/reasons.md explains are those that `tollgate call` explains.

use b2bua::codes::MEANINGS;
use std::path::Path;

/// TDR-ERR-001: a code that the page does not have, or has otherwise than the command line.
#[test]
fn a_code_means_one_thing_on_the_page_and_another_on_the_command_line() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/reasons.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("\n## ").find(|part| part.starts_with("What Microsoft says")).unwrap();
    let listed: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let made = MEANINGS.iter().map(|row| {
        let code = if row.code == 0 { String::new() } else { row.code.to_string() };
        format!("| {} | {code} | {} | {} |", row.status, row.means, row.action)
    });
    let made: Vec<String> = made.collect();
    assert_eq!(listed, made);
}
