//! The call everybody expects, from the carrier, and what Teams insists on in it.

use b2bua::plan::Pattern;
use callflow::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, NODE, PSTN};
use callflow::script::{body, carrier_calls_teams, connect, hang_up, line, uri_of};
use callflow::{Party, Who, World, secs};
use sip_core::{Message, Method, Name};

/// TDR-OUT-001, TDR-OUT-002, TDR-OUT-004.
#[test]
fn the_carrier_calls_teams_and_teams_hangs_up() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let invite = &anna.invite;
    assert_eq!(
        invite.uri,
        format!("sip:{ANNA}@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls")
    );
    let contact = uri_of(invite.headers.get(Name::Contact).unwrap());
    assert_eq!(contact, format!("sip:{PSTN}@{CONTOSO}:5061;transport=tls"));
    let from = uri_of(invite.headers.get(Name::From).unwrap());
    assert_eq!(from, format!("sip:{PSTN}@{CONTOSO};user=phone"));
    let offer = body(invite);
    assert!(line(&offer, "m=").contains("RTP/SAVP"), "{offer}");
    assert!(line(&offer, "a=crypto:").contains("AES_CM_128_HMAC_SHA1_80"), "{offer}");
    hang_up(&mut world, &mut anna, &caller);
    world.run_until(callflow::secs(1), |world| !world.records.is_empty());
    assert_eq!(world.records[0].cause, "callee_hangup");
}

/// TDR-TLS-010
#[test]
fn no_sips_uri_of_a_carrier_reaches_teams() {
    let mut world = World::new(1);
    world.without_laws(); // It names who has diverted it, and no leg is with them.
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        let tag = String::from_utf8_lossy(invite.headers.from().tag().unwrap()).into_owned();
        let headers = &mut invite.headers;
        headers.set(Name::From, format!("<sips:{PSTN}@colt.example>;tag={tag}"));
        headers.push(Name::PAssertedIdentity, format!("<sips:{PSTN}@colt.example>"));
        headers.push(Name::Diversion, format!("<sips:{BORIS}@colt.example>;reason=no-answer"));
        headers.push(Name::HistoryInfo, format!("<sips:{BORIS}@colt.example>;index=1"));
    });
    let mut anna = Party::called(&mut world, Who::Sip);
    let mut octets = Vec::new();
    Message::Request(anna.invite.clone()).write(&mut octets);
    let text = String::from_utf8_lossy(&octets).to_ascii_lowercase();
    assert!(!text.contains("sips:"), "{text}");
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-CON-005
#[test]
fn each_tenants_requests_go_under_its_own_name_and_probes_under_the_nodes() {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world.expect(Who::Sip, "OPTIONS");
    assert_eq!(world.certified.iter().collect::<Vec<_>>(), [NODE]);
    for (number, fqdn) in [(ANNA, CONTOSO), (BORIS, FABRIKAM)] {
        world.certified.clear();
        let mut caller = Party::from_carrier(&mut world, Who::Colt, number);
        let callee = Party::called(&mut world, Who::Sip);
        connect(&mut world, &mut caller, &callee);
        // The BYE that the carrier's makes is ours.
        hang_up(&mut world, &mut caller, &callee);
        assert!(world.certified.contains(fqdn), "{:?}", world.certified);
    }
}

/// TDR-OUT-001.
#[test]
fn the_called_number_without_plus_gets_one_towards_teams_and_for_routes() {
    let mut world = World::with(1, |plan| {
        for route in plan.tenants.iter_mut().flat_map(|tenant| &mut tenant.routes) {
            route.called = "+*".parse::<Pattern>().unwrap().into();
        }
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, &ANNA[1..]);
    let mut anna = Party::called(&mut world, Who::Sip);
    assert!(anna.invite.uri.starts_with(format!("sip:{ANNA}@").as_bytes()));
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-OUT-015.
#[test]
fn an_anonymous_caller_stays_anonymous() {
    for marked in ["Privacy", "From"] {
        let mut world = World::new(1);
        let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
        let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| match marked {
            "Privacy" => invite.headers.push(Name::Privacy, "id"),
            _ => {
                let tag =
                    String::from_utf8_lossy(invite.headers.from().tag().unwrap()).into_owned();
                let from = format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={tag}");
                invite.headers.set(Name::From, from);
            }
        });
        let mut anna = Party::called(&mut world, Who::Sip);
        let from = uri_of(anna.invite.headers.get(Name::From).unwrap());
        assert_eq!(from, "sip:anonymous@anonymous.invalid");
        let message = anna.invite.to_string_lossy();
        assert!(!message.contains(PSTN), "{marked}: {message}");
        assert!(message.contains(&format!("<sip:{CONTOSO}:5061;transport=tls>")), "{message}");
        connect(&mut world, &mut caller, &anna);
        hang_up(&mut world, &mut anna, &caller);
    }
}

/// TDR-OUT-003, TDR-MT-003.
#[test]
fn two_tenants_calls_at_once_keep_apart() {
    let mut world = World::new(1);
    let mut one = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut two = Party::from_carrier(&mut world, Who::Bt, BORIS);
    let mut anna = Party::called(&mut world, Who::Sip);
    let mut boris = Party::called(&mut world, Who::Sip);
    assert!(uri_of(anna.invite.headers.get(Name::Contact).unwrap()).contains(CONTOSO));
    assert!(uri_of(boris.invite.headers.get(Name::Contact).unwrap()).contains(FABRIKAM));
    connect(&mut world, &mut two, &boris);
    connect(&mut world, &mut one, &anna);
    hang_up(&mut world, &mut anna, &one);
    hang_up(&mut world, &mut boris, &two);
}

#[test]
fn an_invite_without_offer_from_teams_is_refused_as_it_never_sends_one() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut caller = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.set_body("application/sdp", "");
    });
    let refused = caller.hears(&mut world, "488 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

#[test]
fn a_request_of_another_dialog_gets_481() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let mut stray = anna.clone();
    stray.call_id = "somebody-elses".into();
    stray.asks(&mut world, Method::Bye, None);
    stray.hears(&mut world, "481 BYE");
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    hang_up(&mut world, &mut anna, &caller);
}

/// A message as text.
trait Text {
    fn to_string_lossy(&self) -> String;
}

impl Text for sip_core::Request {
    fn to_string_lossy(&self) -> String {
        let mut octets = Vec::new();
        Message::from(self.clone()).write(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }
}
