//! What is offered, answered and due, from literal headers; and the drawing of the clock.

use super::clock::{Action, Clock, Event};
use super::{Due, SessionTimer, Terms, TooSmall};
use crate::drawing::{Row, compare, event_words, first_word, words};
use crate::message::{Headers, Name};
use std::time::{Duration, Instant};

const TERMS: Terms = Terms { interval_s: 1800, min_s: 90 };

/// Virtual time zero.
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn zero() -> Instant {
    Instant::now()
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn timer() -> SessionTimer {
    SessionTimer::new(Some(TERMS))
}

fn headers(lines: &[(Name, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in lines {
        headers.push(*name, (*value).to_owned());
    }
    headers
}

fn value(headers: &Headers, name: Name) -> String {
    String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned()
}

/// Supported with a Session-Expires.
fn asks(expires: &str) -> Headers {
    headers(&[(Name::Supported, "timer"), (Name::SessionExpires, expires)])
}

/// What a request with these headers is answered.
fn answered(timer: &mut SessionTimer, request: &Headers) -> String {
    let mut response = Headers::default();
    timer.answer(zero(), request, &mut response);
    value(&response, Name::SessionExpires)
}

#[test]
fn who_names_no_refresher_refreshes_and_is_told_so() {
    let mut timer = timer();
    let mut response = Headers::default();
    timer.answer(zero(), &asks("1800"), &mut response);
    assert_eq!(value(&response, Name::SessionExpires), "1800;refresher=uac");
    assert_eq!(value(&response, Name::Require), "timer");
}

#[test]
fn an_interval_is_not_raised_and_not_pushed_below_their_minimum() {
    for (expires, min, agreed) in [
        ("600;refresher=uac", "90", "600;refresher=uac"),
        ("3600;refresher=uas", "300", "1800;refresher=uas"),
        ("7200", "3600", "3600;refresher=uac"),
        ("100", "3600", "100;refresher=uac"),
        ("99999999999999", "90", "1800;refresher=uac"),
    ] {
        let mut request = asks(expires);
        request.push(Name::MinSe, min);
        assert_eq!(answered(&mut timer(), &request), agreed, "{expires} {min}");
    }
}

#[test]
fn an_interval_below_the_minimum_is_refused_to_those_who_understand_it() {
    assert_eq!(timer().judge(&asks("89")), Err(TooSmall { min_s: 90 }));
    assert_eq!(timer().judge(&asks("90")), Ok(()));
    let by_a_proxy = headers(&[(Name::SessionExpires, "30")]);
    assert_eq!(timer().judge(&by_a_proxy), Ok(()));
    assert_eq!(SessionTimer::new(None).judge(&asks("1")), Ok(()));
}

#[test]
fn garbage_says_nothing_and_of_two_the_first_counts() {
    for (lines, agreed) in [
        (&["soon"][..], "1800;refresher=uas"),
        (&[""], "1800;refresher=uas"),
        (&["-90"], "1800;refresher=uas"),
        (&["x", "600;refresher=uas"], "600;refresher=uas"),
        (&["700;refresher=uac", "600;refresher=uas"], "700;refresher=uac"),
        (&["700;refresher=uac, 600"], "700;refresher=uac"),
        (&["700;refresher=nobody"], "700;refresher=uac"),
        (&[" 700 ; Refresher=UAS"], "700;refresher=uas"),
    ] {
        let mut request = headers(&[(Name::Supported, "histinfo,timer")]);
        for line in lines {
            request.push(Name::SessionExpires, (*line).to_owned());
        }
        assert_eq!(answered(&mut timer(), &request), agreed, "{lines:?}");
    }
}

#[test]
fn a_far_side_without_timers_is_told_nothing_and_refreshed_all_the_same() {
    let start = zero();
    let mut timer = timer();
    let mut response = Headers::default();
    timer.answer(start, &Headers::default(), &mut response);
    assert_eq!(value(&response, Name::SessionExpires), "");
    assert!(response.get(Name::Require).is_none());
    assert_eq!(timer.poll_timeout(), Some(start + secs(900)));
    assert_eq!(timer.handle_timeout(start + secs(900)), Some(Due::Refresh));
    assert_eq!(timer.poll_timeout(), None, "its silence is the transaction's to find");
    timer.refused(start + secs(901));
    assert_eq!(timer.poll_timeout(), Some(start + secs(1801)), "405 is a sign of life");
}

#[test]
fn the_far_side_has_until_shortly_before_the_interval_ends() {
    for (interval_s, end_s) in [(1800, 1768), (90, 60), (96, 64)] {
        let start = zero();
        let mut timer = timer();
        timer.accepted(start, &asks(&format!("{interval_s};refresher=uas")));
        let end = start + secs(end_s);
        assert_eq!(timer.poll_timeout(), Some(end));
        assert_eq!(timer.handle_timeout(end - secs(1)), None);
        assert_eq!(timer.handle_timeout(end), Some(Due::End));
        assert_eq!(timer.poll_timeout(), None);
    }
}

#[test]
fn nobody_makes_us_refresh_without_pause() {
    for expires in ["0;refresher=uac", "1;refresher=uac", "89"] {
        let start = zero();
        let mut timer = timer();
        timer.accepted(start, &asks(expires));
        assert_eq!(timer.poll_timeout(), Some(start + secs(45)), "{expires}");
    }
}

#[test]
fn a_refused_refresh_is_tried_again_until_the_session_expires() {
    let start = zero();
    let mut timer = timer();
    timer.accepted(start, &asks("180;refresher=uac"));
    let (mut tries, mut now) = (0, start);
    loop {
        let due = timer.poll_timeout().unwrap();
        assert!(due > now);
        now = due;
        match timer.handle_timeout(now) {
            Some(Due::Refresh) => timer.refused(now),
            Some(Due::End) => break,
            None => panic!("nothing is due at {:?}", now - start),
        }
        tries += 1;
    }
    assert_eq!(now - start, secs(148));
    assert!((2..=6).contains(&tries), "{tries}");
}

#[test]
fn what_422_asks_for_is_offered_next_and_only_if_it_is_more() {
    let mut timer = timer();
    assert!(!timer.was_too_small(&headers(&[])), "it does not say how much");
    assert!(!timer.was_too_small(&headers(&[(Name::MinSe, "1800")])), "that was offered");
    assert!(!timer.was_too_small(&headers(&[(Name::MinSe, "4000000000")])));
    assert!(timer.was_too_small(&headers(&[(Name::MinSe, "3600;lr")])));
    let mut request = Headers::default();
    timer.offer(&mut request);
    assert_eq!(value(&request, Name::SessionExpires), "3600");
    assert_eq!(value(&request, Name::MinSe), "3600");
}

#[test]
fn who_refreshes_goes_on_to_do_so() {
    for (agreed, offered) in
        [("1800;refresher=uas", "1800;refresher=uas"), ("1800", "1800;refresher=uac")]
    {
        let mut timer = timer();
        timer.accepted(zero(), &asks(agreed));
        let mut request = Headers::default();
        timer.offer(&mut request);
        assert_eq!(value(&request, Name::SessionExpires), offered);
        assert_eq!(value(&request, Name::Supported), "timer");
    }
}

#[test]
fn without_terms_there_is_no_timer() {
    let mut timer = SessionTimer::new(None);
    let mut written = Headers::default();
    timer.offer(&mut written);
    timer.answer(zero(), &asks("1800"), &mut written);
    timer.accepted(zero(), &asks("1800;refresher=uac"));
    assert!(written.iter().next().is_none());
    assert_eq!(timer.poll_timeout(), None);
}

#[test]
fn session_timer_is_as_drawn() {
    let now = zero();
    let (interval, later) = (secs(1800), now + secs(900));
    let states = [
        Clock::Off,
        Clock::Theirs { end: later },
        Clock::Ours { refresh: later, end: later },
        Clock::Refreshing { end: later },
        Clock::Alone { interval, refresh: later },
        Clock::Asking { interval },
        Clock::Expired,
    ];
    let events = [
        Event::Theirs(interval),
        Event::Ours(interval),
        Event::Alone(interval),
        Event::Refused,
        Event::Timer,
    ];
    let mut rows: Vec<Row> = Vec::new();
    for state in states {
        for event in events {
            let mut next = state;
            let actions = next.on(now, event);
            if actions == [Action::Unexpected] {
                assert_eq!(next, state, "moves on what it does not expect");
                continue;
            }
            let event = event_words(&event);
            let event = event.split('(').next().unwrap().to_owned();
            let (before, after) = (first_word(&state), first_word(&next));
            rows.push([before, event, "any".to_owned(), after, words(actions)]);
        }
    }
    let columns = ["state", "event", "condition", "next", "actions"];
    compare("session-timer", "Session timer of one dialog (RFC 4028)", columns, &rows);
}
