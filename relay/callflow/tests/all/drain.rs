//! A host is emptied before it is stopped, or one tenant is left in peace: no call is lost by it, and nobody
//! who needs help is refused.

use b2bua::Plan;
use b2bua::plan::{Model, Pattern};
use callflow::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, NODE, PSTN};
use callflow::script::{carrier_calls_teams, connect, hang_up, teams_calls_carrier, uri_of};
use callflow::{Party, Who, World, ms, secs};
use emulate::{Behaviour, Progress, Script};
use sip_core::{Method, Name};

/// Calls to 112 go out.
fn with_emergency(plan: &mut Plan) {
    plan.tenants[0].routes[0].called = Pattern::All.into();
}

/// A new call of the tenant is refused as the host or the tenant drains.
fn is_refused(world: &mut World, fqdn: &str) {
    let mut anna = Party::from_teams(world, fqdn, PSTN);
    let refusal = anna.hears(world, "503 INVITE");
    assert!(refusal.headers.get(Name::RetryAfter).is_none(), "Teams tries elsewhere at once");
    anna.acknowledges_failure(world, &refusal);
    world.run_for(ms(100));
    assert_eq!(world.records.last().expect("a record").cause, "draining");
}

/// One to the tenant's number is.
fn is_refused_to(world: &mut World, number: &str) {
    let mut caller = Party::from_carrier(world, Who::Colt, number);
    let refusal = caller.hears(world, "503 INVITE");
    caller.acknowledges_failure(world, &refusal);
}

/// TDR-FO-016
#[test]
fn a_host_that_drains_refuses_new_calls_and_may_stop_once_the_last_is_over() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.begin_drain(None, None);
    is_refused(&mut world, CONTOSO);
    is_refused_to(&mut world, BORIS);
    // What is up goes on for as long as it likes.
    world.run_for(secs(600));
    assert!(!world.drained);
    assert_eq!(world.core().drains(world.time())[0].calls, 1);
    hang_up(&mut world, &mut caller, &anna);
    assert!(world.run_until(secs(1), |world| world.drained));
    let dropped = world.records.iter().filter(|record| record.cause == "shutdown").count();
    assert_eq!(dropped, 0);
}

/// TDR-FO-016 TDR-EMG-001
#[test]
fn an_emergency_call_is_made_while_the_host_drains_and_the_host_waits_for_it() {
    let mut world = World::with(1, with_emergency);
    let (mut caller, other) = carrier_calls_teams(&mut world);
    world.begin_drain(None, None);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut caller, &other);
    world.run_for(secs(60));
    assert!(!world.drained);
    hang_up(&mut world, &mut anna, &centre);
    assert!(world.run_until(secs(1), |world| world.drained));
}

#[test]
fn an_idle_host_may_stop_at_once() {
    let mut world = World::new(1);
    world.begin_drain(None, None);
    assert!(world.drained);
}

#[test]
fn a_drain_that_is_cancelled_takes_calls_again() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.begin_drain(None, Some(secs(60)));
    is_refused(&mut world, CONTOSO);
    world.resume(None);
    let (mut boris, pstn) = teams_calls_carrier(&mut world);
    hang_up(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut boris, &pstn);
    world.run_for(secs(120));
    assert!(!world.drained, "neither empty nor overdue counts any more");
}

#[test]
fn the_deadline_comes_while_a_call_is_up_and_is_put_off_once() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.begin_drain(None, Some(secs(60)));
    world.run_for(secs(30));
    world.begin_drain(None, Some(secs(60)));
    assert!(!world.run_until(secs(59), |world| world.drained));
    assert!(world.run_until(secs(2), |world| world.drained));
    // Whoever stops the host ends the call; here nobody does.
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-MT-007
#[test]
fn one_tenant_is_in_maintenance_and_no_other_notices() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.begin_drain(Some("contoso"), None);
    is_refused(&mut world, CONTOSO);
    is_refused_to(&mut world, ANNA);
    let mut boris = Party::from_teams(&mut world, FABRIKAM, PSTN);
    let pstn = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut boris, &pstn);
    // A new configuration does not end it.
    world.replan(|_| {});
    is_refused(&mut world, CONTOSO);
    hang_up(&mut world, &mut boris, &pstn);
    hang_up(&mut world, &mut caller, &anna);
    assert!(!world.drained, "the host goes on");
    world.resume(Some("contoso"));
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-MT-007 TDR-EMG-001
#[test]
fn a_tenants_deadline_ends_its_calls_but_nobody_elses_and_not_one_for_help() {
    let mut world = World::with(1, with_emergency);
    let (caller, anna) = carrier_calls_teams(&mut world);
    let mut help = Party::from_teams(&mut world, CONTOSO, "112");
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut help, &centre);
    let mut boris = Party::from_teams(&mut world, FABRIKAM, PSTN);
    let pstn = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut boris, &pstn);
    world.begin_drain(Some("contoso"), Some(secs(60)));
    world.run_for(secs(60));
    caller.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
    is_refused(&mut world, CONTOSO);
    world.run_for(secs(10));
    hang_up(&mut world, &mut help, &centre);
    hang_up(&mut world, &mut boris, &pstn);
}

#[test]
fn a_tenant_that_is_removed_is_no_longer_in_maintenance_when_it_comes_back() {
    let mut world = World::new(1);
    world.begin_drain(Some("contoso"), None);
    assert_eq!(world.core().drains(world.time()).len(), 1);
    world.replan(|plan| {
        plan.tenants.remove("contoso");
    });
    assert!(world.core().drains(world.time()).is_empty());
    world.begin_drain(Some("nobody"), None);
    assert!(world.core().drains(world.time()).is_empty());
}

#[test]
fn a_call_that_is_up_while_the_host_drains_can_still_be_renegotiated() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    world.begin_drain(None, None);
    anna.asks(&mut world, Method::Invite, Some(callflow::script::usual_sdp(Who::Sip)));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-OPT-022 TDR-FO-016
#[test]
fn while_the_host_drains_teams_hears_nothing_of_ours_and_its_own_are_answered() {
    let mut world = World::with(1, |plan| {
        plan.trunks[0].options_interval = Some(secs(60));
        plan.trunks[1].options_interval = Some(secs(60));
    });
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    carrier_calls_teams(&mut world);
    world.run_for(secs(40));
    world.begin_drain(None, None);
    let before = [Who::Sip, Who::Colt].map(|who| world.sent_to(who, "OPTIONS"));
    world.run_for(secs(600));
    assert_eq!(world.sent_to(Who::Sip, "OPTIONS"), before[0]);
    assert!(world.sent_to(Who::Colt, "OPTIONS") > before[1] + 5, "an emergency call has to go out");
    world.send(Who::Sip, crate::options::options(Who::Sip, &format!("sip:{NODE}:5061")));
    world.expect(Who::Sip, "200 OPTIONS");
    world.send(Who::Colt, crate::options::options(Who::Colt, "sip:203.0.113.10"));
    world.expect(Who::Colt, "503 OPTIONS");
    let fqdn = world.core().fqdns(world.now(), None).remove(0);
    assert_eq!(fqdn.unseen, None, "whoever hears nothing has no reason to ask");
    world.resume(None);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "OPTIONS"), before[0] + 1, "at once");
}

/// TDR-MT-007
#[test]
fn the_trunk_of_a_tenant_in_maintenance_is_quiet_and_the_hosts_own_is_not() {
    let mut world = World::with(1, |plan| {
        plan.trunks[0].options_interval = Some(secs(60));
        plan.tenants[0].model = Model::Classic;
    });
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world.run_for(secs(40));
    world.begin_drain(Some("contoso"), None);
    world.forget(Who::Sip);
    world.run_for(secs(120));
    let contact = |world: &mut World| {
        let probe = world.expect(Who::Sip, "OPTIONS");
        uri_of(probe.headers().get(Name::Contact).expect("a Contact"))
    };
    for _ in 0..2 {
        assert_eq!(contact(&mut world), format!("sip:{NODE}:5061;transport=tls"));
    }
    world.forget(Who::Sip);
    world.resume(Some("contoso"));
    assert_eq!(contact(&mut world), format!("sip:{CONTOSO}:5061;transport=tls"));
}

/// TDR-FO-016
#[test]
fn a_dozen_calls_that_ring_and_talk_outlive_a_drain_and_none_of_them_is_dropped() {
    let mut world = World::new(1);
    let talks = |progress| {
        let (ring_after, answer_after, talk) = (ms(200), Some(secs(2)), Some(secs(10)));
        Script::always(Behaviour::Answer { ring_after, progress, answer_after, talk })
    };
    world.emulate(talks(Progress::Forks), talks(Progress::EarlyMedia));
    for _ in 0..6 {
        world.teams_dials(CONTOSO, ANNA, PSTN);
        world.run_for(ms(400));
        world.carrier_dials(Who::Colt, PSTN, ANNA);
        world.run_for(ms(400));
    }
    world.begin_drain(None, Some(secs(60)));
    assert_eq!(world.core().drains(world.time())[0].calls, 12);
    world.teams_dials(CONTOSO, ANNA, PSTN);
    world.carrier_dials(Who::Colt, PSTN, BORIS);
    assert!(world.run_until(secs(30), |world| world.drained), "long before the deadline");
    world.run_for(secs(1));
    let of = |cause: &str| world.records.iter().filter(|record| record.cause == cause).count();
    assert_eq!((of("callee_hangup"), of("draining")), (12, 2), "{:?}", world.records.len());
}
