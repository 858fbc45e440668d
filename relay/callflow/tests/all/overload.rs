//! More to do than time or room: who still gets in, and that it is over by itself.

use b2bua::io::Event;
use b2bua::plan::Patterns;
use b2bua::{Plan, Reject};
use callflow::plan::{ANNA, CONTOSO};
use callflow::script::{carrier_calls_teams, connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Method, Name, Request};

/// Calls from Teams may go anywhere, 112 among it.
fn to_anywhere(plan: &mut Plan) {
    plan.tenants[0].routes[0].called = Patterns::default();
}

/// For so long that it is not a moment's doing.
fn falls_behind(world: &mut World) {
    world.messages_wait(ms(100));
    world.run_for(ms(500));
    world.messages_wait(ms(100));
}

fn is_turned_away(world: &mut World) {
    let (records, sent) = (world.records.len(), world.sent_to(Who::Colt, "503 INVITE"));
    let mut caller = Party::from_carrier(world, Who::Colt, ANNA);
    let refusal = caller.hears(world, "503 INVITE");
    let after = refusal.headers.get(Name::RetryAfter).expect("a Retry-After");
    assert!(String::from_utf8_lossy(after).parse::<u32>().is_ok_and(|seconds| seconds > 0));
    caller.acknowledges_failure(world, &refusal);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Colt, "503 INVITE"), sent + 1, "nothing repeats it");
    assert_eq!(world.records.len(), records, "it costs no record");
}

fn an_emergency_call_gets_through(world: &mut World) {
    let uri = format!("sip:112@{CONTOSO}:5061;user=phone");
    let mut anna = Party::call(world, Who::Sip, ANNA, &uri, |_| {});
    let centre = Party::called(world, Who::Colt);
    connect(world, &mut anna, &centre);
    hang_up(world, &mut anna, &centre);
}

fn options_is_answered(world: &mut World, token: u32) {
    let uri = format!("sip:{CONTOSO}:5061");
    let mut request = Request::new(Method::Options, uri.clone());
    let headers = &mut request.headers;
    headers.push(
        Name::Via,
        format!("SIP/2.0/TLS {};branch=z9hG4bKping-of-{token}", Who::Sip.address()),
    );
    headers.push(Name::MaxForwards, "70");
    headers.push(Name::From, "<sip:sip-du-a-eu.pstnhub.microsoft.com:5061>;tag=ping");
    headers.push(Name::To, format!("<{uri}>"));
    headers.push(Name::CallId, format!("ping-{token}"));
    headers.push(Name::CSeq, "1 OPTIONS");
    world.send(Who::Sip, request);
    world.expect(Who::Sip, "200 OPTIONS");
}

fn turned_away(world: &World) -> usize {
    let overload =
        |event: &&Event| matches!(event, Event::Rejected { reason: Reject::Overload, .. });
    world.events.iter().filter(overload).count()
}

/// TDR-OPT-022
#[test]
fn messages_that_wait_too_long_shut_out_new_calls_and_nothing_else() {
    let mut world = World::with(1, to_anywhere);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    falls_behind(&mut world);
    is_turned_away(&mut world);
    assert_eq!(turned_away(&world), 1);
    options_is_answered(&mut world, 1);
    an_emergency_call_gets_through(&mut world);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_queue_that_is_half_empty_is_not_the_end_of_an_overload_and_an_empty_one_is() {
    let mut world = World::new(1);
    falls_behind(&mut world);
    world.messages_wait(ms(50));
    is_turned_away(&mut world);
    world.messages_wait(ms(5));
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut caller, &anna);
    // And one that is half full is not the beginning of the next.
    world.messages_wait(ms(50));
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    hang_up(&mut world, &mut anna, &pstn);
}

#[test]
fn a_machine_that_stood_still_for_a_moment_turns_nobody_away() {
    let mut world = World::new(1);
    world.messages_wait(secs(2));
    world.run_for(ms(499));
    world.messages_wait(ms(150));
    world.messages_wait(ms(50));
    world.run_for(ms(10));
    world.messages_wait(ms(150));
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_repeat_of_an_invite_that_got_in_is_not_turned_away() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    falls_behind(&mut world);
    world.send(Who::Colt, caller.invite.clone());
    connect(&mut world, &mut caller, &anna);
    assert_eq!(turned_away(&world), 0);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_full_table_shuts_out_new_calls_until_transactions_are_over() {
    // Room for two calls: their INVITEs on either side.
    let mut world = World::bounded(1, to_anywhere, 4);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let (mut anna_too, pstn) = teams_calls_carrier(&mut world);
    is_turned_away(&mut world);
    options_is_answered(&mut world, 1);
    an_emergency_call_gets_through(&mut world);
    world.run_for(secs(40));
    hang_up(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna_too, &pstn);
    world.run_for(secs(40));
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut caller, &anna);
}
