//! Nobody is heard: what is told of it, and what ends the call.

use crate::reinvite::{agrees, crosses};
use b2bua::io::{Event, PeerLeg};
use callflow::plan::{COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{hang_up, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sdp::Silence;
use sip_core::Name;

/// What was told of whom: the leg, its trunk, and why it is not heard.
fn told(world: &World) -> Vec<(PeerLeg, String, Option<Silence>)> {
    let of = |event: &Event| match event {
        Event::Silence { leg, trunk, silence, .. } => Some((*leg, trunk.clone(), *silence)),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

/// TDR-COD-008
#[test]
fn a_call_without_audio_is_told_of_once_a_leg_and_goes_on() {
    let mut world = World::new(5);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(ms(2900));
    assert_eq!(told(&world), []);
    world.run_for(ms(200));
    let silent = Some(Silence::NoPackets);
    let both = [(PeerLeg::A, "teams".into(), silent), (PeerLeg::B, "colt".into(), silent)];
    assert_eq!(told(&world), both);
    let now = world.now();
    assert_eq!(world.core().calls(now)[0].silent, Some((silent, silent)));
    world.run_for(secs(600));
    assert_eq!(told(&world).len(), 2);
    hang_up(&mut world, &mut anna, &subscriber);
    let media = world.records[0].media.as_ref().expect("media was open");
    assert_eq!(media.a.silence.first, silent);
    assert!(media.a.silence.total >= secs(603), "{:?}", media.a.silence);
}

#[test]
fn while_it_rings_nobody_has_to_be_heard() {
    let mut world = World::new(5);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    world.run_for(secs(60));
    assert_eq!(told(&world), []);
    assert_eq!(world.core().calls(world.now())[0].silent, None);
    subscriber.reply(&mut world, 486);
    let refusal = anna.hears(&mut world, "486 INVITE");
    anna.acknowledges_failure(&mut world, &refusal);
}

#[test]
fn both_sides_dead_end_the_call_with_the_reason_where_a_trunk_wants_that() {
    for trunk in [COLT, TEAMS] {
        let mut world =
            World::with(5, |plan| plan.trunks[trunk].terms.media_timeout = Some(secs(60)));
        let (anna, subscriber) = teams_calls_carrier(&mut world);
        world.run_for(secs(59));
        assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
        world.run_for(secs(2));
        for party in [&anna, &subscriber] {
            let bye = party.is_hung_up(&mut world);
            let reason = String::from_utf8_lossy(bye.headers.get(Name::Reason).unwrap_or_default());
            assert!(reason.starts_with("SIP;cause=408;text="), "{reason}");
        }
        world.run_for(secs(1));
        assert_eq!(world.records[0].cause, "media_timeout");
    }
}

#[test]
fn of_two_trunks_that_end_dead_calls_the_more_patient_decides() {
    let mut world = World::with(5, |plan| {
        plan.trunks[COLT].terms.media_timeout = Some(secs(60));
        plan.trunks[TEAMS].terms.media_timeout = Some(secs(120));
    });
    let (_anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(secs(119));
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    world.run_for(secs(2));
    subscriber.is_hung_up(&mut world);
}

/// TDR-HLD-004.
#[test]
fn a_held_call_is_ended_by_no_silence_and_teams_gets_its_reports_all_the_while() {
    let mut world = World::with(5, |plan| {
        for trunk in plan.trunks.iter_mut() {
            (trunk.terms.media_timeout, trunk.session_timer) = (Some(secs(60)), None);
        }
    });
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &subscriber, held);
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
    agrees(&mut world, &mut anna, &subscriber, &asked, held);
    world.packets(Who::Sip.media());
    world.run_for(secs(3600));
    assert_eq!(world.sent_to(Who::Sip, "BYE") + world.sent_to(Who::Colt, "BYE"), 0);
    let reports = world.packets(Who::Sip.media());
    assert!(reports.len() > 3600 / 7, "{} reports in an hour", reports.len());
    assert!(reports.iter().all(|(_, packet)| (200..=201).contains(&packet[1])), "nothing else");
    hang_up(&mut world, &mut anna, &subscriber);
}
