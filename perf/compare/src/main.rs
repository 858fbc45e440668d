//! sip-core beside other SIP parsers in one run: the INVITE of 1.1 kB against the clock, and the torture
//! corpus.

#![forbid(unsafe_code)]

use bytes::Bytes;
use ezk_sip_types::Headers;
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use std::error::Error;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Reads a message; its body, where it parses.
type Read = fn(&Bytes) -> Option<Vec<u8>>;

const PARSERS: &[(&str, Read)] =
    &[("sip-core", sip_core), ("rsip", rsip), ("rsipstack", rsipstack), ("ezk-sip-types", ezk)];

fn main() -> Result<(), Box<dyn Error>> {
    let invite = Bytes::from(std::fs::read(corpus().join("extra/bench-invite.sip"))?);
    println!("INVITE of {} octets: parse, quickest of {ROUNDS} rounds in turn", invite.len());
    let mut rounds = vec![Vec::new(); PARSERS.len()];
    for _ in 0..ROUNDS {
        for (times, work) in rounds.iter_mut().zip(TIMED) {
            times.push(timed(*work, &invite));
        }
    }
    let quickest: Vec<f64> = rounds.into_iter().map(least).collect();
    for ((name, _), ns) in PARSERS.iter().zip(&quickest) {
        println!("  {name:14} {ns:8.0} ns  {:5.1} x", ns / quickest[0]);
    }
    std::panic::set_hook(Box::new(|_| ()));
    println!("torture corpus");
    for (name, read) in PARSERS {
        let mut tally = Tally::default();
        for row in rows()? {
            tally.take(&row, *read);
        }
        println!("  {name:14} {tally:?}");
    }
    Ok(())
}

/// The quickest counts: whatever else the machine does only adds.
const ROUNDS: usize = 300;
const MESSAGES: u32 = 1_000;

/// Parses only; nothing is copied out.
const TIMED: &[fn(&Bytes)] = &[
    |octets| drop(black_box(::sip_core::Message::parse(octets.clone()))),
    |octets| drop(black_box(::rsip::SipMessage::try_from(&octets[..]))),
    |octets| drop(black_box(::rsipstack::sip::SipMessage::try_from(&octets[..]))),
    |octets| drop(black_box(ezk_read(octets))),
];

fn timed(work: fn(&Bytes), octets: &Bytes) -> f64 {
    let began = Instant::now();
    for _ in 0..MESSAGES {
        work(black_box(octets));
    }
    began.elapsed().as_nanos() as f64 / f64::from(MESSAGES)
}

fn least(values: Vec<f64>) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}

fn sip_core(octets: &Bytes) -> Option<Vec<u8>> {
    ::sip_core::Message::parse(octets.clone()).ok().map(|message| message.body().to_vec())
}

fn rsip(octets: &Bytes) -> Option<Vec<u8>> {
    ::rsip::SipMessage::try_from(&octets[..]).ok().map(|message| message.body().clone())
}

fn rsipstack(octets: &Bytes) -> Option<Vec<u8>> {
    use ::rsipstack::sip::SipMessage;
    match SipMessage::try_from(&octets[..]).ok()? {
        SipMessage::Request(request) => Some(request.body),
        SipMessage::Response(response) => Some(response.body),
    }
}

fn ezk(octets: &Bytes) -> Option<Vec<u8>> {
    let (_, head_end) = ezk_read(octets)?;
    Some(octets[head_end..].to_vec())
}

/// As its endpoint does: start line and each header line, the values left for later.
fn ezk_read(octets: &Bytes) -> Option<(Headers, usize)> {
    let mut lines = PullParser::new(octets, 0);
    let start = std::str::from_utf8(lines.next()?.ok()?).ok()?;
    MessageLine::parse(octets)(start).ok()?;
    let mut headers = Headers::new();
    for line in &mut lines {
        let line = std::str::from_utf8(line.ok()?).ok()?;
        let (_, line) = Line::parse(octets, line).ok()?;
        headers.insert(line.name, line.value);
    }
    Some((headers, lines.head_end()))
}

struct Row {
    octets: Bytes,
    expect: String,
    /// Refused by the parser itself, not by who judges what was parsed.
    by_parser: bool,
}

fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let index = std::fs::read_to_string(corpus().join("index.tsv"))?;
    let rows = index.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        Ok(Row {
            octets: std::fs::read(corpus().join(fields[0]))?.into(),
            expect: fields[3].to_owned(),
            by_parser: matches!(fields[4], "400" | "505" | "513" | "discard"),
        })
    });
    rows.collect()
}

/// How a parser did: the first three are its defects.
#[derive(Debug, Default)]
struct Tally {
    refused_though_valid: usize,
    body_changed: usize,
    panicked: usize,
    accepted_though_malformed: usize,
    right: usize,
}

impl Tally {
    fn take(&mut self, row: &Row, read: Read) {
        let Ok(body) = catch_unwind(AssertUnwindSafe(|| read(&row.octets))) else {
            self.panicked += 1;
            return;
        };
        let must_parse = row.expect == "valid" || (row.expect == "reject" && !row.by_parser);
        match body {
            None if must_parse => self.refused_though_valid += 1,
            Some(_) if row.expect == "reject" && row.by_parser => {
                self.accepted_though_malformed += 1
            }
            // sip-core's body is the reference: the corpus test holds it against the octets.
            Some(body) if must_parse && Some(&body) != sip_core(&row.octets).as_ref() => {
                self.body_changed += 1;
            }
            _ => self.right += 1,
        }
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sip-core/tests/corpus")
}
