//! `tollgate sip`: the torture corpus through the daemon's judgement, streams with bad messages in
//! them, and the verb as a process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

use b2bua::SUPPORTED;
use bytes::Bytes;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tollgate::judgement::{self, Judged, Stream, Verdict};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip-core/tests/corpus")
}

/// File, what is expected, and the response, of each row.
fn rows() -> Vec<[String; 3]> {
    let index = fs::read_to_string(corpus().join("index.tsv")).unwrap();
    let field = |line: &str, n: usize| line.split('\t').nth(n).unwrap().to_owned();
    index.lines().skip(1).map(|line| [0, 3, 4].map(|n| field(line, n))).collect()
}

/// As the line begins: `accept`, `reject STATUS`, `discard`.
fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept(_) => "accept".to_owned(),
        Verdict::Reject(fault) => format!("reject {}", fault.status.unwrap()),
        Verdict::Discard(_) => "discard".to_owned(),
    }
}

#[test]
fn every_message_of_the_torture_corpus_is_judged_as_listed() {
    let mut wrong = Vec::new();
    for [file, expect, response] in rows() {
        let bytes = Bytes::from(fs::read(corpus().join(&file)).unwrap());
        let judged = judgement::datagram(bytes.clone());
        let got = words(&judged.verdict);
        let fits = match (&*expect, &*response) {
            // It requires PRACK.
            _ if file == "extra/session-timer-rel.sip" => {
                judged.accepted() == SUPPORTED.extensions.contains(&"100rel")
            }
            ("valid", _) => got == "accept",
            ("reject", "discard") => got == "discard",
            ("reject", status) => got == format!("reject {status}"),
            ("tolerant", status) => {
                got == "accept" || got == "discard" || got == format!("reject {status}")
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!("{file}: {expect} {response}, but {:?}", judged.verdict));
        }
        if let Verdict::Reject(fault) | Verdict::Discard(fault) = &judged.verdict {
            assert!(fault.offset <= bytes.len(), "{file}: {fault:?}");
            // A line without a name has none; what is no message has no headers.
            let nameless = ["extra/empty-header-name.sip", "extra/fold-first-header.sip"];
            let keepalive = file == "extra/keepalive-crlfcrlf.sip";
            let named = fault.header.is_some();
            assert_eq!(named, !nameless.contains(&&*file) && !keepalive, "{file}: {fault:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn request(call_id: &str, method: &str) -> String {
    format!(
        "{method} sip:+4930123450@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.9>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn on_stream(octets: &[u8]) -> (Stream, Vec<Judged>) {
    let mut all = Vec::new();
    let found = judgement::stream(octets, |judged| all.push(judged)).unwrap();
    (found, all)
}

#[test]
fn bad_message_on_a_stream_is_refused_and_the_next_is_found_at_its_octet() {
    let good = request("good", "OPTIONS");
    let bad = request("bad", "OPTIONS").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    let stream = format!("{good}\r\n\r\n{bad}{good}\r\n\r\n\r\n{good}");
    let (found, all) = on_stream(stream.as_bytes());
    assert_eq!(found, Stream { messages: 4, keepalives: 2, lost: false });
    let verdicts: Vec<_> = all.iter().map(|judged| words(&judged.verdict)).collect();
    assert_eq!(verdicts, ["accept", "reject 400", "accept", "accept"]);
    let starts: Vec<_> = all.iter().map(|judged| judged.start).collect();
    let begin = good.len() + 4;
    let last = stream.len() - good.len();
    assert_eq!(starts, [0, begin, begin + bad.len(), last]);
    assert_eq!(all[1].answer.as_ref().unwrap().status, 400);
    let Verdict::Reject(fault) = &all[1].verdict else { unreachable!() };
    assert_eq!(fault.header.as_deref(), Some("CSeq"));
}

#[test]
fn stream_that_is_lost_ends_there_with_the_answer_the_daemon_gives() {
    let good = request("good", "OPTIONS");
    let endless = request("endless", "OPTIONS").replace("Content-Length: 0\r\n", "");
    let (found, all) = on_stream(format!("{good}{endless}{good}").as_bytes());
    assert_eq!(found, Stream { messages: 2, keepalives: 0, lost: true });
    assert_eq!(all[1].start, good.len());
    assert_eq!(all[1].answer.as_ref().unwrap().status, 400);
    let Verdict::Reject(fault) = &all[1].verdict else { unreachable!() };
    assert_eq!(fault.header.as_deref(), Some("Content-Length"));
}

#[test]
fn stream_cut_off_in_a_message_says_so_and_an_empty_one_too() {
    let good = request("good", "OPTIONS");
    let cut = &good[..good.len() - 10];
    let (found, all) = on_stream(format!("{good}{cut}").as_bytes());
    assert_eq!((found.messages, found.lost), (2, false));
    assert_eq!((all[1].start, words(&all[1].verdict).as_str()), (good.len(), "discard"));
    for empty in ["", "\r\n\r\n"] {
        let (found, all) = on_stream(empty.as_bytes());
        assert_eq!((found.messages, all.len()), (0, 1));
        assert!(!all[0].accepted());
    }
}

#[test]
fn method_of_nobody_is_in_order_and_says_what_it_is_answered_with() {
    for (method, status) in [("PUBLISH", 405), ("DANCE", 501)] {
        let judged = judgement::datagram(request("m", method).into());
        let Verdict::Accept(Some(fault)) = &judged.verdict else { unreachable!() };
        assert_eq!(fault.status, Some(status));
        assert_eq!(judged.answer.unwrap().status, status);
    }
}

/// A folder of files, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-sip-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, octets: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, octets).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tollgate(arguments: &[&str], stdin: &[u8]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("sip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may read nothing of it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn one_file_gives_one_line_and_the_exit_code_says_whether_it_was_accepted() {
    let folder = Folder::new("one");
    let good = folder.file("good.sip", request("g", "OPTIONS"));
    assert_eq!(tollgate(&[&good], b""), (Some(0), "accept\n".to_owned(), String::new()));
    let bad = request("b", "OPTIONS").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    let at = bad.find("1 INVITE").unwrap();
    let line = format!("reject 400 CSeq has another method than the request (CSeq, octet {at})\n");
    assert_eq!(tollgate(&["-"], bad.as_bytes()), (Some(1), line.clone(), String::new()));

    let bad = folder.file("bad.sip", bad);
    let (code, stdout, _) = tollgate(&[&good, &bad], b"");
    let about = line.strip_prefix("reject 400 ").unwrap();
    let padded = format!("{good:0$}", bad.len());
    assert_eq!(
        (code, stdout),
        (
            Some(1),
            format!("accept      {}\nreject 400  {bad:1$}  {about}", padded.trim_end(), good.len())
        )
    );
}

#[test]
fn what_is_no_message_has_an_outcome_and_what_cannot_be_read_too() {
    let folder = Folder::new("junk");
    let junk: Vec<u8> =
        (0..40_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, octets, starts) in [
        ("empty", vec![], "discard "),
        ("junk", junk, "reject 400 "),
        ("huge", vec![b'x'; 3 << 20], "reject 513 "),
        ("zeros", vec![0; 4], "discard "),
    ] {
        let file = folder.file(name, octets);
        for stream in [false, true] {
            let flag: &[&str] = if stream { &["--stream", "--explain"] } else { &["--explain"] };
            let (code, stdout, _) = tollgate(&[flag, &[&file]].concat(), b"");
            assert_eq!(code, Some(1), "{name}");
            assert!(stream || stdout.starts_with(starts), "{name}: {stdout}");
            assert!(!stdout.is_empty() && stdout.is_ascii(), "{name}: {stdout}");
        }
    }
    let missing = folder.0.join("missing").to_str().unwrap().to_owned();
    for unreadable in [missing.as_str(), folder.0.to_str().unwrap()] {
        let (code, stdout, stderr) = tollgate(&[unreadable], b"");
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.starts_with(&format!("{unreadable}: cannot be read: ")), "{stderr}");
        assert!(stderr.contains("\nhint: "), "{stderr}");
    }
    assert_eq!(tollgate(&[], b"").0, Some(2));
}

#[test]
fn explanation_shows_the_parts_the_octets_at_fault_and_the_answer() {
    let corpus = corpus();
    let invite = corpus.join("extra/teams-invite.sip");
    let (code, stdout, _) = tollgate(&["--explain", invite.to_str().unwrap()], b"");
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\n  Request-URI "), "{stdout}");
    assert!(stdout.contains(" octets of application/sdp\n"), "{stdout}");
    let bad = request("b", "OPTIONS").replace("Max-Forwards: 70", "Max-Forwards: 700");
    let (_, stdout, _) = tollgate(&["--explain", "-"], bad.as_bytes());
    let at = bad.find("700").unwrap();
    let shown =
        format!("  at octet {at}:\n    Max-Forwards: 700\n                  ^\n  answer:\n");
    assert!(stdout.contains(&shown), "{stdout}");
    assert!(stdout.contains("    SIP/2.0 400 Max-Forwards is not in 0 to 255\n"), "{stdout}");
    // A terminal is not told what to do.
    let evil = request("e\x1b[2J", "OPTIONS");
    let (_, stdout, _) = tollgate(&["--explain", "-"], evil.as_bytes());
    assert!(!stdout.contains('\x1b'), "{stdout}");
}

#[test]
fn json_has_an_object_for_each_message() {
    let bad = request("b", "OPTIONS").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    let stream = format!("{}{bad}", request("g", "OPTIONS"));
    let (code, stdout, _) = tollgate(&["--json", "--stream", "--explain", "-"], stream.as_bytes());
    assert_eq!(code, Some(1));
    let objects: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["verdict"], "accept");
    assert_eq!(objects[0]["parsed"]["method"], "OPTIONS");
    assert_eq!(objects[0]["parsed"]["headers"][0]["name"], "Via");
    assert_eq!(objects[1]["verdict"], "reject");
    assert_eq!(objects[1]["message"], 2);
    assert_eq!(objects[1]["status"], 400);
    assert_eq!(objects[1]["header"], "CSeq");
    assert_eq!(objects[1]["answered"], true);
}
