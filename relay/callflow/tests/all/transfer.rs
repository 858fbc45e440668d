//! REFER from Teams: whoever fails, hangs up or is silent in the middle of a transfer.

use b2bua::plan::{Pattern, TransferPolicy};
use callflow::plan::{ANNA, BT, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{
    body, carrier_calls_teams, hang_up, line, teams_calls_carrier, uri_of, usual_sdp, value,
};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request, Response};

/// A Teams user, as Microsoft names it (fixture F-14): no user part, parameters with colons.
pub(crate) const CLARA: &str = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:6b65a6a4-8b81-48f6-b38a-088ca65ed389";
/// The transferor and, hidden in it, the call to be replaced.
const BY: &str = "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:47378190-96da-1dac-72ff-5d2a386ecbe0;x-t=c241330b;x-ti=17fc695a;x-tt=aHR0cHM6Ly9hcGktZHUtYS11c2VhLnBzdG5odWIubWljcm9zb2Z0LmNvbS8%3D>";

/// `one` sends REFER to this target.
fn refers(world: &mut World, one: &mut Party, to: &str) -> Request {
    let mut refer = one.request(world, Method::Refer);
    refer.headers.push(Name::ReferTo, format!("<{to}>"));
    refer.headers.push(Name::ReferredBy, BY);
    world.send(one.who, refer.clone());
    refer
}

/// `one` is told this much of the new call, and says yes.
pub(crate) fn is_told(world: &mut World, one: &Party, status: &str, state: &str) {
    let notify = one.gets(world, "NOTIFY");
    assert_eq!(body(&notify), format!("SIP/2.0 {status}\r\n"));
    assert_eq!(value(&notify, Name::SubscriptionState), state);
    one.answer(world, &notify, 200, |_| {});
}

/// REFER is accepted, and the first word of the new call comes; who is called.
pub(crate) fn is_accepted(world: &mut World, one: &mut Party, to: &str) -> Party {
    refers(world, one, to);
    let asked = world.elapsed();
    let accepted = one.hears(world, "202 REFER");
    assert!(world.elapsed() - asked < ms(500), "TDR-XFR-011");
    let contact = uri_of(accepted.headers.get(Name::Contact).unwrap_or_default());
    assert!(contact.ends_with(&format!("{CONTOSO}:5061;transport=tls")), "{contact}");
    is_told(world, one, "100 Trying", "active;expires=60");
    Party::called(world, Who::Sip)
}

/// The target answers; its ACK comes.
fn answers(world: &mut World, target: &Party) {
    target.reply(world, 200);
    target.gets(world, "ACK");
}

/// The target answers, `one` is told and leaves, and so does at last the one who stayed.
fn comes_off(world: &mut World, one: &mut Party, stays: &mut Party, target: &Party) {
    answers(world, target);
    is_told(world, one, "200 OK", "terminated;reason=noresource");
    one.hangs_up(world);
    hang_up(world, stays, target);
}

fn outcomes(world: &mut World) -> Vec<(&'static str, &'static str, String)> {
    world.run_for(secs(1));
    let record = world.records.last().expect("the call is over");
    record.transfers.iter().map(|it| (it.by, it.leg, it.outcome.clone())).collect()
}

fn reinvited(world: &mut World, one: &Party) -> Request {
    let asked = one.gets(world, "INVITE");
    one.answer(world, &asked, 200, |response: &mut Response| {
        response.set_body("application/sdp", usual_sdp(one.who));
    });
    one.gets(world, "ACK");
    asked
}

/// TDR-XFR-011, TDR-XFR-012, TDR-XFR-013, TDR-XFR-016, TDR-XFR-017, TDR-XFR-021, TDR-OUT-008.
#[test]
fn a_blind_transfer_calls_the_target_as_microsoft_names_it() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let mut clara = is_accepted(&mut world, &mut anna, CLARA);
    let invite = clara.invite.clone();
    assert_eq!(String::from_utf8_lossy(&invite.uri), CLARA);
    assert_eq!(uri_of(invite.headers.get(Name::To).unwrap()), CLARA);
    assert_eq!(value(&invite, Name::ReferredBy), BY);
    let from = uri_of(invite.headers.get(Name::From).unwrap());
    assert_eq!(from, format!("sip:{PSTN}@{CONTOSO};user=phone"), "the one who stays calls");
    assert!(invite.headers.get(Name::Replaces).is_none(), "TDR-OUT-008");
    assert!(invite.headers.has_token(Name::Allow, "REFER"));
    assert_ne!(line(&body(&invite), "a=crypto"), line(&body(&anna.invite), "a=crypto"));
    assert_eq!(line(&body(&invite), "m=audio"), line(&body(&anna.invite), "m=audio"));

    clara.reply(&mut world, 180);
    is_told(&mut world, &anna, "180 Ringing", "active;expires=60");
    answers(&mut world, &clara);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0, "the carrier hears nothing of it");
    world.run_for(secs(40));
    hang_up(&mut world, &mut clara, &caller);
    assert_eq!(outcomes(&mut world), [("refer", "b", "200".to_owned())]);
    assert_eq!(world.records.len(), 1, "it is one call");
}

/// TDR-MON-005: a trace has all legs of a call, whoever is called in it by now.
#[test]
fn a_target_that_rings_is_of_no_tenant() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    is_told(&mut world, &anna, "180 Ringing", "active;expires=60");
    for leg in [&caller, &anna, &clara] {
        let of = world.core().tenant_of(leg.invite.headers.call_id());
        assert_eq!(of.as_deref(), Some("contoso"));
    }
    assert_eq!(world.core().tenant_of(b"of nobody"), None);
    // The target is busy at last: only the call that goes on is known.
    clara.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    assert_eq!(world.core().tenant_of(clara.invite.headers.call_id()), None);
    anna.hangs_up(&mut world);
    caller.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.core().tenant_of(caller.invite.headers.call_id()), None);
}

/// TDR-XFR-016.
#[test]
fn media_goes_to_the_target_from_its_answer_on() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let mut clara = is_accepted(&mut world, &mut anna, CLARA);
    let mut elsewhere = Who::Sip.media();
    elsewhere.set_port(50_002);
    let mut sequence = 0;
    let mut says = |world: &mut World| {
        sequence += 1;
        let ours = caller_port(world);
        world.send_packet(Who::Colt.media(), World::our_media(ours), rtp(sequence));
        world.run_for(ms(50));
        (world.packets(Who::Sip.media()).len(), world.packets(elsewhere).len())
    };
    assert_eq!(says(&mut world), (1, 0));
    let sdp = sdp_text::teams(elsewhere);
    let invite = clara.invite.clone();
    clara.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp.clone()));
    is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
    assert_eq!(says(&mut world), (0, 1), "early media is heard (TDR-XFR-016)");
    clara.agrees(&mut world, &invite, sdp);
    clara.gets(&mut world, "ACK");
    assert_eq!(says(&mut world), (0, 1));
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    assert_eq!(says(&mut world), (0, 1));
    hang_up(&mut world, &mut clara, &caller);
}

#[test]
fn a_target_whose_trunk_has_its_media_elsewhere_gets_ports_there_and_one_that_fails_leaves_none() {
    // The sample has carriers on another media address than Teams.
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let port = |body: &str| -> u16 {
        let port = line(body, "m=audio").split(' ').nth(1).map(str::to_owned);
        port.and_then(|port| port.parse().ok()).expect("a port")
    };
    let old = port(&body(&anna.invite));
    assert!((20_000..21_000).contains(&old));
    let in_use = world.core().media_ports_in_use();
    let to_the_pstn = format!("sip:+4989777777@{CONTOSO}:5061;user=phone");

    // Rings with early media, and is busy: the transferor has its ports back.
    refers(&mut world, &mut anna, &to_the_pstn);
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let target = Party::called(&mut world, Who::Colt);
    let new = port(&body(&target.invite));
    assert!((30_000..31_000).contains(&new), "{new}");
    let invite = target.invite.clone();
    let sdp = usual_sdp(Who::Colt);
    target.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp.clone()));
    is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
    let ours = caller_port(&world);
    let heard = |world: &mut World, who: Who, nth| {
        world.send_packet(Who::Colt.media(), World::our_media(ours), rtp(nth));
        world.run_for(ms(50));
        world.packets(who.media()).len()
    };
    assert_eq!(heard(&mut world, Who::Sip, 1), 0);
    target.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    assert_eq!(heard(&mut world, Who::Sip, 2), 1);
    assert_eq!(world.core().media_ports_in_use(), in_use);

    // Answers: its ports are the leg's from then on.
    refers(&mut world, &mut anna, &to_the_pstn);
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let target = Party::called(&mut world, Who::Colt);
    let new = port(&body(&target.invite));
    answers(&mut world, &target);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    let view = world.core().calls(world.now());
    assert_eq!(view[0].ports, Some((ours, new)));
    assert_eq!(world.core().media_ports_in_use(), in_use);
    world.packets(Who::Colt.media());
    assert_eq!(heard(&mut world, Who::Colt, 3), 1);
    hang_up(&mut world, &mut caller, &target);
    world.run_for(secs(1));
    assert_eq!(world.core().media_ports_in_use(), 0);
}

/// Our port on the caller's leg.
fn caller_port(world: &World) -> u16 {
    world.core().calls(world.now())[0].ports.expect("media is open").0
}

/// A packet of the caller's, the `nth` of its stream.
fn rtp(nth: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend_from_slice(&nth.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    packet
}

/// TDR-XFR-018, TDR-XFR-019.
#[test]
fn transfer_target_busy_and_the_call_goes_on() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    world.run_for(secs(60));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2, "it is not tried again (TDR-XFR-019)");
    hang_up(&mut world, &mut anna, &caller);
    assert_eq!(outcomes(&mut world), [("refer", "b", "486".to_owned())]);
}

/// TDR-XFR-022: an id that comes after the last transfer a record tells is that of none of them.
#[test]
fn a_transfer_beyond_those_that_are_recorded_names_no_other() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    for nth in 0..=32 {
        let mut refer = anna.request(&mut world, Method::Refer);
        refer.headers.push(Name::ReferTo, format!("<{CLARA}>"));
        if nth == 32 {
            refer.headers.push(Name::ReferredBy, BY);
        }
        world.send(anna.who, refer);
        anna.hears(&mut world, "202 REFER");
        let trying = anna.gets(&mut world, "NOTIFY");
        anna.answer(&mut world, &trying, 200, |_| {});
        Party::called(&mut world, Who::Sip).reply(&mut world, 486);
        is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    }
    hang_up(&mut world, &mut anna, &caller);
    assert_eq!(outcomes(&mut world).len(), 32);
    let transfers = &world.records.last().expect("the call is over").transfers;
    assert!(transfers.iter().all(|it| it.id.is_none()), "{transfers:?}");
}

/// TDR-XFR-016, TDR-XFR-018.
#[test]
fn early_media_of_a_target_that_fails_gives_way_to_the_transferor() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    let mut elsewhere = Who::Sip.media();
    elsewhere.set_port(50_002);
    let invite = clara.invite.clone();
    let sdp = sdp_text::teams(elsewhere);
    clara.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp));
    is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
    clara.reply(&mut world, 603);
    is_told(&mut world, &anna, "603 Decline", "terminated;reason=noresource");
    let port = caller_port(&world);
    world.send_packet(Who::Colt.media(), World::our_media(port), rtp(1));
    world.run_for(ms(50));
    assert_eq!(world.packets(Who::Sip.media()).len(), 1);
    assert!(world.packets(elsewhere).is_empty());
    hang_up(&mut world, &mut anna, &caller);
}

/// TDR-HLD-008.
/// TDR-XFR-024.
#[test]
fn a_held_caller_is_resumed_when_the_target_answers_and_not_before() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    anna.asks(&mut world, Method::Invite, Some(held));
    let asked = caller.gets(&mut world, "INVITE");
    caller.answer(&mut world, &asked, 200, |response| {
        let sdp = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
        response.set_body("application/sdp", sdp);
    });
    caller.gets(&mut world, "ACK");
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(20));

    let clara = is_accepted(&mut world, &mut anna, CLARA);
    assert!(body(&clara.invite).contains("a=sendrecv"), "TDR-HLD-008");
    clara.reply(&mut world, 180);
    is_told(&mut world, &anna, "180 Ringing", "active;expires=60");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    clara.reply(&mut world, 200);
    let asked = reinvited(&mut world, &caller);
    assert!(body(&asked).contains("a=sendrecv"));
    clara.gets(&mut world, "ACK");
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_target_with_another_codec_has_the_carrier_change_its_own() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    let invite = clara.invite.clone();
    let only = sdp_text::secure(Who::Sip.media(), &["0 PCMU/8000"]);
    clara.agrees(&mut world, &invite, only);
    clara.gets(&mut world, "ACK");
    let asked = caller.gets(&mut world, "INVITE");
    assert!(line(&body(&asked), "m=audio").ends_with("RTP/AVP 0 101"), "{}", body(&asked));
    let only = sdp_text::plain(Who::Colt.media(), &["0 PCMU/8000"]);
    caller.agrees(&mut world, &asked, only);
    caller.gets(&mut world, "ACK");
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_user_who_called_out_transfers_the_one_it_called() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let mut clara = is_accepted(&mut world, &mut anna, CLARA);
    let from = uri_of(clara.invite.headers.get(Name::From).unwrap());
    assert_eq!(from, format!("sip:{PSTN}@{CONTOSO};user=phone"), "the one who stays calls");
    answers(&mut world, &clara);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut clara, &subscriber);
    assert_eq!(outcomes(&mut world), [("refer", "a", "200".to_owned())]);
}

/// TDR-XFR-017.
#[test]
fn transferor_hangs_up_first_and_the_target_answers() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    anna.hangs_up(&mut world);
    clara.reply(&mut world, 180);
    world.run_for(secs(5));
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    answers(&mut world, &clara);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 1, "nobody is there to be told");
    hang_up(&mut world, &mut caller, &clara);
    assert_eq!(outcomes(&mut world), [("refer", "b", "200".to_owned())]);
}

/// TDR-XFR-017.
#[test]
fn transferor_hangs_up_first_and_the_target_is_busy() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    anna.hangs_up(&mut world);
    clara.reply(&mut world, 486);
    let bye = caller.is_hung_up(&mut world);
    assert_eq!(value(&bye, Name::Reason), "Q.850;cause=17");
    assert_eq!(outcomes(&mut world), [("refer", "b", "486".to_owned())]);
    assert_eq!(world.records[0].cause, "transfer_failed");
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0, "its own BYE ended that leg");
}

/// TDR-XFR-017.
#[test]
fn transferor_never_hangs_up_so_we_do() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    answers(&mut world, &clara);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    world.run_for(secs(31));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0, "it is Microsoft's to send (TDR-XFR-017)");
    anna.is_hung_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn carrier_hangs_up_while_transferring() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    is_told(&mut world, &anna, "180 Ringing", "active;expires=60");
    caller.hangs_up(&mut world);
    clara.is_cancelled(&mut world);
    world.run_for(ms(100));
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 3);
    anna.is_hung_up(&mut world);
    assert_eq!(outcomes(&mut world), [("refer", "b", "cancelled".to_owned())]);
}

#[test]
fn the_target_answers_as_the_carrier_hangs_up() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    caller.asks(&mut world, Method::Bye, None);
    clara.gets(&mut world, "CANCEL");
    clara.reply(&mut world, 200);
    anna.is_hung_up(&mut world);
    clara.gets(&mut world, "ACK");
    clara.is_hung_up(&mut world);
}

#[test]
fn carrier_hangs_up_between_the_answer_and_the_transferors_good_bye() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    answers(&mut world, &clara);
    caller.hangs_up(&mut world);
    anna.is_hung_up(&mut world);
    clara.is_hung_up(&mut world);
}

#[test]
fn refer_twice_calls_the_target_once() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "491 REFER");
    answers(&mut world, &clara);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    // The place is given away: there is nothing more to transfer.
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "481 REFER");
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_second_refer_after_a_failure_is_told_apart_from_the_first() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 480);
    is_told(&mut world, &anna, "480 Temporarily Unavailable", "terminated;reason=noresource");
    let refer = refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    let id = refer.headers.cseq().number;
    assert_eq!(value(&notify, Name::Event), format!("refer;id={id}"), "RFC 3515, 2.4.6");
    anna.answer(&mut world, &notify, 200, |_| {});
    let clara = Party::called(&mut world, Who::Sip);
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

/// TDR-XFR-023.
#[test]
fn transfers_follow_each_other_three_deep() {
    let mut world = World::new(1);
    let (mut caller, mut here) = carrier_calls_teams(&mut world);
    for _ in 0..3 {
        let there = is_accepted(&mut world, &mut here, CLARA);
        answers(&mut world, &there);
        is_told(&mut world, &here, "200 OK", "terminated;reason=noresource");
        here.hangs_up(&mut world);
        here = there;
    }
    hang_up(&mut world, &mut caller, &here);
    assert_eq!(world.records[0].transfers.len(), 3);
}

#[test]
fn the_next_transfer_does_not_wait_for_the_last_good_bye() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let mut clara = is_accepted(&mut world, &mut anna, CLARA);
    answers(&mut world, &clara);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    let dora = is_accepted(&mut world, &mut clara, CLARA);
    answers(&mut world, &dora);
    anna.is_hung_up(&mut world);
    is_told(&mut world, &clara, "200 OK", "terminated;reason=noresource");
    clara.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &dora);
}

#[test]
fn notify_is_refused_and_the_transfer_comes_off_all_the_same() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "202 REFER");
    let notify = anna.gets(&mut world, "NOTIFY");
    anna.answer(&mut world, &notify, 481, |_| {});
    let clara = Party::called(&mut world, Who::Sip);
    answers(&mut world, &clara);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 1);
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn notify_lost_and_the_transfer_comes_off_all_the_same() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "202 REFER");
    // It comes over a connection that closes, and its answer never comes back (TDR-CON-009).
    anna.gets(&mut world, "NOTIFY");
    let clara = Party::called(&mut world, Who::Sip);
    answers(&mut world, &clara);
    // Who transfers waits for the outcome before it hangs up.
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 2);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_referrer_that_wants_no_news_gets_none() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let mut refer = anna.request(&mut world, Method::Refer);
    refer.headers.push(Name::ReferTo, format!("<{CLARA}>"));
    refer.headers.push(Name::Other("Refer-Sub"), "false");
    world.send(anna.who, refer);
    anna.hears(&mut world, "202 REFER");
    let clara = Party::called(&mut world, Who::Sip);
    answers(&mut world, &clara);
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
    assert_eq!(world.sent_to(Who::Sip, "NOTIFY"), 0);
}

/// TDR-OUT-008.
#[test]
fn refer_to_strangers_is_refused() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let replaces = "sip:sip.pstnhub.microsoft.com?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc";
    for (to, status) in [
        ("sip:+4989777@evil.example.net", "403 REFER"),
        ("sip:evil.pstnhub.microsoft.com.example.net", "403 REFER"),
        (&format!("sip:{ANNA}@{}", callflow::plan::NODE), "403 REFER"),
        (replaces, "403 REFER"),
        ("https://sip.pstnhub.microsoft.com", "400 REFER"),
        ("sip:sip.pstnhub.microsoft.com?Replaces=a", "400 REFER"),
    ] {
        refers(&mut world, &mut anna, to);
        anna.hears(&mut world, status);
    }
    anna.asks(&mut world, Method::Refer, None);
    anna.hears(&mut world, "400 REFER");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &anna);
}

#[test]
fn refer_to_another_tenants_name_is_refused() {
    let mut world = World::new(1);
    // One of them is that no call names two tenants.
    world.without_laws();
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, &format!("sip:{PSTN}@{FABRIKAM}"));
    anna.hears(&mut world, "403 REFER");
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Colt, "INVITE") + world.sent_to(Who::Bt, "INVITE"), 0);
}

/// TDR-XFR-001, TDR-DLG-002.
#[test]
fn refer_is_refused_where_the_tenant_does_not_want_it() {
    let mut world = World::with(1, |plan| plan.tenants[0].transfer = TransferPolicy::None);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    assert!(!anna.invite.headers.has_token(Name::Allow, "REFER"), "TDR-XFR-001");
    refers(&mut world, &mut anna, CLARA);
    let refused = anna.hears(&mut world, "405 REFER");
    assert!(!refused.headers.has_token(Name::Allow, "REFER"));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-XFR-020, TDR-XFR-040.
#[test]
fn refer_from_a_carrier_is_refused() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut caller, CLARA);
    caller.hears(&mut world, "405 REFER");
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-IN-011.
#[test]
fn refer_outside_of_a_call_is_refused() {
    let mut world = World::new(1);
    let uri = format!("sip:{CONTOSO}:5061;transport=tls");
    let stranger = Party::call(&mut world, Who::Sip, ANNA, &uri, |request| {
        request.method = Method::Refer;
        request.headers.set(Name::CSeq, "1 REFER");
        request.headers.push(Name::ReferTo, format!("<{CLARA}>"));
    });
    world.expect(stranger.who, "403 REFER");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
}

#[test]
fn refer_before_the_answer_waits() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "491 REFER");
    anna.cancels(&mut world, None);
    subscriber.is_cancelled(&mut world);
    let refused = anna.hears(&mut world, "487 INVITE");
    anna.acknowledges_failure(&mut world, &refused);
}

#[test]
fn a_number_at_our_own_name_is_called_by_the_tenants_routes() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, &format!("sip:+4989777777@{CONTOSO}:5061;user=phone"));
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let dora = Party::called(&mut world, Who::Colt);
    assert!(String::from_utf8_lossy(&dora.invite.uri).starts_with("sip:+4989777777@"));
    assert!(dora.invite.headers.get(Name::ReferredBy).is_none());
    comes_off(&mut world, &mut anna, &mut caller, &dora);
}

/// TDR-XFR-015, TDR-XFR-019.
#[test]
fn the_named_endpoint_refuses_and_the_next_one_is_asked_the_same() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let first = is_accepted(&mut world, &mut anna, CLARA);
    first.reply(&mut world, 503);
    let clara = Party::called(&mut world, Who::Sip2);
    assert_eq!(String::from_utf8_lossy(&clara.invite.uri), CLARA, "TDR-XFR-015");
    clara.reply(&mut world, 200);
    clara.gets(&mut world, "ACK");
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    anna.hangs_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

/// TDR-XFR-015.
#[test]
fn the_named_endpoint_is_asked_first_also_where_calls_begin_at_another() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let named = CLARA.replacen("sip.", "sip2.", 1);
    refers(&mut world, &mut anna, &named);
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let clara = Party::called(&mut world, Who::Sip2);
    assert_eq!(String::from_utf8_lossy(&clara.invite.uri), named);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1, "that of the first call");
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

#[test]
fn a_target_that_rings_for_ever_is_given_up() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    // Told again and again, so that the transferor does not give up first.
    for _ in 0..5 {
        is_told(&mut world, &anna, "180 Ringing", "active;expires=60");
        world.run_for(secs(36));
    }
    clara.is_cancelled(&mut world);
    is_told(&mut world, &anna, "408 Request Timeout", "terminated;reason=noresource");
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(outcomes(&mut world), [("refer", "b", "no_answer".to_owned())]);
}

/// TDR-XFR-010.
#[test]
fn refer_comes_over_another_connection() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    world.drop_connections(Who::Sip);
    world.reconnect(Who::Sip);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

#[test]
fn a_hold_while_the_target_rings_has_to_wait() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
    caller.asks(&mut world, Method::Invite, Some(held));
    caller.hears(&mut world, "491 INVITE");
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

#[test]
fn the_host_stops_while_the_target_rings() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    world.run_for(ms(100));
    world.shut_down();
    clara.is_cancelled(&mut world);
    anna.is_hung_up(&mut world);
    caller.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert!(world.stopped);
}

/// Microsoft's tokens are long, and case and escapes in them count. TDR-XFR-013, TDR-XFR-014.
#[test]
fn four_kilobytes_of_referred_by_and_refer_to_reach_teams_octet_by_octet() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let token = "aHR0cHM6Ly9hcGktZHUtYS11c2Vh%2BLnBzdG5odWIubWljcm9zb2Z0LmNvbS8%3D".repeat(70);
    let target = format!("{CLARA};x-tt={token}");
    let by =
        format!("<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:4737;x-t=c241330b;x-tt={token}>");
    assert!(target.len() > 4_000 && by.len() > 4_000);
    let mut refer = anna.request(&mut world, Method::Refer);
    refer.headers.push(Name::ReferTo, format!("<{target}>"));
    refer.headers.push(Name::ReferredBy, by.clone());
    world.send(anna.who, refer);
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let clara = Party::called(&mut world, Who::Sip);
    assert_eq!(String::from_utf8_lossy(&clara.invite.uri), target);
    assert_eq!(uri_of(clara.invite.headers.get(Name::To).unwrap()), target);
    assert_eq!(value(&clara.invite, Name::ReferredBy), by);
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

/// Teams decides what becomes of a number: it is not called straight away. TDR-XFR-012, TDR-XFR-013.
#[test]
fn a_number_at_teams_is_called_by_way_of_teams() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let to = "sip:+14255550100@sip.pstnhub.microsoft.com:5061;transport=tls;x-d=1";
    let target = is_accepted(&mut world, &mut anna, to);
    assert_eq!(String::from_utf8_lossy(&target.invite.uri), to);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    comes_off(&mut world, &mut anna, &mut caller, &target);
}

/// Another of Microsoft's proxies sends the REFER, over a connection of its own. TDR-XFR-010.
#[test]
fn refer_comes_from_another_address_of_teams() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    anna.who = Who::Sip3;
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

/// TDR-XFR-022.
#[test]
fn a_user_of_another_tenant_of_microsofts_transfers_nothing() {
    let known = |id: &str| {
        let id = id.to_owned();
        World::with(1, |plan| plan.tenants[0].tenant_id = Some(id))
    };
    let mut world = known("0f0f0f0f-1c3e-4f5a-8b7c-a1b2c3d4e5f6");
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut anna, CLARA);
    anna.hears(&mut world, "403 REFER");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &anna);
    // Its own, in whatever letters.
    let mut world = known("c241330b");
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    comes_off(&mut world, &mut anna, &mut caller, &clara);
}

/// A PBX on the trunk of the first carrier, which may transfer its calls.
fn with_pbx() -> World {
    World::with(1, |plan| plan.trunks[callflow::plan::COLT].transfer = TransferPolicy::Refer)
}

/// TDR-XFR-040.
#[test]
fn a_pbx_transfers_its_call_to_another_user_of_the_tenant() {
    let mut world = with_pbx();
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    refers(&mut world, &mut caller, &format!("sip:+493010004321@{}", Who::Colt.ours().ip()));
    caller.hears(&mut world, "202 REFER");
    is_told(&mut world, &caller, "100 Trying", "active;expires=60");
    let clara = Party::called(&mut world, Who::Sip);
    assert!(String::from_utf8_lossy(&clara.invite.uri).starts_with("sip:+493010004321@"));
    assert!(clara.invite.headers.get(Name::ReferredBy).is_none());
    comes_off(&mut world, &mut caller, &mut anna, &clara);
}

#[test]
fn a_pbx_cannot_make_us_call_out_or_into_teams_by_name() {
    let mut world = with_pbx();
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let ours = Who::Colt.ours().ip();
    for to in [
        format!("sip:+4989777777@{ours}"),
        format!("sip:{}@{ours}", callflow::plan::BORIS),
        format!("sip:+493010004321@{}", Who::Bt.host()),
        CLARA.to_owned(),
    ] {
        refers(&mut world, &mut caller, &to);
        caller.hears(&mut world, "403 REFER");
    }
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    hang_up(&mut world, &mut caller, &anna);
}

/// A call from the carrier to a Teams user whose leg is refreshed 45 s after its answer.
fn with_a_short_session(world: &mut World) -> (Party, Party) {
    let mut caller = Party::from_carrier(world, Who::Colt, ANNA);
    let anna = Party::called(world, Who::Sip);
    let invite = anna.invite.clone();
    anna.answer(world, &invite, 200, |response| {
        response.set_body("application/sdp", usual_sdp(Who::Sip));
        response.headers.push(Name::Require, "timer");
        response.headers.push(Name::SessionExpires, "90;refresher=uac");
    });
    let answer = caller.hears(world, "200 INVITE");
    caller.acknowledges(world, &answer);
    anna.gets(world, "ACK");
    (caller, anna)
}

#[test]
fn a_transferor_that_has_left_is_not_asked_whether_it_is_there() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = with_a_short_session(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    anna.hangs_up(&mut world);
    clara.reply(&mut world, 180);
    world.run_for(secs(100));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2);
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    answers(&mut world, &clara);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_transferor_leaves_while_it_is_asked_whether_it_is_there() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = with_a_short_session(&mut world);
    world.run_for(secs(40));
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    let refresh = anna.gets(&mut world, "INVITE");
    anna.hangs_up(&mut world);
    anna.answer(&mut world, &refresh, 481, |_| {});
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    answers(&mut world, &clara);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_transferor_leaves_without_an_ack_for_its_last_answer() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 180);
    anna.asks(&mut world, Method::Invite, Some(usual_sdp(Who::Sip)));
    anna.hears(&mut world, "200 INVITE");
    anna.hangs_up(&mut world);
    world.run_for(secs(40));
    assert_eq!(world.sent_to(Who::Colt, "BYE"), 0);
    answers(&mut world, &clara);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn another_trunk_cannot_have_the_good_bye_of_a_replaced_leg() {
    let mut world = World::new(1);
    // One of them is that no leg's ids are seen on another.
    world.without_laws();
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    answers(&mut world, &clara);
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    let mut stranger = anna.clone();
    stranger.who = Who::Bt;
    stranger.asks(&mut world, Method::Options, None);
    world.run_for(secs(25));
    anna.is_hung_up(&mut world);
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn the_one_who_stays_holds_while_nobody_is_at_the_other_end() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    anna.hangs_up(&mut world);
    caller.asks(&mut world, Method::Invite, None);
    let offer = caller.hears(&mut world, "200 INVITE");
    let held = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
    caller.acknowledges_with(&mut world, &offer, &held);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2);
    answers(&mut world, &clara);
    let asked = clara.gets(&mut world, "INVITE");
    assert!(body(&asked).contains("a=inactive"), "{}", body(&asked));
    clara.answer(&mut world, &asked, 200, |response| {
        let sdp = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
        response.set_body("application/sdp", sdp);
    });
    clara.gets(&mut world, "ACK");
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_transfer_follows_the_routes_that_are_in_force_when_it_is_asked_for() {
    let mut world = World::with(1, |plan| plan.trunks.iter_mut().for_each(|it| it.media = 0));
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    world.replan(|plan| plan.tenants[0].routes[0].to = vec![BT].into());
    refers(&mut world, &mut anna, &format!("sip:{PSTN}@{CONTOSO}:5061"));
    anna.hears(&mut world, "202 REFER");
    is_told(&mut world, &anna, "100 Trying", "active;expires=60");
    let target = Party::called(&mut world, Who::Bt);
    target.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    hang_up(&mut world, &mut caller, &anna);
    world.run_for(secs(1));
    let told = &world.records[0].decision;
    assert!(told.iter().any(|line| line == "transfer: contoso: teams +* -> bt"), "{told:?}");
}

#[test]
fn a_transfer_to_a_blocked_number_is_refused() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    world.replan(|plan| {
        let pattern = "+4989*".parse::<Pattern>().unwrap();
        plan.tenants[0].block.called = Some(pattern.into());
    });
    refers(&mut world, &mut anna, &format!("sip:{PSTN}@{CONTOSO}:5061"));
    anna.hears(&mut world, "403 REFER");
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-016.
#[test]
fn a_key_change_that_waits_after_a_glare_does_not_stand_in_the_way_of_a_transfer() {
    for succeeds in [true, false] {
        let mut world = World::new(3);
        let (mut caller, mut anna) = carrier_calls_teams(&mut world);
        world.media_says(b2bua::io::PeerLeg::B, sdp::Notice::KeyWorn);
        let ours = anna.gets(&mut world, "INVITE");
        anna.answer(&mut world, &ours, 491, |_| {});
        world.run_for(ms(50));
        let clara = is_accepted(&mut world, &mut anna, CLARA);
        if succeeds {
            answers(&mut world, &clara);
            is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
            anna.hangs_up(&mut world);
            hang_up(&mut world, &mut caller, &clara);
            continue;
        }
        clara.reply(&mut world, 486);
        is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
        let again = reinvited(&mut world, &anna);
        assert_ne!(line(&body(&again), "a=crypto:"), line(&body(&anna.invite), "a=crypto:"));
        hang_up(&mut world, &mut anna, &caller);
    }
}
