//! INVITE: losses, answers, ACKs, forks.

use super::network::{Fate, Network, Side, Wire};
use super::{ack, answer, invite, ms};
use crate::message::Response;
use crate::transaction::{Event, GIVE_UP, MAX_FORKS};

/// The repeats of a final response of INVITE: T1, doubling up to T2, within 64*T1.
const FINAL_REPEATS_MS: [u128; 11] =
    [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];

#[test]
fn invite_lost_twice_is_repeated_until_it_arrives() {
    let mut net = Network::new(Wire::Udp);
    net.lose(2, "INVITE");
    net.request(&invite());
    net.run_for(ms(10_000));
    assert_eq!(net.sent_at_ms("INVITE"), [0, 500, 1500], "and 100 ends the repeats");
    let (server, request) = net.bobs_request();
    assert_eq!(net.alices_statuses(), [100]);
    net.respond(server, answer(&request, 603));
    net.run_for(ms(100));
    assert_eq!(net.alices_statuses(), [603]);
    net.finish();
}

#[test]
fn invite_that_nobody_hears_times_out_by_timer_b() {
    for (wire, repeats) in [(Wire::Udp, 7), (Wire::Tls, 1)] {
        let mut net = Network::new(wire);
        net.lose(100, "INVITE");
        let id = net.request(&invite());
        net.run_for(GIVE_UP - ms(1));
        assert!(net.events(Side::Alice).is_empty());
        net.run_for(ms(1));
        assert!(matches!(net.events(Side::Alice)[..], [Event::Timeout { client }] if client == id));
        assert_eq!(net.sent("INVITE"), repeats);
        net.finish();
    }
}

#[test]
fn ringing_for_an_hour_is_no_timeout() {
    let mut net = Network::new(Wire::Udp);
    net.request(&invite());
    net.run_for(ms(3_600_000));
    let (server, request) = net.bobs_request();
    assert_eq!(net.alices_statuses(), [100]);
    net.respond(server, answer(&request, 486));
    net.finish();
}

#[test]
fn ok_lost_twice_is_repeated_until_ack_comes() {
    let mut net = Network::new(Wire::Udp);
    net.lose(2, "200 INVITE");
    let id = net.request(&invite());
    net.run_for(ms(100));
    let server = net.bob_answers(200);
    net.run_for(ms(2_000));
    assert_eq!(net.sent_at_ms("200 INVITE"), [100, 600, 1600]);
    assert_eq!(net.alices_statuses(), [100, 200]);
    net.acknowledge(id, &ack("b1"));
    net.run_for(ms(30_000));
    assert!(
        matches!(net.events(Side::Bob)[..], [Event::Ack { server: Some(it), .. }] if it == server)
    );
    assert_eq!(net.sent("200 INVITE"), 3);
    net.finish();
}

#[test]
fn ack_lost_is_sent_again_for_the_repeated_ok() {
    let mut net = Network::new(Wire::Udp);
    net.lose(2, "ACK");
    let id = net.request(&invite());
    net.run_for(ms(100));
    net.bob_answers(200);
    net.run_for(ms(50));
    net.acknowledge(id, &ack("b1"));
    net.run_for(ms(5_000));
    assert_eq!(net.alices_statuses(), [100, 200], "a repeat is not told");
    assert_eq!(net.sent("ACK"), 3);
    assert_eq!(net.events(Side::Bob).len(), 1);
    assert_eq!(net.alice.counters().retransmissions_received, 2);
    net.finish();
}

#[test]
fn ack_that_crosses_a_repeated_ok_is_told_once() {
    let mut net = Network::new(Wire::Udp);
    net.fate(1, "200 INVITE", Fate::Twice);
    net.fate(1, "ACK", Fate::Twice);
    let id = net.request(&invite());
    net.run_for(ms(100));
    net.bob_answers(200);
    net.run_for(ms(50));
    net.acknowledge(id, &ack("b1"));
    net.run_for(ms(5_000));
    assert_eq!(net.events(Side::Bob).len(), 1);
    assert_eq!(net.alices_statuses(), [100, 200]);
    net.finish();
}

#[test]
fn ack_that_never_comes_is_missed_after_64_t1_on_any_transport() {
    for wire in [Wire::Udp, Wire::Tls] {
        let mut net = Network::new(wire);
        net.request(&invite());
        net.run_for(ms(10));
        let server = net.bob_answers(200);
        net.run_for(GIVE_UP);
        let repeats: Vec<_> = net.sent_at_ms("200 INVITE").iter().map(|at| at - 10).collect();
        assert_eq!(repeats, FINAL_REPEATS_MS);
        assert!(
            matches!(net.events(Side::Bob)[..], [Event::AckMissing { server: it }] if it == server)
        );
        net.finish();
    }
}

#[test]
fn failure_lost_is_repeated_and_its_ack_too() {
    let mut net = Network::new(Wire::Udp);
    net.lose(1, "486 INVITE");
    net.lose(1, "ACK");
    net.request(&invite());
    net.run_for(ms(100));
    net.bob_answers(486);
    net.run_for(ms(10_000));
    assert_eq!(net.sent_at_ms("486 INVITE"), [100, 600, 1600]);
    assert_eq!(net.sent("ACK"), 2);
    assert_eq!(net.alices_statuses(), [100, 486]);
    assert!(net.events(Side::Bob).is_empty(), "the ACK for a failure ends in the transaction");
    net.finish();
}

#[test]
fn failure_that_is_never_acknowledged_ends_by_timer_h() {
    let mut net = Network::new(Wire::Udp);
    net.lose(100, "ACK");
    net.request(&invite());
    net.run_for(ms(10));
    net.bob_answers(486);
    net.run_for(GIVE_UP - ms(1));
    assert_eq!(net.bob.len(), 1);
    net.run_for(ms(1));
    assert_eq!(net.bob.len(), 0);
    let repeats: Vec<_> = net.sent_at_ms("486 INVITE").iter().map(|at| at - 10).collect();
    assert_eq!(repeats, FINAL_REPEATS_MS);
    net.finish();
}

#[test]
fn reliable_hop_sends_once_and_forgets_at_once() {
    let mut net = Network::new(Wire::Tls);
    net.request(&invite());
    net.run_for(ms(10_000));
    net.bob_answers(486);
    net.run_for(ms(100));
    assert_eq!((net.sent("INVITE"), net.sent("486 INVITE"), net.sent("ACK")), (1, 1, 1));
    assert_eq!((net.alice.len(), net.bob.len()), (0, 0), "timers D, H and I are zero");
    assert_eq!((net.alice.poll_timeout(), net.bob.poll_timeout()), (None, None), "nor B is left");
    net.finish();
}

#[test]
fn ack_for_a_failure_repeats_the_invite() {
    let mut net = Network::new(Wire::Udp);
    net.request(&invite());
    net.run_for(ms(100));
    let (_, request) = net.bobs_request();
    net.alice.receive(net.now, Wire::Udp, crate::message::Message::Response(answer(&request, 486)));
    let sent = net.alice.poll_transmit().unwrap();
    assert!(sent.client.is_none());
    let expected = "ACK sip:bob@b.example SIP/2.0\r\n\
                    Via: SIP/2.0/UDP a.example:5060;branch=z9hG4bKinvite\r\n\
                    Route: <sip:proxy.example;lr>\r\n\
                    Max-Forwards: 70\r\n\
                    From: <sip:alice@a.example>;tag=a1\r\n\
                    To: <sip:bob@b.example>;tag=b1\r\n\
                    Call-ID: c1@a.example\r\n\
                    CSeq: 7 ACK\r\n\
                    Content-Length: 0\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&sent.bytes), expected);
}

#[test]
fn second_fork_that_answers_is_told_and_acknowledged_by_itself() {
    let mut net = Network::new(Wire::Udp);
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 200));
    net.run_for(ms(50));
    net.acknowledge(id, &ack("b1"));
    let other = Response::to(&request, 200, Some(b"b2"));
    net.deliver_to_alice(&other);
    net.deliver_to_alice(&other);
    assert_eq!(net.alices_statuses(), [100, 200, 200], "one for each fork");
    assert_eq!(net.sent("ACK"), 1, "the other fork's 2xx is the user's to acknowledge");
    net.acknowledge(id, &ack("b2"));
    net.deliver_to_alice(&other);
    assert_eq!(net.sent("ACK"), 3);
    net.finish();
}

#[test]
fn forks_without_end_are_not_remembered() {
    let mut net = Network::new(Wire::Udp);
    net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    for fork in 0..MAX_FORKS * 2 {
        net.deliver_to_alice(&Response::to(&request, 200, Some(format!("f{fork}").as_bytes())));
    }
    assert_eq!(net.alices_statuses().len(), 1 + MAX_FORKS);
    assert_eq!(net.alice.counters().unexpected, MAX_FORKS as u64);
    net.respond(server, answer(&request, 486));
    net.finish();
}

#[test]
fn ringing_that_arrives_after_ok_is_dropped() {
    let mut net = Network::new(Wire::Udp);
    net.fate(1, "180 INVITE", Fate::Late(ms(300)));
    let id = net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 180));
    net.respond(server, answer(&request, 200));
    net.run_for(ms(400));
    net.acknowledge(id, &ack("b1"));
    assert_eq!(net.alices_statuses(), [100, 200]);
    net.finish();
}

#[test]
fn invite_sent_twice_reaches_the_user_once_and_is_answered_with_the_last_word() {
    let mut net = Network::new(Wire::Udp);
    net.fate(1, "INVITE", Fate::Twice);
    net.request(&invite());
    net.run_for(ms(100));
    assert_eq!(net.sent("100 INVITE"), 2);
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 183));
    net.deliver_to_bob(&invite());
    assert_eq!(net.sent("183 INVITE"), 2);
    net.respond(server, answer(&request, 200));
    net.deliver_to_bob(&invite());
    assert_eq!(net.sent("200 INVITE"), 1, "after 2xx a repeat is absorbed (RFC 6026, 7.1)");
    assert_eq!(net.bob.counters().retransmissions_received, 3);
    net.finish();
}

#[test]
fn invite_that_cannot_be_sent_is_told_at_once() {
    let mut net = Network::new(Wire::Tls);
    net.lose(1, "INVITE");
    let id = net.request(&invite());
    net.fail(id);
    assert!(
        matches!(net.events(Side::Alice)[..], [Event::TransportError { client }] if client == id)
    );
    assert!(net.alice.is_empty());
    net.finish();
}

#[test]
fn second_final_answer_is_not_sent() {
    let mut net = Network::new(Wire::Udp);
    net.request(&invite());
    net.run_for(ms(100));
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 486));
    net.respond(server, answer(&request, 200));
    assert_eq!(net.sent("200 INVITE"), 0);
    assert_eq!(net.bob.counters().unexpected, 1);
    net.finish();
}

#[test]
fn late_repeats_are_absorbed_as_long_as_the_timers_say() {
    let mut refused = Network::new(Wire::Udp);
    refused.request(&invite());
    refused.run_for(ms(10));
    let (server, request) = refused.bobs_request();
    refused.respond(server, answer(&request, 486));
    refused.run_for(ms(20));
    assert_eq!(refused.life_ms(), (32_000 - 10, 5_000), "timers D and I");

    let mut accepted = Network::new(Wire::Udp);
    let id = accepted.request(&invite());
    accepted.run_for(ms(10));
    let (server, request) = accepted.bobs_request();
    accepted.respond(server, answer(&request, 200));
    accepted.run_for(ms(20));
    accepted.acknowledge(id, &ack("b1"));
    assert_eq!(accepted.life_ms(), (32_000 - 10, 32_000 - 20), "timers M and L");
}
