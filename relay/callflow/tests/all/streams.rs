//! More m-lines than one, lines that are off, and octets that are no speech.

use crate::reinvite::{agrees, crosses, direction};
use b2bua::plan::Plan;
use callflow::plan::{ANNA, BT, PSTN};
use callflow::script::{body, connect, hang_up, line, usual_sdp};
use callflow::{Party, Who, World, ms, sdp_text};
use sip_core::Method;

/// A camera, a line that is off, audio and a data channel, all to be bundled.
fn several(who: Who) -> String {
    let more = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n";
    let before = "a=group:BUNDLE 0 1 2 3\r\nm=video 40010 RTP/AVP 96\r\na=mid:0\r\na=rtpmap:96 H264/90000\r\n\
                  m=audio 0 RTP/AVP 8\r\na=mid:1\r\n";
    let audio = usual_sdp(who).replace("m=audio", &format!("{before}m=audio"));
    audio.replace("a=ptime", "a=mid:2\r\na=ptime") + more
}

fn m_lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=")).collect()
}

fn calls(world: &mut World, sdp: String) -> Party {
    let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
    Party::call(world, Who::Colt, PSTN, &uri, |invite| invite.set_body("application/sdp", sdp))
}

/// TDR-SDP-008, TDR-SDP-007: and in each further exchange the lines stay where they are.
#[test]
fn of_several_lines_audio_is_taken_and_the_rest_stays_refused_in_its_place() {
    let mut world = World::new(1);
    let mut carrier = calls(&mut world, several(Who::Colt));
    let mut anna = Party::called(&mut world, Who::Sip);
    let offer = body(&anna.invite);
    assert_eq!(m_lines(&offer).len(), 1, "{offer}");
    for absent in ["a=mid", "a=group", "H264"] {
        assert!(!offer.contains(absent), "{offer}");
    }
    anna.reply(&mut world, 200);
    let answered = carrier.hears(&mut world, "200 INVITE");
    carrier.acknowledges(&mut world, &answered);
    anna.gets(&mut world, "ACK");
    let answer = body(&answered);
    let lines = m_lines(&answer);
    assert_eq!([lines[0], lines[1]], ["m=video 0 RTP/AVP 96", "m=audio 0 RTP/AVP 8"], "{answer}");
    assert!(lines[2].starts_with("m=audio 3") && lines.len() == 4, "{answer}");
    assert_eq!(lines[3], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert!(answer.contains("a=mid:2") && !answer.contains("a=group"), "{answer}");

    // Teams holds: ours to the carrier has all lines, each in its place.
    let held = sdp_text::turned(&usual_sdp(Who::Sip), "inactive");
    let asked = crosses(&mut world, &mut anna, &carrier, held);
    let ours = body(&asked);
    assert_eq!(m_lines(&ours).len(), 4, "{ours}");
    assert_eq!(m_lines(&ours)[2], lines[2]);
    assert_eq!(direction(&ours), "a=inactive");
    let theirs =
        several(Who::Colt).replace("sendrecv", "inactive").replace("m=video 40010", "m=video 0");
    agrees(&mut world, &mut anna, &carrier, &asked, theirs);
    hang_up(&mut world, &mut carrier, &anna);
}

#[test]
fn a_reinvite_that_turns_all_lines_off_is_refused_and_the_call_goes_on() {
    let mut world = World::new(1);
    let mut carrier = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut carrier, &anna);
    let off = usual_sdp(Who::Colt).replace("m=audio 40000", "m=audio 0").replace(" 1 IN", " 2 IN");
    let reinvite = carrier.asks(&mut world, Method::Invite, Some(off));
    let refusal = carrier.hears(&mut world, "488 INVITE");
    carrier.acknowledges_failure_of(&mut world, &reinvite, &refusal);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 1);
    assert_eq!(world.core().calls(world.now())[0].state, "answered");
    hang_up(&mut world, &mut carrier, &anna);
}

/// RFC 4040: octets of an ISDN line, of which none may change.
#[test]
fn clearmode_crosses_between_carriers_as_it_came() {
    let to_bt = |plan: &mut Plan| plan.tenants[0].routes[1].to = vec![BT].into();
    let clear = |who: Who| sdp_text::plain(who.media(), &["97 CLEARMODE/8000"]);
    let mut world = World::with(1, to_bt);
    let mut carrier = calls(&mut world, clear(Who::Colt));
    let pbx = Party::called(&mut world, Who::Bt);
    let offer = body(&pbx.invite);
    assert_eq!(line(&offer, "a=rtpmap:97"), "a=rtpmap:97 CLEARMODE/8000", "{offer}");
    pbx.accepts(&mut world, clear(Who::Bt));
    let answered = carrier.hears(&mut world, "200 INVITE");
    carrier.acknowledges(&mut world, &answered);
    pbx.gets(&mut world, "ACK");
    let answer = body(&answered);
    let ours: u16 =
        line(&answer, "m=").split(' ').nth(1).and_then(|port| port.parse().ok()).expect("a port");
    for sequence in 1..20_u16 {
        let mut packet = vec![0x80, 97];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7]);
        packet.extend((0..160_u16).map(|at| (at * sequence) as u8));
        world.send_packet(Who::Colt.media(), World::our_media(ours), packet.clone());
        world.run_for(ms(20));
        let got = world.packets(Who::Bt.media());
        assert!(got.iter().any(|(_, it)| it[12..] == packet[12..]), "packet {sequence}");
    }
    hang_up(&mut world, &mut carrier, &pbx);
}
