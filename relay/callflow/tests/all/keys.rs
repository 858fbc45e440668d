//! Keys told by SIP INFO on one side and as telephone events on the other.

use callflow::plan::{ANNA, COLT, CONTOSO, PSTN};
use callflow::script::{body, carrier_calls_teams, hang_up, line};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sdp::Dtmf;
use sip_core::{Method, Name, Request};

/// Telephone events with an SRTP tag behind them.
const EVENT_LEN: usize = 12 + 4 + 10;

fn key(party: &mut Party, world: &mut World, kind: &'static str, text: &'static str) {
    let mut info = party.request(world, Method::Info);
    info.set_body(kind, text);
    world.send(party.who, info);
}

/// Our port on the leg that was described so.
fn port(description: &str) -> u16 {
    line(description, "m=audio ").split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a port")
}

fn speech(world: &mut World, from: Who, to: u16, sequence: u8) {
    let packet = [vec![0x80, 8, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 1], vec![0xd5; 160]];
    world.send_packet(from.media(), World::our_media(to), packet.concat());
}

/// One key of the far side with payload type `pt`: a report and its end three times.
fn press(world: &mut World, from: Who, to: u16, (pt, code): (u8, u8), first: u8) {
    for step in 0..4_u8 {
        let (end, units) = if step == 0 { (0, 160) } else { (0x80_u8, 640_u16) };
        let [high, low] = units.to_be_bytes();
        let marked = if step == 0 { pt | 0x80 } else { pt };
        let packet = [
            vec![0x80, marked, 0, first + step, 0, 0, first, 0, 0, 0, 0, 1],
            vec![code, end | 10, high, low],
        ];
        world.send_packet(from.media(), World::our_media(to), packet.concat());
        world.run_for(ms(20));
    }
}

fn events_to_teams(world: &mut World) -> usize {
    let heard = world.packets(Who::Sip.media());
    heard.iter().filter(|(_, packet)| packet.len() == EVENT_LEN).count()
}

fn text(request: &Request) -> String {
    String::from_utf8(request.body().to_vec()).expect("text")
}

/// TDR-COD-005
/// TDR-DLG-001.
#[test]
fn a_key_in_an_info_reaches_teams_as_telephone_event() {
    for (kind, written) in [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
        ("application/dtmf-relay; charset=utf-8", "Signal= 5\nDuration= 160"),
        ("application/dtmf", "5"),
    ] {
        let mut world = World::new(1);
        let (mut caller, anna) = carrier_calls_teams(&mut world);
        world.run_for(ms(50));
        key(&mut caller, &mut world, kind, written);
        caller.hears(&mut world, "200 INFO");
        world.run_for(secs(1));
        // 160 ms in reports of 20 ms, and the last one twice more.
        assert_eq!(events_to_teams(&mut world), 10, "{kind}");
        hang_up(&mut world, &mut caller, &anna);
        let media = world.records[0].media.as_ref().expect("media was open");
        assert_eq!((media.a.keys, media.b.keys, media.b.keys_lost), (1, 0, 0));
    }
}

#[test]
fn a_key_told_by_info_and_as_event_is_pressed_once() {
    let mut world = World::new(1);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |_| {});
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 200);
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    anna.gets(&mut world, "ACK");
    let ours = port(&body(&answer));
    press(&mut world, Who::Colt, ours, (101, 7), 10);
    key(&mut caller, &mut world, "application/dtmf-relay", "Signal=7\r\nDuration=80\r\n");
    caller.hears(&mut world, "200 INFO");
    world.run_for(secs(1));
    assert_eq!(events_to_teams(&mut world), 4, "those that the carrier has sent");
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.records[0].media.as_ref().expect("media was open").a.keys, 1);
}

#[test]
fn what_is_no_key_is_refused() {
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    key(&mut caller, &mut world, "application/dtmf-relay", "Signal=55\r\n");
    caller.hears(&mut world, "400 INFO");
    key(&mut caller, &mut world, "application/dtmf", "");
    caller.hears(&mut world, "200 INFO");
    hang_up(&mut world, &mut caller, &anna);
    for told in [Dtmf::Rfc4733, Dtmf::Inband] {
        let mut world = World::with(1, |plan| plan.trunks[COLT].terms.dtmf = told);
        let (mut caller, anna) = carrier_calls_teams(&mut world);
        key(&mut caller, &mut world, "application/dtmf", "5");
        let refused = caller.hears(&mut world, "415 INFO");
        assert_eq!(refused.headers.get(Name::Accept), Some(&b""[..]), "none is taken");
        hang_up(&mut world, &mut caller, &anna);
    }
}

/// The carrier calls Teams, which has no SRTP here so that its keys can be played by hand.
fn plain_call(told: Dtmf, allow: &'static str) -> (World, Party, Party, u16) {
    let mut world = World::with(1, |plan| {
        plan.trunks[COLT].terms.dtmf = told;
        plan.trunks[callflow::plan::TEAMS].srtp = b2bua::plan::SrtpPolicy::Off;
    });
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip, ANNA, &uri, |invite| {
        let payloads = ["8 PCMA/8000", "101 telephone-event/8000"];
        invite.set_body("application/sdp", sdp_text::plain(Who::Sip.media(), &payloads));
    });
    let subscriber = Party::called(&mut world, Who::Colt);
    let offered = body(&subscriber.invite);
    assert_eq!(offered.contains("telephone-event"), told == Dtmf::Auto, "{offered}");
    subscriber.answer(&mut world, &subscriber.invite, 200, |response| {
        let answer = sdp_text::plain(Who::Colt.media(), &["8 PCMA/8000"]);
        response.headers.push(Name::Allow, allow);
        response.set_body("application/sdp", answer);
    });
    let answer = anna.hears(&mut world, "200 INVITE");
    assert!(line(&body(&answer), "m=audio").ends_with(" 8 101"), "Teams has its events");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    let ours = port(&body(&answer));
    speech(&mut world, Who::Sip, ours, 1);
    (world, anna, subscriber, ours)
}

#[test]
fn events_from_teams_become_info_one_after_the_other_where_the_carrier_takes_it() {
    for (told, allow) in [(Dtmf::Auto, "INVITE, ACK, BYE, INFO"), (Dtmf::Info, "INVITE, ACK, BYE")]
    {
        let (mut world, mut anna, subscriber, ours) = plain_call(told, allow);
        for (at, code) in [1_u8, 11, 11].into_iter().enumerate() {
            press(&mut world, Who::Sip, ours, (101, code), 10 + 10 * at as u8);
        }
        for signal in ["1", "#", "#"] {
            let info = subscriber.gets(&mut world, "INFO");
            assert_eq!(text(&info), format!("Signal={signal}\r\nDuration=80\r\n"));
            assert_eq!(info.headers.get(Name::ContentType), Some(&b"application/dtmf-relay"[..]));
            subscriber.answer(&mut world, &info, 200, |_| {});
            world.run_for(ms(100));
        }
        assert_eq!(world.sent_to(Who::Colt, "INFO"), 3);
        hang_up(&mut world, &mut anna, &subscriber);
        assert_eq!(world.records[0].media.as_ref().expect("media was open").a.keys, 3);
    }
}

/// Packets that the carrier got and that are no silence.
fn tones(world: &mut World) -> usize {
    let heard = world.packets(Who::Colt.media());
    let is_tone = |packet: &[u8]| packet.len() == 172 && packet[12..] != [0xd5; 160];
    heard.iter().filter(|(_, packet)| is_tone(packet)).count()
}

#[test]
fn where_the_carrier_takes_no_info_keys_become_tones() {
    let (mut world, mut anna, subscriber, ours) = plain_call(Dtmf::Auto, "INVITE, ACK, BYE");
    press(&mut world, Who::Sip, ours, (101, 3), 10);
    world.run_for(secs(1));
    assert_eq!((world.sent_to(Who::Colt, "INFO"), tones(&mut world)), (0, 4));
    hang_up(&mut world, &mut anna, &subscriber);

    let (mut world, mut anna, subscriber, ours) = plain_call(Dtmf::Info, "INVITE, ACK, BYE");
    press(&mut world, Who::Sip, ours, (101, 3), 10);
    let info = subscriber.gets(&mut world, "INFO");
    assert_eq!(tones(&mut world), 0);
    subscriber.answer(&mut world, &info, 415, |_| {});
    world.run_for(secs(1));
    assert_eq!(tones(&mut world), 4);
    hang_up(&mut world, &mut anna, &subscriber);
}
