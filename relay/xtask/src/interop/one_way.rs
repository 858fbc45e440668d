//! Audio that comes from one side only: noticed in time, put down to one cause, over when it is over.

use super::call::{Call, TALK, wait};
use super::namespace::run;
use super::process::until;
use super::{Lab, lab};
use crate::fail::{Outcome, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Three seconds, and what a busy machine takes to ask and answer.
const NOTICED_MAX: Duration = Duration::from_millis(4500);
/// After RTP has stopped, RTCP is waited for so long (docs/operations/media.md), and judged every 3 s.
const GONE_MAX: Duration = Duration::from_secs(12);

/// Nothing of the carrier arrives for a while, neither RTP nor RTCP; the Teams user goes on.
pub(super) fn one_way_audio_has_one_cause_and_an_end(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "one_way")?;
    call.carrier_dials(lab)?;
    wait(TALK);
    let silent =
        |lab: &Lab, leg: &str| lab.tollgate.call().map(|it| it["media"][leg]["silent_now"].clone());
    ensure(silent(lab, "a")? == Value::Null, || "the carrier is not heard while it is".to_owned())?;
    let hole = format!("ip -n {} route", lab::CARRIERS.name);
    run(&format!("{hole} add blackhole {}/32", lab::BORDER))?;
    let began = Instant::now();
    until("notice of one-way audio", NOTICED_MAX, || {
        silent(lab, "a").is_ok_and(|cause| cause.is_string())
    })?;
    println!("      noticed after {:.1} s: {}", began.elapsed().as_secs_f64(), silent(lab, "a")?);
    until("no_packets", GONE_MAX, || silent(lab, "a").is_ok_and(|cause| cause == "no_packets"))?;
    println!("      gone for good after {:.1} s", began.elapsed().as_secs_f64());
    ensure(silent(lab, "b")? == Value::Null, || "the Teams user goes on".to_owned())?;
    let shown = lab.tollgate.call()?["call"]["audio"].clone();
    ensure(shown == serde_json::json!(["no_packets", "flows"]), || format!("shown as {shown}"))?;
    run(&format!("{hole} del blackhole {}/32", lab::BORDER))?;
    until("the carrier's voice", NOTICED_MAX, || silent(lab, "a").is_ok_and(|it| it.is_null()))?;
    let silence = began.elapsed();
    wait(TALK / 6);
    call.user.command("hangup", "")?;
    call.is_over(lab)?;
    drop(call.capture.stop()?);
    let record = lab.tollgate.record(lab.calls)?;
    let (a, b) = (&record["media"]["a"], &record["media"]["b"]);
    ensure(a["silence"] == "no_packets" && b["silence"].is_null(), || format!("{record}"))?;
    let recorded = Duration::from_millis(a["silent_ms"].as_u64().unwrap_or_default());
    let close = recorded.abs_diff(silence) < Duration::from_secs(1);
    ensure(close && b["silent_ms"] == 0, || format!("silent for {silence:?}: {record}"))
}
