//! We register with a carrier: what its registrars do, and what calls make of it.

use crate::challenged::{Gate, account};
use b2bua::accounts::Register;
use b2bua::io::Event;
use b2bua::plan::{Plan, TargetName};
use callflow::plan::{COLT, CONTOSO, PSTN};
use callflow::script::{connect, hang_up, value};
use callflow::{Party, Who, World, ms, secs};
use sip_core::auth::{Algorithm, Asker, Verdict};
use sip_core::{Name, Request};
use std::collections::BTreeMap;
use std::time::Duration;

/// Colt wants us registered; with `both`, the other carrier's host is its second registrar.
fn registering(secret: &'static str, both: bool) -> impl FnOnce(&mut Plan) {
    move |plan| {
        let trunk = &mut plan.trunks[COLT];
        trunk.accounts.ours = Some(account(secret));
        trunk.accounts.register = Some(Register {
            user: "trunk-7".into(),
            domain: "sip.colt.example".into(),
            expires: secs(600),
        });
        if both {
            let who = Who::Bt;
            trunk.targets.push(TargetName { host: who.host(), port: Some(who.address().port()) });
        }
    }
}

/// Gets REGISTER; who answers it, and it.
fn register(world: &mut World, who: Who) -> (Party, Request) {
    let message = world.expect(who, "REGISTER");
    let party = Party::of_invite(world, who, &message);
    let request = party.invite.clone();
    (party, request)
}

fn grant(world: &mut World, (party, request): &(Party, Request), seconds: u32) {
    let contact = value(request, Name::Contact);
    party.answer(world, request, 200, |response| {
        response.headers.push(Name::Contact, format!("{contact};expires={seconds}"));
    });
    world.run_for(ms(50));
}

/// Lets time pass until the next REGISTER goes to `who`; how long that took.
fn refresh_due(world: &mut World, who: Who) -> Duration {
    let (before, began) = (world.sent_to(who, "REGISTER"), world.elapsed());
    assert!(world.run_until(secs(1000), |world| world.sent_to(who, "REGISTER") > before));
    world.elapsed() - began
}

/// Challenges REGISTER, gets it with the right credentials, and grants it.
fn let_in(world: &mut World, gate: &mut Gate, who: Who, seconds: u32) -> Request {
    let asked = register(world, who);
    gate.asks(world, &asked.0, &asked.1, false);
    let signed = register(world, who);
    assert_eq!(gate.judges(world, &signed.1), Verdict::Genuine(0));
    grant(world, &signed, seconds);
    signed.1
}

/// What was told of the registration: up, down or removed, and why.
fn told(world: &World) -> Vec<(Option<bool>, &str)> {
    let registered = |event| match event {
        &Event::Registered { up, ref why, .. } => Some((up, why.as_str())),
        _ => None,
    };
    world.events.iter().filter_map(registered).collect()
}

/// What `tollgate trunks` shows of Colt.
fn shown(world: &World) -> (bool, String) {
    let rows = world.core().targets(world.now());
    rows.into_iter().find(|row| row.trunk == "colt").map(|row| (row.up, row.last)).expect("a row")
}

fn sha256(world: &World) -> Gate {
    Gate::new(world, Asker::Server, &[Algorithm::Sha256])
}

#[test]
fn challenged_granted_and_refreshed_before_the_end() {
    let mut world = World::with(1, registering("s3cret", false));
    let mut gate = sha256(&world);
    let asked = register(&mut world, Who::Colt);
    assert_eq!(asked.1.uri, "sip:sip.colt.example");
    assert_eq!(value(&asked.1, Name::To), "<sip:trunk-7@sip.colt.example>");
    assert_eq!(value(&asked.1, Name::Contact), "<sip:trunk-7@203.0.113.10:5060;transport=udp>");
    gate.asks(&mut world, &asked.0, &asked.1, false);
    let signed = register(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &signed.1), Verdict::Genuine(0));
    grant(&mut world, &signed, 600);
    assert_eq!(told(&world), [(Some(true), "registered at 198.51.100.20:5060")]);
    let waited = refresh_due(&mut world, Who::Colt);
    assert!((secs(389)..secs(481)).contains(&waited), "65 to 80 % of what was granted");
    let refresh = register(&mut world, Who::Colt);
    assert_eq!(value(&refresh.1, Name::CallId), value(&asked.1, Name::CallId));
    assert_eq!(value(&refresh.1, Name::CSeq), "3 REGISTER");
    // 300 s are over, so that the nonce is too old: not a word about the secret.
    assert!(matches!(gate.judges(&world, &refresh.1), Verdict::Denied(why) if why.is_stale()));
    gate.asks(&mut world, &refresh.0, &refresh.1, true);
    let signed = register(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &signed.1), Verdict::Genuine(0));
    grant(&mut world, &signed, 600);
    assert_eq!(told(&world).len(), 1, "nothing has changed");
}

#[test]
fn refresh_challenged_with_a_new_nonce_and_no_word_of_stale() {
    let mut world = World::with(1, registering("s3cret", false));
    let mut gate = sha256(&world);
    let_in(&mut world, &mut gate, Who::Colt, 120);
    refresh_due(&mut world, Who::Colt);
    let refresh = register(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &refresh.1), Verdict::Genuine(0), "the nonce is used again");
    gate.asks(&mut world, &refresh.0, &refresh.1, false);
    let signed = register(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &signed.1), Verdict::Genuine(0));
    grant(&mut world, &signed, 600);
    assert!(shown(&world).0);
}

#[test]
fn wrong_secret_takes_the_trunk_down_and_calls_go_elsewhere() {
    let mut world = World::with(1, registering("wrong", false));
    let mut gate = sha256(&world);
    for _ in 0..2 {
        let asked = register(&mut world, Who::Colt);
        gate.asks(&mut world, &asked.0, &asked.1, false);
    }
    world.run_for(secs(1));
    assert_eq!(told(&world), [(Some(false), "not registered: user or secret is wrong")]);
    assert_eq!(shown(&world), (false, "not registered: user or secret is wrong".into()));
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(200));
    assert_eq!(world.sent_to(Who::Colt, "REGISTER"), 2, "it is not hammered");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

#[test]
fn registrar_dies_and_the_second_one_takes_over() {
    let mut world = World::with(1, registering("s3cret", true));
    let mut gate = sha256(&world);
    let first = let_in(&mut world, &mut gate, Who::Colt, 120);
    world.refuse_connections(Who::Colt);
    refresh_due(&mut world, Who::Bt);
    let second = let_in(&mut world, &mut gate, Who::Bt, 120);
    assert_eq!(value(&first, Name::CallId), value(&second, Name::CallId));
    let told: Vec<_> = told(&world).iter().map(|(up, _)| *up).collect();
    assert_eq!(told, [Some(true), Some(true)], "it was never down");
}

#[test]
fn silent_registrar_gives_way_after_eight_seconds_and_its_late_answer_counts_for_nothing() {
    let mut world = World::with(1, registering("s3cret", true));
    let late = register(&mut world, Who::Colt);
    let took_over = register(&mut world, Who::Bt);
    assert!((secs(8)..secs(9)).contains(&world.elapsed()));
    late.0.answer(&mut world, &late.1, 403, |_| {});
    world.run_for(secs(1));
    assert!(told(&world).is_empty());
    grant(&mut world, &took_over, 600);
    assert_eq!(told(&world), [(Some(true), "registered at 192.0.2.30:5060")]);
}

#[test]
fn interval_too_brief_is_asked_for_longer() {
    let mut world = World::with(1, registering("s3cret", false));
    let asked = register(&mut world, Who::Colt);
    assert_eq!(value(&asked.1, Name::Expires), "600");
    asked.0.answer(&mut world, &asked.1, 423, |response| {
        response.headers.push(Name::MinExpires, "3600");
    });
    let longer = register(&mut world, Who::Colt);
    assert_eq!(value(&longer.1, Name::Expires), "3600");
    grant(&mut world, &longer, 3600);
    assert!(shown(&world).0);
}

#[test]
fn shutdown_removes_the_binding_before_it_is_complete() {
    let mut world = World::with(1, registering("s3cret", false));
    let mut gate = sha256(&world);
    let_in(&mut world, &mut gate, Who::Colt, 600);
    world.shut_down();
    let leave = register(&mut world, Who::Colt);
    assert_eq!(value(&leave.1, Name::Expires), "0");
    assert!(!world.stopped);
    gate.asks(&mut world, &leave.0, &leave.1, false);
    let leave = register(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &leave.1), Verdict::Genuine(0));
    leave.0.answer(&mut world, &leave.1, 200, |_| {});
    world.run_for(secs(1));
    assert!(world.stopped);
    assert_eq!(told(&world).last(), Some(&(None, "removed")));
}

#[test]
fn shutdown_does_not_wait_for_a_dead_registrar() {
    let mut world = World::with(1, registering("s3cret", false));
    let asked = register(&mut world, Who::Colt);
    grant(&mut world, &asked, 600);
    world.shut_down();
    register(&mut world, Who::Colt);
    world.run_for(secs(4));
    assert!(world.stopped);
}

#[test]
fn reload_registers_leaves_and_moves() {
    let mut world = World::new(1);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Colt, "REGISTER"), 0);
    world.replan(registering("s3cret", false));
    let first = register(&mut world, Who::Colt);
    grant(&mut world, &first, 600);
    world.replan(|_| {});
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Colt, "REGISTER"), 1, "what has not changed goes on");
    world.replan(|plan| {
        if let Some(register) = plan.trunks[COLT].accounts.register.as_mut() {
            register.user = "trunk-8".into();
        }
    });
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let one = register(&mut world, Who::Colt);
        seen.insert(value(&one.1, Name::To), value(&one.1, Name::Expires));
        let seconds = if value(&one.1, Name::Expires) == "0" { 0 } else { 600 };
        grant(&mut world, &one, seconds);
    }
    let want = [
        ("<sip:trunk-7@sip.colt.example>".to_owned(), "0".to_owned()),
        ("<sip:trunk-8@sip.colt.example>".to_owned(), "600".to_owned()),
    ];
    assert_eq!(seen, BTreeMap::from(want));
    world.replan(|plan| plan.trunks[COLT].accounts.register = None);
    let last = register(&mut world, Who::Colt);
    assert_eq!(value(&last.1, Name::Expires), "0");
    grant(&mut world, &last, 0);
    assert_eq!(told(&world).last(), Some(&(None, "removed")));
    assert!(shown(&world).0, "nobody asks for it any more");
}

#[test]
fn registration_goes_when_its_whole_trunk_goes() {
    let mut world = World::new(1);
    world.replan(registering("s3cret", false));
    let first = register(&mut world, Who::Colt);
    grant(&mut world, &first, 600);
    world.replan(|plan| {
        plan.trunks[COLT].name = "another".into();
        plan.trunks[COLT].sources.clear();
        plan.trunks[COLT].accounts.register = None;
    });
    let last = register(&mut world, Who::Colt);
    assert_eq!(value(&last.1, Name::Expires), "0");
    // Its answer comes from a stranger now; nobody waits for it for long.
    grant(&mut world, &last, 0);
    world.run_for(secs(40));
    assert_eq!(told(&world).last(), Some(&(None, "removed")));
}

#[test]
fn registrar_whose_name_is_resolved_later_is_asked_then() {
    let mut world = World::with(1, |plan| {
        registering("s3cret", false)(plan);
        plan.trunks[COLT].targets =
            vec![TargetName { host: "sip.colt.example".into(), port: None }];
    });
    world.run_for(secs(2));
    assert_eq!(told(&world), [(Some(false), "not registered: unreachable")]);
    world.locate("sip.colt.example", &[(0, 0, Who::Colt)]);
    let asked = register(&mut world, Who::Colt);
    assert!(world.elapsed() < secs(3));
    grant(&mut world, &asked, 600);
    assert!(shown(&world).0);
}
