//! What a call's packets did, as records and `tollgate call` show it.

use media::{CallStats, DropReason, LegStats};
use sdp::{Bursts, Told};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Both legs.
pub(crate) fn call(stats: &CallStats) -> Value {
    json!({ "a": leg(&stats.a), "b": leg(&stats.b) })
}

/// Both legs of a call that goes on: what is silent now is so.
pub(crate) fn live(stats: &CallStats) -> Value {
    let mut value = call(stats);
    for (name, leg) in [("a", &stats.a), ("b", &stats.b)] {
        let now = leg.silence.now.map(|cause| cause.as_str());
        value[name]["silent_now"] = now.into();
    }
    value
}

/// What is not measured is null.
fn leg(leg: &LegStats) -> Value {
    let drops = DropReason::ALL.iter().zip(leg.drops).filter(|(_, count)| *count > 0);
    let drops: Map<String, Value> =
        drops.map(|(reason, count)| (reason.as_str().to_owned(), count.into())).collect();
    json!({
        "received": leg.received_packets,
        "received_octets": leg.received_octets,
        "sent": leg.sent_packets,
        "sent_octets": leg.sent_octets,
        "expected": leg.expected_packets,
        "lost": leg.lost_packets,
        "late": leg.late_packets,
        "duplicates": leg.duplicate_packets,
        "reordered": leg.reordered_packets,
        "jitter_ms": rounded(leg.jitter_ms, 100.0),
        "longest_gap_ms": ms(leg.longest_gap),
        "bursts": bursts(&leg.bursts),
        "round_trip_ms": leg.round_trip.map(ms),
        "round_trip_max_ms": leg.round_trip_max.map(ms),
        "mos": leg.mos.map(|mos| rounded(mos, 100.0)),
        "told": leg.told.as_ref().map(told),
        "rtcp_received": leg.rtcp_packets,
        "rtcp_generated": leg.rtcp_generated,
        "silence": leg.silence.first.map(|cause| cause.as_str()),
        "silent_ms": leg.silence.total.as_millis() as u64,
        "made": leg.made_packets,
        "unplayed": leg.unplayed,
        "keys": leg.keys,
        "keys_lost": leg.keys_lost,
        "dropped": leg.drops.iter().sum::<u64>(),
        "drops": drops,
        "ice": leg.ice.as_ref().map(ice),
    })
}

fn ice(report: &sdp::IceReport) -> Value {
    json!({
        "state": report.state.as_str(),
        "selected": report.selected.map(|address| address.to_string()),
        "checks_received": report.checks_received,
        "checks_answered": report.checks_answered,
        "checks_sent": report.checks_sent,
        "restarts": report.restarts,
    })
}

fn bursts(bursts: &Bursts) -> Value {
    json!({
        "count": bursts.count,
        "burst_density": rounded(bursts.burst_density, 10_000.0),
        "gap_density": rounded(bursts.gap_density, 10_000.0),
        "burst_ms": ms(bursts.burst_length),
        "gap_ms": ms(bursts.gap_length),
    })
}

/// What the far side says of what we sent it.
fn told(told: &Told) -> Value {
    json!({
        "lost": told.lost_packets,
        "jitter_ms": rounded(told.jitter_ms, 100.0),
        "mos": told.mos.map(|mos| rounded(mos, 100.0)),
    })
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0, 10.0)
}

/// To so many parts of one.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
