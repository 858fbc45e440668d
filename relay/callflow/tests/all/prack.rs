//! Reliable provisional responses: a carrier that insists on them, against a Teams that has none.

use b2bua::plan::Reliable;
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{body, hang_up, line, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request, Response};

/// TDR-DLG-003.
#[test]
fn prack_lost_three_times_and_the_183_comes_again_until_one_arrives() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    assert_eq!(early.headers.get(Name::Require), Some(&b"100rel"[..]));
    world.network.lose(3, "PRACK");
    let prack = prack_for(&mut world, &mut caller, &early, None);
    for _ in 0..2 {
        caller.hears(&mut world, "183 INVITE");
        world.send(Who::Colt, prack.clone());
    }
    caller.hears(&mut world, "183 INVITE");
    world.send(Who::Colt, prack.clone());
    caller.hears(&mut world, "200 PRACK");
    world.run_for(secs(9));
    assert_eq!(world.sent_to(Who::Colt, "183 INVITE"), 4);
    answer(&mut world, &mut caller, &callee);
    let mut callee = callee;
    hang_up(&mut world, &mut callee, &caller);
    assert_eq!(world.sent_to(Who::Sip, "PRACK"), 0);
}

#[test]
fn prack_never_comes_and_the_call_fails_with_504_after_64_t1() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    caller.hears(&mut world, "183 INVITE");
    world.run_for(secs(33));
    let refused = caller.hears(&mut world, "504 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    callee.is_cancelled(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "prack_missing");
    assert_eq!(world.sent_to(Who::Colt, "183 INVITE"), 7);
}

#[test]
fn the_200_waits_for_the_prack_of_the_183_and_holds_no_second_answer() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    assert!(line(&body(&early), "m=").starts_with("m=audio"));
    callee.reply(&mut world, 200);
    callee.gets(&mut world, "ACK");
    world.run_for(ms(300));
    assert_eq!(world.sent_to(Who::Colt, "200 INVITE"), 0);
    prack_for(&mut world, &mut caller, &early, None);
    caller.hears(&mut world, "200 PRACK");
    let answer = caller.hears(&mut world, "200 INVITE");
    assert!(answer.body().is_empty());
    assert!(answer.headers.get(Name::RSeq).is_none());
    caller.acknowledges(&mut world, &answer);
    world.run_for(ms(50));
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn the_callee_hangs_up_while_its_200_waits_for_prack() {
    let mut world = World::new(1);
    let (mut caller, mut callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    caller.hears(&mut world, "183 INVITE");
    callee.reply(&mut world, 200);
    callee.gets(&mut world, "ACK");
    callee.hangs_up(&mut world);
    let refused = caller.hears(&mut world, "480 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    assert_eq!(world.records[0].cause, "callee_hangup");
}

#[test]
fn the_caller_cancels_while_the_200_waits_for_its_prack() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    caller.hears(&mut world, "183 INVITE");
    callee.reply(&mut world, 200);
    callee.gets(&mut world, "ACK");
    caller.cancels(&mut world, None);
    let refused = caller.hears(&mut world, "487 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    callee.is_hung_up(&mut world);
}

#[test]
fn an_unacknowledged_180_holds_nothing_back_and_its_late_prack_is_welcome() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    callee.reply(&mut world, 183);
    callee.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    // The 183 waited and is never sent, so the answer stands in the 200.
    assert_eq!(world.sent_to(Who::Colt, "183 INVITE"), 0);
    assert!(line(&body(&answer), "m=").starts_with("m=audio"));
    caller.acknowledges(&mut world, &answer);
    prack_for(&mut world, &mut caller, &ringing, None);
    caller.hears(&mut world, "200 PRACK");
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn the_callee_hangs_up_early_and_its_200_comes_all_the_same() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut callee = Party::called(&mut world, Who::Colt);
    reliably(&mut world, &callee, 183, 1);
    let prack = callee.gets(&mut world, "PRACK");
    callee.answer(&mut world, &prack, 200, |_| {});
    callee.hangs_up(&mut world);
    let cancel = callee.gets(&mut world, "CANCEL");
    callee.answer(&mut world, &cancel, 200, |_| {});
    let refused = anna.hears(&mut world, "480 INVITE");
    anna.acknowledges_failure(&mut world, &refused);
    callee.reply(&mut world, 200);
    callee.gets(&mut world, "ACK");
    let bye = callee.is_hung_up(&mut world);
    assert!(bye.headers.cseq().number > prack.headers.cseq().number);
}

#[test]
fn a_prack_for_nothing_that_is_out_is_refused() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    let mut stray = caller.request(&mut world, Method::Prack);
    stray.headers.push(Name::RAck, "77 1 INVITE");
    world.send(Who::Colt, stray);
    caller.hears(&mut world, "481 PRACK");
    prack_for(&mut world, &mut caller, &ringing, None);
    caller.hears(&mut world, "200 PRACK");
    prack_for(&mut world, &mut caller, &ringing, None);
    caller.hears(&mut world, "481 PRACK");
    answer(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn an_offer_in_prack_is_answered_in_its_200_and_teams_hears_nothing() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    let moved =
        sdp_text::turned(&usual_sdp(Who::Colt), "sendrecv").replace("m=audio 4", "m=audio 5");
    prack_for(&mut world, &mut caller, &early, Some(moved));
    let accepted = caller.hears(&mut world, "200 PRACK");
    assert!(line(&body(&accepted), "m=").starts_with("m=audio"));
    answer(&mut world, &mut caller, &callee);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn an_offer_in_prack_without_a_codec_in_common_leaves_the_call_as_it_is() {
    let mut world = World::new(1);
    let (mut caller, callee) = reliable_call(&mut world);
    callee.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    let foreign = sdp_text::plain(Who::Colt.media(), &["9 G722/8000"]);
    prack_for(&mut world, &mut caller, &early, Some(foreign));
    caller.hears(&mut world, "488 PRACK");
    answer(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
}

/// TDR-EM-024.
/// TDR-DLG-003, TDR-OUT-011.
#[test]
fn require_100rel_is_refused_where_the_trunk_is_off_and_from_teams_always() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].reliable = Reliable::Off);
    let mut caller = calls(&mut world, |invite| invite.headers.push(Name::Require, "100rel"));
    let refused = caller.hears(&mut world, "420 INVITE");
    assert_eq!(refused.headers.get(Name::Unsupported), Some(&b"100rel"[..]));
    caller.acknowledges_failure(&mut world, &refused);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.headers.push(Name::Require, "100rel");
    });
    let refused = anna.hears(&mut world, "420 INVITE");
    anna.acknowledges_failure(&mut world, &refused);
}

#[test]
fn a_carrier_without_100rel_is_refused_where_the_trunk_requires_it() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].reliable = Reliable::Required);
    let mut caller = calls(&mut world, |_| {});
    let refused = caller.hears(&mut world, "421 INVITE");
    assert_eq!(refused.headers.get(Name::Require), Some(&b"100rel"[..]));
    caller.acknowledges_failure(&mut world, &refused);
    let mut caller = calls(&mut world, |it| it.headers.push(Name::Supported, "timer, 100rel"));
    let callee = Party::called(&mut world, Who::Sip);
    callee.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    prack_for(&mut world, &mut caller, &ringing, None);
    caller.hears(&mut world, "200 PRACK");
    answer(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn a_caller_that_only_supports_100rel_is_not_troubled_with_it() {
    let mut world = World::new(1);
    let mut caller = calls(&mut world, |it| it.headers.push(Name::Supported, "100rel"));
    let callee = Party::called(&mut world, Who::Sip);
    assert!(!callee.invite.headers.has_token(Name::Supported, "100rel"));
    callee.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    assert!(ringing.headers.get(Name::Require).is_none());
    answer(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
}

/// TDR-EM-024.
/// TDR-DLG-003.
#[test]
fn second_reliable_183_before_prack_arrives_is_acknowledged_in_order() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert!(subscriber.invite.headers.has_token(Name::Supported, "100rel"));
    reliably(&mut world, &subscriber, 183, 8);
    // The third overtakes the second and is not heard; the first comes twice.
    reliably(&mut world, &subscriber, 180, 10);
    reliably(&mut world, &subscriber, 183, 8);
    world.run_for(ms(100));
    assert_eq!(world.sent_to(Who::Colt, "PRACK"), 1);
    reliably(&mut world, &subscriber, 183, 9);
    for (rseq, cseq) in [(8, 2), (9, 3)] {
        let prack = subscriber.gets(&mut world, "PRACK");
        let expected = format!("{rseq} 1 INVITE");
        assert_eq!(prack.headers.get(Name::RAck), Some(expected.as_bytes()));
        assert_eq!(prack.headers.cseq().number, cseq);
        assert_eq!(prack.headers.to().tag(), Some(subscriber.tag.as_bytes()));
        subscriber.answer(&mut world, &prack, 200, |_| {});
    }
    let early = anna.hears(&mut world, "183 INVITE");
    assert!(early.headers.get(Name::Require).is_none());
    subscriber.answer(&mut world, &subscriber.invite, 200, |_| {});
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&early), body(&answer));
    anna.acknowledges(&mut world, &answer);
    let ack = subscriber.gets(&mut world, "ACK");
    assert_eq!(ack.headers.cseq().number, 1);
    hang_up(&mut world, &mut anna, &subscriber);
    assert_eq!(world.sent_by(Who::Sip, "481 PRACK"), 0);
}

#[test]
fn of_two_reliable_forks_the_loser_answers_late_and_its_bye_follows_its_prack() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let one = Party::called(&mut world, Who::Colt);
    let two = one.fork(&mut world);
    reliably(&mut world, &one, 183, 1);
    reliably(&mut world, &two, 183, 500);
    for fork in [&one, &two] {
        let prack = fork.gets(&mut world, "PRACK");
        assert_eq!(prack.headers.to().tag(), Some(fork.tag.as_bytes()));
        fork.answer(&mut world, &prack, 200, |_| {});
    }
    two.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    one.reply(&mut world, 200);
    let bye = one.is_hung_up(&mut world);
    assert_eq!(bye.headers.to().tag(), Some(one.tag.as_bytes()));
    assert_eq!(bye.headers.cseq().number, 3, "INVITE, PRACK and BYE count up");
    hang_up(&mut world, &mut anna, &two);
}

#[test]
fn a_prack_that_is_never_answered_does_not_hold_the_call_back() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    reliably(&mut world, &subscriber, 180, 1);
    anna.hears(&mut world, "180 INVITE");
    world.run_for(secs(40));
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_trunk_that_requires_it_says_so_in_our_invite() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].reliable = Reliable::Required);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert!(subscriber.invite.headers.has_token(Name::Require, "100rel"));
    subscriber.reply(&mut world, 486);
    anna.hears(&mut world, "486 INVITE");
}

/// A carrier's call that requires 100rel, as far as Teams.
fn reliable_call(world: &mut World) -> (Party, Party) {
    let caller = calls(world, |invite| invite.headers.push(Name::Require, "100rel"));
    let callee = Party::called(world, Who::Sip);
    assert!(callee.invite.headers.get(Name::Require).is_none());
    (caller, callee)
}

fn calls(world: &mut World, edit: impl FnOnce(&mut Request)) -> Party {
    let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
    Party::call(world, Who::Colt, PSTN, &uri, edit)
}

/// The PRACK for a response that the caller heard.
fn prack_for(
    world: &mut World,
    caller: &mut Party,
    response: &Response,
    sdp: Option<String>,
) -> Request {
    let rseq = response.headers.get(Name::RSeq).unwrap_or_default();
    let rack = format!("{} 1 INVITE", String::from_utf8_lossy(rseq));
    let mut prack = caller.request(world, Method::Prack);
    prack.headers.push(Name::RAck, rack);
    if let Some(sdp) = sdp {
        prack.set_body("application/sdp", sdp);
    }
    world.send(caller.who, prack.clone());
    prack
}

/// A provisional response that asks for PRACK.
fn reliably(world: &mut World, callee: &Party, status: u16, rseq: u32) {
    callee.answer(world, &callee.invite, status, |response| {
        response.headers.push(Name::Require, "100rel");
        response.headers.push(Name::RSeq, rseq.to_string());
        if status == 183 {
            response.set_body("application/sdp", usual_sdp(callee.who));
        }
    });
}

fn answer(world: &mut World, caller: &mut Party, callee: &Party) {
    callee.reply(world, 200);
    let answer = caller.hears(world, "200 INVITE");
    caller.acknowledges(world, &answer);
    callee.gets(world, "ACK");
}
