//! Laws of single extensions and of numbering, which hold whatever the far sides do; and two that
//! need far sides who repeat themselves only as RFC 3261 has it.

use super::{SHORTEST_NAME, is_teams, octets, text, to_tag};
use crate::ladder::Step;
use crate::plan::{ANNA, BORIS};
use sip_core::usage::prack::{RAck, REL100};
use sip_core::{Headers, Message, Method, Name, Request, Response};
use std::collections::{BTreeMap, BTreeSet};

/// What Teams knows nothing of (TDR-DLG-001, TDR-DLG-003, TDR-EM-024, TDR-OUT-009).
pub(super) fn spared(steps: &[Step], broken: &mut Vec<String>) {
    for step in steps.iter().filter(|step| !step.to_us && is_teams(step)) {
        let headers = step.message.headers();
        let reliable = [Name::Require, Name::Supported]
            .into_iter()
            .any(|name| headers.has_token(name, REL100));
        if reliable || headers.get(Name::RSeq).is_some() {
            broken.push("Teams was told of 100rel".to_owned());
        }
        let Message::Request(request) = &step.message else { continue };
        let method = text(request.method.as_bytes());
        if !KNOWN_TO_TEAMS.contains(&method.as_str()) {
            broken.push(format!("Teams got {method}"));
        }
        if request.method == Method::Invite && request.body().is_empty() {
            broken.push("Teams got an INVITE without an offer".to_owned());
        }
    }
}

const KNOWN_TO_TEAMS: [&str; 6] = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "NOTIFY"];

/// The numbers of our requests rise within a dialog; a repeat has the branch of the first, or goes
/// elsewhere because the first could not be delivered (RFC 3263, 4.3).
pub(super) fn numbered(steps: &[Step], broken: &mut Vec<String>) {
    let mut last: BTreeMap<(String, String, String), (u32, bool)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for step in steps.iter().filter(|step| !step.to_us) {
        let Message::Request(request) = &step.message else { continue };
        if matches!(request.method, Method::Ack | Method::Cancel)
            || !seen.insert(branch(&request.headers))
        {
            continue;
        }
        let headers = &request.headers;
        let (call_id, from) = (text(headers.call_id()), from_tag(headers));
        let opening = (call_id.clone(), from.clone(), String::new());
        let key = (call_id, from, to_tag(headers));
        let before = last.get(&key).or_else(|| last.get(&opening)).copied();
        let (before, delivered) = before.unwrap_or_default();
        let number = headers.cseq().number;
        if number < before || (number == before && delivered) {
            let method = text(request.method.as_bytes());
            broken.push(format!("{method} {number} of {} came after {before}", key.0));
        }
        last.insert(key, (number, step.arrived > 0));
    }
}

/// Our reliable provisional responses are numbered without a gap, and only those that require it.
pub(super) fn reliably(steps: &[Step], broken: &mut Vec<String>) {
    let mut last: BTreeMap<String, (u32, Vec<u8>)> = BTreeMap::new();
    for response in our_responses(steps) {
        let headers = &response.headers;
        // 421 requires it of the next INVITE.
        let requires = response.status < 200 && headers.has_token(Name::Require, REL100);
        let number = headers.get(Name::RSeq).and_then(|it| text(it).parse::<u32>().ok());
        let Some(number) = number.filter(|_| requires) else {
            if requires || number.is_some() {
                broken.push("a response has RSeq without Require, or Require without RSeq".into());
            }
            continue;
        };
        let written = octets(&Message::Response(response.clone()));
        let before = last.insert(transaction(headers), (number, written.clone()));
        match before {
            Some((same, octets)) if same == number && octets == written => {}
            Some((one, _)) if number == one + 1 => {}
            None => {}
            Some((before, _)) => {
                broken.push(format!("RSeq {number} of {} after {before}", text(headers.call_id())));
            }
        }
    }
    let heard: BTreeSet<(String, u32, u32)> = steps
        .iter()
        .filter(|step| step.to_us && step.arrived > 0)
        .filter_map(|step| match &step.message {
            Message::Response(response) => {
                let headers = &response.headers;
                let number = text(headers.get(Name::RSeq)?).parse().ok()?;
                Some((text(headers.call_id()), number, headers.cseq().number))
            }
            Message::Request(_) => None,
        })
        .collect();
    for prack in ours(steps).filter(|request| request.method == Method::Prack) {
        let rack = RAck::of(&prack.headers);
        let call_id = text(prack.headers.call_id());
        if !rack.is_some_and(|it| heard.contains(&(call_id.clone(), it.rseq, it.cseq))) {
            broken.push(format!("a PRACK of {call_id} acknowledges what was never heard"));
        }
    }
}

/// One offer gets one answer, whatever number of responses carry it.
pub(super) fn answered_once(steps: &[Step], broken: &mut Vec<String>) {
    let mut answers: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let offers: BTreeSet<String> = theirs(steps)
        .filter(|it| !it.body().is_empty())
        .map(|it| transaction(&it.headers))
        .collect();
    for response in our_responses(steps) {
        let key = transaction(&response.headers);
        if !(101..300).contains(&response.status)
            || response.body().is_empty()
            || !offers.contains(&key)
        {
            continue;
        }
        // An INVITE that comes again after its end begins another call, with another tag of ours.
        let key = format!("{key} {}", to_tag(&response.headers));
        let first = answers.entry(key).or_insert_with(|| response.body().to_vec());
        if first.as_slice() != response.body().as_ref() {
            let call_id = text(response.headers.call_id());
            broken.push(format!("two answers to one offer of {call_id}"));
        }
    }
}

/// Our ACK goes to every failure that our INVITE was told (RFC 3261, 17.1.1.3).
pub(super) fn failures_acknowledged(steps: &[Step], broken: &mut Vec<String>) {
    let of = |method: Method| {
        let wanted = ours(steps).filter(move |request| request.method == method);
        wanted.map(|request| branch(&request.headers)).collect::<BTreeSet<String>>()
    };
    let (invites, acks) = (of(Method::Invite), of(Method::Ack));
    for step in steps.iter().filter(|step| step.to_us && step.arrived > 0) {
        let Message::Response(response) = &step.message else { continue };
        let headers = &response.headers;
        let failed = response.status >= 300 && headers.cseq().method == Method::Invite;
        let branch = branch(headers);
        if failed && invites.contains(&branch) && !acks.contains(&branch) {
            let call_id = text(headers.call_id());
            broken.push(format!("{} to an INVITE of {call_id} got no ACK", response.status));
        }
    }
}

/// One INVITE gets one final response, in the same octets each time.
pub(super) fn final_once(steps: &[Step], broken: &mut Vec<String>) {
    let mut finals: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for response in our_responses(steps) {
        let headers = &response.headers;
        if response.status < 200 || headers.cseq().method != Method::Invite {
            continue;
        }
        let written = octets(&Message::Response(response.clone()));
        let first = finals.entry(transaction(headers)).or_insert_with(|| written.clone());
        if *first != written {
            let call_id = text(headers.call_id());
            broken.push(format!("an INVITE of {call_id} got two final responses"));
        }
    }
}

/// Every request that came gets its final response.
pub(super) fn finished(steps: &[Step], broken: &mut Vec<String>) {
    let over: BTreeSet<String> = our_responses(steps)
        .filter(|response| response.status >= 200)
        .map(|response| transaction(&response.headers))
        .collect();
    for request in theirs(steps).filter(|request| request.method != Method::Ack) {
        let key = transaction(&request.headers);
        if !over.contains(&key) {
            let (method, call_id) = (&request.method, text(request.headers.call_id()));
            broken.push(format!("{method} of {call_id} got no final response"));
        }
    }
}

/// Nothing that we say of a call names a number of the tenant that has no part in it.
pub(super) fn numbers(steps: &[Step], broken: &mut Vec<String>) {
    let mut calls: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for step in steps.iter().filter(|step| !step.to_us) {
        let octets = text(&octets(&step.message));
        let seen = calls.entry(text(step.message.headers().call_id())).or_default();
        let users = [ANNA, BORIS].into_iter().filter(|it| it.len() >= SHORTEST_NAME);
        seen.extend(users.filter(|number| octets.contains(number)));
    }
    for (call_id, seen) in calls.iter().filter(|(_, seen)| seen.len() > 1) {
        broken.push(format!("{call_id} names {seen:?}"));
    }
}

fn ours(steps: &[Step]) -> impl Iterator<Item = &Request> {
    steps.iter().filter(|step| !step.to_us).filter_map(|step| match &step.message {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    })
}

/// The requests that reached us.
fn theirs(steps: &[Step]) -> impl Iterator<Item = &Request> {
    let came = steps.iter().filter(|step| step.to_us && step.arrived > 0);
    came.filter_map(|step| match &step.message {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    })
}

fn our_responses(steps: &[Step]) -> impl Iterator<Item = &Response> {
    steps.iter().filter(|step| !step.to_us).filter_map(|step| match &step.message {
        Message::Response(response) => Some(response),
        Message::Request(_) => None,
    })
}

/// What makes two messages of one transaction one.
fn transaction(headers: &Headers) -> String {
    let cseq = headers.cseq();
    let call_id = text(headers.call_id());
    let from = from_tag(headers);
    format!("{call_id} {from} {} {} {}", cseq.number, text(cseq.method.as_bytes()), branch(headers))
}

fn branch(headers: &Headers) -> String {
    headers.top_via().branch().map(text).unwrap_or_default()
}

fn from_tag(headers: &Headers) -> String {
    headers.from().tag().map(text).unwrap_or_default()
}
