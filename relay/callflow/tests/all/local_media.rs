//! Local Media Optimization: the address for media follows where the Teams user is, and an SBC behind us
//! is reached and speaks by its own name.

use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Model, Sbc, TrunkKind};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, INSIDE, PSTN, TEAMS};
use callflow::script::{body, connect, hang_up, line, uri_of, usual_sdp};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Headers, Message, Method, Name, Request};

/// An SBC behind us, on trunk colt.
const VN: &str = "vnsbc.contoso.example";

/// Contoso has an SBC behind us, and its users are inside or outside.
fn optimised(plan: &mut Plan) {
    plan.trunks[TEAMS].inside = Some(INSIDE);
    assert_eq!(plan.trunks[TEAMS].kind, TrunkKind::Teams);
    let tenant = &mut plan.tenants[0];
    tenant.fqdns.push(VN.into());
    tenant.sbcs = vec![Sbc { fqdn: VN.into(), trunk: COLT }];
    // Calls that name no SBC behind us go elsewhere.
    tenant.routes[0].to = vec![BT].into();
    plan.fqdns.insert(VN, 0).expect("nobody has it");
}

fn world() -> World {
    World::with(1, optimised)
}

fn says(headers: &mut Headers, location: &str, path: &str) {
    headers.push(Name::Other("X-MS-USERLOCATION"), location.to_owned());
    headers.push(Name::Other("X-MS-MEDIAPATH"), path.to_owned());
    headers.push(Name::Other("X-MS-USERSITE"), "Vietnam");
}

/// Teams calls the SBC of that FQDN.
fn calls(world: &mut World, host: &str, edit: impl FnOnce(&mut Request)) -> Party {
    let uri = format!("sip:{PSTN}@{host}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, edit)
}

fn results(world: &World) -> Vec<&'static str> {
    let result = |event: &Event| match event {
        Event::LocalMedia { result, .. } => Some(*result),
        _ => None,
    };
    world.events.iter().filter_map(result).collect()
}

/// Whether it names the media address inside the corporate network, by its ports.
fn is_inside(sdp: &str) -> bool {
    let port = line(sdp, "m=audio ").split(' ').nth(1).and_then(|port| port.parse::<u16>().ok());
    (30_000..=30_999).contains(&port.expect("a port of ours"))
}

/// TDR-LMO-001, TDR-LMO-002, TDR-LMO-006, TDR-LMO-007, TDR-LMO-010, TDR-IN-004: from Teams, by user and
/// path; the call goes to the SBC that it names, which is told the same.
#[test]
fn a_user_inside_is_told_the_address_inside_and_one_outside_the_other() {
    for (location, path, inside) in [
        ("internal", VN.to_owned(), true),
        ("external", format!("{CONTOSO}, {VN}"), false),
        ("internal", format!("{CONTOSO},{VN}"), true),
    ] {
        let mut world = world();
        let mut anna = calls(&mut world, VN, |invite| says(&mut invite.headers, location, &path));
        let pstn = Party::called(&mut world, Who::Colt);
        let told = pstn.invite.headers.get(Name::Other("X-MS-MediaPath"));
        assert_eq!(told, Some(path.as_bytes()), "the SBC behind us optimises, too");
        assert_eq!(pstn.invite.headers.get(Name::Other("X-MS-UserSite")), Some(&b"Vietnam"[..]));
        pstn.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        assert_eq!(is_inside(&body(&answer)), inside, "{location} {path}");
        anna.acknowledges(&mut world, &answer);
        pstn.gets(&mut world, "ACK");
        let word = if inside { "inside" } else { "outside" };
        assert_eq!(results(&world), [word]);
        assert!(world.core().calls(world.now())[0].trunk_out.as_deref() == Some("colt"));
        hang_up(&mut world, &mut anna, &pstn);
    }
}

/// TDR-LMO-009: where it leads nowhere, the address that everybody reaches is named, and it is told.
#[test]
fn a_path_that_is_not_ours_leads_to_the_address_outside() {
    let mut world = world();
    let path = "other.contoso.example, vnsbc.contoso.example";
    let mut anna = calls(&mut world, CONTOSO, |it| says(&mut it.headers, "internal", path));
    let pstn = Party::called(&mut world, Who::Bt);
    assert_eq!(pstn.invite.headers.get(Name::Other("X-MS-MediaPath")), None, "no SBC behind us");
    pstn.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert!(!is_inside(&body(&answer)));
    anna.acknowledges(&mut world, &answer);
    pstn.gets(&mut world, "ACK");
    assert_eq!(results(&world), ["lmo_path_unknown"]);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-LMO-003, TDR-LMO-005, TDR-EM-006: to Teams nobody knows where the user is; who turns out to be
/// outside is told our other address by a re-INVITE, after nothing but 180.
#[test]
fn a_user_who_turns_out_to_be_outside_is_told_the_other_address() {
    for in_ringing in [true, false] {
        let mut world = world();
        let mut caller = Party::from_carrier(&mut world, Who::Bt, ANNA);
        let anna = Party::called(&mut world, Who::Sip);
        assert!(is_inside(&body(&anna.invite)));
        let tell = |world: &mut World, status: u16, tells: bool| {
            anna.answer(world, &anna.invite.clone(), status, |response| {
                if tells {
                    says(&mut response.headers, "external", &format!("{CONTOSO}, {VN}"));
                }
                if status == 200 {
                    response.set_body("application/sdp", usual_sdp(Who::Sip));
                }
            });
        };
        tell(&mut world, 180, in_ringing);
        caller.hears(&mut world, "180 INVITE");
        tell(&mut world, 200, !in_ringing);
        let answer = caller.hears(&mut world, "200 INVITE");
        caller.acknowledges(&mut world, &answer);
        anna.gets(&mut world, "ACK");
        let again = anna.gets(&mut world, "INVITE");
        let sdp = body(&again);
        assert!(!is_inside(&sdp));
        let first = body(&anna.invite);
        assert_eq!(line(&sdp, "a=crypto:"), line(&first, "a=crypto:"), "the key stays");
        assert_ne!(line(&sdp, "o="), line(&first, "o="), "its version rises");
        let moved = usual_sdp(Who::Sip).replacen(" 0 IN", " 1 IN", 1);
        anna.answer(&mut world, &again, 200, |it| it.set_body("application/sdp", moved));
        anna.gets(&mut world, "ACK");
        assert_eq!(results(&world), ["moved_outside"]);
        assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0, "nobody else hears of it");
        hang_up(&mut world, &mut caller, &anna);
    }
}

/// TDR-LMO-003, TDR-LMO-008: the user moves while the call is up, or the call leaves the corporate
/// network for good with music on hold: our answer names the address that fits.
#[test]
fn a_user_who_leaves_the_building_during_the_call_is_told_the_address_outside() {
    let mut world = world();
    let mut anna = calls(&mut world, VN, |it| says(&mut it.headers, "internal", VN));
    let pstn = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &pstn);
    let mut again = anna.request(&mut world, Method::Invite);
    again.set_body("application/sdp", usual_sdp(Who::Sip2).replacen(" 0 IN", " 1 IN", 1));
    says(&mut again.headers, "external", &format!("{CONTOSO}, {VN}"));
    world.send(Who::Sip, again);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert!(!is_inside(&body(&answer)));
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(50));
    assert_eq!(results(&world), ["inside", "moved_outside"]);
    assert_eq!(world.core().media_ports_in_use(), 4, "the ports inside are given back");
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-LMO-004, TDR-OUT-007: the SBC behind us calls Teams under its own name, and we stand in
/// Record-Route; requests of the call come by us and go by no Route of ours.
#[test]
fn an_sbc_behind_us_calls_teams_under_its_own_name() {
    let mut world = world();
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    let got = &anna.invite.headers;
    let host = |name| {
        let uri = uri_of(got.get(name).unwrap_or_default());
        uri.split('@')
            .nth(1)
            .unwrap_or_default()
            .split([':', ';'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!((host(Name::Contact), host(Name::From)), (VN.to_owned(), VN.to_owned()));
    let route = format!("<sip:{CONTOSO}:5061;transport=tls;lr>");
    assert_eq!(got.get(Name::RecordRoute), Some(route.as_bytes()));
    assert!(String::from_utf8_lossy(got.get(Name::Via).unwrap()).contains(CONTOSO));
    let answers = |anna: &Party, world: &mut World, status: u16| {
        anna.answer(world, &anna.invite.clone(), status, |response| {
            if status == 200 {
                response.set_body("application/sdp", usual_sdp(Who::Sip));
            }
        });
    };
    answers(&anna, &mut world, 180);
    caller.hears(&mut world, "180 INVITE");
    answers(&anna, &mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    let ack = anna.gets(&mut world, "ACK");
    assert_eq!(ack.headers.get(Name::Route), None, "no request of ours is sent to us");
    let mut bye = anna.request(&mut world, Method::Bye);
    bye.headers.push(Name::Route, route);
    world.send(Who::Sip, bye);
    anna.hears(&mut world, "200 BYE");
    caller.is_hung_up(&mut world);
}

/// TDR-LMO-004, TDR-IN-004, TDR-IN-015: the same in our answers to a call from Teams to that SBC.
#[test]
fn answers_for_an_sbc_behind_us_bear_its_name_and_our_route() {
    let mut world = world();
    let mut anna = calls(&mut world, VN, |it| {
        says(&mut it.headers, "external", &format!("{CONTOSO}, {VN}"));
        it.headers
            .push(Name::RecordRoute, "<sip:proxy.pstnhub.microsoft.com:5061;transport=tls;lr>");
    });
    let pstn = Party::called(&mut world, Who::Colt);
    pstn.reply(&mut world, 180);
    let ringing = anna.hears(&mut world, "180 INVITE");
    pstn.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    for response in [&ringing, &answer] {
        let contact = uri_of(response.headers.get(Name::Contact).unwrap());
        assert!(contact.contains(&format!("@{VN}:5061")), "{contact}");
        let routes: Vec<_> = response.headers.list(Name::RecordRoute).collect();
        let ours = format!("<sip:{CONTOSO}:5061;transport=tls;lr>");
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0], ours.as_bytes());
    }
    anna.acknowledges(&mut world, &answer);
    pstn.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &pstn);
}

/// Where Local Media Optimization is not configured, its headers change nothing.
#[test]
fn a_trunk_without_an_address_inside_goes_on_as_ever() {
    let mut world = World::new(1);
    let mut anna = calls(&mut world, CONTOSO, |it| says(&mut it.headers, "internal", CONTOSO));
    let pstn = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &pstn);
    assert_eq!(results(&world), [""; 0]);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-LMO-004: an SBC behind us sends OPTIONS of its own; we send none under its name.
#[test]
fn nobody_asks_microsoft_under_the_name_of_an_sbc_behind_us() {
    let mut world = World::with(1, |plan| {
        optimised(plan);
        plan.tenants[0].model = Model::Classic;
        plan.trunks[TEAMS].options_interval = Some(secs(60));
    });
    // OPTIONS go on for ever, and nobody here answers them.
    world.without_laws();
    let mut named = Vec::new();
    for _ in 0..2 {
        if let Message::Request(options) = world.expect(Who::Sip, "OPTIONS") {
            named.push(uri_of(options.headers.get(Name::Contact).unwrap_or_default()));
        }
    }
    world.run_for(secs(5));
    assert_eq!(
        world.sent_to(Who::Sip3, "OPTIONS"),
        2,
        "the base, and the one that is a trunk itself"
    );
    assert!(named.iter().any(|uri| uri.contains(CONTOSO)), "{named:?}");
    assert!(!named.iter().any(|uri| uri.contains(VN)), "{named:?}");
}
