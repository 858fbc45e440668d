//! CANCEL (RFC 3261, 9): held back, crossing, stray.

use super::network::{Network, Side, Wire};
use super::{ack, answer, invite, ms, text};
use crate::message::{Message, Name};
use crate::transaction::{Event, GIVE_UP, ServerId};

/// The INVITE that Bob is asked to end.
fn cancelled(net: &mut Network) -> Option<ServerId> {
    match net.events(Side::Bob).as_slice() {
        [] => None,
        [Event::Cancel { server, .. }] => Some(*server),
        other => panic!("not one CANCEL: {other:?}"),
    }
}

#[test]
fn cancel_before_100_waits_for_a_provisional_response() {
    let mut net = Network::new(Wire::Udp);
    net.lose(1, "100 INVITE");
    let id = net.request(&invite());
    net.cancel(id, None);
    net.run_for(ms(499));
    assert_eq!(net.sent("CANCEL"), 0);
    let (server, request) = net.bobs_request();
    net.run_for(ms(100));
    assert_eq!(net.sent_at_ms("CANCEL"), [520], "when the repeated INVITE brings 100");
    assert_eq!(cancelled(&mut net), Some(server));
    net.respond(server, answer(&request, 487));
    net.run_for(ms(100));
    assert_eq!(net.alices_statuses(), [100, 487], "the 200 to CANCEL is nobody's business");
    assert_eq!(net.sent("ACK"), 1);
    net.finish();
}

#[test]
fn cancel_of_an_invite_that_nobody_hears_is_never_sent() {
    let mut net = Network::new(Wire::Udp);
    net.lose(100, "INVITE");
    let id = net.request(&invite());
    net.cancel(id, None);
    net.run_for(GIVE_UP);
    assert!(matches!(net.events(Side::Alice)[..], [Event::Timeout { client }] if client == id));
    assert_eq!(net.sent("CANCEL"), 0);
    net.finish();
}

#[test]
fn cancel_while_ringing_ends_in_487_and_its_ack() {
    for wire in [Wire::Udp, Wire::Tls] {
        let mut net = Network::new(wire);
        let id = net.request(&invite());
        net.run_for(ms(100));
        let (server, request) = net.bobs_request();
        net.respond(server, answer(&request, 180));
        net.run_for(ms(1_000));
        net.cancel(id, None);
        net.cancel(id, None);
        net.run_for(ms(100));
        assert_eq!(cancelled(&mut net), Some(server));
        net.respond(server, answer(&request, 487));
        net.run_for(ms(100));
        assert_eq!(net.alices_statuses(), [100, 180, 487]);
        assert_eq!((net.sent("CANCEL"), net.sent("200 CANCEL"), net.sent("ACK")), (1, 1, 1));
        net.finish();
    }
}

#[test]
fn cancel_repeats_what_the_invite_said() {
    let mut net = Network::new(Wire::Udp);
    let id = net.request(&invite());
    net.run_for(ms(100));
    net.alice.cancel(net.now, id, Some("Q.850;cause=16".into()));
    let sent = net.alice.poll_transmit().unwrap();
    let expected = "CANCEL sip:bob@b.example SIP/2.0\r\n\
                    Via: SIP/2.0/UDP a.example:5060;branch=z9hG4bKinvite\r\n\
                    Route: <sip:proxy.example;lr>\r\n\
                    Max-Forwards: 70\r\n\
                    From: <sip:alice@a.example>;tag=a1\r\n\
                    To: <sip:bob@b.example>\r\n\
                    Call-ID: c1@a.example\r\n\
                    CSeq: 7 CANCEL\r\n\
                    Reason: Q.850;cause=16\r\n\
                    Content-Length: 0\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&sent.bytes), expected);
}

#[test]
fn answer_to_cancel_has_the_tag_of_the_call() {
    let mut net = Network::new(Wire::Udp);
    net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 180));
    net.run_for(ms(100));
    let cancel = Message::parse(text("CANCEL", "z9hG4bKinvite").into()).unwrap();
    net.bob.receive(net.now, Wire::Udp, cancel);
    let Message::Response(response) =
        Message::parse(net.bob.poll_transmit().unwrap().bytes).unwrap()
    else {
        panic!("not a response");
    };
    assert_eq!(response.headers.to().tag(), Some(&b"b1"[..]));
    net.respond(server, answer(&request, 487));
    net.finish();
}

#[test]
fn cancel_that_crosses_200_changes_nothing() {
    let mut net = Network::new(Wire::Udp);
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.cancel(id, None);
    net.respond(server, answer(&request, 200));
    net.run_for(ms(100));
    assert_eq!(cancelled(&mut net), None);
    assert_eq!(net.alices_statuses(), [100, 200], "the user acknowledges it and sends BYE");
    assert_eq!(net.sent("200 CANCEL"), 1);
    net.acknowledge(id, &ack("b1"));
    net.finish();
}

#[test]
fn cancel_after_the_answer_is_not_sent() {
    let mut net = Network::new(Wire::Udp);
    let id = net.request(&invite());
    net.run_for(ms(100));
    net.bob_answers(200);
    net.run_for(ms(100));
    net.cancel(id, None);
    assert_eq!(net.sent("CANCEL"), 0);
    net.acknowledge(id, &ack("b1"));
    net.finish();
}

#[test]
fn cancelled_invite_that_never_ends_times_out() {
    let mut net = Network::new(Wire::Udp);
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.cancel(id, None);
    net.run_for(GIVE_UP - ms(1));
    assert_eq!(net.alices_statuses(), [100]);
    net.run_for(ms(1));
    assert!(matches!(net.events(Side::Alice)[..], [Event::Timeout { client }] if client == id));
    net.respond(server, answer(&request, 487));
    net.run_for(ms(100));
    assert!(net.alice.counters().unmatched_responses >= 1);
    net.finish();
}

#[test]
fn lost_cancel_is_repeated_and_told_once() {
    let mut net = Network::new(Wire::Udp);
    net.lose(1, "CANCEL");
    net.lose(1, "200 CANCEL");
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.cancel(id, None);
    net.run_for(ms(5_000));
    assert_eq!(net.sent_at_ms("CANCEL"), [100, 600, 1600]);
    assert_eq!(cancelled(&mut net), Some(server));
    net.respond(server, answer(&request, 487));
    net.finish();
}

#[test]
fn stray_cancel_is_answered_481_and_leaves_nothing() {
    let mut net = Network::new(Wire::Udp);
    net.deliver_to_bob(&text("CANCEL", "z9hG4bKnone"));
    assert_eq!(net.sent("481 CANCEL"), 1);
    assert!(net.bob.is_empty());
    assert!(net.events(Side::Bob).is_empty());
    net.finish();
}

#[test]
fn cancel_gets_through_when_the_layer_is_full() {
    let mut net = Network::with_limit(Wire::Udp, 1);
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.cancel(id, None);
    net.run_for(ms(100));
    assert_eq!(cancelled(&mut net), Some(server));
    let mut refusal = answer(&request, 487);
    refusal.headers.push(Name::Reason, "SIP;cause=487");
    net.respond(server, refusal);
    net.finish();
}
