//! Benchmarks of Tollgate: what a packet costs, beside the least that any relay can do, and what a call
//! costs, beside a plain proxy.

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod allocations;
mod clock;
mod cpu;
mod floor;
#[expect(unsafe_code, reason = "functions of a C library")]
mod libsrtp;
#[expect(unsafe_code, reason = "namespaces, priorities and test runs of BPF programs")]
mod machine;
mod media;
mod parse;
mod route;
mod sip;
#[expect(unsafe_code, reason = "system calls that std does not offer")]
mod sys;
mod transcode;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Forwards calls through the media engine, through rtpengine and through the floor in turn
    Media(media::Plan),
    /// Looks for the most calls that one processor carries
    Capacity(media::capacity::Search),
    /// Judges the rows that the packet plane is to reach
    Reach(media::reach::Wish),
    /// Relays as is ordered on standard input: the process that `media` measures
    #[command(hide = true)]
    Relay,
    /// Parses and serialises an INVITE of 1.1 kB, and has rsip do the same in the same run
    Parse(parse::Plan),
    /// Decides where calls go on a host with ten thousand tenants, beside a router that looks at every route
    Route(route::Plan),
    /// Turns speech from each codec to each other, as a transcoder's thread does
    Transcode(transcode::Plan),
    /// Drives calls through `tollgate run`, and through Kamailio as a plain proxy, on the loopback
    Sip(sip::Plan),
    /// Holds many calls for a long time, with re-INVITEs all along, and looks for gaps that Tollgate made
    Soak(sip::soak::Plan),
    /// Loads and reloads a configuration of ten thousand tenants under calls
    Reload(sip::reload::Plan),
}

fn main() -> ExitCode {
    let report = match Arguments::parse().verb {
        Verb::Media(plan) => media::run(&plan).and_then(|report| report.deliver(&plan)),
        Verb::Capacity(search) => {
            media::capacity::run(&search).and_then(|found| found.deliver(&search))
        }
        Verb::Reach(wish) => media::reach::run(&wish).and_then(|reached| reached.deliver(&wish)),
        Verb::Relay => media::relay::run().map(|()| String::new()),
        Verb::Parse(plan) => parse::run(&plan)
            .map(|report| if plan.json { report.json() } else { report.to_string() }),
        Verb::Route(plan) => route::run(&plan)
            .map(|report| if plan.json { report.json() } else { report.to_string() }),
        Verb::Transcode(plan) => transcode::run(&plan)
            .map(|report| if plan.json { report.json() } else { report.to_string() }),
        Verb::Reload(plan) => sip::reload::run(&plan)
            .map(|report| if plan.json { report.json() } else { report.to_string() }),
        Verb::Soak(plan) => sip::soak::run(&plan).and_then(|report| {
            report.verdict()?;
            Ok(if plan.json { report.json() } else { report.to_string() })
        }),
        Verb::Sip(plan) => {
            sip::run(&plan).map(|report| if plan.json { report.json() } else { report.to_string() })
        }
    };
    match report {
        Ok(report) => {
            if !report.is_empty() {
                say(&report);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "figures are what this program is for")]
fn say(report: &str) {
    println!("{}", report.trim_end());
}

#[expect(clippy::print_stderr, reason = "there is nobody else to tell")]
fn complain(error: &str) {
    eprintln!("perf: {error}");
}
