//! The calls that are played, and what makes each of them right.

use super::records;
use super::report::{Direction, Fault, Outcome};
use super::stage::{Stage, Who};
use crate::emulation::peer::Peer;
use emulate::{Agent, CallId, Dial, Event, Heard, ladder};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

/// What is awaited comes in milliseconds; a machine under load may take longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Long enough for a hundred packets and more each way.
const TALK: Duration = Duration::from_millis(3_500);
/// Each half of a call that is held in between.
const HALF: Duration = Duration::from_secs(2);
/// For packets that were on their way when a hold was agreed.
const FADE: Duration = Duration::from_millis(200);
/// How long a hold is listened to.
const HOLD: Duration = Duration::from_secs(1);
/// Packets that may be on their way at the beginnings and ends of talk, unheard and not lost: a
/// fifth of a second each way.
const UNDER_WAY_MAX: u64 = 10;
/// Below this score users complain (G.107, Annex B: "satisfied" begins at 4.03).
const MOS_MIN: f64 = 4.0;

const NO_MEDIA: &str = "media does not get through: compare the addresses and ports in SDP with the \
                        sockets (ss -lun), and see tollgate_media_drops_total";
const LOAD: &str = "this machine is busy: packets were late or lost on loopback";
const SIGNALLING: &str = "see the ladder: the last message is where it stopped";
const BUG: &str = "a bug of ours";

/// A call that should come up, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    scenario: &'static str,
    /// The tenant and its FQDN, which Teams dials.
    tenant: (&'static str, &'static str),
    caller: Who,
    from: &'static str,
    to: &'static str,
    callee: Who,
    /// The SBC's attempts, by its record: trunk and outcome.
    attempts: &'static [(&'static str, &'static str)],
    hold: bool,
}

/// A Teams user calls the PSTN.
pub(super) const TEAMS_TO_PSTN: Call = Call {
    scenario: "teams_to_pstn",
    tenant: ("contoso", super::lab::CONTOSO_NAME),
    caller: Who::Teams,
    from: "+4930123450",
    to: "+498912345001",
    callee: Who::Colt,
    attempts: &[("colt", "200")],
    hold: false,
};

/// Somebody on the PSTN calls a Teams user.
pub(super) const PSTN_TO_TEAMS: Call = Call {
    scenario: "pstn_to_teams",
    tenant: ("fabrikam", super::lab::FABRIKAM_NAME),
    caller: Who::Bt,
    from: "+441632960002",
    to: "+442079460002",
    callee: Who::Teams,
    attempts: &[("teams", "200")],
    hold: false,
};

/// A Teams user holds the call and comes back.
pub(super) const HOLD_AND_RESUME: Call = Call {
    scenario: "hold_and_resume",
    tenant: ("fabrikam", super::lab::FABRIKAM_NAME),
    caller: Who::Teams,
    from: "+442079460003",
    to: "+441632960003",
    callee: Who::Bt,
    attempts: &[("bt", "200")],
    hold: true,
};

/// The first carrier answers 503, and the next one takes the call.
pub(super) const NEXT_TRUNK: Call = Call {
    scenario: "next_trunk",
    tenant: ("contoso", super::lab::CONTOSO_NAME),
    caller: Who::Teams,
    from: "+4930123454",
    to: "+4989503004",
    callee: Who::Bt,
    attempts: &[("colt", "503"), ("bt", "200")],
    hold: false,
};

/// Numbers that begin so are refused with 503 by colt.
pub(super) const COLT_REFUSES: &str = "+4989503";
/// A number that no tenant has.
const UNKNOWN_NUMBER: &str = "+4930999999";

/// Plays a call to its end.
pub(super) async fn play(stage: &Stage, call: Call) -> Outcome {
    let mut outcome = Outcome { scenario: call.scenario, ..Outcome::default() };
    let mut legs = Legs { caller: None, callee: None };
    if let Err(fault) = converse(stage, &call, &mut legs, &mut outcome).await {
        outcome.faults.push(fault);
        legs.abandon(stage, &call).await;
    }
    if let Some(caller) = legs.caller {
        // The record comes when both legs are done: the ladder is whole then.
        check_record(stage, &call, &legs, &mut outcome).await;
        ladder_of(stage.peer(call.caller), caller, true, &mut outcome).await;
    }
    if let Some(callee) = legs.callee {
        ladder_of(stage.peer(call.callee), callee, false, &mut outcome).await;
    }
    let verdict = if outcome.ok() { "ok" } else { "FAILED" };
    stage.progress.say(call.scenario, &format!("over: {verdict}"));
    outcome
}

/// The two ends of a call, as far as it came.
struct Legs {
    caller: Option<CallId>,
    callee: Option<CallId>,
}

impl Legs {
    async fn abandon(&self, stage: &Stage, call: &Call) {
        for (who, leg) in [(call.caller, self.caller), (call.callee, self.callee)] {
            if let Some(leg) = leg {
                stage.peer(who).with(move |agent, now| agent.hang_up(now, leg)).await;
            }
        }
    }
}

/// From the INVITE to the BYE.
async fn converse(
    stage: &Stage,
    plan: &Call,
    legs: &mut Legs,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let (near, far) = (stage.peer(plan.caller), stage.peer(plan.callee));
    let (mut at_near, mut at_far) = (near.events(), far.events());
    let dial = Dial {
        from: plan.from.to_owned(),
        to: plan.to.to_owned(),
        tenant: plan.tenant.1.to_owned(),
        ..Dial::default()
    };
    let say = |text: &str| stage.progress.say(plan.scenario, text);
    say(&format!("INVITE: {} of {} calls {}", plan.from, near.name, plan.to));
    let caller = with(near, move |agent, now| agent.call(now, &dial)).await?;
    let caller = caller.map_err(|error| Fault::new(error.to_string(), BUG))?;
    legs.caller = Some(caller);
    until(&mut at_near, "an answer", |event| match event {
        Event::Answered { call } if *call == caller => Some(Ok(())),
        Event::Refused { call, status } if *call == caller => {
            Some(Err(Fault::new(format!("the call was refused with {status}"), SIGNALLING)))
        }
        _ => None,
    })
    .await?;
    let callee = until(&mut at_far, "the call at its callee", |event| match event {
        Event::Incoming { call, to, .. } if to == plan.to => Some(Ok(*call)),
        _ => None,
    })
    .await?;
    legs.callee = Some(callee);
    say(&format!("200: {} has answered; both talk", far.name));

    let ends = Ends { near, far, caller, callee };
    let heard = match plan.hold {
        true => hold_and_resume(&ends, (&mut at_near, &mut at_far), &say, outcome).await?,
        false => {
            sleep(TALK).await;
            Vec::new()
        }
    };
    say(&format!("BYE: {} hangs up", near.name));
    with(near, move |agent, now| agent.hang_up(now, caller)).await?;
    until(&mut at_far, "BYE at the callee", |event| match event {
        Event::Ended { call, .. } if *call == callee => Some(Ok(())),
        _ => None,
    })
    .await?;
    judge(&ends, &heard, outcome).await
}

/// The two ends of a call that is up.
struct Ends<'a> {
    near: &'a Peer,
    far: &'a Peer,
    caller: CallId,
    callee: CallId,
}

/// What the caller and the callee heard.
type Both = (Heard, Heard);

impl Ends<'_> {
    async fn listen_anew(&self) -> Result<(), Fault> {
        let (caller, callee) = (self.caller, self.callee);
        with(self.near, move |agent, _| agent.listen_anew(caller)).await?;
        with(self.far, move |agent, _| agent.listen_anew(callee)).await
    }

    async fn heard(&self, how: fn(&Agent, CallId) -> Option<Heard>) -> Result<Both, Fault> {
        let gone = || Fault::new("the call is forgotten", BUG);
        let (caller, callee) = (self.caller, self.callee);
        let near = with(self.near, move |agent, _| how(agent, caller)).await?;
        let far = with(self.far, move |agent, _| how(agent, callee)).await?;
        near.zip(far).ok_or_else(gone)
    }
}

/// Talk, hold, silence, resume, talk; what was heard before and after.
async fn hold_and_resume(
    ends: &Ends<'_>,
    (at_near, at_far): (&mut Receiver<Event>, &mut Receiver<Event>),
    say: &(dyn Fn(&str) + Sync),
    outcome: &mut Outcome,
) -> Result<Vec<Both>, Fault> {
    let (caller, callee) = (ends.caller, ends.callee);
    sleep(HALF).await;
    let before = ends.heard(Agent::heard).await?;
    say(&format!("re-INVITE: {} holds the call", ends.near.name));
    let refused = |done: bool, what: &str| match done {
        true => Ok(()),
        false => Err(Fault::new(format!("the call could not be {what}"), SIGNALLING)),
    };
    refused(with(ends.near, move |agent, now| agent.hold(now, caller)).await?, "held")?;
    until(at_near, "the hold at its caller", |event| match event {
        Event::Held { call, .. } if *call == caller => Some(Ok(())),
        _ => None,
    })
    .await?;
    until(at_far, "the hold at its callee", |event| match event {
        Event::Held { call, .. } if *call == callee => Some(Ok(())),
        _ => None,
    })
    .await?;
    sleep(FADE).await;
    ends.listen_anew().await?;
    sleep(HOLD).await;
    let (near, far) = ends.heard(Agent::heard_recently).await?;
    let through = near.packets + far.packets;
    if through > 0 {
        let what = format!("{through} packets came through the hold");
        outcome.faults.push(Fault::new(what, BUG));
    }
    say("re-INVITE: silence on both sides; the call is resumed");
    refused(with(ends.near, move |agent, now| agent.resume(now, caller)).await?, "resumed")?;
    until(at_near, "the resumption at its caller", |event| match event {
        Event::Resumed { call, .. } if *call == caller => Some(Ok(())),
        _ => None,
    })
    .await?;
    until(at_far, "the resumption at its callee", |event| match event {
        Event::Resumed { call, .. } if *call == callee => Some(Ok(())),
        _ => None,
    })
    .await?;
    sleep(HALF).await;
    Ok(vec![before, ends.heard(Agent::heard_recently).await?])
}

/// Judges what was heard: in each of `parts`, or over the whole call if there are none.
async fn judge(ends: &Ends<'_>, parts: &[Both], outcome: &mut Outcome) -> Result<(), Fault> {
    let whole = ends.heard(Agent::heard).await?;
    let (caller, callee) = (ends.caller, ends.callee);
    let near_sent = with(ends.near, move |agent, _| agent.sent(caller)).await?;
    let far_sent = with(ends.far, move |agent, _| agent.sent(callee)).await?;
    let parts = if parts.is_empty() { std::slice::from_ref(&whole) } else { parts };
    let at_near: Vec<Heard> = parts.iter().map(|both| both.0).collect();
    let at_far: Vec<Heard> = parts.iter().map(|both| both.1).collect();
    let (near, far) = (ends.near.name, ends.far.name);
    for (from, to, tx, whole, parts) in
        [(near, far, near_sent, whole.1, at_far), (far, near, far_sent, whole.0, at_near)]
    {
        let direction = Direction {
            from,
            to,
            tx,
            rx: whole.packets,
            lost: parts.iter().map(|part| part.lost).sum(),
            jitter_ms: whole.jitter_ms,
            tone_hz: whole.expected_hz,
            tone_share: parts.iter().map(|part| part.tone_share).fold(1.0, f64::min),
        };
        let tone_ok = parts.iter().all(|part| part.tone_ok);
        outcome.faults.extend(faults_of(&direction, tone_ok, &whole, parts.len() as u64));
        outcome.directions.push(direction);
    }
    Ok(())
}

fn faults_of(
    direction: &Direction,
    tone_ok: bool,
    heard: &Heard,
    parts: u64,
) -> impl Iterator<Item = Fault> {
    let Direction { from, to, tx, rx, lost, .. } = direction;
    let nothing = *rx == 0;
    let tone = (nothing || !tone_ok).then(|| {
        let (hz, share) = (direction.tone_hz, 100.0 * direction.tone_share);
        let what = format!("{to} did not hear {from}'s {hz} Hz ({share:.0} % of what came)");
        Fault::new(what, if nothing { NO_MEDIA } else { "something else came than was played" })
    });
    let loss = (*lost > 0).then(|| Fault::new(format!("{lost} packets lost to {to}"), LOAD));
    let unheard = tx.saturating_sub(*rx).saturating_sub(*lost);
    let unheard = (!nothing && unheard > parts * UNDER_WAY_MAX)
        .then(|| Fault::new(format!("{from} sent {tx} packets, {to} got {rx}"), NO_MEDIA));
    let score = direction
        .mos()
        .filter(|mos| *mos < MOS_MIN)
        .map(|mos| Fault::new(format!("{to} heard {from} with a MOS of {mos:.2}"), LOAD));
    let forged = (heard.srtp_failures > 0).then(|| {
        let what = format!("{} packets to {to} did not authenticate", heard.srtp_failures);
        Fault::new(what, "the two sides do not agree on the SRTP key")
    });
    [tone, loss, unheard, score, forged].into_iter().flatten()
}

/// The SBC's own record of the call: it proves the route.
async fn check_record(stage: &Stage, plan: &Call, legs: &Legs, outcome: &mut Outcome) {
    let caller = stage.peer(plan.caller);
    let Some(record) = record_of(stage, caller, legs.caller, outcome).await else { return };
    let expected: Vec<(String, String)> =
        plan.attempts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    if record.attempts != expected {
        let what = format!("the record says {}", outcome.route);
        outcome.faults.push(Fault::new(what, "routes in tenants.d, or the carrier's answer"));
    }
    if record.tenant.as_deref() != Some(plan.tenant.0) {
        let what = format!("the record names tenant {:?}, not {}", record.tenant, plan.tenant.0);
        outcome.faults.push(Fault::new(what, "fqdns and numbers in tenants.d"));
    }
    if let Some(callee) = legs.callee {
        let call_id = stage.peer(plan.callee).with(move |agent, _| call_id(agent, callee)).await;
        if call_id.flatten() != record.call_id_out {
            outcome.faults.push(Fault::new("the record names another Call-ID out", BUG));
        }
    }
    if record.call_id_out.as_ref() == Some(&record.call_id_in) {
        outcome.faults.push(Fault::new("both legs have one Call-ID", BUG));
    }
}

/// Finds the record of a call and notes what it says.
async fn record_of(
    stage: &Stage,
    caller: &Peer,
    call: Option<CallId>,
    outcome: &mut Outcome,
) -> Option<records::Record> {
    let call = call?;
    let id = caller.with(move |agent, _| call_id(agent, call)).await.flatten().unwrap_or_default();
    let Some(record) = records::wait_for(&stage.records, &id, PATIENCE).await else {
        let what = format!("the SBC has no record of Call-ID {id}");
        outcome.faults.push(Fault::new(what, "the call never reached it, or is not over there"));
        return None;
    };
    outcome.route = record.taken();
    outcome.decision.clone_from(&record.route);
    outcome.tenant.clone_from(&record.tenant);
    Some(record)
}

fn call_id(agent: &Agent, call: CallId) -> Option<String> {
    agent.call_id(call).map(|id| String::from_utf8_lossy(id).into_owned())
}

/// Notes the messages of a call: in short for its caller, and whole.
async fn ladder_of(peer: &Peer, call: CallId, is_caller: bool, outcome: &mut Outcome) {
    let steps = peer.with(move |agent, _| {
        let id = agent.call_id(call).cloned().unwrap_or_default();
        agent.steps().iter().filter(|step| step.call_id == id).cloned().collect::<Vec<_>>()
    });
    let steps = steps.await.unwrap_or_default();
    outcome.ladders.push_str(&format!("  {}:\n{}", peer.name, ladder(&steps)));
    if is_caller {
        outcome.ladder = steps
            .iter()
            .map(|step| {
                let what = step.what.split(' ').next().unwrap_or_default();
                if step.sent { format!("{what}>") } else { format!("<{what}") }
            })
            .collect();
    }
}

/// A carrier calls a number that nobody has.
pub(super) async fn unknown_number(stage: &Stage) -> Outcome {
    let mut outcome = Outcome { scenario: "unknown_number", ..Outcome::default() };
    let mut called = None;
    if let Err(fault) = refused(stage, &mut called, &mut outcome).await {
        outcome.faults.push(fault);
    }
    if let Some(call) = called {
        ladder_of(&stage.colt, call, true, &mut outcome).await;
    }
    if let Some(record) = record_of(stage, &stage.colt, called, &mut outcome).await {
        outcome.route = format!("{} > {} {}", record.trunk_in, record.status, record.cause);
        if record.cause != "unknown_tenant" || !record.attempts.is_empty() {
            let what = format!("the record says {}: {}", outcome.route, record.route);
            outcome.faults.push(Fault::new(what, "numbers in tenants.d"));
        }
    }
    outcome
}

async fn refused(
    stage: &Stage,
    called: &mut Option<CallId>,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let (mut at_colt, mut at_teams) = (stage.colt.events(), stage.teams.events());
    stage.progress.say(outcome.scenario, &format!("INVITE: colt calls {UNKNOWN_NUMBER}"));
    let dial = Dial { from: "+493000000005".into(), to: UNKNOWN_NUMBER.into(), ..Dial::default() };
    let call = with(&stage.colt, move |agent, now| agent.call(now, &dial)).await?;
    let call = call.map_err(|error| Fault::new(error.to_string(), BUG))?;
    *called = Some(call);
    let status = until(&mut at_colt, "a refusal", |event| match event {
        Event::Refused { call: it, status } if *it == call => Some(Ok(*status)),
        Event::Answered { call: it } if *it == call => {
            Some(Err(Fault::new("somebody answered", "numbers in tenants.d")))
        }
        _ => None,
    })
    .await?;
    stage.progress.say(outcome.scenario, &format!("{status}: refused; nobody's phone rang"));
    if status != 404 {
        let what = format!("refused with {status}, not 404");
        outcome.faults.push(Fault::new(what, SIGNALLING));
    }
    while let Ok(event) = at_teams.try_recv() {
        if matches!(&event, Event::Incoming { to, .. } if to == UNKNOWN_NUMBER) {
            outcome.faults.push(Fault::new("it rang at Teams", "numbers in tenants.d"));
        }
    }
    Ok(())
}

/// Waits until `pick` finds what it looks for.
async fn until<T>(
    events: &mut Receiver<Event>,
    what: &str,
    mut pick: impl FnMut(&Event) -> Option<Result<T, Fault>>,
) -> Result<T, Fault> {
    let search = async {
        loop {
            match events.recv().await {
                Ok(event) => match pick(&event) {
                    Some(found) => return found,
                    None => continue,
                },
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Err(Fault::new("an emulated side ended", BUG)),
            }
        }
    };
    let late = |_| {
        let what = format!("waited {} s in vain for {what}", PATIENCE.as_secs());
        Err(Fault::new(what, SIGNALLING))
    };
    timeout(PATIENCE, search).await.unwrap_or_else(late)
}

async fn with<T: Send + 'static>(
    peer: &Peer,
    act: impl FnOnce(&mut Agent, media::Now) -> T + Send + 'static,
) -> Result<T, Fault> {
    peer.with(act).await.ok_or_else(|| Fault::new(format!("{} ended", peer.name), BUG))
}
