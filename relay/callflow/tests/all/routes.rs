//! Where calls go: by route, share, trunk and time; what is kept of how that came about; and what an operator
//! is told who asks.

use b2bua::plan::{Limits, Pattern, Patterns, Route, RouteFrom, Schedule, Step, Steps};
use b2bua::{Explanation, Inquiry, Reject, When};
use callflow::plan::{ANNA, BORIS, BT, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World};
use std::collections::BTreeSet;

fn pattern(written: &str) -> Patterns {
    written.parse::<Pattern>().expect("a pattern").into()
}

fn from_teams(called: &str, to: Vec<usize>, line: u32) -> Route {
    Route { called: pattern(called), to: to.into(), line, ..Route::default() }
}

fn routed(routes: Vec<Route>) -> World {
    World::with(1, |plan| {
        let back = Route { from: RouteFrom::Carrier, to: vec![TEAMS].into(), ..Route::default() };
        plan.tenants[0].routes = routes;
        plan.tenants[0].routes.push(back);
    })
}

/// A call from Teams that this carrier gets, answers and ends.
fn goes_to(world: &mut World, number: &str, who: Who) {
    let mut anna = Party::from_teams(world, CONTOSO, number);
    let callee = Party::called(world, who);
    connect(world, &mut anna, &callee);
    hang_up(world, &mut anna, &callee);
}

fn asked(world: &mut World, from: &str, to: &str, via: Option<&str>) -> Explanation {
    let inquiry = Inquiry {
        tenant: "contoso".into(),
        from: from.into(),
        to: to.into(),
        via: via.map(str::to_owned),
        at: When::Now,
    };
    let held = world.core().held();
    let explained = world.explain(&inquiry).expect("a question that makes sense");
    assert_eq!(world.core().held(), held, "nothing comes of a question");
    explained
}

#[test]
fn a_call_keeps_how_it_came_to_go_where_it_went() {
    let mut world = routed(vec![
        from_teams("+49*", vec![COLT], 14),
        from_teams("/^\\+33(1|2)/", vec![BT, COLT], 20),
    ]);
    goes_to(&mut world, "+33140123456", Who::Bt);
    world.run_for(std::time::Duration::from_secs(1));
    let record = &world.records[0];
    assert_eq!(record.route, "contoso: teams /^\\+33(1|2)/ -> bt, colt");
    let told: Vec<&str> = record.decision.iter().map(String::as_str).collect();
    let expected = [
        "tenants.d/contoso.toml:14 match +49*: the called number +33140123456 does not begin with +49",
        "tenants.d/contoso.toml:20 match /^\\+33(1|2)/: matches",
        "goes to bt, colt",
    ];
    for line in expected {
        assert!(told.contains(&line), "{line} in {told:#?}");
    }
}

#[test]
fn a_call_that_is_refused_keeps_why_no_route_took_it() {
    let mut world = routed(vec![from_teams("+49*", vec![COLT], 14)]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, "+33140123456");
    anna.hears(&mut world, "404 INVITE");
    let record = &world.records[0];
    assert_eq!(record.cause, "no_route");
    let told = &record.decision;
    assert!(told.iter().any(|line| line.starts_with("tenants.d/contoso.toml:14")), "{told:?}");
    assert!(told.iter().any(|line| line == "routes for calls from the other side: 1"));
}

#[test]
fn the_record_of_a_tenant_with_a_thousand_routes_is_bounded() {
    let routes =
        (0..1000).map(|index| from_teams(&format!("+49{index:04}"), vec![COLT], index + 1));
    let mut world = routed(routes.collect());
    let mut anna = Party::from_teams(&mut world, CONTOSO, "+33140123456");
    anna.hears(&mut world, "404 INVITE");
    let told = &world.records[0].decision;
    assert!(told.len() < 25, "{}", told.len());
    assert!(told.iter().any(|line| line == "more routes that did not match: 984"), "{told:?}");
}

#[test]
fn calls_are_shared_by_weight_and_who_is_not_drawn_comes_next() {
    let share = Steps::from(vec![Step::Share([(COLT, 1), (BT, 1)].into())]);
    let mut world = routed(vec![Route { to: share, ..Route::default() }]);
    let mut first = BTreeSet::new();
    for _ in 0..12 {
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let colt_is_asked = world.run_until(std::time::Duration::from_secs(1), |world| {
            world.sent_to(Who::Colt, "INVITE") + world.sent_to(Who::Bt, "INVITE") > first.len()
        });
        assert!(colt_is_asked);
        anna.cancels(&mut world, None);
        world.run_for(std::time::Duration::from_secs(40));
        first.extend(
            world
                .records
                .iter()
                .filter_map(|record| record.attempts.first().map(|attempt| attempt.trunk.clone())),
        );
        anna.hears(&mut world, "487 INVITE");
        if first.len() == 2 {
            return;
        }
    }
    panic!("only {first:?} was ever drawn");
}

#[test]
fn a_route_for_one_trunk_or_caller_leaves_the_others_alone() {
    let mut sales = from_teams("*", vec![BT], 5);
    sales.rare_mut().calling = Some(pattern("+493010009*"));
    let mut world = routed(vec![sales, from_teams("*", vec![COLT], 9)]);
    goes_to(&mut world, PSTN, Who::Colt);
    let explained = asked(&mut world, "+493010009999", PSTN, None);
    assert_eq!(explained.targets[0].trunk, "bt");
    let explained = asked(&mut world, ANNA, PSTN, None);
    assert_eq!(
        explained.routes[0].why_not.as_deref(),
        Some("the calling number +493010001234 does not begin with +493010009")
    );
}

#[test]
fn an_emergency_call_takes_its_own_route_with_and_without_plus_else_an_ordinary_one() {
    let emergency = Route { emergency: true, ..from_teams("*", vec![BT], 3) };
    let ordinary = from_teams("*", vec![COLT], 7);
    for number in ["112", "+112"] {
        let mut world = routed(vec![ordinary.clone(), emergency.clone()]);
        goes_to(&mut world, number, Who::Bt);
        let mut world = routed(vec![ordinary.clone()]);
        goes_to(&mut world, number, Who::Colt);
        let explained = asked(&mut world, ANNA, number, None);
        assert!(explained.emergency && explained.refused.is_none());
    }
    let mut world = routed(vec![ordinary, emergency]);
    goes_to(&mut world, PSTN, Who::Colt);
    let explained = asked(&mut world, ANNA, "112", None);
    let told: Vec<_> = explained.routes.iter().map(|tried| tried.why_not.as_deref()).collect();
    let why = "it is for ordinary calls, and a route for emergency calls matches";
    assert_eq!(told, [Some(why), None]);
}

#[test]
fn an_operator_is_told_of_a_trunk_that_is_full_and_of_one_that_is_down() {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].limits = Limits { calls: Some(0), ..Limits::default() };
    });
    let explained = asked(&mut world, ANNA, PSTN, None);
    let states: Vec<_> =
        explained.targets.iter().map(|it| (it.trunk.as_str(), it.state, it.is_tried())).collect();
    assert_eq!(states, [("colt", "up", false), ("bt", "up", true)]);
    assert!(explained.targets[0].full.is_some());
    world.replan(|plan| plan.tenants[0].routes[0].to = vec![COLT].into());
    let explained = asked(&mut world, ANNA, PSTN, None);
    assert_eq!(explained.refused.unwrap().0, Reject::TrunkDown);
}

#[test]
fn who_does_not_say_where_a_call_comes_from_means_teams_for_a_number_of_the_tenant() {
    let mut world = World::new(1);
    let explained = asked(&mut world, ANNA, PSTN, None);
    assert_eq!((explained.direction, explained.via.as_str()), (RouteFrom::Teams, "teams"));
    let explained = asked(&mut world, PSTN, ANNA, None);
    assert_eq!((explained.direction, explained.via.as_str()), (RouteFrom::Carrier, "colt"));
    assert_eq!(explained.targets[0].trunk, "teams");
    let explained = asked(&mut world, PSTN, ANNA, Some("bt"));
    assert_eq!(explained.via, "bt");
}

#[test]
fn a_number_of_another_tenant_is_not_the_tenants_call() {
    let mut world = World::new(1);
    let explained = asked(&mut world, PSTN, BORIS, None);
    assert_eq!(explained.refused.unwrap().0, Reject::UnknownTenant);
}

#[test]
fn a_question_that_makes_no_sense_is_told_so() {
    let mut world = World::new(1);
    let mut told = |tenant: &str, via: Option<&str>| {
        let inquiry = Inquiry {
            tenant: tenant.into(),
            from: ANNA.into(),
            to: PSTN.into(),
            via: via.map(str::to_owned),
            at: When::Now,
        };
        world.explain(&inquiry).unwrap_err()
    };
    assert_eq!(told("nobody", None), "there is no tenant nobody");
    assert_eq!(told("contoso", Some("kolt")), "there is no trunk kolt");
}

#[test]
fn a_route_of_the_night_does_not_hold_by_day() {
    let mut night = from_teams("*", vec![BT], 5);
    let timezone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let spans = vec!["22:00-06:00".parse().unwrap()].into();
    night.rare_mut().when = Some(Schedule { timezone: timezone.clone(), spans });
    let mut world = routed(vec![night, from_teams("*", vec![COLT], 9)]);
    world.replan(|plan| plan.tenants[0].timezone = Some(timezone.clone()));
    let mut at = |local: &str| {
        let at = When::Local(local.parse().unwrap());
        let inquiry =
            Inquiry { tenant: "contoso".into(), from: ANNA.into(), to: PSTN.into(), via: None, at };
        world.explain(&inquiry).unwrap()
    };
    assert_eq!(at("2026-12-24T23:00").targets[0].trunk, "bt");
    let noon = at("2026-12-24T12:00");
    assert_eq!(noon.targets[0].trunk, "colt");
    assert_eq!(noon.at, "thu 2026-12-24 12:00:00 Europe/Berlin");
    assert_eq!(noon.routes[0].why_not.as_deref(), Some("it is thu 2026-12-24 12:00 Europe/Berlin"));
}
