//! Keys pressed in a call (RFC 4733): each side hears of them under its own payload type, and a side
//! that knows none is told by INFO, or in its speech.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World, sdp_text};

/// Teams calls a carrier that answers with these payload types; what Teams is answered.
fn teams_is_answered(payloads: &[&str]) -> String {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(line(&body(&subscriber.invite), "a=fmtp:101"), "a=fmtp:101 0-15");
    subscriber.accepts(&mut world, sdp_text::plain(Who::Colt.media(), payloads));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut subscriber, &anna);
    body(&answer)
}

/// TDR-COD-005
#[test]
fn a_carrier_without_events_keeps_its_call_and_teams_its_keys() {
    let answer = teams_is_answered(&["8 PCMA/8000"]);
    assert!(line(&answer, "m=audio").ends_with(" 8 101"), "{answer}");
    assert_eq!(line(&answer, "a=fmtp:101"), "a=fmtp:101 0-15");
}

/// TDR-COD-005
#[test]
fn a_carrier_that_numbers_events_its_own_way_is_understood() {
    let answer = teams_is_answered(&["8 PCMA/8000", "96 telephone-event/8000"]);
    assert!(line(&answer, "m=audio").ends_with(" 8 101"), "{answer}");
    assert_eq!(line(&answer, "a=rtpmap:101"), "a=rtpmap:101 telephone-event/8000");
    assert_eq!(line(&answer, "a=fmtp:101"), "a=fmtp:101 0-15");
}

#[test]
fn a_carrier_that_lists_the_events_it_knows_is_taken_at_its_word_by_teams() {
    let mut world = World::new(1);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let payloads = ["8 PCMA/8000", "97 telephone-event/8000"];
    let offer = sdp_text::plain(Who::Colt.media(), &payloads);
    let offer = offer.replace("a=ptime", "a=fmtp:97 0-11,16\r\na=ptime");
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.set_body("application/sdp", offer);
    });
    let mut anna = Party::called(&mut world, Who::Sip);
    let offered = body(&anna.invite);
    assert!(line(&offered, "m=audio").ends_with(" 8 97"), "{offered}");
    assert_eq!(line(&offered, "a=fmtp:97"), "a=fmtp:97 0-11,16");
    let payloads = ["8 PCMA/8000", "97 telephone-event/8000"];
    anna.accepts(&mut world, sdp_text::secure(Who::Sip.media(), &payloads));
    let answer = caller.hears(&mut world, "200 INVITE");
    assert_eq!(line(&body(&answer), "a=fmtp:97"), "a=fmtp:97 0-15");
    caller.acknowledges(&mut world, &answer);
    anna.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &caller);
}
