//! The BPF objects that stand committed beside their source: built anew and compared, so that nobody who
//! builds Tollgate needs a compiler for them.

use crate::bench::Bench;
use crate::fail::{Fail, Outcome, While, ensure};
use crate::packages;
use crate::tally::Tally;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The folders with programs, each `NAME.bpf.c` beside its `NAME.bpf.o`.
const FOLDERS: &[&str] = &["media/engine/bpf", "perf/bpf"];

/// Debian 12's; others write other code for the same source, which proves nothing against it.
const COMPILER: &str = "clang version 14.";

/// Builds each object and compares it with the one that is committed.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let missing = packages::provide(packages::BPF, &bench.scratch)?;
    if !missing.is_empty() {
        return Ok(Tally::skip(format!("bpf (needs {})", packages::names(&missing))));
    }
    let judged = has_compiler()?;
    let mut wrong = Vec::new();
    let sources = sources(&bench.workspace.root)?;
    ensure(!sources.is_empty(), || "no BPF program was found".to_owned())?;
    for source in &sources {
        let built = build(bench, source)?;
        let committed = source.with_extension("o");
        let is_same = std::fs::read(&committed).ok().as_deref() == Some(&built);
        println!("    {}: {} octets", committed.display(), built.len());
        if judged && !is_same {
            wrong.push(format!(
                "{} is not what its source gives; `cargo xtask bpf` builds it anew",
                committed.display()
            ));
        }
    }
    if !judged {
        println!("    built, but not compared: the objects were made by {COMPILER}x");
    }
    ensure(wrong.is_empty(), || wrong.join("\n"))?;
    Ok(Tally { passed: sources.len(), ..Tally::default() })
}

/// `cargo xtask bpf`: writes the objects.
pub(crate) fn run() -> ExitCode {
    match Bench::open().and_then(|bench| write(&bench)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            println!("{fail}");
            ExitCode::FAILURE
        }
    }
}

fn write(bench: &Bench) -> Outcome {
    ensure(has_compiler()?, || format!("the objects are made by {COMPILER}x, Debian 12's"))?;
    for source in sources(&bench.workspace.root)? {
        let object = source.with_extension("o");
        std::fs::write(&object, build(bench, &source)?).while_(object.display())?;
        println!("wrote {}", object.display());
    }
    Ok(())
}

fn sources(root: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        for entry in folder.read_dir().while_(folder.display())? {
            let path = entry.while_(folder.display())?.path();
            if path.to_string_lossy().ends_with(".bpf.c") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The object of a source, without a word of where it was built.
fn build(bench: &Bench, source: &Path) -> Outcome<Vec<u8>> {
    let (Some(folder), Some(name)) = (source.parent(), source.file_name()) else {
        return Err(Fail::new("a BPF source without a folder"));
    };
    let object = bench.scratch.join(name).with_extension("o");
    let mut compile = Command::new("clang");
    compile
        .current_dir(folder)
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"])
        // A place on the stack that has held a pointer must hold nothing else, unless the loader has
        // CAP_PERFMON.
        .args(["-mllvm", "-no-stack-coloring", "-mllvm", "-no-stack-slot-sharing"])
        .arg("-fdebug-compilation-dir=.")
        .arg(format!("-ffile-prefix-map={}=.", folder.display()))
        // Where Debian has the headers of the machine's kind, which the target bpf does not know.
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg("-c")
        .arg(name)
        .arg("-o")
        .arg(&object);
    // What the kernel reads is BTF; the rest of what a debugger wants stays out.
    let mut strip = Command::new("llvm-strip");
    strip.arg("-g").arg(&object);
    for (command, log) in [(&mut compile, "bpf-compile.log"), (&mut strip, "bpf-strip.log")] {
        let finished = crate::watched::run(command, &bench.scratch.join(log))?;
        ensure(finished.success(), || finished.account())?;
    }
    std::fs::read(&object).while_(object.display())
}

fn has_compiler() -> Outcome<bool> {
    let said = Command::new("clang").arg("--version").output().while_("starting clang")?;
    Ok(String::from_utf8_lossy(&said.stdout).contains(COMPILER))
}
