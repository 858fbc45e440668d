//! Fax by T.38: both legs go from speech to UDPTL and back together; where one cannot, audio goes on.

use crate::reinvite::{agrees, crosses};
use b2bua::io::Event;
use b2bua::plan::{FaxPolicy, Plan, SrtpPolicy};
use b2bua::record::Fax;
use callflow::plan::{ANNA, BT, COLT, PSTN, TEAMS};
use callflow::script::{
    body, carrier_calls_teams, connect, hang_up, line, teams_calls_carrier, usual_sdp,
};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use sip_core::{Method, Name};

/// What comes from a carrier for contoso goes to the PBX that is bt.
fn pbx(plan: &mut Plan) {
    plan.tenants[0].routes[1].to = vec![BT].into();
}

/// The carrier has called the PBX, and they speak.
fn spoken(world: &mut World) -> (Party, Party) {
    let mut carrier = Party::from_carrier(world, Who::Colt, ANNA);
    let pbx = Party::called(world, Who::Bt);
    connect(world, &mut carrier, &pbx);
    (carrier, pbx)
}

fn fax_of(who: Who) -> String {
    sdp_text::fax(who.media())
}

/// The same as it comes later in the dialog.
fn again(sdp: &str, version: u32) -> String {
    let before = if sdp.contains(" 1 IN") { " 1 IN" } else { " 2 IN" };
    sdp.replacen(before, &format!(" {version} IN"), 1)
}

fn port(sdp: &str) -> u16 {
    let m_lines = sdp.lines().filter(|line| line.starts_with("m="));
    let mut ports = m_lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok());
    ports.find(|port| *port != 0).expect("a port")
}

/// A datagram of a fax with this number: of anything else it would be none.
fn datagram(number: u16) -> Vec<u8> {
    let mut octets = number.to_be_bytes().to_vec();
    octets.extend([3, 0xc0, 1, 0x80, 0, 0]);
    octets
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    packet
}

/// How many of these packets of one end the other gets, as they came.
fn crossed(world: &mut World, from: Who, ours: u16, to: Who, packets: &[Vec<u8>]) -> usize {
    world.packets(to.media());
    for packet in packets {
        world.send_packet(from.media(), World::our_media(ours), packet.clone());
        world.run_for(ms(20));
    }
    let got = world.packets(to.media());
    packets.iter().filter(|sent| got.iter().any(|(_, it)| it == *sent)).count()
}

/// Datagrams cross both ways; our ports are in what each end was told last.
fn both_fax(world: &mut World, ours: (u16, u16)) {
    let packets: Vec<Vec<u8>> = [0, 1, 0x8008, 0xffff].map(datagram).to_vec();
    assert_eq!(crossed(world, Who::Colt, ours.0, Who::Bt, &packets), 4);
    assert_eq!(crossed(world, Who::Bt, ours.1, Who::Colt, &packets), 4);
    assert!(world.core().calls(world.now())[0].fax);
}

fn both_speak(world: &mut World, ours: (u16, u16), from: u16) {
    let packets: Vec<Vec<u8>> = (from..from + 4).map(rtp).collect();
    assert_eq!(crossed(world, Who::Colt, ours.0, Who::Bt, &packets), 4);
    assert_eq!(crossed(world, Who::Bt, ours.1, Who::Colt, &packets), 4);
    assert!(!world.core().calls(world.now())[0].fax);
}

fn told(world: &World) -> Vec<Fax> {
    let fax = |event: &Event| match event {
        Event::Fax { result, .. } => Some(*result),
        _ => None,
    };
    world.events.iter().filter_map(fax).collect()
}

#[test]
fn the_side_that_is_called_asks_for_a_fax_and_the_caller_goes_back_to_speech() {
    let mut world = World::with(1, pbx);
    let (mut carrier, mut pbx) = spoken(&mut world);
    let to_pbx = port(&body(&pbx.invite));
    let asked = crosses(&mut world, &mut pbx, &carrier, fax_of(Who::Bt));
    let ours = body(&asked);
    assert!(line(&ours, "m=").ends_with(" udptl t38"), "{ours}");
    assert_eq!(line(&ours, "a=T38MaxBitRate"), "a=T38MaxBitRate:14400", "{ours}");
    assert!(!ours.contains("m=audio") && !ours.contains("rtpmap"), "{ours}");
    let slower = fax_of(Who::Colt).replace("14400", "9600");
    let answer = body(&agrees(&mut world, &mut pbx, &carrier, &asked, slower));
    assert_eq!(line(&answer, "a=T38MaxBitRate"), "a=T38MaxBitRate:9600", "what the other can");
    assert_eq!(line(&answer, "m="), format!("m=image {} udptl t38", to_pbx), "the port stays");
    both_fax(&mut world, (port(&ours), port(&answer)));

    let talk = again(&usual_sdp(Who::Colt), 3);
    let asked = crosses(&mut world, &mut carrier, &pbx, talk);
    let ours = body(&asked);
    assert!(
        line(&ours, "m=").starts_with(&format!("m=audio {} RTP/AVP 8 0 101", to_pbx)),
        "{ours}"
    );
    assert!(!ours.contains("T38"), "{ours}");
    let answer =
        body(&agrees(&mut world, &mut carrier, &pbx, &asked, again(&usual_sdp(Who::Bt), 3)));
    both_speak(&mut world, (port(&answer), port(&ours)), 1);
    hang_up(&mut world, &mut carrier, &pbx);
    assert_eq!((world.records[0].fax, told(&world)), (Some(Fax::T38), vec![Fax::T38]));
    let media = world.records[0].media.as_ref().expect("counters");
    assert_eq!((media.a.received_packets, media.b.received_packets), (8, 8), "both kinds count");
}

#[test]
fn the_caller_asks_for_a_fax_beside_audio_with_port_0_and_hangs_up_during_it() {
    let mut world = World::with(1, pbx);
    let (mut carrier, pbx) = spoken(&mut world);
    let off = fax_of(Who::Colt).replace("m=image", "m=audio 0 RTP/AVP 8 0\r\nm=image");
    let asked = crosses(&mut world, &mut carrier, &pbx, off);
    let ours = body(&asked);
    let answer = body(&agrees(&mut world, &mut carrier, &pbx, &asked, fax_of(Who::Bt)));
    let m_lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(m_lines[0], "m=audio 0 RTP/AVP 8 0");
    assert!(m_lines[1].starts_with("m=image ") && m_lines.len() == 2, "{answer}");
    both_fax(&mut world, (port(&answer), port(&ours)));
    // A terminal that refreshes the session, or asks for another speed, troubles nobody.
    let invites = world.sent_to(Who::Bt, "INVITE");
    for version in [2, 3] {
        let off = fax_of(Who::Colt).replace("m=image", "m=audio 0 RTP/AVP 8 0\r\nm=image");
        let sdp =
            again(&off, version).replace("14400", if version == 3 { "4800" } else { "14400" });
        carrier.asks(&mut world, Method::Invite, Some(sdp));
        let answer = carrier.hears(&mut world, "200 INVITE");
        carrier.acknowledges(&mut world, &answer);
        world.run_for(ms(50));
        assert!(body(&answer).contains("m=image "));
    }
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), invites);
    both_fax(&mut world, (port(&answer), port(&ours)));
    hang_up(&mut world, &mut carrier, &pbx);
    assert_eq!(world.records[0].fax, Some(Fax::T38));
}

#[test]
fn who_takes_the_place_of_a_fax_machine_speaks_and_the_other_side_is_asked_to() {
    let mut world = World::with(1, pbx);
    let (mut carrier, pbx) = spoken(&mut world);
    let asked = crosses(&mut world, &mut carrier, &pbx, fax_of(Who::Colt));
    agrees(&mut world, &mut carrier, &pbx, &asked, fax_of(Who::Bt));
    let our_tag = pbx.remote_tag().expect("the dialog is confirmed");
    let named = format!("{};from-tag={};to-tag={our_tag}", pbx.call_id, pbx.tag);
    let uri = format!("sip:{PSTN}@{}", Who::Bt.ours().ip());
    let mut desk = Party::call(&mut world, Who::Bt, ANNA, &uri, |invite| {
        invite.headers.push(Name::Replaces, named);
    });
    let answer = desk.hears(&mut world, "200 INVITE");
    assert!(line(&body(&answer), "m=").starts_with("m=audio "), "{}", body(&answer));
    desk.acknowledges(&mut world, &answer);
    pbx.is_hung_up(&mut world);
    let back = carrier.gets(&mut world, "INVITE");
    assert!(line(&body(&back), "m=").starts_with("m=audio "), "{}", body(&back));
}

/// TDR-SDP-013: Teams has no T.38: 488 at once, and it hears nothing of it.
#[test]
fn a_carriers_fax_towards_teams_is_refused_at_once_and_audio_goes_on() {
    for teams_begins in [false, true] {
        let mut world = World::new(1);
        let (mut carrier, mut teams) = match teams_begins {
            true => {
                let (teams, carrier) = teams_calls_carrier(&mut world);
                (carrier, teams)
            }
            false => carrier_calls_teams(&mut world),
        };
        let before = world.sent_to(Who::Sip, "INVITE");
        let reinvite = carrier.asks(&mut world, Method::Invite, Some(fax_of(Who::Colt)));
        let refusal = carrier.hears(&mut world, "488 INVITE");
        carrier.acknowledges_failure_of(&mut world, &reinvite, &refusal);
        assert_eq!(world.sent_to(Who::Sip, "INVITE"), before);
        // Speech was never away: a hold still crosses.
        let held = sdp_text::turned(&usual_sdp(Who::Colt), "sendonly");
        let asked = crosses(&mut world, &mut carrier, &teams, held);
        let inactive = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
        agrees(&mut world, &mut carrier, &teams, &asked, inactive);
        // And Teams would get the same, should it ever ask.
        let reinvite = teams.asks(&mut world, Method::Invite, Some(fax_of(Who::Sip)));
        let refusal = teams.hears(&mut world, "488 INVITE");
        teams.acknowledges_failure_of(&mut world, &reinvite, &refusal);
        hang_up(&mut world, &mut carrier, &teams);
        assert_eq!((world.records[0].fax, told(&world)), (Some(Fax::Refused), vec![Fax::Refused]));
    }
}

#[test]
fn a_fax_is_refused_where_the_other_trunk_keeps_it_in_the_audio_or_is_encrypted() {
    let encrypted: fn(&mut Plan) = |plan| plan.trunks[BT].srtp = SrtpPolicy::Preferred;
    let no_t38: fn(&mut Plan) = |plan| plan.trunks[BT].fax = FaxPolicy::Audio;
    for (vary, secure) in [(encrypted, true), (no_t38, false)] {
        let mut world = World::with(1, |plan| {
            pbx(plan);
            vary(plan);
        });
        let mut carrier = Party::from_carrier(&mut world, Who::Colt, ANNA);
        let pbx = Party::called(&mut world, Who::Bt);
        let answer = match secure {
            true => sdp_text::teams(Who::Bt.media()),
            false => usual_sdp(Who::Bt),
        };
        pbx.accepts(&mut world, answer);
        let answered = carrier.hears(&mut world, "200 INVITE");
        carrier.acknowledges(&mut world, &answered);
        pbx.gets(&mut world, "ACK");
        let reinvite = carrier.asks(&mut world, Method::Invite, Some(fax_of(Who::Colt)));
        let refusal = carrier.hears(&mut world, "488 INVITE");
        carrier.acknowledges_failure_of(&mut world, &reinvite, &refusal);
        assert_eq!(world.sent_to(Who::Bt, "INVITE"), 1);
        hang_up(&mut world, &mut carrier, &pbx);
        assert_eq!(world.records[0].fax, Some(Fax::Refused));
    }
}

#[test]
fn a_far_side_that_refuses_the_fax_by_488_or_by_port_0_goes_on_in_speech() {
    for by_port in [false, true] {
        let mut world = World::with(1, pbx);
        let (mut carrier, pbx) = spoken(&mut world);
        let reinvite = carrier.asks(&mut world, Method::Invite, Some(fax_of(Who::Colt)));
        let asked = pbx.gets(&mut world, "INVITE");
        let off = fax_of(Who::Bt).replace("m=image 40000", "m=image 0");
        match by_port {
            true => {
                pbx.agrees(&mut world, &asked, off);
                pbx.gets(&mut world, "ACK");
                // It has no speech now, and is given it back.
                let back = pbx.gets(&mut world, "INVITE");
                let ours = body(&back);
                assert!(line(&ours, "m=").starts_with("m=audio "), "{ours}");
                assert!(line(&ours, "o=").contains(" 3 IN "), "{ours}");
                let talk = again(&usual_sdp(Who::Bt), 3);
                pbx.agrees(&mut world, &back, talk);
                pbx.gets(&mut world, "ACK");
            }
            false => {
                pbx.answer(&mut world, &asked, 488, |_| {});
                pbx.gets(&mut world, "ACK");
            }
        }
        let refusal = carrier.hears(&mut world, "488 INVITE");
        carrier.acknowledges_failure_of(&mut world, &reinvite, &refusal);
        assert!(!world.core().calls(world.now())[0].fax);
        hang_up(&mut world, &mut carrier, &pbx);
        assert_eq!((world.records[0].fax, told(&world)), (Some(Fax::Refused), vec![Fax::Refused]));
    }
}

#[test]
fn a_call_that_begins_as_a_fax_goes_where_it_can_and_nowhere_else() {
    let fax = |world: &mut World| {
        let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
        Party::call(world, Who::Colt, callflow::plan::PSTN, &uri, |invite| {
            invite.set_body("application/sdp", fax_of(Who::Colt));
        })
    };
    // A PBX takes it, after Teams was passed over.
    let mut world = World::with(1, |plan| {
        plan.tenants[0].routes[1].to = vec![TEAMS, BT].into();
    });
    let mut carrier = fax(&mut world);
    let pbx = Party::called(&mut world, Who::Bt);
    assert!(line(&body(&pbx.invite), "m=").ends_with(" udptl t38"));
    pbx.accepts(&mut world, fax_of(Who::Bt));
    let answered = carrier.hears(&mut world, "200 INVITE");
    carrier.acknowledges(&mut world, &answered);
    pbx.gets(&mut world, "ACK");
    both_fax(&mut world, (port(&body(&answered)), port(&body(&pbx.invite))));
    hang_up(&mut world, &mut carrier, &pbx);
    assert_eq!(world.records[0].fax, Some(Fax::T38));

    let mut world = World::new(1);
    let mut carrier = fax(&mut world);
    let refusal = carrier.hears(&mut world, "488 INVITE");
    carrier.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    assert_eq!(world.records[0].cause, "no_fax");

    let mut world = World::with(1, |plan| plan.trunks[COLT].fax = FaxPolicy::Audio);
    let mut carrier = fax(&mut world);
    let refusal = carrier.hears(&mut world, "488 INVITE");
    carrier.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.records[0].cause, "no_fax");
}

#[test]
fn a_fax_that_pauses_for_half_a_minute_is_not_silent_and_no_dead_call() {
    let mut world = World::with(1, |plan| {
        pbx(plan);
        for trunk in [COLT, BT] {
            plan.trunks[trunk].terms.media_timeout = Some(secs(15));
        }
    });
    let (carrier, mut pbx) = spoken(&mut world);
    let asked = crosses(&mut world, &mut pbx, &carrier, fax_of(Who::Bt));
    let answer = agrees(&mut world, &mut pbx, &carrier, &asked, fax_of(Who::Colt));
    both_fax(&mut world, (port(&body(&asked)), port(&body(&answer))));
    let silences = |world: &World| {
        world
            .events
            .iter()
            .filter(|it| matches!(it, Event::Silence { silence: Some(_), .. }))
            .count()
    };
    let before = silences(&world);
    world.run_for(secs(45));
    assert_eq!(silences(&world), before);
    assert_eq!(world.core().calls(world.now()).len(), 1);
    // Nothing for more than a minute is no fax any more.
    world.run_for(secs(20));
    carrier.is_hung_up(&mut world);
    pbx.is_hung_up(&mut world);
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "media_timeout");
}
