//! Counts instructions of small pieces of work under valgrind and compares them with the committed
//! table: unlike nanoseconds they are the same on a busy machine.

use crate::bench::Bench;
use crate::cargo::cargo;
use crate::fail::{Fail, Outcome, While, ensure};
use crate::packages;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// What each piece of work may take, with the compiler that the table was made with.
const TABLE: &str = "perf/instructions.tsv";

/// Above the table by more than this, the check fails; below it by as much, it asks for a new table,
/// so that what was gained is not lost unseen.
const TOLERANCE_PERCENT: f64 = 3.0;

/// The second run does this much more than the first: start and end of the program cancel out.
const TIMES: [u32; 2] = [100, 1100];

/// Set to write the table anew.
const BLESS: &str = "TOLLGATE_BLESS";

pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let missing = packages::provide(packages::INSTRUCTIONS, &bench.scratch)?;
    if !missing.is_empty() {
        let names = packages::names(&missing);
        return Ok(Tally::skip(format!("instructions (needs {names})")));
    }
    let words = ["build", "--release", "--locked", "-p", "perf", "--bin", "instructions"];
    let built = bench.watch(&mut cargo(&words), "instructions-build.log")?;
    ensure(built.success(), || built.account())?;
    let program = bench.workspace.release_binary().with_file_name("instructions");
    let names = Command::new(&program).output().while_(program.display())?;
    let mut counted = BTreeMap::new();
    for name in String::from_utf8_lossy(&names.stdout).lines() {
        counted.insert(name.to_owned(), count(bench, &program, name)?);
    }
    let compiler = compiler()?;
    let path = bench.workspace.root.join(TABLE);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, Table { compiler, counts: counted }.write())
            .while_(path.display())?;
        println!("    wrote {TABLE}");
        return Ok(Tally::pass());
    }
    let table = std::fs::read_to_string(&path).while_(path.display())?;
    let table = Table::read(&table)?;
    for (name, count) in &counted {
        let known = table.counts.get(name).copied().unwrap_or_default();
        println!("    {name:24} {count:>8}  {:+.1} %", percent(known, *count));
    }
    if table.compiler != compiler {
        println!("    not judged: {TABLE} was made with {}, this is {compiler}", table.compiler);
        return Ok(Tally::pass());
    }
    let wrong = table.objections(&counted);
    ensure(wrong.is_empty(), || wrong.join("\n"))?;
    Ok(Tally { passed: counted.len(), ..Tally::default() })
}

/// Instructions that one piece of work takes.
fn count(bench: &Bench, program: &Path, name: &str) -> Outcome<u64> {
    let mut totals = [0; 2];
    for (total, times) in totals.iter_mut().zip(TIMES) {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(program).args([name, &times.to_string()]);
        let finished = bench.watch(&mut command, &format!("instructions-{name}.log"))?;
        let collected = collected(&finished.said).filter(|_| finished.success());
        *total = collected.ok_or_else(|| Fail(finished.account()))?;
    }
    let [few, many] = totals;
    Ok(many.saturating_sub(few) / u64::from(TIMES[1] - TIMES[0]))
}

/// The number in callgrind's line `Collected : N`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn compiler() -> Outcome<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().while_("starting rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(format!("{said}, {}", std::env::consts::ARCH))
}

#[derive(Debug, PartialEq, Eq)]
struct Table {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Table {
    fn read(text: &str) -> Outcome<Self> {
        let mut lines = text.lines();
        let compiler = lines.next().and_then(|line| line.strip_prefix("# "));
        let counts = lines.map(|line| {
            let (name, count) = line.split_once('\t')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        match (compiler, counts.collect()) {
            (Some(compiler), Some(counts)) => Ok(Self { compiler: compiler.to_owned(), counts }),
            _ => Err(Fail(format!("{TABLE} is no table; {BLESS}=1 writes it anew"))),
        }
    }

    fn write(&self) -> String {
        let mut text = format!("# {}\n", self.compiler);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name}\t{count}");
        }
        text
    }

    /// What grew, what fell clearly, and what is in one of both only.
    fn objections(&self, counted: &BTreeMap<String, u64>) -> Vec<String> {
        let mut found = Vec::new();
        for (name, count) in counted {
            let Some(known) = self.counts.get(name) else {
                found.push(format!("{name} is not in {TABLE}; {BLESS}=1 writes it"));
                continue;
            };
            let change = percent(*known, *count);
            if change > TOLERANCE_PERCENT {
                found.push(format!(
                    "{name} takes {count} instructions, {change:+.1} % over the {known} in {TABLE}; if it is worth that, {BLESS}=1 writes it and the commit says why"
                ));
            } else if change < -TOLERANCE_PERCENT {
                found.push(format!(
                    "{name} takes {count} instructions only, {change:+.1} %: {BLESS}=1 keeps the gain in {TABLE}"
                ));
            }
        }
        let gone = self.counts.keys().filter(|name| !counted.contains_key(*name));
        found.extend(gone.map(|name| format!("{name} in {TABLE} is counted no more")));
        found
    }
}

fn percent(known: u64, count: u64) -> f64 {
    (count as f64 / known as f64 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::{Table, collected};
    use std::collections::BTreeMap;

    fn counts(parse: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("parse".to_owned(), parse)])
    }

    #[test]
    fn more_than_three_percent_either_way_is_told() {
        let table = Table { compiler: "rustc".to_owned(), counts: counts(10_000) };
        assert!(table.objections(&counts(10_299)).is_empty());
        assert!(table.objections(&counts(9_701)).is_empty());
        assert!(table.objections(&counts(10_301))[0].contains("+3.0 % over the 10000"));
        assert!(table.objections(&counts(9_600))[0].contains("keeps the gain"));
        assert_eq!(table.objections(&BTreeMap::new()).len(), 1);
        assert_eq!(Table { counts: BTreeMap::new(), ..table }.objections(&counts(1)).len(), 1);
    }

    #[test]
    fn table_is_read_as_it_was_written() {
        let table = Table { compiler: "rustc 1.0.0, x".to_owned(), counts: counts(7) };
        assert_eq!(Table::read(&table.write()).ok(), Some(table));
        assert!(Table::read("parse\t7\n").is_err());
        assert!(Table::read("# rustc\nparse\tmany\n").is_err());
    }

    #[test]
    fn callgrind_says_the_count_in_its_last_words() {
        assert_eq!(collected("==7== \n==7== Collected : 123456\n==7== \n"), Some(123_456));
        assert_eq!(collected("==7== Collected : \n"), None);
    }
}
