//! What is heard at both ends, between the strict Teams and emulated carriers.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::{Who, World, carrier_script, ms, secs, teams_script};
use emulate::{CallId, Event};

pub(crate) fn incoming(world: &mut World, who: Who) -> CallId {
    let call = |event: &Event| match event {
        Event::Incoming { call, .. } => Some(*call),
        _ => None,
    };
    world.sees(who, |event| call(event).is_some());
    world.seen(who).iter().rev().find_map(call).expect("it was seen")
}

/// Both ends hear the other's tone and nothing else from now on, for two seconds.
#[track_caller]
pub(crate) fn both_hear(world: &mut World, ends: [(Who, CallId); 2]) {
    world.run_for(ms(100));
    for (who, call) in ends {
        world.act(who, |agent, _| agent.listen_anew(call));
    }
    world.run_for(secs(2));
    for (who, call) in ends {
        let heard = world.heard(who, call);
        assert!(heard.tone_ok, "{who:?} heard {heard:?}");
        assert!((95..=105).contains(&heard.packets), "{who:?} heard {heard:?}");
        assert_eq!((heard.lost, heard.srtp_failures, heard.strays), (0, 0, 0), "{who:?}");
    }
}

pub(crate) fn carrier_calls(world: &mut World) -> [(Who, CallId); 2] {
    let caller = world.carrier_dials(Who::Colt, PSTN, ANNA);
    let anna = incoming(world, Who::Sip);
    world.sees(Who::Colt, |event| matches!(event, Event::Answered { .. }));
    [(Who::Colt, caller), (Who::Sip, anna)]
}

pub(crate) fn teams_calls(world: &mut World) -> [(Who, CallId); 2] {
    let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
    let subscriber = incoming(world, Who::Colt);
    world.sees(Who::Sip, |event| matches!(event, Event::Answered { .. }));
    [(Who::Sip, anna), (Who::Colt, subscriber)]
}

pub(crate) fn ends(world: &mut World, (who, call): (Who, CallId)) {
    world.act(who, |agent, now| agent.hang_up(now, call));
    world.run_for(secs(1));
}

#[test]
pub(crate) fn both_hear_each_other_when_the_carrier_calls() {
    let mut world = World::new(3);
    world.emulate(teams_script(), carrier_script());
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    ends(&mut world, both[1]);
    let media = world.records[0].media.as_ref().expect("media was open");
    assert!(media.a.received_packets > 100 && media.b.received_packets > 100, "{media:?}");
    assert_eq!((media.a.lost_packets, media.b.lost_packets), (0, 0));
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let mut world = World::new(3);
    world.emulate(teams_script(), carrier_script());
    let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
    world.sees(Who::Sip, |event| matches!(event, Event::EarlyMedia { .. }));
    world.run_for(secs(1));
    let heard = world.heard(Who::Sip, anna);
    assert!(heard.tone_ok && heard.packets > 40, "{heard:?}");
    world.sees(Who::Sip, |event| matches!(event, Event::Answered { .. }));
    ends(&mut world, (Who::Sip, anna));
}

/// TDR-HLD-001, TDR-HLD-002, TDR-HLD-007.
#[test]
fn a_hold_by_either_side_is_silent_and_after_the_resume_both_hear_each_other() {
    for holder in [0, 1] {
        let mut world = World::new(3);
        world.emulate(teams_script(), carrier_script());
        let both = carrier_calls(&mut world);
        both_hear(&mut world, both);
        let (who, call) = both[holder];
        let (held, far_call) = both[1 - holder];
        assert!(world.act(who, |agent, now| agent.hold(now, call)));
        world.sees(held, |event| matches!(event, Event::Held { by_us: false, .. }));
        world.run_for(ms(200));
        world.act(held, |agent, _| agent.listen_anew(far_call));
        world.run_for(secs(20));
        let heard = world.heard(held, far_call);
        assert_eq!(heard.packets, 0, "{held:?} heard {heard:?}");
        assert!(world.act(who, |agent, now| agent.resume(now, call)));
        world.sees(who, |event| matches!(event, Event::Resumed { .. }));
        both_hear(&mut world, both);
        ends(&mut world, both[0]);
    }
}

#[test]
fn a_refresh_by_teams_disturbs_nobody() {
    let mut world = World::new(3);
    world.emulate(teams_script(), carrier_script());
    let both = teams_calls(&mut world);
    let (who, call) = both[0];
    assert!(world.act(who, |agent, now| agent.refresh(now, call)));
    world.sees(who, |event| matches!(event, Event::Refreshed { .. }));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    both_hear(&mut world, both);
    ends(&mut world, both[1]);
}

#[test]
fn two_calls_at_once_do_not_mix() {
    let mut world = World::new(3);
    world.emulate(teams_script(), carrier_script());
    let one = carrier_calls(&mut world);
    let two = {
        let boris = callflow::plan::BORIS;
        let caller = world.carrier_dials(Who::Bt, PSTN, boris);
        world.sees(Who::Bt, |event| matches!(event, Event::Answered { .. }));
        let called = world.seen(Who::Sip).iter().find_map(|event| match event {
            Event::Incoming { call, to, .. } if to.starts_with(boris) => Some(*call),
            _ => None,
        });
        [(Who::Bt, caller), (Who::Sip, called.expect("Boris is called"))]
    };
    both_hear(&mut world, one);
    both_hear(&mut world, two);
    ends(&mut world, one[0]);
    both_hear(&mut world, two);
    ends(&mut world, two[1]);
}
