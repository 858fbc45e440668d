//! Reliable provisional responses, PRACK by PRACK.

use super::{
    Acknowledged, Action, Event, Heard, Overdue, QUEUE_MAX, RAck, Repeats, Serving, Uac, Uas,
};
use crate::drawing::{self, event_words, first_word, words};
use crate::message::{Method, Name, Request, Response};
use crate::transaction::{GIVE_UP, T1};
use std::time::Instant;

#[test]
fn the_server_side_is_as_drawn() {
    let now = zero();
    let repeat = Repeats::start(now);
    let states = [
        (Serving::Idle, "any"),
        (Serving::Unacknowledged { sdp: false, repeat }, "no SDP is out"),
        (Serving::Unacknowledged { sdp: true, repeat }, "SDP is out"),
        (Serving::AnswerHeld { repeat }, "any"),
        (Serving::Answered, "any"),
        (Serving::GivenUp, "any"),
    ];
    let respond = Event::Respond { sdp: true };
    let events = [respond, Event::Prack, Event::Accept, Event::Repeat, Event::GiveUp];
    let mut rows = Vec::new();
    for (before, condition) in states {
        for event in events {
            let mut state = before;
            let actions = state.on(now, event);
            if actions == [Action::Unexpected] {
                assert_eq!(state, before);
                continue;
            }
            let event = event_words(&event).replace(" { sdp: true }", "");
            let names = [first_word(&before), event, condition.to_owned(), first_word(&state)];
            let [before, event, condition, after] = names;
            rows.push([before, event, condition, after, words(actions)]);
        }
    }
    let title = "Reliable provisional responses of one INVITE we received (RFC 3262, 3)";
    drawing::compare("prack-server", title, ["state", "event", "when", "next", "actions"], &rows);
}

#[test]
fn the_client_side_is_as_drawn() {
    let mut rows = Vec::new();
    for (state, mut uac) in [("Nothing", Uac::default()), ("Acknowledged", Uac { last: Some(7) })] {
        let events = [
            ("unreliable", None),
            ("RSeq as before or lower", Some(7)),
            ("RSeq one higher", Some(8)),
            ("RSeq further up", Some(10)),
        ];
        let before = uac;
        for (event, rseq) in events {
            uac = before;
            let heard = uac.hear(&provisional(rseq, 180));
            let next = if uac.last.is_some() { "Acknowledged" } else { "Nothing" };
            let (event, when) = match (before.last, rseq) {
                (None, Some(8)) => ("any RSeq", "any"),
                (None, Some(_)) => continue,
                _ => (event, "any"),
            };
            let names = [state, event, when, next].map(str::to_owned);
            let [state, event, when, next] = names;
            rows.push([state, event, when, next, first_word(&heard)]);
        }
    }
    let title = "Reliable provisional responses in one early dialog of our INVITE (RFC 3262, 4)";
    drawing::compare("prack-client", title, ["state", "event", "when", "next", "actions"], &rows);
}

#[test]
fn a_second_response_waits_for_the_first_ones_prack_and_has_the_next_number() {
    let now = zero();
    let mut uas = uas();
    let first = uas.respond(now, response(180, "")).unwrap().unwrap();
    assert!(uas.respond(now, response(183, "v=0\r\n")).unwrap().is_none());
    let next = acknowledge(&mut uas, now, &first).unwrap().next.unwrap();
    assert_eq!(next.status, 183);
    assert_eq!(rseq(&next), rseq(&first) + 1);
}

#[test]
fn repeats_double_for_64_t1_and_then_the_invite_is_given_up() {
    let start = zero();
    let mut uas = uas();
    uas.respond(start, response(180, "")).unwrap();
    let mut repeats = Vec::new();
    while let Some(due) = uas.due() {
        match uas.handle_timeout(due).unwrap() {
            Overdue::Repeat(_) => repeats.push((due - start).as_millis() / T1.as_millis()),
            Overdue::GiveUp => assert_eq!(due - start, GIVE_UP),
        }
    }
    assert_eq!(repeats, [1, 3, 7, 15, 31, 63]);
}

#[test]
fn a_2xx_waits_for_unacknowledged_sdp_and_for_nothing_else() {
    let now = zero();
    let mut bare = uas();
    let ringing = bare.respond(now, response(180, "")).unwrap().unwrap();
    assert!(bare.accept(now));
    assert!(bare.due().is_none(), "it is not repeated after the final response");
    assert!(acknowledge(&mut bare, now, &ringing).is_some(), "its PRACK is still welcome");

    let mut described = uas();
    let progress = described.respond(now, response(183, "v=0\r\n")).unwrap().unwrap();
    assert!(!described.accept(now));
    assert!(described.due().is_some(), "it is repeated on");
    let acknowledged = acknowledge(&mut described, now, &progress).unwrap();
    assert!(acknowledged.answer && acknowledged.described);
}

#[test]
fn what_waits_when_the_2xx_goes_out_is_not_sent_any_more() {
    let now = zero();
    let mut uas = uas();
    let first = uas.respond(now, response(180, "")).unwrap().unwrap();
    uas.respond(now, response(181, "")).unwrap();
    assert!(uas.accept(now));
    assert!(acknowledge(&mut uas, now, &first).unwrap().next.is_none());
    assert!(uas.respond(now, response(182, "")).unwrap().is_none());
}

#[test]
fn a_prack_for_another_number_cseq_or_method_is_a_stranger() {
    let now = zero();
    let mut uas = uas();
    let sent = rseq(&uas.respond(now, response(180, "")).unwrap().unwrap());
    for rack in [
        format!("{} 3 INVITE", sent + 1),
        format!("{sent} 4 INVITE"),
        format!("{sent} 3 UPDATE"),
        format!("{sent} 3"),
        format!("{sent} 3 INVITE 9"),
        format!("+{sent} 3 INVITE"),
        String::new(),
    ] {
        assert!(uas.prack(now, &prack(&rack)).is_none(), "{rack}");
    }
    let rack = format!("{sent} 3 INVITE");
    assert!(uas.prack(now, &prack(&rack)).is_some());
    assert!(uas.prack(now, &prack(&rack)).is_none(), "it is acknowledged once");
}

#[test]
fn the_queue_is_bounded() {
    let now = zero();
    let mut uas = uas();
    for _ in 0..=QUEUE_MAX {
        assert!(uas.respond(now, response(180, "")).is_ok());
    }
    assert!(uas.respond(now, response(180, "")).is_err());
}

#[test]
fn the_first_number_is_in_its_range_whatever_the_dice_say() {
    for random in [0, 1, (1 << 31) - 2, (1 << 31) - 1, 1 << 31, u32::MAX] {
        let mut uas = Uas::new(&invite(), random);
        let first = uas.respond(zero(), response(180, "")).unwrap().unwrap();
        assert!((1..1 << 31).contains(&rseq(&first)), "{random}");
    }
}

#[test]
fn a_gap_is_not_acknowledged_and_a_repeat_not_twice() {
    let mut uac = Uac::default();
    let rack = |rseq| Heard::Acknowledge(RAck { rseq, cseq: 3, method: Method::Invite });
    assert_eq!(uac.hear(&provisional(Some(5), 180)), rack(5));
    assert_eq!(uac.hear(&provisional(Some(7), 183)), Heard::OutOfOrder);
    assert_eq!(uac.hear(&provisional(Some(5), 180)), Heard::Repeat);
    assert_eq!(uac.hear(&provisional(Some(6), 183)), rack(6));
    assert_eq!(uac.hear(&provisional(Some(7), 183)), rack(7));
    assert_eq!(uac.hear(&provisional(Some(u32::MAX), 183)), Heard::OutOfOrder);
}

#[test]
fn a_100_is_never_reliable_and_require_without_rseq_is_not_either() {
    let mut uac = Uac::default();
    assert_eq!(uac.hear(&provisional(Some(5), 100)), Heard::Unreliable);
    let mut ringing = provisional(None, 180);
    ringing.headers.push(Name::Require, "100rel");
    assert_eq!(uac.hear(&ringing), Heard::Unreliable);
    assert_eq!(uac, Uac::default());
}

fn uas() -> Uas {
    Uas::new(&invite(), 4711)
}

fn invite() -> Request {
    let mut invite = Request::new(Method::Invite, "sip:sbc.example");
    invite.headers.push(Name::CSeq, "3 INVITE");
    invite
}

fn response(status: u16, body: &'static str) -> Response {
    let mut response = Response::to(&invite(), status, Some(b"tag"));
    if !body.is_empty() {
        response.set_body("application/sdp", body);
    }
    response
}

fn provisional(rseq: Option<u32>, status: u16) -> Response {
    let mut response = response(status, "");
    if let Some(rseq) = rseq {
        response.headers.push(Name::Require, "100rel");
        response.headers.push(Name::RSeq, rseq.to_string());
    }
    response
}

fn prack(rack: &str) -> Request {
    let mut prack = Request::new(Method::Prack, "sip:sbc.example");
    prack.headers.push(Name::RAck, rack.to_owned());
    prack
}

fn acknowledge(uas: &mut Uas, now: Instant, response: &Response) -> Option<Acknowledged> {
    uas.prack(now, &prack(&format!("{} 3 INVITE", rseq(response))))
}

fn rseq(response: &Response) -> u32 {
    let value = response.headers.get(Name::RSeq).unwrap_or_default();
    String::from_utf8_lossy(value).parse().unwrap()
}

/// Virtual time zero.
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn zero() -> Instant {
    Instant::now()
}
