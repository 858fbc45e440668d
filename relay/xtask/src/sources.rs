//! Looks through our sources for what no lint finds: a crate that may use `unsafe`, an `unsafe` where
//! none belongs, a file too long to read in one go.

use crate::cargo::{Workspace, folder};
use crate::fail::{Outcome, While, ensure};
use std::path::{Path, PathBuf};

/// The one crate that speaks to the kernel below std.
const UNSAFE_CRATE: &str = "media-engine";

/// Modules outside it that may hold `unsafe`, each named with what it needs it for.
const UNSAFE_MODULES: &[(&str, &str)] = &[
    ("perf/src/sys.rs", "sendmmsg and recvmmsg of the load generator"),
    ("perf/src/libsrtp.rs", "functions of a C library"),
    ("perf/src/machine.rs", "namespaces, priorities and test runs of BPF programs"),
    ("perf/src/allocations.rs", "counting allocator"),
    ("media/tests/no_allocation.rs", "counting allocator"),
    ("media/tests/memory.rs", "counting allocator"),
];

/// A file longer than this holds two ideas.
const LINES_MAX: usize = 1000;

/// Checks every source file of ours and gives back how many there are.
pub(crate) fn check(workspace: &Workspace) -> Outcome<usize> {
    let mut wrong = Vec::new();
    let mut files = 0;
    for package in workspace.ours() {
        let name = package["name"].as_str().unwrap_or_default();
        for target in package["targets"].as_array().into_iter().flatten() {
            wrong.extend(forbids_unsafe(name, target)?);
        }
        let Some(folder) = folder(package) else { continue };
        for path in
            ["src", "tests", "benches"].iter().flat_map(|part| rust_files(&folder.join(part)))
        {
            files += 1;
            let text = std::fs::read_to_string(&path).while_(path.display())?;
            let short = path.strip_prefix(&workspace.root).unwrap_or(&path);
            wrong.extend(objections(name, short, &text));
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n")).map(|()| files)
}

/// A library or program root must carry `#![forbid(unsafe_code)]`, `deny` where named modules may differ.
fn forbids_unsafe(package: &str, target: &serde_json::Value) -> Outcome<Option<String>> {
    let root = target["src_path"].as_str().unwrap_or_default();
    let kind = target["kind"][0].as_str().unwrap_or_default();
    if package == UNSAFE_CRATE || !["lib", "bin"].contains(&kind) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(root).while_(root)?;
    let has = text.contains("#![forbid(unsafe_code)]")
        || (text.contains("#![deny(unsafe_code)]") && ["tollgate", "perf"].contains(&package));
    Ok((!has).then(|| format!("{root}: `#![forbid(unsafe_code)]` is missing")))
}

fn objections(package: &str, path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shown = path.display();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{shown}: {lines} lines; more than {LINES_MAX} hold two ideas"));
    }
    let excused = package == UNSAFE_CRATE
        || UNSAFE_MODULES.iter().any(|(module, _)| path == Path::new(module));
    if !excused && let Some(line) = text.lines().position(holds_unsafe) {
        found.push(format!("{shown}:{}: `unsafe` outside {UNSAFE_CRATE}", line + 1));
    }
    found
}

/// Does this line open unsafe code? Comments and strings that speak of it do not count.
fn holds_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["{", "impl", "fn", "extern"].iter().any(|next| {
        code.split_once(&format!("unsafe {next}")).is_some_and(|(before, _)| {
            before.matches('"').count() % 2 == 0 && !before.ends_with('"')
        })
    })
}

/// The Rust files below a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{holds_unsafe, objections};
    use std::path::Path;

    #[test]
    fn speaking_of_unsafe_is_not_using_it() {
        assert!(holds_unsafe("    let n = unsafe { libc::recvmmsg(fd) };"));
        assert!(holds_unsafe("unsafe impl Send for Slot {}"));
        assert!(!holds_unsafe("// unsafe { nothing }"));
        assert!(!holds_unsafe("    call(\"unsafe { quoted }\");"));
        assert!(!holds_unsafe("#![forbid(unsafe_code)]"));
    }

    #[test]
    fn unsafe_outside_the_engine_is_found_with_its_line() {
        let text = "fn a() {}\nfn b() { unsafe { c() } }\n";
        let found = objections("media", Path::new("media/src/lib.rs"), text);
        assert_eq!(found, ["media/src/lib.rs:2: `unsafe` outside media-engine"]);
        assert!(objections("media-engine", Path::new("media/engine/src/sys.rs"), text).is_empty());
    }

    #[test]
    fn a_file_of_two_ideas_is_found() {
        let text = "\n".repeat(super::LINES_MAX + 1);
        assert_eq!(objections("sdp", Path::new("media/sdp/src/text.rs"), &text).len(), 1);
    }
}
