//! Media bypass: Teams clients check us, and audio goes to whoever they choose (TDR-ICE-*, F-04, F-06, F-18).

use crate::transfer::{CLARA, is_accepted, is_told};
use b2bua::io::Event;
use b2bua::record::Record;
use bytes::Bytes;
use callflow::plan::{ANNA, CONTOSO, PSTN, TEAMS};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use media::PacketBuf;
use media::ice::stun::{Class, Key, Message, Writer};
use sdp::IceState;
use sip_core::{Method, Name};
use std::net::SocketAddr;

/// Where two clients are, as NAT shows them.
pub(crate) const CLIENT: &str = "198.51.100.77:50012";
const MOBILE: &str = "203.0.113.99:50004";
const PWD: &str = "0aV5bSx1uDkqPq9mZr2cT7yE";

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn world() -> World {
    World::with(1, |plan| {
        plan.trunks[TEAMS].ice = sdp::IcePolicy::Bypass;
        plan.trunks[TEAMS].terms.ice_timeout = Some(secs(30));
    })
}

/// A description of Teams under bypass, with candidates of all sorts (F-04).
pub(crate) fn described(ufrag: &str, media: SocketAddr) -> String {
    let ice = format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\n\
         a=candidate:1 1 UDP 2130706431 192.168.10.55 50012 typ host\r\n\
         a=candidate:2 1 UDP 1694498815 198.51.100.77 50012 typ srflx raddr 192.168.10.55 rport 50012\r\n\
         a=candidate:3 1 UDP 54001663 52.112.143.212 52884 typ relay raddr 198.51.100.77 rport 50012 MTURNID 128\r\n\
         a=candidate:4 1 tcp-pass 18087935 52.112.143.212 3478 typ relay raddr 198.51.100.77 rport 50012\r\n\
         a=candidate:5 1 UDP 2130705919 2001:db8::55 50014 typ host\r\na=ptime:20\r\n"
    );
    sdp_text::teams(media).replace("a=ptime:20\r\n", &ice)
}

/// What a description of ours says of ICE.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ours {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) media: SocketAddr,
}

impl Ours {
    /// TDR-ICE-001: lite, and exactly one candidate, IPv4, where the m-line is.
    pub(crate) fn of(sdp: &str) -> Self {
        let value = |name: &str| {
            let line = sdp.lines().find(|line| line.starts_with(&format!("a={name}:")));
            let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value);
            value.expect("a line that has it").to_owned()
        };
        let session = sdp.split("m=").next().expect("a session part");
        assert!(session.contains("a=ice-lite\r\n"), "{sdp}");
        assert_eq!(sdp.matches("a=candidate:").count(), 1, "{sdp}");
        let port = line(sdp, "m=audio").split(' ').nth(1).expect("a port");
        let ip = line(sdp, "c=IN IP4 ").rsplit(' ').next().expect("an address");
        let candidate = value("candidate");
        assert_eq!(candidate, format!("1 1 UDP 2130706431 {ip} {port} typ host"));
        let (ufrag, pwd) = (value("ice-ufrag"), value("ice-pwd"));
        assert!(ufrag.len() >= 4 && pwd.len() >= 22);
        Self { ufrag, pwd, media: at(&format!("{ip}:{port}")) }
    }

    /// A client that goes by `ufrag` checks us from here; whether it is told that this is right.
    pub(crate) fn checked(
        &self,
        world: &mut World,
        from: &str,
        ufrag: &str,
        chooses: bool,
    ) -> bool {
        let mut slot = PacketBuf::new();
        let check = Writer::new(&mut slot, Class::Request, [3; 12])
            .username(self.ufrag.as_bytes(), ufrag.as_bytes())
            .priority(1_845_501_695)
            .role(true, 99);
        let check = if chooses { check.use_candidate() } else { check };
        check.finish(Some(&Key::new(self.pwd.as_bytes())));
        world.packets(at(from));
        world.send_packet(at(from), self.media, Bytes::copy_from_slice(slot.packet()));
        world.run_for(ms(100));
        world.packets(at(from)).iter().any(|(source, octets)| {
            let answer = Message::read(octets);
            *source == self.media
                && answer.is_some_and(|answer| {
                    answer.class == Class::Success
                        && answer.mapped == Some(at(from))
                        && answer.is_authentic(&Key::new(self.pwd.as_bytes()))
                })
        })
    }
}

/// A packet of the carrier's.
fn said(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    packet.extend([0xd5; 160]);
    packet
}

/// Where we hear the carrier: inside are the ports from 30000 on.
fn inside(world: &World) -> SocketAddr {
    let calls = world.core().calls(world.now());
    let ports = calls.first().and_then(|call| call.ports).expect("a call with media");
    World::our_media(ports.0.max(ports.1))
}

/// The carrier says something; who of these hears it.
fn heard_by(world: &mut World, sequence: u16) -> Vec<&'static str> {
    for place in [CLIENT, MOBILE] {
        world.packets(at(place));
    }
    let inside = inside(world);
    world.send_packet(Who::Colt.media(), inside, said(sequence));
    world.run_for(ms(100));
    let heard = |place: &&str| !world.packets(at(place)).is_empty();
    [CLIENT, MOBILE].into_iter().filter(heard).collect()
}

/// A call from Teams that is up and has chosen its client's address; the caller, the callee, and us.
fn from_a_client(world: &mut World) -> (Party, Party, Ours) {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        invite.set_body("application/sdp", described("Xk3d", at("52.112.143.212:52884")));
    });
    let subscriber = Party::called(world, Who::Colt);
    assert!(!body(&subscriber.invite).contains("ice"), "{}", body(&subscriber.invite));
    subscriber.reply(world, 200);
    let answer = anna.hears(world, "200 INVITE");
    anna.acknowledges(world, &answer);
    subscriber.gets(world, "ACK");
    let ours = Ours::of(&body(&answer));
    assert!(ours.checked(world, CLIENT, "Xk3d", true));
    (anna, subscriber, ours)
}

fn only_record(world: &World) -> &Record {
    assert_eq!(world.records.len(), 1);
    world.records.first().expect("one record")
}

/// TDR-ICE-001, TDR-ICE-013, TDR-MED-003, TDR-MED-006
#[test]
fn a_client_that_calls_is_answered_and_heard_where_it_is() {
    let mut world = world();
    let (mut anna, subscriber, _) = from_a_client(&mut world);
    assert_eq!(heard_by(&mut world, 1), [CLIENT]);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(ms(100));
    let ice =
        only_record(&world).media.as_ref().expect("media was open").a.ice.expect("ICE was agreed");
    assert_eq!((ice.state, ice.selected), (IceState::Selected, Some(at(CLIENT))));
    assert_eq!((ice.checks_received, ice.checks_answered, ice.checks_sent), (1, 1, 0));
}

/// TDR-EM-001, TDR-EM-007, TDR-EM-008, TDR-ICE-005, TDR-ICE-006, TDR-ICE-004
#[test]
fn clients_that_check_before_they_answer_are_told_apart_and_the_one_that_answers_is_heard() {
    let mut world = world();
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let one = Party::called(&mut world, Who::Sip);
    let two = one.fork(&mut world);
    let ours = Ours::of(&body(&one.invite));
    let invite = one.invite.clone();
    // B checks before anything says that there is a B.
    assert!(ours.checked(&mut world, MOBILE, "Bbbb", false));
    let says = |world: &mut World, fork: &Party, status: u16, ufrag: &str| {
        let sdp = described(ufrag, Who::Sip.media());
        fork.answer(world, &invite, status, |it| it.set_body("application/sdp", sdp));
    };
    says(&mut world, &one, 183, "Aaaa");
    caller.hears(&mut world, "183 INVITE");
    assert!(ours.checked(&mut world, CLIENT, "Aaaa", true));
    assert_eq!(heard_by(&mut world, 1), [CLIENT], "early media");
    says(&mut world, &two, 183, "Bbbb");
    says(&mut world, &two, 200, "Bbbb");
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    two.gets(&mut world, "ACK");
    assert_eq!(heard_by(&mut world, 2), [MOBILE], "it was remembered");
    assert!(ours.checked(&mut world, CLIENT, "Aaaa", true), "who has lost may go on checking");
    assert_eq!(heard_by(&mut world, 3), [MOBILE]);
    assert!(ours.checked(&mut world, CLIENT, "Bbbb", true));
    assert_eq!(heard_by(&mut world, 4), [CLIENT], "B has moved");
    let mut two = two;
    hang_up(&mut world, &mut two, &caller);
}

/// TDR-EM-021.
#[test]
fn the_answer_stays_the_same_from_183_to_200() {
    let mut world = world();
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.set_body("application/sdp", described("Xk3d", at("52.112.143.212:52884")));
    });
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 183);
    let early = anna.hears(&mut world, "183 INVITE");
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    assert_eq!(body(&early), body(&answer));
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-ICE-010
/// TDR-XFR-050.
#[test]
fn ice_begun_anew_gets_new_credentials_at_the_same_port_and_no_gap() {
    let mut world = world();
    let (mut anna, subscriber, before) = from_a_client(&mut world);
    let refreshed = described("Xk3d", at("52.112.143.212:52884"));
    let asks = |world: &mut World, anna: &mut Party, sdp: String| {
        anna.asks(world, Method::Invite, Some(sdp));
        let answer = anna.hears(world, "200 INVITE");
        anna.acknowledges(world, &answer);
        Ours::of(&body(&answer))
    };
    assert_eq!(asks(&mut world, &mut anna, refreshed), before, "a refresh begins nothing");
    // F-18: the call has moved to a media processor.
    let moved = described("Zq9w", at("52.113.9.9:49200")).replace(PWD, "9pLmN3vB7xYtR2kQw5eUo8Hs");
    let after = asks(&mut world, &mut anna, moved);
    assert_eq!(after.media, before.media);
    assert!(after.ufrag != before.ufrag && after.pwd != before.pwd, "{after:?} {before:?}");
    assert_eq!(heard_by(&mut world, 1), [CLIENT], "the old pair serves on");
    assert!(before.checked(&mut world, CLIENT, "Xk3d", false));
    assert!(after.checked(&mut world, MOBILE, "Zq9w", true));
    assert_eq!(heard_by(&mut world, 2), [MOBILE]);
    assert!(!before.checked(&mut world, CLIENT, "Xk3d", false), "the old ones are gone");
    // And once more.
    let again = described("Third", at("52.113.9.9:49202"));
    let third = asks(&mut world, &mut anna, again);
    assert!(third.ufrag != after.ufrag && third.pwd != after.pwd);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-ICE-009
#[test]
fn the_pair_of_the_final_offer_is_taken_and_nothing_begins_anew() {
    let mut world = world();
    let (mut anna, subscriber, before) = from_a_client(&mut world);
    assert!(before.checked(&mut world, MOBILE, "Xk3d", false));
    let named = format!("a=remote-candidates:1 {} {}\r\n", before.media.ip(), before.media.port());
    let named = format!(
        "{named}a=candidate:9 1 UDP 1862270975 203.0.113.99 50004 typ prflx raddr 10.0.0.9 rport 50004\r\n"
    );
    let plain = described("Xk3d", at(MOBILE));
    let lines: String = plain
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let last = lines.replace("a=ptime:20\r\n", &format!("{named}a=ptime:20\r\n"));
    anna.asks(&mut world, Method::Invite, Some(last));
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    assert_eq!(Ours::of(&body(&answer)), before);
    assert_eq!(heard_by(&mut world, 1), [MOBILE]);
    hang_up(&mut world, &mut anna, &subscriber);
}

/// TDR-ICE-012
#[test]
fn a_call_that_nothing_comes_on_any_more_ends_and_one_on_hold_does_not() {
    let mut world = world();
    let (mut anna, subscriber, _) = from_a_client(&mut world);
    let held = sdp_text::turned(&described("Xk3d", at("52.112.143.212:52884")), "inactive");
    anna.asks(&mut world, Method::Invite, Some(held.clone()));
    let asked = subscriber.gets(&mut world, "INVITE");
    subscriber.answer(&mut world, &asked, 200, |it| {
        it.set_body(
            "application/sdp",
            sdp_text::turned(&sdp_text::carrier(Who::Colt.media()), "inactive"),
        );
    });
    subscriber.gets(&mut world, "ACK");
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(secs(100));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    let resumed = held.replace("a=inactive", "a=sendrecv").replace(" 1 IN", " 2 IN");
    anna.asks(&mut world, Method::Invite, Some(resumed));
    let asked = subscriber.gets(&mut world, "INVITE");
    subscriber.agrees(&mut world, &asked, sdp_text::carrier(Who::Colt.media()));
    subscriber.gets(&mut world, "ACK");
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.run_for(secs(29));
    assert_eq!(world.sent_to(Who::Sip, "BYE"), 0);
    world.run_for(secs(2));
    anna.is_hung_up(&mut world);
    subscriber.is_hung_up(&mut world);
    world.run_for(ms(100));
    assert_eq!(only_record(&world).cause, "ice_silent");
}

/// TDR-DLG-041.
#[test]
fn checks_that_never_come_are_told_and_what_teams_says_of_it_is_the_cause() {
    let mut world = world();
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        invite.set_body("application/sdp", described("Xk3d", at("52.112.143.212:52884")));
    });
    let subscriber = Party::called(&mut world, Who::Colt);
    callflow::script::connect_ringing(&mut world, &mut anna, &subscriber);
    assert!(heard_by(&mut world, 1).is_empty(), "nobody has asked for it");
    world.run_for(secs(11));
    let told = |event: &Event| {
        matches!(event, Event::IceTrouble { trunk, trouble, .. }
            if trunk == "teams" && *trouble == sdp::IceTrouble::NeverCompleted)
    };
    assert_eq!(world.events.iter().filter(|event| told(event)).count(), 1);
    let mut bye = anna.request(&mut world, Method::Bye);
    let reason = "Q.850;cause=63;text=\"6c1e8a54;IceConnectivityChecksFailed\"";
    bye.headers.push(Name::Reason, reason);
    world.send(Who::Sip, bye);
    anna.hears(&mut world, "200 BYE");
    subscriber.is_hung_up(&mut world);
    world.run_for(ms(100));
    let record = only_record(&world);
    assert_eq!(record.cause, "ice_failed");
    let ice = record.media.as_ref().expect("media was open").a.ice.expect("ICE was agreed");
    assert_eq!((ice.state, ice.selected), (IceState::Waiting, None));
}

/// TDR-ICE-008
#[test]
fn another_border_controller_that_only_answers_is_reached_where_its_m_line_says() {
    let mut world = world();
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let callee = Party::called(&mut world, Who::Sip);
    let lite = described("Lite", at(MOBILE)).replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    callee.accepts(&mut world, lite);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    callee.gets(&mut world, "ACK");
    assert_eq!(heard_by(&mut world, 1), [MOBILE]);
    let mut callee = callee;
    hang_up(&mut world, &mut callee, &caller);
}

#[test]
fn teams_without_ice_is_heard_as_ever() {
    let mut world = world();
    let (mut anna, subscriber) = callflow::script::teams_calls_carrier(&mut world);
    world.send_packet(Who::Colt.media(), inside(&world), said(1));
    world.run_for(ms(100));
    assert_eq!(world.packets(Who::Sip.media()).len(), 1);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(ms(100));
    assert_eq!(only_record(&world).media.as_ref().expect("media was open").a.ice, None);
}

mod emulated {
    use super::*;
    use crate::sound::{both_hear, carrier_calls, ends, teams_calls};
    use callflow::plan::COLT;
    use callflow::{carrier_script, teams_script};
    use sdp::{IcePolicy, IceReport};

    /// The strict Teams with media bypass, and carriers that do this about ICE.
    fn world(carriers: IcePolicy, ours: IcePolicy) -> World {
        let mut world = World::with(7, |plan| {
            plan.trunks[TEAMS].ice = IcePolicy::Bypass;
            plan.trunks[TEAMS].terms.ice_timeout = Some(secs(30));
            plan.trunks[COLT].ice = ours;
            plan.trunks[COLT].terms.ice_timeout = Some(secs(30));
        });
        world.emulate_varied(
            teams_script(),
            |teams| teams.bypass = true,
            |carrier| {
                carrier.script = carrier_script();
                carrier.ice = carriers;
            },
        );
        world
    }

    fn both_ice(world: &World) -> (Option<IceReport>, Option<IceReport>) {
        let media = only_record(world).media.as_ref().expect("media was open");
        (media.a.ice, media.b.ice)
    }

    fn is_selected(report: Option<IceReport>, sent: bool) {
        let report = report.expect("ICE was agreed");
        assert_eq!(report.state, IceState::Selected, "{report:?}");
        assert!(report.checks_answered > 0 || report.checks_sent > 0, "{report:?}");
        assert_eq!(report.checks_sent > 0, sent, "{report:?}");
    }

    /// TDR-ICE-014: the far side is a full agent.
    #[test]
    fn a_client_calls_and_moves_and_is_heard_all_along() {
        let mut world = world(IcePolicy::Off, IcePolicy::Off);
        let both = teams_calls(&mut world);
        both_hear(&mut world, both);
        for _ in 0..2 {
            let moved = world.act(Who::Sip, |agent, now| agent.restart_ice(now, both[0].1));
            assert!(moved);
            world.run_for(secs(1));
            both_hear(&mut world, both);
        }
        ends(&mut world, both[0]);
        let (teams, carrier) = both_ice(&world);
        is_selected(teams, false);
        assert_eq!((teams.map(|it| it.restarts), carrier), (Some(2), None));
    }

    #[test]
    fn a_client_is_called_and_holds_and_resumes() {
        let mut world = world(IcePolicy::Off, IcePolicy::Off);
        let both = carrier_calls(&mut world);
        both_hear(&mut world, both);
        world.act(Who::Sip, |agent, now| agent.hold(now, both[1].1));
        world.run_for(secs(60));
        world.act(Who::Sip, |agent, now| agent.resume(now, both[1].1));
        world.run_for(secs(1));
        both_hear(&mut world, both);
        ends(&mut world, both[1]);
        is_selected(both_ice(&world).1, false);
    }

    #[test]
    fn a_carrier_that_checks_gets_answers_and_checks_of_ours_where_we_are_full() {
        for (ours, sent) in [(IcePolicy::Lite, false), (IcePolicy::Full, true)] {
            let mut world = world(IcePolicy::Full, ours);
            let both = carrier_calls(&mut world);
            both_hear(&mut world, both);
            ends(&mut world, both[0]);
            let (carrier, teams) = both_ice(&world);
            is_selected(carrier, sent);
            is_selected(teams, false);
            let mut world = self::world(IcePolicy::Full, ours);
            let both = teams_calls(&mut world);
            both_hear(&mut world, both);
            ends(&mut world, both[0]);
            is_selected(both_ice(&world).1, sent);
        }
    }

    #[test]
    fn a_carrier_that_only_answers_is_checked() {
        let mut world = world(IcePolicy::Lite, IcePolicy::Full);
        let both = teams_calls(&mut world);
        both_hear(&mut world, both);
        world.run_for(secs(60));
        both_hear(&mut world, both);
        ends(&mut world, both[1]);
        is_selected(both_ice(&world).1, true);
    }

    #[test]
    fn a_carrier_without_ice_is_offered_it_and_heard_all_the_same() {
        let mut world = world(IcePolicy::Off, IcePolicy::Full);
        let both = teams_calls(&mut world);
        both_hear(&mut world, both);
        ends(&mut world, both[0]);
        assert_eq!(both_ice(&world).1, None);
    }
}

/// TDR-XFR-018.
#[test]
fn a_transferor_is_reached_again_without_a_check_when_the_target_fails_whose_early_media_worked() {
    let mut world = world();
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    let before = Ours::of(&body(&anna.invite));
    anna.accepts(&mut world, described("Aaaa", Who::Sip.media()));
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    anna.gets(&mut world, "ACK");
    assert!(before.checked(&mut world, CLIENT, "Aaaa", true));
    assert_eq!(heard_by(&mut world, 1), [CLIENT]);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    let theirs = Ours::of(&body(&clara.invite));
    clara.answer(&mut world, &clara.invite, 183, |it| {
        it.set_body("application/sdp", described("Cccc", at("52.112.143.9:52000")));
    });
    is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
    assert!(theirs.checked(&mut world, MOBILE, "Cccc", true));
    assert_eq!(heard_by(&mut world, 2), [MOBILE], "the target's early media works");
    clara.reply(&mut world, 603);
    is_told(&mut world, &anna, "603 Decline", "terminated;reason=noresource");
    assert_eq!(heard_by(&mut world, 3), [CLIENT], "Anna does not check again");
    assert!(before.checked(&mut world, CLIENT, "Aaaa", false), "and may if she likes");
    hang_up(&mut world, &mut anna, &caller);
}
