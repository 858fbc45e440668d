//! Early media of several forks, of which one is heard; a callee that rings after it has described some; and
//! networks that say whose may pass (RFC 5009).

use b2bua::Plan;
use b2bua::plan::{EarlyMedia, Ringback, SrtpPolicy};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{Described, body, hang_up, line};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name};
use std::net::SocketAddr;

const EARLY: Name = Name::Other("P-Early-Media");

/// Teams without SRTP, so that what it says can be written here.
fn plain_teams(vary: impl FnOnce(&mut Plan)) -> World {
    World::with(1, |plan| {
        plan.trunks[TEAMS].srtp = SrtpPolicy::Off;
        vary(plan);
    })
}

fn plain(media: SocketAddr) -> String {
    sdp_text::plain(media, &["8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"])
}

fn teams_calls(world: &mut World) -> Party {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        invite.set_body("application/sdp", plain(Who::Sip.media()));
    })
}

/// A fork says this of its media, and where it is.
fn says(world: &mut World, fork: &Party, status: u16, media: SocketAddr, early: Option<&str>) {
    fork.answer(world, &fork.invite, status, |response| {
        response.set_body("application/sdp", plain(media));
        if let Some(early) = early {
            response.headers.push(EARLY, early.to_owned());
        }
    });
    world.run_for(ms(30));
}

/// Our port, as a description of ours names it.
fn ours(message: &impl Described) -> SocketAddr {
    let sdp = body(message);
    let port = line(&sdp, "m=audio").split(' ').nth(1).and_then(|port| port.parse().ok());
    World::our_media(port.expect("a port"))
}

/// Somebody sends so many packets; how many of them come to `heard`.
fn sends(world: &mut World, way: (SocketAddr, SocketAddr), heard: SocketAddr, count: u16) -> usize {
    let (from, to) = way;
    world.packets(heard);
    for _ in 0..count {
        let since = u16::try_from(world.elapsed().as_millis() / 20).unwrap_or(0);
        let mut packet = vec![0x80, 8];
        packet.extend(since.to_be_bytes());
        packet.extend((u32::from(since) * 160).to_be_bytes());
        packet.extend([0, 0, 0, from.port() as u8]);
        packet.extend([0x55; 160]);
        world.send_packet(from, to, packet);
        world.run_for(ms(20));
    }
    world.run_for(ms(20));
    world.packets(heard).len()
}

fn places() -> [SocketAddr; 3] {
    let mut third = Who::Colt.media();
    third.set_port(40_300);
    [Who::Colt.media(), Who::Bt.media(), third]
}

/// TDR-EM-007, TDR-EM-008, TDR-EM-022.
#[test]
fn the_fork_that_really_streams_is_heard_and_not_left_for_one_that_only_describes_itself() {
    let mut world = plain_teams(|_| {});
    let mut anna = teams_calls(&mut world);
    let one = Party::called(&mut world, Who::Colt);
    let (two, three) = (one.fork(&mut world), one.fork(&mut world));
    let (at, user) = (places(), Who::Sip.media());
    says(&mut world, &one, 183, at[0], None);
    says(&mut world, &two, 183, at[1], None);
    let early = anna.hears(&mut world, "183 INVITE");
    let (inside, outside) = (ours(&one.invite), ours(&early));
    assert_eq!(
        sends(&mut world, (user, outside), at[1], 5),
        5,
        "nobody sends: the last is sent to"
    );
    let heard = sends(&mut world, (at[0], inside), user, 10);
    assert!(heard >= 8, "the first one sends: {heard}");
    assert_eq!(sends(&mut world, (user, outside), at[0], 5), 5, "and is sent to");
    says(&mut world, &three, 183, at[2], None);
    for stranger in [at[1], at[2]] {
        assert_eq!(sends(&mut world, (stranger, inside), user, 10), 0, "{stranger}");
        assert_eq!(sends(&mut world, (at[0], inside), user, 10), 10);
    }
    // It falls silent, for longer than between two rings.
    world.run_for(secs(7));
    let heard = sends(&mut world, (at[1], inside), user, 10);
    assert!(heard >= 8, "the second one sends: {heard}");
    says(&mut world, &three, 200, at[2], None);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&early), body(&answer), "one description (TDR-EM-021)");
    anna.acknowledges(&mut world, &answer);
    three.gets(&mut world, "ACK");
    assert_eq!(sends(&mut world, (at[1], inside), user, 10), 0, "it has lost");
    assert_eq!(sends(&mut world, (at[2], inside), user, 10), 10);
    hang_up(&mut world, &mut anna, &three);
}

/// TDR-EM-022.
#[test]
fn a_fork_that_ends_gives_way_to_another_that_has_described_itself() {
    for by_199 in [true, false] {
        let mut world = plain_teams(|_| {});
        let mut anna = teams_calls(&mut world);
        let mut one = Party::called(&mut world, Who::Colt);
        let two = one.fork(&mut world);
        let (at, user) = (places(), Who::Sip.media());
        says(&mut world, &one, 183, at[0], None);
        let early = anna.hears(&mut world, "183 INVITE");
        let (inside, outside) = (ours(&one.invite), ours(&early));
        assert_eq!(sends(&mut world, (at[0], inside), user, 5), 5);
        says(&mut world, &two, 183, at[1], None);
        assert_eq!(sends(&mut world, (user, outside), at[0], 5), 5);
        match by_199 {
            true => one.reply(&mut world, 199),
            false => one.hangs_up(&mut world),
        }
        world.run_for(ms(30));
        assert_eq!(sends(&mut world, (user, outside), at[1], 5), 5);
        assert_eq!(sends(&mut world, (at[1], inside), user, 5), 5);
        says(&mut world, &two, 200, at[1], None);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        two.gets(&mut world, "ACK");
        hang_up(&mut world, &mut anna, &two);
    }
}

/// TDR-EM-002, TDR-EM-003, TDR-EM-023.
#[test]
fn a_callee_that_rings_and_sends_none_of_the_media_it_has_described_rings_the_caller() {
    let mut world = plain_teams(|_| {});
    let mut anna = teams_calls(&mut world);
    let subscriber = Party::called(&mut world, Who::Colt);
    let (at, user) = (Who::Colt.media(), Who::Sip.media());
    // As IMS agrees media long before there is any.
    says(&mut world, &subscriber, 183, at, None);
    let early = anna.hears(&mut world, "183 INVITE");
    subscriber.reply(&mut world, 180);
    world.run_for(ms(900));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 0, "it may yet begin");
    let ringing = anna.hears(&mut world, "180 INVITE");
    assert_eq!(body(&ringing), "");
    // Now it plays an announcement, and then nothing again.
    let inside = ours(&subscriber.invite);
    assert_eq!(sends(&mut world, (at, inside), user, 50), 50);
    let again = anna.hears(&mut world, "183 INVITE");
    assert_eq!(body(&again), body(&early), "one description (TDR-EM-021)");
    world.run_for(secs(5));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 1, "a pause of a ringing tone is as long");
    anna.hears(&mut world, "180 INVITE");
    says(&mut world, &subscriber, 200, at, None);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&answer), body(&early));
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-EM-003, TDR-EM-023.
#[test]
fn a_callee_that_rings_while_its_early_media_plays_does_not_make_the_caller_ring() {
    for begun in [true, false] {
        let mut world = plain_teams(|_| {});
        let mut anna = teams_calls(&mut world);
        let subscriber = Party::called(&mut world, Who::Colt);
        let (at, user) = (Who::Colt.media(), Who::Sip.media());
        let inside = ours(&subscriber.invite);
        says(&mut world, &subscriber, 183, at, None);
        anna.hears(&mut world, "183 INVITE");
        if begun {
            assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
        }
        subscriber.reply(&mut world, 180);
        world.run_for(ms(500));
        assert_eq!(sends(&mut world, (at, inside), user, 100), 100);
        says(&mut world, &subscriber, 200, at, None);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        subscriber.gets(&mut world, "ACK");
        assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 0);
        assert_eq!(world.sent_to(Who::Sip, "183 INVITE"), 1);
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

#[test]
fn early_media_passes_as_far_as_the_carrier_authorizes_it() {
    let mut world = plain_teams(|_| {});
    let mut anna = teams_calls(&mut world);
    let mut subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(subscriber.invite.headers.get(EARLY), None, "nobody has asked for it");
    let (at, user, inside) = (Who::Colt.media(), Who::Sip.media(), ours(&subscriber.invite));
    says(&mut world, &subscriber, 183, at, Some("inactive"));
    let ringing = anna.hears(&mut world, "180 INVITE");
    assert_eq!(body(&ringing), "");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 0);
    // An announcement, to which nobody may say anything.
    says(&mut world, &subscriber, 183, at, Some("sendonly, gated"));
    let early = anna.hears(&mut world, "183 INVITE");
    assert_eq!(early.headers.get(EARLY), None, "Teams knows none of it (TDR-OUT-010)");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
    assert_eq!(sends(&mut world, (user, ours(&early)), at, 5), 0);
    let mut update = subscriber.request(&mut world, Method::Update);
    update.headers.push(EARLY, "sendrecv");
    world.send(Who::Colt, update);
    subscriber.hears(&mut world, "200 UPDATE");
    assert_eq!(sends(&mut world, (user, ours(&early)), at, 5), 5);
    // It is over, and it rings.
    subscriber.answer(&mut world, &subscriber.invite, 180, |response| {
        response.headers.push(EARLY, "inactive");
    });
    anna.hears(&mut world, "180 INVITE");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 0);
    // And plays once more, which the caller's side must be told, as it rings meanwhile.
    let mut update = subscriber.request(&mut world, Method::Update);
    update.headers.push(EARLY, "sendrecv");
    world.send(Who::Colt, update);
    subscriber.hears(&mut world, "200 UPDATE");
    let again = anna.hears(&mut world, "183 INVITE");
    assert_eq!(body(&again), body(&early));
    assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
    says(&mut world, &subscriber, 200, at, None);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&answer), body(&early));
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_carrier_that_has_to_authorize_its_early_media_is_asked_to_and_plays_none_before() {
    let mut world = plain_teams(|plan| plan.trunks[COLT].early_media = EarlyMedia::Authorized);
    let mut anna = teams_calls(&mut world);
    let subscriber = Party::called(&mut world, Who::Colt);
    assert_eq!(subscriber.invite.headers.get(EARLY), Some(&b"supported"[..]));
    let (at, user, inside) = (Who::Colt.media(), Who::Sip.media(), ours(&subscriber.invite));
    says(&mut world, &subscriber, 183, at, None);
    let ringing = anna.hears(&mut world, "180 INVITE");
    assert_eq!(body(&ringing), "");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 0);
    says(&mut world, &subscriber, 180, at, Some("sendrecv"));
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 2, "with SDP this time");
    assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
    says(&mut world, &subscriber, 200, at, None);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn a_carrier_that_asks_is_told_what_passes_and_teams_is_not_asked() {
    for (ringback, asks, told) in [
        (Ringback::Pass, true, Some(&b"sendrecv"[..])),
        (Ringback::Tone, true, Some(&b"sendonly"[..])),
        (Ringback::Pass, false, None),
    ] {
        let mut world = World::with(1, |plan| plan.tenants[0].ringback = ringback);
        let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
        let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
            if asks {
                invite.headers.push(EARLY, "supported");
            }
        });
        let callee = Party::called(&mut world, Who::Sip);
        assert_eq!(callee.invite.headers.get(EARLY), None);
        if ringback == Ringback::Pass {
            callee.reply(&mut world, 180);
            let ringing = caller.hears(&mut world, "180 INVITE");
            assert_eq!(ringing.headers.get(EARLY), None, "its own side rings");
        }
        callee.reply(&mut world, 183);
        let early = caller.hears(&mut world, "183 INVITE");
        assert_eq!(early.headers.get(EARLY), told);
        callee.reply(&mut world, 200);
        let answer = caller.hears(&mut world, "200 INVITE");
        assert_eq!(answer.headers.get(EARLY), None);
        caller.acknowledges(&mut world, &answer);
        callee.gets(&mut world, "ACK");
        hang_up(&mut world, &mut caller, &callee);
    }
}

/// TDR-EM-004.
#[test]
fn of_all_that_the_callee_says_the_first_alone_or_everything_is_told() {
    for (ringback, says_first, told) in [
        (Ringback::First, 180, [1, 0]),
        (Ringback::First, 183, [0, 1]),
        (Ringback::All, 180, [2, 1]),
        (Ringback::All, 183, [1, 1]),
    ] {
        let mut world = plain_teams(|plan| plan.trunks[COLT].ringback = Some(ringback));
        let mut anna = teams_calls(&mut world);
        let subscriber = Party::called(&mut world, Who::Colt);
        let (at, user, inside) = (Who::Colt.media(), Who::Sip.media(), ours(&subscriber.invite));
        match says_first {
            180 => subscriber.reply(&mut world, 180),
            _ => says(&mut world, &subscriber, 183, at, None),
        }
        says(&mut world, &subscriber, 183, at, None);
        let heard = sends(&mut world, (at, inside), user, 10);
        subscriber.reply(&mut world, 180);
        world.run_for(secs(2));
        let counted = ["180 INVITE", "183 INVITE"].map(|what| world.sent_to(Who::Sip, what));
        assert_eq!(counted, told, "{ringback:?}, first {says_first}");
        let passes = ringback == Ringback::All || says_first == 183;
        assert_eq!(heard, if passes { 10 } else { 0 }, "{ringback:?}, first {says_first}");
        subscriber.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        assert!(body(&answer).contains("m=audio"));
        anna.acknowledges(&mut world, &answer);
        subscriber.gets(&mut world, "ACK");
        assert_eq!(sends(&mut world, (at, inside), user, 5), 5);
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

/// TDR-EM-007.
#[test]
fn keys_pressed_in_early_media_cross_both_ways() {
    let mut world = plain_teams(|_| {});
    let mut anna = teams_calls(&mut world);
    let subscriber = Party::called(&mut world, Who::Colt);
    let (at, user) = (Who::Colt.media(), Who::Sip.media());
    says(&mut world, &subscriber, 183, at, None);
    let early = anna.hears(&mut world, "183 INVITE");
    let (inside, outside) = (ours(&subscriber.invite), ours(&early));
    for (from, to, heard) in [(user, outside, at), (at, inside, user)] {
        sends(&mut world, (from, to), heard, 5);
        let since = u32::try_from(world.elapsed().as_millis() * 8).unwrap_or(0);
        for n in 1..=6_u8 {
            let sequence = u16::try_from(world.elapsed().as_millis() / 20).unwrap_or(0);
            let mut packet = vec![0x80, if n == 1 { 101 | 0x80 } else { 101 }];
            packet.extend(sequence.to_be_bytes());
            packet.extend(since.to_be_bytes());
            packet.extend([0, 0, 0, from.port() as u8]);
            packet.extend([5, if n > 3 { 0x8a } else { 0x0a }, n.min(4) / 2, 0]);
            world.send_packet(from, to, packet);
            world.run_for(ms(20));
        }
        world.run_for(ms(20));
        let told = world.packets(heard);
        let events = told.iter().filter(|(_, packet)| packet.len() == 16 && packet[12] == 5);
        assert!(events.count() >= 4, "{from} presses a key");
    }
    says(&mut world, &subscriber, 200, at, None);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &subscriber);
}
