//! A dialog does not depend on the connection or address it began with.

use callflow::plan::{ANNA, COLT};
use callflow::script::{connect, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, ms, secs};
use sdp::LatchPolicy;
use sip_core::{Method, Name, Request};

/// A subscriber of colt whose Contact is this is called by Teams and answers.
fn contact_of_the_carrier(world: &mut World, contact: &'static str) -> (Party, Party) {
    let mut anna = Party::from_teams(world, callflow::plan::CONTOSO, callflow::plan::PSTN);
    let subscriber = Party::called(world, Who::Colt);
    subscriber.answer(world, &subscriber.invite, 200, |response| {
        response.headers.remove(Name::Contact);
        response.headers.push(Name::Contact, contact);
        response.set_body("application/sdp", callflow::script::usual_sdp(Who::Colt));
    });
    let answer = anna.hears(world, "200 INVITE");
    anna.acknowledges(world, &answer);
    (anna, subscriber)
}

#[test]
fn a_contact_behind_nat_is_not_believed() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = contact_of_the_carrier(&mut world, "<sip:pbx@10.0.0.7:5060>");
    subscriber.gets(&mut world, "ACK");
    let bye = {
        anna.hangs_up(&mut world);
        subscriber.is_hung_up(&mut world)
    };
    assert_eq!(bye.uri, &b"sip:pbx@10.0.0.7:5060"[..], "it stays the Request-URI");
}

#[test]
fn a_contact_outside_the_trunks_sources_is_not_gone_to() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = contact_of_the_carrier(&mut world, "<sip:pbx@203.0.113.99>");
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_contact_with_another_port_is_gone_to_unless_the_trunk_is_behind_nat() {
    for (symmetric, port) in [(false, 5080), (true, 5060)] {
        let mut world = World::with(1, |plan| {
            if symmetric {
                plan.trunks[COLT].terms.latch = LatchPolicy::Symmetric;
            }
        });
        let contact = "<sip:pbx@198.51.100.20:5080>";
        let (mut anna, subscriber) = contact_of_the_carrier(&mut world, contact);
        subscriber.gets(&mut world, "ACK");
        hang_up(&mut world, &mut anna, &subscriber);
        assert_eq!(world.ports_sent_to(Who::Colt, "BYE"), [port]);
    }
}

#[test]
fn bye_comes_from_another_port_and_is_answered_there() {
    let mut world = World::new(1);
    let (anna, mut subscriber) = teams_calls_carrier(&mut world);
    let bye = subscriber.request(&mut world, Method::Bye);
    world.send_from_port(Who::Colt, 5099, bye);
    anna.is_hung_up(&mut world);
    world.run_for(ms(50));
    assert_eq!(world.ports_sent_to(Who::Colt, "200 BYE"), [5099]);
}

#[test]
fn a_session_refresh_from_another_port_moves_the_dialog_there_behind_nat() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].terms.latch = LatchPolicy::Symmetric);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    let options = subscriber.request(&mut world, Method::Options);
    world.send_from_port(Who::Colt, 5099, options);
    subscriber.hears(&mut world, "200 OPTIONS");
    hang_up(&mut world, &mut anna, &subscriber);
    assert_eq!(world.ports_sent_to(Who::Colt, "BYE"), [5099]);
}

#[test]
fn an_old_request_does_not_move_the_dialog() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].terms.latch = LatchPolicy::Symmetric);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    let old = subscriber.request(&mut world, Method::Options);
    subscriber.asks(&mut world, Method::Options, None);
    subscriber.hears(&mut world, "200 OPTIONS");
    world.send_from_port(Who::Colt, 6666, old);
    subscriber.hears(&mut world, "500 OPTIONS");
    hang_up(&mut world, &mut anna, &subscriber);
    assert_eq!(world.ports_sent_to(Who::Colt, "BYE"), [5060]);
}

#[test]
fn an_answer_goes_to_the_port_that_the_via_asks_for() {
    for (via, port) in [
        // RFC 3581: back where it came from.
        ("198.51.100.20:5060;rport", 40_000),
        // RFC 3261, 18.2.2: the address it came from, the port that it names.
        ("198.51.100.20:5070", 5070),
        ("198.51.100.20", 5060),
        ("pbx.example.net:5070", 5070),
        // Nobody listens there on this side of the NAT.
        ("10.0.0.7:5070", 40_000),
    ] {
        let mut world = World::new(1);
        let mut request = Request::new(Method::Options, "sip:203.0.113.10".to_owned());
        let headers = &mut request.headers;
        headers.push(Name::Via, format!("SIP/2.0/UDP {via};branch=z9hG4bKport"));
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, "<sip:198.51.100.20>;tag=port-1");
        headers.push(Name::To, "<sip:203.0.113.10>");
        headers.push(Name::CallId, "port-call-1");
        headers.push(Name::CSeq, "1 OPTIONS");
        world.send_from_port(Who::Colt, 40_000, request);
        world.expect(Who::Colt, "200 OPTIONS");
        assert_eq!(world.ports_sent_to(Who::Colt, "200 OPTIONS"), [port], "{via}");
    }
}

/// TDR-FO-007.
#[test]
fn a_proxy_that_asked_to_stay_in_the_path_is_passed_though_a_connection_is_open() {
    for route in ["sip2.pstnhub.microsoft.com:5061", "52.114.132.46:5061"] {
        let mut world = World::new(1);
        let uri = format!("sip:{}@{}:5061", callflow::plan::PSTN, callflow::plan::CONTOSO);
        let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
            invite.headers.push(Name::RecordRoute, format!("<sip:{route};transport=tls;lr>"));
        });
        let mut subscriber = Party::called(&mut world, Who::Colt);
        connect(&mut world, &mut anna, &subscriber);
        assert_eq!(world.open_connections(Who::Sip), 1);
        subscriber.hangs_up(&mut world);
        // The proxy answers for her.
        anna.who = Who::Sip2;
        anna.is_hung_up(&mut world);
        world.run_for(secs(1));
        assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    }
}

/// TDR-FO-007.
#[test]
fn a_proxy_at_the_other_end_of_the_connection_is_reached_over_it() {
    let mut world = World::new(1);
    let uri = format!("sip:{}@{}:5061", callflow::plan::PSTN, callflow::plan::CONTOSO);
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.headers.push(Name::RecordRoute, "<sip:52.114.75.24:5061;transport=tls;lr>");
    });
    let mut subscriber = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut subscriber, &anna);
    assert_eq!(world.connections(Who::Sip), 1);
}

/// TDR-FO-002, TDR-FO-003.
#[test]
fn a_draining_proxy_has_its_connection_closed_and_gets_no_new_call_until_its_time_is_over() {
    let mut world = World::new(1);
    let draining = |world: &mut World| {
        let caller = Party::from_carrier(world, Who::Colt, ANNA);
        (caller, Party::called(world, Who::Sip))
    };
    // A call that is up on the connection lives on.
    let (mut old_caller, old_callee) = draining(&mut world);
    connect(&mut world, &mut old_caller, &old_callee);

    let (mut caller, proxy) = draining(&mut world);
    proxy.answer(&mut world, &proxy.invite, 503, |response| {
        response.headers.push(Name::RetryAfter, "1");
        response.headers.push(Name::Reason, "Q.850;cause=63;text=\"6c1e;Service state: Inactive\"");
    });
    let callee = Party::called(&mut world, Who::Sip2);
    proxy.gets(&mut world, "ACK");
    assert_eq!(world.open_connections(Who::Sip), 0);
    connect(&mut world, &mut caller, &callee);

    let asked = world.sent_to(Who::Sip, "INVITE");
    let mut second = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let callee_2 = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut second, &callee_2);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), asked);

    hang_up(&mut world, &mut old_caller, &old_callee);
    assert_eq!(world.connections(Who::Sip), 2, "its BYE took another connection");
    hang_up(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut second, &callee_2);
    world.run_for(secs(1));
    let (mut third, callee_3) = draining(&mut world);
    connect(&mut world, &mut third, &callee_3);
    hang_up(&mut world, &mut third, &callee_3);
}

#[test]
fn a_retry_after_of_an_hour_is_followed_for_a_minute() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, callflow::plan::FABRIKAM, callflow::plan::PSTN);
    let full = Party::called(&mut world, Who::Bt);
    full.answer(&mut world, &full.invite, 503, |response| {
        response.headers.push(Name::RetryAfter, "3600 (in maintenance);duration=10");
    });
    anna.hears(&mut world, "503 INVITE");
    let mut boris = Party::from_teams(&mut world, callflow::plan::FABRIKAM, callflow::plan::PSTN);
    boris.hears(&mut world, "503 INVITE");
    world.run_for(secs(1));
    assert_eq!(world.records[1].attempts[0].outcome, "retry_after");
    // But an emergency is tried there all the same.
    let mut caller = Party::from_teams(&mut world, callflow::plan::FABRIKAM, "+112");
    let rescue = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut caller, &rescue);
    hang_up(&mut world, &mut caller, &rescue);
    world.run_for(secs(60));
    let mut boris = Party::from_teams(&mut world, callflow::plan::FABRIKAM, callflow::plan::PSTN);
    let there = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut boris, &there);
    hang_up(&mut world, &mut boris, &there);
}

/// TDR-FO-007.
#[test]
fn the_region_of_a_call_is_gone_and_bye_goes_to_the_next() {
    let mut world = World::new(1);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(50)); // The last ACK is on its way.
    world.refuse_connections(Who::Sip);
    world.refuse_connections(Who::Sip2);
    subscriber.hangs_up(&mut world);
    anna.who = Who::Sip3;
    anna.is_hung_up(&mut world);
    let byes = [Who::Sip, Who::Sip2, Who::Sip3].map(|who| world.sent_to(who, "BYE"));
    assert_eq!(byes, [1, 1, 1]);
}
