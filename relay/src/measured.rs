//! What a call's packets did, as records and `tollgate call` show it.

use b2bua::Carried;
use media::{CallStats, DropReason, LegStats};
use sdp::{Bursts, IceReport, Told};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::time::Duration;

/// Both legs. Written as it is, without a tree of JSON in between: each call's end writes one.
#[derive(Serialize)]
pub(crate) struct Measured<'s> {
    a: Leg<'s>,
    b: Leg<'s>,
}

/// One leg. What is not measured is null.
#[derive(Serialize)]
struct Leg<'s> {
    received: u64,
    received_octets: u64,
    sent: u64,
    sent_octets: u64,
    expected: u64,
    lost: u64,
    late: u64,
    duplicates: u64,
    reordered: u64,
    jitter_ms: f64,
    longest_gap_ms: f64,
    bursts: BurstsSaid,
    round_trip_ms: Option<f64>,
    round_trip_max_ms: Option<f64>,
    mos: Option<f64>,
    told: Option<ToldSaid>,
    rtcp_received: u64,
    rtcp_generated: u64,
    silence: Option<&'static str>,
    silent_ms: u64,
    made: u64,
    unplayed: u64,
    keys: u64,
    keys_lost: u64,
    dropped: u64,
    #[serde(serialize_with = "drops")]
    drops: &'s [u64; DropReason::ALL.len()],
    ice: Option<IceSaid<'s>>,
    datapath: Option<&'static str>,
    why_not_faster: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_now: Option<Option<&'static str>>,
}

#[derive(Serialize)]
struct IceSaid<'s> {
    state: &'static str,
    selected: &'s Option<std::net::SocketAddr>,
    checks_received: u64,
    checks_answered: u64,
    checks_sent: u64,
    restarts: u32,
}

#[derive(Serialize)]
struct BurstsSaid {
    count: u64,
    burst_density: f64,
    gap_density: f64,
    burst_ms: f64,
    gap_ms: f64,
}

/// What the far side says of what we sent it.
#[derive(Serialize)]
struct ToldSaid {
    lost: i64,
    jitter_ms: f64,
    mos: Option<f64>,
}

/// Both legs of a call, and what carried them.
pub(crate) fn call<'s>(stats: &'s CallStats, carried: Option<&'s [Carried; 2]>) -> Measured<'s> {
    let [by_a, by_b] = carried.map_or([None; 2], |[a, b]| [Some(a), Some(b)]);
    Measured { a: leg(&stats.a, by_a), b: leg(&stats.b, by_b) }
}

/// Both legs of a call that goes on: what is silent now is so.
pub(crate) fn live(stats: &CallStats, carried: Option<&[Carried; 2]>) -> Value {
    let now = |leg: &LegStats| Some(leg.silence.now.map(|cause| cause.as_str()));
    let Measured { a, b } = call(stats, carried);
    let live = Measured {
        a: Leg { silent_now: now(&stats.a), ..a },
        b: Leg { silent_now: now(&stats.b), ..b },
    };
    // Of numbers and words under fixed names nothing can fail.
    serde_json::to_value(live).unwrap_or_default()
}

fn leg<'s>(leg: &'s LegStats, carried: Option<&'s Carried>) -> Leg<'s> {
    Leg {
        received: leg.received_packets,
        received_octets: leg.received_octets,
        sent: leg.sent_packets,
        sent_octets: leg.sent_octets,
        expected: leg.expected_packets,
        lost: leg.lost_packets,
        late: leg.late_packets,
        duplicates: leg.duplicate_packets,
        reordered: leg.reordered_packets,
        jitter_ms: rounded(leg.jitter_ms, 100.0),
        longest_gap_ms: ms(leg.longest_gap),
        bursts: bursts(&leg.bursts),
        round_trip_ms: leg.round_trip.map(ms),
        round_trip_max_ms: leg.round_trip_max.map(ms),
        mos: leg.mos.map(|mos| rounded(mos, 100.0)),
        told: leg.told.as_ref().map(told),
        rtcp_received: leg.rtcp_packets,
        rtcp_generated: leg.rtcp_generated,
        silence: leg.silence.first.map(|cause| cause.as_str()),
        silent_ms: leg.silence.total.as_millis() as u64,
        made: leg.made_packets,
        unplayed: leg.unplayed,
        keys: leg.keys,
        keys_lost: leg.keys_lost,
        dropped: leg.drops.iter().sum::<u64>(),
        drops: &leg.drops,
        ice: leg.ice.as_ref().map(ice),
        datapath: carried.map(|it| it.by),
        why_not_faster: carried.map(|it| it.why_not_faster.as_str()).filter(|why| !why.is_empty()),
        silent_now: None,
    }
}

/// Those that happened, by reason.
fn drops<S: Serializer>(counts: &[u64; DropReason::ALL.len()], to: S) -> Result<S::Ok, S::Error> {
    let counted = DropReason::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    to.collect_map(counted.map(|(reason, count)| (reason.as_str(), count)))
}

fn ice(report: &IceReport) -> IceSaid<'_> {
    IceSaid {
        state: report.state.as_str(),
        selected: &report.selected,
        checks_received: report.checks_received,
        checks_answered: report.checks_answered,
        checks_sent: report.checks_sent,
        restarts: report.restarts,
    }
}

fn bursts(bursts: &Bursts) -> BurstsSaid {
    BurstsSaid {
        count: bursts.count,
        burst_density: rounded(bursts.burst_density, 10_000.0),
        gap_density: rounded(bursts.gap_density, 10_000.0),
        burst_ms: ms(bursts.burst_length),
        gap_ms: ms(bursts.gap_length),
    }
}

fn told(told: &Told) -> ToldSaid {
    ToldSaid {
        lost: told.lost_packets,
        jitter_ms: rounded(told.jitter_ms, 100.0),
        mos: told.mos.map(|mos| rounded(mos, 100.0)),
    }
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0, 10.0)
}

/// To so many parts of one.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
