//! Calls that were forwarded before they came: who diverted them is told in the words of each side.

use b2bua::plan::{Forwarding, Trust};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{connect, hang_up};
use callflow::{Party, Who, World};
use sip_core::Name;

/// Microsoft's form for a call that Anna's number and then Boris's have passed on.
const FROM_TEAMS: &str = "<sip:+493010001234@sip.pstnhub.microsoft.com;user=phone?Reason=SIP%3Bcause%3D302%3Btext%3D%22Move%20Temporarily%22>;index=1,\
    <sip:+493010001235@sip.pstnhub.microsoft.com;user=phone?Privacy=history&Reason=SIP;cause=496;text=\"User Busy\">;index=1.1";

/// What the carrier is told of a call from Teams with that history.
fn told(forwarding: Forwarding, identity: Trust) -> (Vec<String>, Vec<String>) {
    let mut world = World::with(1, |plan| {
        let headers = &mut plan.trunks[COLT].headers;
        (headers.forwarding, headers.identity) = (forwarding, identity);
    });
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut caller = Party::call(&mut world, Who::Sip, "+14255550123", &uri, |invite| {
        invite.headers.push(Name::HistoryInfo, FROM_TEAMS);
        invite.headers.push(Name::ReferredBy, "<sip:+493010001234@sip.pstnhub.microsoft.com>");
    });
    let mut callee = Party::called(&mut world, Who::Colt);
    let all = |name| {
        let listed = callee.invite.headers.list(name);
        listed.map(|one| String::from_utf8_lossy(one).into_owned()).collect()
    };
    let found = (all(Name::Diversion), all(Name::HistoryInfo));
    assert_eq!(callee.invite.headers.get(Name::ReferredBy), None);
    connect(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut callee, &caller);
    found
}

/// TDR-FWD-001, TDR-FWD-002, TDR-FWD-007.
#[test]
fn forwarded_call_keeps_who_diverted_it() {
    let diversion = [
        "<sip:+493010001235@203.0.113.10;user=phone>;reason=user-busy;privacy=full",
        "<sip:+493010001234@203.0.113.10;user=phone>;reason=unconditional",
    ];
    let history = [
        "<sip:+493010001234@203.0.113.10;user=phone?Reason=SIP%3Bcause%3D302>;index=1".to_owned(),
        "<sip:+493010001235@203.0.113.10;user=phone;cause=302?Privacy=history&Reason=SIP%3Bcause%3D486>;index=1.1;mp=1".to_owned(),
        format!("<sip:{PSTN}@203.0.113.10;user=phone;cause=486>;index=1.1.1;mp=1.1"),
    ];
    let none: Vec<String> = Vec::new();
    let trusted = |forwarding| told(forwarding, Trust::Trusted);
    assert_eq!(trusted(Forwarding::Diversion), (diversion.map(str::to_owned).into(), none.clone()));
    assert_eq!(trusted(Forwarding::HistoryInfo), (none.clone(), history.clone().into()));
    assert_eq!(trusted(Forwarding::Both), (diversion.map(str::to_owned).into(), history.into()));
    assert_eq!(trusted(Forwarding::None), (none.clone(), none));
}

/// TDR-FWD-003.
#[test]
fn a_user_who_diverts_in_private_is_not_named_to_an_untrusted_carrier() {
    let (diversion, history) = told(Forwarding::Both, Trust::Untrusted);
    assert!(!format!("{diversion:?}{history:?}").contains("1235"), "{diversion:?} {history:?}");
    assert!(diversion[0].starts_with("<sip:anonymous@anonymous.invalid>;reason=user-busy"));
    assert!(history[1].starts_with("<sip:anonymous@anonymous.invalid;cause=302?Privacy=history"));
    assert!(diversion[1].contains("+493010001234"), "who diverted openly stays");
}

/// TDR-FWD-005, TDR-FWD-006.
#[test]
fn a_call_the_carrier_diverted_reaches_teams_with_its_history_in_e164() {
    let mut world = World::new(1);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.push(
            Name::Diversion,
            "\"Boss\" <sip:4989100@10.0.0.7;user=phone>;reason=no-answer;screen=yes",
        );
        invite.headers.push(Name::Diversion, "<tel:+49-89-200>;reason=time-of-day");
    });
    let mut anna = Party::called(&mut world, Who::Sip);
    let history: Vec<String> = anna
        .invite
        .headers
        .list(Name::HistoryInfo)
        .map(|one| String::from_utf8_lossy(one).into_owned())
        .collect();
    assert_eq!(
        history,
        [
            format!("<sip:+4989200@{CONTOSO};user=phone?Reason=SIP%3Bcause%3D404>;index=1"),
            format!(
                "<sip:+4989100@{CONTOSO};user=phone;cause=404?Reason=SIP%3Bcause%3D408>;index=1.1;mp=1"
            ),
            format!("<sip:{ANNA}@{CONTOSO};user=phone;cause=408>;index=1.1.1;mp=1.1"),
        ]
    );
    assert_eq!(anna.invite.headers.get(Name::Diversion), None);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-FWD-009.
#[test]
fn a_call_that_is_forwarded_in_circles_ends_here() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut caller = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        for round in 0..6 {
            let index = ".1".repeat(round);
            let number = 1 + round % 2;
            let entry = format!(
                "<sip:+4930{number}@sip.pstnhub.microsoft.com?Reason=SIP;cause=302>;index=1{index}"
            );
            invite.headers.push(Name::HistoryInfo, entry);
        }
    });
    let refusal = caller.hears(&mut world, "482 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.records[0].cause, "forward_loop");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

#[test]
fn an_emergency_call_diverted_forty_thousand_times_goes_out_in_few_octets() {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].headers.forwarding = Forwarding::HistoryInfo;
        for route in plan.tenants.iter_mut().flat_map(|tenant| &mut tenant.routes) {
            route.called = b2bua::plan::Patterns::default();
        }
    });
    let uri = format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        let diverted = format!("<sip:{PSTN}@{CONTOSO}>;reason=unconditional;counter=40000");
        invite.headers.push(Name::Diversion, diverted);
    });
    let centre = Party::called(&mut world, Who::Colt);
    let history = centre.invite.headers.get(Name::HistoryInfo).expect("who diverted it is told");
    assert!(history.len() < 1_000, "{} octets", history.len());
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}
