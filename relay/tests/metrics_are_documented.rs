//! The metrics that the code names and those that docs/operations/metrics.md lists are the same:
//! dashboards and alerts are written against that page.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn a_metric_is_missing_from_the_page_or_is_there_without_being_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut made = BTreeSet::new();
    sources(&root.join("src"), &mut made);
    let page = std::fs::read_to_string(root.join("../docs/operations/metrics.md")).unwrap();
    let table = page.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `tollgate_"));
    let listed: BTreeSet<String> =
        rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect();
    assert_eq!(made, listed);
}

fn sources(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted =
                text.split("\"tollgate_").skip(1).filter_map(|rest| rest.split('"').next());
            let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            names.extend(quoted.filter(is_name).map(|name| format!("tollgate_{name}")));
        }
    }
}
