//! The carrier's network loses, repeats and disorders datagrams.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{carrier_calls_teams, connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};

#[test]
fn our_invite_is_lost_twice() {
    let mut world = World::new(1);
    world.network.lose(2, "INVITE").to(Who::Colt);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 3);
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn our_200_to_invite_is_lost_twice() {
    let mut world = World::new(1);
    world.network.lose(2, "200 INVITE").to(Who::Colt);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    // Repeated after T1, then after twice that.
    assert_eq!(world.sent_to(Who::Colt, "200 INVITE"), 3);
    assert!(world.elapsed() > ms(1500));
    assert_eq!(world.sent_to(Who::Sip, "ACK"), 1, "the other leg waits for nobody");
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn the_callers_ack_is_lost_and_sent_again_for_the_repeated_200() {
    let mut world = World::new(1);
    world.network.lose(1, "ACK").from(Who::Colt);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let again = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &again);
    world.run_for(secs(10));
    assert_eq!(world.sent_to(Who::Colt, "200 INVITE"), 2);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn an_ack_that_never_comes_ends_the_call_on_both_legs() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 200);
    caller.hears(&mut world, "200 INVITE");
    world.run_for(secs(32));
    caller.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "ack_missing");
}

#[test]
fn our_ack_is_lost_and_sent_again_for_each_repeated_200() {
    let mut world = World::new(1);
    world.network.lose(1, "ACK").to(Who::Colt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(500));
    subscriber.reply(&mut world, 200);
    subscriber.gets(&mut world, "ACK");
    assert_eq!(world.sent_to(Who::Colt, "ACK"), 2);
    assert_eq!(world.sent_to(Who::Sip, "200 INVITE"), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn our_bye_is_lost_and_sent_again() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.network.lose(2, "BYE").to(Who::Colt);
    hang_up(&mut world, &mut anna, &subscriber);
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 3);
}

#[test]
fn our_answer_to_bye_is_lost_and_bye_comes_again() {
    let mut world = World::new(1);
    let (anna, mut subscriber) = teams_calls_carrier(&mut world);
    world.network.lose(1, "200 BYE").to(Who::Colt);
    let bye = subscriber.asks(&mut world, sip_core::Method::Bye, None);
    anna.is_hung_up(&mut world);
    world.run_for(ms(500));
    world.send(Who::Colt, bye);
    subscriber.hears(&mut world, "200 BYE");
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 1);
}

#[test]
fn a_bye_that_nobody_answers_is_given_up() {
    let mut world = World::new(1);
    let (mut anna, _) = teams_calls_carrier(&mut world);
    world.network.lose(20, "BYE").to(Who::Colt);
    anna.hangs_up(&mut world);
    world.run_for(secs(33));
    assert_eq!(world.core().held().clients, 0);
    world.without_laws(); // Not all twenty were needed.
}

#[test]
fn every_message_of_the_carrier_comes_twice() {
    let mut world = World::new(1);
    world.network.duplication = 1.0;
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    world.run_for(secs(1));
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 1);
}

#[test]
fn the_ringing_comes_after_the_answer() {
    let mut world = World::new(1);
    world.network.reorder(1, "180 INVITE").from(Who::Colt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn bye_overtakes_the_ack() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    world.network.reorder(1, "ACK").from(Who::Colt);
    caller.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut caller, &anna);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "caller_hangup");
}

#[test]
fn the_carriers_200_comes_before_its_late_100() {
    let mut world = World::new(1);
    world.network.delay(1, "100 INVITE", secs(2)).from(Who::Colt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 100);
    connect(&mut world, &mut anna, &subscriber);
    world.run_for(secs(5));
    hang_up(&mut world, &mut anna, &subscriber);
}
