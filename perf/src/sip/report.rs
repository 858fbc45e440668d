//! The figures of `perf sip`, for people and for programs.

use super::load::{Outcome, Percentiles};
use super::standing::Standing;
use super::subject::{Subject, Usage};
use super::{Failure, Players, Way};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    cps: u32,
    seconds: u32,
    with: Players,
    rows: Vec<Row>,
    /// CPU per call of Tollgate divided by that of Kamailio, the median of the rounds, by way.
    ratios: BTreeMap<&'static str, f64>,
    standing: Vec<Standing>,
}

/// One subject in one round.
#[derive(Serialize)]
pub(super) struct Row {
    round: u32,
    subject: &'static str,
    way: Way,
    calls: u64,
    failed: u64,
    why: BTreeMap<String, u64>,
    achieved_cps: f64,
    cpu_ms_per_call: f64,
    setup_ms: Percentiles,
    repeats: u64,
    before: Usage,
    after: Usage,
}

impl Row {
    pub(super) fn new(
        round: u32,
        subject: &Subject,
        way: Way,
        outcome: &Outcome,
        cpu: Duration,
        before: Usage,
        after: Usage,
    ) -> Self {
        Self {
            round,
            subject: subject.name(),
            way,
            calls: outcome.begun,
            failed: outcome.failed,
            why: outcome.why.clone(),
            achieved_cps: outcome.achieved_cps,
            cpu_ms_per_call: cpu.as_secs_f64() * 1000.0 / outcome.begun.max(1) as f64,
            setup_ms: outcome.setup_ms,
            repeats: outcome.repeats,
            before,
            after,
        }
    }

    /// Of several processes with memory in common the sum would say nothing.
    fn growth_mb(&self) -> String {
        let growth = (self.after.resident as f64 - self.before.resident as f64) / 1e6;
        if self.is_ours() { format!("{growth:.1}") } else { "-".to_owned() }
    }

    fn is_ours(&self) -> bool {
        self.subject == OURS
    }
}

impl Report {
    pub(super) fn new(
        cps: u32,
        seconds: u32,
        with: Players,
        rows: Vec<Row>,
        standing: Vec<Standing>,
    ) -> Self {
        let mut ratios = BTreeMap::new();
        for way in [Way::UdpUdp, Way::UdpTls] {
            let mut found: Vec<f64> = rows
                .iter()
                .filter(|row| row.is_ours() && row.way == way)
                .filter_map(|ours| {
                    let mut beside = rows.iter().filter(|row| row.round == ours.round);
                    let proxy = beside.find(|row| !row.is_ours())?;
                    Some(ours.cpu_ms_per_call / proxy.cpu_ms_per_call)
                })
                .collect();
            found.sort_by(f64::total_cmp);
            if let Some(median) = found.get(found.len() / 2) {
                ratios.insert(way.name(), *median);
            }
        }
        Self { cps, seconds, with, rows, ratios, standing }
    }

    /// CPU per call of Tollgate divided by that of Kamailio.
    pub(crate) fn ratio(&self, way: &str) -> Option<f64> {
        self.ratios.get(way).copied()
    }

    /// Whether Tollgate served every call and let go of everything. Speed is not judged.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for row in self.rows.iter().filter(|row| row.is_ours()) {
            let Row { failed, why, before, after, calls, .. } = row;
            let way = row.way.name();
            if *failed > 0 {
                return Err(format!("{way}: {failed} of {calls} calls failed: {why:?}").into());
            }
            let left = (after.calls.unwrap_or(1), after.ports.unwrap_or(1));
            if left != (0, 0) {
                return Err(format!("{way}: calls and media ports left: {left:?}").into());
            }
            if after.descriptors > before.descriptors + DESCRIPTORS_KEPT {
                let (from, to) = (before.descriptors, after.descriptors);
                return Err(format!("{way}: {from} descriptors have become {to}").into());
            }
            let growth = after.resident.saturating_sub(before.resident);
            let allowed = RESIDENT_KEPT + calls.min(&LINGERING_MAX) * LINGERING_OCTETS;
            if growth > allowed {
                return Err(format!("{way}: grew by {growth} octets over {calls} calls").into());
            }
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cps, seconds, with, rows, ratios, standing } = self;
        let players = if *with == Players::Ours { "our own stack" } else { "SIPp" };
        writeln!(f, "{cps} calls/s for {seconds} s, played by {players}\n")?;
        writeln!(
            f,
            "round  subject   legs        calls/s   calls  failed  CPU ms/call   \
             INVITE to 200 ms: p50    p90    p99    max  repeats  grown MB"
        )?;
        for row in rows {
            let Percentiles { p50, p90, p99, max } = row.setup_ms;
            writeln!(
                f,
                "{:>5}  {:<8}  {:<10}  {:>7.0}  {:>6}  {:>6}  {:>11.3}   {:>21.2} {:>6.2} {:>6.2} \
                 {:>6.1}  {:>7}  {:>8}",
                row.round,
                row.subject,
                row.way.name(),
                row.achieved_cps,
                row.calls,
                row.failed,
                row.cpu_ms_per_call,
                p50,
                p90,
                p99,
                max,
                row.repeats,
                row.growth_mb(),
            )?;
        }
        for (row, why) in rows.iter().flat_map(|row| row.why.iter().map(move |why| (row, why))) {
            let (why, count) = why;
            writeln!(
                f,
                "round {}, {}, {}: {count} x {why}",
                row.round,
                row.subject,
                row.way.name()
            )?;
        }
        if !ratios.is_empty() {
            writeln!(f)?;
        }
        for (way, ratio) in ratios {
            writeln!(f, "{way}: tollgate/kamailio, CPU per call, median of rounds: {ratio:.2}")?;
        }
        for standing in standing {
            writeln!(
                f,
                "{}: {} standing calls with media: {:.1} kB resident each, {:.1} kB while their \
                 transactions last",
                standing.way().name(),
                standing.calls(),
                standing.settled_kb(),
                standing.answered_kb(),
            )?;
        }
        Ok(())
    }
}

const OURS: &str = "tollgate";
/// Connections to the far side and to the reader of metrics.
const DESCRIPTORS_KEPT: usize = 8;
/// Code, tables and pools that the first calls bring into memory.
const RESIDENT_KEPT: u64 = 16_000_000;
/// Calls whose transactions may not be over yet: half a minute of a busy host.
const LINGERING_MAX: u64 = 40_000;
/// What the transactions of one call hold until then, both legs together.
const LINGERING_OCTETS: u64 = 30_000;
