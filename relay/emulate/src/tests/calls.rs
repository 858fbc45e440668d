//! Calls in both directions.

use super::pipe::{Pipe, TENANT, ms, teams};
use crate::{AnswerKeys, Behaviour, CallId, Dial, Event, Progress, Script};

const CALL: CallId = CallId(1);

/// A user of the tenant calls.
pub(crate) fn dial(to: &str) -> Dial {
    Dial {
        from: "+4989".to_owned(),
        to: to.to_owned(),
        tenant: TENANT.to_owned(),
        ..Dial::default()
    }
}

fn answering() -> Script {
    Script::always(Behaviour::answer_after(ms(2000)))
}

#[test]
fn carrier_calls_teams_and_hangs_up() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(12_000));
    pipe.assert_clear(false);
    assert!(pipe.teams.heard(CALL).unwrap().reports >= 1, "RTCP every five seconds");
    pipe.carrier.hang_up(pipe.now(), CALL);
    pipe.run_for(ms(0));
    let steps =
        ["> INVITE", "< 100 Trying", "< 180 Ringing", "< 200 OK", "> ACK", "> BYE", "< 200 OK"];
    assert_eq!(pipe.steps(), steps);
    let ended = |by_us, cause| Event::Ended { call: CALL, by_us, cause };
    let (ringing, answered) = (Event::Ringing { call: CALL }, Event::Answered { call: CALL });
    assert_eq!(pipe.at_carrier, [ringing, answered, ended(true, None)]);
    assert_eq!(pipe.at_teams.last(), Some(&ended(false, Some(16))));
    pipe.assert_quiet();
}

#[test]
fn teams_calls_the_carrier_through_early_media_and_is_hung_up_on() {
    let script = Script::always(Behaviour::Answer {
        ring_after: ms(500),
        progress: Progress::EarlyMedia,
        answer_after: Some(ms(3000)),
        talk: Some(ms(4000)),
    });
    let mut pipe = Pipe::new(script, teams(answering()));
    let call = pipe.teams_calls("+498955501234");
    pipe.run_for(ms(2500));
    assert_eq!(pipe.at_teams, [Event::EarlyMedia { call }]);
    pipe.assert_clear(false);
    pipe.run_for(ms(10_000));
    pipe.assert_clear(false);
    let ended = Event::Ended { call, by_us: false, cause: Some(16) };
    assert_eq!(pipe.at_teams.last(), Some(&ended));
    pipe.assert_quiet();
}

#[test]
fn hold_is_silent_and_resume_brings_the_tones_back_from_either_side() {
    for by_teams in [true, false] {
        let mut pipe = Pipe::new(answering(), teams(answering()));
        pipe.carrier_calls("+498912345611");
        pipe.run_for(ms(5000));
        let change = |pipe: &mut Pipe, hold: bool| {
            let now = pipe.now();
            let agent = if by_teams { &mut pipe.teams } else { &mut pipe.carrier };
            assert!(if hold { agent.hold(now, CALL) } else { agent.resume(now, CALL) });
            pipe.run_for(ms(100));
        };
        change(&mut pipe, true);
        assert_eq!(pipe.at_teams.last(), Some(&Event::Held { call: CALL, by_us: by_teams }));
        pipe.carrier.listen_anew(CALL);
        pipe.teams.listen_anew(CALL);
        pipe.run_for(ms(11_000));
        let at_teams = pipe.teams.heard_recently(CALL).unwrap();
        assert!(at_teams.reports >= 2, "RTCP goes on (TDR-HLD-004): {at_teams:?}");
        // Who holds with sendonly plays on; Teams holds both ways.
        assert_eq!(at_teams.packets > 0, !by_teams);
        assert_eq!(pipe.carrier.heard_recently(CALL).unwrap().packets, 0);
        let rules: Vec<_> = pipe.teams.violations().iter().map(|v| v.rule).collect();
        assert_eq!(rules.contains(&"TDR-HLD-001"), !by_teams, "only inactive is hold: {rules:?}");
        assert!(!rules.contains(&"TDR-DLG-012") && !rules.contains(&"TDR-SDP-009"), "{rules:?}");
        change(&mut pipe, false);
        assert_eq!(pipe.at_carrier.last(), Some(&Event::Resumed { call: CALL, by_us: !by_teams }));
        pipe.run_for(ms(3000));
        pipe.assert_clear(true);
        pipe.assert_clear(false);
        pipe.teams.hang_up(pipe.now(), CALL);
        pipe.assert_quiet();
    }
}

#[test]
fn refresh_changes_nothing() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    pipe.teams_calls("+4989");
    pipe.run_for(ms(4000));
    assert!(pipe.teams.refresh(pipe.now(), CALL));
    pipe.run_for(ms(4000));
    for seen in [&pipe.at_teams, &pipe.at_carrier] {
        assert_eq!(seen.last(), Some(&Event::Refreshed { call: CALL }));
    }
    pipe.assert_clear(false);
    pipe.carrier.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
}

#[test]
fn both_hold_at_once_and_neither_hangs() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    pipe.carrier_calls("+4989");
    pipe.run_for(ms(4000));
    assert!(pipe.teams.hold(pipe.now(), CALL));
    assert!(pipe.carrier.hold(pipe.now(), CALL));
    pipe.run_for(ms(10_000));
    let refused = pipe.carrier.steps().iter().filter(|step| step.what.starts_with("491")).count();
    assert_eq!(refused, 2, "{}", pipe.ladder());
    for agent in [&mut pipe.carrier, &mut pipe.teams] {
        agent.listen_anew(CALL);
    }
    pipe.run_for(ms(1000));
    assert_eq!(pipe.carrier.heard_recently(CALL).unwrap().packets, 0);
    assert_eq!(pipe.teams.heard_recently(CALL).unwrap().packets, 0);
    pipe.teams.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
}

#[test]
fn refused_cancelled_declined_and_unanswered_calls_leave_nothing() {
    let script = Script::always(Behaviour::refuse(404))
        .with("+491", Behaviour::refuse(486))
        .with("+492", Behaviour::Silent)
        .with(
            "+493",
            Behaviour::Answer {
                ring_after: ms(0),
                progress: Progress::Ringing,
                answer_after: None,
                talk: None,
            },
        );
    let mut pipe = Pipe::new(script, teams(answering()));
    let dial = |to: &str| Dial {
        to: to.to_owned(),
        from: "+4989".to_owned(),
        tenant: TENANT.to_owned(),
        cancel_after: Some(ms(5000)),
        ..Dial::default()
    };
    for (to, status) in [("+4915", 486), ("+4930", 487), ("+1", 404), ("+492", 408)] {
        let call = pipe.teams.call(pipe.now(), &dial(to)).unwrap();
        pipe.run_for(ms(40_000));
        assert_eq!(pipe.at_teams.last(), Some(&Event::Refused { call, status }), "{to}");
    }
    let call = pipe.teams_calls("+4930");
    pipe.run_for(ms(1000));
    let Some(Event::Incoming { call: incoming, .. }) = pipe.at_carrier.last() else { panic!() };
    let incoming = *incoming;
    pipe.carrier.hang_up(pipe.now(), incoming);
    pipe.run_for(ms(1000));
    assert_eq!(pipe.at_teams.last(), Some(&Event::Refused { call, status: 603 }));
    pipe.assert_quiet();
    assert!(pipe.carrier.call(pipe.now(), &dial("+49")).is_ok(), "ports have come back");
}

#[test]
fn forks_of_teams_ring_with_their_own_tags_and_a_third_answers() {
    let script = Script::always(Behaviour::Answer {
        ring_after: ms(200),
        progress: Progress::Forks,
        answer_after: Some(ms(1000)),
        talk: None,
    });
    let mut pipe = Pipe::new(answering(), teams(script));
    pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(4000));
    let tags = pipe.carrier.violations().iter().filter(|v| v.rule == "TDR-EM-005").count();
    assert_eq!(tags, 3, "the carrier wants one tag only: {:?}", pipe.carrier.violations());
    pipe.assert_clear(false);
    pipe.carrier.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
}

#[test]
fn every_form_of_answer_keys_lets_media_through() {
    for keys in [AnswerKeys::OneLine, AnswerKeys::TwoLines, AnswerKeys::TwoLinesMki] {
        let mut side = teams(answering());
        side.answer_keys = keys;
        let mut pipe = Pipe::new(answering(), side);
        pipe.carrier_calls("+498912345611");
        pipe.run_for(ms(5000));
        pipe.assert_clear(false);
    }
}

/// Teams' offer has the short suite first, and a far side that chooses it is heard, though Microsoft
/// advises against it (TDR-SRTP-001).
#[test]
fn far_side_that_chooses_the_short_suite_is_heard() {
    let mut pipe = Pipe::of(answering(), teams(answering()), |carrier| {
        carrier.ability.suites = [sdp::Suite::AesCm128HmacSha1_32].into_iter().collect();
    });
    pipe.teams_calls("+498955501234");
    pipe.run_for(ms(4000));
    pipe.assert_clear(false);
    assert!(pipe.teams.refresh(pipe.now(), CALL));
    pipe.run_for(ms(2000));
    pipe.assert_clear(false);
    assert!(pipe.teams.violations().iter().any(|it| it.rule == "TDR-SRTP-001"));
    pipe.teams.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
}

#[test]
fn carrier_without_a_law_is_heard_in_mu_law() {
    let mut pipe = Pipe::of(answering(), teams(answering()), |carrier| {
        carrier.media.payloads.retain(|payload| payload.encoding != "PCMA");
    });
    pipe.teams_calls("+498955501234");
    pipe.run_for(ms(5000));
    pipe.assert_clear(false);
}

#[test]
fn requests_in_the_dialog_follow_the_record_route_to_the_exact_contact() {
    let mut side = teams(answering());
    side.record_route = true;
    let mut pipe = Pipe::new(answering(), side);
    pipe.teams_calls("+498955501234");
    pipe.run_for(ms(4000));
    pipe.carrier.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
    let bye = pipe.wire.iter().find(|message| message.starts_with(b"BYE")).unwrap();
    let bye = String::from_utf8(bye.to_vec()).unwrap();
    let route = "\r\nRoute: <sip:sip-du-a-eu.pstnhub.microsoft.com:5061;transport=tls;lr>\r\n";
    assert!(bye.starts_with("BYE sip:api-du-a-euwe.pstnhub.microsoft.com:443;x-i="), "{bye}");
    assert!(bye.contains(route), "{bye}");
    let blamed = pipe.teams.violations().iter().any(|v| v.rule == "TDR-FO-007");
    assert!(!blamed, "{:?}", pipe.teams.violations());
}

#[test]
fn lost_packets_are_counted_and_heard() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    pipe.lose_every = Some(7);
    pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(30_000));
    let heard = pipe.teams.heard(CALL).unwrap();
    assert!(heard.tone_ok && heard.lost > 50, "{heard:?}");
    let sent = pipe.carrier.sent(CALL);
    // A loss at the very end cannot be known.
    assert!(sent - (heard.packets + heard.lost) <= 1, "{sent} {heard:?}");
    assert!(heard.mos < 3.0, "{heard:?}");
    assert_eq!(pipe.carrier.heard(CALL).unwrap().lost, 0);
}

#[test]
fn teams_writes_names_in_upper_case_and_contact_as_microsoft_does() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    pipe.teams_calls("+498955501234");
    let invite = String::from_utf8(pipe.wire[0].to_vec()).unwrap();
    let head = invite.split("\r\n\r\n").next().unwrap();
    for line in head.lines().skip(1) {
        let name = line.split(':').next().unwrap();
        assert_eq!(name, name.to_uppercase());
    }
    let uri = format!("INVITE sip:+498955501234@{TENANT}:5060;user=phone;transport=tls SIP/2.0");
    assert!(head.starts_with(&uri), "{head}");
    assert!(head.contains("CONTACT: <sip:api-du-a-euwe.pstnhub.microsoft.com:443;x-i="), "{head}");
    for line in ["SESSION-EXPIRES: 3600;refresher=uac", "MIN-SE: 300", "SUPPORTED: histinfo,timer"]
    {
        assert!(head.contains(line), "{head}");
    }
    for line in [
        "m=audio 52000 RTP/SAVP 104 9 103 111 18 0 8 97 101 13 118",
        "a=crypto:0 AES_CM_128_HMAC_SHA1_32 inline:",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:",
        "IN IP4 127.0.0.1",
        "a=rtcp-mux",
    ] {
        assert!(invite.contains(line), "{invite}");
    }
}
