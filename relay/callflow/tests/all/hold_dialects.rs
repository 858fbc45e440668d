//! Hold as anybody says it, by either side and by both: what each side is told and answered, and that
//! all is as it was when the last has resumed.

use crate::reinvite::{agrees, crosses, direction};
use callflow::script::{body, carrier_calls_teams, hang_up, teams_calls_carrier, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text};
use sip_core::Method;

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
        other.answer(world, &asked, 200, |response| response.set_body("application/sdp", answer));
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
        let answer = theirs.to_owned();
        other.answer(world, &asked, 200, |response| response.set_body("application/sdp", answer));
        other.gets(world, "ACK");
    }
    let answer = holder.hears(world, "200 INVITE");
    holder.acknowledges(world, &answer);
    world.run_for(ms(20));
}
