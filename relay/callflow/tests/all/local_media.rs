//! Local Media Optimization: the address for media follows where the Teams user is, and an SBC behind us
//! is reached and speaks by its own name.

use crate::bypass::{CLIENT, Ours, at, described};
use crate::replaces::{dialog, takes_the_place};
use crate::transfer::{CLARA, is_accepted, is_told};
use b2bua::Plan;
use b2bua::io::Event;
use b2bua::plan::{Model, Sbc, TrunkKind};
use callflow::plan::{ANNA, BT, COLT, CONTOSO, INSIDE, PSTN, TEAMS};
use callflow::script::{body, connect, hang_up, line, uri_of, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text, secs};
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
            anna.answer(world, &anna.invite, status, |response| {
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
        anna.agrees(&mut world, &again, moved);
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
    // Media moves again, and Teams says nothing of the user any more.
    let again = usual_sdp(Who::Sip).replacen(" 0 IN", " 2 IN", 1);
    anna.asks(&mut world, Method::Invite, Some(again));
    let answer = anna.hears(&mut world, "200 INVITE");
    assert!(!is_inside(&body(&answer)), "it has left for good");
    anna.acknowledges(&mut world, &answer);
    world.run_for(ms(50));
    hang_up(&mut world, &mut anna, &pstn);
}

/// Our ports on leg A, and on leg B.
fn ports(world: &World) -> (u16, u16) {
    let calls = world.core().calls(world.now());
    calls.first().and_then(|call| call.ports).expect("a call with media")
}

/// What Teams answers the second time.
fn described_again() -> String {
    usual_sdp(Who::Sip).replacen(" 0 IN", " 1 IN", 1)
}

/// A user who answers and says to be outside, and the re-INVITE that tells the address there.
fn answers_outside(world: &mut World, sdp: String) -> (Party, Party, Request) {
    let mut caller = Party::from_carrier(world, Who::Bt, ANNA);
    let anna = Party::called(world, Who::Sip);
    anna.answer(world, &anna.invite, 200, |response| {
        says(&mut response.headers, "external", &format!("{CONTOSO}, {VN}"));
        response.set_body("application/sdp", sdp);
    });
    let answer = caller.hears(world, "200 INVITE");
    caller.acknowledges(world, &answer);
    anna.gets(world, "ACK");
    let again = anna.gets(world, "INVITE");
    (caller, anna, again)
}

/// TDR-LMO-003, TDR-ICE-010: with media bypass nobody checks an address under credentials that have led
/// elsewhere (RFC 8839, 4.4.1.1.1).
#[test]
fn a_client_that_turns_out_to_be_outside_checks_the_other_address() {
    let mut world = World::with(1, |plan| {
        optimised(plan);
        plan.trunks[TEAMS].ice = sdp::IcePolicy::Bypass;
        plan.trunks[TEAMS].terms.ice_timeout = Some(secs(30));
    });
    let relay = at("52.112.143.212:52884");
    let (mut caller, anna, again) = answers_outside(&mut world, described("Xk3d", relay));
    let (inside, outside) = (Ours::of(&body(&anna.invite)), Ours::of(&body(&again)));
    assert_ne!(inside.media, outside.media);
    assert!(inside.ufrag != outside.ufrag && inside.pwd != outside.pwd, "{outside:?}");
    let sdp = described("Zq7w", relay).replacen(" 0 IN", " 1 IN", 1);
    anna.agrees(&mut world, &again, sdp);
    anna.gets(&mut world, "ACK");
    assert!(outside.checked(&mut world, CLIENT, "Zq7w", true));
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend([0xd5; 160]);
    world.packets(at(CLIENT));
    let to = World::our_media(ports(&world).0);
    world.send_packet(Who::Bt.media(), to, packet);
    world.run_for(ms(100));
    let heard = world.packets(at(CLIENT));
    assert!(heard.iter().any(|(from, _)| *from == outside.media), "{heard:?}");
    // ICE that goes on cannot be led elsewhere by an answer: the old address is answered, and a
    // re-INVITE follows.
    let mut anna = anna;
    let mut back = anna.request(&mut world, Method::Invite);
    back.set_body("application/sdp", described("Zq7w", relay).replacen(" 0 IN", " 2 IN", 1));
    says(&mut back.headers, "internal", &format!("{CONTOSO}, {VN}"));
    world.send(Who::Sip, back);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(Ours::of(&body(&answer)), outside);
    anna.acknowledges(&mut world, &answer);
    let follows = anna.gets(&mut world, "INVITE");
    let there = Ours::of(&body(&follows));
    assert!(is_inside(&body(&follows)) && there.ufrag != outside.ufrag);
    let sdp = described("Yy1y", relay).replacen(" 0 IN", " 3 IN", 1);
    anna.agrees(&mut world, &follows, sdp);
    anna.gets(&mut world, "ACK");
    assert_eq!(results(&world), ["moved_outside", "moved_inside"]);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-LMO-003: who refuses to be told the other address is heard at the one it knows.
#[test]
fn a_user_who_refuses_the_other_address_keeps_the_first() {
    for statuses in [&[488][..], &[500], &[491, 491, 491, 491]] {
        let mut world = world();
        let (mut caller, mut anna, mut again) = answers_outside(&mut world, usual_sdp(Who::Sip));
        let before = ports(&world);
        for (count, status) in statuses.iter().enumerate() {
            assert!(!is_inside(&body(&again)));
            assert_eq!(ports(&world), before, "until it is agreed");
            anna.answer(&mut world, &again, *status, |_| {});
            anna.gets(&mut world, "ACK");
            if count + 1 < statuses.len() {
                again = anna.gets(&mut world, "INVITE");
            }
        }
        world.run_for(ms(50));
        assert_eq!(ports(&world), before);
        assert_eq!(results(&world), ["move_refused"], "{statuses:?}");
        assert_eq!(world.core().media_ports_in_use(), 4);
        // What it is told next is where it is heard.
        anna.asks(&mut world, Method::Invite, Some(described_again()));
        let answer = anna.hears(&mut world, "200 INVITE");
        assert_eq!(line(&body(&answer), "m=audio"), line(&body(&anna.invite), "m=audio"));
        anna.acknowledges(&mut world, &answer);
        hang_up(&mut world, &mut caller, &anna);
    }
}

/// TDR-LMO-003: after a glare the other address is told again, and taken.
#[test]
fn the_other_address_is_told_again_after_a_glare() {
    let mut world = world();
    let (mut caller, anna, again) = answers_outside(&mut world, usual_sdp(Who::Sip));
    anna.answer(&mut world, &again, 491, |_| {});
    anna.gets(&mut world, "ACK");
    let once_more = anna.gets(&mut world, "INVITE");
    assert_eq!(line(&body(&once_more), "m=audio"), line(&body(&again), "m=audio"));
    let sdp = described_again();
    anna.agrees(&mut world, &once_more, sdp);
    anna.gets(&mut world, "ACK");
    assert_eq!(results(&world), ["moved_outside"]);
    assert!(!(30_000..=30_999).contains(&ports(&world).1));
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-LMO-003, TDR-DLG-016: what its user asks for meanwhile goes first, and is not undone by it.
#[test]
fn a_hold_while_the_other_address_waits_after_a_glare_is_refused_or_undone() {
    let mut world = world();
    let (mut caller, mut anna, again) = answers_outside(&mut world, usual_sdp(Who::Sip));
    anna.answer(&mut world, &again, 491, |_| {});
    anna.gets(&mut world, "ACK");
    let held = |who: Who, version: &str| {
        let sdp = sdp_text::turned(&usual_sdp(who), "inactive");
        sdp.replacen(" 0 IN", &format!(" {version} IN"), 1)
    };
    anna.asks(&mut world, Method::Invite, Some(held(Who::Sip, "1")));
    let asked = caller.gets(&mut world, "INVITE");
    caller.agrees(&mut world, &asked, held(Who::Bt, "1"));
    caller.gets(&mut world, "ACK");
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    assert!(body(&answer).contains("a=inactive") && !is_inside(&body(&answer)));
    world.run_for(secs(10));
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 2, "it has been told");
    assert_eq!(world.core().calls(world.now())[0].state, "held");
    assert_eq!(results(&world), ["moved_outside"]);
    assert_eq!(world.core().media_ports_in_use(), 4);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-LMO-003, TDR-XFR-011: so does a transfer.
#[test]
fn a_transfer_while_the_other_address_waits_after_a_glare_is_refused() {
    let mut world = world();
    let (mut caller, mut anna, again) = answers_outside(&mut world, usual_sdp(Who::Sip));
    anna.answer(&mut world, &again, 491, |_| {});
    anna.gets(&mut world, "ACK");
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    clara.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    // Who stays where it was is told the address now.
    let once_more = anna.gets(&mut world, "INVITE");
    assert!(!is_inside(&body(&once_more)));
    let sdp = described_again();
    anna.agrees(&mut world, &once_more, sdp);
    anna.gets(&mut world, "ACK");
    assert_eq!(results(&world), ["moved_outside"]);
    hang_up(&mut world, &mut caller, &anna);
}

/// TDR-LMO-003, TDR-DLG-017: a hold from outside that the carrier refuses moves nothing, and as long as it
/// has not answered Teams is heard where it was.
#[test]
fn a_hold_from_outside_that_is_refused_moves_nothing() {
    let mut world = world();
    let mut anna = calls(&mut world, VN, |it| says(&mut it.headers, "internal", VN));
    let pstn = Party::called(&mut world, Who::Colt);
    connect(&mut world, &mut anna, &pstn);
    let before = ports(&world);
    for (version, status) in [(1, 488), (2, 500), (3, 200)] {
        let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
        let mut hold = anna.request(&mut world, Method::Invite);
        hold.set_body("application/sdp", held.replacen(" 1 IN", &format!(" {version} IN"), 1));
        says(&mut hold.headers, "external", &format!("{CONTOSO}, {VN}"));
        world.send(Who::Sip, hold.clone());
        let told = pstn.gets(&mut world, "INVITE");
        world.run_for(ms(500));
        assert_eq!(ports(&world), before, "the carrier has not answered");
        pstn.answer(&mut world, &told, status, |response| {
            if status == 200 {
                let held = sdp_text::turned(&usual_sdp(Who::Colt), "inactive");
                response.set_body("application/sdp", held);
            }
        });
        pstn.gets(&mut world, "ACK");
        let answer = anna.hears(&mut world, &format!("{status} INVITE"));
        match status {
            200 => {
                assert!(!is_inside(&body(&answer)));
                anna.acknowledges(&mut world, &answer);
            }
            _ => anna.acknowledges_failure_of(&mut world, &hold, &answer),
        }
        world.run_for(ms(50));
        assert_eq!(ports(&world) == before, status != 200);
        assert_eq!(world.core().media_ports_in_use(), 4);
    }
    assert_eq!(results(&world), ["inside", "moved_outside"]);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-LMO-003, TDR-XFR-013: the target of a transfer is where it says, whatever the transferor was.
#[test]
fn the_target_of_a_transfer_who_is_outside_is_told_the_address_there() {
    let mut world = world();
    let mut caller = Party::from_carrier(&mut world, Who::Bt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &anna);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    assert!(is_inside(&body(&clara.invite)));
    clara.answer(&mut world, &clara.invite, 200, |response| {
        says(&mut response.headers, "external", &format!("{CONTOSO}, {VN}"));
        response.set_body("application/sdp", usual_sdp(Who::Sip));
    });
    clara.gets(&mut world, "ACK");
    is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
    let again = clara.gets(&mut world, "INVITE");
    assert!(!is_inside(&body(&again)));
    let sdp = described_again();
    clara.agrees(&mut world, &again, sdp);
    clara.gets(&mut world, "ACK");
    anna.hangs_up(&mut world);
    assert_eq!(results(&world), ["moved_outside"]);
    hang_up(&mut world, &mut caller, &clara);
}

/// TDR-LMO-002, TDR-LMO-003, TDR-XFR-030: so is who takes a place by INVITE with Replaces, and who does not
/// say where he is.
#[test]
fn a_newcomer_from_outside_is_answered_with_the_address_there() {
    for location in [Some("external"), None] {
        let mut world = world();
        let mut caller = Party::from_carrier(&mut world, Who::Bt, ANNA);
        let queue = Party::called(&mut world, Who::Sip);
        connect(&mut world, &mut caller, &queue);
        let named = dialog(&queue);
        let mut agent = calls(&mut world, CONTOSO, |invite| {
            invite.headers.push(Name::Replaces, named);
            if let Some(location) = location {
                says(&mut invite.headers, location, &format!("{CONTOSO}, {VN}"));
            }
        });
        let answer = takes_the_place(&mut world, &mut agent, &queue);
        assert!(!is_inside(&body(&answer)), "{location:?}");
        assert_eq!(results(&world), ["moved_outside"]);
        assert_eq!(world.core().media_ports_in_use(), 4);
        hang_up(&mut world, &mut caller, &agent);
    }
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
        anna.answer(world, &anna.invite, status, |response| {
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
