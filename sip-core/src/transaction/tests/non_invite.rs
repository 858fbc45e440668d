//! Requests other than INVITE: losses, silence, RFC 4320.

use super::network::{Fate, Network, Side, Wire, request};
use super::{answer, ms, text};
use crate::transaction::{Event, GIVE_UP};

fn options() -> String {
    text("OPTIONS", "z9hG4bKoptions")
}

#[test]
fn ok_lost_is_sent_again_for_the_repeated_request() {
    let mut net = Network::new(Wire::Udp);
    net.lose(1, "200 OPTIONS");
    net.request(&options());
    net.run_for(ms(20));
    net.bob_answers(200);
    net.run_for(ms(2_000));
    assert_eq!(net.sent_at_ms("OPTIONS"), [0, 500]);
    assert_eq!(net.sent_at_ms("200 OPTIONS"), [20, 510]);
    assert_eq!(net.alices_statuses(), [200]);
    assert!(net.events(Side::Bob).is_empty());
    net.finish();
}

#[test]
fn request_that_nobody_hears_times_out_by_timer_f() {
    for (wire, repeats) in [(Wire::Udp, 11), (Wire::Tls, 1)] {
        let mut net = Network::new(wire);
        net.lose(100, "OPTIONS");
        let id = net.request(&options());
        net.run_for(GIVE_UP - ms(1));
        assert!(net.events(Side::Alice).is_empty());
        net.run_for(ms(1));
        assert!(matches!(net.events(Side::Alice)[..], [Event::Timeout { client }] if client == id));
        assert_eq!(net.sent("OPTIONS"), repeats);
        net.finish();
    }
}

#[test]
fn provisional_response_slows_the_repeats_down_to_t2() {
    let mut net = Network::new(Wire::Udp);
    net.lose(100, "OPTIONS");
    net.request(&options());
    net.run_for(ms(20));
    net.deliver_to_alice(&answer(&request(&options()), 100));
    net.run_for(ms(10_000));
    assert_eq!(net.sent_at_ms("OPTIONS"), [0, 500, 4_500, 8_500]);
    assert_eq!(net.alices_statuses(), [100]);
    net.finish();
}

#[test]
fn user_that_never_answers_costs_a_100_and_no_state() {
    let mut net = Network::new(Wire::Udp);
    net.request(&options());
    net.run_for(GIVE_UP);
    let (server, request) = net.bobs_request();
    assert_eq!(net.sent_at_ms("100 OPTIONS")[0], 3_510, "not before timer E is T2 (RFC 4320)");
    let events = net.events(Side::Alice);
    assert!(matches!(events.last(), Some(Event::Timeout { .. })));
    net.run_for(ms(10));
    assert!(net.bob.is_empty());
    net.respond(server, answer(&request, 200));
    assert_eq!(net.sent("200 OPTIONS"), 0, "too late (RFC 4320, 4.2)");
    net.finish();
}

#[test]
fn timeout_of_ours_is_not_sent_as_408() {
    let mut net = Network::new(Wire::Udp);
    net.request(&options());
    net.run_for(ms(20));
    let (server, request) = net.bobs_request();
    net.respond(server, answer(&request, 408));
    net.respond(server, answer(&request, 180));
    assert_eq!((net.sent("408 OPTIONS"), net.sent("180 OPTIONS")), (0, 0));
    assert_eq!(net.bob.counters().unexpected, 2);
    net.finish();
}

#[test]
fn answer_that_comes_twice_is_told_once() {
    let mut net = Network::new(Wire::Udp);
    net.fate(1, "200 OPTIONS", Fate::Twice);
    net.fate(1, "OPTIONS", Fate::Twice);
    net.request(&options());
    net.run_for(ms(20));
    net.bob_answers(200);
    net.run_for(ms(100));
    assert_eq!(net.alices_statuses(), [200]);
    assert_eq!(net.alice.counters().retransmissions_received, 1);
    net.finish();
}

#[test]
fn reliable_hop_sends_once_and_forgets_at_once() {
    let mut net = Network::new(Wire::Tls);
    net.request(&options());
    net.run_for(ms(3_000));
    net.bob_answers(200);
    net.run_for(ms(100));
    assert_eq!((net.sent("OPTIONS"), net.sent("200 OPTIONS")), (1, 1));
    assert_eq!((net.alice.len(), net.bob.len()), (0, 0), "timers J and K are zero");
    net.finish();
}

#[test]
fn request_that_cannot_be_sent_is_told_at_once() {
    let mut net = Network::new(Wire::Tls);
    net.lose(1, "OPTIONS");
    let id = net.request(&options());
    net.fail(id);
    net.fail(id);
    assert!(
        matches!(net.events(Side::Alice)[..], [Event::TransportError { client }] if client == id)
    );
    net.finish();
}

#[test]
fn late_repeats_are_absorbed_as_long_as_the_timers_say() {
    let mut net = Network::new(Wire::Udp);
    net.request(&options());
    net.run_for(ms(10));
    net.bob_answers(200);
    net.run_for(ms(10));
    assert_eq!(net.life_ms(), (5_000, 32_000 - 10), "timers K and J");
}
