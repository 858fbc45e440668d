//! Names on the way to endpoints, with DNS played by hand.

mod directory;
mod order;

use super::{Answer, Directory, Family, Kind, Output, Question, Record, Sought};
use crate::plan::Transport;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[expect(clippy::disallowed_methods, reason = "a beginning to count from")]
fn beginning() -> Instant {
    Instant::now()
}

/// A carrier's name without a port.
fn by_service(transport: Transport) -> Sought {
    Sought { host: "carrier.example".into(), port: None, transport, family: Family::V4 }
}

/// One of Microsoft's names.
fn by_port(host: &str) -> Sought {
    Sought { host: host.into(), port: Some(5061), transport: Transport::Tls, family: Family::V4 }
}

fn srv(priority: u16, weight: u16, port: u16, host: &str) -> Record {
    Record::Srv { priority, weight, port, host: host.into() }
}

fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Record {
    Record::Naptr {
        order,
        preference,
        flags: "s".into(),
        service: service.into(),
        replacement: replacement.into(),
    }
}

fn address(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a name server has, and a directory that asks it.
struct Zone {
    directory: Directory,
    records: BTreeMap<(Kind, String), Answer>,
    now: Instant,
    asked: Vec<String>,
    outputs: Vec<Output>,
}

impl Zone {
    fn new() -> Self {
        Self {
            directory: Directory::new(),
            records: BTreeMap::new(),
            now: beginning(),
            asked: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn has(&mut self, kind: Kind, name: &str, ttl: u64, records: &[Record]) -> &mut Self {
        let answer = Answer::Records { records: records.to_vec(), ttl: secs(ttl) };
        self.answers(kind, name, answer)
    }

    fn answers(&mut self, kind: Kind, name: &str, answer: Answer) -> &mut Self {
        self.records.insert((kind, name.to_owned()), answer);
        self
    }

    fn fails(&mut self) {
        for answer in self.records.values_mut() {
            *answer = Answer::Failed { why: "SERVFAIL".into() };
        }
    }

    fn follow(&mut self, wanted: &[Sought]) {
        self.directory.follow(self.now, wanted.to_vec(), BTreeMap::new());
        self.settle();
    }

    fn follow_with(&mut self, wanted: &[Sought], fixed: &[(&str, &str)]) {
        let fixed = fixed.iter().map(|(name, to)| {
            let to: IpAddr = to.parse().unwrap();
            ((*name).to_owned(), vec![to])
        });
        self.directory.follow(self.now, wanted.to_vec(), fixed.collect());
        self.settle();
    }

    /// Answers every question at once.
    fn settle(&mut self) {
        while let Some(output) = self.directory.poll_output() {
            if let Output::Ask(question) = output {
                self.asked.push(question.to_string());
                let Question { name, kind } = question.clone();
                let answer = self.records.get(&(kind, name));
                let answer = answer.cloned().unwrap_or(Answer::Nothing { ttl: None });
                self.directory.answered(self.now, &question, answer);
            } else {
                self.outputs.push(output);
            }
        }
    }

    /// Lets time pass.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.directory.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now, "a deadline does not move");
            self.now = due;
            self.directory.handle_timeout(due);
            self.settle();
        }
        self.now = end;
    }

    /// The endpoints told last, in the order of the records.
    fn endpoints(&self) -> Vec<String> {
        let told = self.outputs.iter().rev().find_map(|output| match output {
            Output::Located { located, .. } => Some(located),
            _ => None,
        });
        told.expect("the name was located").endpoints().map(|it| it.to_string()).collect()
    }

    fn took_asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    fn took_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }
}
