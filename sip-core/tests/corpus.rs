//! Every message of the torture corpus, with the outcome its index row asks for.

#![expect(clippy::unwrap_used, reason = "a corpus that cannot be read fails the test")]

use bytes::Bytes;
use sip_core::message::{Message, Method, Request, Supported, judge};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Rows that do not come out as the index says, each with the reason. Empty, and meant to stay so.
const KNOWN_GAPS: &[(&str, &str)] = &[];

#[test]
fn every_row_of_the_torture_corpus_comes_out_as_listed() {
    let mut failures = String::new();
    let mut rows = 0;
    for row in rows_of_index() {
        rows += 1;
        let wrong = row.outcome().err();
        let gap = KNOWN_GAPS.iter().find(|(file, _)| *file == row.file);
        match (wrong, gap) {
            (Some(wrong), None) => writeln!(failures, "{}: {wrong}", row.file).unwrap(),
            (None, Some(_)) => writeln!(failures, "{}: no gap any more", row.file).unwrap(),
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(rows, 133, "rows were lost");
}

#[test]
fn every_refusal_carries_an_answer_if_the_request_can_be_matched() {
    // No Via, From, To or Call-ID; or lines that only LF ends; or no request at all.
    let unanswerable = [
        "rfc4475/insuf.sip",
        "extra/no-via.sip",
        "extra/fold-first-header.sip",
        "extra/lf-only.sip",
    ];
    // The field at fault is echoed as it came, so our answer is no better.
    let echoed = [
        "rfc4475/badinv01.sip",
        "rfc4475/badvers.sip",
        "rfc4475/quotbal.sip",
        "rfc4475/scalar02.sip",
        "rfc5118/ipv6-bug-abnf-3-colons.sip",
        "extra/cseq-nonnum.sip",
    ];
    for row in rows_of_index() {
        let Err(error) = Message::parse(row.bytes()) else { continue };
        let file = &*row.file;
        let Some(status) = error.status else {
            assert!(error.response.is_none(), "{file}: an answer to what must be dropped");
            continue;
        };
        if unanswerable.contains(&file) {
            assert!(error.response.is_none(), "{file}: an answer nobody can match");
            continue;
        }
        let response = error.response.unwrap_or_else(|| panic!("{file}: {}", error.what));
        assert_eq!(response.status, status, "{file}");
        let again = Message::parse(Message::Response(*response).to_bytes());
        match again {
            Ok(again) => assert!(again.headers().to().tag().is_some(), "{file}: no To tag"),
            Err(error) => assert!(echoed.contains(&file), "{file}: {error}"),
        }
    }
}

struct Row {
    file: String,
    expect: String,
    response: String,
}

impl Row {
    fn bytes(&self) -> Bytes {
        std::fs::read(corpus().join(&self.file)).unwrap().into()
    }

    fn outcome(&self) -> Result<(), String> {
        let bytes = self.bytes();
        let parsed = Message::parse(bytes.clone());
        let status = self.response.parse::<u16>().ok();
        let judged_later = matches!(status, Some(405 | 406 | 415 | 416 | 420 | 501));
        match (self.expect.as_str(), parsed) {
            ("valid", Ok(message)) => {
                round_trips(&bytes, &message)?;
                // Who may register is not for a message to say.
                if status.is_some() && status != Some(401) {
                    judged(&message, status)
                } else {
                    Ok(())
                }
            }
            ("tolerant", Ok(message)) => round_trips(&bytes, &message),
            ("reject", Ok(message)) if judged_later => {
                round_trips(&bytes, &message)?;
                judged(&message, status)
            }
            ("tolerant", Err(error)) if status.is_none() && self.response == "ping" => {
                if error.status.is_none() { Ok(()) } else { Err(format!("{error:?}")) }
            }
            ("tolerant", Err(error)) | ("reject", Err(error)) if !judged_later => {
                if error.status == status { Ok(()) } else { Err(format!("{error:?}")) }
            }
            (_, Ok(_)) => Err("parses".to_owned()),
            (_, Err(error)) => Err(format!("does not parse: {error:?}")),
        }
    }
}

/// A datagram may hold octets after its Content-Length; all before them is written back.
fn round_trips(bytes: &Bytes, message: &Message) -> Result<(), String> {
    let written = message.to_bytes();
    if !written.is_empty() && bytes.starts_with(&written) {
        return Ok(());
    }
    Err(format!("written back as {}", written.escape_ascii()))
}

fn judged(message: &Message, status: Option<u16>) -> Result<(), String> {
    let Message::Request(request) = message else { return Err("is a response".to_owned()) };
    let got = judge(request, &SUPPORTED).err().map(|rejection| rejection.status());
    if got == status { Ok(()) } else { Err(format!("judged {got:?}")) }
}

const SUPPORTED: Supported<'_> = Supported {
    methods: &[
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Options,
        Method::Register,
    ],
    schemes: &["sip", "sips", "tel"],
    extensions: &["100rel", "timer"],
    content_types: &["application/sdp", "multipart/mixed"],
    unread_types: &["text/plain"],
    forwards: true,
};

#[test]
fn what_is_valid_without_a_status_is_not_judged_away() {
    for row in rows_of_index().filter(|row| row.expect == "valid" && row.response == "-") {
        let Ok(Message::Request(request)) = Message::parse(row.bytes()) else { continue };
        let all = Supported { methods: std::slice::from_ref(&request.method), ..SUPPORTED };
        let verdict = judge(&request, &all);
        let known = matches!(request.method, Method::Invite | Method::Options | Method::Register);
        if known {
            assert!(verdict.is_ok(), "{}: {verdict:?}", row.file);
        }
    }
}

#[test]
fn known_method_that_is_not_served_is_405_with_allow() {
    let request = Request::new(Method::Publish, "sip:a@b");
    let rejection = judge(&request, &SUPPORTED).unwrap_err();
    let response = rejection.response(&request, &SUPPORTED, Some(b"t"));
    assert_eq!(response.status, 405);
    let allow = response.headers.get(sip_core::Name::Allow).unwrap();
    assert_eq!(allow, b"INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER");
}

fn rows_of_index() -> impl Iterator<Item = Row> {
    let index = std::fs::read_to_string(corpus().join("index.tsv")).unwrap();
    let rows: Vec<_> = index
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
            Row { file: fields[0].clone(), expect: fields[3].clone(), response: fields[4].clone() }
        })
        .collect();
    rows.into_iter()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}
