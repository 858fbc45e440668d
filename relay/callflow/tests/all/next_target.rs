//! The first target does not take the call: who gets it then, and what the caller is told.

use callflow::plan::{ANNA, COLT, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{body, connect, hang_up, line};
use callflow::{Party, Who, World, ms, secs};
use sip_core::Name;

fn goes_out_by_bt(world: &mut World, anna: &mut Party) {
    let subscriber = Party::called(world, Who::Bt);
    connect(world, anna, &subscriber);
    hang_up(world, anna, &subscriber);
    world.run_until(secs(1), |world| !world.records.is_empty());
}

fn outcomes(world: &World) -> Vec<(&str, &str)> {
    let attempts = &world.records.last().expect("a call has ended").attempts;
    attempts.iter().map(|it| (it.trunk.as_str(), it.outcome.as_str())).collect()
}

#[test]
fn the_carrier_says_503_and_the_next_trunk_takes_it() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let full = Party::called(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    goes_out_by_bt(&mut world, &mut anna);
    assert_eq!(outcomes(&world), [("colt", "503"), ("bt", "200")]);
}

#[test]
fn a_silent_trunk_gives_way_after_three_seconds_and_its_late_200_is_ended() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let sleeper = Party::called(&mut world, Who::Colt);
    let subscriber = Party::called(&mut world, Who::Bt);
    assert!(world.elapsed() < secs(4));
    // The sleeper wakes up and takes the call all the same.
    sleeper.reply(&mut world, 200);
    sleeper.gets(&mut world, "ACK");
    sleeper.is_hung_up(&mut world);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    assert_eq!(outcomes(&world), [("colt", "timeout"), ("bt", "200")]);
}

/// TDR-FO-001.
#[test]
fn a_refused_connection_gives_way_to_the_next_target() {
    let mut world = World::new(1);
    world.refuse_connections(Who::Sip);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip2);
    assert!(
        anna.invite.uri.ends_with(b"@sip2.pstnhub.microsoft.com:5061;user=phone;transport=tls")
    );
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
    world.run_for(secs(1));
    assert_eq!(outcomes(&world), [("teams", "refused"), ("teams", "200")]);
}

#[test]
fn all_trunks_down_gives_503() {
    let mut world = World::new(1);
    world.refuse_connections(Who::Colt);
    world.refuse_connections(Who::Bt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    anna.hears(&mut world, "503 INVITE");
    world.run_for(secs(1));
    assert_eq!(outcomes(&world), [("colt", "refused"), ("bt", "refused")]);
    assert_eq!(world.records[0].cause, "trunk_down");
}

/// TDR-FO-001, TDR-FO-002.
#[test]
fn teams_says_503_with_retry_after_and_sip2_takes_it() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let draining = Party::called(&mut world, Who::Sip);
    draining.answer(&mut world, &draining.invite, 503, |response| {
        response.headers.push(Name::RetryAfter, "1");
    });
    let mut anna = Party::called(&mut world, Who::Sip2);
    connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

#[test]
fn busy_is_the_callees_word_and_no_other_trunk_is_tried() {
    for status in [404, 480, 486, 603] {
        let mut world = World::new(1);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        subscriber.reply(&mut world, status);
        let refused = anna.hears(&mut world, &format!("{status} INVITE"));
        assert!(refused.headers.get(Name::Reason).is_some());
        assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
    }
}

/// TDR-FO-005.
#[test]
fn a_target_that_does_not_answer_options_is_tried_last() {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world.refuse_connections(Who::Sip);
    for who in [Who::Sip2, Who::Sip3] {
        let probe = world.expect(who, "OPTIONS");
        let target = Party::of_invite(&mut world, who, &probe);
        target.answer(&mut world, &target.invite, 200, |_| {});
    }
    world.run_for(secs(10));
    Party::from_carrier(&mut world, Who::Colt, ANNA);
    Party::called(&mut world, Who::Sip2);
    let up: Vec<bool> = world.core().targets(world.now()).iter().map(|it| it.up).collect();
    assert_eq!(up[..3], [false, true, true]);
    assert!(world.records.is_empty(), "the call is still up");
}

#[test]
fn a_tenant_without_second_trunk_has_no_second_try() {
    let mut world = World::new(1);
    let mut boris = Party::from_teams(&mut world, FABRIKAM, PSTN);
    let full = Party::called(&mut world, Who::Bt);
    full.reply(&mut world, 503);
    boris.hears(&mut world, "503 INVITE");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
}

#[test]
fn a_trunk_that_fails_after_ten_seconds_has_no_successor() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let slow = Party::called(&mut world, Who::Colt);
    slow.reply(&mut world, 100);
    world.run_for(secs(11));
    slow.reply(&mut world, 503);
    anna.hears(&mut world, "503 INVITE");
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
}

#[test]
fn trunks_that_are_full_are_call_limit_but_not_for_an_emergency() {
    let mut world = World::with(1, |plan| {
        for trunk in &mut plan.trunks[1..] {
            trunk.limits.calls = Some(0);
        }
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    anna.hears(&mut world, "503 INVITE");
    assert_eq!(world.records[0].cause, "call_limit");
    let mut anna = Party::from_teams(&mut world, CONTOSO, "+112");
    let rescue = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &rescue);
    hang_up(&mut world, &mut anna, &rescue);
}

#[test]
fn the_next_trunk_has_its_media_on_another_address() {
    let mut world = World::with(1, |plan| plan.trunks[2].media = callflow::plan::OUTSIDE);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let full = Party::called(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    let subscriber = Party::called(&mut world, Who::Bt);
    let port = |party: &Party| {
        let sdp = body(&party.invite);
        let port = line(&sdp, "m=audio").split(' ').nth(1).and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {sdp}"))
    };
    let (first, second): (u16, u16) = (port(&full), port(&subscriber));
    assert!((30_000..31_000).contains(&first) && (20_000..21_000).contains(&second));
    connect(&mut world, &mut anna, &subscriber);
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    packet.extend_from_slice(&[0x55; 160]);
    world.send_packet(Who::Bt.media(), World::our_media(second), packet);
    world.run_for(ms(50));
    assert_eq!(world.packets(Who::Sip.media()).len(), 1);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    let media = world.records[0].media.as_ref().expect("media was open");
    assert_eq!((media.b.received_packets, media.a.sent_packets), (1, 1));
}

/// TDR-FO-001, TDR-FO-006.
#[test]
fn three_silent_targets_are_given_up_before_teams_gives_up() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    caller.hears(&mut world, "504 INVITE");
    assert!(world.elapsed() < secs(10));
    let asked = [Who::Sip, Who::Sip2, Who::Sip3].map(|who| world.sent_to(who, "INVITE"));
    assert_eq!(asked, [1, 1, 1]);
}

#[test]
fn a_redirection_is_followed_within_the_carrier_and_nowhere_else() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].follow_redirects = true);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let first = Party::called(&mut world, Who::Colt);
    let moved = format!(
        "<sip:+4989777@{}>;q=0.5, <sip:+4989666@{}>",
        Who::Colt.address(),
        Who::Bt.address()
    );
    redirects(&mut world, &first, 302, &moved);
    let second = Party::called(&mut world, Who::Colt);
    let uri = String::from_utf8_lossy(&second.invite.uri).into_owned();
    assert!(uri.starts_with("sip:+4989777@"), "{uri}");
    connect(&mut world, &mut anna, &second);
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
    hang_up(&mut world, &mut anna, &second);
    let outcomes: Vec<&str> =
        world.records[0].attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["302", "200"]);
}

#[test]
fn redirections_in_a_circle_end_after_three() {
    let mut world = World::with(1, |plan| plan.trunks[COLT].follow_redirects = true);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    for _ in 0..4 {
        let here = Party::called(&mut world, Who::Colt);
        redirects(&mut world, &here, 302, &format!("<sip:{PSTN}@{}>", Who::Colt.address()));
    }
    anna.hears(&mut world, "503 INVITE");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 4);
}

/// TDR-XFR-040.
#[test]
fn a_redirection_is_a_failure_where_nobody_asked_to_follow_it() {
    for (follow, status, contact) in [
        (false, 302, format!("<sip:{PSTN}@{}>", Who::Colt.address())),
        (true, 302, format!("<sip:{PSTN}@{}>", Who::Bt.address())),
        (true, 302, format!("<sip:{PSTN}@{};transport=tcp>", Who::Colt.address())),
        (true, 302, "<tel:+4989777>".to_owned()),
        (true, 305, format!("<sip:{}>", Who::Colt.address())),
    ] {
        let mut world = World::with(1, |plan| plan.trunks[COLT].follow_redirects = follow);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        redirects(&mut world, &subscriber, status, &contact);
        let refused = anna.hears(&mut world, "503 INVITE");
        anna.acknowledges_failure(&mut world, &refused);
        assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1, "{contact}");
    }
}

fn redirects(world: &mut World, callee: &Party, status: u16, contacts: &str) {
    callee.answer(world, &callee.invite, status, |response| {
        response.headers.push(Name::Contact, contacts.to_owned());
    });
}
