//! Calls of Teams that belong together, with a carrier in place of the border controller.

use super::pipe::{Pipe, ms, teams};
use crate::{Behaviour, CallId, Deed, Event, Forward, Progress, Script};
use std::time::Duration;

const MOBILE: &str = "+49170";
const CALL: CallId = CallId(1);

fn answers_after(after: Duration) -> Script {
    Script::always(Behaviour::answer_after(after))
}

fn forward(after: Duration, rings_too: bool) -> Forward {
    Forward { to: MOBILE.to_owned(), cause: 302, after, rings_too }
}

fn lines(pipe: &Pipe, start: &str) -> Vec<String> {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    pipe.wire.iter().map(text).filter(|text| text.starts_with(start)).collect()
}

/// A user that forwards: the number is called through the trunk, with History-Info and Referred-By
/// (TDR-FWD-001), and what becomes of it becomes of the call.
#[test]
fn forwarded_call_is_answered_when_the_number_answers() {
    for (behaviour, refused) in
        [(Behaviour::answer_after(ms(1000)), None), (Behaviour::refuse(486), Some(486))]
    {
        let script = answers_after(ms(9000)).forwarding("+4989", forward(ms(0), false));
        let mut side = teams(script);
        side.manner.forward_history = true;
        let mut pipe = Pipe::new(Script::always(behaviour), side);
        let call = pipe.carrier_calls("+498912345611");
        pipe.run_for(ms(3000));
        let invites = lines(&pipe, &format!("INVITE sip:{MOBILE}@"));
        assert_eq!(invites.len(), 1);
        let history = "HISTORY-INFO: <sip:+498912345611@sip.pstnhub.microsoft.com;user=phone\
                       ?Reason=SIP%3Bcause%3D302%3Btext%3D%22Move%20Temporarily%22>;index=1,";
        assert!(invites[0].contains(history), "{}", invites[0]);
        assert!(invites[0].contains("FROM: <sip:+4930111@"), "the caller stays: {}", invites[0]);
        match refused {
            Some(status) => assert!(pipe.at_carrier.contains(&Event::Refused { call, status })),
            None => assert!(pipe.at_carrier.contains(&Event::Answered { call })),
        }
        pipe.carrier.hang_up(pipe.now(), call);
        pipe.assert_quiet();
    }
}

/// Simultaneous ring: who is slower is cancelled; the mobile is told that the call was completed
/// elsewhere (TDR-DLG-042).
#[test]
fn simultaneous_ring_has_one_winner() {
    for (client, mobile) in [(ms(1000), ms(4000)), (ms(4000), ms(1000))] {
        let script = answers_after(client).forwarding("+4989", forward(ms(100), true));
        let mut pipe = Pipe::new(answers_after(mobile), teams(script));
        let call = pipe.carrier_calls("+498912345611");
        pipe.run_for(ms(6000));
        assert!(pipe.at_carrier.contains(&Event::Answered { call }), "{}", pipe.ladder());
        let cancels = lines(&pipe, "CANCEL");
        assert_eq!(cancels.len(), usize::from(client < mobile));
        for cancel in cancels {
            let reason = "REASON: SIP;cause=200;text=\"Call completed elsewhere\"";
            assert!(cancel.contains(reason), "{cancel}");
        }
        pipe.carrier.hang_up(pipe.now(), call);
        pipe.assert_quiet();
    }
}

/// Music on hold comes from another port under another key (TDR-HLD-003).
#[test]
fn music_comes_from_another_source() {
    let mut pipe = Pipe::new(answers_after(ms(1000)), teams(answers_after(ms(1000))));
    pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(3000));
    assert!(pipe.teams.music(pipe.now(), CALL));
    pipe.run_for(ms(100));
    assert_eq!(pipe.at_carrier.last(), Some(&Event::Held { call: CALL, by_us: false }));
    let offers = lines(&pipe, "INVITE");
    let line = |text: &str, start: &str| {
        text.lines().find(|line| line.starts_with(start)).unwrap().to_owned()
    };
    let answer = lines(&pipe, "SIP/2.0 200 OK").remove(0);
    let moved = offers.last().unwrap();
    for start in ["m=audio", "a=crypto:1 "] {
        assert_ne!(line(moved, start), line(&answer, start));
    }
    assert!(moved.contains("a=sendonly"), "{moved}");
    pipe.carrier.listen_anew(CALL);
    pipe.run_for(ms(2000));
    let heard = pipe.carrier.heard_recently(CALL).unwrap();
    assert!(heard.tone_ok && heard.packets > 90, "{heard:?}");
    assert_eq!((heard.srtp_failures, heard.strays), (0, 0), "{heard:?}");
    assert_eq!(pipe.teams.heard_recently(CALL).unwrap().strays, 0);
    assert!(pipe.teams.resume(pipe.now(), CALL));
    pipe.run_for(ms(3000));
    pipe.assert_clear(true);
    pipe.teams.hang_up(pipe.now(), CALL);
    pipe.assert_quiet();
    assert!(pipe.teams.call(pipe.now(), &super::calls::dial("+4930")).is_ok(), "ports are back");
}

#[test]
fn deeds_are_done_in_their_order() {
    let script = answers_after(ms(500)).then(
        "+4989",
        vec![
            (ms(6000), Deed::HangUp),
            (ms(1000), Deed::Hold),
            (ms(2000), Deed::Resume),
            (ms(3000), Deed::Music),
            (ms(4000), Deed::Move),
            (ms(5000), Deed::Refresh),
        ],
    );
    let mut pipe = Pipe::new(answers_after(ms(500)), teams(script));
    let call = pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(7000));
    let held = Event::Held { call, by_us: false };
    let resumed = Event::Resumed { call, by_us: false };
    let refreshed = Event::Refreshed { call };
    let ended = Event::Ended { call, by_us: false, cause: Some(16) };
    let seen = &pipe.at_carrier[2..];
    assert_eq!(seen, [held.clone(), resumed.clone(), held, resumed, refreshed, ended]);
    pipe.assert_quiet();
}

/// Replaces names the dialog from Microsoft's view, and the newcomer calls the same trunk
/// (TDR-XFR-030).
#[test]
fn agent_of_a_queue_calls_with_replaces() {
    let script = answers_after(ms(500)).then("+4989", vec![(ms(1000), Deed::Replace)]);
    let mut pipe = Pipe::new(answers_after(ms(500)), teams(script));
    pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(3000));
    let invites = lines(&pipe, "INVITE sip:+4930111@");
    assert_eq!(invites.len(), 1);
    let tags = pipe.teams.steps().iter().find(|step| step.what == "INVITE").unwrap();
    let call_id = String::from_utf8_lossy(&tags.call_id).into_owned();
    assert!(invites[0].contains(&format!("REPLACES: {call_id};from-tag=")), "{}", invites[0]);
}

/// Without REFER in Allow, Teams transfers in the cloud: nothing but another source of media is seen
/// (TDR-XFR-001).
#[test]
fn transfer_without_refer_is_done_in_the_cloud() {
    let to = "sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:1".to_owned();
    let transfer = Deed::Transfer { to, hasty: false };
    let script = answers_after(ms(500)).then("+4989", vec![(ms(1000), transfer)]);
    let mut pipe = Pipe::new(answers_after(ms(500)), teams(script));
    let call = pipe.carrier_calls("+498912345611");
    pipe.run_for(ms(3000));
    assert_eq!(lines(&pipe, "REFER"), Vec::<String>::new());
    assert_eq!(lines(&pipe, "INVITE").len(), 2, "{}", pipe.ladder());
    pipe.carrier.hang_up(pipe.now(), call);
    pipe.assert_quiet();
}

#[test]
fn border_controller_that_says_nothing_loses_the_call_after_ten_seconds() {
    let mut side = teams(answers_after(ms(500)));
    side.manner.patience = Some(ms(10_000));
    let quiet = Script::always(Behaviour::Answer {
        ring_after: ms(11_000),
        progress: Progress::Ringing,
        answer_after: Some(ms(12_000)),
        talk: None,
    });
    let mut pipe = Pipe::new(quiet, side);
    let call = pipe.teams_calls("+4930");
    pipe.run_for(ms(15_000));
    assert!(pipe.at_teams.contains(&Event::Refused { call, status: 487 }), "{}", pipe.ladder());
    assert_eq!(pipe.teams.violations()[0].rule, "TDR-FO-012");
    pipe.assert_quiet();
}
