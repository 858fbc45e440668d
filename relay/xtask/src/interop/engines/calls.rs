//! The same calls over each way: what both sides hear, what the wire shows, and what operators are told.

use super::super::audio::Audio;
use super::super::baresip::Agent;
use super::super::call::{Call, TALK, TALK_PACKETS, now, wait};
use super::super::capture::{Capture, Trace};
use super::super::namespace::within;
use super::super::process::until;
use super::super::setting::Setting;
use super::super::tollgate::Metrics;
use super::super::verdicts::Crossing;
use super::super::{Lab, lab, peers};
use super::Played;
use super::wire;
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;
use std::ops::Range;
use std::time::Duration;

/// For each engine a call with SRTP on one leg, and one without any key, which the kernel may send on.
pub(super) const ALL: &[Played] = &[
    ("xdp_carries_a_call_with_teams", XDP, |lab| sealed(lab, &["xdp"])),
    ("xdp_has_the_driver_send_on_a_plain_call", XDP, |lab| plain(lab, "xdp-offload")),
    ("steer_carries_a_call_with_teams", STEER, |lab| sealed(lab, &["steer"])),
    ("steer_has_the_stack_send_on_a_plain_call", STEER, |lab| plain(lab, "tc-offload")),
    ("auto_says_what_it_took_and_why", AUTO, |lab| {
        chosen(lab)?;
        sealed(lab, &["portable", "steer", "xdp"])
    }),
];

const XDP: Setting = Setting::of("xdp", true);
const STEER: Setting = Setting::of("steer", true);
const AUTO: Setting = Setting::of("auto", false);

/// After a change of direction: both legs' re-INVITEs, and what was under way in the buffers.
const SETTLE: Duration = Duration::from_millis(800);
/// A flow is asked for four times a second; within this it has left for the kernel.
const LEAVES: Duration = Duration::from_secs(10);
/// What a machine busy with everyone's tools may add to the mean jitter that a stream came with, in ms.
const JITTER_ADDED_MAX: f64 = 3.0;

/// A call with the Teams user: SRTP on its leg, so that no packet is sent on unseen.
pub(super) fn sealed(lab: &mut Lab, ways: &[&str]) -> Outcome {
    wires_are_cards(false)?;
    let mut call = Call::begin(lab, "engine_sealed")?;
    call.carrier_dials(lab)?;
    wait(TALK / 2);
    let by = carried(&lab.tollgate.call()?["media"])?;
    ensure(by.iter().all(|by| ways.contains(&by.as_str())), || {
        format!("carried by {by:?}, not {ways:?}")
    })?;
    wait(TALK / 2);
    call.carrier.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 }.judge(lab, TALK_PACKETS)?;
    for (side, host) in [(lab::TEAMS, lab::USER), (lab::CARRIERS, lab::CARRIER)] {
        // What leaves by a socket has its checksum from the card.
        if !by.contains(&"portable".to_owned()) {
            wire::is_sound(&trace, &side)?;
        }
        wire::is_unbroken(&trace, host, &[], (TALK_PACKETS as usize, 0))?;
    }
    jitter_is_theirs(&trace)?;
    let reports = trace.sender_reports(lab::BORDER, lab::CARRIER)?;
    ensure(!reports.is_empty(), || "no report came to the carrier".to_owned())?;
    let record = lab.tollgate.record(lab.calls)?;
    let recorded = carried(&record["media"])?;
    println!("      carried by {recorded:?}");
    ensure(recorded == by, || format!("recorded as {recorded:?}, shown as {by:?}"))
}

/// A call between two carriers on two wires, with a key and a hold while the kernel sends it on.
fn plain(lab: &mut Lab, way: &str) -> Outcome {
    // A driver sends what a program redirects to it only while the far end takes frames.
    wires_are_cards(way == "xdp-offload")?;
    let mut pair = Pair::begin(lab, "engine_plain")?;
    pair.carrier_dials(lab)?;
    let began = now()?;
    is_carried_by(lab, way)?;
    let before = offloaded()?;
    wait(TALK / 2);
    let sent_on = offloaded()? - before;
    ensure(sent_on >= SENT_ON_MIN, || format!("the kernel sent on {sent_on} packets"))?;

    pair.carrier.command("sndcode", KEY)?;
    wait(SETTLE);
    let told = pair.partner.keys()?.to_owned();
    ensure(told == KEY, || format!("the partner was told {told:?}, not {KEY:?}"))?;
    is_carried_by(lab, way)?;

    let held = now()?;
    pair.partner.command("hold", "")?;
    wait(SETTLE);
    let silence = now()?;
    wait(TALK / 3);
    let silence_ends = now()?;
    let during = carried(&lab.tollgate.call()?["media"])?;
    // Who holds may go on speaking, or playing music: that is let be.
    ensure(during[0] != way, || format!("held, and carried by {during:?}"))?;
    pair.partner.command("resume", "")?;
    wait(SETTLE);
    let resumed = now()?;
    is_carried_by(lab, way)?;
    let before = offloaded()?;
    wait(TALK / 2);
    let sent_on = offloaded()? - before;
    ensure(sent_on >= SENT_ON_MIN, || {
        format!("after the hold, the kernel sent on {sent_on} packets")
    })?;
    pair.carrier.command("hangup", "")?;
    let trace = pair.ended(lab)?;

    let ends = [
        (lab::CARRIERS, lab::CARRIER, lab::PARTNER_TONE, "the carrier"),
        (lab::PARTNERS, lab::PARTNER, lab::CARRIER_TONE, "the partner"),
    ];
    for (side, host, tone, name) in ends {
        wire::is_sound(&trace, &side)?;
        let number = (TALK_PACKETS as usize, 3 * wire::OVERTAKEN_MAX);
        wire::is_unbroken(&trace, host, &[held..resumed], number)?;
        let silent =
            trace.rtp(lab::BORDER, host).filter(|p| (silence..silence_ends).contains(&p.at));
        let silent = silent.count();
        ensure(silent == 0, || format!("{silent} packets came to {name} in the hold"))?;
        heard(&trace, host, began..held, tone, name)?;
        heard(&trace, host, resumed..f64::MAX, tone, name)?;
    }
    jitter_is_theirs(&trace)?;
    let record = lab.tollgate.record(lab.calls)?;
    for leg in ["a", "b"] {
        let leg = &record["media"][leg];
        ensure(leg["lost"] == 0 && leg["rtcp_received"].as_u64() > Some(0), || {
            format!("not measured as it was: {leg}")
        })?;
    }
    let recorded = carried(&record["media"])?;
    println!("      carried by {recorded:?}");
    ensure(recorded.iter().all(|by| by == way), || format!("recorded as {recorded:?}"))
}

/// Has the far ends send packets with their checksums in them, as they come over a real wire, and take
/// frames or not.
pub(super) fn wires_are_cards(take_frames: bool) -> Outcome {
    let gro = if take_frames { "on" } else { "off" };
    for side in [lab::TEAMS, lab::CARRIERS, lab::PARTNERS] {
        let mut command = within(side.name, "ethtool");
        let done = command.args(["-K", "wire", "tx", "off", "gro", gro]).output();
        let done = done.while_("ethtool")?;
        ensure(done.status.success(), || String::from_utf8_lossy(&done.stderr).into_owned())?;
    }
    Ok(())
}

/// Packets of half a [`TALK`], fifty a second each way, as far as they are counted by then: the kernel is asked
/// twice a second, and the counters are shown once.
const SENT_ON_MIN: f64 = 100.0;
/// What is pressed.
const KEY: &str = "7";

/// Who is heard by a host on the wire, and in its recording.
fn heard(
    trace: &Trace,
    host: std::net::Ipv4Addr,
    during: Range<f64>,
    tone: u16,
    name: &str,
) -> Outcome {
    let packets = trace.rtp(lab::BORDER, host).filter(|it| during.contains(&it.at));
    // G.711 alone: no event is sound.
    let sound = packets.filter(|it| it.payload.len() == 172);
    Audio::from_mulaw(sound.filter_map(|it| it.payload.get(12..))).must_be(tone, name)
}

/// What is sent to each host jitters as it came, and little more.
fn jitter_is_theirs(trace: &Trace) -> Outcome {
    let streams = trace.streams()?;
    let mean = |ours: bool| {
        let of = streams.iter().filter(|it| (*it.from.ip() == lab::BORDER) == ours);
        of.map(|it| it.jitter_mean_ms).fold(0.0, f64::max)
    };
    let (came, went) = (mean(false), mean(true));
    println!("      mean jitter {came:.2} ms in, {went:.2} ms out");
    ensure(went <= came + JITTER_ADDED_MAX, || {
        format!("mean jitter of {went} ms out, where {came} ms came")
    })
}

/// What carries both legs, by the media of a call or a record.
pub(super) fn carried(media: &Value) -> Outcome<[String; 2]> {
    let by = |leg: &str| media[leg]["datapath"].as_str().map(str::to_owned);
    match (by("a"), by("b")) {
        (Some(a), Some(b)) => Ok([a, b]),
        _ => Err(Fail(format!("it is not said what carries the legs: {media}"))),
    }
}

/// Waits until both legs go this way.
pub(super) fn is_carried_by(lab: &Lab, way: &str) -> Outcome {
    let mut last = String::new();
    let waited = until(way, LEAVES, || {
        let Ok(call) = lab.tollgate.call() else { return false };
        let by = carried(&call["media"]);
        last = call["media"].to_string();
        by.is_ok_and(|by| by.iter().all(|by| by == way))
    });
    waited.map_err(|Fail(text)| Fail(format!("{text}: {last}")))
}

fn offloaded() -> Outcome<f64> {
    Ok(Metrics::scrape()?.sum("tollgate_media_offloaded_packets_total", &[]))
}

/// What `auto` took is said in one line of the log, and by the metric.
fn chosen(lab: &Lab) -> Outcome {
    let said = lab.tollgate.process.said();
    let line = said.lines().find(|line| line.contains("media engine"));
    let line = line.ok_or_else(|| Fail::new("nothing is said of the engine"))?;
    println!("      {line}");
    let metrics = Metrics::scrape()?;
    let mut engines = ["portable", "steer", "xdp"].into_iter();
    let is = |engine: &&str| {
        let label = format!("engine=\"{engine}\"");
        metrics.sum("tollgate_media_engine", &[&label]) > 0.5
    };
    let engine = engines.find(is).ok_or_else(|| Fail::new("no metric says which engine runs"))?;
    ensure(line.contains(engine) && line.contains("why="), || {
        format!("the metric says {engine}, and the log: {line}")
    })
}

/// A call between the carriers of two wires, with everything captured.
pub(super) struct Pair {
    pub(super) capture: Capture,
    pub(super) carrier: Agent,
    pub(super) partner: Agent,
}

impl Pair {
    pub(super) fn begin(lab: &Lab, name: &str) -> Outcome<Self> {
        let folder = lab.scratch(name)?;
        let capture = Capture::of([lab::CARRIERS, lab::PARTNERS], &folder)?;
        Ok(Self { capture, carrier: peers::carrier(&folder)?, partner: peers::partner(&folder)? })
    }

    pub(super) fn carrier_dials(&mut self, lab: &mut Lab) -> Outcome {
        let callee = format!("sip:{}@{}", lab::PARTNER_NUMBER, lab::BORDER_SIP);
        self.carrier.command("dial", &callee)?;
        lab.calls += 1;
        self.carrier.wait_for("CALL_ESTABLISHED")?;
        self.partner.wait_for("CALL_ESTABLISHED")
    }

    pub(super) fn ended(mut self, lab: &Lab) -> Outcome<Trace> {
        self.carrier.wait_for("CALL_CLOSED")?;
        self.partner.wait_for("CALL_CLOSED")?;
        lab.tollgate.is_empty_again()?;
        self.capture.stop()
    }
}
