//! OPTIONS in both directions.

use b2bua::io::Event;
use b2bua::plan::TransferPolicy;
use callflow::plan::{ANNA, CONTOSO, NODE};
use callflow::script::{connect, hang_up, uri_of};
use callflow::{Party, Who, World, secs};
use sip_core::{Message, Method, Name, Request, Response};

pub(crate) fn options(who: Who, uri: &str) -> Request {
    let mut request = Request::new(Method::Options, uri.to_owned());
    let transport = who.transport().via();
    let headers = &mut request.headers;
    headers.push(Name::Via, format!("SIP/2.0/{transport} {};branch=z9hG4bKping", who.address()));
    headers.push(Name::MaxForwards, "70");
    headers.push(Name::From, "<sip:sip-du-a-eu.pstnhub.microsoft.com:5061>;tag=ping-1");
    headers.push(Name::To, format!("<{uri}>"));
    headers.push(Name::CallId, "ping-call-1");
    headers.push(Name::CSeq, "1 OPTIONS");
    request
}

/// A world in which Teams is asked once a minute.
fn probing() -> World {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world
}

/// Our next OPTIONS to this one.
fn asked(world: &mut World, who: Who) -> Request {
    match world.expect(who, "OPTIONS") {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!("OPTIONS is a method"),
    }
}

/// Teams answers it with this status and, if any, this Reason.
fn answers(world: &mut World, who: Who, request: &Request, status: u16, reason: Option<&str>) {
    let mut response = Response::to(request, status, None);
    if let Some(reason) = reason {
        response.headers.push(Name::Reason, reason.to_owned());
    }
    world.send(who, response);
    world.run_for(secs(1));
}

/// Whether calls try each of Teams' names first.
fn up(world: &World) -> Vec<bool> {
    world.core().targets(world.now()).iter().take(3).map(|target| target.up).collect()
}

/// TDR-OPT-001, TDR-OPT-003, TDR-OPT-004, TDR-OPT-005, TDR-OPT-006, TDR-OPT-007.
#[test]
fn our_options_are_what_teams_knows_us_by() {
    for transfer in [TransferPolicy::Refer, TransferPolicy::None] {
        let mut world = World::with(1, |plan| {
            plan.trunks[0].options_interval = Some(secs(60));
            plan.tenants.iter_mut().for_each(|tenant| tenant.transfer = transfer);
        });
        world.without_laws(); // Probes go on for ever, so nothing comes to rest.
        let request = asked(&mut world, Who::Sip2);
        assert!(world.elapsed() < secs(1), "nobody has to ask us first");
        let text = |name| String::from_utf8_lossy(request.headers.get(name).unwrap()).into_owned();
        assert_eq!(request.uri, "sip:sip2.pstnhub.microsoft.com:5061;transport=tls");
        assert_eq!(text(Name::Contact), format!("<sip:{NODE}:5061;transport=tls>"));
        let from = format!("<sip:{NODE}:5061>;tag=");
        assert!(text(Name::From).starts_with(&from), "{}", text(Name::From));
        assert_eq!(text(Name::To), "<sip:sip2.pstnhub.microsoft.com:5061>");
        let via = format!("SIP/2.0/TLS {NODE}:5061;branch=");
        assert!(text(Name::Via).starts_with(&via), "{}", text(Name::Via));
        let refer = transfer == TransferPolicy::Refer;
        assert_eq!(request.headers.has_token(Name::Allow, "REFER"), refer);
        assert!(request.headers.has_token(Name::Allow, "NOTIFY"));
        assert_eq!(request.headers.get(Name::RecordRoute), None);
        assert!(request.body().is_empty());
    }
}

/// TDR-OPT-002.
#[test]
fn each_of_teams_names_is_asked_once_a_minute_and_not_in_step() {
    let mut world = probing();
    world.emulate(callflow::teams_script(), callflow::carrier_script());
    world.run_for(secs(1));
    let names = [Who::Sip, Who::Sip2, Who::Sip3];
    assert_eq!(names.map(|who| world.sent_to(who, "OPTIONS")), [1; 3]);
    let mut rounds = Vec::new();
    for round in 1..=30 {
        let before = world.elapsed();
        let due =
            |world: &mut World| names.iter().all(|who| world.sent_to(*who, "OPTIONS") > round);
        assert!(world.run_until(secs(100), due));
        rounds.push((world.elapsed() - before).as_millis());
    }
    rounds.sort_unstable();
    rounds.dedup();
    assert!(rounds.len() > 20, "a tenth more or less by chance: {rounds:?}");
    for who in names {
        let asked = world.sent_to(who, "OPTIONS");
        assert!((28..=36).contains(&asked), "{who:?} was asked {asked} times in half an hour");
    }
}

/// The far side's 200 as it really is: upper case, and no tag in its To. TDR-OPT-008.
#[test]
fn teams_200_without_a_tag_is_an_answer() {
    let mut world = probing();
    for who in [Who::Sip, Who::Sip2, Who::Sip3] {
        let request = asked(&mut world, who);
        let copied =
            |name| String::from_utf8_lossy(request.headers.get(name).unwrap()).into_owned();
        let text = format!(
            "SIP/2.0 200 OK\r\nFROM: {}\r\nTO: {}\r\nCSEQ: {}\r\nCALL-ID: {}\r\nVIA: {};rport\r\n\
             CONTENT-LENGTH: 0\r\nALLOW: INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY\r\n\
             SERVER: Microsoft.PSTNHub.SIPProxy v.2020.7.31.1 i.USWE2.3\r\n\r\n",
            copied(Name::From),
            copied(Name::To),
            copied(Name::CSeq),
            copied(Name::CallId),
            copied(Name::Via),
        );
        world.send(who, Message::parse(text.into()).unwrap());
    }
    world.run_for(secs(1));
    let answered: Vec<_> =
        world.core().targets(world.now()).iter().take(3).map(|it| it.answered_ago).collect();
    assert!(answered.iter().all(Option::is_some), "{answered:?}");
    assert_eq!(up(&world), [true; 3]);
}

/// TDR-FO-005, TDR-OPT-009.
#[test]
fn a_name_that_says_503_to_options_is_down_after_two_and_back_after_one_200() {
    let mut world = probing();
    for who in [Who::Sip2, Who::Sip3] {
        let request = asked(&mut world, who);
        answers(&mut world, who, &request, 200, None);
    }
    let first = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &first, 503, None);
    assert_eq!(up(&world), [true; 3], "one may be chance");
    let second = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &second, 503, None);
    assert_eq!(up(&world), [false, true, true]);
    // Calls pass it over.
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    // It goes on being asked, and one good answer is enough.
    world.run_until(secs(70), |world| world.sent_to(Who::Sip, "OPTIONS") > 2);
    let third = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &third, 200, None);
    assert!(up(&world)[0]);
}

/// TDR-OPT-009.
#[test]
fn teams_that_refuses_our_options_is_told_to_the_operator_in_its_own_words() {
    let mut world = probing();
    let why = "Q.850;cause=63;text=\"23b8c1e9;Record-Route and Contact headers are missing\"";
    let request = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &request, 403, Some(why));
    let last = |world: &World| world.core().targets(world.now())[0].last.clone();
    assert_eq!(last(&world), format!("403 Forbidden: {why}"));
    let request = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &request, 403, Some(why));
    assert!(!up(&world)[0], "no 2xx, no calls");
    world.run_until(secs(70), |world| world.sent_to(Who::Sip, "OPTIONS") > 2);
    let request = asked(&mut world, Who::Sip);
    answers(&mut world, Who::Sip, &request, 200, None);
    assert_eq!((last(&world).as_str(), up(&world)[0]), ("200 OK", true));
}

/// TDR-OPT-011, TDR-CON-001.
#[test]
fn options_and_calls_share_one_connection_which_stays() {
    let mut world = probing();
    world.emulate(callflow::teams_script(), callflow::carrier_script());
    world.run_for(secs(1));
    for _ in 0..3 {
        world.run_for(secs(70));
        let call = world.carrier_dials(Who::Colt, callflow::plan::PSTN, ANNA);
        world.run_for(secs(5));
        world.act(Who::Colt, |agent, now| agent.hang_up(now, call));
        world.run_for(secs(1));
    }
    assert!(world.sent_to(Who::Sip, "OPTIONS") > 3);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 3);
    assert_eq!(world.connections(Who::Sip), 1);
}

/// TDR-OPT-020.
#[test]
fn options_to_a_name_of_ours_is_200_with_that_name() {
    for name in [NODE, CONTOSO] {
        let mut world = World::new(1);
        world.send(Who::Sip, options(Who::Sip, &format!("sip:{name}:5061;transport=tls")));
        let answer = world.expect(Who::Sip, "200 OPTIONS");
        let contact = uri_of(answer.headers().get(Name::Contact).expect("a Contact"));
        assert_eq!(contact, format!("sip:{name}:5061;transport=tls"));
        assert!(answer.headers().has_token(Name::Allow, "NOTIFY"));
        assert!(answer.headers().has_token(Name::Supported, "replaces"));
        assert_eq!(answer.headers().get(Name::Accept), Some(&b"application/sdp"[..]));
        assert!(answer.body().is_empty());
    }
}

/// TDR-OPT-023.
#[test]
fn options_to_an_unknown_fqdn_is_404() {
    let mut world = World::new(1);
    world.send(Who::Sip, options(Who::Sip, "sip:nobody.example.net:5061"));
    world.expect(Who::Sip, "404 OPTIONS");
    let counted = |event: &&Event| matches!(event, Event::Discarded { reason: "unknown_fqdn" });
    assert_eq!(world.events.iter().filter(counted).count(), 1);
    let named = |event: &Event| matches!(event, Event::UnknownFqdn { fqdn, .. } if fqdn == "nobody.example.net");
    assert!(world.events.iter().any(named));
}

#[test]
fn options_of_a_carrier_is_200() {
    let mut world = World::new(1);
    world.send(Who::Colt, options(Who::Colt, "sip:203.0.113.10"));
    world.expect(Who::Colt, "200 OPTIONS");
}

#[test]
fn each_teams_target_is_asked_under_the_nodes_name() {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    for who in [Who::Sip, Who::Sip2, Who::Sip3] {
        let probe = world.expect(who, "OPTIONS");
        let contact = uri_of(probe.headers().get(Name::Contact).expect("a Contact"));
        assert_eq!(contact, format!("sip:{NODE}:5061;transport=tls"));
    }
}

#[test]
fn a_target_that_comes_and_goes_is_not_asked_more_often_for_it() {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world.emulate(callflow::teams_script(), callflow::carrier_script());
    world.run_for(secs(1));
    for _ in 0..5 {
        world.refuse_connections(Who::Sip2);
        world.run_for(secs(70));
        world.accept_connections(Who::Sip2);
        world.run_for(secs(70));
    }
    let before = world.sent_to(Who::Sip2, "OPTIONS");
    world.run_for(secs(600));
    // Once a minute, give or take a tenth.
    let asked = world.sent_to(Who::Sip2, "OPTIONS") - before;
    assert!((8..=12).contains(&asked), "asked {asked} times in ten minutes");
}

/// TDR-OPT-020
#[test]
fn options_tells_each_kind_of_trunk_which_extensions_it_may_use() {
    for (who, tags) in [(Who::Sip, "timer, replaces"), (Who::Colt, "timer, replaces, 100rel")] {
        let mut world = World::new(1);
        let host = if who == Who::Sip { NODE.to_owned() } else { who.ours().ip().to_string() };
        world.send(who, options(who, &format!("sip:{host}")));
        let answer = world.expect(who, "200 OPTIONS");
        assert_eq!(answer.headers().get(Name::Supported), Some(tags.as_bytes()), "RFC 3261, 11.2");
    }
}
