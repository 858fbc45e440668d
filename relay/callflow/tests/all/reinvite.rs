//! Re-INVITE: hold, resume, a change of address or codec, refresh, glare, refusal.

use crate::hold_dialects::says;
use callflow::plan::PSTN;
use callflow::script::{body, carrier_calls_teams, hang_up, line, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request, Response};

/// `one` sends a re-INVITE with this SDP, which `other` gets.
pub(crate) fn crosses(world: &mut World, one: &mut Party, other: &Party, sdp: String) -> Request {
    one.asks(world, Method::Invite, Some(sdp));
    other.gets(world, "INVITE")
}

/// `other` answers the re-INVITE with this SDP; `one` hears it and acknowledges.
pub(crate) fn agrees(
    world: &mut World,
    one: &mut Party,
    other: &Party,
    request: &Request,
    sdp: String,
) -> Response {
    other.agrees(world, request, sdp);
    other.gets(world, "ACK");
    let answer = one.hears(world, "200 INVITE");
    one.acknowledges(world, &answer);
    world.run_for(ms(20));
    answer
}

pub(crate) fn direction(sdp: &str) -> &str {
    let all = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    sdp.lines().find(|line| all.contains(line)).unwrap_or("none")
}

/// TDR-HLD-001, TDR-HLD-007.
/// TDR-DLG-012.
#[test]
fn a_carriers_hold_reaches_teams_as_inactive_and_the_resume_as_sendrecv() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let (talk, teams) = (usual_sdp(Who::Colt), usual_sdp(Who::Sip));
    let asked = crosses(&mut world, &mut caller, &anna, sdp_text::turned(&talk, "sendonly"));
    assert_eq!(direction(&body(&asked)), "a=inactive");
    let first = body(&anna.invite);
    for same in ["c=", "m=audio", "a=crypto:"] {
        assert_eq!(line(&body(&asked), same), line(&first, same), "ours stays as it was");
    }
    let held = sdp_text::turned(&teams, "inactive");
    let answer = agrees(&mut world, &mut caller, &anna, &asked, held);
    assert_eq!(direction(&body(&answer)), "a=recvonly");
    assert_eq!(world.core().calls(world.now())[0].state, "held");

    let asked = crosses(&mut world, &mut caller, &anna, talk);
    assert_eq!(direction(&body(&asked)), "a=sendrecv");
    let answer = agrees(&mut world, &mut caller, &anna, &asked, teams);
    assert_eq!(direction(&body(&answer)), "a=sendrecv");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-HLD-001.
#[test]
fn an_old_carriers_hold_by_address_zero_is_a_hold() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let talk = usual_sdp(Who::Colt);
    let zero = talk.replace(&format!("c=IN IP4 {}", Who::Colt.media().ip()), "c=IN IP4 0.0.0.0");
    let asked = crosses(&mut world, &mut caller, &anna, zero);
    assert_eq!(direction(&body(&asked)), "a=inactive");
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    agrees(&mut world, &mut caller, &anna, &asked, held);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-HLD-002, TDR-HLD-007.
#[test]
fn a_hold_from_teams_reaches_the_carrier() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, held);
    assert_eq!(direction(&body(&asked)), "a=inactive");
    let carrier = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    let answer = agrees(&mut world, &mut anna, &subscriber, &asked, carrier);
    assert_eq!(direction(&body(&answer)), "a=inactive");
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-HLD-006.
#[test]
fn both_hold_and_one_resumes_while_the_other_holds_on() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let (talk, teams) = (usual_sdp(Who::Colt), usual_sdp(Who::Sip));
    let inactive = sdp_text::turned(&teams, "inactive");
    let asked = crosses(&mut world, &mut caller, &anna, sdp_text::turned(&talk, "sendonly"));
    agrees(&mut world, &mut caller, &anna, &asked, inactive.clone());
    // Teams holds too. Its description is the same as before, so it cannot be told from a refresh,
    // and the carrier, which waits anyway, hears nothing.
    anna.asks(&mut world, Method::Invite, Some(inactive.clone()));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    let asked = crosses(&mut world, &mut caller, &anna, talk.clone());
    let answer = agrees(&mut world, &mut caller, &anna, &asked, inactive);
    assert_eq!(direction(&body(&answer)), "a=inactive", "Teams holds on");
    let asked = crosses(&mut world, &mut anna, &caller, teams);
    assert_eq!(direction(&body(&asked)), "a=sendrecv");
    let answer = agrees(&mut world, &mut anna, &caller, &asked, talk);
    assert_eq!(direction(&body(&answer)), "a=sendrecv");
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn a_hold_stays_on_its_leg_where_the_tenant_wants_it_so() {
    let mut world = World::with(1, |plan| plan.tenants[0].hold = b2bua::plan::HoldPolicy::Absorb);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    caller.asks(
        &mut world,
        Method::Invite,
        Some(sdp_text::turned(&usual_sdp(Who::Colt), "sendonly")),
    );
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    assert_eq!(direction(&body(&answer)), "a=recvonly");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    world.run_for(ms(20));
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_changed_address_stays_on_its_leg() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let mut elsewhere = Who::Sip.media();
    elsewhere.set_port(50_002);
    anna.asks(&mut world, Method::Invite, Some(sdp_text::teams(elsewhere)));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    // What the carrier says goes to the new address from now on.
    world.send_packet(Who::Colt.media(), ours(&subscriber), rtp(8, 1));
    world.run_for(ms(50));
    assert_eq!(world.packets(elsewhere).len(), 1);
    assert!(world.packets(Who::Sip.media()).is_empty());
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-012.
#[test]
fn a_carrier_that_moves_its_media_is_followed_and_teams_hears_nothing_of_it() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let mut elsewhere = Who::Colt.media();
    elsewhere.set_port(40_700);
    caller.asks(&mut world, Method::Invite, Some(sdp_text::carrier(elsewhere)));
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    world.run_for(secs(5));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    says(&mut world, (Who::Sip.media(), ours(&anna)), 0, 1);
    assert_eq!(world.packets(elsewhere).len(), 10);
    assert!(world.packets(Who::Colt.media()).is_empty());
    hang_up(&mut world, &mut caller, &anna);
}

/// Where we hear the one that our INVITE came to.
fn ours(called: &Party) -> std::net::SocketAddr {
    let sdp = body(&called.invite);
    let port = line(&sdp, "m=audio").split(' ').nth(1).and_then(|port| port.parse().ok());
    World::our_media(port.expect("an offer names a port"))
}

fn rtp(payload_type: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    packet
}

/// TDR-DLG-013.
#[test]
fn a_session_refresh_is_answered_alike_and_stays_on_its_leg() {
    let mut world = World::with(1, |plan| {
        plan.trunks.iter_mut().for_each(|trunk| trunk.session_timer = None);
    });
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let offer = usual_sdp(Who::Sip);
    let mut answers = Vec::new();
    for _ in 0..2 {
        world.run_for(secs(900));
        anna.asks(&mut world, Method::Invite, Some(offer.clone()));
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        answers.push(body(&answer));
    }
    assert_eq!(answers[0], answers[1], "o= version, key and port stay");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-015.
#[test]
fn a_codec_that_is_gone_is_told_to_the_other_side() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let pcmu = sdp_text::plain(Who::Colt.media(), &["0 PCMU/8000"]);
    let asked = crosses(&mut world, &mut caller, &anna, pcmu);
    assert!(line(&body(&asked), "m=audio").ends_with("RTP/SAVP 0 101"), "{}", body(&asked));
    let answer = sdp_text::secure(Who::Sip.media(), &["0 PCMU/8000"]);
    let answer = agrees(&mut world, &mut caller, &anna, &asked, answer);
    assert!(line(&body(&answer), "m=audio").ends_with("RTP/AVP 0"), "{}", body(&answer));
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-DLG-015: the one in use need not be the first of the new ones.
#[test]
fn a_codec_that_both_know_stays_in_use_and_the_other_side_hears_nothing_of_it() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let codecs = ["0 PCMU/8000", "8 PCMA/8000", "101 telephone-event/8000"];
    let turned = sdp_text::secure(Who::Sip.media(), &codecs).replacen(" 0 IN", " 1 IN", 1);
    anna.asks(&mut world, Method::Invite, Some(turned));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    let media = line(&body(&answer), "m=audio").to_owned();
    assert!(media.split(' ').any(|payload| payload == "8"), "{media}");
    world.send_packet(Who::Colt.media(), ours(&subscriber), rtp(8, 1));
    world.run_for(ms(50));
    assert_eq!(world.packets(Who::Sip.media()).len(), 1);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-016.
#[test]
fn both_sides_reinvite_at_once_and_both_get_491() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let hold = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
    caller.asks(&mut world, Method::Invite, Some(hold));
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    anna.asks(&mut world, Method::Invite, Some(inactive));
    // On a connection nobody misses the ACK for it.
    anna.hears(&mut world, "491 INVITE");
    hang_up(&mut world, &mut anna, &caller);
    caller.hears(&mut world, "487 INVITE");
}

/// TDR-DLG-017.
#[test]
fn a_refused_reinvite_leaves_the_call_as_it_was() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive.clone());
    subscriber.answer(&mut world, &asked, 488, |_| {});
    anna.hears(&mut world, "488 INVITE");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    // A second try is a new one and may succeed.
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive);
    let carrier = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    agrees(&mut world, &mut anna, &subscriber, &asked, carrier);
    assert_eq!(world.core().calls(world.now())[0].state, "held");
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-017.
#[test]
fn a_reinvite_to_a_side_that_has_forgotten_the_call_ends_it() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive);
    subscriber.answer(&mut world, &asked, 481, |_| {});
    anna.hears(&mut world, "481 INVITE");
    anna.is_hung_up(&mut world);
}

#[test]
fn bye_ends_a_reinvite_and_its_late_200_is_acknowledged() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive);
    anna.hangs_up(&mut world);
    anna.hears(&mut world, "487 INVITE");
    let carrier = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    world.run_for(secs(6));
    subscriber.agrees(&mut world, &asked, carrier);
    subscriber.gets(&mut world, "ACK");
    assert_eq!(world.records[0].to, PSTN);
}

#[test]
fn a_reinvite_that_is_never_answered_does_not_stay_for_ever() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive);
    subscriber.answer(&mut world, &asked, 100, |_| {});
    world.run_for(secs(32));
    let cancel = subscriber.gets(&mut world, "CANCEL");
    subscriber.answer(&mut world, &cancel, 200, |_| {});
    subscriber.answer(&mut world, &asked, 487, |_| {});
    anna.hears(&mut world, "487 INVITE");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-018.
#[test]
fn a_reinvite_before_the_ack_is_491() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, callflow::plan::CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    subscriber.asks(
        &mut world,
        Method::Invite,
        Some(sdp_text::turned(&usual_sdp(Who::Colt), "sendonly")),
    );
    let refused = subscriber.hears(&mut world, "491 INVITE");
    assert!(refused.body().is_empty());
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-018.
#[test]
fn a_second_reinvite_of_the_same_side_is_500_with_retry_after() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, inactive.clone());
    anna.asks(&mut world, Method::Invite, Some(inactive));
    let refused = anna.hears(&mut world, "500 INVITE");
    assert!(refused.headers.get(sip_core::Name::RetryAfter).is_some());
    let carrier = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    agrees(&mut world, &mut anna, &subscriber, &asked, carrier);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_reinvite_that_cannot_be_sent_is_503_and_the_call_stays() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.refuse_connections(Who::Sip);
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
    caller.asks(&mut world, Method::Invite, Some(held));
    caller.hears(&mut world, "503 INVITE");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    world.accept_connections(Who::Sip);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-011.
#[test]
fn a_reinvite_without_sdp_gets_our_offer_and_teams_one_with_sdp_to_resume() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let (talk, teams) = (usual_sdp(Who::Colt), usual_sdp(Who::Sip));
    let asked = crosses(&mut world, &mut caller, &anna, sdp_text::turned(&talk, "sendonly"));
    let held = sdp_text::turned(&teams, "inactive");
    agrees(&mut world, &mut caller, &anna, &asked, held);

    caller.asks(&mut world, Method::Invite, None);
    let offer = caller.hears(&mut world, "200 INVITE");
    assert_eq!(direction(&body(&offer)), "a=sendrecv");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2, "Teams is asked when the answer is there");
    caller.acknowledges_with(&mut world, &offer, &talk);
    let asked = anna.gets(&mut world, "INVITE");
    assert_eq!(direction(&body(&asked)), "a=sendrecv");
    anna.agrees(&mut world, &asked, teams);
    anna.gets(&mut world, "ACK");
    world.run_for(ms(20));
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-010.
#[test]
fn a_reinvite_without_sdp_that_changes_nothing_stays_on_its_leg() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let asked = world.elapsed();
    anna.asks(&mut world, Method::Invite, None);
    let offer = anna.hears(&mut world, "200 INVITE");
    assert!(world.elapsed() - asked < secs(2));
    for same in ["c=", "m=audio", "a=crypto:1"] {
        assert!(!line(&body(&offer), same).is_empty());
    }
    anna.acknowledges_with(&mut world, &offer, &usual_sdp(Who::Sip));
    world.run_for(ms(20));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    // An ACK without the answer leaves all as it was.
    anna.asks(&mut world, Method::Invite, None);
    let offer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &offer);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-HLD-008.
#[test]
fn a_call_that_began_on_hold_is_resumed_on_both_legs() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{}:5061;transport=tls", callflow::plan::CONTOSO);
    let silent = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let mut anna = Party::call(&mut world, Who::Sip, callflow::plan::ANNA, &uri, |invite| {
        invite.set_body("application/sdp", silent);
    });
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(direction(&body(&subscriber.invite)), "a=inactive");
    let request = subscriber.invite.clone();
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    agrees(&mut world, &mut anna, &subscriber, &request, held);
    let asked = crosses(&mut world, &mut anna, &subscriber, usual_sdp(Who::Sip));
    assert_eq!(direction(&body(&asked)), "a=sendrecv");
    let answer = agrees(&mut world, &mut anna, &subscriber, &asked, usual_sdp(Who::Colt));
    assert_eq!(direction(&body(&answer)), "a=sendrecv");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_reinvite_that_requires_what_we_do_not_know_is_refused_and_changes_nothing() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let mut asked = caller.request(&mut world, Method::Invite);
    asked.headers.push(Name::Require, "precondition");
    asked.set_body("application/sdp", usual_sdp(Who::Colt));
    world.send(Who::Colt, asked.clone());
    let refused = caller.hears(&mut world, "420 INVITE");
    assert_eq!(refused.headers.get(Name::Unsupported), Some(&b"precondition"[..]));
    caller.acknowledges_failure_of(&mut world, &asked, &refused);
    hang_up(&mut world, &mut caller, &anna);
}
