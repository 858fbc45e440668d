//! Draws state machines into `docs/state-machines` and fails when a drawing is out of date.
//! `TOLLGATE_BLESS=1 cargo test -p sip-core` draws them anew.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;

/// From a state, on an event, under a condition (`any` is none), to a state, doing something.
pub(crate) type Row = [String; 5];

/// Compares table and graph of a machine with those that are committed.
pub(crate) fn compare(name: &str, title: &str, columns: [&str; 5], rows: &[Row]) {
    compare_file(&format!("{name}.txt"), &table(title, columns, rows));
    compare_file(&format!("{name}.dot"), &graph(name, title, rows));
}

/// The variant's name.
pub(crate) fn first_word(state: &impl Debug) -> String {
    let text = format!("{state:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}

/// `Timer(A)` reads `timer A`.
pub(crate) fn event_words(event: &impl Debug) -> String {
    format!("{event:?}").replace("Timer(", "timer ").replace(')', "")
}

/// A list of actions.
pub(crate) fn words<A: Debug>(actions: &[A]) -> String {
    match actions {
        [] => "-".to_owned(),
        _ => actions.iter().map(|action| format!("{action:?}")).collect::<Vec<_>>().join(", "),
    }
}

fn table(title: &str, columns: [&str; 5], rows: &[Row]) -> String {
    let head = columns.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = format!("{title}\n\n");
    for row in all() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            write!(line, "{cell:width$}  ", width = width(column)).unwrap();
        }
        text += line.trim_end();
        text.push('\n');
    }
    text + "\nAny other event in any state is counted as unexpected and changes nothing.\n"
}

fn graph(name: &str, title: &str, rows: &[Row]) -> String {
    let mut edges: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for [before, event, condition, after, actions] in rows {
        let condition = if condition == "any" { String::new() } else { format!(" ({condition})") };
        let actions = if actions == "-" { String::new() } else { format!(" / {actions}") };
        edges.entry((before, after)).or_default().push(format!("{event}{condition}{actions}"));
    }
    let mut text = format!("// {title}\ndigraph \"{name}\" {{\n");
    text += "    node [shape=box, style=rounded];\n";
    for ((before, after), labels) in edges {
        let label = labels.join("\\l");
        writeln!(text, "    {before} -> {after} [label=\"{label}\\l\"];").unwrap();
    }
    text + "}\n"
}

fn compare_file(file: &str, drawn: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state-machines").join(file);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, drawn).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, drawn, "{file} is out of date: TOLLGATE_BLESS=1 draws it anew");
}
