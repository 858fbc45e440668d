//! Session timers: who refreshes, who forgets to, who wants another interval (RFC 4028).

use crate::challenged::{Gate, account};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN, TERMS};
use callflow::script::{body, carrier_calls_teams, hang_up, teams_calls_carrier, usual_sdp, value};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::auth::{Algorithm, Asker};
use sip_core::{Headers, Method, Name, Request, Response};

fn session(headers: &Headers) -> String {
    value(headers, Name::SessionExpires)
}

/// What a 2xx to a session refresh request says.
fn agree(expires: &'static str) -> impl Fn(&mut Response) {
    move |response| {
        response.headers.push(Name::Require, "timer");
        response.headers.push(Name::SessionExpires, expires);
    }
}

/// A Teams user calls the carrier; the subscriber's 200 is changed by `edit`, the INVITE by `ask`.
fn call(
    world: &mut World,
    ask: impl Fn(&mut Request),
    edit: impl Fn(&mut Response),
) -> (Party, Party, Response) {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(world, Who::Sip, ANNA, &uri, |invite| ask(invite));
    let mut subscriber = Party::called(world, Who::Colt);
    let invite = subscriber.invite.clone();
    subscriber.answer(world, &invite, 200, |response| {
        response.set_body("application/sdp", usual_sdp(Who::Colt));
        edit(response);
    });
    let answer = anna.hears(world, "200 INVITE");
    anna.acknowledges(world, &answer);
    let ack = subscriber.gets(world, "ACK");
    assert_eq!(ack.headers.cseq().number, invite.headers.cseq().number);
    subscriber.invite = invite;
    (anna, subscriber, answer)
}

fn teams_asks(invite: &mut Request) {
    invite.headers.push(Name::Supported, "histinfo,timer");
    invite.headers.push(Name::SessionExpires, "1800");
    invite.headers.push(Name::MinSe, "300");
}

/// Answers our re-INVITE that refreshes with the same SDP as ever.
fn refreshed(world: &mut World, party: &Party, request: &Request, expires: &'static str) {
    let sdp = usual_sdp(party.who);
    party.answer(world, request, 200, |response| {
        response.set_body("application/sdp", sdp);
        agree(expires)(response);
    });
    party.gets(world, "ACK");
}

/// TDR-DLG-030, TDR-DLG-031.
#[test]
fn teams_refreshes_as_it_offered_and_the_carrier_is_offered_ours() {
    let mut world = World::new(1);
    let (mut anna, subscriber, answer) = call(&mut world, teams_asks, agree("1800;refresher=uas"));
    assert_eq!(session(&answer.headers), "1800;refresher=uac");
    assert_eq!(value(&answer.headers, Name::Require), "timer");
    assert_eq!(session(&subscriber.invite.headers), "1800");
    assert!(subscriber.invite.headers.has_token(Name::Supported, "timer"));
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-031.
#[test]
fn refresh_never_comes() {
    let mut world = World::new(1);
    let (anna, subscriber, _) = call(&mut world, teams_asks, agree("3600;refresher=uas"));
    world.run_for(secs(1760));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    let bye = anna.is_hung_up(&mut world);
    assert!(value(&bye.headers, Name::Reason).contains("Session expired"));
    subscriber.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "session_expired");
}

/// TDR-DLG-013, TDR-DLG-031.
#[test]
fn a_refresh_in_time_keeps_the_call_and_is_answered_alike() {
    let mut world = World::new(1);
    let (mut anna, subscriber, _) = call(&mut world, teams_asks, agree("7200;refresher=uas"));
    let mut answers = Vec::new();
    for _ in 0..3 {
        world.run_for(secs(1700));
        let mut refresh = anna.request(&mut world, Method::Invite);
        teams_asks(&mut refresh);
        refresh.set_body("application/sdp", usual_sdp(Who::Sip));
        world.send(Who::Sip, refresh);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        assert_eq!(session(&answer.headers), "1800;refresher=uac");
        answers.push(body(&answer));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1, "it is nobody else's business");
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-033.
#[test]
fn we_refresh_teams_by_a_reinvite_that_changes_nothing() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].session_timer = None);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    assert_eq!(session(&anna.invite.headers), "1800");
    let invite = anna.invite.clone();
    anna.answer(&mut world, &invite, 200, |response| {
        response.set_body("application/sdp", usual_sdp(Who::Sip));
        // Even if it said so: no UPDATE goes there (TDR-DLG-033).
        response.headers.push(Name::Allow, "INVITE,ACK,UPDATE,BYE");
        agree("1800;refresher=uac")(response);
    });
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    let sdp = body(&invite);
    for _ in 0..2 {
        let from = world.elapsed();
        world.run_for(secs(899));
        let asked = anna.gets(&mut world, "INVITE");
        assert!(world.elapsed() - from >= secs(899));
        assert_eq!(session(&asked.headers), "1800;refresher=uac");
        refreshed(&mut world, &anna, &asked, "1800;refresher=uac");
        assert_eq!(body(&asked), sdp, "octet by octet");
    }
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn we_refresh_a_carrier_by_update_where_it_allows_that() {
    let mut world = World::new(1);
    let (mut anna, subscriber, _) = call(&mut world, teams_asks, |response| {
        response.headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");
        agree("600;refresher=uac")(response);
    });
    for _ in 0..2 {
        world.run_for(secs(295));
        let update = subscriber.gets(&mut world, "UPDATE");
        assert!(update.body().is_empty());
        assert_eq!(session(&update.headers), "1800;refresher=uac");
        subscriber.answer(&mut world, &update, 200, agree("600;refresher=uac"));
    }
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn the_call_ends_while_our_update_has_no_answer_yet() {
    for challenged in [false, true] {
        let ours = challenged.then(|| account("s3cret"));
        let mut world = World::with(1, |plan| plan.trunks[COLT].accounts.ours = ours);
        let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Sha256]);
        let (mut anna, subscriber, _) = call(&mut world, teams_asks, |response| {
            response.headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");
            agree("600;refresher=uac")(response);
        });
        world.run_for(secs(295));
        let update = subscriber.gets(&mut world, "UPDATE");
        anna.hangs_up(&mut world);
        subscriber.is_hung_up(&mut world);
        world.run_for(ms(50));
        match challenged {
            true => gate.asks(&mut world, &subscriber, &update, false),
            false => subscriber.answer(&mut world, &update, 481, |_| {}),
        }
        world.run_for(secs(1));
        assert_eq!(world.sent_to(Who::Colt, "UPDATE"), 1);
    }
}

#[test]
fn a_carrier_that_allows_update_and_refuses_it_gets_a_reinvite() {
    let mut world = World::new(1);
    let (mut anna, subscriber, _) = call(&mut world, teams_asks, |response| {
        response.headers.push(Name::Allow, "INVITE, UPDATE");
        agree("600;refresher=uac")(response);
    });
    world.run_for(secs(295));
    let update = subscriber.gets(&mut world, "UPDATE");
    subscriber.answer(&mut world, &update, 405, |_| {});
    let asked = subscriber.gets(&mut world, "INVITE");
    assert_eq!(body(&asked), body(&subscriber.invite));
    refreshed(&mut world, &subscriber, &asked, "600;refresher=uac");
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_carrier_without_timers_that_is_gone_is_found_out() {
    let mut world = World::new(1);
    let (anna, subscriber, _) = call(&mut world, teams_asks, |_| {});
    world.run_for(secs(899));
    let asked = subscriber.gets(&mut world, "INVITE");
    subscriber.answer(&mut world, &asked, 481, |_| {});
    anna.is_hung_up(&mut world);
    subscriber.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "dialog_gone");
}

#[test]
fn a_carrier_without_timers_that_never_answers_is_found_out() {
    let mut world = World::new(1);
    let (anna, subscriber, _) = call(&mut world, teams_asks, |response| {
        response.headers.push(Name::Allow, "INVITE, UPDATE");
    });
    world.run_for(secs(900));
    subscriber.gets(&mut world, "UPDATE");
    world.run_for(secs(31));
    anna.is_hung_up(&mut world);
    subscriber.is_hung_up(&mut world);
}

#[test]
fn a_refresh_that_is_refused_ends_nothing_at_once() {
    let mut world = World::new(1);
    let (anna, subscriber, _) = call(&mut world, teams_asks, agree("600;refresher=uac"));
    world.run_for(secs(299));
    let mut tries = 0;
    while world.sent_to(Who::Colt, "BYE") == 0 {
        let asked = subscriber.gets(&mut world, "INVITE");
        subscriber.answer(&mut world, &asked, 488, |_| {});
        tries += 1;
        let before = world.sent_to(Who::Colt, "INVITE");
        world.run_until(secs(300), |world| {
            world.sent_to(Who::Colt, "INVITE") > before || world.sent_to(Who::Colt, "BYE") > 0
        });
    }
    assert!((3..=7).contains(&tries), "{tries}");
    assert!(world.elapsed() >= secs(567), "{:?}", world.elapsed());
    subscriber.is_hung_up(&mut world);
    anna.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "session_expired");
}

/// TDR-DLG-032.
#[test]
fn teams_says_422_and_is_asked_for_more() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let first = Party::called(&mut world, Who::Sip);
    first.answer(&mut world, &first.invite, 422, |response| {
        response.headers.push(Name::MinSe, "3600");
    });
    let anna = Party::called(&mut world, Who::Sip);
    let (one, two) = (&first.invite.headers, &anna.invite.headers);
    assert_eq!(session(two), "3600");
    assert_eq!(value(two, Name::MinSe), "3600");
    assert_eq!(two.cseq().number, one.cseq().number + 1);
    assert_eq!(two.call_id(), one.call_id());
    assert_eq!(value(two, Name::From), value(one, Name::From));
    assert_ne!(two.top_via().branch(), one.top_via().branch());
    callflow::script::connect(&mut world, &mut caller, &anna);
    world.run_for(ms(20));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-032.
#[test]
fn teams_says_422_twice() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    for min in ["3600", "7200"] {
        let anna = Party::called(&mut world, Who::Sip);
        anna.answer(&mut world, &anna.invite, 422, |response| {
            response.headers.push(Name::MinSe, min);
        });
    }
    caller.hears(&mut world, "503 INVITE");
    caller.acknowledges_failure(&mut world, &Response::to(&caller.invite.clone(), 503, None));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2);
}

#[test]
fn an_offer_below_our_minimum_is_422() {
    let mut world = World::new(1);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.headers.push(Name::Supported, "timer");
        invite.headers.push(Name::SessionExpires, "60");
    });
    let refused = anna.hears(&mut world, "422 INVITE");
    assert_eq!(value(&refused.headers, Name::MinSe), "90");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    assert_eq!(world.records[0].cause, "session_too_short");
}

#[test]
fn a_refresh_below_our_minimum_is_422_and_the_session_stands() {
    let mut world = World::new(1);
    let (mut anna, subscriber, _) = call(&mut world, teams_asks, agree("7200;refresher=uas"));
    let mut refresh = anna.request(&mut world, Method::Invite);
    refresh.headers.push(Name::Supported, "timer");
    refresh.headers.push(Name::SessionExpires, "30;refresher=uac");
    refresh.set_body("application/sdp", usual_sdp(Who::Sip));
    world.send(Who::Sip, refresh);
    let refused = anna.hears(&mut world, "422 INVITE");
    assert_eq!(value(&refused.headers, Name::MinSe), "90");
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-DLG-030.
#[test]
fn two_session_expires_and_garbage_do_not_harm() {
    for lines in [&["1800;refresher=uac", "600;refresher=uas"][..], &["soon", "1800"], &["", ""]] {
        let mut world = World::new(1);
        let (mut anna, subscriber, answer) = call(
            &mut world,
            |invite| {
                invite.headers.push(Name::Supported, "timer");
                for line in lines {
                    invite.headers.push(Name::SessionExpires, *line);
                }
            },
            |response| {
                for line in lines {
                    response.headers.push(Name::SessionExpires, *line);
                }
            },
        );
        assert_eq!(answer.headers.all(Name::SessionExpires).count(), 1);
        assert!(session(&answer.headers).starts_with("1800;refresher=ua"));
        world.run_for(ms(20));
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

#[test]
fn a_trunk_without_session_timers_says_nothing_of_them() {
    let mut world = World::with(1, |plan| {
        plan.trunks.iter_mut().for_each(|trunk| trunk.session_timer = None);
    });
    let (mut anna, subscriber, answer) = call(&mut world, teams_asks, |_| {});
    for headers in [&answer.headers, &subscriber.invite.headers] {
        assert!(headers.get(Name::SessionExpires).is_none());
        assert!(!headers.has_token(Name::Supported, "timer"));
    }
    world.run_for(secs(4000));
    assert_eq!(world.core().calls(world.now()).len(), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_refresh_meets_a_reinvite_of_theirs_and_comes_again() {
    let mut world = World::new(1);
    let (mut anna, subscriber, _) = call(&mut world, teams_asks, agree("600;refresher=uac"));
    world.run_for(secs(299));
    let asked = subscriber.gets(&mut world, "INVITE");
    subscriber.answer(&mut world, &asked, 491, |_| {});
    subscriber.gets(&mut world, "ACK");
    let again = subscriber.gets(&mut world, "INVITE");
    refreshed(&mut world, &subscriber, &again, "600;refresher=uac");
    world.run_for(ms(20));
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn hundreds_of_calls_leave_no_deadline_behind() {
    let mut world = World::new(1);
    for _ in 0..20 {
        let (mut caller, anna) = carrier_calls_teams(&mut world);
        world.run_for(ms(20));
        hang_up(&mut world, &mut caller, &anna);
        let (mut anna, subscriber) = teams_calls_carrier(&mut world);
        world.run_for(ms(20));
        hang_up(&mut world, &mut anna, &subscriber);
    }
    world.run_for(secs(u64::from(TERMS.interval_s)));
    assert_eq!(world.core().poll_timeout(), None);
}

/// A carrier calls a Teams user whose leg is refreshed 45 s after its answer, and is.
fn refreshing(world: &mut World) -> (Party, Party, Request) {
    let mut caller = Party::from_carrier(world, Who::Colt, ANNA);
    let anna = Party::called(world, Who::Sip);
    let invite = anna.invite.clone();
    anna.answer(world, &invite, 200, |response| {
        response.set_body("application/sdp", usual_sdp(Who::Sip));
        agree("90;refresher=uac")(response);
    });
    let answer = caller.hears(world, "200 INVITE");
    caller.acknowledges(world, &answer);
    anna.gets(world, "ACK");
    world.run_for(secs(44));
    let refresh = anna.gets(world, "INVITE");
    (caller, anna, refresh)
}

/// `caller` sends a re-INVITE without offer and gets ours.
fn is_offered(world: &mut World, caller: &mut Party) -> Response {
    caller.asks(world, Method::Invite, None);
    caller.hears(world, "200 INVITE")
}

/// Its ACK answers that it holds.
fn holds(world: &mut World, caller: &Party, offer: &Response) {
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
    caller.acknowledges_with(world, offer, &held);
    world.run_for(ms(500));
}

/// Teams is told of the hold, and takes it.
fn is_held(world: &mut World, anna: &Party) {
    let asked = anna.gets(world, "INVITE");
    assert!(body(&asked).contains("a=inactive"), "{}", body(&asked));
    anna.answer(world, &asked, 200, |response| {
        let sdp = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
        response.set_body("application/sdp", sdp);
        agree("90;refresher=uac")(response);
    });
    anna.gets(world, "ACK");
}

#[test]
fn a_hold_by_ack_waits_for_the_refresh_that_is_out() {
    let mut world = World::new(1);
    let (mut caller, anna, refresh) = refreshing(&mut world);
    let offer = is_offered(&mut world, &mut caller);
    holds(&mut world, &caller, &offer);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2, "one at a time (RFC 3261, 14.1)");
    refreshed(&mut world, &anna, &refresh, "90;refresher=uac");
    is_held(&mut world, &anna);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_hold_by_ack_is_told_after_a_refresh_that_failed() {
    let mut world = World::new(1);
    let (mut caller, anna, refresh) = refreshing(&mut world);
    let offer = is_offered(&mut world, &mut caller);
    holds(&mut world, &caller, &offer);
    anna.answer(&mut world, &refresh, 500, |_| {});
    anna.gets(&mut world, "ACK");
    is_held(&mut world, &anna);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn a_refresh_that_fails_takes_no_offer_of_the_other_leg_back() {
    let mut world = World::new(1);
    let (mut caller, anna, refresh) = refreshing(&mut world);
    let offer = is_offered(&mut world, &mut caller);
    anna.answer(&mut world, &refresh, 500, |_| {});
    anna.gets(&mut world, "ACK");
    holds(&mut world, &caller, &offer);
    is_held(&mut world, &anna);
    hang_up(&mut world, &mut caller, &anna);
}
