//! What remains of a call: one record, written when both legs and the media are done.

use crate::cause;
use crate::clip::clip;
use crate::codes::Microsoft;
use crate::plan::{Plan, RouteFrom, Tenant};
use crate::routing::Trace;
use sdp::CallStats;
use sip_core::Headers;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The record of one call. Field names are the JSON names.
#[derive(Clone, Debug)]
pub struct Record {
    /// Our number of the call.
    pub call: u64,
    /// Where it came from.
    pub direction: RouteFrom,
    /// The tenant's name, if one was found.
    pub tenant: Option<String>,
    /// The tenant's FQDN on the Teams leg, if one was found.
    pub fqdn: Option<String>,
    /// When the INVITE came.
    pub started: SystemTime,
    /// From the INVITE to the first sign that it rings, or to the answer: post-dial delay.
    pub ringing: Option<Duration>,
    /// From the INVITE to the 200, if it was answered.
    pub setup: Option<Duration>,
    /// From the 200 to the end; zero if it was not answered.
    pub talk: Duration,
    /// Calling number as received.
    pub from: String,
    /// Called number as received.
    pub to: String,
    /// Call-ID of the leg it came in on.
    pub call_id_in: String,
    /// Call-ID of the last leg it went out on.
    pub call_id_out: Option<String>,
    /// The trunk it came in on.
    pub trunk_in: String,
    /// Each try to send it out, in order.
    pub attempts: Vec<Attempt>,
    /// The classes of destinations it counted for at the fraud guard.
    pub classes: Vec<String>,
    /// The routing decision in a sentence.
    pub route: String,
    /// How it came about: what each stage considered, a line each.
    pub decision: Vec<String>,
    /// Final SIP status towards the caller; 200 if answered.
    pub status: u16,
    /// What ended it: a [`crate::Reject`] word, or `caller_hangup callee_hangup cancelled busy ...`.
    pub cause: String,
    /// Microsoft's correlation id and phrase from the Reason header of the Teams leg, if any (TDR-ERR-001).
    pub reason: Option<String>,
    /// The same taken apart, with the code that it stands for.
    pub microsoft: Option<Microsoft>,
    /// What is known of the far side of the Teams leg (TDR-MON-004).
    pub teams: TeamsLeg,
    /// What its speech was turned from and into, seen from the leg it came in on, if the legs had no
    /// codec in common.
    pub transcoded: Option<sdp::Conversion>,
    /// What became of a fax by T.38, if one was asked for.
    pub fax: Option<Fax>,
    /// Transfers of the call, in order: it stays one call (TDR-CC-001).
    pub transfers: Vec<Transfer>,
    /// What came of the last DTLS handshake on either leg: the suite, or how it failed.
    pub dtls: (Option<&'static str>, Option<&'static str>),
    /// Whether SRTP keys were passed through: `yes`, `offered` to leg B and not answered, or `refused:` and
    /// why; `None` where that is not configured.
    pub passthrough: Option<String>,
    /// What the media's packets did, if any was open: known at the end.
    pub media: Option<Box<CallStats>>,
    /// What carried the packets of either leg in the end, if any was open.
    pub carried: Option<Box<[Carried; 2]>>,
}

/// Which way a leg's packets took through the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The name of the way.
    pub by: &'static str,
    /// Why it was no faster one; empty where there is none.
    pub why_not_faster: String,
}

/// The far side of the Teams leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamsLeg {
    /// The host of Microsoft's that its INVITE came from, or that answered ours last.
    pub address: Option<IpAddr>,
    /// What it calls itself: version and region (TDR-IN-014).
    pub agent: Option<String>,
    /// Early dialogs of our INVITE.
    pub forks: usize,
    /// Who its media came from by its description: `processor`, `relay` or `client`.
    pub media: Option<&'static str>,
    /// The codec that was agreed last.
    pub codec: Option<String>,
}

/// Octets of one text in a record: names, numbers and Call-IDs in use are well below this, and a
/// hostile header line of 8 kB does not fill a disk.
const TEXT_MAX: usize = 256;

/// Routes that did not match which a record tells one by one.
const ROUTES_MAX: usize = 16;
/// Lines of `decision`; with the bound on each, a record stays below 16 kB.
const DECISION_LINES_MAX: usize = 48;
/// Classes in a record: a number is in a few, and so are those that it was redirected to.
pub(crate) const CLASSES_MAX: usize = 16;

impl Record {
    /// Keeps Microsoft's words about the end of the call, in a response with this status or in a
    /// request (TDR-ERR-001).
    pub(crate) fn note_reason(&mut self, headers: &Headers, status: Option<u16>) {
        if let Some(words) = cause::text(headers) {
            self.reason = Some(words.to_owned());
        }
        if let Some(said) = Microsoft::of(headers, status) {
            self.microsoft = Some(said);
        }
    }

    /// Keeps how the ruling came about; `plan` is the one that was asked.
    pub(crate) fn explain(&mut self, trace: &Trace, plan: &Plan) {
        let nobody = Tenant::default();
        let tenant = self.tenant.as_ref().and_then(|name| plan.tenant(name)).unwrap_or(&nobody);
        self.decision = trace.lines(plan, tenant, ROUTES_MAX);
        self.decision.truncate(DECISION_LINES_MAX);
    }

    /// The record as it is written: no text of a far side is longer than it need be.
    pub(crate) fn clipped(mut self) -> Self {
        let texts = [&mut self.from, &mut self.to, &mut self.call_id_in, &mut self.route];
        let more = [&mut self.cause].into_iter().chain(&mut self.call_id_out);
        let outcomes = self.attempts.iter_mut().map(|attempt| &mut attempt.outcome);
        let agent = [&mut self.teams.agent, &mut self.teams.codec].into_iter().flatten();
        let texts = texts.into_iter().chain(more).chain(&mut self.reason).chain(agent);
        for text in texts.chain(outcomes).chain(&mut self.decision) {
            clip(text, TEXT_MAX);
        }
        self
    }
}

/// What became of a fax by T.38.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fax {
    /// Both legs have agreed it.
    T38,
    /// One leg cannot have it: the call goes on in audio, or was refused where it asked for nothing else.
    Refused,
}

impl Fax {
    /// The word for it in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::T38 => "t38",
            Self::Refused => "refused",
        }
    }
}

/// One try to reach a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The trunk.
    pub trunk: String,
    /// The target as configured.
    pub target: String,
    /// What came of it: a status, `timeout`, `refused`, `cancelled`.
    pub outcome: String,
}

/// One transfer: a leg of the call gave its place to another, or was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// `refer` (we called the target) or `replaces` (the target called us).
    pub by: &'static str,
    /// The leg whose place was taken: `a` or `b`.
    pub leg: &'static str,
    /// The URI to be called, or the one who called.
    pub to: String,
    /// Microsoft's id of the transferor's call (`x-ti` of Referred-By; TDR-XFR-022).
    pub id: Option<String>,
    /// When, from the beginning of the call on.
    pub after: Duration,
    /// What came of it: a status, `timeout`, `refused`, `cancelled`.
    pub outcome: String,
}
