//! Re-INVITEs that meet: ours and theirs, of both sides at once, refused for the moment.

use crate::reinvite::agrees;
use b2bua::io::PeerLeg;
use callflow::plan::{CONTOSO, PSTN};
use callflow::script::{
    body, carrier_calls_teams, hang_up, held_sdp, teams_calls_carrier, usual_sdp,
};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sdp::Notice;
use sip_core::{Method, Name, Request};
use std::time::Duration;

/// TDR-DLG-016.
#[test]
fn glare_both_sides_at_once() {
    for seed in 1..=8 {
        let mut world = World::new(seed);
        let (mut caller, mut anna) = carrier_calls_teams(&mut world);
        // Both ask for a hold in the same moment. Teams hears 491, and says so too.
        caller.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
        anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
        let ours = anna.gets(&mut world, "INVITE");
        anna.answer(&mut world, &ours, 491, |_| {});
        anna.hears(&mut world, "491 INVITE");
        let from = world.elapsed();
        // The Call-ID there is ours, so we wait the longer time; the carrier still waits.
        let again = anna.gets(&mut world, "INVITE");
        let paused = world.elapsed() - from;
        assert!((ms(2000)..=ms(4100)).contains(&paused), "{paused:?}");
        assert_eq!(world.sent_to(Who::Colt, "491 INVITE"), 0);
        assert_eq!(body(&again).lines().next(), body(&ours).lines().next());
        agrees(&mut world, &mut caller, &anna, &again, held_sdp(Who::Sip));
        assert_eq!(world.core().calls(world.now())[0].state, "held");
        hang_up(&mut world, &mut anna, &caller);
    }
}

/// TDR-DLG-016.
#[test]
fn where_the_call_id_is_theirs_we_try_again_sooner() {
    let mut longest = Duration::ZERO;
    for seed in 1..=8 {
        let mut world = World::new(seed);
        let (caller, mut anna) = carrier_calls_teams(&mut world);
        anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
        let ours = caller.gets(&mut world, "INVITE");
        caller.answer(&mut world, &ours, 491, |_| {});
        let from = world.elapsed();
        let again = caller.gets(&mut world, "INVITE");
        longest = longest.max(world.elapsed() - from);
        let inactive = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
        agrees(&mut world, &mut anna, &caller, &again, inactive);
        hang_up(&mut world, &mut anna, &caller);
    }
    assert!(longest <= ms(2050), "{longest:?}");
}

#[test]
fn the_far_side_turns_its_leg_without_an_offer_while_the_others_hold_waits_for_its_next_try() {
    // Our next try falls due after its ACK, or before it.
    for late in [ms(0), secs(3)] {
        let mut world = World::new(1);
        let (mut caller, mut anna) = carrier_calls_teams(&mut world);
        anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
        let ours = caller.gets(&mut world, "INVITE");
        caller.answer(&mut world, &ours, 491, |_| {});
        caller.gets(&mut world, "ACK");
        caller.asks(&mut world, Method::Invite, None);
        let offer = caller.hears(&mut world, "200 INVITE");
        world.run_for(late);
        caller.acknowledges_with(&mut world, &offer, &held_sdp(Who::Colt));
        // Anna's hold is not forgotten over the carrier's.
        let again = caller.gets(&mut world, "INVITE");
        let inactive = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
        caller.agrees(&mut world, &again, inactive);
        caller.gets(&mut world, "ACK");
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        let told = anna.gets(&mut world, "INVITE");
        anna.agrees(&mut world, &told, held_sdp(Who::Sip));
        anna.gets(&mut world, "ACK");
        hang_up(&mut world, &mut anna, &caller);
    }
}

#[test]
fn theirs_goes_first_while_ours_waits_after_a_glare() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    caller.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
    let ours = anna.gets(&mut world, "INVITE");
    anna.answer(&mut world, &ours, 491, |_| {});
    anna.gets(&mut world, "ACK");
    // Its re-INVITE changes nothing that the carrier must know, so it is answered at once.
    let mut elsewhere = Who::Sip.media();
    elsewhere.set_port(50_002);
    anna.asks(&mut world, Method::Invite, Some(sdp_text::teams(elsewhere)));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    let again = anna.gets(&mut world, "INVITE");
    let inactive = sdp_text::turned(&sdp_text::teams(elsewhere), "inactive");
    agrees(&mut world, &mut caller, &anna, &again, inactive);
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn a_side_that_always_says_491_is_not_asked_for_ever() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    caller.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
    for _ in 0..4 {
        let ours = anna.gets(&mut world, "INVITE");
        anna.answer(&mut world, &ours, 491, |_| {});
    }
    caller.hears(&mut world, "491 INVITE");
    world.run_for(secs(10));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1 + 4);
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn the_asker_cancels_while_its_reinvite_waits_after_a_glare() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let asked = caller.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
    let ours = anna.gets(&mut world, "INVITE");
    anna.answer(&mut world, &ours, 491, |_| {});
    world.run_for(ms(100));
    caller.cancels_this(&mut world, &asked);
    let refused = caller.hears(&mut world, "487 INVITE");
    caller.acknowledges_failure_of(&mut world, &asked, &refused);
    world.run_for(secs(10));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2, "nobody wants it any more");
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn the_asker_hangs_up_while_its_reinvite_waits_after_a_glare() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
    let ours = subscriber.gets(&mut world, "INVITE");
    subscriber.answer(&mut world, &ours, 491, |_| {});
    world.run_for(ms(100));
    anna.hangs_up(&mut world);
    anna.hears(&mut world, "487 INVITE");
    subscriber.is_hung_up(&mut world);
    world.run_for(secs(10));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 2);
}

#[test]
fn retry_after_is_kept_to_once() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
    let later = |response: &mut sip_core::Response| {
        response.headers.push(Name::RetryAfter, "3 (another is open)");
    };
    let ours = subscriber.gets(&mut world, "INVITE");
    subscriber.answer(&mut world, &ours, 500, later);
    let from = world.elapsed();
    let again = subscriber.gets(&mut world, "INVITE");
    assert!(world.elapsed() - from >= secs(3));
    subscriber.answer(&mut world, &again, 500, later);
    anna.hears(&mut world, "500 INVITE");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_reinvite_of_the_other_side_while_one_is_on_its_way_to_it() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    caller.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
    let ours = anna.gets(&mut world, "INVITE");
    // Teams has ours already and asks all the same.
    anna.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Sip)));
    anna.hears(&mut world, "491 INVITE");
    agrees(&mut world, &mut caller, &anna, &ours, held_sdp(Who::Sip));
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn bye_to_the_caller_waits_for_its_ack() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    subscriber.hangs_up(&mut world);
    world.run_for(secs(2));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    anna.acknowledges(&mut world, &answer);
    anna.is_hung_up(&mut world);
}

#[test]
fn bye_to_a_caller_that_never_acknowledges_goes_out_at_last() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    anna.hears(&mut world, "200 INVITE");
    subscriber.hangs_up(&mut world);
    world.run_for(secs(31));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    anna.is_hung_up(&mut world);
}

#[test]
fn the_ack_of_a_reinvite_never_comes() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Sip)));
    anna.hears(&mut world, "200 INVITE");
    world.run_for(secs(31));
    subscriber.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "ack_missing");
}

#[test]
fn a_repeated_200_to_our_reinvite_gets_the_same_ack() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    anna.asks(&mut world, Method::Invite, Some(held_sdp(Who::Sip)));
    let asked = subscriber.gets(&mut world, "INVITE");
    let inactive = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    let mut acks = Vec::new();
    for _ in 0..3 {
        let sdp = inactive.clone();
        subscriber.agrees(&mut world, &asked, sdp);
        acks.push(
            subscriber.gets(&mut world, "ACK").headers.top_via().branch().map(<[u8]>::to_vec),
        );
    }
    assert!(acks.windows(2).all(|pair| pair[0] == pair[1]));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-019.
#[test]
fn a_refresh_is_answered_while_the_other_side_has_yet_to_acknowledge() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    subscriber.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Colt)));
    let refreshed = subscriber.hears(&mut world, "200 INVITE");
    subscriber.acknowledges(&mut world, &refreshed);
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-016.
#[test]
fn a_key_change_that_waits_on_one_leg_does_not_stand_in_the_way_of_the_others_hold() {
    let mut world = World::new(3);
    let (mut anna, mut subscriber) = teams_calls_carrier(&mut world);
    world.media_says(PeerLeg::A, Notice::KeyWorn);
    let ours = anna.gets(&mut world, "INVITE");
    anna.answer(&mut world, &ours, 491, |_| {});
    world.run_for(ms(50));
    subscriber.asks(&mut world, Method::Invite, Some(held_sdp(Who::Colt)));
    let hold = anna.gets(&mut world, "INVITE");
    assert!(body(&hold).contains("a=inactive"), "{}", body(&hold));
    agrees(&mut world, &mut subscriber, &anna, &hold, held_sdp(Who::Sip));
    assert_eq!(world.sent_to(Who::Colt, "491 INVITE"), 0);
    let again = anna.gets(&mut world, "INVITE");
    let key = |request: &Request| callflow::script::line(&body(request), "a=crypto:").to_owned();
    assert_ne!(key(&again), key(&anna.invite));
    anna.agrees(&mut world, &again, held_sdp(Who::Sip));
    anna.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}
