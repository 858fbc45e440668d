//! Whose number a carrier is shown: what tenant and route allow, the same in every header.

use b2bua::Plan;
use b2bua::plan::{
    CallerId, CallerPolicy, CallerPrivacy, DivertedIdentity, Patterns, Rare, Route, RouteFrom,
    Trust,
};
use callflow::plan::{ANNA, BORIS, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{connect, hang_up, uri_of, value, whole};
use callflow::{Party, Who, World};
use sip_core::Name;

const OURS: &str = "203.0.113.10";
/// The number that stands for others.
const DESK: &str = "+493010000000";
/// Somebody whose call Teams forwards.
const STRANGER: &str = "+12125550123";

fn shows(policy: CallerPolicy, number: Option<&str>) -> CallerId {
    CallerId { policy: Some(policy), number: number.map(Into::into) }
}

fn world(vary: impl FnOnce(&mut Plan)) -> World {
    World::with(1, vary)
}

fn teams_calls(world: &mut World, from: &str, to: &str, headers: &[(Name, &str)]) -> Party {
    let uri = format!("sip:{to}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, from, &uri, |invite| {
        for (name, value) in headers {
            match name {
                Name::From => {
                    let tag = invite.headers.from().tag().unwrap_or_default().to_vec();
                    let tag = String::from_utf8_lossy(&tag).into_owned();
                    invite.headers.set(Name::From, format!("{value};tag={tag}"));
                }
                name => invite.headers.push(*name, (*value).to_owned()),
            }
        }
    })
}

fn play(world: &mut World, mut caller: Party, mut callee: Party) {
    connect(world, &mut caller, &callee);
    hang_up(world, &mut callee, &caller);
}

/// Every header names this number as caller, and none the other.
fn is_shown(callee: &Party, number: &str, not: &str) {
    let got = &callee.invite.headers;
    let uri = |name| uri_of(got.get(name).unwrap_or_default());
    let expected = format!("sip:{number}@{OURS}");
    assert_eq!(uri(Name::From), format!("{expected};user=phone"));
    assert!(uri(Name::Contact).starts_with(&expected), "{}", uri(Name::Contact));
    let asserted = value(got, Name::PAssertedIdentity);
    assert!(asserted.is_empty() || asserted == format!("<{expected};user=phone>"), "{asserted}");
    assert!(!whole(&callee.invite).contains(not), "{}", whole(&callee.invite));
}

/// TDR-PRI-005.
#[test]
fn a_number_that_is_not_the_tenants_is_refused_where_only_own_ones_are_shown() {
    let mut world = world(|plan| plan.tenants[0].caller = shows(CallerPolicy::Own, None));
    for stranger in [STRANGER, BORIS] {
        let caller = teams_calls(&mut world, stranger, PSTN, &[]);
        let refusal = caller.clone().hears(&mut world, "403 INVITE");
        caller.acknowledges_failure(&mut world, &refusal);
        assert_eq!(world.records.last().unwrap().cause, "caller_not_allowed");
    }
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    let headers = [(Name::PAssertedIdentity, "<tel:+493010001234>,<sip:anna@contoso.example>")];
    let anna = teams_calls(&mut world, ANNA, PSTN, &headers);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(value(&subscriber.invite.headers, Name::PAssertedIdentity), format!("<tel:{ANNA}>"));
    play(&mut world, anna, subscriber);
}

/// TDR-PRI-004, TDR-PRI-005.
#[test]
fn a_number_stands_in_for_callers_who_are_not_the_tenants_or_for_all() {
    for (policy, from, shown) in [
        (CallerPolicy::Own, STRANGER, DESK),
        (CallerPolicy::Substitute, ANNA, DESK),
        (CallerPolicy::Substitute, STRANGER, DESK),
    ] {
        let mut world = world(|plan| plan.tenants[0].caller = shows(policy, Some(DESK)));
        let asserted = format!("\"Somebody\" <sip:{from}@contoso.example>");
        let headers = [(Name::PAssertedIdentity, asserted.as_str())];
        let caller = teams_calls(&mut world, from, PSTN, &headers);
        let subscriber = Party::called(&mut world, Who::Colt);
        is_shown(&subscriber, shown, from);
        assert!(
            !whole(&subscriber.invite).contains("Somebody"),
            "the name of another is not its name"
        );
        play(&mut world, caller, subscriber);
    }
}

#[test]
fn a_route_says_otherwise_than_its_tenant() {
    let vary = |plan: &mut Plan| {
        let tenant = &mut plan.tenants[0];
        tenant.caller = shows(CallerPolicy::Own, Some(DESK));
        let route = Route {
            called: Patterns::from("+4989*".parse::<b2bua::plan::Pattern>().unwrap()),
            to: vec![COLT].into(),
            rare: Some(Box::new(Rare {
                caller: shows(CallerPolicy::Pass, None),
                ..Rare::default()
            })),
            ..Route::default()
        };
        tenant.routes.insert(0, route);
    };
    let mut world = world(vary);
    for (to, shown) in [(PSTN, STRANGER), ("+4940123456", DESK)] {
        let caller = teams_calls(&mut world, STRANGER, to, &[]);
        let subscriber = Party::called(&mut world, Who::Colt);
        is_shown(&subscriber, shown, if shown == DESK { STRANGER } else { DESK });
        play(&mut world, caller, subscriber);
    }
}

#[test]
fn an_anonymous_tenant_is_known_to_a_trusted_carrier_alone() {
    for by_privacy in [true, false] {
        for trust in [Trust::Trusted, Trust::Untrusted] {
            let mut world = world(|plan| {
                plan.trunks[COLT].headers.identity = trust;
                let tenant = &mut plan.tenants[0];
                match by_privacy {
                    true => tenant.privacy = CallerPrivacy::Anonymous,
                    false => tenant.caller = shows(CallerPolicy::Anonymous, None),
                }
            });
            let anna = teams_calls(&mut world, ANNA, PSTN, &[(Name::Privacy, "none")]);
            let subscriber = Party::called(&mut world, Who::Colt);
            let got = &subscriber.invite.headers;
            let from = uri_of(got.get(Name::From).unwrap());
            assert_eq!(from, "sip:anonymous@anonymous.invalid");
            assert_eq!(
                uri_of(got.get(Name::Contact).unwrap()),
                format!("sip:{OURS}:5060;transport=udp")
            );
            match trust {
                Trust::Trusted => {
                    let asserted = format!("<sip:{ANNA}@{OURS};user=phone>");
                    assert_eq!(value(got, Name::PAssertedIdentity), asserted);
                    assert_eq!(value(got, Name::Privacy), "id");
                }
                Trust::Untrusted => assert!(!whole(&subscriber.invite).contains(ANNA)),
            }
            play(&mut world, anna, subscriber);
        }
    }
}

#[test]
fn who_hides_and_is_vouched_for_with_a_strange_number_gets_that_of_the_desk() {
    let anonymous = (Name::From, "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    let mut world = world(|plan| plan.tenants[0].caller = shows(CallerPolicy::Own, Some(DESK)));
    for (asserted, told) in [
        (Some(STRANGER), format!("<sip:{DESK}@{OURS};user=phone>")),
        (Some(ANNA), format!("<sip:{ANNA}@{OURS};user=phone>")),
        (None, String::new()),
    ] {
        let vouched = asserted.map(|number| format!("<sip:{number}@contoso.example>"));
        let mut headers = vec![anonymous, (Name::Privacy, "id")];
        headers.extend(vouched.as_deref().map(|it| (Name::PAssertedIdentity, it)));
        let anna = teams_calls(&mut world, ANNA, PSTN, &headers);
        let subscriber = Party::called(&mut world, Who::Colt);
        assert_eq!(value(&subscriber.invite.headers, Name::PAssertedIdentity), told);
        assert!(!whole(&subscriber.invite).contains(STRANGER));
        play(&mut world, anna, subscriber);
    }
}

/// TDR-EMG-002: no screening holds a call for help back.
#[test]
fn an_emergency_call_shows_the_real_number_whatever_the_tenant_says() {
    for policy in [CallerPolicy::Own, CallerPolicy::Substitute, CallerPolicy::Anonymous] {
        let mut world = world(|plan| {
            plan.trunks[COLT].headers.identity = Trust::Untrusted;
            let tenant = &mut plan.tenants[0];
            tenant.caller = shows(policy, Some(DESK));
            tenant.privacy = CallerPrivacy::Anonymous;
            let called = Patterns::default();
            let to = vec![COLT].into();
            tenant.routes.push(Route { called, to, emergency: true, ..Route::default() });
        });
        let asserted = format!("<sip:{STRANGER}@contoso.example>");
        let headers = [(Name::PAssertedIdentity, asserted.as_str()), (Name::Privacy, "id")];
        let caller = teams_calls(&mut world, STRANGER, "112", &headers);
        let desk = Party::called(&mut world, Who::Colt);
        is_shown(&desk, STRANGER, DESK);
        assert!(!value(&desk.invite.headers, Name::PAssertedIdentity).is_empty());
        play(&mut world, caller, desk);
    }
}

#[test]
fn callers_from_a_carrier_are_hidden_from_teams_only_by_a_route_for_them() {
    for of_route in [false, true] {
        let mut world = world(|plan| {
            plan.tenants[0].caller = shows(CallerPolicy::Anonymous, None);
            plan.tenants[0].privacy = CallerPrivacy::Anonymous;
            let caller =
                if of_route { shows(CallerPolicy::Anonymous, None) } else { CallerId::default() };
            plan.tenants[0].routes = vec![Route {
                from: RouteFrom::Carrier,
                called: Patterns::default(),
                to: vec![TEAMS].into(),
                rare: Some(Box::new(Rare { caller, ..Rare::default() })),
                ..Route::default()
            }];
        });
        let caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
        let anna = Party::called(&mut world, Who::Sip);
        let from = uri_of(anna.invite.headers.get(Name::From).unwrap());
        let hidden = from == "sip:anonymous@anonymous.invalid";
        assert_eq!(hidden, of_route, "{from}");
        play(&mut world, caller, anna);
    }
}

/// TDR-PRI-004, TDR-PRI-005: who calls a number of the tenant's that is forwarded is no number of the
/// tenant's, and is shown all the same, where Teams says who forwarded.
#[test]
fn a_forwarded_caller_is_shown_where_only_own_numbers_are() {
    let history = format!(
        "<sip:{ANNA}@sip.pstnhub.microsoft.com;user=phone?Reason=SIP%3Bcause%3D302>;index=1,\
         <sip:{PSTN}@sip.pstnhub.microsoft.com;user=phone>;index=1.1"
    );
    let by = |number: &str| format!("<sip:{number}@sip.pstnhub.microsoft.com;user=phone>");
    let (anna, boris) = (by(ANNA), by(BORIS));
    for (headers, shown) in [
        (vec![(Name::HistoryInfo, history.as_str())], STRANGER),
        (vec![(Name::ReferredBy, anna.as_str())], STRANGER),
        // Somebody else's number proves nothing.
        (vec![(Name::ReferredBy, boris.as_str())], DESK),
        (vec![], DESK),
    ] {
        let mut world = world(|plan| plan.tenants[0].caller = shows(CallerPolicy::Own, Some(DESK)));
        let caller = teams_calls(&mut world, STRANGER, PSTN, &headers);
        let subscriber = Party::called(&mut world, Who::Colt);
        let from = uri_of(subscriber.invite.headers.get(Name::From).unwrap());
        assert_eq!(from, format!("sip:{shown}@{OURS};user=phone"));
        play(&mut world, caller, subscriber);
    }
}

/// TDR-FWD-004: a carrier that wants a number it has given out is vouched for who forwarded, and told
/// who really calls.
#[test]
fn a_carrier_is_vouched_for_who_forwarded_where_it_says_so() {
    for policy in [DivertedIdentity::Caller, DivertedIdentity::Diverter] {
        let mut world = world(|plan| plan.trunks[COLT].headers.diverted = policy);
        let by = format!("<sip:{ANNA}@sip.pstnhub.microsoft.com;user=phone>");
        let asserted = format!("<tel:{STRANGER}>");
        let headers =
            [(Name::ReferredBy, by.as_str()), (Name::PAssertedIdentity, asserted.as_str())];
        let caller = teams_calls(&mut world, STRANGER, PSTN, &headers);
        let subscriber = Party::called(&mut world, Who::Colt);
        let got = &subscriber.invite.headers;
        let told = value(got, Name::PAssertedIdentity);
        assert_eq!(told.contains(ANNA), policy == DivertedIdentity::Diverter, "{told}");
        assert_eq!(told.contains(STRANGER), policy == DivertedIdentity::Caller, "{told}");
        assert!(value(got, Name::From).contains(STRANGER));
        play(&mut world, caller, subscriber);
    }
}

/// TDR-CC-004, TDR-PRI-004: an auto attendant sends a caller back out; the caller stays the caller, and
/// the attendant's number is the one that is vouched for.
#[test]
fn who_an_attendant_sends_back_out_is_shown_and_the_attendant_vouched_for() {
    let mut world = world(|plan| plan.tenants[0].caller = shows(CallerPolicy::Pass, None));
    let asserted = format!("<tel:{ANNA}>");
    let headers = [(Name::PAssertedIdentity, asserted.as_str())];
    let caller = teams_calls(&mut world, STRANGER, PSTN, &headers);
    let subscriber = Party::called(&mut world, Who::Colt);
    let got = &subscriber.invite.headers;
    assert!(value(got, Name::From).contains(STRANGER));
    assert_eq!(value(got, Name::PAssertedIdentity), asserted);
    play(&mut world, caller, subscriber);
}
