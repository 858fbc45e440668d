//! The schema knows exactly the keys that the readers know, and the example files fit it.

use super::{File, Key, Kind, Table, schema};
use crate::config::problem::Problems;
use crate::config::source::Source;
use crate::config::survey::{self, Asked, How, Tables};
use crate::config::{host, tenant};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files with the values that some keys are asked for only beside: add to them if the test misses a key.
const HOSTS: &[&str] = &[
    "",
    "[[trunk]]\nname = \"teams\"\nkind = \"teams\"\n",
    "[[trunk]]\nname = \"colt\"\nkind = \"carrier\"\n",
    "[[listener]]\nname = \"teams\"\ntransport = \"tls\"\n",
    "[[listener]]\nname = \"carrier\"\ntransport = \"udp\"\n",
    "[[certificate]]\nname = \"a\"\npkcs12 = \"a.p12\"\n",
    "[[certificate]]\nname = \"a\"\ndirectory = \"a\"\n",
    "[[certificate]]\nname = \"a\"\n[certificate.acme]\nchallenge = \"http-01\"\naccount_id = \"a\"\n",
    "[[certificate]]\nname = \"a\"\n[certificate.acme]\nchallenge = \"dns-01\"\n",
];
const TENANTS: &[&str] =
    &["", "[[route]]\nfrom = \"teams\"\n", "[[route]]\nfrom = \"carrier\"\nmatch = \"*\"\n"];

fn asked(file: File) -> Tables {
    let mut all = Tables::new();
    let texts = if file == File::Host { HOSTS } else { TENANTS };
    for text in texts {
        let found = survey::of(|| {
            let problems = Problems::default();
            let path = Path::new("tenants.d/contoso.toml");
            let source = Source::new(problems.add_file(path), (*text).to_owned());
            match file {
                File::Host => drop(host::read(&source, &problems)),
                File::Tenant => drop(tenant::read(path, &source, &problems)),
            }
        });
        for (path, keys) in found {
            all.entry(path).or_default().extend(keys);
        }
    }
    all
}

/// The tables of the schema by path, as a survey names them.
fn known(table: &'static Table, path: &str, tables: &mut BTreeMap<String, &'static Table>) {
    for key in table.keys {
        let (Kind::Table(inner) | Kind::Tables(inner)) = key.kind else { continue };
        let path =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        known(inner, &path, tables);
    }
    tables.insert(path.to_owned(), table);
}

fn words(kind: Kind) -> Option<Vec<String>> {
    match kind {
        Kind::Words(words) => Some(words.iter().map(|word| (*word).to_owned()).collect()),
        Kind::List(of) => words(*of),
        _ => None,
    }
}

/// What to write for a key that a reader asks for.
fn line(name: &str, asked: &Asked) -> String {
    let kind = match (asked.how, &asked.words) {
        (How::Table, _) => "One(&TABLE)".to_owned(),
        (How::Tables, _) => "Several(&TABLE)".to_owned(),
        (How::List, Some(words)) => format!("List(&Words(&{words:?}))"),
        (How::List, None) => "List(&Text)".to_owned(),
        (How::OneOrMore, _) => "OneOrMore(&Text)".to_owned(),
        (How::Value, Some(words)) => format!("Words(&{words:?})"),
        (How::Value, None) => "Text (or Flag, Whole(1, 9), DURATION ..)".to_owned(),
    };
    format!("key({name:?}, {kind}, \"What it means.\"),")
}

fn fits(key: &Key, asked: &Asked) -> bool {
    match (asked.how, key.kind) {
        (How::Table, Kind::Table(_)) | (How::Tables, Kind::Tables(_)) => true,
        (How::Value, Kind::Table(_) | Kind::Tables(_)) | (How::Table | How::Tables, _) => false,
        (How::List, Kind::List(_)) | (How::Value, _) => true,
        (How::OneOrMore, Kind::OneOrMore(_)) => true,
        (How::List | How::OneOrMore, _) => false,
    }
}

fn compare(file: File) -> String {
    let asked = asked(file);
    let mut known_tables = BTreeMap::new();
    known(file.table(), "", &mut known_tables);
    let mut said = String::new();
    let name = |path: &str| match path {
        "" => format!("the top of the {file:?} file"),
        path => format!("[{path}] of the {file:?} file"),
    };
    let nothing = BTreeMap::new();
    for (path, keys) in &asked {
        let Some(table) = known_tables.get(path) else {
            let _ = writeln!(said, "{} is read, and no table of the schema; its keys:", name(path));
            for (key, asked) in keys {
                let _ = writeln!(said, "    {}", line(key, asked));
            }
            continue;
        };
        for (key, asked) in keys {
            match table.keys.iter().find(|known| known.name == key) {
                None => {
                    let _ = writeln!(
                        said,
                        "{}: `{key}` is read and missing in the schema; add to the table \"{}\":\n    {}",
                        name(path),
                        table.about,
                        line(key, asked)
                    );
                }
                Some(known) if !fits(known, asked) => {
                    let _ = writeln!(
                        said,
                        "{}: `{key}` is read as {:?}, and something else in the schema",
                        name(path),
                        asked.how
                    );
                }
                Some(known) if asked.words.is_some() && words(known.kind) != asked.words => {
                    let _ = writeln!(
                        said,
                        "{}: `{key}` is one of {:?} for its reader, and {:?} in the schema",
                        name(path),
                        asked.words,
                        words(known.kind)
                    );
                }
                Some(_) => {}
            }
        }
    }
    for (path, table) in &known_tables {
        let keys = asked.get(path).unwrap_or(&nothing);
        for key in table.keys.iter().filter(|key| !keys.contains_key(key.name)) {
            let _ = writeln!(
                said,
                "{}: `{}` is in the schema, and no reader asks for it (or only beside a value that \
                 none of the files in this test has)",
                name(path),
                key.name
            );
        }
    }
    said
}

#[test]
fn a_key_is_read_that_the_schema_does_not_know_or_the_other_way_round() {
    let said = compare(File::Host) + &compare(File::Tenant);
    assert!(said.is_empty(), "relay/src/config/schema and the readers have drifted apart:\n{said}");
}

#[test]
fn the_survey_sees_tables_in_tables_and_both_kinds_of_trunk() {
    let host = asked(File::Host);
    assert!(host["trunk.registrar.user"].contains_key("secret_file"));
    assert!(host["trunk"].contains_key("cloud") && host["trunk"].contains_key("auth"));
    assert!(!host["trunk.auth"].contains_key("password"), "a slip is no key");
    assert!(host["media.address"].contains_key("ports"));
    assert_eq!(
        asked(File::Tenant)["route"]["from"].words,
        Some(vec!["teams".to_owned(), "carrier".to_owned()])
    );
}

/// What does not fit, by path. As much of JSON schema as [`schema`] makes use of.
fn misfits(root: &Value, schema: &Value, value: &Value, path: &str, said: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let to = root.pointer(name.trim_start_matches('#'));
        return misfits(root, to.expect("every reference leads somewhere"), value, path, said);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |one: &Value| {
            let mut said = Vec::new();
            misfits(root, one, value, path, &mut said);
            said.is_empty()
        };
        if !any.iter().any(fits) {
            said.push(format!("{path}: fits none of {any:?}"));
        }
        return;
    }
    let typed = match schema["type"].as_str().expect("every schema has a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{path}: no such type: {other}"),
    };
    if !typed {
        return said.push(format!("{path}: {value} is no {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        said.push(format!("{path}: {value} is none of {words:?}"));
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => said.push(format!("{path} is unknown")),
            (Value::Null, every) => misfits(root, every, inner, &path, said),
            (known, _) => misfits(root, known, inner, &path, said),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap_or_default()).is_none() {
            said.push(format!("{path}: {name} is missing"));
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        misfits(root, &schema["items"], inner, &format!("{path}[{index}]"), said);
    }
    if let (Some(number), Some(least), Some(most)) =
        (value.as_f64(), schema["minimum"].as_f64(), schema["maximum"].as_f64())
        && !(least..=most).contains(&number)
    {
        said.push(format!("{path}: {number} is not between {least} and {most}"));
    }
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/config");
    let tenants = std::fs::read_dir(folder.join("tenants.d")).unwrap();
    let mut files = vec![folder.join("tollgate.toml")];
    files.extend(tenants.map(|entry| entry.unwrap().path()));
    files
}

/// A file as JSON, with its comments of the form `# key = value` and `# [table]` or without them.
fn as_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap()
}

#[test]
fn the_example_files_do_not_fit_the_schema() {
    let both = schema(None);
    for path in examples() {
        let file = if path.ends_with("tollgate.toml") { File::Host } else { File::Tenant };
        let example = as_json(&path);
        for schema in [&schema(Some(file)), &both] {
            let mut said = Vec::new();
            misfits(schema, schema, &example, "", &mut said);
            assert!(said.is_empty(), "{}: {said:#?}", path.display());
        }
        let other = schema(Some(if file == File::Host { File::Tenant } else { File::Host }));
        let mut said = Vec::new();
        misfits(&other, &other, &example, "", &mut said);
        assert!(!said.is_empty(), "{} fits the wrong schema as well", path.display());
    }
}

#[test]
fn a_default_does_not_fit_its_own_key() {
    for file in [File::Host, File::Tenant] {
        let mut tables = BTreeMap::new();
        known(file.table(), "", &mut tables);
        for (path, table) in tables {
            assert!(!table.about.is_empty(), "[{path}] says nothing");
            for key in table.keys {
                assert!(key.about.ends_with('.'), "[{path}] {}: no sentence", key.name);
                let schema = key.schema();
                let mut said = Vec::new();
                if !schema["default"].is_null() {
                    misfits(&schema, &schema, &schema["default"], key.name, &mut said);
                }
                assert!(said.is_empty(), "[{path}]: {said:?}");
            }
        }
    }
}
