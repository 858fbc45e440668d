//! INVITEs without an offer: answered by us, never seen by Teams.

use callflow::plan::{ANNA, PSTN};
use callflow::script::{body, hang_up, line, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request, Response};

/// TDR-OUT-009.
#[test]
fn an_invite_without_offer_gets_ours_and_its_ack_the_answer() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let callee = Party::called(&mut world, Who::Sip);
    let offer = body(&callee.invite);
    assert!(line(&offer, "m=").starts_with("m=audio"), "{offer}");
    for codec in ["PCMA/8000", "PCMU/8000", "telephone-event/8000"] {
        assert!(offer.contains(codec), "{codec}");
    }
    let payloads = ["0 PCMU/8000", "101 telephone-event/8000"];
    callee.accepts(&mut world, sdp_text::secure(Who::Sip.media(), &payloads));
    let ours = caller.hears(&mut world, "200 INVITE");
    // No more than Teams has agreed to.
    assert!(body(&ours).contains("PCMU/8000") && !body(&ours).contains("PCMA/8000"));
    let answer = sdp_text::plain(Who::Colt.media(), &["0 PCMU/8000", "101 telephone-event/8000"]);
    caller.acknowledges_with(&mut world, &ours, &answer);
    callee.gets(&mut world, "ACK");
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &callee);
    assert_eq!(world.records[0].status, 200);
}

#[test]
fn offerless_invite_ack_without_answer_ends_both_sides() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 200);
    let ours = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &ours);
    let bye = caller.is_hung_up(&mut world);
    assert_eq!(bye.headers.get(Name::Reason), Some(&b"SIP;cause=488"[..]));
    callee.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "ack_without_answer");
}

#[test]
fn offerless_invite_ack_with_another_codec_ends_both_sides() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 200);
    let ours = caller.hears(&mut world, "200 INVITE");
    let foreign = sdp_text::plain(Who::Colt.media(), &["9 G722/8000"]);
    caller.acknowledges_with(&mut world, &ours, &foreign);
    caller.is_hung_up(&mut world);
    callee.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "ack_answer_refused");
}

#[test]
fn the_callee_hangs_up_before_the_ack_with_the_answer_and_its_media_stays_closed() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let mut callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 200);
    let ours = caller.hears(&mut world, "200 INVITE");
    callee.gets(&mut world, "ACK");
    // BYE comes first, and both before the engine has closed the ports.
    let bye = callee.request(&mut world, Method::Bye);
    world.send(callee.who, bye);
    caller.acknowledges_with(&mut world, &ours, &usual_sdp(Who::Colt));
    callee.hears(&mut world, "200 BYE");
    caller.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "callee_hangup");
}

#[test]
fn offerless_invite_whose_ack_never_comes_is_hung_up_on_both_sides() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 200);
    caller.hears(&mut world, "200 INVITE");
    world.run_for(secs(33));
    caller.is_hung_up(&mut world);
    callee.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "ack_missing");
}

#[test]
fn early_media_for_an_offerless_caller_is_ringing_without_sdp() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |_| {});
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 183);
    let ringing = caller.hears(&mut world, "180 INVITE");
    assert!(ringing.body().is_empty());
    callee.reply(&mut world, 200);
    let ours = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges_with(&mut world, &ours, &usual_sdp(Who::Colt));
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Colt, "183 INVITE"), 0);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn offerless_with_100rel_has_the_offer_in_the_183_and_the_answer_in_prack() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |it| it.headers.push(Name::Require, "100rel"));
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    assert!(line(&body(&early), "m=").starts_with("m=audio"));
    prack(&mut world, &mut caller, &early, Some(usual_sdp(Who::Colt)));
    caller.hears(&mut world, "200 PRACK");
    callee.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    assert!(answer.body().is_empty());
    caller.acknowledges(&mut world, &answer);
    world.run_for(ms(50));
    hang_up(&mut world, &mut caller, &callee);
    assert_eq!(world.records[0].cause, "caller_hangup");
}

#[test]
fn offerless_with_100rel_has_our_offer_in_the_180_already() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |it| it.headers.push(Name::Require, "100rel"));
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    assert!(line(&body(&ringing), "m=").starts_with("m=audio"));
    callee.reply(&mut world, 200);
    world.run_for(ms(300));
    assert_eq!(world.sent_to(Who::Colt, "200 INVITE"), 0);
    prack(&mut world, &mut caller, &ringing, Some(usual_sdp(Who::Colt)));
    let answer = caller.hears(&mut world, "200 INVITE");
    assert!(answer.body().is_empty());
    caller.acknowledges(&mut world, &answer);
    world.run_for(ms(50));
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn offerless_prack_without_answer_refuses_the_call() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |it| it.headers.push(Name::Require, "100rel"));
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    prack(&mut world, &mut caller, &early, None);
    caller.hears(&mut world, "200 PRACK");
    let refused = caller.hears(&mut world, "488 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    callee.is_cancelled(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "prack_without_answer");
}

#[test]
fn an_offer_that_offers_nothing_is_refused_and_teams_hears_nothing() {
    let all_rejected =
        usual_sdp(Who::Colt).replace(&format!("m=audio {}", Who::Colt.media().port()), "m=audio 0");
    let usual = usual_sdp(Who::Colt);
    let no_media = usual.split("m=audio").next().unwrap_or_default().to_owned();
    let video_only = usual.replace("m=audio", "m=video");
    for sdp in [all_rejected, no_media, video_only] {
        let mut world = World::new(1);
        let mut caller = calls(&mut world, |it| it.set_body("application/sdp", sdp));
        let refused = caller.hears(&mut world, "488 INVITE");
        assert!(refused.headers.get(Name::Warning).is_some());
        caller.acknowledges_failure(&mut world, &refused);
        world.run_for(ms(50));
        assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    }
}

fn calls(world: &mut World, edit: impl FnOnce(&mut Request)) -> Party {
    let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
    Party::call(world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.remove(Name::ContentType);
        invite.set_body("application/sdp", "");
        edit(invite);
    })
}

fn prack(world: &mut World, caller: &mut Party, response: &Response, sdp: Option<String>) {
    let rseq = response.headers.get(Name::RSeq).unwrap_or_default();
    let rack = format!("{} 1 INVITE", String::from_utf8_lossy(rseq));
    let mut prack = caller.request(world, Method::Prack);
    prack.headers.push(Name::RAck, rack);
    if let Some(sdp) = sdp {
        prack.set_body("application/sdp", sdp);
    }
    world.send(caller.who, prack);
}
