//! Content-Length framing of a byte stream (RFC 3261, 18.3; RFC 5626, 3.5.1 keepalives).
//!
//! Push what was read, then take all that [`Framer`] yields. How the stream was cut into reads
//! makes no difference to what comes out.

use crate::message::{
    Fault, MAX_BODY, MAX_HEAD, MAX_MESSAGE, ParseError, content_length, is_content_length,
    line_end, refuse,
};
use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Octets held for a stream: a message that is not whole yet and one large read on top.
pub const MAX_BUFFERED: usize = 2 * MAX_MESSAGE;

/// Cuts one direction of a TCP or TLS stream into messages; iterate to take them.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Octets at the front of the buffer in which no header section ends.
    scanned: usize,
    /// The length of the message at the front, once its header section is whole.
    message_len: Option<usize>,
    /// One CRLF between messages has come; a second one makes it a ping.
    half_ping: bool,
    /// Pings of ours that were not answered.
    pongs_due: usize,
    lost: bool,
}

/// What stands next on the stream.
#[derive(Clone, Debug)]
pub enum Framed {
    /// The octets of one message, for [`crate::message::Message::parse`]. If that refuses them,
    /// the stream is still in step and goes on.
    Message(Bytes),
    /// CRLF CRLF between messages: answer with CRLF (RFC 5626, 4.4.1).
    Ping,
    /// CRLF between messages after [`Framer::ping_sent`].
    Pong,
    /// Nobody can say where the next message begins: send the response in the error if there is
    /// one, and close. Nothing comes after it.
    Lost(ParseError),
}

/// Why octets were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// More than [`MAX_BUFFERED`] octets: what was framed has not been taken in between.
    #[error("more octets than a stream may leave waiting")]
    Full,
    /// The stream was lost before.
    #[error("stream is out of step")]
    Lost,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        if self.lost {
            return Err(FramingError::Lost);
        }
        if self.buffer.len() + bytes.len() > MAX_BUFFERED {
            return Err(FramingError::Full);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Notes that CRLF CRLF was sent: one CRLF to come is its pong, not half a ping.
    pub fn ping_sent(&mut self) {
        self.pongs_due = self.pongs_due.saturating_add(1);
    }

    /// Octets that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Takes CRLF from the front of the buffer, between messages.
    fn next_keepalive(&mut self) -> Option<Framed> {
        while self.buffer.starts_with(b"\r\n") {
            let _ = self.buffer.split_to(2);
            self.scanned = 0;
            if self.pongs_due > 0 && !self.half_ping {
                self.pongs_due -= 1;
                return Some(Framed::Pong);
            }
            self.half_ping = !self.half_ping;
            if !self.half_ping {
                return Some(Framed::Ping);
            }
        }
        None
    }

    /// The length of the message at the front, if its header section is whole.
    fn measure(&mut self) -> Result<Option<usize>, Fault> {
        if let Some(len) = self.message_len {
            return Ok(Some(len));
        }
        let Some(found) = memmem::find(&self.buffer[self.scanned..], b"\r\n\r\n") else {
            // The end may have come in part.
            self.scanned = self.buffer.len().saturating_sub(3);
            if self.scanned > MAX_HEAD {
                return Err(Fault::too_large("header section is too long", MAX_HEAD));
            }
            return Ok(None);
        };
        let head_len = self.scanned + found + 4;
        if head_len > MAX_HEAD + 4 {
            return Err(Fault::too_large("header section is too long", MAX_HEAD));
        }
        let len = head_len + body_len(&self.buffer[..head_len])?;
        self.message_len = Some(len);
        Ok(Some(len))
    }
}

impl Iterator for Framer {
    type Item = Framed;

    /// What stands next, or `None` until more octets are pushed.
    fn next(&mut self) -> Option<Framed> {
        if self.lost {
            return None;
        }
        if self.message_len.is_none()
            && let Some(keepalive) = self.next_keepalive()
        {
            return Some(keepalive);
        }
        // CR alone may still become a CRLF.
        if self.buffer.is_empty() || *self.buffer == *b"\r" {
            return None;
        }
        match self.measure() {
            Ok(Some(len)) if len <= self.buffer.len() => {
                let message = self.buffer.split_to(len).freeze();
                self.message_len = None;
                self.scanned = 0;
                self.half_ping = false;
                Some(Framed::Message(message))
            }
            Ok(_) => None,
            Err(fault) => {
                self.lost = true;
                let received = std::mem::take(&mut self.buffer).freeze();
                Some(Framed::Lost(refuse(&received, fault)))
            }
        }
    }
}

/// Reads Content-Length out of a header section whose other lines may be malformed. On a stream
/// it is mandatory (RFC 3261, 20.14); two that differ could be cut in two ways.
fn body_len(head: &[u8]) -> Result<usize, Fault> {
    let mut length = None;
    let mut at = 0;
    while at < head.len() {
        let end = line_end(head, at);
        let line = &head[at..end];
        if let Some(colon) = memchr::memchr(b':', line)
            && is_content_length(line[..colon].trim_ascii_end())
        {
            let value = line[colon + 1..].trim_ascii();
            let this = content_length(value).map_err(|fault| fault.shifted(at))?;
            if length.is_some_and(|other| other != this) {
                return Err(Fault::bad("two Content-Lengths differ", at));
            }
            length = Some(this);
        }
        at = end;
    }
    match length {
        Some(len) if len > MAX_BODY => Err(Fault::too_large("body is too long", head.len())),
        Some(len) => Ok(len),
        None => Err(Fault::bad("Content-Length is missing", head.len()).named("Content-Length")),
    }
}
