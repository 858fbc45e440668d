//! Finds which test names which requirement: an id in the `///` comment above `#[test]`, or above the
//! function of an interop scenario.

use crate::cargo::{Workspace, folder};
use crate::fail::{Outcome, While};
use crate::sources::rust_files;
use std::path::Path;

/// What the sources say of requirements.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) tests: Vec<Naming>,
    /// Ids in any other comment: they prove nothing, but must exist.
    pub(super) mentions: Vec<Mention>,
}

/// A test, and the ids it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Naming {
    /// From the workspace's root.
    pub(super) file: String,
    /// Of its `fn`.
    pub(super) line: usize,
    /// As its harness calls it.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) ids: Vec<Mention>,
}

/// Who runs a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `cargo test`.
    Harness,
    /// The check of calls between real peers, under these names.
    Interop(Vec<String>),
}

/// An id where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) id: String,
}

/// Where the functions of interop scenarios are.
const INTEROP: &str = "relay/xtask/src/interop";
/// Our own tests have ids in them that are examples.
const OURS: &str = "relay/xtask/src/conformance";
/// Where it is the emulated Teams that is tested: that it asks for something proves nothing of Tollgate.
const OTHERS: [&str; 2] = ["relay/emulate/", "relay/src/emulation/"];

impl Sources {
    /// Reads every source file of the workspace.
    pub(super) fn scan(workspace: &Workspace) -> Outcome<Self> {
        let mut texts = Vec::new();
        for package in workspace.ours() {
            let Some(folder) = folder(package) else { continue };
            for part in ["src", "tests"] {
                let base = folder.join(part);
                for path in rust_files(&base) {
                    let text = std::fs::read_to_string(&path).while_(path.display())?;
                    let inside = path.strip_prefix(&base).unwrap_or(&path);
                    let module = module(inside, part == "tests");
                    let shown = path.strip_prefix(&workspace.root).unwrap_or(&path);
                    if !shown.starts_with(OURS) {
                        texts.push((shown.display().to_string(), module, text));
                    }
                }
            }
        }
        texts.sort();
        let scenarios: Vec<(String, String)> = texts
            .iter()
            .filter(|(file, ..)| file.starts_with(INTEROP))
            .flat_map(|(_, _, text)| scenarios(text))
            .collect();
        let mut sources = Self::default();
        for (file, module, text) in &texts {
            sources.read(file, module, text, &scenarios);
        }
        Ok(sources)
    }

    fn read(&mut self, file: &str, module: &[String], text: &str, scenarios: &[(String, String)]) {
        let mut reader = Reader { module: module.to_vec(), ..Reader::default() };
        for (number, line) in text.lines().enumerate() {
            for id in ids(comment(line)) {
                let mention =
                    Mention { file: file.to_owned(), line: number + 1, id: id.to_owned() };
                if line.trim_start().starts_with("/// ") {
                    reader.named.push(mention);
                } else {
                    self.mentions.push(mention);
                }
            }
            let Some(function) = reader.function(line) else { continue };
            let ids = std::mem::take(&mut reader.named);
            let kind = if OTHERS.iter().any(|folder| file.starts_with(folder)) {
                None
            } else if reader.is_test {
                Some(Kind::Harness)
            } else {
                let names = scenarios.iter().filter(|(_, of)| of == function);
                let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
                (file.starts_with(INTEROP) && !names.is_empty()).then_some(Kind::Interop(names))
            };
            match kind {
                Some(kind) if !ids.is_empty() => self.tests.push(Naming {
                    file: file.to_owned(),
                    line: number + 1,
                    name: reader.path_of(function),
                    kind,
                    ids,
                }),
                _ => self.mentions.extend(ids),
            }
            reader.is_test = false;
        }
        self.mentions.append(&mut reader.lost);
    }
}

/// Goes through a file line by line.
#[derive(Default)]
struct Reader {
    /// Where we are, as `cargo test` names it.
    module: Vec<String>,
    /// The indentation of each `mod NAME {` that is open.
    opened: Vec<usize>,
    /// Ids in the comment above what comes next.
    named: Vec<Mention>,
    is_test: bool,
    /// Brackets of an attribute that are still open.
    attribute: i32,
    /// Ids above something else than a function.
    lost: Vec<Mention>,
}

impl Reader {
    /// The function that begins on this line, if one does.
    fn function<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.starts_with("///") {
            return None;
        }
        if self.attribute > 0 || code.starts_with("#[") {
            self.attribute += brackets(code);
            self.is_test |= code.starts_with("#[test]") || code.starts_with("#[tokio::test");
            return None;
        }
        if code.trim_end() == "}" && self.opened.last() == Some(&indent) {
            self.opened.pop();
            self.module.pop();
        }
        if let Some(name) = after(code, "mod").filter(|_| code.trim_end().ends_with('{')) {
            self.opened.push(indent);
            self.module.push(name.to_owned());
        }
        let function = after(code, "fn");
        if function.is_none() {
            self.lost.append(&mut self.named);
            self.is_test = false;
        }
        function
    }

    fn path_of(&self, function: &str) -> String {
        let mut path = self.module.join("::");
        if !path.is_empty() {
            path.push_str("::");
        }
        path + function
    }
}

/// The name behind a keyword at the beginning of a line, past what may stand before it.
fn after<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    let mut words = code.split_whitespace();
    let mut word = words.next()?;
    while ["pub", "pub(crate)", "pub(super)", "async", "const"].contains(&word) {
        word = words.next()?;
    }
    let name = (word == keyword).then(|| words.next())??;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

fn brackets(code: &str) -> i32 {
    let count = |bracket| i32::try_from(code.matches(bracket).count()).unwrap_or_default();
    count('[') - count(']')
}

/// The comment of a line that is nothing else.
fn comment(line: &str) -> &str {
    line.trim_start().strip_prefix("//").unwrap_or_default()
}

/// The ids in a text, however long their number is; the name of an area alone is none.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("TDR-").filter_map(|(start, _)| {
        let id = text.get(start..)?;
        let end = id.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(id.len());
        let id = id.get(..end)?.trim_end_matches('-');
        id.ends_with(|c: char| c.is_ascii_digit()).then_some(id)
    })
}

/// The modules that lead to a file, as `cargo test` names them: `tests/all/hold.rs` is `hold`.
fn module(inside: &Path, of_tests: bool) -> Vec<String> {
    let mut parts: Vec<String> =
        inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    // The first folder, or the file itself, is a crate of its own.
    let of_bin = parts.first().is_some_and(|first| first == "bin");
    let outside = usize::from(of_tests) + 2 * usize::from(of_bin);
    parts.drain(..outside.min(parts.len()));
    if parts.last().is_some_and(|last| ["mod", "main", "lib"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The pairs of a scenario's name and its function, as in `("hold", carrier_holds)`.
fn scenarios(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for pair in text.split('(').skip(1) {
        let Some(rest) = pair.trim_start().strip_prefix('"') else { continue };
        let Some((name, rest)) = rest.split_once('"') else { continue };
        let Some(rest) = rest.strip_prefix(',') else { continue };
        let path = rest.trim_start().split([',', ')']).next().unwrap_or_default().trim_end();
        let function = path.rsplit("::").next().unwrap_or_default();
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if is_word(function) && is_word(name) {
            found.push((name.to_owned(), function.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Kind, Sources, module, scenarios};
    use std::path::Path;

    /// The ids of a text that are named by tests, with the tests' names.
    fn named(text: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
        let mut sources = Sources::default();
        sources.read("relay/src/a.rs", &["a".to_owned()], text, &[]);
        let tests = sources.tests.into_iter();
        (
            tests.map(|one| (one.name, one.ids.into_iter().map(|id| id.id).collect())).collect(),
            sources.mentions.into_iter().map(|mention| mention.id).collect(),
        )
    }

    #[test]
    fn a_test_names_what_stands_right_above_it() {
        let text = "\
/// Holds (TDR-HLD-001), and is held: TDR-HLD-002.
fn not_a_test() {}

#[cfg(test)]
mod tests {
    /// TDR-EM-001, TDR-EM-002.
    #[test]
    #[should_panic(
        expected = \"[\"]
    )]
    fn rings() {
        // TDR-EM-003, and TDR-EM-* in general
    }

    mod deeper {
        /// TDR-EM-004
        #[test]
        fn sings() {}
    }

    #[test]
    fn says_nothing() {}
}
";
        let (tests, mentions) = named(text);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            tests,
            [
                ("a::tests::rings".to_owned(), ids(&["TDR-EM-001", "TDR-EM-002"])),
                ("a::tests::deeper::sings".to_owned(), ids(&["TDR-EM-004"])),
            ]
        );
        assert_eq!(mentions, ["TDR-HLD-001", "TDR-HLD-002", "TDR-EM-003"]);
    }

    #[test]
    fn what_stands_above_a_constant_is_no_proof() {
        let text = "/// TDR-LIM-001\nconst BOUND: usize = 1;\n#[test]\nfn bound() {}\n";
        let (tests, mentions) = named(text);
        assert!(tests.is_empty());
        assert_eq!(mentions, ["TDR-LIM-001"]);
    }

    #[test]
    fn a_test_of_the_emulator_is_no_proof() {
        let text = "/// TDR-LIM-001\n#[test]\nfn bound() {}\n";
        for file in ["relay/emulate/src/tests/calls.rs", "relay/src/emulation/tests.rs"] {
            let mut sources = Sources::default();
            sources.read(file, &[], text, &[]);
            assert!(sources.tests.is_empty(), "{file}");
            assert_eq!(sources.mentions.len(), 1, "{file}");
        }
    }

    #[test]
    fn a_scenario_is_a_test_under_the_name_in_its_table() {
        let table = "[(\"hold\", carrier_holds), (\n        \"b\",\n        deep::b,\n    )]";
        let pairs = scenarios(table);
        let pair = |name: &str, function: &str| (name.to_owned(), function.to_owned());
        assert_eq!(pairs, [pair("hold", "carrier_holds"), pair("b", "b")]);
        let mut sources = Sources::default();
        let text = "/// TDR-HLD-001\nfn carrier_holds(lab: &mut Lab) -> Outcome {\n}\n";
        sources.read("relay/xtask/src/interop/calls.rs", &[], text, &pairs);
        let kinds: Vec<&Kind> = sources.tests.iter().map(|test| &test.kind).collect();
        assert_eq!(kinds, [&Kind::Interop(vec!["hold".to_owned()])]);
    }

    #[test]
    fn modules_are_named_as_cargo_names_them() {
        let of = |path: &str, of_tests| module(Path::new(path), of_tests).join("::");
        assert_eq!(of("all/hold.rs", true), "hold");
        assert_eq!(of("all/main.rs", true), "");
        assert_eq!(of("check.rs", true), "");
        assert_eq!(of("lib.rs", false), "");
        assert_eq!(of("call/mod.rs", false), "call");
        assert_eq!(of("call/hold.rs", false), "call::hold");
        assert_eq!(of("bin/simulate.rs", false), "");
    }
}
