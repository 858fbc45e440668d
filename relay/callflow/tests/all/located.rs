//! A carrier that is a name: which of its endpoints a call goes to, and what DNS can do to it.

use b2bua::plan::TargetName;
use callflow::plan::{BT, COLT, CONTOSO, PSTN};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World, secs};

const CARRIER: &str = "carrier.example";

/// Trunk colt is a name without a port, and both carriers' addresses are its endpoints.
fn world() -> World {
    World::with(1, |plan| {
        let bt = plan.trunks[BT].sources.clone();
        let colt = &mut plan.trunks[COLT];
        colt.targets = vec![TargetName { host: CARRIER.into(), port: None }];
        colt.sources.extend(bt);
        plan.tenants[0].routes[0].to = vec![COLT].into();
    })
}

fn call(world: &mut World, at: Who) -> (Party, Party) {
    let mut anna = Party::from_teams(world, CONTOSO, PSTN);
    let subscriber = Party::called(world, at);
    connect(world, &mut anna, &subscriber);
    (anna, subscriber)
}

#[test]
fn the_first_of_two_priorities_is_dead_and_the_next_call_does_not_wait_for_it() {
    let mut world = world();
    world.locate(CARRIER, &[(20, 0, Who::Bt), (10, 0, Who::Colt)]);
    let (mut anna, subscriber) = call(&mut world, Who::Bt);
    assert!(world.elapsed() >= secs(3) && world.elapsed() < secs(4));
    assert!(subscriber.invite.uri.ends_with(b"@carrier.example;user=phone;transport=udp"));
    hang_up(&mut world, &mut anna, &subscriber);

    let asked = world.sent_to(Who::Colt, "INVITE");
    let (mut anna, subscriber) = call(&mut world, Who::Bt);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), asked);
    hang_up(&mut world, &mut anna, &subscriber);

    // It is not forgotten for ever.
    world.run_for(secs(40));
    world.forget(Who::Colt);
    let (mut anna, subscriber) = call(&mut world, Who::Colt);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn an_endpoint_that_is_heard_again_is_the_first_again() {
    let mut world = World::with(1, |plan| {
        let bt = plan.trunks[BT].sources.clone();
        let colt = &mut plan.trunks[COLT];
        colt.targets = vec![TargetName { host: CARRIER.into(), port: None }];
        colt.sources.extend(bt);
        colt.options_interval = Some(secs(60));
        plan.tenants[0].routes[0].to = vec![COLT].into();
    });
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world.locate(CARRIER, &[(10, 0, Who::Colt), (20, 0, Who::Bt)]);
    world.refuse_connections(Who::Colt);
    // OPTIONS finds it out before any call has to, and asks the other one.
    let probe = world.expect(Who::Bt, "OPTIONS");
    let bt = Party::of_invite(&mut world, Who::Bt, &probe);
    bt.answer(&mut world, &bt.invite, 200, |_| {});
    let (mut anna, subscriber) = call(&mut world, Who::Bt);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    assert!(world.core().targets(world.now())[3].up, "the name is up");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn calls_go_to_hosts_of_one_priority_by_weight() {
    let mut world = world();
    world.locate(CARRIER, &[(10, 30, Who::Colt), (10, 10, Who::Bt)]);
    let mut taken = [0, 0];
    for _ in 0..40 {
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let before = world.sent_to(Who::Bt, "INVITE");
        world.run_until(secs(1), |world| {
            world.sent_to(Who::Colt, "INVITE") + world.sent_to(Who::Bt, "INVITE") > 0
        });
        world.run_for(callflow::ms(50));
        let at = if world.sent_to(Who::Bt, "INVITE") > before { Who::Bt } else { Who::Colt };
        let subscriber = Party::called(&mut world, at);
        subscriber.reply(&mut world, 486);
        anna.hears(&mut world, "486 INVITE");
        taken[usize::from(at == Who::Bt)] += 1;
    }
    // Three to one; the seed makes it the same each time.
    assert!((24..=36).contains(&taken[0]), "{taken:?}");
}

#[test]
fn a_name_that_was_never_found_has_no_address() {
    let mut world = world();
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    anna.hears(&mut world, "503 INVITE");
    world.run_for(secs(1));
    let attempts = &world.records[0].attempts;
    assert_eq!(attempts[0].outcome, "no_address");
    assert_eq!(attempts[0].target, CARRIER);
}

/// TDR-DNS-004.
#[test]
fn dns_says_nothing_any_more_and_calls_go_on_through_a_reload() {
    let mut world = world();
    world.locate(CARRIER, &[(10, 0, Who::Colt)]);
    world.replan(|_| {});
    world.run_for(secs(24 * 3600));
    let (mut anna, subscriber) = call(&mut world, Who::Colt);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn an_address_disappears_from_dns_and_only_new_calls_notice() {
    let mut world = world();
    world.locate(CARRIER, &[(10, 0, Who::Colt)]);
    let (mut old, subscriber) = call(&mut world, Who::Colt);
    world.locate(CARRIER, &[(10, 0, Who::Bt)]);
    let (mut new, other) = call(&mut world, Who::Bt);
    hang_up(&mut world, &mut old, &subscriber);
    hang_up(&mut world, &mut new, &other);
}
