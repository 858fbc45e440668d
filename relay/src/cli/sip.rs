//! `tollgate sip`: what Tollgate makes of captured SIP messages.

mod explain;

use super::Exit;
use crate::judgement::{self, Fault, Judged, Stream, Verdict};
use crate::terminal::{complain, print, print_json};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Tell what Tollgate makes of captured SIP messages, and which header is at fault; no daemon needed
#[derive(Debug, clap::Args)]
pub(crate) struct Sip {
    /// Files of one message each, octet for octet as a datagram holds it; - reads standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Read each file as one direction of a TCP connection, and judge every message in it
    #[arg(long)]
    stream: bool,
    /// Print the message as it was understood, the octets at fault, and the answer to a refused one
    #[arg(long)]
    explain: bool,
    /// Print one JSON object per message
    #[arg(long)]
    json: bool,
}

impl Sip {
    pub(crate) fn run(self) -> Exit {
        let mut all_accepted = true;
        for file in &self.files {
            all_accepted &= match self.judge(file) {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.unreadable(file, &error);
                    false
                }
            };
        }
        if all_accepted { Exit::Done } else { Exit::No }
    }

    /// Judges what is in a file; whether all of it was accepted.
    fn judge(&self, file: &Path) -> io::Result<bool> {
        let name = shown(file);
        let from: Box<dyn Read> = match file.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(file)?),
        };
        if !self.stream {
            let judged = judgement::datagram(judgement::read_datagram(from)?);
            self.report(&name, None, &judged);
            return Ok(judged.accepted());
        }
        let mut number = 0;
        let mut accepted = 0;
        let found = judgement::stream(from, |judged| {
            number += 1;
            accepted += usize::from(judged.accepted());
            self.report(&name, Some(number), &judged);
        })?;
        complain(&format!("{name}: {}", summary(&found, accepted)));
        Ok(found.messages > 0 && accepted == found.messages)
    }

    fn report(&self, name: &str, number: Option<usize>, judged: &Judged) {
        if self.json {
            return print_json(&as_json(name, number, judged, self.explain));
        }
        let label = match number {
            Some(number) => format!("{name}:{number}"),
            None if self.files.len() > 1 => format!("{name:width$}", width = self.label_width()),
            None => String::new(),
        };
        print(&format!("{}\n", line(&label, judged)));
        if self.explain {
            print(&explain::as_text(judged));
        }
        if let Verdict::Accept(Some(fault)) = &judged.verdict {
            let label = number.map_or_else(|| name.to_owned(), |_| label);
            complain(&format!("{label}: in order, but answered {}", told(fault)));
        }
    }

    /// So that the reasons stand below each other; a very long path does not push the others out.
    fn label_width(&self) -> usize {
        let widths = self.files.iter().map(|file| shown(file).chars().count());
        widths.filter(|width| *width <= LABEL_WIDTH_MAX).max().unwrap_or_default()
    }

    fn unreadable(&self, file: &Path, error: &io::Error) {
        let name = shown(file);
        if self.json {
            print_json(&json!({ "file": name, "error": error.to_string() }));
        }
        complain(&format!("{name}: cannot be read: {error}\nhint: {}", hint(error)));
    }
}

const LABEL_WIDTH_MAX: usize = 40;

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "is the path right? - stands for standard input",
        io::ErrorKind::PermissionDenied => {
            "may you read it? `tollgate sip -` reads what is piped in"
        }
        io::ErrorKind::IsADirectory => "name the files in it, as in DIR/*.sip",
        _ => "a file must hold the message as it was on the wire",
    }
}

/// A path without what a terminal would act on.
fn shown(file: &Path) -> String {
    explain::readable(file.as_os_str().as_encoded_bytes())
}

/// The verdict first, so that a program can read it; what it is about in the middle.
fn line(label: &str, judged: &Judged) -> String {
    let (verdict, about) = match &judged.verdict {
        Verdict::Accept(_) => ("accept".to_owned(), String::new()),
        Verdict::Reject(fault) => {
            (format!("reject {}", fault.status.unwrap_or_default()), about(fault))
        }
        Verdict::Discard(fault) => ("discard".to_owned(), about(fault)),
    };
    let text = match label {
        "" => format!("{verdict} {about}"),
        _ => format!("{verdict:10}  {label}  {about}"),
    };
    text.trim_end().to_owned()
}

/// What is wrong, in which header, at which octet.
fn about(fault: &Fault) -> String {
    match &fault.header {
        Some(header) => format!("{} ({header}, octet {})", fault.what, fault.offset),
        None => format!("{} (octet {})", fault.what, fault.offset),
    }
}

fn told(fault: &Fault) -> String {
    format!("{}: {}", fault.status.unwrap_or_default(), about(fault))
}

fn summary(found: &Stream, accepted: usize) -> String {
    let Stream { messages, keepalives, lost } = found;
    let of = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let messages = of(*messages, "message");
    let mut text = format!("{messages}, {accepted} accepted, {}", of(*keepalives, "keepalive"));
    if *lost {
        text.push_str("; framing was lost there, and the connection with it");
    }
    text
}

fn as_json(name: &str, number: Option<usize>, judged: &Judged, explain: bool) -> Value {
    let mut object = json!({ "file": name });
    if let Some(number) = number {
        object["message"] = number.into();
        object["start"] = judged.start.into();
    }
    let (word, fault) = match &judged.verdict {
        Verdict::Accept(fault) => ("accept", fault.as_ref()),
        Verdict::Reject(fault) => ("reject", Some(fault)),
        Verdict::Discard(fault) => ("discard", Some(fault)),
    };
    object["verdict"] = word.into();
    if let Some(fault) = fault {
        object["status"] = fault.status.into();
        object["reason"] = fault.what.as_str().into();
        object["header"] = fault.header.as_deref().into();
        object["offset"] = fault.offset.into();
        object["answered"] = judged.answer.is_some().into();
    }
    if explain {
        object["parsed"] = explain::as_json(judged);
    }
    object
}
