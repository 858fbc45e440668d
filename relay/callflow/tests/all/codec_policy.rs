//! Which codecs a trunk and a tenant allow, and in which order.

use b2bua::Plan;
use callflow::plan::{ANNA, BT, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{body, connect, hang_up, line};
use callflow::{Party, Who, World, sdp_text};
use sdp::Codecs;
use sip_core::Name;

const MANY: &[&str] =
    &["104 SILK/16000", "9 G722/8000", "8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"];

fn teams_offers(world: &mut World, payloads: &[&str]) -> Party {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        let sdp = sdp_text::secure(Who::Sip.media(), payloads);
        invite.set_body("application/sdp", sdp);
    })
}

/// The payload type numbers of a description.
fn offered(party: &Party) -> String {
    let sdp = body(&party.invite);
    line(&sdp, "m=").split("AVP ").nth(1).unwrap_or_default().to_owned()
}

fn refused(world: &mut World, caller: Party) {
    let refusal = caller.clone().hears(world, "488 INVITE");
    caller.acknowledges_failure(world, &refusal);
    let record = world.records.last().expect("a record");
    assert_eq!(record.cause, "no_common_codec");
    assert!(refusal.headers.get(Name::Reason).is_some());
}

/// TDR-COD-001, TDR-COD-002
#[test]
fn a_trunk_is_offered_its_own_codecs_in_its_own_order_and_events_stay() {
    for (of_trunk, of_tenant, expected) in [
        (Codecs::only(["PCMU", "PCMA"]), Codecs::default(), "0 8 101"),
        (Codecs::default(), Codecs::only(["PCMU", "PCMA"]), "0 8 101"),
        (Codecs::only(["PCMU", "PCMA", "G722"]), Codecs::only(["G722", "PCMU"]), "0 9 101"),
        (Codecs::only(["PCMA", "-telephone-event"]), Codecs::default(), "8"),
    ] {
        let mut world = World::with(1, |plan| {
            plan.trunks[COLT].codecs = of_trunk;
            plan.tenants[0].codecs = of_tenant;
        });
        let mut anna = teams_offers(&mut world, MANY);
        let mut subscriber = Party::called(&mut world, Who::Colt);
        assert_eq!(offered(&subscriber), expected);
        subscriber.answer(&mut world, &subscriber.invite, 180, |_| {});
        anna.hears(&mut world, "180 INVITE");
        let ours = body(&subscriber.invite);
        let first = ours.lines().find(|line| line.starts_with("a=rtpmap:")).unwrap();
        let payload = first.trim_start_matches("a=rtpmap:").to_owned();
        let answer = sdp_text::plain(Who::Colt.media(), &[payload.as_str()]);
        subscriber.accepts(&mut world, answer);
        let answered = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answered);
        subscriber.gets(&mut world, "ACK");
        hang_up(&mut world, &mut subscriber, &anna);
    }
}

#[test]
fn the_answer_to_a_caller_has_the_order_of_its_trunk() {
    let mut world =
        World::with(1, |plan| plan.trunks[TEAMS].codecs = Codecs::only(["PCMU", "PCMA"]));
    let mut anna = teams_offers(&mut world, MANY);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(offered(&subscriber), "0 8 101", "what Teams may not use is not offered on");
    subscriber.reply(&mut world, 200);
    let answered = anna.hears(&mut world, "200 INVITE");
    let sdp = body(&answered);
    assert!(line(&sdp, "m=").ends_with("SAVP 0 8 101"), "{sdp}");
    anna.acknowledges(&mut world, &answered);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut subscriber, &anna);
}

#[test]
fn a_call_without_a_codec_that_is_allowed_is_refused_or_goes_to_another_trunk() {
    let wide = |plan: &mut Plan| {
        plan.trunks[COLT].codecs = Codecs::only(["G729"]);
        plan.trunks[BT].codecs = Codecs::only(["G729"]);
    };
    let mut world = World::with(1, wide);
    let anna = teams_offers(&mut world, MANY);
    refused(&mut world, anna);
    assert_eq!(world.sent_to(Who::Colt, "INVITE") + world.sent_to(Who::Bt, "INVITE"), 0);
    let attempts: Vec<&str> =
        world.records[0].attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(attempts, ["no_common_codec", "no_common_codec"]);

    let mut world = World::with(1, |plan| plan.tenants[0].codecs = Codecs::only(["opus"]));
    let anna = teams_offers(&mut world, MANY);
    refused(&mut world, anna);

    let mut world = World::with(1, |plan| plan.trunks[COLT].codecs = Codecs::only(["G729"]));
    let mut anna = teams_offers(&mut world, MANY);
    let mut subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut subscriber, &anna);
}

#[test]
fn a_reinvite_brings_in_no_codec_that_is_not_allowed() {
    let mut world = World::with(1, |plan| plan.tenants[0].codecs = Codecs::only(["PCMA"]));
    let mut anna = teams_offers(&mut world, MANY);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(offered(&subscriber), "8 101");
    connect(&mut world, &mut anna, &subscriber);
    let g722 = sdp_text::plain(Who::Colt.media(), &["9 G722/8000"]).replacen(" 1 IN", " 2 IN", 1);
    let reinvite = subscriber.asks(&mut world, sip_core::Method::Invite, Some(g722));
    let refusal = subscriber.hears(&mut world, "488 INVITE");
    subscriber.acknowledges_failure_of(&mut world, &reinvite, &refusal);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    hang_up(&mut world, &mut subscriber, &anna);
}
