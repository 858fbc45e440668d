//! What is heard before the answer, and keys as tones in the speech, with real peers.

use super::capture::Capture;
use super::peers::{self, Sipp};
use super::scenarios::{now, through_the_front, wait};
use super::sipp::{self, Role};
use super::surprises::Over;
use super::{Lab, lab};
use crate::fail::{Outcome, ensure};
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
    lab.calls += 1;
    user.wait_for("CALL_ESTABLISHED")?;
    caller.completes()?;
    user.wait_for("CALL_CLOSED")?;
    lab.tollgate.is_empty_again()?;
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
