//! A call for help where there is no room: an ordinary call gives way.

use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Limits, Pattern};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, secs};
use sip_core::Name;

fn with_emergency(plan: &mut Plan) {
    plan.tenants[0].routes[0].called = Pattern::All.into();
}

fn preempted(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::Preempted { .. })).count()
}

/// Both sides of the call that gave way hear why; its record says so.
fn gave_way(world: &mut World, caller: &Party, callee: &Party) {
    for party in [caller, callee] {
        let bye = party.is_hung_up(world);
        let reason =
            String::from_utf8_lossy(bye.headers.get(Name::Reason).unwrap_or_default()).into_owned();
        assert_eq!(reason, "Q.850;cause=8, Preemption;cause=3;text=\"Generic Preemption\"");
    }
}

/// TDR-EMG-002: the carrier has so many channels, and one of them is made free.
#[test]
fn a_full_trunk_loses_the_call_that_began_last_to_one_for_help() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.trunks[COLT].limits = Limits { calls: Some(2), ..Limits::default() };
    });
    let (mut first, one) = teams_calls_carrier(&mut world);
    let (last, two) = teams_calls_carrier(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
    gave_way(&mut world, &last, &two);
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    assert_eq!(preempted(&world), 1);
    assert_eq!(world.core().trunk_calls()[COLT].1, [0, 2]);
    // Nobody is left to give way but who helps: the next one is carried beyond the bound.
    hang_up(&mut world, &mut first, &one);
    let mut again = Party::from_teams(&mut world, CONTOSO, "112");
    let second = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut again, &second);
    let mut third = Party::from_teams(&mut world, CONTOSO, "112");
    let centre_3 = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut third, &centre_3);
    assert_eq!(preempted(&world), 1, "no call for help gives way to another");
    for (caller, callee) in [(&mut anna, &centre), (&mut again, &second), (&mut third, &centre_3)] {
        hang_up(&mut world, caller, callee);
    }
    world.run_for(secs(1));
    let causes: Vec<_> = world.records.iter().map(|record| record.cause.as_str()).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == "preempted").count(), 1, "{causes:?}");
}

/// TDR-EMG-002: the BYE goes out before the INVITE, so that the channel is free.
#[test]
fn who_gives_way_hangs_up_before_the_call_for_help_goes_out() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.trunks[COLT].limits_out = Limits { calls: Some(1), ..Limits::default() };
    });
    let (caller, callee) = teams_calls_carrier(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
    let first = world.expect(Who::Colt, "BYE");
    assert!(matches!(first, sip_core::Message::Request(_)));
    if let sip_core::Message::Request(bye) = first {
        callee.answer(&mut world, &bye, 200, |_| {});
    }
    caller.is_hung_up(&mut world);
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-002: every media port is in use, on one side or on both.
#[test]
fn a_call_for_help_gets_the_ports_of_another() {
    for full in [&[0][..], &[1], &[0, 1]] {
        let mut world = World::with(1, |plan| {
            with_emergency(plan);
            plan.media_workers = 1;
            for address in full {
                plan.media[*address].ports = [20_000..=20_001, 30_000..=30_001][*address].clone();
            }
        });
        let (caller, callee) = teams_calls_carrier(&mut world);
        let mut other = Party::from_teams(&mut world, CONTOSO, PSTN);
        let refusal = other.hears(&mut world, "503 INVITE");
        other.acknowledges_failure(&mut world, &refusal);
        assert_eq!(preempted(&world), 0, "nobody gives way to a call like others");
        let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
        gave_way(&mut world, &caller, &callee);
        let centre = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut anna, &centre);
        assert_eq!(preempted(&world), 1, "{full:?}");
        hang_up(&mut world, &mut anna, &centre);
    }
}

/// TDR-EMG-002: one that only rings gives way as well, and its caller is told that it is gone.
#[test]
fn a_call_that_rings_gives_way_and_its_caller_hears_of_it() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.trunks[COLT].limits = Limits { calls: Some(1), ..Limits::default() };
    });
    let mut caller = Party::from_teams(&mut world, CONTOSO, PSTN);
    let callee = Party::called(&mut world, Who::Colt);
    callee.reply(&mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    let mut anna = Party::call(
        &mut world,
        Who::Sip,
        ANNA,
        &format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls"),
        |_| {},
    );
    callee.is_cancelled(&mut world);
    let refusal = caller.hears(&mut world, "503 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}
