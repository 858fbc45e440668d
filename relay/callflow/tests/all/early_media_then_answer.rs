//! What comes before the answer: early media, forks, ringing.

use b2bua::io::Event;
use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{body, connect_ringing, hang_up, line};
use callflow::{Party, Who, World, ms, sdp_text};

/// TDR-EM-020.
#[test]
fn teams_hears_200_straight_away_after_180_or_after_183_with_sdp() {
    for before in [None, Some(180), Some(183)] {
        let mut world = World::new(1);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let subscriber = Party::called(&mut world, Who::Colt);
        if let Some(status) = before {
            subscriber.reply(&mut world, status);
            let told = anna.hears(&mut world, &format!("{status} INVITE"));
            assert_eq!(!told.body().is_empty(), status == 183);
        }
        connect_ringing(&mut world, &mut anna, &subscriber);
        let told = [180, 183].map(|status| world.sent_to(Who::Sip, &format!("{status} INVITE")));
        assert_eq!(told, [180, 183].map(|status| usize::from(before == Some(status))));
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

/// TDR-EM-020, TDR-EM-021, TDR-EM-023.
#[test]
fn early_media_gives_the_one_answer_and_a_later_180_is_kept_back() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 183);
    let early = anna.hears(&mut world, "183 INVITE");
    subscriber.reply(&mut world, 180);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    assert_eq!(body(&early), body(&answer));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 0);
    assert_eq!(early.headers.to().tag(), answer.headers.to().tag());
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-EM-001, TDR-EM-002, TDR-EM-005, TDR-EM-008.
#[test]
fn three_forks_look_like_one_callee_and_the_third_answers() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let one = Party::called(&mut world, Who::Sip);
    let two = one.fork(&mut world);
    let three = one.fork(&mut world);
    one.reply(&mut world, 180);
    two.reply(&mut world, 180);
    let ringing = caller.hears(&mut world, "180 INVITE");
    two.reply(&mut world, 183);
    let early = caller.hears(&mut world, "183 INVITE");
    three.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    let ack = three.gets(&mut world, "ACK");
    assert_eq!(ack.headers.to().tag(), Some(three.tag.as_bytes()));
    assert_eq!(ringing.headers.to().tag(), answer.headers.to().tag());
    assert_eq!(early.headers.to().tag(), answer.headers.to().tag());
    assert_eq!(world.sent_to(Who::Colt, "180 INVITE"), 1);
    let mut three = three;
    hang_up(&mut world, &mut three, &caller);
}

#[test]
fn a_second_fork_that_answers_too_is_acknowledged_and_hung_up() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let one = Party::called(&mut world, Who::Sip);
    let two = one.fork(&mut world);
    one.reply(&mut world, 200);
    two.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    let bye = two.gets(&mut world, "BYE");
    assert_eq!(bye.headers.to().tag(), Some(two.tag.as_bytes()));
    two.answer(&mut world, &bye, 200, |_| {});
    assert_eq!(world.sent_to(Who::Sip, "ACK"), 2);
    let mut one = one;
    hang_up(&mut world, &mut one, &caller);
}

/// TDR-EM-010.
#[test]
fn ringing_that_never_ends_is_given_up() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    world.run_for(callflow::secs(184));
    subscriber.is_cancelled(&mut world);
    anna.hears(&mut world, "480 INVITE");
}

/// TDR-EM-008, TDR-EM-021.
#[test]
fn one_fork_gives_early_media_and_another_answers_with_another_codec() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let desk = Party::called(&mut world, Who::Sip);
    let mobile = desk.fork(&mut world);
    let invite = desk.invite.clone();
    let says = |world: &mut World, fork: &Party, status: u16, codec: &str| {
        let sdp = callflow::sdp_text::secure(Who::Sip.media(), &[codec]);
        fork.answer(world, &invite, status, |it| it.set_body("application/sdp", sdp));
    };
    says(&mut world, &desk, 183, "8 PCMA/8000");
    caller.hears(&mut world, "183 INVITE");
    says(&mut world, &mobile, 200, "0 PCMU/8000");
    let answer = caller.hears(&mut world, "200 INVITE");
    let told = body(&answer);
    assert!(line(&told, "m=audio").ends_with(" 8 101"), "it has its answer already: {told}");
    caller.acknowledges(&mut world, &answer);
    let asked = caller.gets(&mut world, "INVITE");
    assert!(line(&body(&asked), "m=audio").ends_with(" 0 101"), "{}", body(&asked));
    let pcmu = callflow::sdp_text::plain(Who::Colt.media(), &["0 PCMU/8000"]);
    caller.agrees(&mut world, &asked, pcmu);
    caller.gets(&mut world, "ACK");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    mobile.gets(&mut world, "ACK");
    world.run_for(callflow::ms(20));
    hang_up(&mut world, &mut caller, &mobile);
}

/// TDR-EM-022.
#[test]
fn the_last_fork_to_begin_its_early_media_is_heard_and_a_repeat_moves_nothing() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let one = Party::called(&mut world, Who::Colt);
    let two = one.fork(&mut world);
    let elsewhere = Who::Bt.media();
    one.reply(&mut world, 183);
    let early = anna.hears(&mut world, "183 INVITE");
    two.answer(&mut world, &two.invite, 183, |response| {
        response.set_body("application/sdp", sdp_text::carrier(elsewhere));
    });
    one.reply(&mut world, 183);
    world.run_for(ms(50));
    let offered = body(&two.invite);
    let port = line(&offered, "m=audio").split(' ').nth(1).and_then(|port| port.parse().ok());
    let ours = World::our_media(port.expect("our offer has a port"));
    world.send_packet(elsewhere, ours, rtp(8, 1));
    world.run_for(ms(50));
    assert_eq!(world.packets(Who::Sip.media()).len(), 1, "the second fork is heard");
    world.send_packet(Who::Colt.media(), ours, rtp(8, 2));
    world.run_for(ms(50));
    assert_eq!(world.packets(Who::Sip.media()).len(), 0, "the first one is not");
    two.answer(&mut world, &two.invite, 200, |_| {});
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&early), body(&answer));
    anna.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut anna, &two);
}

#[test]
fn forks_beyond_the_bound_are_counted_and_ring_nobody() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let first = Party::called(&mut world, Who::Colt);
    for _ in 0..32 {
        let fork = first.fork(&mut world);
        fork.reply(&mut world, 180);
    }
    let extra = first.fork(&mut world);
    extra.reply(&mut world, 183);
    world.run_for(ms(100));
    anna.hears(&mut world, "180 INVITE");
    assert_eq!(world.sent_to(Who::Sip, "183 INVITE"), 0);
    let counted = |event: &&Event| matches!(event, Event::Discarded { reason: "too_many_forks" });
    assert_eq!(world.events.iter().filter(counted).count(), 1);
    // Who answers is heard all the same.
    extra.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut anna, &extra);
}

#[test]
fn a_fork_that_ends_with_199_rings_nobody_and_181_and_182_cross_as_they_are() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let one = Party::called(&mut world, Who::Colt);
    let two = one.fork(&mut world);
    for (party, status) in [(&one, 182), (&one, 181), (&one, 199), (&two, 180)] {
        party.reply(&mut world, status);
    }
    for status in ["182 INVITE", "181 INVITE", "180 INVITE"] {
        let heard = anna.hears(&mut world, status);
        assert!(heard.body().is_empty());
    }
    assert_eq!(world.sent_to(Who::Sip, "199 INVITE"), 0);
    two.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    // What comes after the answer says nothing any more.
    one.reply(&mut world, 180);
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 1);
    hang_up(&mut world, &mut anna, &two);
}

/// TDR-EM-009.
#[test]
fn teams_says_that_it_forwards_the_call_and_the_carrier_is_told_so() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.answer(&mut world, &anna.invite, 181, |response| {
        let forwarded =
            "<sip:+493010001299@sip.pstnhub.microsoft.com?Reason=SIP%3Bcause%3D302>;index=1";
        response.headers.push(sip_core::Name::HistoryInfo, forwarded);
    });
    let told = caller.hears(&mut world, "181 INVITE");
    assert_eq!(body(&told), "");
    let clara = anna.fork(&mut world);
    callflow::script::connect(&mut world, &mut caller, &clara);
    let mut clara = clara;
    hang_up(&mut world, &mut clara, &caller);
}

/// TDR-EM-010; and it rings by 180 alone, as with Local Media Optimization (TDR-EM-006).
#[test]
fn teams_may_look_for_its_user_for_minutes_after_its_100() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    anna.answer(&mut world, &anna.invite, 100, |_| {});
    world.run_for(callflow::secs(179));
    assert_eq!(world.sent_to(Who::Sip, "CANCEL") + world.sent_to(Who::Sip2, "INVITE"), 0);
    callflow::script::connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut anna, &caller);
}

fn rtp(payload_type: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    packet
}
