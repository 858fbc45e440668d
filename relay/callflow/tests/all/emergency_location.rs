//! The location of an emergency caller crosses to the carrier, octet by octet; nobody else's does.

use b2bua::plan::Geolocation;
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{body, connect, hang_up, usual_sdp};
use callflow::{Party, Who, World};
use sip_core::message::{body_part, body_parts};
use sip_core::{Name, Request};

const LOCATION: &str = "Content-Type: application/pidf+xml\r\nContent-ID: <anna@contoso.example>\r\n\r\n\
    <?xml version=\"1.0\"?>\r\n<presence><pos>39.3294 -78.313</pos>\u{e9}<method>LIS</method></presence>\r\n--_Part_a1b2x\r\n";

/// An INVITE with a location, before or behind the SDP.
fn locate(invite: &mut Request, sdp: &str, first: bool) {
    invite.headers.push(Name::Geolocation, "<cid:anna@contoso.example>");
    invite.headers.push(Name::Other("Geolocation-Routing"), "yes");
    invite.headers.push(Name::Priority, "emergency");
    let sdp = format!("Content-Type: application/sdp\r\n\r\n{sdp}");
    let (one, two) = if first { (LOCATION, sdp.as_str()) } else { (sdp.as_str(), LOCATION) };
    let parts = format!("--_Part_a1b2\r\n{one}\r\n--_Part_a1b2\r\n{two}\r\n--_Part_a1b2--\r\n");
    invite.set_body("multipart/mixed; boundary=_Part_a1b2", parts);
}

fn teams_calls(world: &mut World, number: &str, first: bool) -> (Party, Party) {
    let uri = format!("sip:{number}@{CONTOSO}:5061;user=phone;transport=tls");
    let caller = Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        locate(invite, &usual_sdp(Who::Sip), first);
    });
    (caller, Party::called(world, Who::Colt))
}

/// Whether the carrier was told where the caller is.
fn is_told(callee: &Party) -> bool {
    let invite = &callee.invite;
    let found: Vec<_> =
        body_parts(&invite.headers, invite.body(), "application/pidf+xml").collect();
    let sdp = body_part(&invite.headers, invite.body(), "application/sdp");
    assert!(sdp.is_some_and(|sdp| sdp.starts_with(b"v=0")), "{}", body(invite));
    assert_eq!(invite.headers.get(Name::Priority), Some(&b"emergency"[..]));
    let location = invite.headers.get(Name::Geolocation);
    let routing = invite.headers.get(Name::Other("Geolocation-Routing"));
    if found.is_empty() {
        assert_eq!((location, routing), (None, None));
        assert_eq!(invite.headers.get(Name::ContentType), Some(&b"application/sdp"[..]));
        return false;
    }
    assert_eq!(found, [LOCATION], "octet by octet");
    assert_eq!(location, Some(&b"<cid:anna@contoso.example>"[..]));
    assert_eq!(routing, Some(&b"yes"[..]));
    true
}

/// TDR-EMG-001, TDR-EMG-003, TDR-EMG-004, TDR-EMG-006, TDR-EMG-008.
#[test]
fn an_emergency_caller_is_found_whatever_stands_first_in_the_body() {
    for first in [false, true] {
        let mut world = emergency(Geolocation::Emergency);
        let (mut anna, centre) = teams_calls(&mut world, "112", first);
        assert!(is_told(&centre));
        connect(&mut world, &mut anna, &centre);
        hang_up(&mut world, &mut anna, &centre);
    }
}

#[test]
fn where_somebody_is_who_calls_nobody_for_help_is_not_told() {
    for (policy, number, told) in [
        (Geolocation::Emergency, PSTN, false),
        (Geolocation::Pass, PSTN, true),
        (Geolocation::Strip, "112", false),
    ] {
        let mut world = emergency(policy);
        let (mut anna, callee) = teams_calls(&mut world, number, false);
        assert_eq!(is_told(&callee), told, "{policy:?}");
        connect(&mut world, &mut anna, &callee);
        hang_up(&mut world, &mut anna, &callee);
    }
}

/// TDR-EMG-007.
#[test]
fn teams_which_takes_no_second_part_is_never_sent_a_location() {
    let mut world = emergency(Geolocation::Pass);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        locate(invite, &usual_sdp(Who::Colt), true);
    });
    let mut anna = Party::called(&mut world, Who::Sip);
    assert!(!is_told(&anna));
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-EMG-002.
#[test]
fn an_emergency_call_goes_out_however_often_it_was_forwarded_and_whatever_it_hides() {
    let mut world = emergency(Geolocation::Emergency);
    let uri = format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.headers.push(Name::Diversion, "<sip:+4930@a.example>;counter=9");
        invite.headers.push(Name::Privacy, "veil;critical");
    });
    let centre = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}

/// A world whose first carrier is told locations by this policy, and takes any number.
fn emergency(policy: Geolocation) -> World {
    World::with(1, |plan| {
        plan.trunks[COLT].headers.geolocation = policy;
        for route in plan.tenants.iter_mut().flat_map(|tenant| &mut tenant.routes) {
            route.called = b2bua::plan::Patterns::default();
        }
    })
}
