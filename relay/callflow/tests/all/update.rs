//! UPDATE, INFO and OPTIONS within a call: what a carrier may send that Teams never sees.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{
    body, carrier_calls_teams, hang_up, held_sdp, line, teams_calls_carrier, usual_sdp, value,
};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request};

/// The carrier holds a call that is up by UPDATE, which turns into a re-INVITE: the caller, the callee, and
/// what that is asked.
fn carrier_holds_teams(world: &mut World) -> (Party, Party, Request) {
    let (mut caller, anna) = carrier_calls_teams(world);
    caller.asks(world, Method::Update, Some(held_sdp(Who::Colt)));
    let asked = anna.gets(world, "INVITE");
    (caller, anna, asked)
}

/// Teams takes too long over a re-INVITE, which is cancelled.
fn is_given_up(world: &mut World, caller: &mut Party, anna: &Party, asked: &Request) {
    anna.answer(world, asked, 100, |_| {});
    world.run_for(secs(19));
    caller.hears(world, "504 UPDATE");
    let cancel = anna.gets(world, "CANCEL");
    anna.answer(world, &cancel, 200, |_| {});
}

/// TDR-DLG-001.
#[test]
fn carrier_refreshes_by_update() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    callflow::script::connect(&mut world, &mut caller, &anna);
    world.run_for(secs(600));
    let mut update = caller.request(&mut world, Method::Update);
    update.headers.push(Name::Supported, "timer");
    update.headers.push(Name::SessionExpires, "1200;refresher=uac");
    world.send(Who::Colt, update);
    let answer = caller.hears(&mut world, "200 UPDATE");
    assert_eq!(value(&answer, Name::SessionExpires), "1200;refresher=uac");
    assert!(answer.body().is_empty());
    assert!(answer.headers.contact().is_some(), "it refreshes the target");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1, "it is nobody else's business");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn update_moves_the_carriers_target() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let mut update = caller.request(&mut world, Method::Update);
    let moved = format!("<sip:moved@{}>", Who::Colt.address());
    update.headers.set(Name::Contact, moved);
    world.send(Who::Colt, update);
    caller.hears(&mut world, "200 UPDATE");
    anna.hangs_up(&mut world);
    let bye = caller.is_hung_up(&mut world);
    assert!(bye.uri.starts_with(b"sip:moved@"));
}

#[test]
fn update_with_the_same_offer_is_answered_alike_and_stays_on_its_leg() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let mut answers = Vec::new();
    for _ in 0..2 {
        caller.asks(&mut world, Method::Update, Some(usual_sdp(Who::Colt)));
        answers.push(body(&caller.hears(&mut world, "200 UPDATE")));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-001.
#[test]
fn update_with_offer_turns_into_reinvite_towards_teams() {
    let mut world = World::new(1);
    let (mut caller, anna, asked) = carrier_holds_teams(&mut world);
    assert_eq!(line(&body(&asked), "a=inactive"), "a=inactive");
    anna.agrees(&mut world, &asked, held_sdp(Who::Sip));
    anna.gets(&mut world, "ACK");
    let answer = caller.hears(&mut world, "200 UPDATE");
    assert_eq!(line(&body(&answer), "a=recvonly"), "a=recvonly");
    assert_eq!(world.core().calls(world.now())[0].state, "held");
    // UPDATE has no ACK: the next one may follow at once.
    caller.asks(&mut world, Method::Update, Some(usual_sdp(Who::Colt)));
    let asked = anna.gets(&mut world, "INVITE");
    anna.agrees(&mut world, &asked, usual_sdp(Who::Sip));
    anna.gets(&mut world, "ACK");
    caller.hears(&mut world, "200 UPDATE");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn update_with_offer_turns_into_reinvite_towards_teams_and_teams_refuses() {
    let mut world = World::new(1);
    let (mut caller, anna, asked) = carrier_holds_teams(&mut world);
    anna.answer(&mut world, &asked, 488, |_| {});
    caller.hears(&mut world, "488 UPDATE");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn teams_takes_too_long_over_what_an_update_asks() {
    let mut world = World::new(1);
    let (mut caller, anna, asked) = carrier_holds_teams(&mut world);
    is_given_up(&mut world, &mut caller, &anna, &asked);
    anna.answer(&mut world, &asked, 487, |_| {});
    world.run_for(ms(20));
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn teams_agrees_after_the_update_was_given_up_and_is_asked_back() {
    let mut world = World::new(1);
    let (mut caller, anna, asked) = carrier_holds_teams(&mut world);
    is_given_up(&mut world, &mut caller, &anna, &asked);
    anna.agrees(&mut world, &asked, held_sdp(Who::Sip));
    let back = anna.gets(&mut world, "INVITE");
    assert_eq!(line(&body(&back), "a=sendrecv"), "a=sendrecv");
    anna.agrees(&mut world, &back, usual_sdp(Who::Sip));
    anna.gets(&mut world, "ACK");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_second_offer_by_update_before_the_first_is_answered() {
    let mut world = World::new(1);
    let (mut caller, anna, asked) = carrier_holds_teams(&mut world);
    caller.asks(&mut world, Method::Update, Some(usual_sdp(Who::Colt)));
    let refused = caller.hears(&mut world, "500 UPDATE");
    assert!(refused.headers.get(Name::RetryAfter).is_some());
    anna.agrees(&mut world, &asked, held_sdp(Who::Sip));
    caller.hears(&mut world, "200 UPDATE");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn update_meets_our_reinvite() {
    let mut world = World::new(1);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
    let asked = subscriber.gets(&mut world, "INVITE");
    subscriber.asks(&mut world, Method::Update, Some(held_sdp(Who::Colt)));
    subscriber.hears(&mut world, "491 UPDATE");
    let inactive = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    subscriber.agrees(&mut world, &asked, inactive);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn update_before_the_callers_offer_is_answered_must_wait() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    caller.asks(&mut world, Method::Update, Some(held_sdp(Who::Colt)));
    let refused = caller.hears(&mut world, "500 UPDATE");
    assert!(refused.headers.get(Name::RetryAfter).is_some());
    // Without an offer it just says that it is there.
    caller.asks(&mut world, Method::Update, None);
    caller.hears(&mut world, "200 UPDATE");
    callflow::script::connect_ringing(&mut world, &mut caller, &anna);
    world.run_for(ms(20));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-001.
#[test]
fn update_after_early_media_is_answered_here() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 183);
    caller.hears(&mut world, "183 INVITE");
    let mut elsewhere = Who::Colt.media();
    elsewhere.set_port(40_010);
    caller.asks(&mut world, Method::Update, Some(sdp_text::carrier(elsewhere)));
    let answer = caller.hears(&mut world, "200 UPDATE");
    assert!(line(&body(&answer), "m=audio").starts_with("m=audio "));
    assert_eq!(world.sent_to(Who::Sip, "UPDATE"), 0);
    callflow::script::connect_ringing(&mut world, &mut caller, &anna);
    world.run_for(ms(20));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-002.
#[test]
fn teams_never_sends_update_and_is_told_so() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(20));
    anna.asks(&mut world, Method::Update, None);
    let refused = anna.hears(&mut world, "405 UPDATE");
    assert!(!refused.headers.has_token(Name::Allow, "UPDATE"));
    assert!(!anna.invite.headers.has_token(Name::Allow, "UPDATE"));
    assert!(subscriber.invite.headers.has_token(Name::Allow, "UPDATE"));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-002: we subscribe to nothing, and know what NOTIFY is.
#[test]
fn notify_of_teams_is_of_no_subscription_and_the_call_goes_on() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(20));
    anna.asks(&mut world, Method::Notify, None);
    anna.hears(&mut world, "481 NOTIFY");
    assert_eq!(world.core().calls(world.now()).len(), 1);
    assert_eq!(world.sent_to(Who::Colt, "NOTIFY"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn info_that_we_do_not_honour_is_refused_for_its_body() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let mut info = caller.request(&mut world, Method::Info);
    info.set_body("application/broadsoft", "play tone CallWaitingTone1\r\n");
    world.send(Who::Colt, info);
    let refused = caller.hears(&mut world, "415 INFO");
    let accept = refused.headers.get(Name::Accept);
    assert_eq!(accept, Some(&b"application/dtmf-relay, application/dtmf"[..]));
    caller.asks(&mut world, Method::Info, None);
    caller.hears(&mut world, "200 INFO");
    let mut info = caller.request(&mut world, Method::Info);
    info.headers.push(Name::Other("Info-Package"), "conference");
    world.send(Who::Colt, info);
    caller.hears(&mut world, "469 INFO");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn options_within_the_call_tells_what_we_can() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    callflow::script::connect(&mut world, &mut anna, &subscriber);
    world.run_for(ms(20));
    for (party, update) in [(&mut anna, false), (&mut subscriber, true)] {
        party.asks(&mut world, Method::Options, None);
        let answer = party.hears(&mut world, "200 OPTIONS");
        assert_eq!(answer.headers.has_token(Name::Allow, "UPDATE"), update);
        assert_eq!(value(&answer, Name::Accept), "application/sdp");
        assert!(answer.headers.has_token(Name::Supported, "timer"));
    }
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-018.
#[test]
fn what_a_fork_asks_before_the_answer_finds_its_early_dialog() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut desk = Party::called(&mut world, Who::Colt);
    let mut mobile = desk.fork(&mut world);
    desk.reply(&mut world, 180);
    mobile.reply(&mut world, 183);
    anna.hears(&mut world, "183 INVITE");
    desk.asks(&mut world, Method::Options, None);
    let answer = desk.hears(&mut world, "200 OPTIONS");
    let contact = value(&answer, Name::Contact);
    assert!(contact.contains(&Who::Colt.ours().to_string()), "{contact}");
    desk.asks(&mut world, Method::Info, None);
    desk.hears(&mut world, "200 INFO");
    desk.asks(&mut world, Method::Notify, None);
    desk.hears(&mut world, "481 NOTIFY");
    desk.asks(&mut world, Method::Update, None);
    desk.hears(&mut world, "200 UPDATE");
    // The desk has not answered our offer, the mobile has.
    desk.asks(&mut world, Method::Update, Some(usual_sdp(Who::Colt)));
    desk.hears(&mut world, "491 UPDATE");
    let asked = desk.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Colt)));
    let refused = desk.hears(&mut world, "491 INVITE");
    desk.acknowledges_failure_of(&mut world, &asked, &refused);
    let mut elsewhere = Who::Colt.media();
    elsewhere.set_port(40_020);
    mobile.asks(&mut world, Method::Update, Some(sdp_text::carrier(elsewhere)));
    let answer = mobile.hears(&mut world, "200 UPDATE");
    assert!(line(&body(&answer), "m=audio").starts_with("m=audio 3"));
    // Nobody knows a third one.
    let mut stranger = desk.fork(&mut world);
    stranger.asks(&mut world, Method::Update, None);
    stranger.hears(&mut world, "481 UPDATE");
    desk.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    desk.gets(&mut world, "ACK");
    // The fork that lost is nobody any more.
    mobile.asks(&mut world, Method::Update, None);
    mobile.hears(&mut world, "481 UPDATE");
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &desk);
}

#[test]
fn the_callee_says_bye_before_it_has_answered() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut desk = Party::called(&mut world, Who::Colt);
    let mut mobile = desk.fork(&mut world);
    desk.reply(&mut world, 180);
    mobile.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    mobile.hangs_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.core().calls(world.now()).len(), 1, "the other one rings on");
    desk.hangs_up(&mut world);
    desk.is_cancelled(&mut world);
    anna.hears(&mut world, "480 INVITE");
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "callee_hangup");
}
