//! The messages of an agent as a ladder.

use bytes::Bytes;
use sip_core::Message;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

/// Steps that are kept: more than any test or demo reads; later ones are left out.
const MAX_STEPS: usize = 100_000;

/// One message that was sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// The agent's own address.
    pub local: SocketAddr,
    /// The far side.
    pub peer: SocketAddr,
    /// Sent by the agent, or received.
    pub sent: bool,
    /// The method, or status and reason phrase.
    pub what: String,
    /// The method that CSeq names.
    pub method: String,
    /// Call-ID.
    pub call_id: Bytes,
    /// Whether there was a body.
    pub has_body: bool,
}

/// The steps so far, bounded.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    pub(crate) list: Vec<Step>,
}

impl Steps {
    pub(crate) fn note(&mut self, at: Instant, hop: &crate::Hop, sent: bool, message: &Message) {
        if self.list.len() == MAX_STEPS {
            return;
        }
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let headers = message.headers();
        self.list.push(Step {
            at,
            local: hop.local,
            peer: hop.remote,
            sent,
            what: match message {
                Message::Request(request) => text(request.method.as_bytes()),
                Message::Response(response) => {
                    format!("{} {}", response.status, text(&response.reason))
                }
            },
            method: text(headers.cseq().method.as_bytes()),
            call_id: Bytes::copy_from_slice(headers.call_id()),
            has_body: !message.body().is_empty(),
        });
    }
}

/// Draws steps, one a line, with times from the first on.
pub fn ladder<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    let mut out = String::new();
    let mut start = None;
    for step in steps {
        let start = *start.get_or_insert(step.at);
        let after = step.at.saturating_duration_since(start).as_secs_f64();
        let arrow = if step.sent { "-->" } else { "<--" };
        let of = if step.what == step.method { "" } else { step.method.as_str() };
        let sdp = if step.has_body { " (SDP)" } else { "" };
        let line = format!("{after:8.3} {arrow} {:<21} {} {of}", step.peer, step.what);
        let _ = writeln!(out, "{}{sdp}", line.trim_end());
    }
    out
}
