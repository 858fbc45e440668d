//! What Tollgate makes of a captured message: the daemon's own parser, framing and judgement,
//! without a daemon.

use b2bua::SUPPORTED;
use bytes::Bytes;
use sip_core::framing::{Framed, Framer};
use sip_core::message::{MAX_MESSAGE, ParseError, Rejection, judge};
use sip_core::{Message, Request, Response};
use std::io::{self, Read};

/// One message with its verdict.
#[derive(Debug)]
pub struct Judged {
    /// The octets judged.
    pub bytes: Bytes,
    /// Where they begin in their file.
    pub start: usize,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The message, where it parses.
    pub message: Option<Message>,
    /// The refusing response, where one can be sent.
    pub answer: Option<Box<Response>>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in order. A request with a method or a SIP scheme that is none of ours is so too: the
    /// status that it is answered with, and why, say nothing against the message.
    Accept(Option<Fault>),
    /// It is refused with the status in the fault.
    Reject(Fault),
    /// It is dropped without an answer.
    Discard(Fault),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status a request is answered with.
    pub status: Option<u16>,
    /// What is wrong, in words for an operator.
    pub what: String,
    /// The header at fault, as written, or the part of the message.
    pub header: Option<String>,
    /// Where, counted from the start of the message.
    pub offset: usize,
}

impl Fault {
    fn plain(what: impl Into<String>, offset: usize) -> Self {
        Self { status: None, what: what.into(), header: None, offset }
    }

    fn parse(error: &ParseError) -> Self {
        Self {
            status: error.status,
            what: error.what.to_owned(),
            header: error.header_name().filter(|name| !name.is_empty()).map(shown),
            offset: error.offset,
        }
    }

    fn judged(rejection: &Rejection, request: &Request) -> Self {
        let (header, offset) = rejection.place(request, &SUPPORTED);
        let what = match rejection {
            Rejection::BadExtension(tags) => format!("{rejection}: {}", tags.escape_ascii()),
            _ => rejection.to_string(),
        };
        Self { status: Some(rejection.status()), what, header: Some(header.to_owned()), offset }
    }
}

impl Judged {
    /// Whether it was accepted.
    pub fn accepted(&self) -> bool {
        matches!(self.verdict, Verdict::Accept(_))
    }

    fn discarded(bytes: Bytes, start: usize, fault: Fault) -> Self {
        Self { bytes, start, verdict: Verdict::Discard(fault), message: None, answer: None }
    }

    fn refused(bytes: Bytes, start: usize, error: ParseError) -> Self {
        let fault = Fault::parse(&error);
        let verdict = match error.status {
            Some(_) => Verdict::Reject(fault),
            None => Verdict::Discard(fault),
        };
        Self { bytes, start, verdict, message: None, answer: error.response }
    }
}

/// Judges one datagram.
pub fn datagram(bytes: Bytes) -> Judged {
    if bytes.is_empty() {
        return Judged::discarded(bytes, 0, Fault::plain("there is nothing in it", 0));
    }
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Judged::discarded(bytes, 0, Fault::plain("a keepalive, not a message", 0));
    }
    message(bytes, 0)
}

/// Judges one message that begins `start` octets into its file.
fn message(bytes: Bytes, start: usize) -> Judged {
    let message = match Message::parse(bytes.clone()) {
        Ok(message) => message,
        Err(error) => return Judged::refused(bytes, start, error),
    };
    let rejection = match &message {
        Message::Request(request) => judge(request, &SUPPORTED).err().map(|it| (request, it)),
        Message::Response(_) => None,
    };
    let (verdict, answer) = match rejection {
        None => (Verdict::Accept(None), None),
        Some((request, rejection)) => {
            let fault = Fault::judged(&rejection, request);
            let answer = rejection.response(request, &SUPPORTED, Some(TAG));
            let verdict = match rejection {
                // Unless CSeq has another method: then it may mean either.
                Rejection::MethodNotAllowed | Rejection::NotImplemented
                    if request.headers.cseq().method == request.method =>
                {
                    Verdict::Accept(Some(fault))
                }
                Rejection::UriScheme if has_sip_scheme(request) => Verdict::Accept(Some(fault)),
                _ => Verdict::Reject(fault),
            };
            (verdict, Some(Box::new(answer)))
        }
    };
    Judged { bytes, start, verdict, message: Some(message), answer }
}

/// Schemes that SIP gives a meaning to, served or not (RFC 3261, 19.1; RFC 3966; RFC 5031).
fn has_sip_scheme(request: &Request) -> bool {
    let scheme = request.request_uri().map(|uri| uri.scheme).unwrap_or_default();
    ["sip", "sips", "tel", "urn"].iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
}

/// A name as written, which may be a line of anything where its colon is missing.
fn shown(name: &[u8]) -> String {
    name.get(..NAME_OCTETS_SHOWN).unwrap_or(name).escape_ascii().to_string()
}

const NAME_OCTETS_SHOWN: usize = 40;

/// Stands for the random tag of an answer of the daemon.
const TAG: &[u8] = b"random";

/// What was on a stream besides messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Messages, good and bad.
    pub messages: usize,
    /// CRLF CRLF between them.
    pub keepalives: usize,
    /// Nobody could say any more where the next message begins.
    pub lost: bool,
}

/// Octets read at once.
const CHUNK_OCTETS: usize = 16 * 1024;

/// Judges each message of one direction of a TCP or TLS connection, as it comes; ends where framing
/// is lost, as the daemon closes the connection there.
pub fn stream(mut from: impl Read, mut each: impl FnMut(Judged)) -> io::Result<Stream> {
    let mut framer = Framer::new();
    let mut found = Stream::default();
    let mut chunk = vec![0; CHUNK_OCTETS];
    let mut pushed = 0;
    loop {
        let len = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = chunk.get(..len).unwrap_or_default();
        framer.push(read).map_err(io::Error::other)?;
        pushed += len;
        let mut unframed = framer.buffered();
        while let Some(framed) = framer.next() {
            let start = pushed - unframed;
            unframed = framer.buffered();
            match framed {
                Framed::Message(bytes) => {
                    found.messages += 1;
                    let start = pushed - unframed - bytes.len();
                    each(message(bytes, start));
                }
                Framed::Ping => found.keepalives += 1,
                Framed::Pong => {}
                Framed::Lost(error) => {
                    found.messages += 1;
                    found.lost = true;
                    each(Judged::refused(Bytes::new(), start, error));
                    return Ok(found);
                }
            }
        }
    }
    if framer.buffered() > 0 {
        let start = pushed - framer.buffered();
        found.messages += 1;
        let what = format!("stream ends inside a message of which {} octets came", pushed - start);
        let fault = Fault::plain(what, framer.buffered());
        each(Judged::discarded(Bytes::new(), start, fault));
    } else if found.messages == 0 {
        each(Judged::discarded(Bytes::new(), 0, Fault::plain("there is no message in it", 0)));
    }
    Ok(found)
}

/// Reads a file that is one datagram: no more of it than is needed to see that it is too long.
pub fn read_datagram(from: impl Read) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    from.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
