//! Why a call failed or ended: what Microsoft says is kept, and what each side is told of it.

use b2bua::plan::{Limits, ReasonPolicy};
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{carrier_calls_teams, hang_up, teams_calls_carrier};
use callflow::{Party, Who, World, secs};
use sip_core::{Headers, Method, Name, Response};

const GUID: &str = "9b0e4c1e-3924-56de-3eb1-3b9046685257";

fn reason(headers: &Headers) -> String {
    let all: Vec<&[u8]> = headers.all(Name::Reason).collect();
    String::from_utf8_lossy(&all.join(&b", "[..])).into_owned()
}

/// Teams answers a carrier's call so; what the carrier hears.
fn refuses(world: &mut World, status: u16, said: Option<&str>) -> Response {
    let mut caller = Party::from_carrier(world, Who::Colt, ANNA);
    let anna = Party::called(world, Who::Sip);
    anna.answer(world, &anna.invite, status, |response| {
        if let Some(said) = said {
            response.headers.push(Name::Reason, said.to_owned());
        }
    });
    let refusal = caller.hears(world, &format!("{status} INVITE"));
    caller.acknowledges_failure(world, &refusal);
    world.run_for(secs(1));
    refusal
}

/// TDR-ERR-001, TDR-MON-004: id, phrase, code and status are in the record of the call.
#[test]
fn what_microsoft_says_of_a_failure_is_in_the_record() {
    let mut world = World::new(1);
    let text = format!("Q.850;cause=63;text=\"{GUID};No trunk config was found\"");
    refuses(&mut world, 403, Some(&text));
    let record = world.records.last().unwrap();
    let said = record.microsoft.as_ref().unwrap();
    assert_eq!(said.guid.as_deref(), Some(GUID));
    assert_eq!(said.phrase.as_deref(), Some("No trunk config was found"));
    assert_eq!((said.status, said.cause, said.sub_code), (Some(403), Some(63), Some(510_532)));
    assert!(said.meaning().unwrap().action.contains("Teams admin"));
    assert_eq!(record.fqdn.as_deref(), Some(CONTOSO));
}

/// TDR-ERR-001: whichever Reason speaks, and in whichever case.
#[test]
fn words_that_stand_in_the_second_reason_are_kept() {
    let mut world = World::new(1);
    let text = format!("SIP;cause=486, Q.850;cause=34;TEXT=\"{GUID};busy\"");
    refuses(&mut world, 486, Some(&text));
    let record = world.records.last().unwrap();
    assert_eq!(record.reason.as_deref(), Some(&*format!("{GUID};busy")));
    assert_eq!(record.microsoft.as_ref().unwrap().phrase.as_deref(), Some("busy"));
}

/// TDR-MON-004: the same of an end, with who was at the Teams end, how many rang, and what they spoke.
#[test]
fn the_record_of_a_call_names_the_host_the_version_and_the_codec_of_teams() {
    let mut world = World::new(1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    let other = anna.fork(&mut world);
    for fork in [&anna, &other] {
        fork.reply(&mut world, 180);
    }
    anna.answer(&mut world, &anna.invite, 200, |response| {
        response.set_body("application/sdp", callflow::script::usual_sdp(Who::Sip));
        response.headers.push(Name::Server, "Microsoft.PSTNHub.SIPProxy v.2026.1.2.3 i.EUWE.5");
    });
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    let mut anna = anna;
    anna.gets(&mut world, "ACK");
    let mut bye = anna.request(&mut world, Method::Bye);
    let text = format!("Q.850;cause=16;text=\"{GUID};CallEndReasonLocalUserInitiated\"");
    bye.headers.push(Name::Reason, text);
    world.send(Who::Sip, bye);
    anna.hears(&mut world, "200 BYE");
    let told = caller.is_hung_up(&mut world);
    assert_eq!(reason(&told.headers), "Q.850;cause=16", "no id of Microsoft's leaves");
    world.run_for(secs(1));
    let record = world.records.last().unwrap();
    assert_eq!(record.microsoft.as_ref().unwrap().guid.as_deref(), Some(GUID));
    let teams = &record.teams;
    assert_eq!(teams.address, Some(Who::Sip.address().ip()));
    assert!(teams.agent.as_ref().unwrap().contains("i.EUWE.5"));
    assert_eq!(
        (teams.forks, teams.media, teams.codec.as_deref()),
        (2, Some("processor"), Some("PCMA"))
    );
    assert!(record.ringing.is_some_and(|ringing| ringing <= record.setup.unwrap()));
}

/// TDR-ERR-002: Microsoft says 34 of a busy user, and a carrier would play congestion; what each
/// carrier is told is its own to say.
#[test]
fn a_busy_user_is_busy_to_the_carrier_unless_it_wants_what_microsoft_says() {
    let said = format!("Q.850;cause=34;text=\"{GUID};busy\"");
    for (policy, told) in [
        (ReasonPolicy::Derive, "Q.850;cause=17"),
        (ReasonPolicy::Pass, "Q.850;cause=34"),
        (ReasonPolicy::Drop, ""),
    ] {
        let mut world = World::with(1, |plan| plan.trunks[COLT].headers.reason = policy);
        let refusal = refuses(&mut world, 486, Some(&said));
        assert_eq!(reason(&refusal.headers), told, "{policy:?}");
        let silent = refuses(&mut world, 404, None);
        let derived = if policy == ReasonPolicy::Drop { "" } else { "Q.850;cause=1" };
        assert_eq!(reason(&silent.headers), derived, "{policy:?}");
        // In requests likewise.
        let (caller, mut anna) = carrier_calls_teams(&mut world);
        let mut bye = anna.request(&mut world, Method::Bye);
        bye.headers.push(Name::Reason, "Q.850;cause=31");
        world.send(Who::Sip, bye);
        anna.hears(&mut world, "200 BYE");
        let bye = caller.is_hung_up(&mut world);
        let told = if policy == ReasonPolicy::Drop { "" } else { "Q.850;cause=31" };
        assert_eq!(reason(&bye.headers), told, "{policy:?}");
        let (mut anna, pstn) = teams_calls_carrier(&mut world);
        hang_up(&mut world, &mut anna, &pstn);
    }
}

/// TDR-ERR-002: the cause of each status that has one.
#[test]
fn every_status_has_the_cause_that_carriers_know() {
    let mut world = World::new(1);
    for (status, cause) in
        [(404, 1), (480, 18), (484, 28), (486, 17), (603, 21), (600, 17), (604, 1), (410, 22)]
    {
        let refusal = refuses(&mut world, status, Some("Q.850;cause=34;text=\"x\""));
        assert_eq!(reason(&refusal.headers), format!("Q.850;cause={cause}"), "{status}");
    }
}

/// TDR-ERR-004, TDR-ERR-005: a user's own result stays what it is and is not asked for again elsewhere.
#[test]
fn a_users_result_crosses_as_it_is_and_nobody_else_is_tried() {
    for status in [404, 480, 484, 486, 600, 603] {
        let mut world = World::new(1);
        let refusal = refuses(&mut world, status, None);
        assert_eq!(refusal.status, status);
        let tried = [Who::Sip, Who::Sip2, Who::Sip3].map(|who| world.sent_to(who, "INVITE"));
        assert_eq!(tried, [1, 0, 0], "{status}");
    }
    // And the other way: a 5xx of a carrier does not become a user's.
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    for who in [Who::Colt, Who::Bt] {
        let full = Party::called(&mut world, who);
        full.reply(&mut world, 503);
    }
    let refusal = anna.hears(&mut world, "503 INVITE");
    anna.acknowledges_failure(&mut world, &refusal);
}

/// TDR-ERR-003: what we answer decides whether Teams tries another SBC, and its admins read our words.
#[test]
fn what_we_refuse_to_teams_says_why_and_whether_another_sbc_may_do_better() {
    let told = |refusal: &Response| {
        (refusal.status, String::from_utf8_lossy(&refusal.reason).into_owned())
    };
    let refused = |world: &mut World, fqdn: &str, status: u16| {
        let mut anna = Party::from_teams(world, fqdn, PSTN);
        let refusal = anna.hears(world, &format!("{status} INVITE"));
        anna.acknowledges_failure(world, &refusal);
        told(&refusal)
    };
    let mut world = World::new(1);
    let unknown = refused(&mut world, "stranger.sbc.example.net", 404);
    assert_eq!(unknown, (404, "Unknown Trunk FQDN Or Number".to_owned()));
    let mut world = World::with(1, |plan| plan.tenants[0].suspended = true);
    assert_eq!(refused(&mut world, CONTOSO, 403).1, "Tenant Suspended");
    let none = Limits { calls: Some(0), ..Limits::default() };
    let mut world = World::with(1, |plan| plan.tenants[0].limits = none);
    assert_eq!(refused(&mut world, CONTOSO, 503).1, "Call Limit Reached");
    let mut world = World::with(1, |plan| {
        plan.tenants[0].limits = none;
        plan.tenants[0].busy_when_full = true;
    });
    assert_eq!(refused(&mut world, CONTOSO, 486).0, 486, "as the tenant wants");
    assert_eq!(world.records.last().unwrap().cause, "call_limit");
    let mut world = World::with(1, |plan| plan.media[0].ports = 20_000..=20_000);
    assert_eq!(refused(&mut world, CONTOSO, 503).1, "No Media Port Free");
    // A trunk at its bound is not the tenant's to be busy for.
    let mut world = World::with(1, |plan| {
        plan.trunks[0].limits = none;
        plan.tenants[0].busy_when_full = true;
    });
    assert_eq!(refused(&mut world, CONTOSO, 503).0, 503);
}
