//! What holds for every sequence of octets, as a message and as a stream: one function each, for
//! ordinary tests and for the fuzz targets alike. A law that does not hold panics.

use bytes::Bytes;
use sip_core::framing::{Framed, Framer, FramingError};
use sip_core::message::{Message, Method, Name, Rejection, Request, Response, Supported, judge};

/// What is read is written as it came and read again as the same; what is refused says where and is
/// answered with one well-formed response at most. Whether it was read.
pub(crate) fn message(octets: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(octets);
    let message = match Message::parse(bytes.clone()) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            assert!(error.response.is_none() || error.status.is_some(), "{error}");
            let again = Message::parse(bytes).err().map(|again| (again.what, again.offset));
            assert_eq!(again, Some((error.what, error.offset)));
            if let Some(response) = error.response {
                assert_eq!(Some(response.status), error.status);
                let text = Message::Response(*response).to_bytes();
                let ends = text.windows(4).filter(|four| four == b"\r\n\r\n").count();
                assert!(ends == 1 && text.ends_with(b"\r\n\r\n"), "{}", text.escape_ascii());
            }
            return false;
        }
    };
    let skipped = octets.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
    let printed = message.to_bytes();
    assert!(octets[skipped..].starts_with(&printed), "{}", octets.escape_ascii());
    if message.headers().get(Name::ContentLength).is_none() {
        // To the end of the datagram (RFC 3261, 18.3).
        assert_eq!(printed.len(), octets.len() - skipped);
    }
    let again = Message::parse(printed.clone()).unwrap();
    assert_eq!(again.to_bytes(), printed);
    assert_eq!(views(&again), views(&message));

    if let Message::Request(request) = &message {
        judged(request, octets.len());
        answered(request);
    }
    edited(message);
    true
}

/// All that the views of a message show. None may fail on a parsed message.
fn views(message: &Message) -> String {
    let headers = message.headers();
    assert!(!headers.call_id().is_empty() && !headers.from().uri.is_empty());
    assert!(headers.to().uri().is_ok() && !headers.top_via().host.is_empty());
    assert!(!headers.cseq().method.as_bytes().is_empty());
    let list: Vec<_> = [Name::Via, Name::Contact, Name::Route, Name::RecordRoute]
        .into_iter()
        .flat_map(|name| headers.list(name).map(<[u8]>::escape_ascii))
        .map(|value| value.to_string())
        .collect();
    let (from, to, via) = (headers.from(), headers.to(), headers.top_via());
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {list:?} {headers:?}",
        (from.display, from.uri, from.params(), to.display, to.uri, to.params()),
        (via.transport, via.host, via.port, via.params()),
        headers.cseq(),
        headers.call_id(),
        headers.max_forwards(),
        message.body()
    )
}

fn judged(request: &Request, len: usize) {
    let Err(rejection) = judge(request, &SOME_SUPPORTED) else { return };
    let (header, offset) = rejection.place(request, &SOME_SUPPORTED);
    assert!(!header.is_empty() && offset <= len, "{header} {offset}");
    let response = rejection.response(request, &SOME_SUPPORTED, Some(b"tag"));
    assert_eq!(response.status, rejection.status());
    assert!(!matches!(rejection, Rejection::BadExtension(tags) if tags.is_empty()));
}

/// A response made of a request that was read can be read.
fn answered(request: &Request) {
    let text = Message::Response(Response::to(request, 200, Some(b"tag"))).to_bytes();
    // No response may have a broadcast address in Via (RFC 4475, 3.3.10).
    if !text.windows(15).any(|part| part == b"255.255.255.255") {
        let again = Message::parse(text).unwrap();
        assert!(again.headers().to().tag().is_some());
    }
}

/// A header that is added is one header more, and changes no other and not the body.
fn edited(mut message: Message) {
    let lines = message.headers().len();
    let had_length = message.headers().get(Name::ContentLength).is_some();
    if lines + 2 > sip_core::message::MAX_HEADERS {
        return;
    }
    message.headers_mut().push(Name::Other("X-Mark"), "1");
    let written = message.to_bytes();
    if written.len() - message.body().len() > sip_core::message::MAX_HEAD {
        return;
    }
    let again = Message::parse(written).unwrap();
    let marks: Vec<_> = again.headers().all(Name::Other("x-mark")).collect();
    assert_eq!(marks.last(), Some(&&b"1"[..]));
    assert_eq!(again.headers().len(), lines + 1 + usize::from(!had_length));
    assert_eq!(again.body(), message.body());
    message.headers_mut().pop(Name::Via);
    message.headers_mut().pop(Name::Contact);
}

const SOME_SUPPORTED: Supported<'_> = Supported {
    methods: &[Method::Invite, Method::Options],
    schemes: &["sip"],
    extensions: &["timer"],
    content_types: &["application/sdp"],
    unread_types: &[],
    forwards: true,
};

/// How a stream is split over reads makes no difference; each message is cut where the parser cuts
/// it; a message, good or bad, leaves nothing behind; and what is lost stays lost. Messages found.
pub(crate) fn stream(octets: &[u8]) -> usize {
    let whole = framed(octets, |_| octets.len());
    // Reads of a length each, and reads that the octets themselves give: the same for a repeat.
    for len in [1, 2, 3, 7, 64, 1460] {
        if octets.len() / len <= READS_MAX {
            assert_eq!(framed(octets, |_| len), whole, "reads of {len}: {}", octets.escape_ascii());
        }
    }
    let uneven = framed(octets, |at| {
        1 + usize::from(octets[at]) * usize::from(octets[octets.len() - 1 - at] % 8 + 1)
    });
    assert_eq!(uneven, whole, "uneven reads: {}", octets.escape_ascii());

    let mut found = 0;
    for (at, (piece, end)) in whole.iter().enumerate() {
        let Piece::Message(bytes) = piece else { continue };
        found += 1;
        if let Ok(message) = Message::parse(bytes.clone()) {
            assert_eq!(message.to_bytes(), bytes);
        }
        let rest = framed(&octets[*end..], |_| octets.len());
        let expected: Vec<_> =
            whole[at + 1..].iter().map(|(piece, at)| (piece.clone(), at - end)).collect();
        assert_eq!(rest, expected, "after octet {end}: {}", octets.escape_ascii());
    }
    found
}

/// Reads that one stream is cut into at most: the laws should stay quick.
const READS_MAX: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Message(Bytes),
    Ping,
    Lost(&'static str, Option<u16>),
}

/// What comes out, each with the octet after it, where the read at octet `at` has `len(at)` octets.
fn framed(octets: &[u8], len: impl Fn(usize) -> usize) -> Vec<(Piece, usize)> {
    let mut framer = Framer::new();
    let mut out = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let end = octets.len().min(at + len(at).clamp(1, 16 * 1024));
        framer.push(&octets[at..end]).unwrap();
        at = end;
        while let Some(framed) = framer.next() {
            let after = at - framer.buffered();
            out.push(match framed {
                Framed::Message(bytes) => (Piece::Message(bytes), after),
                Framed::Ping => (Piece::Ping, after),
                Framed::Pong => unreachable!("nobody was pinged"),
                Framed::Lost(error) => {
                    assert!(framer.next().is_none());
                    assert_eq!(framer.push(b"OPTIONS"), Err(FramingError::Lost));
                    // How far was read when it showed depends on the reads.
                    out.push((Piece::Lost(error.what, error.status), octets.len()));
                    return out;
                }
            });
        }
    }
    out
}
