//! What a flow by chance has met: a simulation that no longer meets something proves nothing of it.

use crate::ladder::Step;
use crate::plan::ELSEWHERE;
use sip_core::{Message, Method, Name, Request, Response};
use std::collections::BTreeMap;

/// Flows from which on a floor is asked for: fewer may miss something by chance.
pub const FLOWS_MIN: u64 = 1000;

/// What must be met, and how often in a thousand flows: about a third of what chance gives.
pub const FLOORS: &[(&str, u64)] = &[
    ("bad extension", 40),
    ("challenge", 130),
    ("connection dropped", 150),
    ("extension required", 40),
    ("glare told by us", 12),
    ("glare told to us", 10),
    ("interval refused by us", 60),
    ("interval refused to us", 25),
    ("long calls", 12),
    ("media refused", 35),
    ("offerless", 40),
    ("prack given", 120),
    ("prack taken", 45),
    ("put off", 5),
    ("redirect", 80),
    ("redirected", 30),
    ("reload", 100),
    ("replaces", 25),
    ("session request", 40),
    ("shutdown", 15),
    ("signed", 80),
    ("signed within", 15),
    ("transfer", 10),
    ("transfer told", 20),
    ("update given", 1),
    ("update taken", 15),
];

/// What was met, and how often.
#[derive(Clone, Debug, Default)]
pub struct Met {
    counts: BTreeMap<&'static str, u64>,
}

impl Met {
    /// Once more.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Adds what another flow has met.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// How often this was met.
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// All of it, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.counts.iter().map(|(what, count)| (*what, *count))
    }

    /// What so many flows have met too rarely.
    pub fn missing(&self, flows: u64) -> Vec<String> {
        let floors = FLOORS.iter().filter(|_| flows >= FLOWS_MIN);
        let floors = floors.map(|(what, floor)| (what, self.of(what), floor * flows / 1000));
        floors
            .filter(|(_, met, floor)| met < floor)
            .map(|(what, met, floor)| format!("{what} was met {met} times, not {floor}"))
            .collect()
    }

    /// Counts what stands in the messages; a repeat counts again.
    pub(crate) fn read(&mut self, steps: &[Step]) {
        for step in steps.iter().filter(|step| step.arrived > 0) {
            let found = match &step.message {
                Message::Request(request) => asked(request, step.to_us),
                Message::Response(response) => answered(response, step.to_us),
            };
            if let Some(what) = found {
                self.count(what);
            }
        }
    }
}

fn asked(request: &Request, to_us: bool) -> Option<&'static str> {
    let headers = &request.headers;
    let signed = [Name::Authorization, Name::ProxyAuthorization];
    let within = headers.to().tag().is_some();
    match (&request.method, to_us) {
        (Method::Ack, true) if !request.body().is_empty() => Some("offerless"),
        (Method::Refer, true) => Some("transfer asked"),
        (Method::Invite, true) if headers.get(Name::Replaces).is_some() => Some("replaces"),
        (_, false) if signed.iter().any(|name| headers.get(*name).is_some()) => {
            Some(if within { "signed within" } else { "signed" })
        }
        (Method::Invite, false) if contains(&request.uri, ELSEWHERE) => Some("redirected"),
        (Method::Invite | Method::Update, false)
            if within && headers.get(Name::SessionExpires).is_some() =>
        {
            Some("session request")
        }
        _ => None,
    }
}

fn answered(response: &Response, to_us: bool) -> Option<&'static str> {
    let method = response.headers.cseq().method;
    Some(match (response.status, &method, to_us) {
        (200, Method::Prack, false) => "prack taken",
        (200, Method::Prack, true) => "prack given",
        (200, Method::Update, false) => "update taken",
        (200, Method::Update, true) => "update given",
        (202, Method::Refer, false) => "transfer",
        (200, Method::Notify, true) => "transfer told",
        (300..=399, Method::Invite, true) => "redirect",
        (401 | 407, _, true) => "challenge",
        (420, Method::Invite, _) => "bad extension",
        (421, Method::Invite, _) => "extension required",
        (422, _, false) => "interval refused by us",
        (422, _, true) => "interval refused to us",
        (491, _, false) => "glare told by us",
        (491, _, true) => "glare told to us",
        (500, _, true) if response.headers.get(Name::RetryAfter).is_some() => "put off",
        (504, Method::Invite, false) => "timed out",
        _ => return None,
    })
}

fn contains(octets: &[u8], part: &str) -> bool {
    octets.windows(part.len()).any(|window| window == part.as_bytes())
}
