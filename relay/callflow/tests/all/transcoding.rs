//! Legs without a codec in common: transcoded where it is allowed, refused where it is not.

use crate::sound::{both_hear, carrier_calls, ends, teams_calls};
use b2bua::Plan;
use b2bua::io::Event as CoreEvent;
use callflow::plan::{ANNA, BT, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World, carrier_script, ms, sdp_text, secs, teams_script};
use emulate::Event;
use sdp::{Codec, Codecs, Conversion};

/// Teams speaks A-law and the carriers µ-law.
fn apart(plan: &mut Plan) {
    plan.trunks[TEAMS].codecs = Codecs::only(["PCMA"]);
    plan.trunks[COLT].codecs = Codecs::only(["PCMU"]);
    plan.trunks[BT].codecs = Codecs::only(["PCMU"]);
}

fn told(world: &World) -> Vec<Option<(&'static str, &'static str)>> {
    let now = |event: &CoreEvent| match event {
        CoreEvent::Transcoded { now, .. } => Some(*now),
        _ => None,
    };
    world.events.iter().filter_map(now).collect()
}

fn refused(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, CoreEvent::TranscodingRefused)).count()
}

#[test]
fn both_hear_each_other_in_their_own_codecs_and_again_after_a_hold() {
    for carrier_begins in [true, false] {
        let mut world = World::with(3, |plan| {
            apart(plan);
            plan.tenants[0].transcode = true;
        });
        world.emulate(teams_script(), carrier_script());
        let both = match carrier_begins {
            true => carrier_calls(&mut world),
            false => teams_calls(&mut world),
        };
        both_hear(&mut world, both);
        let [(who, call), (held, far_call)] = both;
        let invites = world.sent_to(held, "INVITE");
        assert!(world.act(who, |agent, now| agent.hold(now, call)));
        world.sees(held, |event| matches!(event, Event::Held { by_us: false, .. }));
        world.run_for(ms(200));
        world.act(held, |agent, _| agent.listen_anew(far_call));
        world.run_for(secs(5));
        assert_eq!(world.heard(held, far_call).packets, 0);
        assert!(world.act(who, |agent, now| agent.resume(now, call)));
        world.sees(who, |event| matches!(event, Event::Resumed { .. }));
        both_hear(&mut world, both);
        assert_eq!(world.sent_to(held, "INVITE"), invites + 2, "no codec had to change");
        ends(&mut world, both[0]);
        let (from, to) = match carrier_begins {
            true => (Codec::Pcmu, Codec::Pcma),
            false => (Codec::Pcma, Codec::Pcmu),
        };
        assert_eq!(world.records[0].transcoded, Some(Conversion { from, to }));
        assert_eq!(told(&world), [Some((from.as_str(), to.as_str())), None]);
    }
}

/// TDR-COD-009
#[test]
fn a_call_that_has_a_codec_in_common_is_not_transcoded() {
    let mut world = World::with(3, |plan| plan.tenants[0].transcode = true);
    world.emulate(teams_script(), carrier_script());
    let both = teams_calls(&mut world);
    both_hear(&mut world, both);
    ends(&mut world, both[0]);
    assert_eq!(world.records[0].transcoded, None);
    assert_eq!(told(&world), []);
}

#[test]
fn what_the_other_leg_lacks_is_offered_after_what_it_has() {
    let payloads = ["104 SILK/16000", "9 G722/8000", "8 PCMA/8000", "101 telephone-event/8000"];
    for (codecs, expected) in [
        (Codecs::default(), "104 9 8 0 111 101"),
        (Codecs::only(["opus", "PCMA"]), "8 111 101"),
        (Codecs::only(["opus"]), "111 101"),
    ] {
        let mut world = World::with(1, |plan| {
            plan.trunks[COLT].codecs = codecs;
            plan.trunks[COLT].transcode = Some(true);
        });
        let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
        let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
            invite.set_body("application/sdp", sdp_text::secure(Who::Sip.media(), &payloads));
        });
        let mut subscriber = Party::called(&mut world, Who::Colt);
        let ours = body(&subscriber.invite);
        assert!(line(&ours, "m=").ends_with(&format!("AVP {expected}")), "{ours}");
        // It takes what only it has.
        let opus = ["111 opus/48000/2", "101 telephone-event/8000"];
        let answer = sdp_text::plain(Who::Colt.media(), &opus);
        subscriber.accepts(&mut world, answer);
        let answered = anna.hears(&mut world, "200 INVITE");
        let theirs = body(&answered);
        assert!(line(&theirs, "m=").ends_with("SAVP 9 101"), "the first we can turn: {theirs}");
        anna.acknowledges(&mut world, &answered);
        subscriber.gets(&mut world, "ACK");
        hang_up(&mut world, &mut subscriber, &anna);
        let turned = Conversion { from: Codec::G722, to: Codec::Opus };
        assert_eq!(world.records[0].transcoded, Some(turned));
    }
}

#[test]
fn a_trunk_that_says_no_is_heard_before_one_that_says_yes() {
    for (of_trunks, of_tenant, goes) in [
        ([None, None], false, false),
        ([None, None], true, true),
        ([None, Some(true)], false, true),
        ([Some(true), None], false, true),
        ([Some(true), Some(false)], true, false),
        ([Some(false), None], true, false),
    ] {
        let mut world = World::with(3, |plan| {
            apart(plan);
            plan.trunks[TEAMS].transcode = of_trunks[0];
            plan.trunks[COLT].transcode = of_trunks[1];
            plan.trunks[BT].transcode = of_trunks[1];
            plan.tenants[0].transcode = of_tenant;
        });
        world.emulate(teams_script(), carrier_script());
        let anna = world.teams_dials(CONTOSO, ANNA, PSTN);
        world.run_for(secs(10));
        let answered = |event: &Event| matches!(event, Event::Answered { .. });
        assert_eq!(world.seen(Who::Sip).iter().any(answered), goes, "{of_trunks:?} {of_tenant}");
        if goes {
            ends(&mut world, (Who::Sip, anna));
        } else {
            assert_eq!(world.records[0].cause, "no_common_codec");
        }
    }
}

#[test]
fn without_a_place_for_it_a_call_is_as_if_it_were_not_allowed() {
    let mut world = World::with(3, |plan| {
        apart(plan);
        plan.tenants[0].transcode = true;
        plan.transcoders = 0;
    });
    world.emulate(teams_script(), carrier_script());
    world.teams_dials(CONTOSO, ANNA, PSTN);
    world.run_for(secs(5));
    assert_eq!(
        (world.records[0].status, world.records[0].cause.as_str()),
        (488, "no_common_codec")
    );
    assert!(refused(&world) > 0);
}
