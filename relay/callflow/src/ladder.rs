//! The ladder: every message that was sent, in time, between carrier, Tollgate and Teams.

use crate::net::Fate;
use crate::peer::Who;
use sip_core::Message;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// One message.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    /// The far side.
    pub(crate) peer: SocketAddr,
    /// Whether we are its receiver.
    pub(crate) to_us: bool,
    pub(crate) message: Message,
    pub(crate) fate: Fate,
    /// How often it arrived.
    pub(crate) arrived: u32,
}

/// Draws the ladder.
pub(crate) fn draw(steps: &[Step]) -> String {
    let mut out = String::from(
        "      ms   carrier                           tollgate                              teams\n",
    );
    for step in steps {
        let at = step.at.as_secs_f64() * 1000.0;
        let teams = Who::at(step.peer).is_some_and(Who::is_teams);
        let what = summary(&step.message);
        // The arrow points right from the carrier to us and from us to Teams.
        let right = step.to_us != teams;
        let arrow = match (right, step.fate == Fate::Lost) {
            (true, false) => format!("{what:-<32}>"),
            (false, false) => format!("<{what:-<32}"),
            (true, true) => format!("{what:-<28}> x  "),
            (false, true) => format!("  x <{what:-<28}"),
        };
        let note = match step.fate {
            Fate::Carried => "",
            Fate::Lost => " lost",
            Fate::Repeated => " twice",
            Fate::Late => " late",
        };
        let blank = format!("{:33}", "");
        let (left, right) = if teams { (&blank, &arrow) } else { (&arrow, &blank) };
        let who = Who::at(step.peer).map_or(step.peer.to_string(), |w| format!("{w:?}"));
        let _ = writeln!(out, "{at:10.1} |{left}|{right}| {who}{note}");
    }
    out
}

fn summary(message: &Message) -> String {
    let sdp = if message.body().is_empty() { "" } else { " SDP" };
    let direction = std::str::from_utf8(message.body()).ok().and_then(|body| {
        ["sendonly", "recvonly", "inactive"]
            .into_iter()
            .find(|direction| body.contains(&format!("a={direction}")))
    });
    let cseq = message.headers().cseq();
    let start = match message {
        Message::Request(request) => format!("{} {}", request.method, cseq.number),
        Message::Response(response) => format!("{} {cseq}", response.status, cseq = Of(&cseq)),
    };
    match direction {
        Some(direction) => format!("{start}{sdp} {direction} "),
        None => format!("{start}{sdp} "),
    }
}

struct Of<'a>(&'a sip_core::CSeq);

impl std::fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.method, self.0.number)
    }
}
