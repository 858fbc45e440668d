//! Keys that a handshake in the media makes, between a carrier and the strict Teams.

use crate::sound::{both_hear, incoming};
use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::{Who, World, carrier_script, certificate, ms, secs, teams_script};
use emulate::{CallId, Carrier, Event};
use sdp::{Ability, Keying};

/// A world whose first carrier wants SRTP, its keys agreed by `ours` in what we offer, and by DTLS in
/// what it offers.
fn world(ours: Keying, mut vary: impl FnMut(&mut Carrier)) -> World {
    let mut world = World::with(3, |plan| {
        for trunk in plan.trunks.iter_mut().filter(|trunk| trunk.name == "colt") {
            (trunk.srtp, trunk.keying) = (b2bua::plan::SrtpPolicy::Required, ours);
        }
    });
    world.emulate_with(teams_script(), |carrier| {
        carrier.script = carrier_script();
        carrier.ability = Ability { keying: Keying::Dtls, ..Ability::srtp() };
        carrier.certificate = Some(certificate());
        vary(carrier);
    });
    world
}

fn ends(world: &mut World, (who, call): (Who, CallId)) {
    world.act(who, |agent, now| agent.hang_up(now, call));
    world.run_for(secs(1));
}

#[test]
fn a_carrier_that_offers_a_fingerprint_talks_to_teams() {
    let mut world = world(Keying::Sdes, |_| {});
    let caller = world.carrier_dials(Who::Colt, PSTN, ANNA);
    let anna = incoming(&mut world, Who::Sip);
    world.sees(Who::Colt, |event| matches!(event, Event::Answered { .. }));
    world.run_for(ms(400));
    both_hear(&mut world, [(Who::Colt, caller), (Who::Sip, anna)]);
    ends(&mut world, (Who::Sip, anna));
    assert_eq!(world.records[0].dtls, (Some("AEAD_AES_256_GCM"), None));
}

#[test]
fn a_carrier_that_is_offered_a_fingerprint_talks_to_teams_before_and_after_a_hold() {
    let mut world = world(Keying::Dtls, |_| {});
    let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
    let subscriber = incoming(&mut world, Who::Colt);
    world.sees(Who::Sip, |event| matches!(event, Event::Answered { .. }));
    let both = [(Who::Sip, anna), (Who::Colt, subscriber)];
    world.run_for(ms(400));
    both_hear(&mut world, both);
    for hold in [true, false] {
        world.act(Who::Sip, |agent, now| match hold {
            true => agent.hold(now, anna),
            false => agent.resume(now, anna),
        });
        world.run_for(secs(1));
    }
    world.run_for(ms(400));
    both_hear(&mut world, both);
    ends(&mut world, both[0]);
    assert_eq!(world.records[0].dtls, (None, Some("AEAD_AES_256_GCM")));
    let done = |event: &&b2bua::io::Event| {
        matches!(event, b2bua::io::Event::Handshake { result: "done", .. })
    };
    assert_eq!(world.events.iter().filter(done).count(), 1, "the hold makes no second handshake");
}

#[test]
fn a_carrier_whose_handshake_never_comes_is_hung_up_on_both_sides() {
    let mut world = world(Keying::Dtls, |carrier| carrier.shakes_hands = false);
    let _anna = world.teams_dials(CONTOSO, ANNA, PSTN);
    incoming(&mut world, Who::Colt);
    world.sees(Who::Sip, |event| matches!(event, Event::Answered { .. }));
    world.run_for(secs(30));
    assert_eq!(world.records.len(), 1, "the call is over");
    assert_eq!(world.records[0].cause, "dtls_timeout");
    assert_eq!(world.records[0].dtls, (None, Some("timeout")));
    let ended = |event: &Event| matches!(event, Event::Ended { by_us: false, .. });
    assert!(world.seen(Who::Sip).iter().any(ended), "{:?}", world.seen(Who::Sip));
    assert!(world.seen(Who::Colt).iter().any(ended), "{:?}", world.seen(Who::Colt));
}
