//! INVITE with Replaces: who may take whose place, and what the other side hears of it.

use callflow::plan::{ANNA, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{body, carrier_calls_teams, hang_up, line, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request, Response};

/// The dialog of `of`, as the one at its far end names it to us (fixture F-17).
pub(crate) fn dialog(of: &Party) -> String {
    format!("{};from-tag={};to-tag={}", of.call_id, of.tag, their_tag(of))
}

/// Our tag in the dialog.
fn their_tag(of: &Party) -> String {
    of.remote_tag().expect("the dialog is confirmed")
}

/// An INVITE from Teams, addressed to this tenant, for this dialog.
fn replaces(world: &mut World, fqdn: &str, replaces: &str) -> Party {
    let uri = format!("sip:{PSTN}@{fqdn}:5061;transport=tls");
    let replaces = replaces.to_owned();
    Party::call(world, Who::Sip, ANNA, &uri, |invite: &mut Request| {
        invite.headers.push(Name::Replaces, replaces);
        invite.headers.push(Name::Require, "replaces");
    })
}

/// The newcomer is in and the old leg is told so.
pub(crate) fn takes_the_place(world: &mut World, new: &mut Party, old: &Party) -> Response {
    let answer = new.hears(world, "200 INVITE");
    new.acknowledges(world, &answer);
    old.is_hung_up(world);
    world.run_for(ms(50));
    answer
}

fn is_refused(world: &mut World, new: &mut Party, what: &str) {
    let refused = new.hears(world, what);
    new.acknowledges_failure(world, &refused);
}

/// TDR-XFR-002, TDR-XFR-030, TDR-XFR-031, TDR-CC-002.
#[test]
fn an_agent_of_a_queue_takes_the_place_of_the_queue_and_the_carrier_hears_nothing() {
    let mut world = World::new(1);
    let (mut caller, queue) = carrier_calls_teams(&mut world);
    let mut agent = replaces(&mut world, CONTOSO, &dialog(&queue));
    let answer = takes_the_place(&mut world, &mut agent, &queue);
    let (old, new) = (body(&queue.invite), body(&answer));
    assert_eq!(line(&new, "m=audio"), line(&old, "m=audio"), "our port stays");
    assert_ne!(line(&new, "a=crypto"), line(&old, "a=crypto"), "every leg has its key");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0, "TDR-XFR-031");
    assert_eq!(world.core().calls(world.now()).len(), 1);
    hang_up(&mut world, &mut caller, &agent);
    world.run_for(secs(1));
    let transfers = &world.records[0].transfers;
    assert_eq!(
        (transfers[0].by, transfers[0].leg, transfers[0].outcome.as_str()),
        ("replaces", "b", "200")
    );
    assert_eq!(world.records.len(), 1);
}

#[test]
fn the_place_of_a_caller_in_teams_is_taken() {
    let mut world = World::new(1);
    let (anna, subscriber) = teams_calls_carrier(&mut world);
    let mut boss = replaces(&mut world, CONTOSO, &dialog(&anna));
    takes_the_place(&mut world, &mut boss, &anna);
    hang_up(&mut world, &mut boss, &subscriber);
}

#[test]
fn the_place_is_taken_again_and_again() {
    let mut world = World::new(1);
    let (mut caller, mut here) = carrier_calls_teams(&mut world);
    for _ in 0..4 {
        let mut there = replaces(&mut world, CONTOSO, &dialog(&here));
        takes_the_place(&mut world, &mut there, &here);
        here = there;
    }
    hang_up(&mut world, &mut caller, &here);
}

/// TDR-XFR-030.
#[test]
fn replaces_of_another_tenants_dialog_is_refused() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let mut stranger = replaces(&mut world, FABRIKAM, &dialog(&anna));
    is_refused(&mut world, &mut stranger, "481 INVITE");
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn replaces_by_another_carrier_is_refused() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    for (who, of) in [(Who::Bt, &caller), (Who::Bt, &anna), (Who::Colt, &anna)] {
        let uri = format!("sip:{ANNA}@{}", who.ours().ip());
        let named = dialog(of);
        let mut stranger = Party::call(&mut world, who, PSTN, &uri, |invite| {
            invite.headers.push(Name::Replaces, named);
        });
        is_refused(&mut world, &mut stranger, "481 INVITE");
    }
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_phone_of_the_same_carrier_takes_the_place_of_another() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours().ip());
    let named = dialog(&caller);
    let mut desk = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.push(Name::Replaces, named);
    });
    takes_the_place(&mut world, &mut desk, &caller);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1, "Teams hears nothing");
    hang_up(&mut world, &mut anna, &desk);
}

/// TDR-XFR-030.
#[test]
fn replaces_with_one_tag_wrong_finds_nothing() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let (id, tag, ours) = (anna.call_id.clone(), anna.tag.clone(), their_tag(&anna));
    for wrong in [
        format!("{id};from-tag={tag};to-tag=0"),
        format!("{id};from-tag=0;to-tag={ours}"),
        format!("0;from-tag={tag};to-tag={ours}"),
        format!("{id};from-tag={ours};to-tag={tag}"),
    ] {
        let mut stranger = replaces(&mut world, CONTOSO, &wrong);
        is_refused(&mut world, &mut stranger, "481 INVITE");
    }
    let mut stranger = replaces(&mut world, CONTOSO, "nonsense");
    is_refused(&mut world, &mut stranger, "400 INVITE");
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-XFR-030.
#[test]
fn an_early_only_replaces_leaves_an_answered_call_alone() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let named = format!("{};early-only", dialog(&anna));
    let mut late = replaces(&mut world, CONTOSO, &named);
    is_refused(&mut world, &mut late, "486 INVITE");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_caller_that_still_rings_cannot_be_replaced() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    let mut other = replaces(&mut world, CONTOSO, &dialog(&anna));
    is_refused(&mut world, &mut other, "481 INVITE");
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_newcomer_without_a_common_codec_or_srtp_leaves_the_call_as_it_is() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    for sdp in [sdp_text::secure(Who::Sip.media(), &["18 G729/8000"]), usual_sdp(Who::Colt)] {
        let named = dialog(&anna);
        let uri = format!("sip:{PSTN}@{CONTOSO}:5061");
        let mut agent = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
            invite.headers.push(Name::Replaces, named);
            invite.set_body("application/sdp", sdp);
        });
        is_refused(&mut world, &mut agent, "488 INVITE");
    }
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_held_carrier_is_resumed_by_the_newcomer() {
    let mut world = World::new(1);
    let (mut caller, mut queue) = carrier_calls_teams(&mut world);
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    queue.asks(&mut world, Method::Invite, Some(held));
    let asked = caller.gets(&mut world, "INVITE");
    caller.answer(&mut world, &asked, 200, |response| {
        let sdp = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
        response.set_body("application/sdp", sdp);
    });
    caller.gets(&mut world, "ACK");
    let answer = queue.hears(&mut world, "200 INVITE");
    queue.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    let mut agent = replaces(&mut world, CONTOSO, &dialog(&queue));
    let answer = agent.hears(&mut world, "200 INVITE");
    agent.acknowledges(&mut world, &answer);
    let asked = caller.gets(&mut world, "INVITE");
    assert!(body(&asked).contains("a=sendrecv"));
    caller.agrees(&mut world, &asked, usual_sdp(Who::Colt));
    caller.gets(&mut world, "ACK");
    queue.is_hung_up(&mut world);
    hang_up(&mut world, &mut caller, &agent);
}

#[test]
fn a_newcomer_that_never_acknowledges_ends_the_call() {
    let mut world = World::new(1);
    let (caller, queue) = carrier_calls_teams(&mut world);
    let mut agent = replaces(&mut world, CONTOSO, &dialog(&queue));
    agent.hears(&mut world, "200 INVITE");
    queue.is_hung_up(&mut world);
    world.run_for(secs(28));
    agent.is_hung_up(&mut world);
    caller.is_hung_up(&mut world);
}

#[test]
fn what_the_replaced_leg_says_to_a_refresh_does_not_touch_the_new_one() {
    for status in [481, 200] {
        let mut world = World::new(1);
        let uri = format!("sip:{ANNA}@{}", Who::Colt.ours().ip());
        let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
            invite.headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");
            invite.headers.push(Name::Supported, "timer");
            invite.headers.push(Name::SessionExpires, "600;refresher=uas");
        });
        let mut anna = Party::called(&mut world, Who::Sip);
        callflow::script::connect(&mut world, &mut caller, &anna);
        world.run_for(secs(295));
        let update = caller.gets(&mut world, "UPDATE");
        let named = dialog(&caller);
        let mut desk = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
            invite.headers.push(Name::Replaces, named);
        });
        takes_the_place(&mut world, &mut desk, &caller);
        caller.answer(&mut world, &update, status, |response| {
            response.headers.push(Name::Contact, format!("<sip:old@{}>", Who::Colt.address()));
        });
        world.run_for(secs(1));
        assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
        anna.hangs_up(&mut world);
        let bye = desk.is_hung_up(&mut world);
        assert!(bye.uri.starts_with(b"sip:pbx@"), "{status}");
    }
}

#[test]
fn the_newcomer_hears_nothing_of_a_transfer_that_its_predecessor_asked_for() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let mut refer = anna.request(&mut world, Method::Refer);
    refer.headers.push(Name::ReferTo, "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:1>");
    world.send(anna.who, refer);
    anna.hears(&mut world, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    let clara = Party::called(&mut world, Who::Sip);
    clara.reply(&mut world, 486);
    clara.gets(&mut world, "ACK");
    let mut agent = replaces(&mut world, CONTOSO, &dialog(&anna));
    takes_the_place(&mut world, &mut agent, &anna);
    anna.answer(&mut world, &notify, 200, |_| {});
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 1);
    hang_up(&mut world, &mut caller, &agent);
}

/// TDR-XFR-031.
#[test]
fn a_newcomer_with_another_codec_comes_before_the_callers_ack() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let queue = Party::called(&mut world, Who::Sip);
    queue.reply(&mut world, 200);
    queue.gets(&mut world, "ACK");
    let answer = caller.hears(&mut world, "200 INVITE");
    let (named, uri) = (dialog(&queue), format!("sip:{PSTN}@{CONTOSO}:5061"));
    let mut agent = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.headers.push(Name::Replaces, named);
        let only = sdp_text::secure(Who::Sip.media(), &["0 PCMU/8000"]);
        invite.set_body("application/sdp", only);
    });
    takes_the_place(&mut world, &mut agent, &queue);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0, "its INVITE is not over (RFC 3261, 14.1)");
    caller.acknowledges(&mut world, &answer);
    let asked = caller.gets(&mut world, "INVITE");
    assert!(line(&body(&asked), "m=audio").ends_with("RTP/AVP 0 101"), "{}", body(&asked));
    caller.answer(&mut world, &asked, 200, |response| {
        let only = sdp_text::plain(Who::Colt.media(), &["0 PCMU/8000"]);
        response.set_body("application/sdp", only);
    });
    caller.gets(&mut world, "ACK");
    hang_up(&mut world, &mut caller, &agent);
}
