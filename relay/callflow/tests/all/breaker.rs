//! Targets that fail: after which responses and how long a silence the next one is tried, and which
//! rest for a while.

use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Breaker, Failover, Pattern};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World, ms, secs};
use sip_core::Name;

fn failover(words: &[&str]) -> Option<Failover> {
    let statuses = words.iter().map(|word| Failover::statuses(word).expect("statuses"));
    Some(statuses.flatten().collect())
}

fn breaker(plan: &mut Plan) {
    plan.trunks[COLT].breaker = Some(Breaker { failures: 2, pause: secs(30) });
}

/// Anna calls, and this one is asked first.
fn asks(world: &mut World, who: Who) -> (Party, Party) {
    let anna = Party::from_teams(world, CONTOSO, PSTN);
    let first = Party::called(world, who);
    (anna, first)
}

fn outcomes(world: &mut World) -> Vec<(String, String)> {
    world.run_for(ms(500));
    let attempts = &world.records.last().expect("a call has ended").attempts;
    attempts.iter().map(|it| (it.trunk.clone(), it.outcome.clone())).collect()
}

fn bt_takes_it(world: &mut World, anna: &mut Party) {
    let pstn = Party::called(world, Who::Bt);
    connect(world, anna, &pstn);
    hang_up(world, anna, &pstn);
}

fn is_told(world: &mut World, anna: &mut Party, status: u16) {
    let refusal = anna.hears(world, &format!("{status} INVITE"));
    anna.acknowledges_failure(world, &refusal);
}

/// A call that neither colt nor bt takes.
fn both_are_full(world: &mut World) {
    let (mut anna, full) = asks(world, Who::Colt);
    full.reply(world, 503);
    let full = Party::called(world, Who::Bt);
    full.reply(world, 503);
    is_told(world, &mut anna, 503);
}

/// A call that colt answers so, and bt takes.
fn colt_says(world: &mut World, status: u16) {
    let (mut anna, full) = asks(world, Who::Colt);
    full.reply(world, status);
    bt_takes_it(world, &mut anna);
}

/// How long colt rests, as an operator sees it.
fn rests(world: &World) -> Option<u64> {
    let targets = world.core().targets(world.now());
    let colt = targets.iter().find(|target| target.trunk == "colt").expect("colt");
    colt.rests.map(|left| left.as_secs())
}

fn told(world: &World) -> Vec<(usize, bool)> {
    let told = world.events.iter().filter_map(|event| match event {
        Event::TargetRests { endpoints, why, .. } => Some((*endpoints, why.is_some())),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_route_says_after_which_responses_the_next_trunk_is_tried_and_wins_over_the_trunk() {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].failover = failover(&["486"]);
        plan.tenants[0].routes[0].rare_mut().failover = failover(&["5xx", "404"]);
    });
    for status in [404, 500, 503] {
        colt_says(&mut world, status);
    }
    let (mut anna, busy) = asks(&mut world, Who::Colt);
    busy.reply(&mut world, 486);
    is_told(&mut world, &mut anna, 486);
    let mut world = World::with(1, |plan| plan.trunks[COLT].failover = failover(&["486"]));
    colt_says(&mut world, 486);
    // What is not named ends the call, though it would be tried elsewhere otherwise.
    let (mut anna, full) = asks(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    is_told(&mut world, &mut anna, 503);
    assert_eq!(outcomes(&mut world), [("colt".to_owned(), "503".to_owned())]);
}

#[test]
fn a_refused_connection_gives_way_whatever_the_codes_say() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].failover = failover(&["500"]));
    world.refuse_connections(Who::Colt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    bt_takes_it(&mut world, &mut anna);
}

#[test]
fn a_silent_target_has_as_long_as_its_trunk_or_the_route_says() {
    for (of_trunk, of_route, waits) in [
        (None, None, secs(3)),
        (Some(ms(500)), None, ms(500)),
        (Some(ms(500)), Some(secs(5)), secs(5)),
    ] {
        let mut world = World::with(1, |plan| {
            plan.trunks[COLT].answer_timeout = of_trunk;
            plan.tenants[0].routes[0].rare_mut().answer_timeout = of_route;
        });
        let (mut anna, _) = asks(&mut world, Who::Colt);
        let asked = world.elapsed();
        let pstn = Party::called(&mut world, Who::Bt);
        let waited = world.elapsed().saturating_sub(asked);
        assert!(waited >= waits - ms(100) && waited < waits + ms(100), "{waited:?}");
        connect(&mut world, &mut anna, &pstn);
        hang_up(&mut world, &mut anna, &pstn);
        world.without_laws(); // Nobody answers for colt.
    }
}

#[test]
fn a_target_that_refuses_calls_rests_until_one_call_has_tried_it() {
    let mut world = World::with(1, breaker);
    colt_says(&mut world, 503);
    assert_eq!(rests(&world), None);
    colt_says(&mut world, 503);
    assert!(rests(&world).is_some_and(|left| (28..=30).contains(&left)));
    assert_eq!(told(&world), [(1, true)]);
    // It is not asked at all.
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    bt_takes_it(&mut world, &mut anna);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 2);
    let resting = [("bt".to_owned(), "200".to_owned())];
    assert_eq!(outcomes(&mut world), resting, "what is not reached is no attempt");
    let decision = world.records.last().expect("a call has ended").decision.join("\n");
    assert!(decision.contains("gets no calls for now (resting)"), "{decision}");
    // Then one call tries, while the others go elsewhere.
    world.run_for(secs(30));
    let (mut anna, trying) = asks(&mut world, Who::Colt);
    let mut other = Party::from_teams(&mut world, CONTOSO, PSTN);
    bt_takes_it(&mut world, &mut other);
    assert_eq!(rests(&world), Some(0));
    trying.reply(&mut world, 503);
    bt_takes_it(&mut world, &mut anna);
    assert!(rests(&world).is_some_and(|left| (50..=60).contains(&left)), "twice as long");
    world.run_for(secs(60));
    let (mut anna, back) = asks(&mut world, Who::Colt);
    back.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    assert_eq!((rests(&world), told(&world).last()), (None, Some(&(0, false))));
    back.reply(&mut world, 486);
    is_told(&mut world, &mut anna, 486);
}

#[test]
fn a_busy_subscriber_is_no_failure_of_the_target() {
    let mut world = World::with(1, breaker);
    colt_says(&mut world, 503);
    let (mut anna, busy) = asks(&mut world, Who::Colt);
    busy.reply(&mut world, 486);
    is_told(&mut world, &mut anna, 486);
    colt_says(&mut world, 503);
    assert_eq!(rests(&world), None, "not in a row");
}

#[test]
fn when_all_targets_rest_the_one_that_is_over_first_is_tried_alone() {
    let mut world = World::with(1, |plan| {
        for trunk in [COLT, BT] {
            plan.trunks[trunk].breaker = Some(Breaker { failures: 1, pause: secs(60) });
        }
    });
    both_are_full(&mut world);
    let (mut anna, full) = asks(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    is_told(&mut world, &mut anna, 503);
    let there = outcomes(&mut world);
    assert_eq!(there, [("colt".into(), "503".into()), ("bt".into(), "resting".into())]);
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 1);
}

#[test]
fn an_emergency_call_tries_all_that_rest() {
    let mut world = World::with(1, |plan| {
        plan.tenants[0].routes[0].called = Pattern::All.into();
        for trunk in [COLT, BT] {
            plan.trunks[trunk].breaker = Some(Breaker { failures: 1, pause: secs(60) });
        }
    });
    both_are_full(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
    let full = Party::called(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    let centre = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}

#[test]
fn options_wake_a_target_that_was_silent() {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].breaker = Some(Breaker { failures: 1, pause: secs(600) });
        plan.trunks[COLT].options_interval = Some(secs(60));
        plan.trunks[COLT].answer_timeout = Some(ms(500));
    });
    world.without_laws(); // OPTIONS go on for ever.
    let probe = world.expect(Who::Colt, "OPTIONS");
    let target = Party::of_invite(&mut world, Who::Colt, &probe);
    target.answer(&mut world, &target.invite, 200, |_| {});
    let (mut anna, _) = asks(&mut world, Who::Colt);
    bt_takes_it(&mut world, &mut anna);
    assert!(rests(&world).is_some());
    world.run_until(secs(70), |world| world.sent_to(Who::Colt, "OPTIONS") > 1);
    let probe = world.expect(Who::Colt, "OPTIONS");
    let target = Party::of_invite(&mut world, Who::Colt, &probe);
    target.answer(&mut world, &target.invite, 200, |_| {});
    world.run_for(ms(100));
    assert_eq!(rests(&world), None);
}

#[test]
fn a_snapshot_without_breaker_lets_nobody_rest() {
    let mut world = World::with(1, breaker);
    colt_says(&mut world, 503);
    colt_says(&mut world, 503);
    assert!(rests(&world).is_some());
    world.replan(|plan| plan.trunks[COLT].breaker = None);
    assert_eq!((rests(&world), told(&world).last()), (None, Some(&(0, false))));
    colt_says(&mut world, 503);
}

#[test]
fn retry_after_counts_beside_the_breaker_and_is_seen() {
    let mut world = World::new(1);
    let (mut anna, full) = asks(&mut world, Who::Colt);
    full.answer(&mut world, &full.invite, 503, |response| {
        response.headers.push(Name::RetryAfter, "20");
    });
    bt_takes_it(&mut world, &mut anna);
    assert!(rests(&world).is_some_and(|left| (15..=20).contains(&left)));
    assert!(told(&world).is_empty());
    world.run_for(secs(20));
    assert_eq!(rests(&world), None);
}

#[test]
fn one_of_microsofts_names_that_fails_rests_and_the_next_takes_its_calls() {
    let mut world = World::with(1, |plan| {
        plan.trunks[TEAMS].breaker = Some(Breaker { failures: 1, pause: secs(30) });
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let full = Party::called(&mut world, Who::Sip);
    full.reply(&mut world, 503);
    let anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
}
