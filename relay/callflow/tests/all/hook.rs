//! A tenant's routing hook decides, says nothing, comes too late, or asks for what the tenant cannot have.

use b2bua::hook::{Failure, RouteAnswer};
use b2bua::io::Event;
use b2bua::plan::{Ceiling, Class, Fallback, Hook, Pattern, Route, RouteFrom};
use callflow::plan::{ANNA, BORIS, BT, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Name, Request};
use std::sync::Arc;

/// A world in which contoso has a hook.
fn hooked(fallback: Fallback) -> World {
    World::with(1, |plan| {
        let hook = Hook { timeout: ms(500), fallback, ..Hook::default() };
        plan.tenants[0].hook = Some(Arc::new(hook));
    })
}

fn route(to: &[&str]) -> RouteAnswer {
    let to = to.iter().map(|name| (*name).to_owned()).collect();
    RouteAnswer::Route { to, called: None, caller: None }
}

/// Anna calls out, and the hook is asked.
fn anna_calls(world: &mut World) -> Party {
    let anna = Party::from_teams(world, CONTOSO, PSTN);
    assert!(world.run_until(secs(1), |world| !world.questions.is_empty()), "nobody was asked");
    anna
}

fn results(world: &World) -> Vec<&'static str> {
    let results = world.events.iter().filter_map(|event| match event {
        Event::HookAsked { tenant, result, .. } => {
            assert_eq!(tenant, "contoso");
            Some(*result)
        }
        _ => None,
    });
    results.collect()
}

fn user(request: &Request) -> String {
    let uri = request.request_uri().expect("a SIP URI");
    String::from_utf8_lossy(uri.user.unwrap_or_default()).into_owned()
}

/// The caller gets this status, the record this cause, and nobody was called.
fn refused(world: &mut World, caller: &mut Party, status: u16, cause: &str) {
    let refusal = caller.hears(world, &format!("{status} INVITE"));
    caller.acknowledges_failure(world, &refusal);
    let record = world.records.last().expect("a refused call leaves a record");
    assert_eq!((record.status, record.cause.as_str()), (status, cause));
    assert_eq!(record.tenant.as_deref(), Some("contoso"));
    assert_eq!(world.sent_to(Who::Colt, "INVITE") + world.sent_to(Who::Bt, "INVITE"), 0);
}

#[test]
fn the_hook_sends_a_call_elsewhere_than_the_table_would() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.run_for(ms(300));
    assert_eq!(world.sent_to(Who::Sip, "100 INVITE"), 1);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    let asked = &world.questions[0];
    assert_eq!((asked.tenant.as_str(), asked.via.as_str()), ("contoso", "teams"));
    assert_eq!((asked.called.as_str(), asked.calling.as_str()), (PSTN, ANNA));
    assert_eq!(asked.from, RouteFrom::Teams);
    world.hook_says(route(&["bt", "colt"]));
    let subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    let record = &world.records[0];
    assert_eq!(record.route, "contoso: hook -> bt, colt");
    // The caller has waited for the hook, too.
    assert!(record.setup.is_some_and(|setup| setup >= ms(300)), "{:?}", record.setup);
    assert_eq!(results(&world), ["route"]);
}

#[test]
fn the_hook_gives_other_numbers() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.hook_says(RouteAnswer::Route {
        to: vec!["colt".into()],
        called: Some("+4940555".into()),
        caller: Some("+493010009999".into()),
    });
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(user(&subscriber.invite), "+4940555");
    let from = subscriber.invite.headers.get(Name::From).unwrap_or_default();
    assert!(String::from_utf8_lossy(from).contains("+493010009999"));
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_call_from_a_carrier_goes_to_another_number_of_the_tenant() {
    let mut world = hooked(Fallback::Table);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    world.run_for(ms(100));
    world.hook_says(RouteAnswer::Route {
        to: vec!["teams".into()],
        called: Some("+493010005678".into()),
        caller: None,
    });
    let agent = Party::called(&mut world, Who::Sip);
    assert_eq!(user(&agent.invite), "+493010005678");
    connect(&mut world, &mut caller, &agent);
    hang_up(&mut world, &mut caller, &agent);
}

#[test]
fn the_hook_leaves_it_to_the_table() {
    let mut world = hooked(Fallback::Refuse);
    let mut anna = anna_calls(&mut world);
    world.hook_says(RouteAnswer::Table);
    let subscriber = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    assert!(world.records[0].route.ends_with("(hook: table)"), "{}", world.records[0].route);
    assert_eq!(results(&world), ["table"]);
}

#[test]
fn the_hook_refuses_a_call() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.hook_says(RouteAnswer::Reject { status: 603, reason: "closed today".into() });
    refused(&mut world, &mut anna, 603, "hook_rejected");
    assert_eq!(world.records[0].route, "closed today");
    assert_eq!(results(&world), ["reject"]);
}

#[test]
fn the_hook_is_silent_and_the_table_decides() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.run_for(ms(400));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    let subscriber = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &subscriber);
    // What it says now, nobody waits for.
    world.hook_says(route(&["bt"]));
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    assert!(world.records[0].route.ends_with("(hook: timeout)"), "{}", world.records[0].route);
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
    assert_eq!(results(&world), ["timeout", "late"]);
}

#[test]
fn the_hook_fails_and_nothing_else_may_decide() {
    let mut world = hooked(Fallback::Refuse);
    let mut anna = anna_calls(&mut world);
    world.hook_says(RouteAnswer::Failed(Failure::Unavailable, "status 500".into()));
    refused(&mut world, &mut anna, 503, "hook_failed");
    assert_eq!(results(&world), ["unavailable"]);
}

#[test]
fn the_caller_gives_up_while_the_hook_is_asked() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    anna.cancels(&mut world, Some("SIP;cause=487;text=\"gone\""));
    anna.hears(&mut world, "200 CANCEL");
    refused(&mut world, &mut anna, 487, "cancelled");
    let record = world.records.last().expect("it was cancelled");
    assert_eq!(record.reason.as_deref(), Some("gone"));
    let said = record.microsoft.as_ref().expect("TDR-ERR-001");
    assert_eq!((said.cause, said.phrase.as_deref()), (Some(487), Some("gone")));
    assert_eq!(world.core().held().calls, 0);
    world.hook_says(route(&["colt"]));
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    assert_eq!(world.records.len(), 1);
    assert_eq!(results(&world), ["late"]);
}

#[test]
fn the_invite_is_sent_again_while_the_hook_is_asked() {
    let mut world = hooked(Fallback::Table);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    world.run_for(ms(50));
    let again = caller.invite.clone();
    world.send(Who::Colt, again);
    world.run_for(ms(50));
    assert_eq!(world.questions.len(), 1);
    assert!(world.sent_to(Who::Colt, "100 INVITE") >= 1);
    world.hook_says(route(&["teams"]));
    let agent = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &agent);
    hang_up(&mut world, &mut caller, &agent);
}

#[test]
fn the_host_stops_while_the_hook_is_asked() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.shut_down();
    refused(&mut world, &mut anna, 503, "draining");
    world.hook_says(route(&["colt"]));
    world.run_for(secs(1));
    assert!(world.stopped);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

#[test]
fn the_configuration_changes_while_the_hook_is_asked() {
    let mut world = hooked(Fallback::Table);
    let mut anna = anna_calls(&mut world);
    world.replan(|plan| {
        let tenant = plan.tenants.iter_mut().next().expect("contoso");
        tenant.hook = None;
        tenant.routes.clear();
    });
    // The call keeps the plan that its INVITE met, in which colt is the tenant's.
    world.hook_says(route(&["colt"]));
    let subscriber = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn the_hook_asks_for_what_the_tenant_cannot_have() {
    let numbers = |called: Option<&str>, caller: Option<&str>| RouteAnswer::Route {
        to: vec!["colt".into()],
        called: called.map(str::to_owned),
        caller: caller.map(str::to_owned),
    };
    for answer in [
        route(&["nobody"]),
        // A trunk that only routes in the other direction lead to.
        route(&["colt", "teams"]),
        route(&[]),
        numbers(None, Some(BORIS)),
        numbers(None, Some("anna\r\nX: y")),
        numbers(Some("+112"), None),
        numbers(Some("sip:+4930@elsewhere.example"), None),
        RouteAnswer::Reject { status: 200, reason: String::new() },
        RouteAnswer::Reject { status: 401, reason: String::new() },
        RouteAnswer::Reject { status: 403, reason: "a\r\nX: y".into() },
        RouteAnswer::Reject { status: 403, reason: "a".repeat(1000) },
    ] {
        let mut world = hooked(Fallback::Refuse);
        let mut anna = anna_calls(&mut world);
        world.hook_says(answer.clone());
        refused(&mut world, &mut anna, 503, "hook_failed");
        assert_eq!(results(&world), ["invalid"], "{answer:?}");
    }
}

#[test]
fn the_hook_sends_a_carriers_call_to_a_number_of_another_tenant() {
    let mut world = hooked(Fallback::Refuse);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    world.run_for(ms(100));
    let (to, called) = (vec!["teams".into()], Some(BORIS.into()));
    world.hook_says(RouteAnswer::Route { to, called, caller: None });
    refused(&mut world, &mut caller, 503, "hook_failed");
    assert_eq!(results(&world), ["invalid"]);
}

#[test]
fn the_hook_sends_a_call_to_a_number_that_is_blocked() {
    let mut world = World::with(1, |plan| {
        let tenant = plan.tenants.iter_mut().next().expect("contoso");
        tenant.hook = Some(Arc::new(Hook { timeout: ms(500), ..Hook::default() }));
        let blocked: Pattern = "+4940*".parse().expect("a pattern");
        tenant.block.called = Some(blocked.into());
    });
    let mut anna = anna_calls(&mut world);
    let (to, called) = (vec!["colt".into()], Some("+4940555".into()));
    world.hook_says(RouteAnswer::Route { to, called, caller: None });
    refused(&mut world, &mut anna, 403, "blocked");
}

#[test]
fn the_hook_sends_a_carriers_call_out_to_a_number_that_costs() {
    let mut world = World::with(1, |plan| {
        let hook = Hook { timeout: ms(500), ..Hook::default() };
        let tenant = &mut plan.tenants[0];
        tenant.hook = Some(Arc::new(hook));
        tenant.routes.push(Route {
            from: RouteFrom::Carrier,
            to: vec![BT].into(),
            ..Route::default()
        });
        let prefixes = ["+882"].into_iter().collect();
        let class = Arc::new(Class { name: "satellite".into(), prefixes, outside: None });
        tenant.fraud = vec![Ceiling { class, calls_per_day: Some(0), ..Ceiling::default() }];
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    world.run_for(ms(100));
    world.hook_says(RouteAnswer::Route {
        to: vec!["bt".into()],
        called: Some("+88212345678".into()),
        caller: None,
    });
    refused(&mut world, &mut caller, 403, "fraud_guard");
}

#[test]
fn an_emergency_call_waits_for_no_hook() {
    let mut world = World::with(1, |plan| {
        let tenant = plan.tenants.iter_mut().next().expect("contoso");
        tenant.hook = Some(Arc::new(Hook { timeout: ms(500), ..Hook::default() }));
        for route in &mut tenant.routes {
            route.called = b2bua::plan::Patterns::default();
        }
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, "112");
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
    assert!(world.questions.is_empty());
}

#[test]
fn a_tenant_without_a_hook_waits_for_nobody() {
    let mut world = hooked(Fallback::Refuse);
    let mut boris = Party::from_teams(&mut world, FABRIKAM, PSTN);
    let subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut boris, &subscriber);
    hang_up(&mut world, &mut boris, &subscriber);
    assert!(world.questions.is_empty());
}

#[test]
fn a_caller_who_hides_is_not_named_to_the_hook() {
    let mut world = hooked(Fallback::Table);
    let uri = format!("sip:{ANNA}@{}:5060", Who::Colt.ours().ip());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.push(Name::Privacy, "id");
        invite.headers.push(Name::Diversion, "<sip:+4930111@a.example>;reason=no-answer");
    });
    world.run_for(ms(100));
    let asked = &world.questions[0];
    assert_eq!((asked.calling.as_str(), asked.name.as_deref()), ("", None));
    assert_eq!(asked.diverted_by.as_deref(), Some("+4930111"));
    world.hook_says(RouteAnswer::Reject { status: 486, reason: String::new() });
    refused(&mut world, &mut caller, 486, "hook_rejected");
}

#[test]
fn more_calls_wait_than_there_is_room_for() {
    let mut world = hooked(Fallback::Table);
    let mut callers: Vec<Party> = Vec::new();
    for _ in 0..5_001 {
        callers.push(Party::from_carrier(&mut world, Who::Colt, ANNA));
    }
    world.run_for(ms(100));
    assert_eq!(world.questions.len(), 5_000);
    // The one too many goes by the table at once.
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    assert_eq!(results(&world), ["full"]);
    world.without_laws();
}
