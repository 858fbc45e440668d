//! Calls for help under a number that stands for a place, and the way back to who called.

use b2bua::Plan;
use b2bua::plan::{Help, Location, Patterns, Pidf, Rare, Route};
use callflow::plan::{ANNA, BORIS, COLT, CONTOSO, FABRIKAM};
use callflow::script::{connect, hang_up, teams_calls_carrier, uri_of, usual_sdp};
use callflow::{Party, Who, World, secs};
use sip_core::message::{body_part, body_parts};
use sip_core::{Name, Request};

const OURS: &str = "203.0.113.10";
/// Stands for the third floor.
const FLOOR_3: &str = "+493010009111";
/// The other number of it.
const FLOOR_3_TOO: &str = "+493010009112";
/// Stands for wherever else.
const ELSEWHERE: &str = "+493010009119";
/// Shown for who has no number.
const DESK: &str = "+493010000000";

fn location(name: &str, elins: &[&str], civic: &[(&str, &str)]) -> Location {
    Location {
        name: name.into(),
        elins: elins.iter().map(|elin| Box::from(*elin)).collect(),
        civic: civic.iter().map(|(key, text)| (Box::from(*key), Box::from(*text))).collect(),
    }
}

/// Contoso's emergency calls go to colt, with this of their location.
fn plan(pidf: Option<Pidf>) -> impl FnOnce(&mut Plan) {
    move |plan| {
        let tenant = &mut plan.tenants[0];
        tenant.help = Help {
            locations: [
                location("third floor", &[FLOOR_3, FLOOR_3_TOO], &[("A3", "Berlin"), ("FLR", "3")]),
                location("elsewhere", &[ELSEWHERE], &[]),
            ]
            .into(),
            caller: Some(DESK.into()),
            call_back: None,
        };
        tenant.routes.push(Route {
            called: Patterns::default(),
            to: vec![COLT].into(),
            emergency: true,
            rare: Some(Box::new(Rare { pidf, ..Rare::default() })),
            ..Route::default()
        });
    }
}

/// What Teams writes beside the SDP, whatever stands first, with a part that nobody knows.
fn locate(invite: &mut Request, civic: &str, first: bool) {
    invite.headers.push(Name::Geolocation, "<cid:anna@contoso.example>");
    invite.headers.push(Name::Priority, "emergency");
    let sdp = format!("Content-Type: application/sdp\r\n\r\n{}", usual_sdp(Who::Sip));
    let location = format!(
        "Content-Type: application/pidf+xml\r\nContent-ID: <anna@contoso.example>\r\n\r\n\
         <presence xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\"><tuple><status><geopriv>\
         <location-info><ca:civicAddress>{civic}</ca:civicAddress></location-info><method>LIS</method>\
         <x xmlns=\"urn:schema:Rtc.LIS.msftE911PidfExtn.2008\"/></geopriv></status></tuple></presence>"
    );
    let unknown = "Content-Type: application/vnd.example\r\n\r\n\u{0}\u{1}--_b2";
    let (one, two) = if first { (location, sdp) } else { (sdp, location) };
    let parts = format!("--_b\r\n{unknown}\r\n--_b\r\n{one}\r\n--_b\r\n{two}\r\n--_b--\r\n");
    invite.set_body("multipart/mixed; boundary=\"_b\"", parts);
}

fn calls_for_help(world: &mut World, from: &str, civic: &str) -> (Party, Party) {
    let uri = format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls");
    let caller = Party::call(world, Who::Sip, from, &uri, |invite| locate(invite, civic, true));
    (caller, Party::called(world, Who::Colt))
}

fn shown(party: &Party) -> String {
    uri_of(party.invite.headers.get(Name::From).unwrap_or_default())
}

fn as_number(number: &str) -> String {
    format!("sip:{number}@{OURS};user=phone")
}

/// Somebody calls this number from outside; who is called at Teams.
fn calls_back(world: &mut World, number: &str) -> String {
    let mut caller = Party::from_carrier(world, Who::Colt, number);
    let anna = Party::called(world, Who::Sip);
    let called = uri_of(format!("<{}>", String::from_utf8_lossy(&anna.invite.uri)).as_bytes());
    connect(world, &mut caller, &anna);
    hang_up(world, &mut caller, &anna);
    called.split(['@', ';']).next().unwrap_or_default().replace("sip:", "")
}

const THIRD_FLOOR: &str = "<ca:country>DE</ca:country><ca:A3>berlin</ca:A3><ca:FLR>3</ca:FLR>";

/// TDR-EMG-003, TDR-EMG-005, TDR-EMG-008: the number of the place stands in From and P-Asserted-Identity
/// and the location stays here; whoever calls that number reaches the caller, for an hour after the call.
#[test]
fn whoever_answered_calls_back_and_reaches_who_called_and_not_the_place() {
    let mut world = World::with(1, plan(Some(Pidf::Elin)));
    for first in [true, false] {
        let uri = format!("sip:112@{CONTOSO}:5061;user=phone;transport=tls");
        let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
            locate(invite, THIRD_FLOOR, first);
            invite.headers.push(Name::PAssertedIdentity, format!("<tel:{ANNA}>"));
            invite.headers.push(Name::Privacy, "id");
        });
        let centre = Party::called(&mut world, Who::Colt);
        assert_eq!(shown(&centre), as_number(FLOOR_3));
        let got = &centre.invite.headers;
        let asserted = got.get(Name::PAssertedIdentity).unwrap_or_default();
        assert_eq!(uri_of(asserted), as_number(FLOOR_3));
        assert_eq!(got.get(Name::Privacy), None, "who calls for help is to be found");
        assert_eq!(got.get(Name::Geolocation), None);
        assert_eq!(got.get(Name::ContentType), Some(&b"application/sdp"[..]));
        connect(&mut world, &mut anna, &centre);
        assert_eq!(calls_back(&mut world, FLOOR_3), ANNA, "while the call is up");
        hang_up(&mut world, &mut anna, &centre);
    }
    world.run_for(secs(3590));
    assert_eq!(calls_back(&mut world, FLOOR_3), ANNA, "nearly an hour after it");
    assert_eq!(calls_back(&mut world, &FLOOR_3[1..]), ANNA, "without its plus");
    world.run_for(secs(60));
    assert_eq!(calls_back(&mut world, FLOOR_3), FLOOR_3, "it is nobody's any more");
}

/// TDR-EMG-005: also where the call for help went down with us.
#[test]
fn a_restart_forgets_nobody_who_may_be_called_back() {
    for ends in [true, false] {
        let mut world = World::with(1, plan(Some(Pidf::Elin)));
        let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
        connect(&mut world, &mut anna, &centre);
        let began_with = world.lent.len();
        assert_eq!(began_with, 1, "while the call is up");
        let lent = match ends {
            true => {
                hang_up(&mut world, &mut anna, &centre);
                world.run_for(secs(1));
                world.lent.clone()
            }
            false => {
                let lent = world.lent.clone();
                hang_up(&mut world, &mut anna, &centre);
                lent
            }
        };
        let mut after = World::with(2, plan(Some(Pidf::Elin)));
        after.lend_again(lent);
        assert_eq!(calls_back(&mut after, FLOOR_3), ANNA);
        after.run_for(secs(3700));
        let reached = calls_back(&mut after, FLOOR_3);
        assert_eq!(reached == FLOOR_3, ends, "an hour from the end, where there was one");
    }
}

/// TDR-EMG-005: two who call from one place at once are told apart, and a reload forgets neither.
#[test]
fn a_reload_forgets_nobody_who_may_be_called_back() {
    let mut world = World::with(1, plan(Some(Pidf::Elin)));
    let colleague = "+493010001235";
    let (mut anna, one) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
    let (mut boss, two) = calls_for_help(&mut world, colleague, THIRD_FLOOR);
    assert_eq!((shown(&one), shown(&two)), (as_number(FLOOR_3), as_number(FLOOR_3_TOO)));
    for (caller, centre) in [(&mut anna, &one), (&mut boss, &two)] {
        connect(&mut world, caller, centre);
        hang_up(&mut world, caller, centre);
    }
    world.replan(|plan| plan.tenants[0].help = Help::default());
    assert_eq!(calls_back(&mut world, FLOOR_3), ANNA);
    assert_eq!(calls_back(&mut world, FLOOR_3_TOO), colleague);
}

/// TDR-EMG-005: the call back gets through whatever stops others, as it is the other half of the call.
#[test]
fn a_call_back_is_not_turned_away_by_what_turns_others_away() {
    let mut world = World::with(1, plan(Some(Pidf::Elin)));
    let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
    connect(&mut world, &mut anna, &centre);
    world.replan(|plan| {
        plan.tenants[0].suspended = true;
        plan.tenants[0].limits.calls = Some(1);
        plan.node.calls_max = 1;
    });
    assert_eq!(calls_back(&mut world, FLOOR_3), ANNA);
    let mut other = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let refusal = other.hears(&mut world, "403 INVITE");
    other.acknowledges_failure(&mut world, &refusal);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-002, TDR-EMG-005: it is an emergency call, and yet nobody gives way to it.
#[test]
fn a_call_back_takes_no_ports_of_others() {
    let mut world = World::with(1, |it| {
        plan(Some(Pidf::Elin))(it);
        it.media[0].ports = 20_000..=20_003;
    });
    let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
    connect(&mut world, &mut anna, &centre);
    let (mut caller, callee) = teams_calls_carrier(&mut world);
    let mut back = Party::from_carrier(&mut world, Who::Colt, FLOOR_3);
    let refusal = back.hears(&mut world, "503 INVITE");
    back.acknowledges_failure(&mut world, &refusal);
    hang_up(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-005, TDR-EMG-010: the ELIN is the one that the location names, if it is the tenant's, else
/// that of the place; who is nowhere gets the one for such, and who has no number the tenant's.
#[test]
fn a_caller_without_a_place_or_a_number_can_still_be_called_back() {
    let named = "<ca:ELIN>+49 30 1000 9112</ca:ELIN>";
    let strange = "<ca:ELIN>+12125550911</ca:ELIN>";
    for (from, civic, number) in [
        (ANNA, named, FLOOR_3_TOO),
        (ANNA, strange, ELSEWHERE),
        (ANNA, "<ca:A3>Berlin</ca:A3>", ELSEWHERE),
        ("1001", THIRD_FLOOR, FLOOR_3),
    ] {
        let mut world = World::with(1, plan(Some(Pidf::Elin)));
        let (mut caller, centre) = calls_for_help(&mut world, from, civic);
        assert_eq!(shown(&centre), as_number(number), "{from} {civic}");
        connect(&mut world, &mut caller, &centre);
        hang_up(&mut world, &mut caller, &centre);
    }
    for (from, number) in [("1001", DESK), (ANNA, ANNA), (BORIS, DESK)] {
        let mut world = World::with(1, plan(Some(Pidf::Strip)));
        let (mut caller, centre) = calls_for_help(&mut world, from, THIRD_FLOOR);
        assert_eq!(shown(&centre), as_number(number), "{from}");
        connect(&mut world, &mut caller, &centre);
        hang_up(&mut world, &mut caller, &centre);
    }
}

/// TDR-EMG-010: who hides from others does not hide from who helps.
#[test]
fn an_anonymous_caller_for_help_is_shown_under_the_number_that_is_vouched_for() {
    let mut world = World::with(1, plan(None));
    let uri = format!("sip:+112@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, "anonymous", &uri, |invite| {
        invite.headers.push(Name::PAssertedIdentity, format!("<tel:{ANNA}>"));
        invite.headers.push(Name::Privacy, "id;user");
    });
    let centre = Party::called(&mut world, Who::Colt);
    assert_eq!(shown(&centre), as_number(ANNA));
    connect(&mut world, &mut anna, &centre);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-EMG-004: passed through octet by octet, or kept here, as the route says, whatever the trunk
/// says of others.
#[test]
fn the_route_says_what_becomes_of_the_location() {
    use b2bua::plan::Geolocation;
    for (pidf, trunk, told) in [
        (Some(Pidf::Passthrough), Geolocation::Strip, true),
        (Some(Pidf::Strip), Geolocation::Pass, false),
        (Some(Pidf::Elin), Geolocation::Pass, false),
        (None, Geolocation::Emergency, true),
        (None, Geolocation::Strip, false),
    ] {
        let mut world = World::with(1, |it| {
            plan(pidf)(it);
            it.trunks[COLT].headers.geolocation = trunk;
        });
        let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
        let got = &centre.invite;
        let parts = body_parts(&got.headers, got.body(), "application/pidf+xml").count();
        assert_eq!(
            (parts, got.headers.get(Name::Geolocation).is_some()),
            (usize::from(told), told)
        );
        let sdp = body_part(&got.headers, got.body(), "application/sdp");
        assert!(sdp.is_some_and(|sdp| sdp.starts_with(b"v=0")));
        assert_eq!(
            shown(&centre),
            as_number(if pidf == Some(Pidf::Elin) { FLOOR_3 } else { ANNA })
        );
        connect(&mut world, &mut anna, &centre);
        hang_up(&mut world, &mut anna, &centre);
    }
}

/// TDR-EMG-009: the security desk is called as well, and the call for help is escalated to a
/// conference by re-INVITEs.
#[test]
fn a_second_call_to_the_desk_and_a_new_source_of_media_leave_the_call_for_help_up() {
    let mut world = World::with(1, plan(Some(Pidf::Elin)));
    let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
    connect(&mut world, &mut anna, &centre);
    let mut desk = Party::from_teams(&mut world, CONTOSO, "+4989999111");
    let guard = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut desk, &guard);
    let moved = usual_sdp(Who::Sip2).replacen(" 0 IN", " 1 IN", 1);
    anna.asks(&mut world, sip_core::Method::Invite, Some(moved));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    hang_up(&mut world, &mut desk, &guard);
    assert_eq!(world.core().calls(world.now()).len(), 1);
    hang_up(&mut world, &mut anna, &centre);
}

/// TDR-MT-005: a tenant without such routes is not touched by those of another.
#[test]
fn another_tenants_elin_leads_nowhere_of_ours() {
    let mut world = World::with(1, |it| {
        plan(Some(Pidf::Elin))(it);
        it.tenants[1].routes[0].called = Patterns::default();
    });
    let (mut anna, centre) = calls_for_help(&mut world, ANNA, THIRD_FLOOR);
    connect(&mut world, &mut anna, &centre);
    let mut boris = Party::from_teams(&mut world, FABRIKAM, "112");
    let other = Party::called(&mut world, Who::Bt);
    assert_eq!(shown(&other), as_number(BORIS));
    connect(&mut world, &mut boris, &other);
    hang_up(&mut world, &mut boris, &other);
    hang_up(&mut world, &mut anna, &centre);
}
