//! What is taken from the daemon under a call: the call goes on with audio, and operators are told.

use super::super::call::{Call, TALK, now, wait};
use super::super::capture::Trace;
use super::super::namespace::run;
use super::super::process::until;
use super::super::setting::Setting;
use super::super::tollgate::Metrics;
use super::super::verdicts::Crossing;
use super::super::{Lab, lab};
use super::calls::{Pair, carried, is_carried_by, wires_are_cards};
use super::{Played, wire};
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;
use std::time::Duration;

pub(super) const ALL: &[Played] = &[
    ("steer_is_taken_away_under_a_call", Setting::of("steer", false), |lab| {
        loses(lab, |lab| detach(lab, "netns"), "portable")?;
        is_told(lab)
    }),
    (
        "an_interface_of_xdp_goes_down_and_comes_back_under_a_call",
        Setting::of("xdp", false),
        an_interface_goes_down_and_comes_back,
    ),
    // After it, as this takes a restart to mend, and the daemon is the same.
    ("xdp_is_taken_away_under_a_call", Setting::of("xdp", false), |lab| {
        loses(lab, |lab| detach(lab, "xdp"), "steer")
    }),
    (
        "what_sends_on_a_plain_call_is_taken_away_under_it",
        Setting::of("steer", true),
        offload_is_taken_away,
    ),
];

/// A worker looks ten times a second. To look once in a second would be longer than this; the rest is for a busy machine.
const SILENT_MAX_MS: f64 = 400.0;
/// What is lost is seen within this.
const SEEN: Duration = Duration::from_secs(10);

/// A call with Teams goes on another way; its gap is measured, and its record says what happened.
fn loses(lab: &mut Lab, take: fn(&Lab) -> Outcome, then: &str) -> Outcome {
    let mut call = Call::begin(lab, "engine_lost")?;
    call.carrier_dials(lab)?;
    wait(TALK / 2);
    let lost = now()?;
    take(lab)?;
    is_carried_by(lab, then)?;
    wait(TALK / 2);
    let ends = now()?;
    call.carrier.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    for host in [lab::USER, lab::CARRIER] {
        let gap = wire::gap_ms(&trace, (lab::BORDER, host), lost - 0.1..ends);
        println!("      {host} heard nothing for {gap:.0} ms");
        ensure(gap < SILENT_MAX_MS, || format!("{host} heard nothing for {gap:.0} ms"))?;
    }
    let metrics = Metrics::scrape()?;
    let errors = ["in", "out"].map(|way| {
        metrics.sum("tollgate_media_engine_errors_total", &[&format!("direction=\"{way}\"")])
    });
    println!("      errors of the engine: {errors:?}");
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 };
    crossing.tones_since(lost + SILENT_MAX_MS / 1e3, lab::CARRIER_TONE, lab::USER_TONE)?;
    let record = lab.tollgate.record(lab.calls)?;
    let by = carried(&record["media"])?;
    let why = record["media"]["a"]["why_not_faster"].as_str().unwrap_or_default().to_owned();
    println!("      recorded as {by:?}: {why}");
    ensure(by.iter().all(|by| by == then) && why.contains("taken away"), || {
        format!("recorded as {by:?} ({why})")
    })
}

/// One line of the log, and an alarm; `tollgate status` says the same.
fn is_told(lab: &Lab) -> Outcome {
    let said = lab.tollgate.process.said();
    let lines = said.lines().filter(|line| line.contains("media goes on another way")).count();
    ensure(lines == 1, || format!("said {lines} times that media goes another way"))?;
    let alarms: Value =
        serde_json::from_str(&lab.tollgate.ask(&["alarms", "--json"])?).while_("alarms")?;
    let raised = alarms["alarms"].as_array().into_iter().flatten();
    let raised = raised.filter(|alarm| alarm["alarm"] == "media_engine_lost").count();
    ensure(raised == 1, || format!("no alarm: {alarms}"))?;
    let losses = Metrics::scrape()?.sum("tollgate_media_engine_losses_total", &[]);
    ensure(losses == 1.0, || format!("{losses} losses are counted"))?;
    let status = lab.tollgate.shows(&["status"])?;
    ensure(status.contains("its engine is lost"), || format!("not said in the status:\n{status}"))
}

/// Takes out of the kernel what the daemon has put there, as somebody with the privilege can: it is the
/// daemon's by its own descriptors, as others on this machine may have the same.
fn detach(lab: &Lab, kind: &str) -> Outcome {
    let folder = format!("/proc/{}/fdinfo", lab.tollgate.process.id());
    let mut links = Vec::new();
    for entry in std::fs::read_dir(&folder).while_(&folder)?.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        if field("link_type").as_deref() == Some(kind) {
            links.extend(field("link_id"));
        }
    }
    ensure(!links.is_empty(), || format!("the daemon holds no link of the kind {kind}"))?;
    links.iter().try_for_each(|link| run(&format!("bpftool link detach id {link}")))
}

/// The wire of the carriers is down for two seconds, and no call ends of that.
fn an_interface_goes_down_and_comes_back(lab: &mut Lab) -> Outcome {
    let side = lab::CARRIERS;
    let mut call = Call::begin(lab, "engine_down")?;
    call.carrier_dials(lab)?;
    is_carried_by(lab, "xdp")?;
    wait(TALK / 2);
    run(&format!("ip link set {} down", side.name))?;
    wait(DOWN);
    run(&format!("ip link set {} up", side.name))?;
    // As whatever looks after the host's network does.
    run(&format!("ip route replace {} dev {} src {}", side.network, side.name, lab::BORDER))?;
    let up = now()?;
    is_carried_by(lab, "xdp")?;
    wait(TALK / 2);
    let ends = now()?;
    call.carrier.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    for host in [lab::USER, lab::CARRIER] {
        let gap = wire::gap_ms(&trace, (lab::BORDER, host), up..ends);
        println!("      {host} heard nothing for {gap:.0} ms after the interface was up");
        ensure(gap < SILENT_MAX_MS, || format!("{host} heard nothing for {gap:.0} ms"))?;
    }
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 };
    crossing.tones_since(up + SILENT_MAX_MS / 1e3, lab::CARRIER_TONE, lab::USER_TONE)?;
    lab.tollgate.record(lab.calls).map(drop)
}

const DOWN: Duration = Duration::from_secs(2);

/// The kernel sends on a plain call no more, and user space does.
fn offload_is_taken_away(lab: &mut Lab) -> Outcome {
    wires_are_cards(false)?;
    let mut pair = Pair::begin(lab, "offload_lost")?;
    pair.carrier_dials(lab)?;
    is_carried_by(lab, "tc-offload")?;
    wait(TALK / 2);
    let lost = now()?;
    detach(lab, "tcx")?;
    let mut last = Err(Fail::new("nothing asked"));
    let waited = until("a call that user space carries", SEEN, || {
        last = lab.tollgate.call().and_then(|call| carried(&call["media"]));
        matches!(&last, Ok(by) if by.iter().all(|by| by == "steer"))
    });
    waited.map_err(|Fail(text)| Fail(format!("{text}: {last:?}")))?;
    wait(TALK / 2);
    let ends = now()?;
    pair.carrier.command("hangup", "")?;
    let trace: Trace = pair.ended(lab)?;
    for (from, host) in [(lab::CARRIER, lab::PARTNER), (lab::PARTNER, lab::CARRIER)] {
        let during = lost - 0.1..ends;
        let said = wire::gap_ms(&trace, (from, lab::BORDER), during.clone());
        let gap = wire::gap_ms(&trace, (lab::BORDER, host), during);
        println!(
            "      {host} heard nothing for {gap:.0} ms, {from} said nothing for {said:.0} ms"
        );
        let ours = gap - said;
        ensure(ours < OFFLOAD_SILENT_MAX_MS, || format!("{host} heard nothing for {gap:.0} ms"))?;
        wire::is_unbroken(&trace, host, &[], (250, wire::OVERTAKEN_MAX))?;
    }
    lab.tollgate.record(lab.calls).map(drop)
}

/// Packets come up at once where nothing sends them on.
const OFFLOAD_SILENT_MAX_MS: f64 = 200.0;
