//! What is asked, when, and what becomes of the answers.

use super::*;

const PBX1: &str = "pbx1.carrier.example";
const PBX2: &str = "pbx2.carrier.example";

/// Two hosts of two priorities behind the usual SRV name over UDP.
fn two_hosts(zone: &mut Zone) {
    zone.has(
        Kind::Srv,
        "_sip._udp.carrier.example",
        60,
        &[srv(20, 0, 5062, PBX2), srv(10, 0, 5060, PBX1)],
    )
    .has(Kind::A, PBX1, 60, &[address("192.0.2.1")])
    .has(Kind::A, PBX2, 60, &[address("192.0.2.2")]);
}

#[test]
fn a_name_without_port_is_followed_through_naptr_and_srv() {
    let mut zone = Zone::new();
    zone.has(
        Kind::Naptr,
        "carrier.example",
        60,
        &[
            naptr(10, 10, "SIPS+D2T", "_sips._tcp.elsewhere.example"),
            naptr(20, 20, "SIP+D2U", "_sip._udp.late.example"),
            naptr(20, 10, "sip+d2u", "_sip._udp.edge.example"),
        ],
    )
    .has(Kind::Srv, "_sip._udp.edge.example", 60, &[srv(1, 0, 5080, PBX1)])
    .has(Kind::A, PBX1, 60, &[address("192.0.2.1"), address("192.0.2.9")]);
    zone.follow(&[by_service(Transport::Udp)]);
    assert_eq!(zone.endpoints(), ["192.0.2.1:5080", "192.0.2.9:5080"]);
    assert_eq!(
        zone.asked,
        ["NAPTR carrier.example", "SRV _sip._udp.edge.example", "A pbx1.carrier.example"]
    );
}

#[test]
fn naptr_does_not_lead_to_another_transport_than_the_listeners() {
    let mut zone = Zone::new();
    zone.has(
        Kind::Naptr,
        "carrier.example",
        60,
        &[naptr(1, 1, "SIP+D2U", "_sip._udp.carrier.example")],
    );
    two_hosts(&mut zone);
    zone.has(Kind::Srv, "_sips._tcp.carrier.example", 60, &[srv(1, 0, 5061, PBX2)]);
    zone.follow(&[by_service(Transport::Tls)]);
    assert_eq!(zone.endpoints(), ["192.0.2.2:5061"]);
}

#[test]
fn naptr_that_cannot_be_asked_for_is_as_good_as_none() {
    let mut zone = Zone::new();
    let refused = Answer::Failed { why: "NOTIMP".into() };
    two_hosts(&mut zone);
    zone.answers(Kind::Naptr, "carrier.example", refused);
    zone.follow(&[by_service(Transport::Udp)]);
    assert_eq!(zone.endpoints(), ["192.0.2.1:5060", "192.0.2.2:5062"]);
    assert_eq!(zone.outputs.len(), 1, "nobody is alarmed: {:?}", zone.outputs);
}

#[test]
fn a_name_without_srv_is_a_host_at_the_default_port() {
    for (transport, port) in [(Transport::Udp, 5060), (Transport::Tls, 5061)] {
        let mut zone = Zone::new();
        zone.has(Kind::A, "carrier.example", 60, &[address("192.0.2.7")]);
        zone.follow(&[by_service(transport)]);
        assert_eq!(zone.endpoints(), [format!("192.0.2.7:{port}")]);
    }
}

/// TDR-DNS-003.
#[test]
fn a_name_with_a_port_is_asked_for_by_address_alone() {
    let mut zone = Zone::new();
    let names = ["sip", "sip2", "sip3"].map(|it| format!("{it}.pstnhub.microsoft.com"));
    for (index, name) in names.iter().enumerate() {
        zone.has(Kind::A, name, 60, &[address(&format!("52.114.0.{index}"))]);
    }
    let wanted: Vec<Sought> = names.iter().map(|name| by_port(name)).collect();
    zone.follow(&wanted);
    let mut asked = zone.took_asked();
    asked.sort();
    assert_eq!(asked, names.map(|name| format!("A {name}")));
    assert_eq!(zone.outputs.len(), 3);
}

#[test]
fn a_listener_of_ipv6_is_given_no_ipv4() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.has(Kind::Aaaa, PBX2, 60, &[address("2001:db8::2")]);
    let sought = Sought { family: Family::V6, ..by_service(Transport::Udp) };
    zone.follow(&[sought]);
    assert_eq!(zone.endpoints(), ["[2001:db8::2]:5062"]);
}

#[test]
fn one_host_of_srv_that_cannot_be_found_does_not_take_the_other_away() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.answers(Kind::A, PBX1, Answer::Failed { why: "SERVFAIL".into() });
    zone.follow(&[by_service(Transport::Udp)]);
    assert_eq!(zone.endpoints(), ["192.0.2.2:5062"]);
    let told = zone.took_outputs();
    assert!(matches!(&told[1], Output::Failing { why, stale: true, .. } if why.contains(PBX1)));
    zone.has(Kind::A, PBX1, 60, &[address("192.0.2.1")]);
    zone.run_for(secs(5));
    assert_eq!(zone.endpoints(), ["192.0.2.1:5060", "192.0.2.2:5062"]);
    assert!(matches!(zone.outputs.last(), Some(Output::Recovered { .. })));
}

#[test]
fn srv_that_says_not_here_is_believed() {
    let mut zone = Zone::new();
    zone.has(Kind::Srv, "_sip._udp.carrier.example", 60, &[srv(0, 0, 0, "")]).has(
        Kind::A,
        "carrier.example",
        60,
        &[address("192.0.2.80")],
    );
    zone.follow(&[by_service(Transport::Udp)]);
    assert!(zone.endpoints().is_empty());
    assert!(!zone.asked.contains(&"A carrier.example".to_owned()));
}

#[test]
fn srv_that_cannot_be_asked_for_does_not_lead_to_the_web_server_of_that_name() {
    let mut zone = Zone::new();
    zone.answers(Kind::Srv, "_sip._udp.carrier.example", Answer::Failed { why: "SERVFAIL".into() })
        .has(Kind::A, "carrier.example", 60, &[address("192.0.2.80")]);
    zone.follow(&[by_service(Transport::Udp)]);
    assert!(matches!(zone.outputs[..], [Output::Failing { stale: false, .. }]));
    two_hosts(&mut zone);
    zone.run_for(secs(3));
    assert_eq!(zone.endpoints().len(), 2);
}

/// TDR-DNS-004.
#[test]
fn dns_fails_and_the_last_good_endpoints_stay_for_as_long_as_it_takes() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.follow(&[by_service(Transport::Udp)]);
    zone.took_outputs();
    zone.fails();
    zone.run_for(secs(24 * 3600));
    // Told once, and no other place ever.
    let told = zone.took_outputs();
    assert!(matches!(told[..], [Output::Failing { stale: true, .. }]), "{told:?}");
    let age = &zone.directory.ages(zone.now)[0];
    assert!(age.failing && age.failures > 1_000, "{age:?}");
    assert!(age.since.unwrap() > secs(24 * 3600 - 120), "{age:?}");
    two_hosts(&mut zone);
    zone.run_for(secs(61));
    assert!(matches!(zone.took_outputs()[..], [Output::Recovered { .. }]));
    let age = &zone.directory.ages(zone.now)[0];
    assert!(!age.failing && age.since.unwrap() < secs(62), "{age:?}");
}

#[test]
fn a_name_that_is_gone_from_dns_keeps_its_last_good_endpoints() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.follow(&[by_service(Transport::Udp)]);
    zone.took_outputs();
    zone.records.clear();
    zone.run_for(secs(3600));
    assert!(matches!(zone.outputs[..], [Output::Failing { stale: true, .. }]));
}

#[test]
fn an_address_that_disappears_is_no_endpoint_any_more() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.follow(&[by_service(Transport::Udp)]);
    zone.records.remove(&(Kind::A, PBX1.to_owned()));
    zone.run_for(secs(61));
    assert_eq!(zone.endpoints(), ["192.0.2.2:5062"]);
}

/// TDR-DNS-003.
#[test]
fn look_ups_are_repeated_with_the_ttl_but_never_too_often_or_too_late() {
    for (ttl, after) in [(0, 30), (120, 120), (86_400, 900)] {
        let mut zone = Zone::new();
        let name = "sip.pstnhub.microsoft.com";
        zone.has(Kind::A, name, ttl, &[address("52.114.0.1")]);
        zone.follow(&[by_port(name)]);
        zone.took_asked();
        zone.run_for(secs(after) - Duration::from_millis(1));
        assert!(zone.asked.is_empty(), "ttl {ttl}");
        zone.run_for(Duration::from_millis(1));
        assert_eq!(zone.asked.len(), 1, "ttl {ttl}");
        assert_eq!(zone.outputs.len(), 1, "what has not changed is not told again");
    }
}

#[test]
fn a_failing_look_up_is_repeated_ever_less_often() {
    let mut zone = Zone::new();
    let name = "sip.pstnhub.microsoft.com";
    zone.answers(Kind::A, name, Answer::Failed { why: "timed out".into() });
    zone.follow(&[by_port(name)]);
    let mut after = Vec::new();
    let began = zone.now;
    for _ in 0..7 {
        let due = zone.directory.poll_timeout().unwrap();
        zone.run_for(due - zone.now);
        after.push((zone.now - began).as_secs());
    }
    assert_eq!(after, [2, 6, 14, 30, 62, 122, 182]);
}

#[test]
fn a_name_that_leaves_the_plan_is_asked_for_no_more_and_one_that_stays_is_not_asked_anew() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.has(Kind::A, "sip.example", 60, &[address("192.0.2.3")]);
    zone.follow(&[by_service(Transport::Udp), by_port("sip.example")]);
    zone.took_asked();
    zone.follow(&[by_port("sip.example")]);
    assert!(zone.took_asked().is_empty());
    zone.run_for(secs(60));
    assert_eq!(zone.took_asked(), ["A sip.example"]);
    zone.follow(&[]);
    assert_eq!(zone.directory.poll_timeout(), None);
    assert!(zone.directory.ages(zone.now).is_empty());
}

#[test]
fn an_answer_that_comes_after_the_name_has_left_changes_nothing() {
    let mut directory = Directory::new();
    let now = beginning();
    directory.follow(now, [by_port("sip.example")], BTreeMap::new());
    let Some(Output::Ask(question)) = directory.poll_output() else { panic!("nothing is asked") };
    directory.follow(now, [], BTreeMap::new());
    let answer = Answer::Records { records: vec![address("192.0.2.3")], ttl: secs(60) };
    directory.answered(now, &question, answer);
    assert_eq!(directory.poll_output(), None);
    assert_eq!(directory.poll_timeout(), None);
}

#[test]
fn a_thousand_names_are_asked_for_a_few_at_a_time() {
    let mut directory = Directory::new();
    let now = beginning();
    let names = (0..1_000).map(|index| by_port(&format!("sip{index}.example")));
    directory.follow(now, names, BTreeMap::new());
    let (mut open, mut most, mut answered) = (Vec::new(), 0, 0);
    loop {
        while let Some(output) = directory.poll_output() {
            if let Output::Ask(question) = output {
                open.push(question);
            }
        }
        most = most.max(open.len());
        let Some(question) = open.pop() else { break };
        let records = vec![address("192.0.2.3")];
        directory.answered(now, &question, Answer::Records { records, ttl: secs(60) });
        answered += 1;
    }
    assert_eq!((answered, most), (1_000, 16));
}

#[test]
fn hosts_that_the_operator_has_fixed_are_not_asked_for() {
    let mut zone = Zone::new();
    two_hosts(&mut zone);
    zone.follow_with(&[by_service(Transport::Udp)], &[(PBX1, "198.51.100.1")]);
    assert_eq!(zone.endpoints(), ["198.51.100.1:5060", "192.0.2.2:5062"]);
    assert!(!zone.asked.contains(&format!("A {PBX1}")));
}

#[test]
fn a_zone_with_thousands_of_records_costs_a_few_look_ups() {
    let mut zone = Zone::new();
    let records: Vec<Record> =
        (0..5_000).map(|it| srv(5_000 - it, 0, 5060, &format!("h{it}.example"))).collect();
    zone.has(Kind::Srv, "_sip._udp.carrier.example", 60, &records);
    zone.has(Kind::A, "h4999.example", 60, &vec![address("192.0.2.1"); 5_000]);
    zone.follow(&[by_service(Transport::Udp)]);
    assert_eq!(zone.asked.len(), 2 + 32);
    assert_eq!(zone.endpoints().len(), 16);
}
