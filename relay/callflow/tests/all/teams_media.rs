//! What Teams is told of our media, and what becomes of an answer of its that tells too little.

use callflow::plan::{ANNA, COLT, CONTOSO, INSIDE, OUTSIDE, PSTN, TEAMS};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World, sdp_text, secs};
use sdp::Keying;
use std::collections::BTreeSet;

fn is_busy(world: &mut World, caller: &mut Party, called: &Party) {
    called.reply(world, 486);
    let refusal = caller.hears(world, "486 INVITE");
    caller.acknowledges_failure(world, &refusal);
}

/// TDR-MED-004: the address behind the NAT is our own business.
#[test]
fn descriptions_name_the_public_address_and_not_the_one_that_is_bound() {
    for bypass in [false, true] {
        let mut world = World::with(1, |plan| {
            for address in [OUTSIDE, INSIDE] {
                plan.media[address].bind = [10, 1, 2, 3].into();
            }
            if bypass {
                plan.trunks[TEAMS].ice = sdp::IcePolicy::Bypass;
            }
        });
        let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
        let called = Party::called(&mut world, Who::Sip);
        let offer = body(&called.invite);
        assert_eq!(line(&offer, "c="), "c=IN IP4 203.0.113.10");
        assert_eq!(
            offer.contains("a=candidate:1 1 UDP 2130706431 203.0.113.10 "),
            bypass,
            "{offer}"
        );
        assert!(!offer.contains("10.1.2.3"), "{offer}");
        is_busy(&mut world, &mut caller, &called);
    }
}

/// TDR-SRTP-007, TDR-ICE-001: neither DTLS nor ICE, whatever the carrier's trunk has.
#[test]
fn teams_is_offered_crypto_lines_alone_though_the_carrier_has_dtls_and_ice() {
    let mut world = World::with(1, |plan| {
        let carrier = &mut plan.trunks[COLT];
        carrier.srtp = b2bua::plan::SrtpPolicy::Preferred;
        (carrier.keying, carrier.ice) = (Keying::Dtls, sdp::IcePolicy::Full);
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let called = Party::called(&mut world, Who::Sip);
    let offer = body(&called.invite);
    assert!(line(&offer, "m=").contains(" RTP/SAVP "), "{offer}");
    assert_eq!(offer.matches("a=crypto:").count(), 1);
    for absent in ["fingerprint", "setup", "tls-id", "a=ice", "candidate"] {
        assert!(!offer.contains(absent), "{absent} in {offer}");
    }
    is_busy(&mut world, &mut caller, &called);
}

/// TDR-SRTP-003
#[test]
fn no_two_calls_have_a_key_in_common_nor_have_a_target_and_the_next() {
    let mut world = World::new(1);
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let mut told = |offer: &str| {
        let crypto = line(offer, "a=crypto:").to_owned();
        let key = crypto.split("inline:").nth(1).and_then(|it| it.split('|').next());
        assert!(keys.insert(key.expect("a key").to_owned()), "twice: {crypto}");
    };
    for _ in 0..4 {
        let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
        let first = Party::called(&mut world, Who::Sip);
        told(&body(&first.invite));
        first.reply(&mut world, 503);
        let second = Party::called(&mut world, Who::Sip2);
        told(&body(&second.invite));
        is_busy(&mut world, &mut caller, &second);
    }
    // Nor is the far side's own key ever ours.
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    told(&body(&answer));
    told(&body(&anna.invite));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-SDP-004: a 200 that cannot be used is acknowledged and hung up, and the caller gets 488.
#[test]
fn an_answer_of_teams_without_a_key_that_can_be_used_ends_the_call() {
    for (from, to) in [("a=crypto:1", "a=x-crypto:1"), (sdp_text::KEY, "QUFB")] {
        let mut world = World::new(1);
        let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
        let called = Party::called(&mut world, Who::Sip);
        let answer = sdp_text::teams(Who::Sip.media()).replace(from, to);
        called.accepts(&mut world, answer);
        called.gets(&mut world, "ACK");
        called.is_hung_up(&mut world);
        let refusal = caller.hears(&mut world, "488 INVITE");
        caller.acknowledges_failure(&mut world, &refusal);
        world.run_for(secs(1));
        assert_eq!(world.records[0].status, 488);
    }
}
