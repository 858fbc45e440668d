//! What must hold for every message: read and written without loss, edited without surprise,
//! bounded, and no octets that make it panic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test input that does not parse fails the test"
)]

mod invite;

use bytes::Bytes;

use invite::INVITE;
use proptest::prelude::*;
use sip_core::message::{
    CSeq, MAX_BODY, MAX_HEADERS, MAX_LINE, MAX_VIAS, Message, Method, Name, ParseError, Request,
    Response, Supported, judge,
};

fn request(text: &str) -> Request {
    match parse(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

fn written(message: impl Into<Message>) -> String {
    String::from_utf8(message.into().to_bytes().to_vec()).unwrap()
}

fn values(request: &Request, name: Name) -> Vec<&str> {
    request.headers.all(name).map(|value| std::str::from_utf8(value).unwrap()).collect()
}

/// The INVITE with one more header line, or several.
fn with_lines(lines: &str) -> String {
    INVITE.replacen("Max-Forwards", &format!("{lines}\r\nMax-Forwards"), 1)
}

#[test]
fn views_read_what_stands_there() {
    let invite = request(INVITE);
    assert_eq!(invite.method, Method::Invite);
    assert_eq!(invite.request_uri().unwrap().param("user"), Some(&b"phone"[..]));
    assert_eq!(invite.headers.top_via().branch(), Some(&b"z9hG4bKtop"[..]));
    assert_eq!(invite.headers.list(Name::Via).count(), 3);
    assert_eq!(invite.headers.from().tag(), Some(&b"a1"[..]));
    assert_eq!(invite.headers.from().display, br#""Alice, A.""#);
    assert_eq!(invite.headers.to().tag(), None);
    assert_eq!(invite.headers.call_id(), b"c1@192.0.2.1");
    assert_eq!(invite.headers.cseq(), CSeq { number: 7, method: Method::Invite });
    assert_eq!(invite.headers.max_forwards(), Some(70));
    assert_eq!(invite.headers.contact().unwrap().uri, b"sip:alice@192.0.2.1");
    assert!(invite.headers.has_token(Name::Supported, "TIMER"));
    assert!(!invite.headers.has_token(Name::Supported, "time"));
    assert_eq!(invite.headers.get(Name::Other("X-FOLDED")), Some(&b"one\r\n  two"[..]));
    assert_eq!(invite.body().len(), 5);
}

#[test]
fn missing_headers_of_a_new_message_read_as_empty() {
    let new = Request::new(Method::Options, "sip:a@b");
    assert_eq!(new.headers.call_id(), b"");
    assert_eq!(new.headers.from().uri, b"");
    assert_eq!(new.headers.top_via().branch(), None);
    assert_eq!(new.headers.cseq().method.as_bytes(), b"");
    assert_eq!(new.headers.max_forwards(), None);
    assert!(new.headers.contact().is_none());
}

#[test]
fn one_changed_header_leaves_the_others_as_they_came() {
    let mut invite = request(INVITE);
    invite.headers.set(Name::MaxForwards, "69");
    assert_eq!(written(invite), INVITE.replace("Max-Forwards: 70", "Max-Forwards: 69"));
}

#[test]
fn lines_come_and_go_where_they_should() {
    let mut invite = request(INVITE);
    invite.headers.push_front(Name::Via, "SIP/2.0/TLS us;branch=z9hG4bKus");
    assert_eq!(invite.headers.top_via().host, b"us");
    assert_eq!(invite.headers.list(Name::Via).count(), 4);
    invite.headers.pop(Name::Via);
    assert_eq!(written(invite.clone()), INVITE);

    // The line with two elements loses one, under the name it was written with.
    invite.headers.pop(Name::Via);
    assert_eq!(invite.headers.top_via().host, b"p2");
    invite.headers.pop(Name::Via);
    assert_eq!(values(&invite, Name::Via), ["SIP/2.0/UDP p1"]);
    assert!(written(invite.clone()).contains("SIP/2.0\r\nv: SIP/2.0/UDP p1\r\nMax"));

    assert!(invite.headers.remove(Name::Via));
    assert!(!invite.headers.remove(Name::Via));
    invite.headers.pop(Name::Via);
    assert!(!written(invite.clone()).contains("SIP/2.0/UDP"));

    invite.headers.push(Name::Other("X-New"), "1");
    invite.headers.push(Name::Other("x-new"), "2");
    invite.headers.set(Name::Other("X-NEW"), "3");
    assert_eq!(values(&invite, Name::Other("x-new")), ["3"]);
    let mut other = Request::new(Method::Options, "sip:a@b");
    other.headers.copy_from(&invite.headers, Name::Other("x-folded"));
    other.headers.copy_from(&invite.headers, Name::Other("X-New"));
    let text = written(other);
    assert_eq!(
        text,
        "OPTIONS sip:a@b SIP/2.0\r\nX-Folded : one\r\n  two\r\nX-NEW: 3\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn list_of_many_pops_to_its_last_and_then_is_gone() {
    let mut invite = request(&with_lines("Route: <sip:a,b;lr>, \"x,y\" <sip:c>,\r\n <sip:d>"));
    for left in [2, 1, 0] {
        invite.headers.pop(Name::Route);
        assert_eq!(invite.headers.list(Name::Route).count(), left);
    }
    assert_eq!(written(invite), INVITE);
}

#[test]
fn value_with_a_line_break_cannot_add_a_header() {
    let mut new = Request::new(Method::Options, "sip:a@b\r\nX-Evil: 1\r\n");
    new.headers.push(Name::Subject, "hi\r\nX-Evil: 1\r\n\r\nbody\0");
    let mut response = Response::new(200);
    response.reason = Bytes::from_static(b"OK\r\nX-Evil: 1");
    for text in [written(new), written(response)] {
        assert!(!text.contains("\nX-Evil"), "{text}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text}");
    }
}

#[test]
fn long_edited_message_does_not_grow() {
    let mut invite = request(INVITE);
    for round in 0..20_000 {
        invite.headers.set(Name::Subject, format!("round {round}"));
        invite.headers.set(Name::Other("X-Round"), round.to_string());
    }
    assert_eq!(values(&invite, Name::Subject), ["round 19999"]);
    assert_eq!(values(&invite, Name::Other("X-Round")), ["19999"]);
    assert!(format!("{:?}", invite.headers).len() < 2000);
}

#[test]
fn changed_body_is_told_right() {
    let mut invite = request(INVITE);
    invite.set_body("text/plain", "longer than before");
    let text = written(invite.clone());
    let again = request(&text);
    assert_eq!(again.body(), "longer than before");
    assert_eq!(values(&again, Name::ContentLength), ["18"]);
    assert_eq!(values(&again, Name::ContentType), ["text/plain"]);
    invite.set_body("", "");
    assert_eq!(values(&invite, Name::ContentType), [] as [&str; 0]);
    assert_eq!(request(&written(invite)).body(), "");
}

#[test]
fn wrong_content_length_of_ours_is_corrected_on_the_wire() {
    let mut invite = request(INVITE);
    invite.headers.push(Name::ContentLength, "99");
    assert_eq!(written(invite.clone()), INVITE);
    invite.headers.set(Name::ContentLength, "99");
    let again = request(&written(invite));
    assert_eq!(values(&again, Name::ContentLength), ["5"]);
}

#[test]
fn datagram_without_content_length_gets_one_once_it_is_changed() {
    let text = INVITE.replace("l: 5\r\n", "");
    let mut invite = request(&text);
    assert_eq!(written(invite.clone()), text);
    invite.headers.set(Name::MaxForwards, "69");
    assert_eq!(values(&request(&written(invite)), Name::ContentLength), ["5"]);
}

#[test]
fn octets_around_a_datagram_are_ignored() {
    let text = format!("\r\n\r\n{INVITE}trailing");
    assert_eq!(written(request(&text)), INVITE);
}

#[test]
fn response_copies_what_the_transaction_needs() {
    let invite = request(&with_lines("Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>"));
    let ringing = Response::to(&invite, 180, Some(b"us"));
    let vias: Vec<_> = ringing.headers.list(Name::Via).collect();
    assert_eq!(vias, invite.headers.list(Name::Via).collect::<Vec<_>>());
    assert_eq!(ringing.headers.to().tag(), Some(&b"us"[..]));
    assert_eq!(ringing.headers.from().tag(), Some(&b"a1"[..]));
    assert_eq!(ringing.headers.call_id(), invite.headers.call_id());
    assert_eq!(ringing.headers.cseq(), invite.headers.cseq());
    assert_eq!(ringing.headers.all(Name::RecordRoute).count(), 2);
    assert_eq!(ringing.headers.len(), 8);
    assert!(written(ringing).starts_with("SIP/2.0 180 Ringing\r\n"));

    for status in [100, 302, 486, 603] {
        assert_eq!(Response::to(&invite, status, None).headers.all(Name::RecordRoute).count(), 0);
    }
    let options = request(&with_lines("Record-Route: <sip:p1;lr>").replace("INVITE", "OPTIONS"));
    assert_eq!(Response::to(&options, 200, None).headers.all(Name::RecordRoute).count(), 0);
}

#[test]
fn tag_that_stands_in_to_is_kept() {
    let reinvite = request(&INVITE.replace("<sip:bob@192.0.2.9>", "<sip:bob@192.0.2.9>;tag=b7"));
    assert_eq!(Response::to(&reinvite, 200, Some(b"new")).headers.to().tag(), Some(&b"b7"[..]));
    let bare = request(&INVITE.replace("<sip:bob@192.0.2.9>", "sip:bob@192.0.2.9"));
    assert_eq!(Response::to(&bare, 200, Some(b"new")).headers.to().tag(), Some(&b"new"[..]));
}

#[test]
fn refusal_says_what_and_where_and_is_the_same_for_a_repeat() {
    let text = INVITE.replace("CSeq: 7 INVITE", "CSeq: 7 BYE");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.header.as_deref(), Some(&b"CSeq: 7 BYE"[..]));
    assert_eq!(error.offset, text.find("7 BYE").unwrap());
    assert_eq!(error.status, Some(400));
    let response = error.response.unwrap();
    assert_eq!(response.reason, "CSeq has another method than the request");
    assert_eq!(response.headers.list(Name::Via).count(), 3);
    let repeat = parse(&text).unwrap_err().response.unwrap();
    assert_eq!(written(*response), written(*repeat));
}

#[test]
fn refusal_names_the_header_at_fault_and_where_it_is() {
    let changed = |from: &str, to: &str| INVITE.replacen(from, to, 1);
    for (text, header, at) in [
        (changed("SIP/2.0\r", "SIP/3.0\r"), "start line", "SIP/3.0"),
        (changed("192.0.2.9;user", "[::g];user"), "Request-URI", "[::g]"),
        (changed("SIP/2.0/UDP p1", "SIP/2.0/UDP :"), "v", ":\r\nMax"),
        (changed("t:<sip:bob@192.0.2.9>", "t:<sip:bob@[1]>"), "t", "[1]"),
        (changed("m: <sip:alice@192.0.2.1>", "m: <sip:a@b>, c d"), "m", "d\r\nSupp"),
        (changed("X-Folded : one", "X-Folded : o\0e"), "X-Folded", "\0e"),
        (changed("X-Folded : one", "X-Folded : o\ne"), "X-Folded", "\ne"),
        (changed("  two", "  t\rwo"), "X-Folded", "\rwo"),
        (changed("Supported: 100rel", "Supported 100rel"), "Supported 100rel , timer", "100rel"),
        (changed("Call-ID: c1@192.0.2.1\r\n", ""), "Call-ID", "\r\nv=0"),
        (changed("l: 5", "l: 6"), "l", "6\r\n\r\nv"),
        (changed("l: 5", "l: 5\r\nContent-Length: 6"), "Content-Length", "Content-Length: 6"),
    ] {
        let error = parse(&text).unwrap_err();
        let name = error.header_name().map(String::from_utf8_lossy).unwrap();
        assert_eq!(name, header, "{error}");
        assert_eq!(error.offset, text.find(at).unwrap(), "{header}: {error}");
    }
}

#[test]
fn judgement_names_the_header_at_fault_and_where_it_is() {
    let changed = |from: &str, to: &str| format!("\r\n{}", INVITE.replace(from, to));
    for (text, status, header, at) in [
        (changed("INVITE", "PUBLISH"), 405, "method", "PUBLISH"),
        (changed("INVITE", "DANCE"), 501, "method", "DANCE"),
        (changed("sip:+49", "h323:+49"), 416, "Request-URI", "h323"),
        (changed("Forwards: 70", "Forwards: 0"), 483, "Max-Forwards", "0\r\nFrom"),
        (changed("X-Folded : one", "Require: a,b\r\nRequire: c"), 420, "Require", "a,b"),
        (changed("X-Folded : one", "Proxy-Require: z"), 420, "Proxy-Require", "z\r\n"),
        (changed("c: application/sdp", "c: a/b"), 415, "Content-Type", "a/b"),
        (
            changed("c: application/sdp", "e: zip\r\nc: application/sdp"),
            415,
            "Content-Encoding",
            "zip",
        ),
        (changed("c: application/sdp\r\n", ""), 415, "Content-Type", "v=0"),
        (changed("X-Folded : one", "Accept: a/b"), 406, "Accept", "a/b"),
    ] {
        let request = request(&text);
        let rejection = judge(&request, &NOTHING_SUPPORTED).unwrap_err();
        assert_eq!(rejection.status(), status);
        let place = rejection.place(&request, &NOTHING_SUPPORTED);
        assert_eq!(place, (header, text.find(at).unwrap()), "{rejection}");
    }
}

#[test]
fn neither_ack_nor_a_response_is_answered() {
    let ack = INVITE.replace("INVITE", "ACK").replace("Max-Forwards: 70", "Max-Forwards: 700");
    let response = INVITE
        .replace("INVITE sip:+4930123456@192.0.2.9;user=phone SIP/2.0", "SIP/2.0 200 OK")
        .replace("CSeq: 7", "CSeq: x");
    let odd = INVITE.replace("CSeq: 7 INVITE", "CSeq: 7 ACK");
    for text in [ack, response] {
        let error = parse(&text).unwrap_err();
        assert_eq!(error.status, None);
        assert!(error.response.is_none());
    }
    assert!(parse(&odd).unwrap_err().response.is_none());
}

#[test]
fn status_line_of_every_kind_survives() {
    let headers = &INVITE[INVITE.find("\r\n").unwrap()..];
    for line in ["SIP/2.0 200 OK", "sip/2.0 183 ", "SIP/2.0 180", "SIP/2.0 699 a  b: c "] {
        let text = format!("{line}{headers}");
        assert_eq!(written(parse(&text).unwrap()), text);
    }
    for line in [
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0 20 x",
        "SIP/2.0 2000 x",
        "SIP/2.0 200x",
        "SIP/2.0  200 OK",
        "SIP/3.0 200 OK",
        "SIP/2.0",
    ] {
        let error = parse(&format!("{line}{headers}")).unwrap_err();
        assert_eq!(error.status, None, "{line}");
    }
}

#[test]
fn nul_is_refused_but_for_a_quoted_pair() {
    assert_eq!(parse(&with_lines("X: a\0b")).unwrap_err().status, Some(400));
    let quoted = INVITE.replace("Alice, A.", "Alice\\\0");
    assert_eq!(written(request(&quoted)), quoted);
}

#[test]
fn line_that_only_lf_or_cr_ends_cannot_hide_a_header() {
    for sign in ["\n", "\r"] {
        let error = parse(&with_lines(&format!("X: a{sign}Via: SIP/2.0/UDP evil"))).unwrap_err();
        assert_eq!((error.status, error.what), (Some(400), "CR or LF alone in a header line"));
    }
}

/// TDR-CON-007, TDR-CON-008.
#[test]
fn what_we_say_begins_with_an_exact_line_and_says_how_long_it_is() {
    let invite = request(INVITE);
    for (status, line) in [
        (100, "SIP/2.0 100 Trying\r\n"),
        (183, "SIP/2.0 183 Session Progress\r\n"),
        (200, "SIP/2.0 200 OK\r\n"),
        (404, "SIP/2.0 404 Not Found\r\n"),
        (503, "SIP/2.0 503 Service Unavailable\r\n"),
    ] {
        let text = written(Response::to(&invite, status, Some(b"ours")));
        assert!(text.starts_with(line), "{text}");
        assert!(text.contains("\r\nContent-Length: 0\r\n"), "{text}");
    }
    let mut ours = Request::new(Method::Options, "sip:a@b".to_owned());
    ours.set_body("application/sdp", "v=0\r\n");
    let text = written(ours);
    assert!(text.starts_with("OPTIONS sip:a@b SIP/2.0\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Length: 5\r\n"), "{text}");
}

/// TDR-LIM-001.
#[test]
fn limits_hold_on_both_sides() {
    let long = |len: usize| with_lines(&format!("X: {}", "x".repeat(len - 5)));
    assert!(parse(&long(MAX_LINE)).is_ok());
    assert_eq!(parse(&long(MAX_LINE + 1)).unwrap_err().status, Some(513));

    let own = request(INVITE).headers.len();
    let lines = |count: usize| with_lines(&vec!["X: y"; count - own].join("\r\n"));
    assert!(parse(&lines(MAX_HEADERS)).is_ok());
    let error = parse(&lines(MAX_HEADERS + 1)).unwrap_err();
    assert_eq!((error.status, error.response.map(|r| r.status)), (Some(513), Some(513)));

    let vias = |count: usize| with_lines(&vec!["Via: SIP/2.0/UDP h"; count - 3].join("\r\n"));
    assert!(parse(&vias(MAX_VIAS)).is_ok());
    assert_eq!(parse(&vias(MAX_VIAS + 1)).unwrap_err().status, Some(513));

    let body = |len: usize| {
        INVITE.replace("l: 5\r\n\r\nv=0\r\n", &format!("l: {len}\r\n\r\n{}", "x".repeat(len)))
    };
    assert!(parse(&body(MAX_BODY)).is_ok());
    assert_eq!(parse(&body(MAX_BODY + 1)).unwrap_err().status, Some(513));

    let head = with_lines(&vec![format!("X: {}", "x".repeat(8000)); 9].join("\r\n"));
    assert_eq!(parse(&head).unwrap_err().status, Some(513));
}

#[test]
fn what_is_no_message_is_dropped_or_refused_without_a_panic() {
    for text in ["", "\r\n", "\r\n\r\n", "\r", "x", "INVITE", "SIP/", "SIP/2.0 200 OK", " \r\n\r\n"]
    {
        let error = parse(text).unwrap_err();
        assert!(error.response.is_none(), "{text:?}");
    }
}

const NOTHING_SUPPORTED: Supported<'_> = Supported {
    methods: &[Method::Invite, Method::Options],
    schemes: &["sip"],
    extensions: &[],
    content_types: &["application/sdp"],
    unread_types: &[],
    forwards: true,
};

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Subject", "s", "X-One", "x-!%*_+`'~", "Supported", "k", "Route"])
}

/// A header line as some sender may write it: odd spacing, folds, octets that are no UTF-8.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let space = prop::sample::select(vec!["", " ", "\t", "  ", "\r\n ", " \r\n\t "]);
    let octet = any::<u8>().prop_filter("ends the line", |b| !matches!(b, b'\r' | b'\n' | 0));
    let value = prop::collection::vec(octet, 0..40);
    let before = prop::sample::select(vec!["", " ", "\t"]);
    (name(), before, space.clone(), value, space).prop_map(|(name, before, lead, value, trail)| {
        [name.as_bytes(), before.as_bytes(), b":", lead.as_bytes(), &value, trail.as_bytes()]
            .concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn written_is_what_was_read(lines in prop::collection::vec(line(), 0..40)) {
        let mut text = b"INVITE sip:a@b SIP/2.0\r\n".to_vec();
        let (first, rest) = INVITE.split_once("\r\n").unwrap();
        assert!(first.starts_with("INVITE"));
        for line in &lines {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(rest.as_bytes());
        let message = Message::parse(text.clone().into()).unwrap();
        prop_assert_eq!(message.to_bytes(), text);
        prop_assert_eq!(message.headers().call_id(), b"c1@192.0.2.1");
    }

    #[test]
    fn built_headers_are_read_back_one_for_one(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..20),
    ) {
        let mut invite = request(INVITE);
        let before = invite.headers.len();
        for value in &values {
            invite.headers.push(Name::Subject, value.clone());
        }
        let again = Message::parse(Message::from(invite.clone()).to_bytes()).unwrap();
        prop_assert_eq!(again.headers().len(), before + values.len());
        let ours: Vec<_> = invite.headers.all(Name::Subject).collect();
        let theirs: Vec<_> = again.headers().all(Name::Subject).collect();
        prop_assert_eq!(ours, theirs);
    }
}
