//! What a carrier has against a request before it looks at the call: who asks, how, and when.

use crate::abilities::{Abilities, Challenges, Reliability};
use crate::core::Core;
use crate::persona::{Persona, user_of};
use media::Now;
use rand_core::RngCore;
use sip_core::auth::{Guard, Verdict};
use sip_core::transaction::ServerId;
use sip_core::usage::prack::REL100;
use sip_core::usage::session_timer::SessionTimer;
use sip_core::{Method, Name, Request, Response};

/// Whose users may call.
const REALM: &str = "carrier.example";

/// Refuses a request that this carrier has something against; whether it did.
pub(crate) fn stops(core: &mut Core, now: Now, server: ServerId, request: &Request) -> bool {
    let Some(refusal) = refusal(core, now, request) else { return false };
    core.respond(now.mono, server, refusal);
    true
}

fn refusal(core: &mut Core, now: Now, request: &Request) -> Option<Response> {
    let Persona::Carrier(carrier) = &core.persona else { return None };
    let abilities = &carrier.abilities;
    let within = request.headers.to().tag().is_some();
    let numbers = (core.rng.next_u64(), core.rng.next_u64());
    let tag = format!("{:016x}", numbers.0);
    let refuse = |status| Response::to(request, status, Some(tag.as_bytes()));
    if let Some(challenges) = &abilities.challenges
        && asks(challenges, request, within)
    {
        let guard = core.guard.get_or_insert_with(|| {
            let mut key = [0; 32];
            core.rng.fill_bytes(&mut key);
            Guard::new(now.mono, key, REALM, &challenges.algorithms)
        });
        let users = std::slice::from_ref(&challenges.user);
        if let Verdict::Denied(why) = guard.judge(now.mono, challenges.asker, request, users) {
            let proxy = challenges.asker == sip_core::auth::Asker::Proxy;
            let mut response = refuse(if proxy { 407 } else { 401 });
            let stale = why.is_stale();
            guard.challenge(now.mono, challenges.asker, &mut response, stale, numbers.1);
            return Some(response);
        }
    }
    if request.method != Method::Invite {
        return None;
    }
    if within {
        return put_off(abilities, numbers.1).map(|(status, retry_after)| {
            let mut response = refuse(status);
            if retry_after {
                response.headers.push(Name::RetryAfter, "1");
            }
            response
        });
    }
    unfit(abilities, request, refuse).or_else(|| {
        let to = abilities.redirect.as_ref().filter(|to| user_of(&request.uri) != **to)?;
        let mut response = refuse(302);
        response.headers.push(Name::Contact, format!("<sip:{to}@{}>", carrier.local));
        Some(response)
    })
}

fn asks(challenges: &Challenges, request: &Request, within: bool) -> bool {
    match request.method {
        Method::Invite => !within || challenges.within,
        Method::Bye | Method::Update => challenges.within,
        _ => false,
    }
}

/// Chance that this re-INVITE is refused, and whether with a time to come again.
fn put_off(abilities: &Abilities, number: u64) -> Option<(u16, bool)> {
    let hits = |one_in: u32, number: u64| one_in > 0 && number.is_multiple_of(u64::from(one_in));
    match number % 2 {
        0 if hits(abilities.glares, number / 2) => Some((491, false)),
        1 if hits(abilities.puts_off, number / 2) => Some((500, true)),
        _ => None,
    }
}

/// An INVITE that asks for what this carrier has not, or lacks what it must have.
fn unfit(
    abilities: &Abilities,
    invite: &Request,
    refuse: impl Fn(u16) -> Response,
) -> Option<Response> {
    let has = |name| invite.headers.has_token(name, REL100);
    let (requires, supports) = (has(Name::Require), has(Name::Supported));
    if requires && abilities.reliable == Reliability::Off {
        let mut response = refuse(420);
        response.headers.push(Name::Unsupported, REL100);
        return Some(response);
    }
    if abilities.reliable == Reliability::Required && !requires && !supports {
        let mut response = refuse(421);
        response.headers.push(Name::Require, REL100);
        return Some(response);
    }
    let judged = SessionTimer::new(abilities.session).judge(&invite.headers);
    judged.err().map(|small| {
        let mut response = refuse(422);
        response.headers.push(Name::MinSe, small.min_s.to_string());
        response
    })
}
