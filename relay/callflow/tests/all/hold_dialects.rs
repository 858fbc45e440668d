//! Hold as anybody says it, by either side and by both: what each side is told and answered, and that
//! all is as it was when the last has resumed.

use crate::reinvite::{agrees, crosses, direction};
use b2bua::plan::HoldDialect;
use bytes::Bytes;
use callflow::plan::COLT;
use callflow::script::{body, carrier_calls_teams, hang_up, line, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use media::PacketBuf;
use media::srtp::Sender;
use sdp::{Sound, SrtpKey, Suite, Tone};
use sip_core::Method;
use std::net::SocketAddr;

/// How a hold is written: the direction, and whether the address is 0.0.0.0 (RFC 2543).
type Dialect = (&'static str, bool);

/// What each means to the holder: what it is answered, and what a carrier is offered for it; Teams is
/// offered inactive for all (TDR-HLD-001).
const DIALECTS: [(Dialect, &str, &str); 6] = [
    (("sendonly", false), "a=recvonly", "a=sendonly"),
    (("recvonly", false), "a=sendonly", "a=recvonly"),
    (("inactive", false), "a=inactive", "a=inactive"),
    (("sendrecv", true), "a=inactive", "a=inactive"),
    (("sendonly", true), "a=inactive", "a=inactive"),
    (("inactive", true), "a=inactive", "a=inactive"),
];

fn held(who: Who, (direction, zero): Dialect) -> String {
    let usual = usual_sdp(who);
    let turned = match direction {
        "sendrecv" => usual,
        direction => sdp_text::turned(&usual, direction),
    };
    match zero {
        true => turned.replace(&format!("c=IN IP4 {}", who.media().ip()), "c=IN IP4 0.0.0.0"),
        false => turned,
    }
}

/// The answer to an offer of this direction.
fn answer_to(who: Who, offered: &str) -> String {
    let usual = usual_sdp(who);
    match offered {
        "a=sendonly" => sdp_text::turned(&usual, "recvonly"),
        "a=recvonly" => sdp_text::turned(&usual, "sendonly"),
        "a=inactive" => sdp_text::turned(&usual, "inactive"),
        _ => usual,
    }
}

/// A call, the holder first.
fn call(world: &mut World, teams_holds: bool, holder_called: bool) -> (Party, Party) {
    let (caller, callee) = match teams_holds == holder_called {
        true => teams_calls_carrier(world),
        false => carrier_calls_teams(world),
    };
    if holder_called { (caller, callee) } else { (callee, caller) }
}

/// The holder offers this and the other side follows; what that was offered, and the holder's answer.
fn turns(world: &mut World, holder: &mut Party, other: &Party, sdp: String) -> (String, String) {
    let asked = crosses(world, holder, other, sdp);
    let offered = body(&asked);
    let answer = answer_to(other.who, direction(&offered));
    let answer = agrees(world, holder, other, &asked, answer);
    (direction(&offered).to_owned(), direction(&body(&answer)).to_owned())
}

/// TDR-HLD-001, TDR-HLD-002, TDR-HLD-007.
#[test]
fn each_side_understands_every_hold_of_the_other() {
    for (dialect, answered, to_carrier) in DIALECTS {
        for (teams_holds, holder_called) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let mut world = World::new(1);
            let (mut holder, other) = call(&mut world, teams_holds, holder_called);
            let expected = if teams_holds { to_carrier } else { "a=inactive" };
            let hold = held(holder.who, dialect);
            let (offered, answer) = turns(&mut world, &mut holder, &other, hold);
            let case = format!("{dialect:?}, Teams holds: {teams_holds}, called: {holder_called}");
            assert_eq!((offered.as_str(), answer.as_str()), (expected, answered), "{case}");
            assert_eq!(world.core().calls(world.now())[0].state, "held", "{case}");
            let talk = usual_sdp(holder.who);
            let (offered, answer) = turns(&mut world, &mut holder, &other, talk);
            assert_eq!((offered.as_str(), answer.as_str()), ("a=sendrecv", "a=sendrecv"), "{case}");
            assert_eq!(world.core().calls(world.now())[0].state, "answered", "{case}");
            hang_up(&mut world, &mut holder, &other);
        }
    }
}

/// TDR-HLD-006.
#[test]
fn both_hold_in_any_dialects_and_whoever_resumes_last_ends_it() {
    for (first, ..) in DIALECTS {
        for (second, ..) in DIALECTS {
            for (teams_first, first_resumes_first) in
                [(true, true), (true, false), (false, true), (false, false)]
            {
                let case = format!("{first:?}, {second:?}, {teams_first}, {first_resumes_first}");
                let mut world = World::new(1);
                let (mut one, mut two) = call(&mut world, teams_first, true);
                let hold = held(one.who, first);
                turns(&mut world, &mut one, &two, hold);
                let holding = held(two.who, second);
                both_hold(&mut world, &mut two, &one, holding.clone());
                let (last, first_to) =
                    if first_resumes_first { (&mut two, &mut one) } else { (&mut one, &mut two) };
                let stays = if first_resumes_first { holding } else { held(last.who, first) };
                resumes(&mut world, first_to, last, &stays);
                assert_eq!(world.core().calls(world.now())[0].state, "held", "{case}");
                let talk = usual_sdp(first_to.who);
                resumes(&mut world, last, first_to, &talk);
                assert_eq!(world.core().calls(world.now())[0].state, "answered", "{case}");
                hang_up(&mut world, &mut one, &two);
            }
        }
    }
}

/// A hold of who is held: the other side may hear of it, or wait as it does.
fn both_hold(world: &mut World, holder: &mut Party, other: &Party, sdp: String) {
    let before = world.sent_to(other.who, "INVITE");
    holder.asks(world, Method::Invite, Some(sdp));
    world.run_for(ms(100));
    if world.sent_to(other.who, "INVITE") > before {
        let asked = other.gets(world, "INVITE");
        let answer = sdp_text::turned(&usual_sdp(other.who), "inactive");
        other.agrees(world, &asked, answer);
        other.gets(world, "ACK");
    }
    let answer = holder.hears(world, "200 INVITE");
    assert_ne!(direction(&body(&answer)), "a=sendrecv");
    holder.acknowledges(world, &answer);
    world.run_for(ms(20));
}

/// Who has held wants to talk again; the other says `theirs` if it is asked.
fn resumes(world: &mut World, holder: &mut Party, other: &mut Party, theirs: &str) {
    let before = world.sent_to(other.who, "INVITE");
    holder.asks(world, Method::Invite, Some(usual_sdp(holder.who)));
    world.run_for(ms(100));
    if world.sent_to(other.who, "INVITE") > before {
        let asked = other.gets(world, "INVITE");
        other.agrees(world, &asked, theirs.to_owned());
        other.gets(world, "ACK");
    }
    let answer = holder.hears(world, "200 INVITE");
    holder.acknowledges(world, &answer);
    world.run_for(ms(20));
}

/// TDR-HLD-005.
#[test]
fn a_carrier_is_told_of_a_hold_in_the_dialect_of_its_trunk() {
    let zero = format!("c=IN IP4 {}", std::net::Ipv4Addr::UNSPECIFIED);
    for (dialect, teams_says, told) in [
        (HoldDialect::Pass, "inactive", "a=inactive"),
        (HoldDialect::Pass, "sendonly", "a=sendonly"),
        (HoldDialect::SendOnly, "inactive", "a=sendonly"),
        (HoldDialect::Inactive, "sendonly", "a=inactive"),
        (HoldDialect::Zero, "inactive", "a=inactive"),
        (HoldDialect::Zero, "sendonly", "a=inactive"),
    ] {
        let mut world = World::with(1, |plan| plan.trunks[COLT].hold = dialect);
        let (mut anna, subscriber) = teams_calls_carrier(&mut world);
        let case = format!("{dialect:?}, {teams_says}");
        let ours = line(&body(&subscriber.invite), "c=").to_owned();
        let hold = sdp_text::turned(&usual_sdp(Who::Sip), teams_says);
        let asked = crosses(&mut world, &mut anna, &subscriber, hold);
        let offered = body(&asked);
        assert_eq!(direction(&offered), told, "{case}");
        let nowhere = dialect == HoldDialect::Zero;
        assert_eq!(line(&offered, "c="), if nowhere { &zero } else { &ours }, "{case}");
        let answer = answer_to(Who::Colt, told);
        let answer = agrees(&mut world, &mut anna, &subscriber, &asked, answer);
        let answered = if teams_says == "inactive" { "a=inactive" } else { "a=recvonly" };
        assert_eq!(direction(&body(&answer)), answered, "{case} (TDR-HLD-002)");
        assert_eq!(world.core().calls(world.now())[0].state, "held", "{case}");
        let talk = usual_sdp(Who::Sip);
        let asked = crosses(&mut world, &mut anna, &subscriber, talk);
        assert_eq!(direction(&body(&asked)), "a=sendrecv", "{case}");
        assert_eq!(line(&body(&asked), "c="), ours, "{case}");
        agrees(&mut world, &mut anna, &subscriber, &asked, usual_sdp(Who::Colt));
        assert_eq!(world.core().calls(world.now())[0].state, "answered", "{case}");
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

/// TDR-HLD-005.
#[test]
fn a_carrier_that_knows_no_hold_is_told_of_none_and_hears_our_music() {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].hold = HoldDialect::Absorb;
        plan.trunks[COLT].terms.music_on_hold = Some(Sound::Tone(Tone::HOLDING));
    });
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let mut turn = |world: &mut World, direction: &str, answered: &str| {
        let sdp = sdp_text::turned(&usual_sdp(Who::Sip), direction);
        anna.asks(world, Method::Invite, Some(sdp));
        let answer = anna.hears(world, "200 INVITE");
        assert!(body(&answer).contains(answered), "{}", body(&answer));
        anna.acknowledges(world, &answer);
        world.run_for(ms(20));
    };
    turn(&mut world, "inactive", "a=inactive");
    assert_eq!(world.core().calls(world.now())[0].state, "held");
    world.packets(Who::Colt.media());
    world.run_for(secs(10));
    assert!(!world.packets(Who::Colt.media()).is_empty(), "it hears music");
    turn(&mut world, "sendrecv", "a=sendrecv");
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// Ten packets of a Teams source under this key (octets of it begin so).
pub(crate) fn says(world: &mut World, (from, to): (SocketAddr, SocketAddr), key: u8, first: u16) {
    let octets: Vec<u8> = (key..key + 30).collect();
    let key = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &octets).expect("a key");
    let mut sender = Sender::new(&key, 7);
    for n in first..first + 10 {
        let mut packet = vec![0x80, 8];
        packet.extend(n.to_be_bytes());
        packet.extend((u32::from(n) * 160).to_be_bytes());
        packet.extend([0, 0, 0, octets[0] + 1]);
        packet.extend([0x55; 160]);
        let mut slot = PacketBuf::new();
        slot.set_len(packet.len());
        slot.packet_mut().copy_from_slice(&packet);
        sender.protect(&mut slot).expect("a fresh key");
        world.send_packet(from, to, Bytes::copy_from_slice(slot.packet()));
        world.run_for(ms(20));
    }
    world.run_for(ms(20));
}

/// The same at the carrier's usual place: how much of it is heard there.
fn speaks(world: &mut World, way: (SocketAddr, SocketAddr), key: u8, first: u16) -> usize {
    world.packets(Who::Colt.media());
    says(world, way, key, first);
    world.packets(Who::Colt.media()).len()
}

/// TDR-HLD-002, TDR-HLD-003, TDR-DLG-014.
#[test]
fn music_from_teams_comes_from_another_source_under_another_key_and_stays_there() {
    const MUSIC: &str = "Hh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7";
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    let ports = world.core().calls(world.now())[0].ports.expect("media is open");
    let ours = World::our_media(ports.0);
    let user = Who::Sip.media();
    let mut processor = user;
    processor.set_port(52_000);
    assert_eq!(speaks(&mut world, (user, ours), 0, 1), 10);
    let moved = sdp_text::teams(processor).replace(sdp_text::KEY, MUSIC);
    let hold = sdp_text::turned(&moved, "sendonly");
    let asked = crosses(&mut world, &mut anna, &subscriber, hold);
    assert_eq!(direction(&body(&asked)), "a=sendonly");
    for same in ["c=", "m=audio"] {
        let (asked, first) = (body(&asked), body(&subscriber.invite));
        assert_eq!(line(&asked, same), line(&first, same), "the carrier sees the same place");
    }
    let answer = answer_to(Who::Colt, "a=sendonly");
    let answer = agrees(&mut world, &mut anna, &subscriber, &asked, answer);
    assert_eq!(direction(&body(&answer)), "a=recvonly");
    assert_eq!(speaks(&mut world, (processor, ours), 30, 1), 10, "the music");
    world.run_for(secs(6));
    assert_eq!(speaks(&mut world, (user, ours), 0, 500), 0, "the user has left that place");
    assert_eq!(speaks(&mut world, (processor, ours), 30, 300), 10);
    // The call stays at the processor, and goes on.
    let talk = moved.replacen(" 0 IN", " 2 IN", 1);
    let asked = crosses(&mut world, &mut anna, &subscriber, talk);
    assert_eq!(direction(&body(&asked)), "a=sendrecv");
    agrees(&mut world, &mut anna, &subscriber, &asked, usual_sdp(Who::Colt));
    assert_eq!(speaks(&mut world, (processor, ours), 30, 700), 10);
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    packet.extend([0x55; 160]);
    world.packets(processor);
    world.send_packet(Who::Colt.media(), World::our_media(ports.1), packet);
    world.run_for(ms(50));
    assert_eq!(world.packets(processor).len(), 1);
    hang_up(&mut world, &mut anna, &subscriber);
}
