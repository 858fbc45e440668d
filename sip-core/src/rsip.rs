//! Conversions from and to the types of the `rsip` crate, for those who use them (feature `rsip`).
//!
//! `rsip` cannot hold everything: IPv6 hosts, unknown methods and text that is not UTF-8 are
//! errors here, and so is a Request-URI that it would write otherwise. Folds become a space,
//! compact names long ones, and the reason phrase of a known status is its own.

use crate::message::{Message, ParseError, Response, long_name, unfolded};
use ::rsip::SipMessage;
use bytes::Bytes;

/// Why a message has no equal in `rsip`.
#[derive(Debug, thiserror::Error)]
pub enum RsipError {
    /// `rsip` does not read it.
    #[error("rsip does not read it: {0}")]
    Unreadable(::rsip::Error),
    /// `rsip` reads it as something else.
    #[error("rsip would change the {0}")]
    Changed(&'static str),
}

impl TryFrom<&Message> for SipMessage {
    type Error = RsipError;

    fn try_from(message: &Message) -> Result<Self, RsipError> {
        let mut converted =
            Self::try_from(long_form_head(message)).map_err(RsipError::Unreadable)?;
        // Not through its parser, which would cut a body at CRLF CRLF.
        *converted.body_mut() = message.body().to_vec();
        match (message, &converted) {
            (Message::Request(ours), Self::Request(theirs)) => {
                if theirs.method.to_string().as_bytes() != ours.method.as_bytes() {
                    return Err(RsipError::Changed("method"));
                }
                // It writes some parameters in its own case, which means the same.
                if !theirs.uri.to_string().as_bytes().eq_ignore_ascii_case(&ours.uri) {
                    return Err(RsipError::Changed("Request-URI"));
                }
            }
            (Message::Response(ours), Self::Response(theirs)) => {
                if theirs.status_code.code() != ours.status {
                    return Err(RsipError::Changed("status"));
                }
            }
            _ => return Err(RsipError::Changed("kind")),
        }
        Ok(converted)
    }
}

impl TryFrom<SipMessage> for Message {
    type Error = ParseError;

    fn try_from(message: SipMessage) -> Result<Self, ParseError> {
        // Not by its `Bytes`: they replace what is not UTF-8 in the body.
        let (head, body) = match message {
            SipMessage::Request(request) => {
                let line = format!("{} {} {}", request.method, request.uri, request.version);
                (format!("{line}\r\n{}\r\n", request.headers), request.body)
            }
            SipMessage::Response(response) => {
                let status = response.status_code.code();
                let reason = match response.status_code {
                    ::rsip::StatusCode::Other(_, reason) => reason,
                    _ => String::from_utf8_lossy(&Response::new(status).reason).into_owned(),
                };
                let line = format!("{} {status} {reason}", response.version);
                (format!("{line}\r\n{}\r\n", response.headers), response.body)
            }
        };
        let mut octets = head.into_bytes();
        octets.extend_from_slice(&body);
        Self::parse(Bytes::from(octets))
    }
}

/// Start line and headers as `rsip` can read them.
fn long_form_head(message: &Message) -> Vec<u8> {
    let mut head = match message {
        Message::Request(request) => {
            [request.method.as_bytes(), b" ", &request.uri, b" SIP/2.0"].concat()
        }
        Message::Response(response) => {
            let status = response.status.to_string();
            [b"SIP/2.0 ", status.as_bytes(), b" ", &response.reason].concat()
        }
    };
    for (name, value) in message.headers().iter() {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(long_name(name));
        head.extend_from_slice(b": ");
        head.extend_from_slice(&unfolded(value));
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}
