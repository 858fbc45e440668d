//! A callee's side whose early media nobody hears: the caller's own side plays that it rings.

use b2bua::Plan;
use b2bua::plan::Ringback;
use callflow::plan::{COLT, CONTOSO, PSTN};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World};

fn of_trunk(plan: &mut Plan) {
    plan.trunks[COLT].ringback = Some(Ringback::Local);
}

fn of_tenant(plan: &mut Plan) {
    plan.tenants[0].ringback = Ringback::Local;
}

/// Whether what the callee plays before it answers comes to Teams.
fn is_heard(world: &mut World, callee: &Party) -> bool {
    let offer = body(&callee.invite);
    let port = line(&offer, "m=audio ").split(' ').nth(1).and_then(|port| port.parse().ok());
    let to = World::our_media(port.expect("an offer has a port"));
    for sequence in 1..5 {
        let packet = vec![0x80, 8, 0, sequence, 0, 0, 0, 1, 0, 0, 0, 1, 7];
        world.send_packet(callee.who.media(), to, packet);
    }
    world.run_for(callflow::secs(1));
    !world.packets(Who::Sip.media()).is_empty()
}

/// TDR-EM-004.
#[test]
fn early_media_becomes_a_180_without_sdp_and_the_answer_connects() {
    for vary in [of_trunk, of_tenant] {
        let mut world = World::with(1, vary);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let mut subscriber = Party::called(&mut world, Who::Colt);
        for status in [183, 181, 180, 183] {
            subscriber.reply(&mut world, status);
        }
        let ringing = anna.hears(&mut world, "180 INVITE");
        assert_eq!(body(&ringing), "");
        assert!(!is_heard(&mut world, &subscriber), "the carrier's announcement goes nowhere");
        subscriber.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        assert!(body(&answer).contains("m=audio"), "{}", body(&answer));
        anna.acknowledges(&mut world, &answer);
        subscriber.gets(&mut world, "ACK");
        assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 1);
        assert_eq!(world.sent_to(Who::Sip, "183 INVITE"), 0);
        hang_up(&mut world, &mut subscriber, &anna);
    }
}

/// TDR-EM-004.
#[test]
fn a_trunk_that_passes_early_media_does_so_whatever_the_tenant_says() {
    let mut world = World::with(1, |plan| {
        of_tenant(plan);
        plan.trunks[COLT].ringback = Some(Ringback::Pass);
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 183);
    let early = anna.hears(&mut world, "183 INVITE");
    assert!(body(&early).contains("m=audio"));
    assert!(is_heard(&mut world, &subscriber));
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut subscriber, &anna);
}
