//! A call for help where there is no room: an ordinary call gives way.

use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Change, Limits, Party as Which, Pattern, Rewrite, TargetName, Way};
use callflow::plan::{ANNA, COLT, CONTOSO, INSIDE, PSTN, TEAMS};
use callflow::script::{connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, secs};
use sip_core::{Headers, Name, Request};

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

/// TDR-EMG-001, TDR-EMG-002: what calls for help is the number that the tenant's rules make of what was
/// dialled.
#[test]
fn a_number_behind_a_digit_for_an_outside_line_frees_ports_as_well() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.media[0].ports = 20_000..=20_001;
        plan.tenants[0].rewrite = vec![Rewrite {
            way: Way::In,
            party: Some(Which::Called),
            from: None,
            matches: "9112".parse::<Pattern>().expect("a pattern").into(),
            change: Change::Front { strip: 1, prepend: "".into() },
            place: "tollgate.toml:7".into(),
        }];
    });
    let (caller, callee) = teams_calls_carrier(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "9112");
    gave_way(&mut world, &caller, &callee);
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    assert_eq!(preempted(&world), 1);
    hang_up(&mut world, &mut anna, &centre);
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

/// Teams calls; the user is where it says, if it says so.
fn from_user(world: &mut World, number: &str, location: Option<&str>) -> Party {
    let uri = format!("sip:{number}@{CONTOSO}:5061;user=phone;transport=tls");
    let say = |headers: &mut Headers, location: &str| {
        headers.push(Name::Other("X-MS-UserLocation"), location.to_owned());
        headers.push(Name::Other("X-MS-MediaPath"), CONTOSO);
    };
    Party::call(world, Who::Sip, ANNA, &uri, |invite: &mut Request| {
        if let Some(location) = location {
            say(&mut invite.headers, location);
        }
    })
}

/// Contoso's users are inside or outside; so many pairs of ports are there, and the others inside, where
/// the carrier's legs are as well.
fn optimised(outside: u16, inside: u16) -> World {
    World::with(1, |plan| {
        with_emergency(plan);
        plan.media_workers = 1;
        plan.trunks[TEAMS].inside = Some(INSIDE);
        plan.media[0].ports = 20_000..=20_000 + 2 * outside - 1;
        plan.media[1].ports = 30_000..=30_000 + 2 * inside - 1;
    })
}

/// TDR-EMG-002, TDR-LMO-002: room is made where the caller's media will be.
#[test]
fn a_call_for_help_from_outside_gets_the_ports_of_one_outside() {
    for location in [None, Some("external")] {
        let mut world = optimised(1, 9);
        let mut outside = from_user(&mut world, PSTN, location);
        let callee = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut outside, &callee);
        // It began last, and has no ports there.
        let mut inside = from_user(&mut world, PSTN, Some("internal"));
        let other = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut inside, &other);
        let mut anna = from_user(&mut world, "112", location);
        gave_way(&mut world, &outside, &callee);
        let centre = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut anna, &centre);
        assert_eq!(preempted(&world), 1);
        hang_up(&mut world, &mut anna, &centre);
        hang_up(&mut world, &mut inside, &other);
    }
}

/// TDR-EMG-002: where there is room for both legs nobody gives way.
#[test]
fn a_call_for_help_from_outside_needs_one_pair_inside() {
    let mut world = optimised(9, 2);
    let mut caller = from_user(&mut world, PSTN, None);
    let callee = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut caller, &callee);
    let mut anna = from_user(&mut world, "112", None);
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    assert_eq!(preempted(&world), 0);
    hang_up(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut caller, &callee);
}

/// TDR-EMG-002: one who gives way has a pair inside, and both legs need one.
#[test]
fn as_many_calls_give_way_as_it_takes() {
    let mut world = optimised(9, 2);
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut caller = from_user(&mut world, PSTN, None);
        let callee = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut caller, &callee);
        calls.push((caller, callee));
    }
    let mut anna = from_user(&mut world, "112", Some("internal"));
    for (caller, callee) in calls.iter().rev() {
        gave_way(&mut world, caller, callee);
    }
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    assert_eq!(preempted(&world), 2);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-002: all who could give way are calls for help themselves, and there is room elsewhere.
#[test]
fn a_call_for_help_without_a_port_where_it_is_gets_one_elsewhere() {
    let mut world = optimised(1, 9);
    for _ in 0..2 {
        let mut anna = from_user(&mut world, "112", Some("external"));
        let centre = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut anna, &centre);
    }
    assert_eq!(preempted(&world), 0);
    world.shut_down();
    world.run_for(secs(60));
}

/// TDR-EMG-002: the last pair inside, where the caller's leg has to go, is what the carrier's leg wants.
#[test]
fn a_call_for_help_without_a_port_where_it_is_takes_the_one_of_its_other_leg() {
    let mut world = optimised(1, 4);
    let mut first = from_user(&mut world, "112", Some("external"));
    let centre_1 = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut first, &centre_1);
    let mut inside = from_user(&mut world, PSTN, Some("internal"));
    let callee = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut inside, &callee);
    let mut second = from_user(&mut world, "112", Some("external"));
    gave_way(&mut world, &inside, &callee);
    let centre_2 = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut second, &centre_2);
    assert_eq!(preempted(&world), 1);
    hang_up(&mut world, &mut second, &centre_2);
    hang_up(&mut world, &mut first, &centre_1);
}

/// Nobody gives way to a call for help that is refused all the same.
#[test]
fn a_call_for_help_that_cannot_be_made_costs_nobody_a_call() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.media[0].ports = 20_000..=20_001;
    });
    let (mut caller, callee) = teams_calls_carrier(&mut world);
    let refused = |world: &mut World, what: &str, edit: &dyn Fn(&mut Request)| {
        let uri = format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls");
        let mut anna = Party::call(world, Who::Sip, ANNA, &uri, edit);
        let refusal = anna.hears(world, what);
        anna.acknowledges_failure(world, &refusal);
    };
    refused(&mut world, "483 INVITE", &|invite| {
        while invite.headers.remove(Name::MaxForwards) {}
        invite.headers.push(Name::MaxForwards, "0");
    });
    let plain = callflow::sdp_text::carrier(Who::Sip.media());
    refused(&mut world, "503 INVITE", &|it| it.set_body("application/sdp", plain.clone()));
    // Names that lead nowhere.
    world.replan(|plan| {
        let target = |host: &str| TargetName { host: host.to_owned(), port: None };
        plan.trunks[COLT].targets = vec![target("nowhere.example"), target("nobody.example")];
        plan.tenants[0].routes[0].to = vec![COLT].into();
    });
    refused(&mut world, "503 INVITE", &|_| {});
    world.replan(|plan| plan.tenants[0].routes = Vec::new());
    refused(&mut world, "404 INVITE", &|_| {});
    assert_eq!(preempted(&world), 0);
    hang_up(&mut world, &mut caller, &callee);
}
