//! The end of a call: from both sides at once, by shutdown, over connections that broke.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{carrier_calls_teams, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Method, Name};

#[test]
fn both_sides_hang_up_at_once() {
    let mut world = World::new(1);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Bye, None);
    subscriber.asks(&mut world, Method::Bye, None);
    anna.hears(&mut world, "200 BYE");
    let ours = subscriber.gets(&mut world, "BYE");
    subscriber.answer(&mut world, &ours, 200, |_| {});
    world.run_for(secs(1));
    // One of the two BYEs to us found the call gone: 200 or 481, but an answer.
    let answers = world.sent_to(Who::Colt, "200 BYE") + world.sent_to(Who::Colt, "481 BYE");
    assert_eq!(answers, 1);
    assert_eq!(world.records.len(), 1);
}

/// TDR-DLG-043.
#[test]
fn teams_correlation_id_is_kept_and_only_the_cause_crosses() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let mut bye = anna.request(&mut world, Method::Bye);
    let words = "8f4a1c9e-5ac0;Normal call clearing";
    bye.headers.push(Name::Reason, format!("Q.850;cause=16;text=\"{words}\""));
    world.send(Who::Sip, bye);
    let heard = subscriber.is_hung_up(&mut world);
    assert_eq!(heard.headers.get(Name::Reason), Some(&b"Q.850;cause=16"[..]));
    world.run_for(secs(1));
    assert_eq!(world.records[0].reason.as_deref(), Some(words));
}

#[test]
fn shutdown_hangs_up_what_is_up_and_refuses_what_rings() {
    let mut world = World::new(1);
    let (caller, anna) = carrier_calls_teams(&mut world);
    let mut waiting = Party::from_teams(&mut world, CONTOSO, PSTN);
    let ringing = Party::called(&mut world, Who::Colt);
    ringing.reply(&mut world, 180);
    waiting.hears(&mut world, "180 INVITE");
    world.shut_down();
    caller.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
    ringing.is_cancelled(&mut world);
    waiting.hears(&mut world, "503 INVITE");
    assert!(world.run_until(secs(5), |world| world.stopped));
    let mut late = Party::from_carrier(&mut world, Who::Colt, ANNA);
    late.hears(&mut world, "503 INVITE");
    assert_eq!(world.records.len(), 3);
}

#[test]
fn shutdown_is_complete_even_if_nobody_answers_bye() {
    let mut world = World::new(1);
    carrier_calls_teams(&mut world);
    world.shut_down();
    assert!(!world.run_until(secs(31), |world| world.stopped));
    assert!(world.run_until(secs(2), |world| world.stopped));
}

/// TDR-CON-003.
#[test]
fn the_connection_of_a_call_breaks_and_bye_takes_another() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.drop_connections(Who::Sip);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-CON-003, TDR-CON-009, TDR-FO-007.
#[test]
fn teams_calls_and_closes_its_connection_and_bye_goes_where_new_calls_go() {
    let mut world = World::new(1);
    let (caller, mut subscriber) = teams_calls_carrier(&mut world);
    // Its ACK is here by then.
    world.run_for(ms(20));
    world.drop_connections(Who::Sip);
    // Its Contact names a host that we have no address for.
    hang_up(&mut world, &mut subscriber, &caller);
}

/// TDR-IN-010, TDR-CON-009.
#[test]
fn teams_hangs_up_over_another_connection() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    world.reconnect(Who::Sip);
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn the_far_side_is_gone_when_we_hang_up() {
    let mut world = World::new(1);
    let (mut caller, _) = carrier_calls_teams(&mut world);
    world.refuse_connections(Who::Sip);
    caller.hangs_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records.len(), 1);
}

#[test]
fn the_plan_is_swapped_under_a_call_which_keeps_its_own() {
    let mut world = World::new(1);
    let (mut old, subscriber) = teams_calls_carrier(&mut world);
    world.replan(|plan| plan.tenants[0].routes[0].to = vec![callflow::plan::BT].into());
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let other = Party::called(&mut world, Who::Bt);
    callflow::script::connect(&mut world, &mut anna, &other);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    hang_up(&mut world, &mut old, &subscriber);
    hang_up(&mut world, &mut anna, &other);
}

#[test]
fn a_call_that_still_looks_for_a_trunk_keeps_the_old_routes() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    world.replan(|plan| plan.tenants[0].routes[0].to = vec![callflow::plan::BT].into());
    // It keeps its old routes too: colt fails, and bt was second there.
    subscriber.reply(&mut world, 503);
    let other = Party::called(&mut world, Who::Bt);
    callflow::script::connect(&mut world, &mut anna, &other);
    world.run_for(ms(100));
    hang_up(&mut world, &mut anna, &other);
}

#[test]
fn shutdown_waits_for_the_200_that_crosses_its_cancel() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    world.shut_down();
    subscriber.gets(&mut world, "CANCEL");
    world.run_for(secs(1));
    assert!(!world.stopped);
    subscriber.reply(&mut world, 200);
    subscriber.gets(&mut world, "ACK");
    subscriber.is_hung_up(&mut world);
    assert!(world.run_until(secs(1), |world| world.stopped));
}
