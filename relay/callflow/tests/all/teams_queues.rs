//! Voice applications of Teams: call queues, attendants, parked calls, and phones that ring at once.

use callflow::plan::{ANNA, CONTOSO, PSTN};
use callflow::script::{
    body, carrier_calls_teams, connect, connect_ringing, hang_up, line, uri_of,
};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name, Request};
use std::net::SocketAddr;

/// A user of Teams that is a machine.
const ATTENDANT: &str = "+493010000100";

/// Where a media processor of Microsoft's is.
fn processor(port: u16) -> SocketAddr {
    SocketAddr::new(Who::Sip.media().ip(), port)
}

/// Teams moves its leg to another media processor, with another key.
fn moves(world: &mut World, teams: &mut Party, to: SocketAddr, key: &str) {
    let sdp = sdp_text::teams(to).replace(sdp_text::KEY, key).replacen(" 0 IN", " 1 IN", 1);
    teams.asks(world, Method::Invite, Some(sdp));
    let answer = teams.hears(world, "200 INVITE");
    teams.acknowledges(world, &answer);
    world.run_for(ms(20));
}

/// What the carrier says is heard at this place.
fn is_heard_at(world: &mut World, caller: &Party, place: SocketAddr, nth: u16) {
    let port = world.core().calls(world.now())[0].ports.expect("media is open").0;
    let mut packet = vec![0x80, 8];
    packet.extend_from_slice(&nth.to_be_bytes());
    packet.extend_from_slice(&(u32::from(nth) * 160).to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    world.packets(place);
    world.send_packet(caller.who.media(), World::our_media(port), packet);
    world.run_for(ms(50));
    assert_eq!(world.packets(place).len(), 1, "{place}");
}

/// TDR-CC-002, TDR-EM-010.
#[test]
fn a_queue_rings_for_long_plays_music_and_an_agent_takes_its_place_at_last() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut queue = Party::called(&mut world, Who::Sip);
    queue.reply(&mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    world.run_for(secs(60));
    connect_ringing(&mut world, &mut caller, &queue);
    world.run_for(ms(20));
    // Music, then another processor, then the agent.
    is_heard_at(&mut world, &caller, Who::Sip.media(), 1);
    let second = processor(50_010);
    moves(&mut world, &mut queue, second, "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9");
    is_heard_at(&mut world, &caller, second, 2);
    world.run_for(secs(120));
    let named = format!(
        "{};from-tag={};to-tag={}",
        queue.call_id,
        queue.tag,
        queue.remote_tag().expect("the dialog is confirmed")
    );
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;transport=tls");
    let third = processor(50_020);
    let mut agent = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite: &mut Request| {
        invite.headers.push(Name::Replaces, named);
        invite.set_body("application/sdp", sdp_text::teams(third));
    });
    let answer = agent.hears(&mut world, "200 INVITE");
    agent.acknowledges(&mut world, &answer);
    queue.is_hung_up(&mut world);
    world.run_for(ms(50));
    is_heard_at(&mut world, &caller, third, 3);
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0, "the carrier hears nothing of it");
    assert_eq!(world.records.len(), 0, "it is one call");
    hang_up(&mut world, &mut caller, &agent);
}

/// TDR-CC-003, TDR-HLD-003, TDR-DLG-012.
#[test]
fn a_parked_call_goes_on_with_new_media_and_is_fetched_with_newer() {
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls_teams(&mut world);
    world.run_for(ms(20));
    let ours = line(&body(&anna.invite), "m=audio").to_owned();
    for (nth, key) in [
        (1_u16, "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9"),
        (2, "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xd"),
    ] {
        let place = processor(50_000 + 2 * nth);
        moves(&mut world, &mut anna, place, key);
        is_heard_at(&mut world, &caller, place, nth);
    }
    // Our own place is where it was.
    anna.asks(&mut world, Method::Invite, None);
    let offer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(line(&body(&offer), "m=audio").split(' ').nth(1), ours.split(' ').nth(1));
    anna.acknowledges_with(&mut world, &offer, &sdp_text::teams(processor(50_004)));
    world.run_for(ms(20));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-CC-004, TDR-FWD-004.
#[test]
fn an_attendant_that_calls_out_again_shows_the_caller_and_vouches_with_its_own_number() {
    let mut world = World::new(1);
    let (caller, mut attendant) = carrier_calls_teams(&mut world);
    let uri = format!("sip:+4989777777@{CONTOSO}:5061;user=phone;transport=tls");
    let mut out = Party::call(&mut world, Who::Sip, PSTN, &uri, |invite| {
        let asserted = format!("<tel:{ATTENDANT}>,<sip:attendant@contoso.example>");
        invite.headers.push(Name::PAssertedIdentity, asserted);
        invite.headers.push(Name::Privacy, "id");
    });
    let target = Party::called(&mut world, Who::Colt);
    let headers = &target.invite.headers;
    let from = uri_of(headers.get(Name::From).unwrap());
    assert!(from.starts_with(&format!("sip:{PSTN}@")), "{from}");
    let asserted = headers.get(Name::PAssertedIdentity).unwrap_or_default();
    assert!(asserted.starts_with(format!("<tel:{ATTENDANT}>").as_bytes()));
    connect(&mut world, &mut out, &target);
    hang_up(&mut world, &mut out, &target);
    hang_up(&mut world, &mut attendant, &caller);
}

/// Anna's mobile rings beside her Teams clients: the call comes in, goes out again beside, and she
/// answers at her desk. TDR-FWD-008, TDR-DLG-042, TDR-FO-014.
#[test]
fn a_mobile_that_rings_too_is_cancelled_with_the_reason_when_teams_answers() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    let uri = format!("sip:+4917011111@{CONTOSO}:5061;user=phone;transport=tls");
    let mut beside = Party::call(&mut world, Who::Sip, PSTN, &uri, |invite| {
        let history = format!(
            "<sip:{ANNA}@sip.pstnhub.microsoft.com;user=phone?Reason=SIP%3Bcause%3D302>;index=1"
        );
        invite.headers.push(Name::HistoryInfo, history);
    });
    let mobile = Party::called(&mut world, Who::Colt);
    mobile.reply(&mut world, 180);
    beside.hears(&mut world, "180 INVITE");
    connect_ringing(&mut world, &mut caller, &anna);
    beside.cancels(&mut world, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    let cancelled = world.elapsed();
    beside.hears(&mut world, "200 CANCEL");
    let refused = beside.hears(&mut world, "487 INVITE");
    beside.acknowledges_failure(&mut world, &refused);
    let cancel = mobile.is_cancelled(&mut world);
    assert!(world.elapsed() - cancelled < ms(100), "at once");
    let reason = String::from_utf8_lossy(cancel.headers.get(Name::Reason).unwrap()).into_owned();
    assert!(reason.contains("SIP;cause=200"), "{reason}");
    world.run_for(ms(50));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-DLG-042.
#[test]
fn a_call_that_was_answered_elsewhere_in_the_public_network_says_so_to_teams() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    caller.cancels(&mut world, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    caller.hears(&mut world, "200 CANCEL");
    let refused = caller.hears(&mut world, "487 INVITE");
    caller.acknowledges_failure(&mut world, &refused);
    let cancel = anna.is_cancelled(&mut world);
    let reason = String::from_utf8_lossy(cancel.headers.get(Name::Reason).unwrap()).into_owned();
    assert!(reason.contains("SIP;cause=200"), "{reason}");
}

/// TDR-DLG-043.
#[test]
fn the_identifier_in_a_cancel_of_teams_is_kept_and_only_its_cause_crosses() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    let words = "0e1f2a3b-5ac0;Call cancelled by the user";
    anna.cancels(&mut world, Some(&format!("Q.850;cause=16;text=\"{words}\"")));
    let refused = anna.hears(&mut world, "487 INVITE");
    anna.acknowledges_failure(&mut world, &refused);
    let cancel = subscriber.is_cancelled(&mut world);
    let reason =
        String::from_utf8_lossy(cancel.headers.get(Name::Reason).unwrap_or_default()).into_owned();
    assert!(!reason.contains("0e1f2a3b"), "{reason}");
    world.run_for(secs(1));
    assert_eq!(world.records[0].reason.as_deref(), Some(words));
}
