//! Calls as they come and go, and rules as they are broken, gathered for whoever reads of them.

use super::attack::Attempt;
use super::peer::Peer;
use certs::PeerRefusal;
use emulate::{CallId, Event, Heard, Step, Violation};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Messages of one call that are kept; a call that goes on for days repeats itself.
const STEPS_MAX: usize = 500;
/// Calls whose messages are kept while nobody knows what they are.
const LADDERS_MAX: usize = 2000;
/// How long after its end the last messages of a call are waited for.
const LINGER: Duration = Duration::from_millis(700);
/// Messages of no call of ours are told when nothing more has come for so long.
const STRAY_AFTER: Duration = Duration::from_secs(2);

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) id: CallId,
    pub(super) placed: bool,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: String,
    answered: Option<Instant>,
    over: Option<(Instant, String)>,
}

/// A call that is over, or messages that became none.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) call: Option<Watched>,
    pub(super) outcome: String,
    pub(super) talked: Option<Duration>,
    pub(super) heard: Option<Heard>,
    pub(super) sent: u64,
    pub(super) steps: Vec<Step>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) rule: String,
    pub(super) what: String,
    pub(super) message: String,
}

/// OPTIONS that went or came, when its result is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) host: String,
    pub(super) came: bool,
    pub(super) status: u16,
}

/// What there is to tell now.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) calls: Vec<Told>,
    pub(super) broken: Vec<Broken>,
    pub(super) probed: Vec<Probed>,
    /// What was to be, and was not.
    pub(super) undone: Vec<String>,
}

/// What has been seen altogether.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) calls: u64,
    pub(super) answered: u64,
    pub(super) broken: u64,
    pub(super) undone: u64,
}

impl Totals {
    /// Whether all was done, and by the rules.
    pub(super) const fn are_well(self) -> bool {
        self.broken == 0 && self.undone == 0
    }
}

struct Ladder {
    steps: Vec<Step>,
    last: Instant,
}

/// See the module.
pub(super) struct Watch {
    calls: BTreeMap<CallId, Watched>,
    ladders: HashMap<String, Ladder>,
    probes: HashMap<(String, bool), u16>,
    refusals: HashMap<String, u64>,
    pub(super) totals: Totals,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            calls: BTreeMap::new(),
            ladders: HashMap::new(),
            probes: HashMap::new(),
            refusals: HashMap::new(),
            totals: Totals::default(),
        }
    }

    /// A call was placed.
    pub(super) fn placed(&mut self, id: CallId, (from, to): (&str, &str), call_id: String) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.began(Watched { id, placed: true, from, to, call_id, answered: None, over: None });
    }

    fn began(&mut self, call: Watched) {
        self.totals.calls += 1;
        self.calls.insert(call.id, call);
    }

    /// Something happened at the agent.
    pub(super) async fn take(&mut self, now: Instant, peer: &Peer, event: Event, news: &mut News) {
        match event {
            Event::Incoming { call, from, to } => {
                let call_id = call_id(peer, call).await;
                self.began(Watched {
                    id: call,
                    placed: false,
                    from,
                    to,
                    call_id,
                    answered: None,
                    over: None,
                });
            }
            Event::Placed { call, from, to } => {
                let call_id = call_id(peer, call).await;
                self.placed(call, (&from, &to), call_id);
            }
            Event::Answered { call } => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.answered = Some(now);
                    self.totals.answered += 1;
                }
            }
            Event::Refused { call, status } => self.over(now, call, format!("{status}")),
            Event::Ended { call, by_us, cause } => {
                let who = if by_us { "hung up here" } else { "hung up by the far side" };
                let cause = cause.map(|cause| format!(", cause {cause}")).unwrap_or_default();
                self.over(now, call, format!("{who}{cause}"));
            }
            Event::OptionsReceived { host, status } => self.probed(host, true, status, news),
            Event::OptionsAnswered { host, status } => self.probed(host, false, status, news),
            _ => {}
        }
    }

    fn over(&mut self, now: Instant, call: CallId, outcome: String) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.over.get_or_insert((now, outcome));
        }
    }

    fn probed(&mut self, host: String, came: bool, status: u16, news: &mut News) {
        if self.probes.insert((host.clone(), came), status) != Some(status) {
            news.probed.push(Probed { host, came, status });
        }
    }

    /// Gathers what there is to tell at this moment; all that is under way, at the end.
    pub(super) async fn gather(
        &mut self,
        now: Instant,
        peer: &Peer,
        recorder: &PrometheusHandle,
        news: &mut News,
        ends: bool,
    ) {
        let taken = peer.with(|agent, _| (agent.take_steps(), agent.take_violations()));
        let (steps, violations) = taken.await.unwrap_or_default();
        for step in steps.into_iter().filter(|step| step.method != "OPTIONS") {
            self.keep(now, step);
        }
        news.broken.extend(violations.iter().map(broken));
        self.refused_in_tls(recorder, news);
        self.totals.broken += news.broken.len() as u64;
        let done = |call: &Watched| {
            ends || call.over.as_ref().is_some_and(|(at, _)| now.duration_since(*at) >= LINGER)
        };
        let over: Vec<CallId> =
            self.calls.values().filter(|call| done(call)).map(|call| call.id).collect();
        for id in over {
            let Some(call) = self.calls.remove(&id) else { continue };
            let told = peer.with(move |agent, _| (agent.heard(id), agent.sent(id))).await;
            let (heard, sent) = told.unwrap_or_default();
            let steps = self.ladders.remove(&call.call_id).map(|it| it.steps).unwrap_or_default();
            let end = call.over.as_ref().map_or(now, |(at, _)| *at);
            let outcome =
                call.over.as_ref().map_or("still up", |(_, outcome)| outcome.as_str()).to_owned();
            let talked = call.answered.map(|at| end.saturating_duration_since(at));
            if call.placed && !steps.is_empty() && steps.iter().all(|step| step.sent) {
                news.undone.push(format!("nobody has answered the call to {}", call.to));
            }
            news.calls.push(Told { call: Some(call), outcome, talked, heard, sent, steps });
        }
        let known: Vec<&str> = self.calls.values().map(|call| call.call_id.as_str()).collect();
        let quiet = |ladder: &Ladder| ends || now.duration_since(ladder.last) >= STRAY_AFTER;
        let strays: Vec<String> = self
            .ladders
            .iter()
            .filter(|(call_id, ladder)| !known.contains(&call_id.as_str()) && quiet(ladder))
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for stray in strays {
            let Some(Ladder { steps, .. }) = self.ladders.remove(&stray) else { continue };
            // What still comes of a call that was told before is no news.
            if steps.iter().any(|step| step.what == "INVITE") {
                let outcome = steps.last().map(|step| step.what.clone()).unwrap_or_default();
                let (talked, heard) = (None, None);
                news.calls.push(Told { call: None, outcome, talked, heard, sent: 0, steps });
            }
        }
    }

    /// Whether OPTIONS have come for this trunk: its own, or those of the carrier's above it.
    pub(super) fn has_heard(&self, fqdn: &str) -> bool {
        let above = |host: &str| fqdn.strip_suffix(host).is_some_and(|label| label.ends_with('.'));
        let mut hosts = self.probes.keys().filter(|(_, came)| *came).map(|(host, _)| host.as_str());
        hosts.any(|host| host == fqdn || (!host.is_empty() && above(host)))
    }

    fn keep(&mut self, now: Instant, step: Step) {
        let call_id = String::from_utf8_lossy(&step.call_id).into_owned();
        if self.ladders.len() >= LADDERS_MAX && !self.ladders.contains_key(&call_id) {
            return;
        }
        let ladder =
            self.ladders.entry(call_id).or_insert_with(|| Ladder { steps: Vec::new(), last: now });
        ladder.last = now;
        if ladder.steps.len() < STEPS_MAX {
            ladder.steps.push(step);
        }
    }

    /// Peers that were refused before they could say anything, by the metric that counts them.
    fn refused_in_tls(&mut self, recorder: &PrometheusHandle, news: &mut News) {
        let text = recorder.render();
        let lines = text.lines().filter(|line| line.starts_with("tollgate_peer_refusals_total{"));
        for line in lines {
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
            let reason = line.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
            let (Some(count), Some(reason)) = (count, reason) else { continue };
            let before =
                self.refusals.insert(line.rsplit_once(' ').unwrap_or_default().0.to_owned(), count);
            if count > before.unwrap_or(0) {
                news.broken.extend(refusal(reason));
            }
        }
    }

    /// What became of peers that claim to be Teams.
    pub(super) fn attacked(&mut self, attempts: &[Attempt], news: &mut News) {
        for attempt in attempts.iter().filter(|attempt| !attempt.held()) {
            let what = match &attempt.got {
                Ok(got) if got.left_open => format!("{} was left connected", attempt.who),
                Ok(got) => format!("{} got {} octets of SIP", attempt.who, got.octets),
                Err(why) => {
                    news.undone.push(format!("{} has not tried: {why}", attempt.who));
                    continue;
                }
            };
            let message = "INVITE".to_owned();
            news.broken.push(Broken { rule: "TDR-SEC-002".to_owned(), what, message });
        }
        self.totals.broken += news.broken.len() as u64;
    }
}

fn broken(violation: &Violation) -> Broken {
    Broken {
        rule: violation.rule.to_owned(),
        what: violation.what.clone(),
        message: violation.message.clone(),
    }
}

/// A refusal in TLS, by its reason.
fn refusal(reason: &str) -> Option<Broken> {
    let of_certificate = PeerRefusal::ALL.into_iter().find(|one| one.as_str() == reason);
    let (rule, what) = match (of_certificate, reason) {
        (Some(refusal), _) => broken_by(refusal),
        (None, "tls" | "timeout") => ("TDR-TLS-003", "no TLS 1.2 or 1.3 could be agreed"),
        (None, _) => return None,
    };
    let (rule, what) = (rule.to_owned(), what.to_owned());
    Some(Broken { rule, what, message: "TLS handshake".to_owned() })
}

/// The rule that who is refused so has broken, and how.
const fn broken_by(refusal: PeerRefusal) -> (&'static str, &'static str) {
    match refusal {
        PeerRefusal::NoCertificate => ("TDR-TLS-005", "the border controller shows no certificate"),
        PeerRefusal::UnknownIssuer => ("TDR-CRT-001", "its certificate leads to no accepted root"),
        PeerRefusal::NameMismatch => {
            ("TDR-CRT-003", "its certificate carries the FQDN of no tenant")
        }
        PeerRefusal::Expired => ("TDR-CRT-007", "its certificate is expired, or not valid yet"),
        PeerRefusal::TlsVersion => ("TDR-TLS-002", "it speaks neither TLS 1.2 nor TLS 1.3"),
        PeerRefusal::BadCertificate => {
            ("TDR-CRT-005", "its certificate is malformed, or not for TLS servers")
        }
    }
}

async fn call_id(peer: &Peer, call: CallId) -> String {
    let found = peer.with(move |agent, _| agent.call_id(call).cloned()).await.flatten();
    String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_refused_and_no_rule_is_said_to_be_broken() {
        let reasons = PeerRefusal::ALL.map(PeerRefusal::as_str);
        for reason in reasons.into_iter().chain(["tls", "timeout"]) {
            assert!(refusal(reason).is_some(), "{reason}");
        }
        assert_eq!(refusal("source"), None, "a stranger breaks none");
    }
}
