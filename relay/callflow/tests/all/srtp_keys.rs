//! SRTP on both legs: suites, keys that pass through, and what ends that.

use b2bua::plan::{Plan, SrtpPolicy};
use callflow::plan::{ANNA, COLT, PSTN, TEAMS};
use callflow::{Who, World, carrier_script, ms, secs, teams_script};
use emulate::{CallId, Event};
use sdp::{Ability, Suite};

/// A world whose carriers speak SRTP.
fn secured(vary: impl FnOnce(&mut Plan)) -> World {
    let mut world = World::with(3, |plan| {
        for trunk in &mut plan.trunks {
            trunk.srtp = SrtpPolicy::Required;
        }
        vary(plan);
    });
    world.emulate_with(teams_script(), |carrier| {
        carrier.script = carrier_script();
        carrier.ability = Ability { one_line: true, ..Ability::srtp() };
    });
    world
}

fn passes(plan: &mut Plan) {
    for trunk in &mut plan.trunks {
        trunk.passthrough = true;
    }
}

fn carrier_calls(world: &mut World) -> [(Who, CallId); 2] {
    let caller = world.carrier_dials(Who::Colt, PSTN, ANNA);
    let called = |event: &Event| match event {
        Event::Incoming { call, .. } => Some(*call),
        _ => None,
    };
    world.sees(Who::Sip, |event| called(event).is_some());
    let anna = world.seen(Who::Sip).iter().rev().find_map(called).expect("it was seen");
    world.sees(Who::Colt, |event| matches!(event, Event::Answered { .. }));
    [(Who::Colt, caller), (Who::Sip, anna)]
}

#[track_caller]
fn both_hear(world: &mut World, ends: [(Who, CallId); 2]) {
    world.run_for(ms(300));
    for (who, call) in ends {
        world.act(who, |agent, _| agent.listen_anew(call));
    }
    world.run_for(secs(2));
    for (who, call) in ends {
        let heard = world.heard(who, call);
        assert!(heard.tone_ok, "{who:?} heard {heard:?}");
        assert_eq!((heard.lost, heard.srtp_failures, heard.strays), (0, 0, 0), "{who:?}");
    }
}

/// What the record says of keys that pass through.
fn recorded(world: &mut World, (who, call): (Who, CallId)) -> Option<String> {
    world.act(who, |agent, now| agent.hang_up(now, call));
    world.run_for(secs(1));
    world.records.last().expect("the call is over").passthrough.clone()
}

#[test]
fn keys_pass_through_where_both_trunks_have_it_so_over_hold_and_resume() {
    let mut world = secured(passes);
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    let (who, call) = both[0];
    assert!(world.act(who, |agent, now| agent.hold(now, call)));
    world.sees(Who::Sip, |event| matches!(event, Event::Held { by_us: false, .. }));
    world.run_for(secs(7));
    assert!(world.act(who, |agent, now| agent.resume(now, call)));
    world.sees(who, |event| matches!(event, Event::Resumed { .. }));
    both_hear(&mut world, both);
    let told = world.sent_to(Who::Sip, "INVITE");
    assert_eq!(told, 3, "the call, its hold and its resume: nothing for the sake of a key");
    assert_eq!(recorded(&mut world, both[1]).as_deref(), Some("yes"));
}

#[test]
fn keys_do_not_pass_by_default_or_where_one_trunk_alone_has_it_so() {
    for one in [None, Some(TEAMS), Some(COLT)] {
        let mut world = secured(|plan| {
            if let Some(one) = one {
                plan.trunks[one].passthrough = true;
            }
        });
        let both = carrier_calls(&mut world);
        both_hear(&mut world, both);
        assert_eq!(recorded(&mut world, both[1]), None);
    }
}

#[test]
fn keys_do_not_pass_where_packets_have_to_be_opened_and_the_record_says_why() {
    for (n, why) in ["rtcp_terminate", "no_common_suite", "dtmf"].into_iter().enumerate() {
        let mut world = secured(|plan| {
            passes(plan);
            match n {
                0 => plan.trunks[COLT].terms.rtcp = sdp::Rtcp::Terminate,
                2 => plan.trunks[COLT].terms.dtmf = sdp::Dtmf::Info,
                _ => plan.trunks[COLT].suites = [Suite::AeadAes128Gcm].into_iter().collect(),
            }
        });
        if n == 1 {
            world = World::with(3, |plan| {
                passes(plan);
                for trunk in &mut plan.trunks {
                    trunk.srtp = SrtpPolicy::Required;
                }
                plan.trunks[COLT].suites = [Suite::AeadAes128Gcm].into_iter().collect();
            });
            world.emulate_with(teams_script(), |carrier| {
                carrier.script = carrier_script();
                let suites = [Suite::AeadAes128Gcm].into_iter().collect();
                carrier.ability = Ability { suites, ..Ability::srtp() };
            });
        }
        let both = carrier_calls(&mut world);
        both_hear(&mut world, both);
        let said = recorded(&mut world, both[1]);
        assert_eq!(said, Some(format!("refused: {why}")));
    }
}

#[test]
fn each_suite_of_a_carrier_is_bridged_to_teams() {
    for suite in Suite::ALL {
        let mut world = World::with(3, |plan| {
            plan.trunks[COLT].srtp = SrtpPolicy::Preferred;
            plan.trunks[COLT].suites = Suite::ALL.into_iter().collect();
        });
        world.emulate_with(teams_script(), |carrier| {
            carrier.script = carrier_script();
            carrier.ability = Ability { suites: [suite].into_iter().collect(), ..Ability::srtp() };
        });
        let both = carrier_calls(&mut world);
        both_hear(&mut world, both);
        let (who, call) = both[0];
        world.act(who, |agent, now| agent.hang_up(now, call));
        world.run_for(secs(1));
    }
}
