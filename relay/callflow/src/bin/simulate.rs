//! Plays many flows by chance, on all cores, and names the seeds that broke a law.
//!
//! `simulate --flows N [--first SEED]` plays N seeds; `simulate --seed SEED` plays one.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "telling what it found is this program's job")]

use callflow::chance::{Played, play};
use callflow::met::Met;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds that broke a law are named up to here; there is one cause for most.
const BROKEN_MAX: usize = 5;
/// A line of progress each so many flows.
const PROGRESS: u64 = 1000;

#[derive(Default)]
struct Tally {
    causes: BTreeMap<String, u64>,
    met: Met,
    broken: Vec<u64>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().ok();
    let range = match words.as_slice() {
        ["--seed", seed] => number(seed).map(|seed| (seed, 1)),
        ["--flows", flows] => number(flows).map(|flows| (0, flows)),
        ["--flows", flows, "--first", first] => number(first).zip(number(flows)),
        _ => None,
    };
    let Some((first, flows)) = range else {
        println!("usage: simulate --flows N [--first SEED] | --seed SEED");
        return ExitCode::from(2);
    };
    let tally = simulate(first, flows);
    println!("{flows} flows, {} calls", tally.causes.values().sum::<u64>());
    for (cause, met) in &tally.causes {
        println!("  {met:>7}  {cause}");
    }
    let met: Vec<String> =
        tally.met.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("met: {}", met.join(", "));
    let missing = tally.met.missing(flows);
    if tally.broken.is_empty() && missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    for missing in missing {
        println!("chance has met too little: {missing}");
    }
    for seed in &tally.broken {
        println!("a law is broken; to play it again: cargo xtask simulate --seed {seed}");
    }
    ExitCode::FAILURE
}

fn simulate(first: u64, flows: u64) -> Tally {
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run(first, flows, &next, &tally));
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    tally.broken.sort_unstable();
    tally
}

/// Plays seeds until none is left, or enough have failed.
fn run(first: u64, flows: u64, next: &AtomicU64, tally: &Mutex<Tally>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= flows {
            return;
        }
        let seed = first.wrapping_add(index);
        let played = std::panic::catch_unwind(|| play(seed));
        let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match played {
            Ok(Played { causes, met }) => {
                causes.into_iter().for_each(|cause| *tally.causes.entry(cause).or_default() += 1);
                tally.met.add(&met);
            }
            Err(_) => tally.broken.push(seed),
        }
        if tally.broken.len() >= BROKEN_MAX {
            return;
        }
        if index > 0 && index.is_multiple_of(PROGRESS) {
            println!("{index} of {flows} flows");
        }
    }
}
