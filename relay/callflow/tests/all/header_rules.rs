//! Header lines that an operator has added, removed, replaced or taken over.

use b2bua::Plan;
use b2bua::plan::{HeaderAction, HeaderRule, RouteFrom, Template};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World};
use sip_core::Name;

fn rule(name: &str, action: HeaderAction, from: Option<RouteFrom>) -> HeaderRule {
    HeaderRule::new(name, action, from, "tollgate.toml:7".into()).expect("a rule that may be")
}

fn add(name: &str, value: &str) -> HeaderRule {
    rule(name, HeaderAction::Add(Template::parse(value).expect("a template")), None)
}

fn teams_calls(world: &mut World, headers: &[(Name, &str)]) -> Party {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        headers.iter().for_each(|(name, value)| invite.headers.push(*name, (*value).to_owned()));
    })
}

fn value(party: &Party, name: &'static str) -> String {
    let lines: Vec<&[u8]> = party.invite.headers.all(Name::Other(name)).collect();
    String::from_utf8_lossy(&lines.join(&b" | "[..])).into_owned()
}

fn play(world: &mut World, mut caller: Party, mut callee: Party) {
    connect(world, &mut caller, &callee);
    hang_up(world, &mut callee, &caller);
}

fn rules(plan: &mut Plan) {
    plan.tenants[0].header_rules = vec![
        add("X-Tenant", "{tenant} {called}"),
        rule("X-Theirs", HeaderAction::Copy("X-MS-Thing".into()), Some(RouteFrom::Teams)),
    ];
    plan.trunks[COLT].header_rules = vec![
        add("X-Trunk", "{trunk} {calling}"),
        rule("User-to-User", HeaderAction::Remove, None),
        rule(
            "X-Tenant",
            HeaderAction::Replace(
                Some(b2bua::plan::header_expression("/^(con)toso/").expect("an expression")),
                Template::parse("${1}-{trunk}").expect("a template"),
            ),
            None,
        ),
    ];
}

#[test]
fn the_rules_of_tenant_and_trunk_make_what_a_carrier_is_sent() {
    let mut world = World::with(1, rules);
    let headers = [
        (Name::Other("X-MS-Thing"), "one"),
        (Name::Other("X-MS-Other"), "two"),
        (Name::Other("User-to-User"), "56a390f3;encoding=hex"),
    ];
    let anna = teams_calls(&mut world, &headers);
    let colt = Party::called(&mut world, Who::Colt);
    assert_eq!(value(&colt, "X-Tenant"), format!("con-colt {PSTN}"));
    assert_eq!(value(&colt, "X-Trunk"), format!("colt {ANNA}"));
    assert_eq!(value(&colt, "X-Theirs"), "one");
    assert_eq!(value(&colt, "User-to-User"), "");
    assert_eq!(value(&colt, "X-MS-Thing") + &value(&colt, "X-MS-Other"), "");
    // The next trunk has no rules of its own.
    colt.reply(&mut world, 503);
    colt.gets(&mut world, "ACK");
    let bt = Party::called(&mut world, Who::Bt);
    assert_eq!(value(&bt, "X-Tenant"), format!("contoso {PSTN}"));
    assert_eq!(value(&bt, "X-Trunk"), "");
    assert_eq!(value(&bt, "User-to-User"), "56a390f3;encoding=hex");
    play(&mut world, anna, bt);
}

#[test]
fn a_caller_who_hides_is_not_named_by_a_template_and_other_tenants_never_are() {
    let mut world = World::with(1, |plan| {
        rules(plan);
        plan.trunks[BT].header_rules = vec![add("X-Who", "{tenant} {calling}")];
    });
    let anna = teams_calls(&mut world, &[(Name::Privacy, "user")]);
    let colt = Party::called(&mut world, Who::Colt);
    assert_eq!(value(&colt, "X-Trunk"), "colt anonymous");
    play(&mut world, anna, colt);

    let boris = Party::from_teams(&mut world, callflow::plan::FABRIKAM, PSTN);
    let bt = Party::called(&mut world, Who::Bt);
    assert_eq!(value(&bt, "X-Who"), format!("fabrikam {}", callflow::plan::BORIS));
    assert_eq!(value(&bt, "X-Tenant"), "");
    play(&mut world, boris, bt);
}

#[test]
fn rules_on_the_trunk_of_teams_leave_what_teams_insists_on() {
    let subject = |plan: &mut Plan| {
        plan.trunks[TEAMS].header_rules = vec![add("Subject", "{trunk} {calling}")];
    };
    // The strict Teams would complain about X-Tenant, which is for carriers.
    let mut world = World::with(1, |plan| {
        rules(plan);
        subject(plan);
    });
    world.emulate(callflow::teams_script(), callflow::carrier_script());
    let call = world.carrier_dials(Who::Colt, PSTN, ANNA);
    world.run_for(callflow::secs(5));
    assert_eq!(world.sent_by(Who::Sip, "200 INVITE"), 1);
    world.act(Who::Colt, |agent, now| agent.hang_up(now, call));

    let mut world = World::with(1, subject);
    let caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    assert_eq!(value(&anna, "Subject"), format!("teams {PSTN}"));
    play(&mut world, caller, anna);
}
