//! Numbers as carriers write them, as Teams has them, and as the next carrier wants them.

use b2bua::Plan;
use b2bua::numbering::{Country, NumberFormat};
use b2bua::plan::{
    Block, Change, Party as Which, Pattern, Patterns, Rewrite, Route, RouteFrom, Way,
};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, OUTSIDE, PSTN};
use callflow::script::{connect, hang_up, uri_of, value};
use callflow::{Party, Who, World};
use sip_core::{Method, Name};

const OURS: &str = "203.0.113.10";

fn patterns(written: &str) -> Patterns {
    written.parse::<Pattern>().expect("a pattern").into()
}

fn rule(way: Way, matches: &str, strip: u8, prepend: &str) -> Rewrite {
    Rewrite {
        way,
        party: None,
        from: None,
        matches: patterns(matches),
        change: Change::Front { strip, prepend: prepend.into() },
        place: "tollgate.toml:7".into(),
    }
}

/// Colt is in Germany and has numbers as they are dialled there.
fn national(plan: &mut Plan) {
    plan.trunks[COLT].country = Country::of("DE");
    plan.trunks[COLT].format = Some(NumberFormat::National);
}

fn carrier_calls(world: &mut World, from: &str, to: &str, headers: &[(Name, &str)]) -> Party {
    let uri = format!("sip:{to}@{}:5060", Who::Colt.ours().ip());
    Party::call(world, Who::Colt, from, &uri, |invite| {
        for (name, value) in headers {
            invite.headers.push(*name, (*value).to_owned());
        }
    })
}

fn teams_calls(world: &mut World, to: &str, headers: &[(Name, &str)]) -> Party {
    let uri = format!("sip:{to}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        for (name, value) in headers {
            invite.headers.push(*name, (*value).to_owned());
        }
    })
}

fn uri(party: &Party, name: Name) -> String {
    uri_of(party.invite.headers.get(name).unwrap_or_default())
}

fn called(party: &Party) -> String {
    let uri = String::from_utf8_lossy(&party.invite.uri).into_owned();
    let user = uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@'));
    user.map(|(user, _)| user.to_owned()).unwrap_or_default()
}

fn play(world: &mut World, mut caller: Party, mut callee: Party) {
    connect(world, &mut caller, &callee);
    hang_up(world, &mut callee, &caller);
}

/// TDR-PRI-008.
#[test]
fn a_carrier_with_national_numbers_calls_teams_in_e164() {
    for dialled in ["03010001234", "00493010001234", "493010001234", ANNA] {
        let mut world = World::with(1, national);
        let asserted = format!("\"Shop\" <sip:089-555@{};user=phone>", Who::Colt.address());
        let diverted = "<sip:0401234567@192.0.2.30>;reason=user-busy";
        let headers = [(Name::PAssertedIdentity, asserted.as_str()), (Name::Diversion, diverted)];
        let caller = carrier_calls(&mut world, "089123456", dialled, &headers);
        let anna = Party::called(&mut world, Who::Sip);
        let host = CONTOSO;
        assert_eq!(called(&anna), ANNA);
        let to = uri(&anna, Name::To);
        assert_eq!(to, format!("sip:{ANNA}@sip.pstnhub.microsoft.com;user=phone"));
        assert_eq!(uri(&anna, Name::From), format!("sip:+4989555@{host};user=phone"));
        assert!(uri(&anna, Name::Contact).starts_with(&format!("sip:+4989555@{host}")));
        let history = value(&anna.invite.headers, Name::HistoryInfo);
        assert!(history.contains(&format!("sip:+49401234567@{host}")), "{history}");
        play(&mut world, caller, anna);
        assert_eq!(world.records[0].to, dialled, "the record has it as it came");
    }
}

#[test]
fn teams_calls_a_carrier_that_has_national_numbers() {
    for (number, told) in [
        (PSTN, "089123456"),
        ("+431234567", "00431234567"),
        ("+4989123456;ext=17", "089123456;ext=17"),
    ] {
        let mut world = World::with(1, national);
        let history = format!("<sip:{ANNA}@{CONTOSO}?Reason=SIP%3Bcause%3D486>;index=1");
        let headers = [
            (Name::PAssertedIdentity, "<tel:+493010001234>,<sip:anna@contoso.example>"),
            (Name::HistoryInfo, history.as_str()),
        ];
        let anna = teams_calls(&mut world, number, &headers);
        let subscriber = Party::called(&mut world, Who::Colt);
        let got = &subscriber.invite.headers;
        assert_eq!(called(&subscriber), told);
        assert!(uri(&subscriber, Name::To).starts_with(&format!("sip:{told}@")));
        let us = format!("sip:03010001234@{OURS}");
        assert_eq!(uri(&subscriber, Name::From), format!("{us};user=phone"));
        assert!(uri(&subscriber, Name::Contact).starts_with(&us));
        let asserted = value(got, Name::PAssertedIdentity);
        assert_eq!(asserted, format!("<{us};user=phone>, <sip:anna@{OURS}>"));
        let diverted = value(got, Name::Diversion);
        assert!(diverted.starts_with(&format!("<{us};user=phone>")), "{diverted}");
        play(&mut world, anna, subscriber);
    }
}

#[test]
fn the_next_trunk_has_numbers_in_its_own_way() {
    let mut world = World::with(1, |plan| {
        national(plan);
        plan.trunks[BT].format = Some(NumberFormat::Plain);
        plan.trunks[BT].rewrite = vec![rule(Way::Out, "+493010001234", 1, "77")];
    });
    let anna = teams_calls(&mut world, PSTN, &[]);
    let busy = Party::called(&mut world, Who::Colt);
    assert_eq!(called(&busy), "089123456");
    busy.reply(&mut world, 503);
    busy.gets(&mut world, "ACK");
    let subscriber = Party::called(&mut world, Who::Bt);
    assert_eq!(called(&subscriber), "4989123456");
    let from = uri(&subscriber, Name::From);
    assert!(from.starts_with("sip:77493010001234@"), "a rule's number is in no format: {from}");
    play(&mut world, anna, subscriber);
}

/// TDR-EMG-001.
/// TDR-IN-009.
#[test]
fn emergency_and_service_numbers_and_names_reach_the_carrier_as_dialled() {
    let vary = |plan: &mut Plan| {
        national(plan);
        plan.trunks[COLT].rewrite = vec![rule(Way::Out, "*", 0, "9"), rule(Way::Out, "1*", 1, "")];
        let all = |emergency| Route {
            called: Patterns::default(),
            to: vec![COLT].into(),
            emergency,
            ..Route::default()
        };
        plan.tenants[0].routes = vec![all(true), all(false)];
        plan.tenants[0].rewrite = vec![rule(Way::In, "*", 0, "8"), rule(Way::Out, "*", 0, "8")];
    };
    for (number, told) in [
        ("112", "112"),
        ("+112", "+112"),
        ("*21*03012#", "*21*03012#"),
        ("reception", "reception"),
        // Not an emergency number here: a rule names it.
        ("115", "15"),
    ] {
        let mut world = World::with(1, vary);
        let anna = teams_calls(&mut world, number, &[]);
        let desk = Party::called(&mut world, Who::Colt);
        assert_eq!(called(&desk), told);
        play(&mut world, anna, desk);
    }
}

/// TDR-MT-005.
#[test]
fn a_tenants_rule_for_teams_is_not_asked_for_calls_from_carriers() {
    let mut world = World::with(1, |plan| {
        let extension = Rewrite {
            party: Some(Which::Called),
            from: Some(RouteFrom::Teams),
            ..rule(Way::In, "/^[1-9][0-9]{3}$/", 0, "+49891234")
        };
        let hidden = Rewrite { party: Some(Which::Calling), ..rule(Way::In, "+49*", 3, "0") };
        plan.tenants[0].rewrite =
            vec![extension, Rewrite { from: Some(RouteFrom::Carrier), ..hidden }];
    });
    let anna = teams_calls(&mut world, "5678", &[]);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(called(&subscriber), "+498912345678");
    assert!(uri(&subscriber, Name::From).starts_with(&format!("sip:{ANNA}@")));
    play(&mut world, anna, subscriber);

    let caller = carrier_calls(&mut world, PSTN, ANNA, &[]);
    let anna = Party::called(&mut world, Who::Sip);
    assert!(uri(&anna, Name::From).starts_with("sip:089123456@"), "{}", uri(&anna, Name::From));
    play(&mut world, caller, anna);
}

#[test]
fn a_carriers_prefix_is_taken_off_before_the_tenant_is_sought() {
    let mut world = World::with(1, |plan| {
        national(plan);
        plan.trunks[COLT].rewrite =
            vec![Rewrite { party: Some(Which::Called), ..rule(Way::In, "9999*", 4, "") }];
    });
    let caller = carrier_calls(&mut world, PSTN, "999903010001234", &[]);
    let anna = Party::called(&mut world, Who::Sip);
    assert_eq!(called(&anna), ANNA, "and what is left is a national number");
    play(&mut world, caller, anna);
}

/// TDR-SEC-004, TDR-EMG-002.
#[test]
fn blocked_numbers_are_refused_and_emergency_calls_are_not() {
    let vary = |plan: &mut Plan| {
        plan.block = Block {
            called: Some(patterns("+4919*")),
            calling: Some(patterns("/^(anonymous|\\+4989666.*)$/")),
        }
        .into();
        plan.tenants[0].block = Block { called: Some(patterns("*")), calling: None };
        let called = patterns("*");
        let route = Route { called, to: vec![COLT].into(), emergency: true, ..Route::default() };
        plan.tenants[0].routes.push(route);
    };
    let refused = |world: &mut World, caller: Party, why: &str| {
        let refusal = caller.clone().hears(world, "403 INVITE");
        caller.acknowledges_failure(world, &refusal);
        let record = world.records.last().unwrap();
        assert_eq!(record.cause, "blocked");
        assert!(record.route.contains(why), "{}", record.route);
    };
    let mut world = World::with(1, vary);
    let caller = teams_calls(&mut world, "+49190123456", &[]);
    refused(&mut world, caller, "called number +49190123456 is blocked by +4919* of the host");
    let caller = teams_calls(&mut world, PSTN, &[]);
    refused(&mut world, caller, "blocked by * of the tenant");
    for (from, asserted) in [("+4989666", None), (PSTN, Some("<sip:+4989666@192.0.2.30>"))] {
        let headers: Vec<(Name, &str)> =
            asserted.map(|it| (Name::PAssertedIdentity, it)).into_iter().collect();
        let caller = carrier_calls(&mut world, from, ANNA, &headers);
        refused(&mut world, caller, "calling number +4989666 is blocked by");
    }
    let caller = carrier_calls(&mut world, "anonymous", ANNA, &[]);
    refused(&mut world, caller, "calling number anonymous is blocked by");
    let anna = teams_calls(&mut world, "112", &[]);
    let desk = Party::called(&mut world, Who::Colt);
    play(&mut world, anna, desk);
}

#[test]
fn a_short_number_is_not_taken_for_one_of_the_country_it_begins_like() {
    let mut world = World::with(1, |plan| {
        plan.block = Block { called: Some(patterns("+1*")), calling: None }.into();
        let called = Patterns::default();
        plan.tenants[0].routes = vec![Route { called, to: vec![COLT].into(), ..Route::default() }];
    });
    for refused in ["+12125550123", "12125550123"] {
        let caller = teams_calls(&mut world, refused, &[]);
        let refusal = caller.clone().hears(&mut world, "403 INVITE");
        caller.acknowledges_failure(&mut world, &refusal);
    }
    let anna = teams_calls(&mut world, "11833", &[]);
    let desk = Party::called(&mut world, Who::Colt);
    play(&mut world, anna, desk);
}

/// Colt takes everything, and nobody may call numbers that begin with +49900.
fn no_premium(plan: &mut Plan) {
    plan.block = Block { called: Some(patterns("+49900*")), calling: None }.into();
    plan.tenants[0].country = Country::of("DE");
    let called = Patterns::default();
    plan.tenants[0].routes = vec![Route { called, to: vec![COLT].into(), ..Route::default() }];
}

#[test]
fn a_blocked_number_is_blocked_in_whatever_form_it_is_dialled() {
    for dialled in [
        "+4990012345",
        "4990012345",
        "004990012345",
        "090012345",
        "0900-123.45",
        "+49-900-12345x",
        "%2B4990012345",
        "+49%39%3000%312345",
        "+49%20900%2012345",
        "+4990012345;ext=1",
        // More digits than a number has: networks let the rest go.
        "09001234500000000000000000000",
        "00499001234500000000000000000000",
    ] {
        let mut world = World::with(1, no_premium);
        let caller = teams_calls(&mut world, dialled, &[]);
        let refusal = caller.clone().hears(&mut world, "403 INVITE");
        caller.acknowledges_failure(&mut world, &refusal);
        assert_eq!(world.records.last().unwrap().cause, "blocked", "{dialled}");
    }
}

#[test]
fn a_rule_on_numbers_leads_nobody_around_a_block_list() {
    let mut world = World::with(1, |plan| {
        no_premium(plan);
        let outside_line = Rewrite { party: Some(Which::Called), ..rule(Way::In, "9*", 1, "") };
        plan.tenants[0].rewrite = vec![outside_line];
    });
    let caller = teams_calls(&mut world, "9004990012345", &[]);
    let refusal = caller.clone().hears(&mut world, "403 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.records.last().unwrap().cause, "blocked");
    let anna = teams_calls(&mut world, "90049301234567", &[]);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(called(&subscriber), "0049301234567");
    play(&mut world, anna, subscriber);
}

#[test]
fn a_redirection_to_a_blocked_number_is_not_followed() {
    let mut world = World::with(1, |plan| {
        no_premium(plan);
        plan.tenants[0].routes[0].to = vec![COLT, BT].into();
        plan.trunks[COLT].follow_redirects = true;
    });
    let anna = teams_calls(&mut world, PSTN, &[]);
    let first = Party::called(&mut world, Who::Colt);
    first.answer(&mut world, &first.invite, 302, |response| {
        let there = format!("<sip:+4990012345@{}>", Who::Colt.address());
        response.headers.push(Name::Contact, there);
    });
    let second = Party::called(&mut world, Who::Bt);
    play(&mut world, anna, second);
    world.run_for(std::time::Duration::from_secs(1));
    let attempts = &world.records.last().unwrap().attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| &*attempt.outcome).collect();
    assert_eq!(outcomes, ["302", "blocked", "200"]);
}

#[test]
fn an_emergency_call_stays_one_under_the_number_that_a_rule_gives_it() {
    for at_trunk in [false, true] {
        let mut world = World::with(1, |plan| {
            national(plan);
            let desk = rule(Way::In, "112", 0, "+4930");
            match at_trunk {
                true => plan.trunks[0].rewrite = vec![desk],
                false => plan.tenants[0].rewrite = vec![desk],
            }
            plan.tenants[0].suspended = true;
            plan.tenants[0].limits.calls = Some(0);
            plan.tenants[0].block = Block { called: Some(patterns("*")), calling: None };
            let called = patterns("+49*");
            let route = Route { called, to: vec![COLT].into(), ..Route::default() };
            plan.tenants[0].routes = vec![route];
        });
        let anna = teams_calls(&mut world, "112", &[]);
        let desk = Party::called(&mut world, Who::Colt);
        assert_eq!(called(&desk), "030112", "as Colt wants to have numbers");
        play(&mut world, anna, desk);
    }
}

#[test]
fn a_transfer_goes_by_the_same_rules_as_a_call() {
    let vary = |plan: &mut Plan| {
        national(plan);
        let extension = Rewrite {
            party: Some(Which::Called),
            from: Some(RouteFrom::Teams),
            ..rule(Way::In, "5*", 0, "+4989")
        };
        // Once, when the call comes in, and not again for the target.
        let marked = Rewrite {
            party: Some(Which::Calling),
            from: None,
            ..rule(Way::In, "/^\\+4989/", 0, "+4977")
        };
        let marked = Rewrite {
            change: Change::replace(marked.matches.as_slice(), "+49891").expect("a change"),
            ..marked
        };
        plan.tenants[0].rewrite = vec![extension, marked];
        // The target takes the place of a leg, and its port with it.
        plan.trunks.iter_mut().for_each(|trunk| trunk.media = OUTSIDE);
        plan.block = Block { called: Some(patterns("+4919*")), calling: None }.into();
    };
    let refer = |world: &mut World, anna: &mut Party, number: &str| {
        let mut refer = anna.request(world, Method::Refer);
        let to = format!("<sip:{number}@{CONTOSO}:5061;user=phone;transport=tls>");
        refer.headers.push(Name::ReferTo, to);
        refer.headers.push(Name::Other("Refer-Sub"), "false");
        world.send(Who::Sip, refer);
    };
    let mut world = World::with(1, vary);
    let mut caller = carrier_calls(&mut world, "089123456", "03010001234", &[]);
    let mut anna = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &anna);
    refer(&mut world, &mut anna, "+49190123456");
    anna.hears(&mut world, "403 REFER");
    refer(&mut world, &mut anna, "555123");
    anna.hears(&mut world, "202 REFER");
    let target = Party::called(&mut world, Who::Colt);
    assert_eq!(called(&target), "089555123");
    assert!(uri(&target, Name::From).starts_with("sip:0891123456@"), "who stays is the caller");
    target.reply(&mut world, 486);
    target.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &caller);
}
