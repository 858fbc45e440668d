//! More m-lines than one, and octets that are no speech.

use super::bad_line::{pcap, rtp};
use super::capture::Capture;
use super::peers::{self, Sipp};
use super::sipp::Over;
use super::sipp::{self, Role};
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};

/// A camera, a line that is off, audio, and a data channel, all to be bundled: the user is offered audio
/// alone, and the answer refuses the rest in its place, bundles nothing and names its line.
pub(super) fn of_several_m_lines_one_is_taken(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("several")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let ladder = "
        > INVITE several
        < 100?
        < 180?
        < 183?
        < 200 | ~m=video 0 RTP/AVP 96 | ~m=audio 0 RTP/AVP 8 | ~m=audio [1-9][0-9]+ RTP/AVP 0 101 | ~a=mid:2 | ~m=application 0 UDP/DTLS/SCTP webrtc-datachannel
        > ACK
        pause 1500
        > BYE
        < 200";
    let scenario = sipp::xml("several", Role::Caller, Over::Udp, ladder);
    let number = Some(lab::USER_NUMBER);
    let caller = Sipp::plays(&folder, "several", &scenario, lab::CALLER, Over::Udp, number)?;
    lab.plays(&mut user, caller)?;
    let trace = capture.stop()?;
    let answer = trace.sip(lab::BORDER, lab::CALLER).find(|sip| sip.starts_with("SIP/2.0 200"));
    let answer = answer.unwrap_or_default();
    ensure(!answer.contains("a=group") && answer.matches("\nm=").count() == 4, || {
        format!("not as an answer should be:\n{answer}")
    })?;
    let offer = trace.sip(lab::FRONT, lab::USER).find(|sip| sip.starts_with("INVITE "));
    let offer = offer.unwrap_or_default();
    ensure(offer.matches("\nm=").count() == 1 && !offer.contains("a=mid"), || {
        format!("Teams was offered more than audio:\n{offer}")
    })?;
    let heard = trace.rtp(lab::BORDER, lab::CALLER).count();
    ensure(heard > 50, || format!("{heard} packets of audio came to the caller"))
}

/// Octets of an ISDN line in RTP (RFC 4040) are not to be touched, whatever looks like a tone in them.
pub(super) fn clearmode_crosses_as_it_came(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("clearmode")?;
    let capture = Capture::start(&folder)?;
    let callee = "
        < INVITE | ~a=rtpmap:97 CLEARMODE/8000
        > 180
        > 200 clearmode
        < ACK
        < BYE
        > 200";
    let caller = "
        > INVITE clearmode
        < 100?
        < 180?
        < 200 | ~a=rtpmap:97 CLEARMODE/8000
        > ACK
        play
        pause 4500
        > BYE
        < 200";
    let packets: Vec<(u32, Vec<u8>)> = (0..PACKETS).map(|n| (n * 20_000, isdn(n))).collect();
    let line = folder.join("tone.ul");
    std::fs::write(&line, pcap(&packets)).while_(line.display())?;
    let xml = |name, role, text| sipp::xml(name, role, Over::Udp, text);
    let callee = xml("clear_callee", Role::Callee, callee);
    let callee = Sipp::plays(&folder, "clear_callee", &callee, lab::CALLEE, Over::Udp, None)?;
    let caller = xml("clear_caller", Role::Caller, caller);
    let number = Some(lab::OVER_UDP);
    let caller = Sipp::plays(&folder, "clear_caller", &caller, lab::CALLER, Over::Udp, number)?;
    lab.calls += 1;
    caller.completes()?;
    callee.completes()?;
    lab.tollgate.is_empty_again()?;
    let trace = capture.stop()?;
    let sent: Vec<&[u8]> = packets.iter().filter_map(|(_, packet)| packet.get(12..)).collect();
    let payload = |packet: &super::capture::Packet| packet.payload.get(12..).map(<[u8]>::to_vec);
    let crossed: Vec<Vec<u8>> = trace.rtp(lab::BORDER, lab::CALLEE).filter_map(payload).collect();
    // Where the machine is busy, our port may open after the first packet has come.
    let same = crossed.iter().rev().zip(sent.iter().rev()).all(|(one, other)| one == other);
    println!("      {} packets of {}", crossed.len(), sent.len());
    ensure(same && crossed.len() + 1 >= sent.len(), || {
        format!("{} packets of {} came across as they were", crossed.len(), sent.len())
    })
}

/// Four seconds of 20 ms.
const PACKETS: u32 = 200;

/// Octets of all values, in packets as `rtp` makes them, of clearmode's payload type.
fn isdn(n: u32) -> Vec<u8> {
    let mut packet = rtp(n);
    if let Some(octet) = packet.get_mut(1) {
        *octet = 97;
    }
    for (at, octet) in packet.iter_mut().enumerate().skip(12) {
        *octet = (n.wrapping_mul(31) as u8).wrapping_add((at * 7) as u8);
    }
    packet
}
