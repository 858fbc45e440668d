//! What is heard before the answer, and keys as tones in the speech, with real peers.

use super::bad_line::pcap;
use super::call::{now, through_the_front, wait};
use super::capture::Capture;
use super::music::tone_packets;
use super::peers::{self, Sipp};
use super::sipp::Over;
use super::sipp::{self, Role};
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};
use std::time::Duration;

/// What is pressed.
const PRESSED: &str = "5#08*";

/// A telephone that rings in Germany, in Hz (ITU-T E.180, supplement 2): a second of five.
const RINGING: u16 = 425;

/// baresip calls a carrier of SIPp's that rings for a while; once that has answered, it presses keys.
///
/// TDR-EM-004.
pub(super) fn a_teams_user_hears_our_ringing_and_its_keys_become_tones(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("ringing")?;
    let capture = Capture::start(&folder)?;
    let ladder = "< INVITE\n> 180\npause 6500\n> 200 sdp\n< ACK\n< BYE\n> 200";
    let scenario = sipp::xml("rings", Role::Callee, Over::Udp, ladder);
    let carrier = Sipp::plays(&folder, "rings", &scenario, lab::RINGER, Over::Udp, None)?;
    let mut user = peers::user(&folder)?;
    user.command("dial", &through_the_front(lab::RINGER_NUMBER))?;
    lab.calls += 1;
    user.wait_for("CALL_PROGRESS")?;
    user.wait_for("CALL_ESTABLISHED")?;
    wait(Duration::from_millis(500));
    let answered = now()?;
    for key in PRESSED.chars() {
        user.command("sndcode", &key.to_string())?;
        wait(Duration::from_millis(500));
    }
    wait(Duration::from_secs(1));
    user.command("hangup", "")?;
    user.wait_for("CALL_CLOSED")?;
    carrier.completes()?;
    lab.tollgate.is_empty_again()?;
    let trace = capture.stop()?;
    let to_user = |since| trace.sealed_audio(lab::BORDER, lab::USER, since);
    to_user(0.0)?.first(1.2).must_be(RINGING, "what the caller hears")?;
    let late = trace.rtp(lab::BORDER, lab::USER).filter(|packet| packet.at > answered).count();
    ensure(late == 0, || format!("{late} packets of ringing after the answer"))?;
    let heard = trace.plain_audio(lab::BORDER, lab::RINGER, answered).keys();
    ensure(heard == PRESSED, || format!("the carrier heard {heard:?}, not {PRESSED:?}"))?;
    let record = lab.tollgate.record(lab.calls)?;
    let made = record["media"]["a"]["made"].as_u64().unwrap_or(0);
    ensure((300..350).contains(&made), || format!("{made} packets of ringing: {record}"))
}

/// SIPp presses keys by tones in what it says, and baresip is told them by telephone events.
pub(super) fn tones_in_a_carriers_speech_reach_teams_as_keys(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("tones")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let caller = Sipp::presses(&folder, lab::RINGER, PRESSED)?;
    lab.plays(&mut user, caller)?;
    let told = user.keys()?.to_owned();
    drop(user);
    let trace = capture.stop()?;
    ensure(told == PRESSED, || format!("the Teams user was told {told:?}, not {PRESSED:?}"))?;
    // A telephone event with its tag: header, four octets, ten.
    let events = trace.rtp(lab::BORDER, lab::USER).filter(|it| it.payload.len() == 26).count();
    ensure(events >= 5 * PRESSED.len(), || format!("{events} telephone events"))?;
    let record = lab.tollgate.record(lab.calls)?;
    let keys = record["media"]["a"]["keys"].as_u64();
    ensure(keys == Some(PRESSED.len() as u64), || format!("the record counts {keys:?} keys"))
}

/// What the forks play, in Hz.
const MOBILE: u16 = 700;
const DESK: u16 = lab::CARRIER_TONE;

/// SIPp is both forks of a carrier, which have described early media: the mobile sends, then, when that is silent,
/// the desk, and answers.
///
/// TDR-EM-007, TDR-EM-021, TDR-EM-022.
pub(super) fn of_two_forks_the_one_that_sends_is_heard(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("forks")?;
    let mut scenario = include_str!("../../peers/forks.xml").to_owned();
    for (name, hz, seconds) in [("MOBILE", MOBILE, 3), ("DESK", DESK, 5)] {
        let file = folder.join(format!("{name}.pcap"));
        let packets = (0..).zip(tone_packets(hz, seconds, 1));
        let packets: Vec<_> = packets.map(|(n, packet)| (n * 20_000, packet)).collect();
        std::fs::write(&file, pcap(&packets)).while_(file.display())?;
        scenario = scenario.replace(&format!("@{name}@"), &file.display().to_string());
    }
    let capture = Capture::start(&folder)?;
    let carrier = Sipp::plays(&folder, "forks", &scenario, lab::CARRIER, Over::Udp, None)?;
    let mut user = peers::user(&folder)?;
    user.command("dial", &through_the_front(lab::CARRIER_NUMBER))?;
    lab.calls += 1;
    user.wait_for("CALL_PROGRESS")?;
    wait(Duration::from_secs(9));
    let silent = now()?;
    user.wait_for("CALL_ESTABLISHED")?;
    let answered = now()?;
    wait(Duration::from_secs(2));
    user.command("hangup", "")?;
    user.wait_for("CALL_CLOSED")?;
    carrier.completes()?;
    lab.tollgate.is_empty_again()?;
    let trace = capture.stop()?;
    let to_user = |since| trace.sealed_audio(lab::BORDER, lab::USER, since);
    to_user(0.0)?.first(2.0).must_be(MOBILE, "what the caller hears first")?;
    to_user(silent)?.first(1.5).must_be(DESK, "what it hears when the mobile has stopped")?;
    to_user(answered)?.must_be(DESK, "what it hears after the answer")?;
    let heard = trace.rtp(lab::BORDER, lab::USER).count();
    // Three seconds of the one, then the other from its second or third packet on to the end of the call.
    ensure((300..400).contains(&heard), || format!("{heard} packets to the caller"))?;
    let progress = trace.sip(lab::FRONT, lab::USER).filter(|it| it.starts_with("SIP/2.0 183 "));
    ensure(progress.count() == 1, || "the caller was told of more than one description".to_owned())
}
