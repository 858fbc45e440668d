//! What belongs together (RFC 3261, 17.1.3, 17.2.3 and 8.2.2.2), and what is turned away.

use super::network::{Network, Side, Wire, request};
use super::{ack, answer, invite, ms, text};
use crate::message::{Message, Name, Response};
use crate::transaction::{Event, RETRY_AFTER_S};

#[test]
fn request_that_came_by_two_ways_is_merged() {
    let mut net = Network::new(Wire::Udp);
    net.deliver_to_bob(&invite());
    let (server, first) = net.bobs_request();
    let other_way = text("INVITE", "z9hG4bKother");
    net.deliver_to_bob(&other_way);
    net.deliver_to_bob(&other_way);
    assert_eq!(net.sent("482 INVITE"), 2, "the same for its repeat");
    let refused = Response::to(&request(&other_way), 482, None);
    assert_eq!(refused.headers.top_via().branch(), Some(&b"z9hG4bKother"[..]));
    assert!(net.events(Side::Bob).is_empty());
    assert_eq!((net.bob.len(), net.bob.counters().merged), (1, 2));
    net.respond(server, answer(&first, 486));
    net.finish();
}

#[test]
fn refused_caller_that_comes_back_at_once_is_not_merged() {
    for (method, status) in [("INVITE", 503), ("OPTIONS", 404)] {
        let mut net = Network::new(Wire::Udp);
        net.deliver_to_bob(&text(method, "z9hG4bKfirst"));
        let (server, first) = net.bobs_request();
        net.respond(server, answer(&first, status));
        net.deliver_to_bob(&text(method, "z9hG4bKsecond"));
        let (server, second) = net.bobs_request();
        assert_eq!(net.bob.counters().merged, 0);
        net.respond(server, answer(&second, 486));
        net.finish();
    }
}

#[test]
fn bye_gets_through_when_the_layer_is_full() {
    let mut net = Network::with_limit(Wire::Udp, 1);
    net.deliver_to_bob(&text("OPTIONS", "z9hG4bKone"));
    let in_dialog =
        |branch| text("BYE", branch).replace("example>\r\nCall", "example>;tag=b1\r\nCall");
    net.deliver_to_bob(&in_dialog("z9hG4bKtwo"));
    assert_eq!(net.events(Side::Bob).len(), 2);
    net.deliver_to_bob(&in_dialog("z9hG4bKthree"));
    assert_eq!(net.events(Side::Bob).len(), 0, "the reserve has an end");
    assert_eq!((net.bob.len(), net.sent("503 BYE")), (2, 1));
    net.finish();
}

#[test]
fn requests_within_a_dialog_are_not_merged() {
    let mut net = Network::new(Wire::Udp);
    for branch in ["z9hG4bKone", "z9hG4bKtwo"] {
        let info = text("INFO", branch);
        net.deliver_to_bob(&info.replace("b.example>\r\nCall", "b.example>;tag=b1\r\nCall"));
    }
    assert_eq!(net.events(Side::Bob).len(), 2);
    net.finish();
}

#[test]
fn ack_of_a_stateless_refusal_is_nobodys() {
    let mut net = Network::with_limit(Wire::Udp, 0);
    let id = net.request(&invite());
    net.run_for(ms(1_000));
    let events = net.events(Side::Alice);
    let [Event::Response { client, response, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*client, response.status), (id, 503));
    let retry_after = RETRY_AFTER_S.to_string();
    assert_eq!(response.headers.get(Name::RetryAfter), Some(retry_after.as_bytes()));
    assert_eq!(net.sent("ACK"), 1);
    assert!(net.events(Side::Bob).is_empty(), "neither INVITE nor ACK");
    assert_eq!((net.bob.len(), net.bob.counters().overload), (0, 1));
    net.finish();
}

#[test]
fn ack_is_never_refused() {
    let mut net = Network::with_limit(Wire::Udp, 0);
    net.deliver_to_bob(&ack("b9"));
    assert!(matches!(net.events(Side::Bob)[..], [Event::Ack { server: None, .. }]));
    assert_eq!(net.sent("503 ACK"), 0);
    net.finish();
}

#[test]
fn ack_of_another_fork_does_not_stop_our_ok() {
    let mut net = Network::new(Wire::Udp);
    net.deliver_to_bob(&invite());
    let (server, first) = net.bobs_request();
    net.respond(server, answer(&first, 200));
    net.deliver_to_bob(&ack("b2"));
    assert!(matches!(net.events(Side::Bob)[..], [Event::Ack { server: None, .. }]));
    net.run_for(ms(600));
    assert_eq!(net.sent("200 INVITE"), 2);
    net.finish();
}

#[test]
fn response_to_nobody_is_counted_and_dropped() {
    let mut net = Network::new(Wire::Udp);
    net.request(&text("OPTIONS", "z9hG4bKoptions"));
    let ours = request(&text("OPTIONS", "z9hG4bKoptions"));
    let other_branch = request(&text("OPTIONS", "z9hG4bKother"));
    let other_method = request(&text("INFO", "z9hG4bKoptions"));
    net.deliver_to_alice(&answer(&other_branch, 200));
    net.deliver_to_alice(&answer(&other_method, 200));
    let mut for_a_proxy = answer(&ours, 200);
    for_a_proxy.headers.push(Name::Via, "SIP/2.0/UDP c.example;branch=z9hG4bKproxy");
    net.deliver_to_alice(&for_a_proxy);
    assert!(net.events(Side::Alice).is_empty());
    assert_eq!(net.alice.counters().unmatched_responses, 3);
    net.deliver_to_alice(&answer(&ours, 200));
    assert_eq!(net.alices_statuses(), [200]);
    net.finish();
}

#[test]
fn same_branch_of_another_host_is_another_request() {
    let mut net = Network::new(Wire::Udp);
    let info = text("INFO", "z9hG4bKone");
    net.deliver_to_bob(&info);
    net.deliver_to_bob(&info.replace("UDP a.example:5060", "UDP A.EXAMPLE:5060"));
    assert_eq!(net.events(Side::Bob).len(), 1, "host names have no case");
    assert_eq!(net.bob.counters().merged, 0);
    net.deliver_to_bob(
        &info
            .replace("UDP a.example:5060", "UDP a.example:5062")
            .replace("c1@a.example", "c2@a.example"),
    );
    assert_eq!(net.events(Side::Bob).len(), 1);
    net.finish();
}

#[test]
fn peer_without_branches_is_matched_by_the_old_rules() {
    let mut net = Network::new(Wire::Udp);
    let old_invite = text("INVITE", "1").replace(";branch=1", "");
    net.deliver_to_bob(&old_invite);
    net.deliver_to_bob(&old_invite);
    let (server, first) = net.bobs_request();
    assert_eq!(net.sent("100 INVITE"), 2);
    net.deliver_to_bob(&text("CANCEL", "1").replace(";branch=1", ""));
    assert!(
        matches!(net.events(Side::Bob)[..], [Event::Cancel { server: it, .. }] if it == server)
    );
    net.respond(server, answer(&first, 487));
    net.deliver_to_bob(&ack("b1").replace(";branch=z9hG4bKackb1", ""));
    net.run_for(ms(2_000));
    assert_eq!(net.sent("487 INVITE"), 1, "the ACK was known by its fields");
    assert!(net.events(Side::Bob).is_empty());
    net.finish();
}

#[test]
fn ack_with_the_branch_of_the_invite_still_ends_the_repeats_of_ok() {
    let mut net = Network::new(Wire::Udp);
    net.deliver_to_bob(&invite());
    let (server, first) = net.bobs_request();
    net.respond(server, answer(&first, 200));
    net.deliver_to_bob(&ack("b1").replace("z9hG4bKackb1", "z9hG4bKinvite"));
    assert!(
        matches!(net.events(Side::Bob)[..], [Event::Ack { server: Some(it), .. }] if it == server)
    );
    net.finish();
}

#[test]
fn deadlines_of_finished_requests_do_not_pile_up_behind_a_waiting_one() {
    let mut net = Network::new(Wire::Tls);
    net.lose(1, "OPTIONS");
    net.request(&text("OPTIONS", "z9hG4bKwaiting"));
    for nth in 0..1_000 {
        let info = text("INFO", &format!("z9hG4bK{nth}"));
        net.request(&info);
        net.deliver_to_alice(&answer(&request(&info), 200));
    }
    assert_eq!(net.alice.len(), 1);
    assert!(net.alice.deadlines.len() < 100);
    net.finish();
}

#[test]
fn trying_returns_the_timestamp() {
    let mut net = Network::new(Wire::Udp);
    let stamped = invite().replace("Contact:", "Timestamp: 54.5\r\nContact:");
    net.bob.receive(net.now, Wire::Udp, Message::parse(stamped.into()).unwrap());
    let octets = net.bob.poll_transmit().unwrap().bytes;
    assert!(String::from_utf8_lossy(&octets).contains("\r\nTimestamp: 54.5\r\n"));
}
