//! Too many calls: which bound bites, in which direction, and whom it never stops.

use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Limits, Pattern};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, OUTSIDE, PSTN, TEAMS};
use callflow::script::{carrier_calls_teams, connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Method, Name};

fn rate(calls_per_second: u32, burst: u32) -> Limits {
    Limits { calls: None, calls_per_second: Some(calls_per_second), burst: Some(burst) }
}

fn calls(calls: u32) -> Limits {
    Limits { calls: Some(calls), ..Limits::default() }
}

/// A call that makes its way, for a moment.
fn gets_through(world: &mut World) {
    let (mut anna, pstn) = teams_calls_carrier(world);
    hang_up(world, &mut anna, &pstn);
}

/// One that is refused for this reason; what the caller is told of it.
fn is_refused(world: &mut World, status: u16, cause: &str) -> String {
    let mut anna = Party::from_teams(world, CONTOSO, PSTN);
    let refusal = anna.hears(world, &format!("{status} INVITE"));
    anna.acknowledges_failure(world, &refusal);
    world.run_for(ms(100));
    assert_eq!(world.records.last().expect("a refused call leaves a record").cause, cause);
    String::from_utf8_lossy(refusal.headers.get(Name::Warning).unwrap_or_default()).into_owned()
}

/// Calls to 112 go out.
fn with_emergency(plan: &mut Plan) {
    plan.tenants[0].routes[0].called = Pattern::All.into();
}

fn an_emergency_call_gets_through(world: &mut World) {
    let mut anna = Party::from_teams(world, CONTOSO, "112");
    let centre = Party::called(world, Who::Colt);
    connect(world, &mut anna, &centre);
    hang_up(world, &mut anna, &centre);
}

/// TDR-SEC-004.
#[test]
fn a_burst_gets_through_and_then_as_many_as_the_rate_says() {
    let mut world = World::with(1, |plan| plan.tenants[0].limits = rate(1, 3));
    // Each of them takes a moment, in which the bucket drains a little.
    for _ in 0..3 {
        gets_through(&mut world);
    }
    assert!(world.elapsed() < secs(1));
    let why = is_refused(&mut world, 503, "rate_limit");
    assert_eq!(
        why,
        "399 sbc.example.net \"tenant contoso: 1 calls a second, 3 at once are the most\""
    );
    world.run_for(secs(1));
    gets_through(&mut world);
    is_refused(&mut world, 503, "rate_limit");
    world.run_for(secs(3));
    for _ in 0..3 {
        gets_through(&mut world);
    }
}

/// TDR-SEC-004.
#[test]
fn a_bound_on_one_direction_leaves_the_other_alone() {
    let mut world = World::with(1, |plan| plan.tenants[0].limits_from_teams = calls(1));
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    let why = is_refused(&mut world, 503, "call_limit");
    assert!(why.contains("tenant contoso, from_teams: 1 calls at once"), "{why}");
    let (mut caller, callee) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut anna, &pstn);
    gets_through(&mut world);
    hang_up(&mut world, &mut caller, &callee);

    let mut world = World::with(1, |plan| plan.trunks[COLT].limits_in = calls(1));
    let (mut caller, callee) = carrier_calls_teams(&mut world);
    let mut second = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let refusal = second.hears(&mut world, "503 INVITE");
    second.acknowledges_failure(&mut world, &refusal);
    gets_through(&mut world);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn an_outgoing_trunk_at_its_rate_is_passed_over_and_says_so() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].limits_out = rate(1, 1));
    gets_through(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let pstn = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
    world.run_for(secs(1));
    let attempts = &world.records.last().unwrap().attempts;
    let outcomes: Vec<_> = attempts.iter().map(|it| (&*it.trunk, &*it.outcome)).collect();
    assert_eq!(outcomes, [("colt", "rate_limit"), ("bt", "200")]);
    let passed = |event: &&Event| matches!(event, Event::PassedOver { reason: "rate_limit", .. });
    assert_eq!(world.events.iter().filter(passed).count(), 1);
    gets_through(&mut world);
}

/// TDR-EMG-002.
#[test]
fn all_trunks_at_their_rate_are_503_but_not_for_an_emergency() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        for trunk in [COLT, BT] {
            plan.trunks[trunk].limits_out = rate(1, 1);
        }
    });
    gets_through(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let pstn = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
    is_refused(&mut world, 503, "rate_limit");
    an_emergency_call_gets_through(&mut world);
}

#[test]
fn an_endpoint_that_failed_does_not_hold_its_trunks_only_place() {
    let mut world = World::with(1, |plan| {
        plan.trunks[TEAMS].limits_out = calls(1);
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let full = Party::called(&mut world, Who::Sip);
    full.reply(&mut world, 503);
    let anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn counters_outlive_a_reload_and_follow_its_bounds() {
    let mut world = World::with(1, |plan| plan.tenants[0].limits = calls(5));
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    world.replan(|plan| plan.tenants[0].limits = calls(1));
    is_refused(&mut world, 503, "call_limit");
    world.replan(|plan| plan.tenants[0].limits = calls(2));
    gets_through(&mut world);
    hang_up(&mut world, &mut anna, &pstn);
    assert_eq!(world.core().trunk_calls()[COLT].1, [0, 0]);
}

/// TDR-EMG-002, TDR-SEC-004.
#[test]
fn a_suspended_tenant_is_refused_both_ways_and_its_calls_go_on() {
    let mut world = World::with(1, with_emergency);
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    world.replan(|plan| plan.tenants[0].suspended = true);
    let why = is_refused(&mut world, 403, "tenant_suspended");
    assert!(why.contains("tenant contoso is suspended"), "{why}");
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let refusal = caller.hears(&mut world, "403 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    an_emergency_call_gets_through(&mut world);
    // What is up may not call anybody else either.
    let mut refer = anna.request(&mut world, Method::Refer);
    refer.headers.push(Name::ReferTo, format!("<sip:+4989777@{CONTOSO}>"));
    world.send(anna.who, refer);
    anna.hears(&mut world, "403 REFER");
    hang_up(&mut world, &mut anna, &pstn);
    world.replan(|plan| plan.tenants[0].suspended = false);
    gets_through(&mut world);
}

/// TDR-EMG-002.
#[test]
fn an_emergency_call_passes_every_bound_and_counts() {
    let mut world = World::with(1, |plan| {
        with_emergency(plan);
        plan.node.calls_max = 1;
        plan.tenants[0].limits = rate(1, 1);
        plan.tenants[0].limits_from_teams = calls(1);
        plan.trunks[TEAMS].limits_in = calls(1);
        plan.trunks[COLT].limits = rate(1, 1);
    });
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    is_refused(&mut world, 503, "overload");
    let mut caller = Party::from_teams(&mut world, CONTOSO, "112");
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut caller, &centre);
    assert_eq!(world.core().trunk_calls()[COLT].1, [0, 2]);
    hang_up(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut caller, &centre);
    assert_eq!(world.core().trunk_calls()[COLT].1, [0, 0]);
}

/// From a trunk of another name in one snapshot to none in the next: the place is given back all the same.
#[test]
fn a_tenant_and_a_trunk_that_are_gone_keep_no_counters() {
    let mut world = World::new(1);
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    world.replan(|plan| {
        plan.tenants.remove("contoso");
        plan.trunks[COLT].name = "gone".into();
    });
    hang_up(&mut world, &mut anna, &pstn);
    world.run_for(secs(1));
    world.without_laws();
    assert_eq!(world.core().trunk_calls()[COLT], ("gone".to_owned(), [0, 0]));
}

/// Anna hands the call on to a number outside: it stays one call of the tenant, and takes a place on the
/// trunk and of the rate.
/// TDR-CC-001.
#[test]
fn a_transfer_takes_of_the_trunk_and_of_the_rate_what_a_call_takes() {
    let mut world = World::with(1, |plan| {
        plan.tenants[0].limits_from_teams = rate(1, 2);
        plan.trunks[COLT].media = OUTSIDE;
        plan.trunks[BT].limits = calls(0);
    });
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let refers = |world: &mut World, anna: &mut Party, said: &str| {
        let mut refer = anna.request(world, Method::Refer);
        refer.headers.push(Name::ReferTo, format!("<sip:{PSTN}@{CONTOSO}>"));
        world.send(anna.who, refer);
        anna.hears(world, said);
    };
    refers(&mut world, &mut anna, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    let target = Party::called(&mut world, Who::Colt);
    assert_eq!(world.core().trunk_calls()[COLT].1, [1, 1], "it rings");
    target.reply(&mut world, 486);
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    assert_eq!(world.core().trunk_calls()[COLT].1, [1, 0]);
    refers(&mut world, &mut anna, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    let target = Party::called(&mut world, Who::Colt);
    target.reply(&mut world, 486);
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    refers(&mut world, &mut anna, "503 REFER");
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-CC-001, TDR-XFR-022: a tenant that has all the calls it may have hands them on all the same; each
/// stays one.
#[test]
fn a_tenant_at_its_bound_can_still_transfer_its_calls() {
    let mut world = World::with(1, |plan| {
        plan.tenants[0].limits = calls(1);
        plan.tenants[0].limits_from_carrier = calls(1);
    });
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let mut refer = anna.request(&mut world, Method::Refer);
    let target = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:6b65a6a4";
    refer.headers.push(Name::ReferTo, format!("<{target}>"));
    let by = "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:47378190;x-ti=17fc695a-07a0-ca6e>";
    refer.headers.push(Name::ReferredBy, by);
    world.send(anna.who, refer);
    anna.hears(&mut world, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    let boris = Party::called(&mut world, Who::Sip);
    boris.reply(&mut world, 200);
    boris.gets(&mut world, "ACK");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    anna.hangs_up(&mut world);
    is_refused(&mut world, 503, "call_limit");
    hang_up(&mut world, &mut caller, &boris);
    world.run_for(secs(1));
    let transfer = &world.records.last().unwrap().transfers[0];
    assert_eq!(transfer.id.as_deref(), Some("17fc695a-07a0-ca6e"), "what Microsoft calls it");
    gets_through(&mut world);
}
