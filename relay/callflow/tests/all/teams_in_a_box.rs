//! What Teams does by itself beyond plain calls, through the real core, between the strict emulated
//! Teams and emulated carriers: music, chains of calls, transfers, odd spellings, refusals.

use crate::sound::{both_hear, carrier_calls, ends, incoming, teams_calls};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN, TEAMS};
use callflow::{Who, World, carrier_script, ms, secs, teams_script};
use emulate::{
    Behaviour, CallId, Deed, Dial, Event, FAILURES, Forward, Manner, Pidf, Progress, Script, Teams,
};
use sdp::Direction;
use sip_core::usage::session_timer::Terms;

/// A number that no tenant has.
const MOBILE: &str = "+4917012345";

fn world(script: Script, vary: impl FnOnce(&mut Teams)) -> World {
    let mut world = World::new(5);
    let owns = |teams: &mut Teams| {
        for tenant in &mut teams.tenants {
            tenant.numbers = vec!["+4930".to_owned()];
        }
        vary(teams);
    };
    world.emulate_varied(script, owns, |carrier| carrier.script = carrier_script());
    world
}

fn call_that(deeds: Vec<(std::time::Duration, Deed)>) -> Script {
    teams_script().then("+4930", deeds)
}

/// How many of these this one has seen.
fn count(world: &World, who: Who, event: impl Fn(&Event) -> bool) -> usize {
    world.seen(who).iter().filter(|seen| event(seen)).count()
}

/// Music on hold comes from another source by re-INVITE, and is heard; so is Teams after the resume,
/// from there (TDR-HLD-003, TDR-DLG-014).
#[test]
fn music_from_another_source_is_heard_and_so_is_teams_after_it() {
    let mut world = world(teams_script(), |_| {});
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    let [(_, caller), (_, anna)] = both;
    for _ in 0..3 {
        assert!(world.act(Who::Sip, |agent, now| agent.music(now, anna)));
        world.run_for(secs(1));
        world.act(Who::Colt, |agent, _| agent.listen_anew(caller));
        world.run_for(secs(5));
        let heard = world.heard(Who::Colt, caller);
        assert!(heard.tone_ok && heard.packets > 240, "{heard:?}");
        let anna_heard = world.act(Who::Sip, |agent, _| agent.heard(anna)).unwrap();
        assert_eq!((anna_heard.srtp_failures, anna_heard.strays), (0, 0), "{anna_heard:?}");
        assert!(world.act(Who::Sip, |agent, now| agent.resume(now, anna)));
        world.run_for(secs(1));
        both_hear(&mut world, both);
    }
    ends(&mut world, both[0]);
}

/// Media of a call that a conference takes over comes from another machine from then on
/// (TDR-DLG-015, TDR-EMG-009).
#[test]
fn call_that_moves_to_another_machine_goes_on() {
    let mut world = world(teams_script(), |_| {});
    let both = teams_calls(&mut world);
    both_hear(&mut world, both);
    assert!(world.act(Who::Sip, |agent, now| agent.relocate(now, both[0].1)));
    world.run_for(secs(1));
    both_hear(&mut world, both);
    ends(&mut world, both[1]);
}

/// An agent of a call queue takes the place of the queue by INVITE with Replaces: the carrier hears
/// another voice and no INVITE (TDR-CC-002, TDR-XFR-030, TDR-XFR-031).
#[test]
fn agent_of_a_queue_takes_its_place() {
    let script = teams_script().then("+4930", vec![(secs(3), Deed::Replace)]);
    let mut world = world(script, |_| {});
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    world.run_for(secs(3));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    let caller = both[0];
    // The queue took the first of Teams' calls, its agent the second.
    let newcomer = (Who::Sip, CallId(both[1].1.0 + 1));
    both_hear(&mut world, [caller, newcomer]);
    assert_eq!(
        count(&world, Who::Sip, |it| matches!(it, Event::Ended { call, .. } if *call == both[1].1)),
        1
    );
    ends(&mut world, caller);
    assert_eq!(world.records.len(), 1);
}

/// An auto attendant answers and transfers to a user: the words of REFER come back octet by octet, or
/// Teams would not find the call that waits (TDR-XFR-012, TDR-XFR-013, TDR-XFR-017, TDR-XFR-021).
#[test]
fn auto_attendant_transfers_to_a_user() {
    let user = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:6b65a6a4-8b81";
    for hasty in [false, true] {
        let to = user.to_owned();
        let script = call_that(vec![(secs(3), Deed::Transfer { to, hasty })]);
        let mut world = world(script, |_| {});
        let both = carrier_calls(&mut world);
        world.run_for(secs(8));
        let target = (Who::Sip, incoming(&mut world, Who::Sip));
        assert_ne!(target, both[1]);
        both_hear(&mut world, [both[0], target]);
        ends(&mut world, target);
        assert_eq!(world.records.len(), 1, "one call (TDR-CC-001)");
    }
}

/// The target of a transfer is a number outside: Teams is called, and calls it through us
/// (fixture F-16, TDR-XFR-013).
#[test]
fn auto_attendant_transfers_to_the_public_network() {
    let to = format!("sip:{MOBILE}@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls");
    let script = call_that(vec![(secs(3), Deed::Transfer { to, hasty: false })]);
    let mut world = world(script, |_| {});
    let both = carrier_calls(&mut world);
    world.run_for(secs(10));
    let mobile = count(
        &world,
        Who::Colt,
        |it| matches!(it, Event::Incoming { to, .. } if to.contains(&MOBILE[1..])),
    );
    assert_eq!(mobile, 1, "{:?}", world.seen(Who::Colt));
    assert_eq!(world.core().calls(world.now()).len(), 2);
    ends(&mut world, both[0]);
    world.run_for(secs(1));
    assert_eq!(world.core().calls(world.now()).len(), 0);
}

/// A user that forwards to a mobile at once, when busy or without an answer.
#[test]
fn forwarded_call_comes_back_and_both_ends_end() {
    for (cause, after) in [(302, ms(0)), (486, ms(0)), (408, secs(3))] {
        let forward = Forward { to: MOBILE.to_owned(), cause, after, rings_too: false };
        let script = teams_script().forwarding("+4930", forward);
        let mut world = world(script, |teams| {
            teams.manner.forward_history = true;
            teams.manner.forward_pai = true;
        });
        let caller = world.carrier_dials(Who::Colt, PSTN, ANNA);
        world.sees(Who::Colt, |it| matches!(it, Event::Answered { call } if *call == caller));
        assert_eq!(world.core().calls(world.now()).len(), 2, "out and in again");
        ends(&mut world, (Who::Colt, caller));
        world.run_for(secs(1));
        assert_eq!(world.core().calls(world.now()).len(), 0);
    }
}

/// Simultaneous ring, won by the mobile or by a client of Teams; the mobile hears of the latter that
/// the call was completed elsewhere (TDR-FWD-008).
#[test]
fn simultaneous_ring_is_won_by_either() {
    for mobile_wins in [true, false] {
        let client = if mobile_wins { secs(9) } else { ms(900) };
        let forward =
            Forward { to: MOBILE.to_owned(), cause: 302, after: ms(100), rings_too: true };
        let script = Script::always(Behaviour::answer_after(client)).forwarding("+4930", forward);
        let mut world = world(script, |_| {});
        let caller = world.carrier_dials(Who::Colt, PSTN, ANNA);
        world.sees(Who::Colt, |it| matches!(it, Event::Answered { call } if *call == caller));
        world.run_for(secs(1));
        assert_eq!(world.sent_to(Who::Colt, "CANCEL"), usize::from(!mobile_wins));
        ends(&mut world, (Who::Colt, caller));
    }
}

/// Microsoft's refusals arrive as what they mean, and none is tried again (TDR-ERR-004, TDR-ERR-005,
/// TDR-FO-004).
#[test]
fn refusals_of_microsoft_reach_the_carrier_once() {
    for failure in FAILURES.iter().filter(|it| !matches!(it.status, 408 | 422 | 500 | 503 | 504)) {
        let fails = Behaviour::Fail { failure, after: ms(50) };
        let mut world = world(Script::always(fails), |_| {});
        let call = world.carrier_dials(Who::Colt, PSTN, ANNA);
        world.run_for(secs(5));
        let refused = world.seen(Who::Colt).iter().find_map(|it| match it {
            Event::Refused { call: of, status } if *of == call => Some(*status),
            _ => None,
        });
        let status = refused.unwrap_or_else(|| panic!("{failure:?}"));
        assert_eq!(status / 100 == 6, failure.status / 100 == 6, "{failure:?}: {status}");
        assert_ne!(status, 503, "{failure:?}");
        assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1, "{failure:?}");
        assert_eq!(world.sent_to(Who::Sip2, "INVITE"), 0, "{failure:?}");
    }
}

/// A session interval that Microsoft finds too small is raised, once (TDR-DLG-032).
#[test]
fn session_interval_that_is_too_small_is_raised() {
    let mut world = World::with(5, |plan| {
        plan.trunks[TEAMS].session_timer = Some(Terms { interval_s: 120, min_s: 90 });
    });
    let vary = |teams: &mut Teams| teams.manner.min_se_s = 300;
    world.emulate_varied(teams_script(), vary, |carrier| carrier.script = carrier_script());
    let both = carrier_calls(&mut world);
    both_hear(&mut world, both);
    assert_eq!(world.sent_by(Who::Sip, "422 INVITE"), 1);
    ends(&mut world, both[0]);
}

/// Calls written in every way that Microsoft's documents leave open come up (TDR-IN-005, TDR-IN-006,
/// TDR-FO-007, TDR-SDP-006).
#[test]
fn calls_come_up_however_microsoft_writes_them() {
    let mut world = world(teams_script(), |teams| {
        teams.manner.varied = true;
        teams.manner.forward_pai = true;
    });
    for nth in 0..24 {
        let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
        world.run_for(secs(3));
        let subscriber = world.seen(Who::Colt).iter().rev().find_map(|it| match it {
            Event::Incoming { call, .. } => Some(*call),
            _ => None,
        });
        let subscriber = subscriber.unwrap_or_else(|| panic!("call {nth}"));
        both_hear(&mut world, [(Who::Sip, anna), (Who::Colt, subscriber)]);
        let who = if nth % 2 == 0 { (Who::Sip, anna) } else { (Who::Colt, subscriber) };
        ends(&mut world, who);
    }
}

/// An emergency call whose location stands before or after SDP (TDR-EMG-001, TDR-EMG-003).
#[test]
fn emergency_call_with_its_location_in_either_place() {
    for order in [Pidf::First, Pidf::Last] {
        let mut world = World::with(5, |plan| {
            for tenant in plan.tenants.iter_mut() {
                for route in &mut tenant.routes {
                    let from_teams = route.from == b2bua::plan::RouteFrom::Teams;
                    if from_teams {
                        route.called =
                            "*".parse::<b2bua::plan::Pattern>().expect("a pattern").into();
                    }
                }
            }
        });
        world.emulate(teams_script(), carrier_script());
        let (tenant, from, to) = (CONTOSO.to_owned(), ANNA.to_owned(), "112".to_owned());
        let location = Some(order);
        let dial = Dial { tenant, from, to, location, ..Dial::default() };
        let anna =
            world.act(Who::Sip, |agent, now| agent.call(now, &dial).expect("a port is free"));
        let centre = incoming(&mut world, Who::Colt);
        world.sees(Who::Sip, |it| matches!(it, Event::Answered { .. }));
        both_hear(&mut world, [(Who::Sip, anna), (Who::Colt, centre)]);
        ends(&mut world, (Who::Sip, anna));
    }
}

/// A call that begins one-way goes both ways after a re-INVITE (TDR-HLD-008).
#[test]
fn call_that_begins_one_way_is_heard_both_ways_later() {
    let mut world = world(teams_script(), |_| {});
    let dial = Dial {
        tenant: CONTOSO.to_owned(),
        from: ANNA.to_owned(),
        to: PSTN.to_owned(),
        direction: Some(Direction::RecvOnly),
        ..Dial::default()
    };
    let anna = world.act(Who::Sip, |agent, now| agent.call(now, &dial).expect("a port is free"));
    let subscriber = incoming(&mut world, Who::Colt);
    world.sees(Who::Sip, |it| matches!(it, Event::Answered { .. }));
    world.run_for(secs(2));
    assert_eq!(world.heard(Who::Colt, subscriber).packets, 0);
    assert!(world.act(Who::Sip, |agent, now| agent.resume(now, anna)));
    world.run_for(secs(1));
    both_hear(&mut world, [(Who::Sip, anna), (Who::Colt, subscriber)]);
    ends(&mut world, (Who::Sip, anna));
}

/// Headers of Local Media Optimization change nothing for a call that needs none of it.
#[test]
fn headers_of_local_media_optimization_are_borne() {
    let mut world = world(teams_script(), |teams| {
        teams.manner.headers = Manner::media_optimized(false, CONTOSO, "");
    });
    let both = teams_calls(&mut world);
    both_hear(&mut world, both);
    let (who, call) = both[0];
    let headers = Manner::media_optimized(true, CONTOSO, "Vietnam");
    world.act(who, |agent, _| agent.set_headers(headers));
    assert!(world.act(who, |agent, now| agent.refresh(now, call)));
    world.run_for(secs(1));
    both_hear(&mut world, both);
    ends(&mut world, both[0]);
}

/// Proxies of several regions ask, each at its own pace, and all are answered (TDR-OPT-020,
/// TDR-OPT-021).
#[test]
fn options_of_several_regions_are_answered() {
    let mut world = World::with(5, |plan| plan.trunks[TEAMS].options_interval = Some(secs(60)));
    let vary = |teams: &mut Teams| {
        teams.manner.regions = ["us", "eu", "as", "oc"]
            .map(|it| format!("sip-du-a-{it}.pstnhub.microsoft.com"))
            .to_vec();
    };
    world.emulate_varied(teams_script(), vary, |carrier| carrier.script = carrier_script());
    world.run_for(secs(300));
    let answered = |it: &Event| matches!(it, Event::OptionsAnswered { status: 200, .. });
    let failed = |it: &Event| matches!(it, Event::OptionsAnswered { status, .. } if *status != 200);
    assert!(count(&world, Who::Sip, answered) >= 3 * 4 * 3, "{:?}", world.seen(Who::Sip));
    assert_eq!(count(&world, Who::Sip, failed), 0);
}

/// Microsoft repeats its description now and then; the call goes on, and what the carrier's
/// session timer wants is not for Teams (TDR-DLG-013, TDR-DLG-019, TDR-DLG-031).
#[test]
fn refreshes_of_a_long_call_are_for_nobody_else() {
    let lasts = |every| {
        let mut world = world(teams_script(), |teams| teams.manner.refresh_every = Some(every));
        let both = teams_calls(&mut world);
        world.run_for(secs(1900));
        both_hear(&mut world, both);
        assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0, "the carrier's own timer stays there");
        let asked = world.sent_to(Who::Colt, "INVITE");
        let refreshed = count(&world, Who::Sip, |it| matches!(it, Event::Refreshed { .. }));
        ends(&mut world, both[0]);
        (asked, refreshed)
    };
    let (asked, refreshed) = lasts(secs(600));
    assert!(refreshed >= 3, "{refreshed}");
    let (as_often, refreshed) = lasts(secs(300));
    assert!(refreshed >= 6, "{refreshed}");
    assert_eq!(asked, as_often, "the carrier is asked by our own timer alone");
}

/// A carrier that is slow to ring does not cost the call: Microsoft waits for ten seconds only
/// (TDR-FO-012).
#[test]
fn slow_carrier_does_not_lose_the_call_to_the_next_trunk() {
    let mut world = World::with(5, |plan| {
        plan.tenants[0].progress_after = Some(secs(8));
        plan.trunks[COLT].answer_timeout = Some(secs(20));
    });
    let vary = |teams: &mut Teams| teams.manner.patience = Some(secs(10));
    let slow = Script::always(Behaviour::Answer {
        ring_after: secs(11),
        progress: Progress::Ringing,
        answer_after: Some(secs(12)),
        talk: None,
    });
    world.emulate_varied(teams_script(), vary, |carrier| carrier.script = slow.clone());
    let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
    world.run_for(secs(15));
    let up = |it: &Event| matches!(it, Event::Answered { call } if *call == anna);
    assert_eq!(count(&world, Who::Sip, up), 1, "{:?}", world.seen(Who::Sip));
    ends(&mut world, (Who::Sip, anna));
}
