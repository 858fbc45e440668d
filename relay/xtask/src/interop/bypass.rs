//! Media bypass: the Teams user's own client, a full ICE agent of baresip's, finds its way to us by checks,
//! and tells us so behind the front.

use super::call::{Call, TALK, TALK_PACKETS, through_the_front, wait};
use super::capture::Capture;
use super::peers;
use super::verdicts::Crossing;
use super::{Lab, lab};
use crate::fail::{Outcome, ensure};

/// What leads to media bypass on the front.
const BY_BYPASS: &str = "88";

/// TDR-ICE-001, TDR-ICE-002, TDR-ICE-004: the offer is ours, the client checks us and chooses, and we check nobody.
pub(super) fn carrier_calls_teams_by_bypass(lab: &mut Lab) -> Outcome {
    let mut call = begin(lab, "bypass_in")?;
    let callee = format!("sip:{}@{}", lab::BYPASS_NUMBER, lab::BORDER_SIP);
    call.carrier.command("dial", &callee)?;
    talk(lab, call, "b")
}

pub(super) fn teams_calls_carrier_by_bypass(lab: &mut Lab) -> Outcome {
    let mut call = begin(lab, "bypass_out")?;
    let callee = format!("{BY_BYPASS}{}", lab::CARRIER_NUMBER);
    call.user.command("dial", &through_the_front(&callee))?;
    talk(lab, call, "a")
}

fn begin(lab: &Lab, name: &str) -> Outcome<Call> {
    let folder = lab.scratch(name)?;
    let capture = Capture::start(&folder)?;
    Ok(Call { capture, carrier: peers::carrier(&folder)?, user: peers::bypass_user(&folder)? })
}

/// Each hears the other, nothing is lost once there is a way, and `leg` has agreed it by checks.
fn talk(lab: &mut Lab, mut call: Call, leg: &str) -> Outcome {
    lab.calls += 1;
    call.carrier.wait_for("CALL_ESTABLISHED")?;
    call.user.wait_for("CALL_ESTABLISHED")?;
    wait(TALK);
    call.user.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: EARLY_MAX };
    crossing.judge(lab, TALK_PACKETS)?;
    let record = lab.tollgate.record(lab.calls)?;
    let ice = &record["media"][leg]["ice"];
    println!("      ice: {ice}");
    let checked = ice["state"] == "selected"
        && ice["checks_answered"].as_u64() > Some(0)
        && ice["checks_sent"] == 0;
    ensure(checked, || format!("the way was not found by checks: {record}"))
}

/// What comes before a pair is chosen has nowhere to go.
const EARLY_MAX: i64 = 25;
