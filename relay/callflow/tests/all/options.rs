//! OPTIONS in both directions.

use callflow::plan::{CONTOSO, NODE};
use callflow::script::uri_of;
use callflow::{Who, World, secs};
use sip_core::{Method, Name, Request};

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

/// TDR-OPT-020
#[test]
fn options_to_a_name_of_ours_is_200_with_that_name() {
    for name in [NODE, CONTOSO] {
        let mut world = World::new(1);
        world.send(Who::Sip, options(Who::Sip, &format!("sip:{name}:5061;transport=tls")));
        let answer = world.expect(Who::Sip, "200 OPTIONS");
        let contact = uri_of(answer.headers().get(Name::Contact).expect("a Contact"));
        assert_eq!(contact, format!("sip:{name}:5061;transport=tls"));
    }
}

/// TDR-OPT-023
#[test]
fn options_to_an_unknown_fqdn_is_404() {
    let mut world = World::new(1);
    world.send(Who::Sip, options(Who::Sip, "sip:nobody.example.net:5061"));
    world.expect(Who::Sip, "404 OPTIONS");
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
