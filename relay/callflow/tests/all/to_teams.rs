//! What Teams is sent: each header of our INVITE, and which of its names gets it.

use b2bua::plan::{Change, Party as Which, Pattern, Rewrite, TransferPolicy, Way};
use callflow::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, PSTN, TEAMS};
use callflow::script::{body, carrier_calls_teams, connect, hang_up, line, uri_of, value, whole};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Name, Request};
use std::collections::BTreeSet;

/// A carrier's INVITE, changed by `edit`, and what Teams gets of it.
fn carrier_calls(
    world: &mut World,
    number: &str,
    edit: impl FnOnce(&mut Request),
) -> (Party, Party) {
    let uri = format!("sip:{number}@{}", Who::Colt.ours());
    let caller = Party::call(world, Who::Colt, PSTN, &uri, edit);
    (caller, Party::called(world, Who::Sip))
}

fn play(world: &mut World, (mut caller, mut anna): (Party, Party)) {
    connect(world, &mut caller, &anna);
    hang_up(world, &mut anna, &caller);
}

/// TDR-OUT-001, TDR-OUT-002, TDR-OUT-003, TDR-OUT-004, TDR-OUT-005, TDR-OUT-006, TDR-OUT-009,
/// TDR-OUT-013.
#[test]
fn an_invite_to_teams_names_the_tenant_wherever_teams_looks_for_it() {
    for (number, fqdn) in [(ANNA, CONTOSO), (BORIS, FABRIKAM)] {
        let mut world = World::new(1);
        let (caller, anna) = carrier_calls(&mut world, number, |_| {});
        let invite = &anna.invite;
        let headers = &invite.headers;
        let uri = format!("sip:{number}@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls");
        assert_eq!(invite.uri, uri);
        let contacts: Vec<&[u8]> = headers.list(Name::Contact).collect();
        assert_eq!(contacts, [format!("<sip:{PSTN}@{fqdn}:5061;transport=tls>").as_bytes()]);
        assert!(
            value(headers, Name::From).starts_with(&format!("<sip:{PSTN}@{fqdn};user=phone>;tag="))
        );
        let to = uri_of(headers.get(Name::To).unwrap());
        assert!(to.starts_with(&format!("sip:{number}@")) && to.ends_with(";user=phone"), "{to}");
        let via = format!("SIP/2.0/TLS {fqdn}:5061;branch=z9hG4bK");
        assert!(value(headers, Name::Via).starts_with(&via));
        assert_eq!(value(headers, Name::ContentType), "application/sdp");
        assert!(line(&body(invite), "m=audio").contains("RTP/SAVP"));
        assert!(value(headers, Name::UserAgent).starts_with("Tollgate/"));
        play(&mut world, (caller, anna));
    }
}

/// TDR-OUT-007, TDR-OUT-010, TDR-OUT-011.
#[test]
fn what_a_carrier_says_to_its_own_network_does_not_reach_teams() {
    let mut world = World::new(1);
    let boundary = "multipart/mixed; boundary=b";
    let (caller, anna) = carrier_calls(&mut world, ANNA, |invite| {
        let headers = &mut invite.headers;
        headers.push(Name::RecordRoute, "<sip:198.51.100.20;lr>");
        headers.push(Name::Require, "100rel");
        headers.push(Name::Supported, "100rel, timer, precondition");
        for (name, value) in [
            ("P-Charging-Vector", "icid-value=1;orig-ioi=colt.example"),
            ("P-Charging-Function-Addresses", "ccf=198.51.100.99"),
            ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD"),
            ("X-Colt-Account", "4711"),
        ] {
            headers.push(Name::Other(name), value);
        }
        headers.push(Name::PAssertedIdentity, format!("<sip:{PSTN}@198.51.100.20>"));
        headers.push(Name::Diversion, "<sip:+4989100@198.51.100.20>;reason=user-busy");
        let sdp = String::from_utf8_lossy(invite.body()).into_owned();
        let parts = format!(
            "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: application/isup\r\n\
             Content-Disposition: signal;handling=optional\r\n\r\nISUP\r\n--b--\r\n"
        );
        invite.set_body(boundary, parts);
    });
    let headers = &anna.invite.headers;
    for name in [Name::RecordRoute, Name::Route, Name::Replaces, Name::Require, Name::Diversion] {
        assert_eq!(headers.get(name), None, "{name:?}");
    }
    assert_eq!(headers.all(Name::Via).count(), 1);
    assert!(!headers.has_token(Name::Supported, "100rel"));
    assert!(headers.has_token(Name::Supported, "timer"));
    assert_eq!(value(headers, Name::ContentType), "application/sdp");
    let message = whole(&anna.invite);
    for foreign in ["P-Charging", "P-Access", "P-Asserted", "X-Colt", "198.51.100", "ISUP", "sips:"]
    {
        assert!(!message.contains(foreign), "{foreign} in {message}");
    }
    // The carrier insists on reliable responses, and gets them from us.
    let (mut caller, mut anna) = (caller, anna);
    anna.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    anna.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-OUT-012, TDR-XFR-001, TDR-XFR-002.
#[test]
fn refer_is_allowed_where_the_tenant_takes_it_and_notify_always() {
    for transfer in [TransferPolicy::Refer, TransferPolicy::None] {
        let mut world = World::with(1, |plan| plan.tenants[0].transfer = transfer);
        let (caller, anna) = carrier_calls(&mut world, ANNA, |_| {});
        let headers = &anna.invite.headers;
        assert_eq!(headers.has_token(Name::Allow, "REFER"), transfer == TransferPolicy::Refer);
        for method in ["NOTIFY", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"] {
            assert!(headers.has_token(Name::Allow, method), "{method}");
        }
        assert!(headers.has_token(Name::Supported, "replaces"));
        play(&mut world, (caller, anna));
    }
}

/// TDR-OUT-001.
#[test]
fn a_called_party_that_is_no_number_is_484_and_teams_hears_nothing() {
    let mut world = World::with(1, |plan| {
        let change = Change::Front { strip: 13, prepend: "reception".into() };
        let matches = "*".parse::<Pattern>().unwrap().into();
        let (party, from) = (Some(Which::Called), None);
        let place = "tollgate.toml:7".into();
        plan.trunks[TEAMS].rewrite =
            vec![Rewrite { way: Way::Out, party, from, matches, change, place }];
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let refusal = caller.hears(&mut world, "484 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    assert_eq!(world.records[0].cause, "not_a_number");
}

/// TDR-OUT-014.
#[test]
fn an_extension_behind_the_number_stays_where_it_is() {
    let mut world = World::new(1);
    let (caller, anna) = carrier_calls(&mut world, &format!("{ANNA};ext=1001"), |_| {});
    let uri = String::from_utf8_lossy(&anna.invite.uri).into_owned();
    assert!(
        uri.starts_with(&format!("sip:{ANNA};ext=1001@sip.pstnhub.microsoft.com:5061;")),
        "{uri}"
    );
    play(&mut world, (caller, anna));
}

/// TDR-OUT-017.
#[test]
fn the_name_of_the_caller_is_shown() {
    let mut world = World::new(1);
    let (caller, anna) = carrier_calls(&mut world, ANNA, |invite| {
        let tag = String::from_utf8_lossy(invite.headers.from().tag().unwrap()).into_owned();
        let from = format!("\"Shop & Co\" <sip:{PSTN}@198.51.100.20>;tag={tag}");
        invite.headers.set(Name::From, from);
    });
    let from = value(&anna.invite.headers, Name::From);
    assert!(
        from.starts_with(&format!("\"Shop & Co\" <sip:{PSTN}@{CONTOSO};user=phone>")),
        "{from}"
    );
    play(&mut world, (caller, anna));
}

/// TDR-OUT-018, TDR-FWD-009.
#[test]
fn max_forwards_falls_and_the_last_hop_is_refused() {
    let mut world = World::new(1);
    let (caller, anna) = carrier_calls(&mut world, ANNA, |invite| {
        invite.headers.set(Name::MaxForwards, "12");
    });
    assert_eq!(value(&anna.invite.headers, Name::MaxForwards), "11");
    play(&mut world, (caller, anna));
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.set(Name::MaxForwards, "0");
    });
    let refusal = caller.hears(&mut world, "483 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
}

/// TDR-DNS-001, TDR-FO-001, TDR-FO-006, TDR-TLS-004.
#[test]
fn teams_names_are_tried_in_their_order_once_each_with_a_branch_of_their_own() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut branches = BTreeSet::new();
    let names = [Who::Sip, Who::Sip2, Who::Sip3];
    for (at, who) in names.into_iter().enumerate() {
        let silent = Party::called(&mut world, who);
        let later: Vec<usize> =
            names[at + 1..].iter().map(|who| world.sent_to(*who, "INVITE")).collect();
        assert!(later.iter().all(|sent| *sent == 0), "{who:?} comes before {later:?}");
        let host = format!("@{}:5061;", who.host());
        assert!(String::from_utf8_lossy(&silent.invite.uri).contains(&host));
        branches.insert(silent.invite.headers.top_via().branch().unwrap_or_default().to_vec());
    }
    assert_eq!(branches.len(), 3);
    let refusal = caller.hears(&mut world, "504 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert!(world.elapsed() < secs(10), "a carrier does not wait longer");
    assert_eq!(names.map(|who| world.sent_to(who, "INVITE")), [1; 3]);
}

/// TDR-FO-002, TDR-FO-003.
#[test]
fn a_draining_node_has_its_connection_closed_and_the_next_name_asked_within_a_second() {
    let mut world = World::new(1);
    let (mut old_caller, old_anna) = carrier_calls_teams(&mut world);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let draining = Party::called(&mut world, Who::Sip);
    let said = world.elapsed();
    draining.answer(&mut world, &draining.invite, 503, |response| {
        response.headers.push(Name::RetryAfter, "1");
        response.headers.push(
            Name::Reason,
            "Q.850;cause=63;text=\"6c1e8a54-0001;Service state: DrainingTransactions\"",
        );
    });
    let anna = Party::called(&mut world, Who::Sip2);
    assert!(world.elapsed() - said < secs(1));
    assert_eq!(world.open_connections(Who::Sip), 0);
    connect(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Colt, "180 INVITE"), 2, "each caller hears one callee ring");
    // The call that is up on the draining node goes on, and ends there.
    assert_eq!(world.core().calls(world.now()).len(), 2);
    hang_up(&mut world, &mut old_caller, &old_anna);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-FO-004, TDR-ERR-005.
#[test]
fn what_the_teams_user_answers_is_final_and_no_other_name_is_asked() {
    for status in [400, 403, 404, 480, 484, 486, 488, 600, 603] {
        let mut world = World::new(1);
        Party::from_carrier(&mut world, Who::Colt, ANNA);
        let anna = Party::called(&mut world, Who::Sip);
        anna.reply(&mut world, status);
        world.run_for(secs(11));
        let asked = [Who::Sip, Who::Sip2, Who::Sip3].map(|who| world.sent_to(who, "INVITE"));
        assert_eq!(asked, [1, 0, 0], "{status}");
        let answers: usize =
            (400..700).map(|it| world.sent_to(Who::Colt, &format!("{it} INVITE"))).sum();
        assert!(answers > 0, "{status}");
    }
}

/// TDR-FO-005.
#[test]
fn when_every_name_is_down_calls_try_them_all_the_same_in_order() {
    let mut world = World::with(1, |plan| plan.trunks[TEAMS].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    let names = [Who::Sip, Who::Sip2, Who::Sip3];
    for who in names {
        world.refuse_connections(who);
    }
    world.run_for(secs(20));
    assert!(world.core().targets(world.now())[..3].iter().all(|target| !target.up));
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    caller.hears(&mut world, "503 INVITE");
    assert_eq!(names.map(|who| world.sent_to(who, "INVITE")), [1; 3]);
    // OPTIONS have not found out yet that the second one is back.
    world.accept_connections(Who::Sip2);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-FO-007.
#[test]
fn a_bye_to_teams_goes_by_route_then_connection_then_contact_then_name() {
    let contact = |world: &mut World, host: &str, route: Option<&str>| {
        let uri = format!("sip:{PSTN}@{CONTOSO}:5061;transport=tls");
        let (host, route) = (host.to_owned(), route.map(str::to_owned));
        let mut anna = Party::call(world, Who::Sip, ANNA, &uri, |invite| {
            let target = format!("<sip:{host};x-i=17fc695a;x-c=3139d3/d/8/a9488d>");
            invite.headers.set(Name::Contact, target);
            if let Some(route) = route {
                invite.headers.push(Name::RecordRoute, route);
            }
        });
        let subscriber = Party::called(world, Who::Colt);
        connect(world, &mut anna, &subscriber);
        world.run_for(ms(20));
        (anna, subscriber)
    };
    let known = format!("{}:5061", Who::Sip2.host());
    let unknown = "api-du-a-euwe.pstnhub.microsoft.com:443";
    let proxy = format!("<sip:{}:5061;transport=tls;lr>", Who::Sip3.host());
    for (host, route, gone, expected) in [
        (unknown, Some(proxy.as_str()), false, Who::Sip3),
        (&known, None, false, Who::Sip),
        (&known, None, true, Who::Sip2),
        (unknown, None, true, Who::Sip),
    ] {
        let mut world = World::new(1);
        let (mut anna, mut subscriber) = contact(&mut world, host, route);
        if gone {
            world.drop_connections(Who::Sip);
        }
        subscriber.hangs_up(&mut world);
        anna.who = expected;
        let bye = anna.is_hung_up(&mut world);
        let uri = format!("sip:{host};x-i=17fc695a;x-c=3139d3/d/8/a9488d");
        assert_eq!(String::from_utf8_lossy(&bye.uri), uri, "octet by octet");
        let byes: usize =
            [Who::Sip, Who::Sip2, Who::Sip3].map(|who| world.sent_to(who, "BYE")).iter().sum();
        assert_eq!(byes, 1, "{host} {route:?} {gone}");
    }
}

/// TDR-DLG-040.
#[test]
fn teams_has_its_ack_at_once_though_the_carriers_never_comes() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    let answered = world.elapsed();
    anna.reply(&mut world, 200);
    anna.gets(&mut world, "ACK");
    assert!(world.elapsed() - answered <= ms(200), "there and back takes twenty");
    // The carrier acknowledges nothing: in the end both legs are hung up.
    caller.hears(&mut world, "200 INVITE");
    world.run_for(secs(33));
    caller.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
}
