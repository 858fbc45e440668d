//! Calls that the border itself refuses, each with its status, and that nobody else hears of.

use b2bua::plan::{Absent, NumberRange};
use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{carrier_calls_teams, hang_up};
use callflow::{Party, Who, World, sdp_text, secs};
use sip_core::{Name, Request};

/// A call that is refused with `status` and recorded with `cause`.
fn refused(
    world: &mut World,
    who: Who,
    uri: &str,
    status: u16,
    cause: &str,
    edit: impl FnOnce(&mut Request),
) {
    let before = Who::ALL.map(|who| world.sent_to(who, "INVITE"));
    let mut caller = Party::call(world, who, PSTN, uri, edit);
    let refusal = caller.hears(world, &format!("{status} INVITE"));
    caller.acknowledges_failure(world, &refusal);
    assert!(refusal.headers.to().tag().is_some());
    let record = world.records.last().expect("a refused call leaves a record");
    assert_eq!((record.status, record.cause.as_str()), (status, cause));
    assert_eq!(Who::ALL.map(|who| world.sent_to(who, "INVITE")), before);
}

fn to_contoso() -> String {
    format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls")
}

/// TDR-SEC-003
#[test]
fn a_carrier_that_says_it_is_teams_is_the_carrier_all_the_same() {
    let mut world = World::new(1);
    let claims = |invite: &mut Request| {
        let tag = String::from_utf8_lossy(invite.headers.from().tag().unwrap()).into_owned();
        let from = format!("<sip:{PSTN}@sip.pstnhub.microsoft.com:5061;user=phone>;tag={tag}");
        invite.headers.set(Name::From, from);
        invite.headers.set(Name::UserAgent, "Microsoft.PSTNHub.SIPProxy v.2024.3.1.3 i.USWE2.4");
        invite.headers.push(Name::Contact, "<sip:api-du-a.pstnhub.microsoft.com:443>");
    };
    // Contoso's route for what Teams calls would take it to Colt; as a carrier's call it leads nowhere,
    // as the number is nobody's here.
    refused(&mut world, Who::Colt, &to_contoso(), 404, "unknown_tenant", claims);
    let direction = world.records.last().unwrap().direction;
    assert_eq!(direction, b2bua::plan::RouteFrom::Carrier);
}

#[test]
fn an_unknown_number_from_the_carrier_is_404() {
    let mut world = World::new(1);
    let uri = format!("sip:+4940999@{}", Who::Colt.ours());
    refused(&mut world, Who::Colt, &uri, 404, "unknown_tenant", |_| {});
}

/// A tenant whose file never held: its own calls are told apart from those of strangers.
#[test]
fn a_tenant_whose_file_does_not_hold_is_503_and_a_stranger_still_404() {
    let mut absent = Absent { tenants: vec!["adatum".into()], ..Absent::default() };
    absent.fqdns.insert("adatum.sbc1.example.net", 0).unwrap();
    let numbers = NumberRange { first: 4_940_777, last: 4_940_778, digits: 7 };
    absent.numbers.insert(numbers, 0).unwrap();
    let mut world = World::with(1, |plan| plan.absent = absent.clone().into());
    let from_teams = format!("sip:{PSTN}@adatum.sbc1.example.net:5061");
    let from_carrier = |number: &str| format!("sip:{number}@{}", Who::Colt.ours());
    refused(&mut world, Who::Sip, &from_teams, 503, "tenant_invalid", |_| {});
    refused(&mut world, Who::Colt, &from_carrier("+4940777"), 503, "tenant_invalid", |_| {});
    refused(&mut world, Who::Colt, &from_carrier("+4940999"), 404, "unknown_tenant", |_| {});

    absent.numbers_unknown = true;
    let mut world = World::with(1, |plan| plan.absent = absent.into());
    refused(&mut world, Who::Colt, &from_carrier("+4940999"), 503, "tenant_invalid", |_| {});
    let stranger = format!("sip:{PSTN}@stranger.example.net:5061");
    refused(&mut world, Who::Sip, &stranger, 404, "unknown_tenant", |_| {});
}

#[test]
fn a_number_without_route_is_404() {
    let mut world = World::new(1);
    let uri = format!("sip:911@{CONTOSO}:5061");
    refused(&mut world, Who::Sip, &uri, 404, "no_route", |_| {});
}

#[test]
fn a_record_is_not_filled_by_what_a_stranger_writes() {
    let mut world = World::new(1);
    let uri = format!("sip:{}@{CONTOSO}:5061", "9".repeat(3000));
    refused(&mut world, Who::Sip, &uri, 404, "no_route", |invite| {
        let long = "\u{e9}".repeat(1000);
        invite.headers.set(Name::From, format!("<sip:{long}@sip.pstnhub.microsoft.com>;tag=1"));
        invite.headers.set(Name::CallId, "c".repeat(3000));
    });
    let record = &world.records[0];
    for text in [&record.from, &record.to, &record.call_id_in, &record.route] {
        assert!(text.len() <= 256, "{} octets", text.len());
    }
}

/// TDR-IN-001.
#[test]
fn an_unknown_fqdn_from_teams_is_404() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@nobody.example.net:5061");
    refused(&mut world, Who::Sip, &uri, 404, "unknown_tenant", |_| {});
}

/// TDR-OUT-018.
#[test]
fn max_forwards_zero_is_483() {
    let mut world = World::new(1);
    refused(&mut world, Who::Sip, &to_contoso(), 483, "loop", |invite| {
        invite.headers.set(Name::MaxForwards, "0");
    });
}

/// TDR-MED-001
#[test]
fn plain_rtp_from_teams_is_488() {
    let mut world = World::new(1);
    refused(&mut world, Who::Sip, &to_contoso(), 488, "srtp_required", |invite| {
        invite.set_body("application/sdp", sdp_text::carrier(Who::Sip.media()));
    });
}

#[test]
fn an_offer_of_srtp_from_a_plain_carrier_is_488() {
    let mut world = World::new(1);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    refused(&mut world, Who::Colt, &uri, 488, "no_common_codec", |invite| {
        invite.set_body("application/sdp", sdp_text::teams(Who::Colt.media()));
    });
}

#[test]
fn a_carrier_that_answers_a_codec_nobody_offered_ends_the_call_with_488() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.accepts(&mut world, sdp_text::plain(Who::Colt.media(), &["18 G729/8000"]));
    subscriber.gets(&mut world, "ACK");
    subscriber.is_hung_up(&mut world);
    anna.hears(&mut world, "488 INVITE");
}

#[test]
fn a_required_extension_is_420() {
    let mut world = World::new(1);
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &to_contoso(), |invite| {
        invite.headers.push(Name::Require, "100rel");
    });
    let refusal = anna.hears(&mut world, "420 INVITE");
    assert_eq!(refusal.headers.get(Name::Unsupported), Some(&b"100rel"[..]));
}

#[test]
fn one_call_too_many_for_the_tenant_is_503_until_a_call_ends() {
    let mut world = World::with(1, |plan| plan.tenants[0].limits.calls = Some(1));
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    refused(&mut world, Who::Sip, &to_contoso(), 503, "call_limit", |_| {});
    hang_up(&mut world, &mut caller, &anna);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn an_emergency_call_is_never_one_too_many() {
    let mut world = World::with(1, |plan| plan.tenants[0].limits.calls = Some(0));
    let uri = format!("sip:112@{CONTOSO}:5061;user=phone");
    world.replan(|plan| plan.tenants[0].routes[0].called = b2bua::plan::Patterns::default());
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |_| {});
    let centre = Party::called(&mut world, Who::Colt);
    callflow::script::connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-003: SDP stands beside the caller's location, in either order.
#[test]
fn an_emergency_call_with_a_location_in_its_body_gets_out() {
    for location_first in [false, true] {
        let mut world = World::with(1, |plan| {
            plan.tenants[0].routes[0].called = b2bua::plan::Patterns::default();
        });
        let uri = format!("sip:112@{CONTOSO}:5061;user=phone");
        let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
            let sdp = String::from_utf8(invite.body().to_vec()).unwrap();
            let sdp = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n");
            let location = "--b\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n";
            let both = match location_first {
                true => format!("{location}{sdp}--b--\r\n"),
                false => format!("{sdp}{location}--b--\r\n"),
            };
            invite.set_body("multipart/mixed; boundary=b", both);
        });
        let centre = Party::called(&mut world, Who::Colt);
        callflow::script::connect(&mut world, &mut anna, &centre);
        hang_up(&mut world, &mut anna, &centre);
    }
}

#[test]
fn a_full_outgoing_trunk_is_passed_over() {
    let mut world = World::with(1, |plan| plan.trunks[1].limits.calls = Some(1));
    let (mut first, one) = carrier_calls_teams(&mut world);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Bt);
    callflow::script::connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut first, &one);
}

#[test]
fn too_many_new_calls_in_a_second_are_503_and_the_next_second_is_free() {
    let mut world = World::with(1, |plan| plan.trunks[0].limits.calls_per_second = Some(2));
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        callflow::script::connect(&mut world, &mut anna, &subscriber);
        calls.push((anna, subscriber));
    }
    refused(&mut world, Who::Sip, &to_contoso(), 503, "rate_limit", |_| {});
    world.run_for(secs(1));
    calls.push({
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        callflow::script::connect(&mut world, &mut anna, &subscriber);
        (anna, subscriber)
    });
    for (mut anna, subscriber) in calls {
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

#[test]
fn media_that_cannot_be_opened_is_500() {
    let mut world = World::new(1);
    world.media_refuses = true;
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 100);
    anna.hears(&mut world, "500 INVITE");
    subscriber.is_cancelled(&mut world);
    world.run_for(secs(6));
    assert_eq!(world.records[0].cause, "media_failed");
}

#[test]
fn no_free_media_port_is_503() {
    let mut world = World::with(1, |plan| plan.media[0].ports = 20_000..=20_001);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    refused(&mut world, Who::Sip, &to_contoso(), 503, "no_media_port", |_| {});
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-IN-012.
#[test]
fn a_merged_request_is_482() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = {
        let anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        (anna, subscriber)
    };
    // The same INVITE by another way: another branch, all else alike.
    let mut twin = anna.invite.clone();
    let via = String::from_utf8_lossy(twin.headers.get(Name::Via).unwrap())
        .replace("z9hG4bK", "z9hG4bKx");
    twin.headers.set(Name::Via, via);
    world.send(Who::Sip, twin);
    world.expect(Who::Sip, "482 INVITE");
    callflow::script::connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
}
