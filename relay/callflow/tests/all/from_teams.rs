//! What Teams sends: how its requests are recognised, and what our responses to them say.

use b2bua::io::Event;
use b2bua::plan::{Patterns, TransferPolicy};
use callflow::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{body, connect, hang_up, teams_calls_carrier, uri_of, usual_sdp, value};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Message, Method, Name, Request};

/// Teams calls this Request-URI; its INVITE is changed by `edit`.
fn teams_calls(world: &mut World, uri: &str, edit: impl FnOnce(&mut Request)) -> Party {
    Party::call(world, Who::Sip, ANNA, uri, edit)
}

fn is_answered(world: &mut World, mut anna: Party, who: Who) -> Request {
    let mut subscriber = Party::called(world, who);
    let invite = subscriber.invite.clone();
    connect(world, &mut anna, &subscriber);
    hang_up(world, &mut subscriber, &anna);
    invite
}

fn is_refused(world: &mut World, anna: &mut Party, status: u16) -> sip_core::Response {
    let refusal = anna.hears(world, &format!("{status} INVITE"));
    anna.acknowledges_failure(world, &refusal);
    refusal
}

/// TDR-IN-001, TDR-SEC-003.
#[test]
fn the_host_of_the_request_uri_alone_names_the_tenant_however_it_is_written() {
    for (host, carrier) in [
        (CONTOSO.to_owned(), Who::Colt),
        (format!("{CONTOSO}:5061"), Who::Colt),
        (CONTOSO.to_uppercase(), Who::Colt),
        (format!("{FABRIKAM}:5067"), Who::Bt),
    ] {
        let mut world = World::new(1);
        let anna = teams_calls(&mut world, &format!("sip:{PSTN}@{host};transport=tls"), |_| {});
        is_answered(&mut world, anna, carrier);
    }
}

/// TDR-IN-001.
#[test]
fn a_host_that_is_no_tenants_is_refused_and_named_to_the_operator() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@Nobody.example.net:5061;transport=tls");
    let mut anna = teams_calls(&mut world, &uri, |_| {});
    let refusal = is_refused(&mut world, &mut anna, 404);
    assert!(value(&refusal.headers, Name::Warning).contains("nobody.example.net"));
    let named = |event: &Event| matches!(event, Event::UnknownFqdn { fqdn, .. } if fqdn == "nobody.example.net");
    assert_eq!(world.events.iter().filter(|event| named(event)).count(), 1);
    let invited = Who::ALL.map(|who| world.sent_to(who, "INVITE"));
    assert_eq!(invited, [0; 5], "no other tenant is taken instead");
}

/// TDR-IN-002.
#[test]
fn to_says_another_tenant_and_the_request_uri_counts() {
    let mut world = World::new(1);
    // One of them is that no call names two tenants, and Teams does so here.
    world.without_laws();
    let uri = format!("sip:{PSTN}@{FABRIKAM}:5061;transport=tls");
    let anna = teams_calls(&mut world, &uri, |invite| {
        invite.headers.set(Name::To, format!("<sip:{PSTN}@{CONTOSO}:5061>"));
    });
    is_answered(&mut world, anna, Who::Bt);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

/// TDR-IN-003, TDR-OUT-010.
#[test]
fn headers_of_microsofts_other_products_decide_nothing_and_go_nowhere() {
    let another = "4d2ba0f6-0000-0000-0000-a1b2c3d4e5f6";
    let mut world = World::with(1, |plan| plan.tenants[1].tenant_id = Some(another.to_owned()));
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;transport=tls");
    let private = ["X-MS-TenantID", "X-MS-SBC", "X-MS-FMC"];
    let anna = teams_calls(&mut world, &uri, |invite| {
        for name in private {
            invite.headers.push(Name::Other(name), another);
        }
    });
    let invite = is_answered(&mut world, anna, Who::Colt);
    for name in private {
        assert_eq!(invite.headers.get(Name::Other(name)), None);
    }
}

/// An INVITE in Microsoft's own letters. TDR-IN-005, TDR-IN-006, TDR-IN-008, TDR-IN-014.
#[test]
fn upper_case_names_and_an_unusual_contact_are_understood_and_come_back_as_they_are_usually_written()
 {
    let mut world = World::new(1);
    let target = "sip:api-du-a-usea.pstnhub.microsoft.com:443;x-i=17fc695a-07a0-ca6e-0822-e8f36c031199;x-c=3139d32c93cd59bf5c941cf0dc98d2c1/s/1/a9488d990bbb259911ce5dd2b45ed1f0";
    let sdp = usual_sdp(Who::Sip);
    let text = format!(
        "INVITE sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls SIP/2.0\r\n\
         FROM: \"Anna\" <sip:{ANNA}@sip.pstnhub.microsoft.com:5061;user=phone>;tag=e2acf72f9e574f7aa0ee89aed453dd32\r\n\
         TO: <sip:{PSTN}@{CONTOSO}:5061;user=phone>\r\nCSEQ: 1 INVITE\r\n\
         CALL-ID: 3139d32c93cd59bf5c941cf0dc98d2c1\r\nMAX-FORWARDS: 70\r\n\
         VIA: SIP/2.0/TLS 52.114.75.24:5061;branch=z9hG4bK77aa01c4\r\nCONTACT: <{target}>\r\n\
         CONTENT-LENGTH: {}\r\nMIN-SE: 300\r\nSUPPORTED: histinfo,timer\r\n\
         USER-AGENT: Microsoft.PSTNHub.SIPProxy v.2026.1.9.3 i.EUWE.2\r\nCONTENT-TYPE: application/sdp\r\n\
         ALLOW: INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY\r\nSESSION-EXPIRES: 3600;refresher=uac\r\n\r\n{sdp}",
        sdp.len()
    );
    let Ok(Message::Request(invite)) = Message::parse(text.into()) else { panic!("no request") };
    let mut anna =
        Party::call(&mut world, Who::Sip, ANNA, &format!("sip:{PSTN}@{CONTOSO}"), |it| {
            *it = invite;
        });
    anna.call_id = "3139d32c93cd59bf5c941cf0dc98d2c1".into();
    anna.tag = "e2acf72f9e574f7aa0ee89aed453dd32".into();
    let mut subscriber = Party::called(&mut world, Who::Colt);
    let mut octets = Vec::new();
    Message::from(subscriber.invite.clone()).write(&mut octets);
    let sent = String::from_utf8_lossy(&octets).into_owned();
    for name in ["\r\nFrom: ", "\r\nCall-ID: ", "\r\nCSeq: ", "\r\nVia: ", "\r\nContact: "] {
        assert!(sent.contains(name), "{name:?} in {sent}");
    }
    connect(&mut world, &mut anna, &subscriber);
    subscriber.hangs_up(&mut world);
    let bye = anna.is_hung_up(&mut world);
    assert_eq!(String::from_utf8_lossy(&bye.uri), target, "octet by octet");
    world.run_for(secs(1));
    let agent = world.records[0].teams.agent.clone();
    assert!(agent.is_some_and(|agent| agent.ends_with("v.2026.1.9.3 i.EUWE.2")));
}

/// TDR-IN-008.
#[test]
fn an_anonymous_user_of_teams_calls() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let anna = teams_calls(&mut world, &uri, |invite| {
        let tag = "e2acf72f9e574f7aa0ee89aed453dd32";
        let from = format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={tag}");
        invite.headers.set(Name::From, from);
    });
    let invite = {
        let mut anna = anna;
        anna.tag = "e2acf72f9e574f7aa0ee89aed453dd32".into();
        is_answered(&mut world, anna, Who::Colt)
    };
    let from = uri_of(invite.headers.get(Name::From).unwrap());
    assert_eq!(from, "sip:anonymous@anonymous.invalid");
}

/// TDR-IN-009, TDR-EMG-001.
#[test]
fn what_teams_dials_may_be_a_number_with_or_without_plus_a_short_one_or_an_extension() {
    for dialled in [PSTN, "4989123456", "112", "933", "1001", "+4989123456;ext=12"] {
        let mut world = World::with(1, |plan| {
            plan.tenants[0].routes[0].called = Patterns::default();
            plan.tenants[0].emergency = vec!["112".into(), "933".into()];
        });
        let uri = format!("sip:{dialled}@{CONTOSO}:5061;user=phone;transport=tls");
        let anna = teams_calls(&mut world, &uri, |_| {});
        let invite = is_answered(&mut world, anna, Who::Colt);
        let uri = String::from_utf8_lossy(&invite.uri).into_owned();
        assert!(uri.starts_with(&format!("sip:{dialled}@")), "{uri}");
    }
}

/// TDR-IN-010, TDR-XFR-010.
#[test]
fn another_proxy_of_microsofts_goes_on_with_the_dialog() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(20));
    for who in [Who::Sip2, Who::Sip3] {
        anna.who = who;
        anna.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Sip)));
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        world.run_for(ms(20));
    }
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-CON-009, TDR-CON-003.
#[test]
fn a_connection_for_each_transaction_and_none_stays() {
    let mut world = World::new(1);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(20));
    for _ in 0..20 {
        world.drop_connections(Who::Sip);
        world.reconnect(Who::Sip);
        anna.asks(&mut world, Method::Options, None);
        anna.hears(&mut world, "200 OPTIONS");
    }
    world.drop_connections(Who::Sip);
    world.run_for(secs(1));
    assert_eq!(world.core().calls(world.now()).len(), 1, "no connection is the call's");
    hang_up(&mut world, &mut subscriber, &anna);
}

/// TDR-IN-011, TDR-DLG-002, TDR-XFR-020.
#[test]
fn what_is_not_served_outside_of_a_call_is_refused_and_reaches_no_carrier() {
    for method in [Method::Refer, Method::Register, Method::Subscribe, Method::Message] {
        let mut world = World::new(1);
        let name = String::from_utf8_lossy(method.as_bytes()).into_owned();
        let uri = format!("sip:{PSTN}@{CONTOSO}:5061;transport=tls");
        let stranger = teams_calls(&mut world, &uri, |request| {
            request.method = method;
            request.headers.set(Name::CSeq, format!("1 {name}"));
            request.headers.push(Name::ReferTo, format!("<sip:{BORIS}@sip.pstnhub.microsoft.com>"));
        });
        let status = if name == "REFER" { 403 } else { 405 };
        let refusal = world.expect(stranger.who, &format!("{status} {name}"));
        if status == 405 {
            assert!(refusal.headers().has_token(Name::Allow, "INVITE"), "{name}");
        }
        world.run_for(secs(1));
        for who in [Who::Colt, Who::Bt] {
            assert_eq!(world.sent_to(who, &name) + world.sent_to(who, "INVITE"), 0);
        }
    }
}

/// TDR-IN-012.
#[test]
fn the_same_invite_over_a_second_connection_is_482_and_calls_nobody_twice() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    let mut twin = anna.invite.clone();
    let via = value(&twin.headers, Name::Via).replace("z9hG4bK", "z9hG4bKx");
    twin.headers.set(Name::Via, via);
    world.reconnect(Who::Sip);
    world.send(Who::Sip, twin);
    world.expect(Who::Sip, "482 INVITE");
    connect(&mut world, &mut anna, &subscriber);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-IN-015, TDR-IN-016, TDR-MT-003, TDR-DLG-031.
#[test]
fn every_response_names_the_tenant_and_what_it_may_do() {
    for (fqdn, transfer, carrier) in
        [(CONTOSO, TransferPolicy::Refer, Who::Colt), (FABRIKAM, TransferPolicy::None, Who::Bt)]
    {
        let mut world = World::with(1, |plan| plan.tenants[1].transfer = TransferPolicy::None);
        let uri = format!("sip:{PSTN}@{fqdn}:5061;user=phone;transport=tls");
        let timed = |request: &mut Request| {
            request.headers.push(Name::Supported, "histinfo,timer");
            request.headers.push(Name::SessionExpires, "1800");
        };
        let mut anna = teams_calls(&mut world, &uri, timed);
        let subscriber = Party::called(&mut world, carrier);
        let mut heard = Vec::new();
        subscriber.reply(&mut world, 180);
        heard.push(anna.hears(&mut world, "180 INVITE"));
        subscriber.reply(&mut world, 183);
        heard.push(anna.hears(&mut world, "183 INVITE"));
        subscriber.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        subscriber.gets(&mut world, "ACK");
        heard.push(answer);
        let mut refresh = anna.request(&mut world, Method::Invite);
        timed(&mut refresh);
        refresh.set_body("application/sdp", usual_sdp(Who::Sip));
        world.send(Who::Sip, refresh);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        heard.push(answer);
        for response in &heard {
            let (status, headers) = (response.status, &response.headers);
            let contact = uri_of(headers.get(Name::Contact).unwrap_or_default());
            assert!(
                contact.ends_with(&format!("@{fqdn}:5061;transport=tls")),
                "{status} {contact}"
            );
            assert!(headers.has_token(Name::Allow, "NOTIFY"), "{status}");
            let refer = transfer == TransferPolicy::Refer;
            assert_eq!(headers.has_token(Name::Allow, "REFER"), refer, "{status}");
            assert!(headers.has_token(Name::Supported, "replaces"), "{status}");
            let agreed = if status == 200 { "1800;refresher=uac" } else { "" };
            assert_eq!(value(headers, Name::SessionExpires), agreed, "{status}");
        }
        world.run_for(ms(20));
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

/// TDR-DLG-030.
#[test]
fn any_interval_of_teams_is_taken_and_its_timer_stays_on_its_leg() {
    for (expires, min) in [("1800;refresher=uac", None), ("3600", Some("300")), ("86400", None)] {
        let mut world = World::new(1);
        let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
        let anna = teams_calls(&mut world, &uri, |invite| {
            invite.headers.push(Name::Supported, "histinfo,timer");
            invite.headers.push(Name::SessionExpires, expires);
            if let Some(min) = min {
                invite.headers.push(Name::MinSe, min);
            }
        });
        let invite = is_answered(&mut world, anna, Who::Colt);
        let said: Vec<&[u8]> = invite.headers.all(Name::SessionExpires).collect();
        assert_eq!(said, [b"1800"], "ours, once");
        let least: Vec<&[u8]> = invite.headers.all(Name::MinSe).collect();
        assert!(least.len() <= 1 && least != [b"300"], "ours, once");
        assert!(!invite.headers.has_token(Name::Supported, "histinfo"));
    }
}

/// TDR-IN-013.
#[test]
fn an_invite_of_tens_of_kilobytes_reaches_the_carrier_in_few() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let anna = teams_calls(&mut world, &uri, |invite| {
        for number in 0..8 {
            let name = ["X-A", "X-B", "X-C", "X-D", "X-E", "X-F", "X-G", "X-H"][number];
            invite.headers.push(Name::Other(name), "y".repeat(7_000));
        }
    });
    let invite = is_answered(&mut world, anna, Who::Colt);
    let mut octets = Vec::new();
    Message::from(invite.clone()).write(&mut octets);
    assert!(octets.len() < 1_500, "{} octets", octets.len());
    assert!(body(&invite).contains("m=audio"));
}

/// TDR-IN-007.
#[test]
fn the_connection_of_an_invite_closes_and_its_answer_goes_to_the_address_in_its_via() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    assert_eq!(world.connections(Who::Sip), 1, "while it is there, it is used");
    world.drop_connections(Who::Sip);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(world.connections(Who::Sip), 2);
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}
