//! Cutting a stream: any split gives the same messages, and what cannot be cut is lost, not guessed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test input that is refused fails the test"
)]

mod common;
mod invite;

use common::corpus_messages;
use invite::INVITE;
use proptest::prelude::*;
use sip_core::framing::{Framed, Framer, FramingError, MAX_BUFFERED};
use sip_core::message::{MAX_BODY, MAX_HEAD, Message};

/// What came out, to compare: messages as they are, the rest as words.
fn drain(framer: &mut Framer, seen: &mut Vec<Vec<u8>>) {
    for framed in framer {
        seen.push(match framed {
            Framed::Message(bytes) => bytes.to_vec(),
            Framed::Ping => b"ping".to_vec(),
            Framed::Pong => b"pong".to_vec(),
            Framed::Lost(error) => format!("lost: {}", error.what).into_bytes(),
        });
    }
}

fn whole(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut framer = Framer::new();
    let mut seen = Vec::new();
    framer.push(stream).unwrap();
    drain(&mut framer, &mut seen);
    seen
}

fn in_pieces(stream: &[u8], mut next_len: impl FnMut() -> usize) -> Vec<Vec<u8>> {
    let mut framer = Framer::new();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(next_len().clamp(1, rest.len()));
        rest = after;
        if framer.push(piece).is_err() {
            break;
        }
        drain(&mut framer, &mut seen);
    }
    seen
}

fn with_length(length: &str) -> String {
    INVITE.replace("l: 5\r\n", length)
}

fn lost(stream: &str) -> sip_core::ParseError {
    let mut framer = Framer::new();
    framer.push(stream.as_bytes()).unwrap();
    let Some(Framed::Lost(error)) = framer.next() else { panic!("not lost: {stream}") };
    assert!(framer.next().is_none());
    assert_eq!(framer.push(b"x"), Err(FramingError::Lost));
    error
}

/// TDR-CON-008.
#[test]
fn messages_back_to_back_are_two() {
    let stream = format!("{INVITE}{INVITE}");
    assert_eq!(whole(stream.as_bytes()), [INVITE.as_bytes(), INVITE.as_bytes()]);
}

/// TDR-IN-013.
#[test]
fn message_of_sixty_four_kilobytes_in_small_pieces_is_one() {
    let body = "x".repeat(64 * 1024);
    let long = INVITE
        .replace("l: 5\r\n", &format!("Content-Length: {}\r\n", body.len()))
        .replace("v=0\r\n", &body);
    let stream = format!("{long}{INVITE}");
    let got = in_pieces(stream.as_bytes(), || 1_400);
    assert_eq!(got, [long.as_bytes(), INVITE.as_bytes()]);
    assert!(Message::parse(long.into()).is_ok());
}

#[test]
fn body_that_looks_like_a_message_is_a_body() {
    let inner = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    let outer = INVITE
        .replace("l: 5\r\n", &format!("Content-Length \t:\r\n {}\r\n", inner.len()))
        .replace("v=0\r\n", inner);
    assert_eq!(whole(outer.as_bytes()), [outer.as_bytes()]);
}

#[test]
fn content_length_named_in_another_header_does_not_count() {
    let text = with_length("Subject: x\r\n Content-Length: 99\r\nX-l: 98\r\nL : 005\r\n");
    assert_eq!(whole(text.as_bytes()), [text.as_bytes()]);
}

#[test]
fn message_that_does_not_parse_leaves_the_stream_in_step() {
    let bad =
        INVITE.replace("CSeq: 7 INVITE", "CSeq: seven").replace("Max-Forwards", "no colon\r\nM");
    let got = whole(format!("{bad}{INVITE}").as_bytes());
    assert_eq!(got, [bad.as_bytes(), INVITE.as_bytes()]);
    assert!(Message::parse(got[0].clone().into()).is_err());
}

#[test]
fn equal_content_lengths_keep_the_stream_but_not_the_message() {
    let text = with_length("l: 5\r\nContent-Length: 5\r\n");
    assert_eq!(whole(text.as_bytes()), [text.as_bytes()]);
    assert_eq!(Message::parse(text.into()).unwrap_err().status, Some(400));
}

#[test]
fn length_that_cannot_be_trusted_loses_the_stream_with_an_answer() {
    for length in [
        "",
        "l: 5\r\nContent-Length: 6\r\n",
        "l: -5\r\n",
        "l: +5\r\n",
        "l: 0x5\r\n",
        "l:\r\n",
        "l: 5,5\r\n",
        "l: 18446744073709551621\r\n",
        "l: 5 5\r\n",
    ] {
        let error = lost(&with_length(length));
        assert_eq!(error.status, Some(400), "{length}");
        assert_eq!(error.response.unwrap().status, 400, "{length}");
    }
    let error = lost(&with_length(&format!("l: {}\r\n", MAX_BODY + 1)));
    assert_eq!(error.response.unwrap().status, 513);
}

#[test]
fn what_is_not_sip_loses_the_stream_without_an_answer() {
    let error = lost("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(error.response.is_none());
}

/// TDR-LIM-001.
#[test]
fn head_without_end_is_lost_at_its_bound() {
    let mut framer = Framer::new();
    framer.push(b"INVITE sip:a@b SIP/2.0\r\nX: ").unwrap();
    let mut pushed = 0;
    let error = loop {
        match framer.next() {
            Some(Framed::Lost(error)) => break error,
            Some(other) => panic!("{other:?}"),
            None => framer.push(&[b'x'; 1000]).unwrap(),
        }
        pushed += 1000;
        assert!(pushed < MAX_HEAD + 2000);
    };
    assert_eq!(error.status, Some(513));
}

#[test]
fn reader_that_does_not_take_is_told_to() {
    let mut framer = Framer::new();
    framer.push(&vec![b'\r'; MAX_BUFFERED]).unwrap();
    assert_eq!(framer.push(b"x"), Err(FramingError::Full));
    assert_eq!(framer.buffered(), MAX_BUFFERED);
}

/// TDR-CON-004.
#[test]
fn ping_is_two_line_ends_and_one_before_a_message_is_none() {
    let stream = format!("\r\n\r\n\r\n\r\n\r\n{INVITE}\r\n\r\n");
    assert_eq!(whole(stream.as_bytes()), [b"ping", b"ping", INVITE.as_bytes(), b"ping"]);
}

#[test]
fn line_ends_on_both_sides_of_a_message_are_no_ping() {
    let stream = format!("\r\n{INVITE}\r\n{INVITE}");
    assert_eq!(whole(stream.as_bytes()), [INVITE.as_bytes(), INVITE.as_bytes()]);
}

#[test]
fn pong_comes_only_after_our_ping_and_crossing_pings_are_both_seen() {
    let mut framer = Framer::new();
    let mut seen = Vec::new();
    framer.ping_sent();
    framer.push(b"\r\n").unwrap();
    drain(&mut framer, &mut seen);
    assert_eq!(seen, [b"pong"]);
    seen.clear();
    framer.ping_sent();
    framer.push(b"\r\n\r\n\r\n").unwrap();
    drain(&mut framer, &mut seen);
    assert_eq!(seen, [b"pong", b"ping"]);
}

/// TDR-CON-008.
#[test]
fn octet_by_octet_gives_the_same_as_at_once() {
    let mut stream = b"\r\n\r\n".to_vec();
    for text in [INVITE, "\r\n", &with_length("l: 5\r\nContent-Length: 5\r\n"), INVITE, "\r\n\r\n"]
    {
        stream.extend_from_slice(text.as_bytes());
    }
    assert_eq!(in_pieces(&stream, || 1), whole(&stream));
    assert_eq!(whole(&stream).len(), 5);
}

/// A corpus message as it must be sent over a stream: cut at its Content-Length, or lost.
#[test]
fn corpus_is_cut_where_the_parser_cuts_it() {
    for bytes in corpus_messages() {
        let Ok(message) = Message::parse(bytes.clone()) else { continue };
        if message.headers().get(sip_core::Name::ContentLength).is_none() {
            continue;
        }
        let first = whole(&bytes).first().cloned().unwrap();
        assert_eq!(first, message.to_bytes(), "{}", first.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_split_gives_the_same(
        parts in prop::collection::vec(0_usize..5, 0..12),
        cuts in prop::collection::vec(1_usize..400, 1..20),
    ) {
        let pool = [
            INVITE.to_owned(),
            "\r\n".to_owned(),
            INVITE.replace("l: 5", "Content-Length:\r\n 5"),
            INVITE.replace("l: 5\r\n\r\nv=0\r\n", "l: 0\r\n\r\n"),
            INVITE.replace("l: 5\r\n\r\nv=0\r\n", "l: 8\r\n\r\n\r\n\r\n\r\n\r\n"),
        ];
        let stream: String = parts.iter().map(|&part| pool[part].as_str()).collect();
        let mut cut = cuts.iter().cycle();
        let pieces = in_pieces(stream.as_bytes(), || *cut.next().unwrap());
        prop_assert_eq!(&pieces, &whole(stream.as_bytes()));
        let messages: Vec<_> = pieces.iter().filter(|piece| *piece != b"ping").collect();
        let sent: Vec<_> = parts.iter().filter(|&&part| part != 1).map(|&part| &pool[part]).collect();
        prop_assert_eq!(messages.len(), sent.len());
    }
}
