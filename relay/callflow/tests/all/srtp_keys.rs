//! SRTP on both legs: suites, keys that pass through, and what ends that.

use crate::sound::{both_hear, carrier_calls};
use b2bua::io::PeerLeg;
use b2bua::plan::{Plan, SrtpPolicy};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{Described, body, hang_up, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, carrier_script, ms, sdp_text, secs, teams_script};
use emulate::{CallId, Event};
use sdp::{Ability, Notice, Suite};
use sip_core::{Method, Request};

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

/// The key that a description of ours tells.
fn key_told(message: &impl Described) -> String {
    let body = body(message);
    let key = body.split("inline:").nth(1).and_then(|rest| rest.split(['|', '\r']).next());
    key.expect("a key").to_owned()
}

/// Whoever gets it takes our re-INVITE as it is.
fn takes(world: &mut World, party: &Party, ours: &Request) {
    party.agrees(world, ours, usual_sdp(party.who));
    party.gets(world, "ACK");
}

#[test]
fn a_key_that_is_worn_before_the_ack_is_changed_after_it() {
    let mut world = World::new(3);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    subscriber.gets(&mut world, "ACK");
    world.media_says(PeerLeg::A, Notice::KeyWorn);
    world.run_for(ms(100));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0, "its ACK has not come");
    anna.acknowledges(&mut world, &answer);
    let ours = anna.gets(&mut world, "INVITE");
    assert_ne!(key_told(&ours), key_told(&answer));
    takes(&mut world, &anna, &ours);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_key_change_that_met_theirs_does_not_stand_in_the_way_of_a_hold() {
    let mut world = World::new(3);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.media_says(PeerLeg::A, Notice::KeyWorn);
    let ours = anna.gets(&mut world, "INVITE");
    anna.answer(&mut world, &ours, 491, |_| {});
    world.run_for(ms(50));
    anna.asks(&mut world, Method::Invite, Some(sdp_text::turned(&usual_sdp(Who::Sip), "inactive")));
    let hold = subscriber.gets(&mut world, "INVITE");
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    subscriber.agrees(&mut world, &hold, held);
    subscriber.gets(&mut world, "ACK");
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    assert_eq!(world.sent_to(Who::Sip, "491 INVITE"), 0);
    let again = anna.gets(&mut world, "INVITE");
    assert_ne!(key_told(&again), key_told(&ours));
    takes(&mut world, &anna, &again);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-SDP-005.
#[test]
fn teams_is_offered_no_suite_but_its_first_though_a_key_of_another_could_pass() {
    let mut world = World::with(3, |plan| {
        passes(plan);
        for trunk in &mut plan.trunks {
            trunk.srtp = SrtpPolicy::Required;
        }
        plan.trunks[COLT].suites = [Suite::AesCm128HmacSha1_32].into_iter().collect();
    });
    world.emulate_with(teams_script(), |carrier| {
        carrier.script = carrier_script();
        let suites = [Suite::AesCm128HmacSha1_32].into_iter().collect();
        carrier.ability = Ability { suites, ..Ability::srtp() };
    });
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    assert_eq!(recorded(&mut world, both[1]).as_deref(), Some("refused: teams_suite"));
}

/// Another key, that of a fork.
const OTHER: &str = "Hh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7";
/// That of a carrier's subscriber.
const THIRD: &str = "PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZ";

/// TDR-EM-008.
#[test]
fn the_key_of_a_fork_that_has_lost_does_not_protect_the_call() {
    let mut world = World::with(3, |plan| {
        for trunk in &mut plan.trunks {
            trunk.srtp = SrtpPolicy::Required;
        }
        passes(plan);
    });
    let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
    let of_carrier = sdp_text::teams(Who::Colt.media()).replace(sdp_text::KEY, THIRD);
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.set_body("application/sdp", of_carrier.clone());
    });
    let desk = Party::called(&mut world, Who::Sip);
    let mobile = desk.fork(&mut world);
    assert_eq!(key_told(&desk.invite), THIRD);
    desk.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    assert_eq!(key_told(&early), sdp_text::KEY, "the desk's own");
    let invite = mobile.invite.clone();
    mobile.answer(&mut world, &invite, 200, |response| {
        let sdp = usual_sdp(Who::Sip).replace(sdp_text::KEY, OTHER);
        response.set_body("application/sdp", sdp);
    });
    let answer = caller.hears(&mut world, "200 INVITE");
    assert_eq!(body(&answer), body(&early), "one description (TDR-EM-021)");
    caller.acknowledges(&mut world, &answer);
    mobile.gets(&mut world, "ACK");
    let ours = caller.gets(&mut world, "INVITE");
    assert!(![sdp_text::KEY, OTHER].contains(&key_told(&ours).as_str()), "a key of ours");
    caller.agrees(&mut world, &ours, of_carrier);
    caller.gets(&mut world, "ACK");
    hang_up(&mut world, &mut caller, &mobile);
    let record = world.records.last().expect("the call is over");
    assert_eq!(record.passthrough.as_deref(), Some("refused: forked"));
}
