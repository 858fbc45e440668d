//! Calls to destinations that cost: an alarm before the block, the block with its reason, and that it
//! ends by itself.

use b2bua::Plan;
use b2bua::fraud::{PastCall, Stage};
use b2bua::io::Event;
use b2bua::numbering::Country;
use b2bua::plan::{Ceiling, Change, Class, Pattern, Rewrite, Route, RouteFrom, Way, classes};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, OUTSIDE, PSTN};
use callflow::script::{carrier_calls_teams, connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Method, Name};
use std::sync::Arc;
use std::time::Duration;

const PREMIUM: &str = "+49900123456";
const ABROAD: &str = "+442079460000";

fn minutes(minutes: u64) -> Duration {
    secs(60 * minutes)
}

fn ceiling(name: &str) -> Ceiling {
    let prefixes = classes::built_in(name).expect("a class").iter().copied().collect();
    let german = Country::of("DE").expect("a country");
    let outside = (name == classes::INTERNATIONAL).then(|| classes::home(german));
    let class = Arc::new(Class { name: name.into(), outside, prefixes });
    Ceiling { class, alarm_at: 0.8, ..Ceiling::default() }
}

/// Contoso with these ceilings.
fn guarded(ceilings: Vec<Ceiling>) -> impl FnOnce(&mut Plan) {
    move |plan| {
        plan.tenants[0].country = Country::of("DE");
        plan.tenants[0].fraud = ceilings;
        plan.tenants[0].routes[0].called = Pattern::All.into();
    }
}

fn calls(world: &mut World, number: &str) -> (Party, Party) {
    let mut anna = Party::from_teams(world, CONTOSO, number);
    let callee = Party::called(world, Who::Colt);
    connect(world, &mut anna, &callee);
    (anna, callee)
}

fn gets_through(world: &mut World, number: &str) {
    let (mut anna, callee) = calls(world, number);
    hang_up(world, &mut anna, &callee);
}

/// The call is refused; what the caller is told of it.
fn is_blocked(world: &mut World, number: &str) -> String {
    let mut anna = Party::from_teams(world, CONTOSO, number);
    let refusal = anna.hears(world, "403 INVITE");
    anna.acknowledges_failure(world, &refusal);
    world.run_for(ms(100));
    let record = world.records.last().expect("a refused call leaves a record");
    assert_eq!(record.cause, "fraud_guard");
    let warning = refusal.headers.get(Name::Warning).unwrap_or_default();
    let warning = String::from_utf8_lossy(warning).into_owned();
    assert!(warning.contains(&record.route), "{warning}: {}", record.route);
    warning
}

/// The stages that have been told, in order, without those that say the same again.
fn stages(world: &World) -> Vec<Stage> {
    let told = world.events.iter().filter_map(|event| match event {
        Event::Ceiling { stage, .. } => Some(*stage),
        _ => None,
    });
    let mut stages: Vec<Stage> = told.collect();
    stages.dedup();
    stages
}

/// TDR-SEC-004.
#[test]
fn an_alarm_comes_before_the_block_and_an_hour_later_calls_go_out_again() {
    let hourly = Ceiling { calls_per_hour: Some(5), ..ceiling("premium") };
    let mut world = World::with(1, guarded(vec![hourly]));
    for _ in 0..3 {
        gets_through(&mut world, PREMIUM);
    }
    assert_eq!(stages(&world), [Stage::Free]);
    gets_through(&mut world, PREMIUM);
    assert_eq!(stages(&world), [Stage::Free, Stage::Near]);
    gets_through(&mut world, PREMIUM);
    assert_eq!(stages(&world), [Stage::Free, Stage::Near, Stage::Full]);
    let why = is_blocked(&mut world, PREMIUM);
    assert_eq!(
        why,
        "399 sbc.example.net \"fraud guard: class premium has used 5 of 5 calls in an hour; free in 61 min at the earliest\""
    );
    // As it was dialled within the country, too; other calls go on.
    is_blocked(&mut world, "0900123456");
    gets_through(&mut world, PSTN);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut caller, &anna);
    let text = world.events.iter().rev().find_map(|event| match event {
        Event::Ceiling { tenant, class, text, .. } => Some((&**tenant, &**class, &**text)),
        _ => None,
    });
    let told = ("contoso", "premium", "class premium: 5 of 5 calls in an hour are used");
    assert_eq!(text, Some(told));
    world.run_for(minutes(61));
    assert_eq!(stages(&world).last(), Some(&Stage::Free));
    gets_through(&mut world, PREMIUM);
    assert_eq!(world.records.last().unwrap().classes, ["premium"]);
}

#[test]
fn minutes_of_a_call_that_is_up_raise_the_alarm_and_block_the_next_one_but_do_not_cut_it() {
    let daily = Ceiling { minutes_per_day: Some(30), ..ceiling("international") };
    let mut world = World::with(1, guarded(vec![daily]));
    for trunk in 0..3 {
        world.replan(|plan| plan.trunks[trunk].session_timer = None);
    }
    let (mut anna, callee) = calls(&mut world, ABROAD);
    world.run_for(minutes(23));
    assert_eq!(stages(&world), [Stage::Free]);
    world.run_for(minutes(2));
    assert_eq!(stages(&world), [Stage::Free, Stage::Near]);
    gets_through(&mut world, ABROAD);
    world.run_for(minutes(6));
    assert_eq!(stages(&world), [Stage::Free, Stage::Near, Stage::Full]);
    let why = is_blocked(&mut world, ABROAD);
    assert!(why.contains("class international has used 31 of 30 minutes in a day"), "{why}");
    gets_through(&mut world, PSTN);
    hang_up(&mut world, &mut anna, &callee);
    world.run_for(minutes(23 * 60));
    is_blocked(&mut world, ABROAD);
    world.run_for(minutes(2 * 60));
    gets_through(&mut world, ABROAD);
}

#[test]
fn a_new_ceiling_counts_what_went_out_under_the_old_one_and_none_blocks_nothing() {
    let hourly = |calls| vec![Ceiling { calls_per_hour: Some(calls), ..ceiling("premium") }];
    let mut world = World::with(1, guarded(hourly(9)));
    gets_through(&mut world, PREMIUM);
    gets_through(&mut world, PREMIUM);
    world.replan(|plan| plan.tenants[0].fraud = hourly(2));
    is_blocked(&mut world, PREMIUM);
    world.replan(|plan| plan.tenants[0].fraud = hourly(3));
    gets_through(&mut world, PREMIUM);
    is_blocked(&mut world, PREMIUM);
    world.replan(|plan| plan.tenants[0].fraud = Vec::new());
    assert_eq!(stages(&world).last(), Some(&Stage::Free));
    gets_through(&mut world, PREMIUM);
}

/// TDR-EMG-002.
#[test]
fn an_emergency_call_is_no_matter_of_cost() {
    let none = Ceiling { calls_per_day: Some(0), ..ceiling("international") };
    let mut world = World::with(1, |plan| {
        guarded(vec![none])(plan);
        // Whatever the number looks like.
        plan.tenants[0].emergency = vec!["442079460000".into()];
    });
    gets_through(&mut world, ABROAD);
    is_blocked(&mut world, "+33123456789");
}

#[test]
fn a_transfer_to_a_number_that_costs_is_counted_and_refused_like_a_call_there() {
    let hourly =
        Ceiling { calls_per_hour: Some(2), minutes_per_hour: Some(10), ..ceiling("premium") };
    let mut world = World::with(1, |plan| {
        guarded(vec![hourly])(plan);
        // Who takes the place of a leg has its media where that had it.
        plan.trunks[COLT].media = OUTSIDE;
    });
    let refers = |world: &mut World, anna: &mut Party, said: &str| {
        let mut refer = anna.request(world, Method::Refer);
        refer.headers.push(Name::ReferTo, format!("<sip:{PREMIUM}@{CONTOSO}>"));
        world.send(anna.who, refer);
        anna.hears(world, said)
    };
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    let target = Party::called(&mut world, Who::Colt);
    target.reply(&mut world, 200);
    target.gets(&mut world, "ACK");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 200, |_| {});
    anna.hangs_up(&mut world);
    // Its minutes run, though nobody in Teams is in the call any more.
    world.run_for(minutes(9));
    assert_eq!(stages(&world), [Stage::Free, Stage::Near]);
    gets_through(&mut world, PREMIUM);
    let (mut other, mut anna) = carrier_calls_teams(&mut world);
    let refused = refers(&mut world, &mut anna, "403 REFER");
    let warning = String::from_utf8_lossy(refused.headers.get(Name::Warning).unwrap()).into_owned();
    assert!(warning.contains("2 of 2 calls in an hour"), "{warning}");
    hang_up(&mut world, &mut other, &anna);
    hang_up(&mut world, &mut caller, &target);
    world.run_for(minutes(62));
    assert_eq!(stages(&world).last(), Some(&Stage::Free));
}

#[test]
fn a_redirection_to_a_number_that_costs_is_not_followed() {
    let none = Ceiling { calls_per_day: Some(0), ..ceiling("premium") };
    let mut world = World::with(1, |plan| {
        guarded(vec![none])(plan);
        plan.trunks[COLT].follow_redirects = true;
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let first = Party::called(&mut world, Who::Colt);
    first.answer(&mut world, &first.invite, 302, |response| {
        let there = format!("<sip:{PREMIUM}@{}>", Who::Colt.address());
        response.headers.push(Name::Contact, there);
    });
    let second = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &second);
    hang_up(&mut world, &mut anna, &second);
    world.run_for(secs(1));
    let attempts = &world.records.last().unwrap().attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| &*attempt.outcome).collect();
    assert_eq!(outcomes, ["302", "fraud_guard", "200"]);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
}

#[test]
fn what_the_records_tell_of_before_a_restart_counts() {
    let hourly = Ceiling { calls_per_hour: Some(2), ..ceiling("premium") };
    let mut world = World::with(1, guarded(vec![hourly]));
    let past = |ago| PastCall {
        tenant: "contoso".into(),
        classes: vec!["premium".into()],
        began_ago: minutes(ago),
        answered_ago: minutes(ago),
        talk: minutes(1),
    };
    world.remember(vec![past(5), past(50), past(70)]);
    assert_eq!(stages(&world), [Stage::Full]);
    is_blocked(&mut world, PREMIUM);
    world.run_for(minutes(11));
    gets_through(&mut world, PREMIUM);
}

#[test]
fn a_call_that_fails_before_it_is_answered_costs_no_minutes() {
    let hourly = Ceiling { minutes_per_hour: Some(1), ..ceiling("international") };
    let mut world = World::with(1, guarded(vec![hourly]));
    let mut anna = Party::from_teams(&mut world, CONTOSO, ABROAD);
    let callee = Party::called(&mut world, Who::Colt);
    callee.reply(&mut world, 180);
    world.run_for(minutes(2));
    callee.reply(&mut world, 486);
    let refusal = anna.hears(&mut world, "486 INVITE");
    anna.acknowledges_failure(&mut world, &refusal);
    gets_through(&mut world, ABROAD);
    let (mut anna, pstn) = teams_calls_carrier(&mut world);
    hang_up(&mut world, &mut anna, &pstn);
}

/// Whoever may write the tenant's rules, it is the tenant that pays.
#[test]
fn a_carriers_call_that_a_rule_sends_out_counts_as_one_of_the_tenant() {
    let mut world = World::with(1, |plan| {
        let premium = Ceiling { calls_per_day: Some(0), ..ceiling(classes::PREMIUM) };
        guarded(vec![premium])(plan);
        let tenant = &mut plan.tenants[0];
        tenant.rewrite.push(Rewrite {
            way: Way::In,
            party: None,
            from: Some(RouteFrom::Carrier),
            matches: ANNA.parse::<Pattern>().expect("a pattern").into(),
            change: Change::Front { strip: 3, prepend: "+49900".into() },
            place: "tenants.d/contoso.toml:7".into(),
        });
        let out = Route { from: RouteFrom::Carrier, to: vec![BT].into(), ..Route::default() };
        tenant.routes.insert(0, out);
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let refusal = caller.hears(&mut world, "403 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.records.last().map(|record| record.cause.as_str()), Some("fraud_guard"));
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
}
