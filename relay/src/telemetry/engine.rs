//! Metrics, log lines and the alarm of the ways that media takes through the host.

use super::Telemetry;
use crate::alarms::{MEDIA_ENGINE_LOST, Subject};
use media_engine::{Chosen, Datapath, Totals};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use serde::{Deserialize, Serialize};

/// The engine of a media worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRow {
    /// What carries its packets, as far as it can.
    pub engine: String,
    /// Why this one.
    pub why: String,
    /// It is not the one that it began with.
    pub fell_back: bool,
}

pub(super) fn describe() {
    describe_gauge!("tollgate_media_engine", "1 for the engine that a media worker runs with");
    describe_gauge!(
        "tollgate_media_engine_info",
        "1 for the engine that the media workers began with, and why it was that one"
    );
    describe_gauge!(
        "tollgate_srtp_primitive_info",
        "1; the labels say whose implementation of a primitive SRTP is protected by"
    );
    describe_gauge!("tollgate_media_legs", "Legs of open calls, by what carries their packets");
    describe_counter!(
        "tollgate_media_engine_losses_total",
        "Times that a media worker has lost its engine, or an interface of it, and gone on with another"
    );
    counter!("tollgate_media_engine_losses_total").absolute(0);
    describe_counter!(
        "tollgate_media_offloaded_packets_total",
        "RTP packets that the kernel has sent on by itself"
    );
    describe_counter!(
        "tollgate_media_astray_packets_total",
        "Packets that came in at a queue of AF_XDP that is another worker's than their port"
    );
    describe_counter!(
        "tollgate_media_engine_errors_total",
        "Receives that brought an error instead of a packet, and packets that could not be sent"
    );
}

/// What the workers have counted last: packets that did not come through them, errors, and legs by what
/// carries them.
pub(crate) fn counted(totals: &Totals) {
    counter!("tollgate_media_offloaded_packets_total").absolute(totals.offloaded);
    counter!("tollgate_media_astray_packets_total").absolute(totals.astray);
    for (direction, count) in [("in", totals.receive_errors), ("out", totals.send_errors)] {
        counter!("tollgate_media_engine_errors_total", "direction" => direction).absolute(count);
    }
    for (datapath, count) in Datapath::ALL.iter().zip(&totals.legs) {
        #[expect(clippy::cast_precision_loss, reason = "a count of legs fits in 53 bits")]
        gauge!("tollgate_media_legs", "datapath" => datapath.name()).set(*count as f64);
    }
}

fn show(worker: usize, engine: &str, runs: bool) {
    let worker = worker.to_string();
    gauge!("tollgate_media_engine", "worker" => worker, "engine" => engine.to_owned())
        .set(f64::from(u8::from(runs)));
}

impl Telemetry {
    /// The workers have started, and this is the way of their packets.
    pub(crate) fn chosen(&mut self, chosen: &Chosen, workers: usize) {
        let Chosen { by, why } = chosen;
        let row = EngineRow { engine: by.name().to_owned(), why: why.clone(), fell_back: false };
        self.engines = vec![row.clone(); workers];
        self.engine = Some(row);
        gauge!("tollgate_media_engine_info", "engine" => by.name(), "why" => why.clone()).set(1.0);
        (0..workers).for_each(|worker| show(worker, by.name(), true));
        let srtp = media::srtp::chosen();
        for (primitive, library) in
            [("counter_mode", srtp.counter_mode), ("sha1", srtp.sha1), ("gcm", srtp.gcm)]
        {
            let library = library.as_str();
            gauge!("tollgate_srtp_primitive_info", "primitive" => primitive, "library" => library)
                .set(1.0);
        }
    }

    /// What each worker runs with.
    pub(crate) fn engines(&self) -> &[EngineRow] {
        &self.engines
    }

    /// A worker goes on another way, as its own is closed; so many ports could not be had there.
    pub(crate) fn fell_back(&mut self, worker: usize, to: Datapath, why: &str, lost: usize) {
        tracing::warn!(worker, %to, why, lost, "media goes on another way");
        counter!("tollgate_media_engine_losses_total").increment(1);
        let row = EngineRow { engine: to.name().into(), why: why.into(), fell_back: true };
        self.runs_with(worker, row);
        let silent = match lost {
            0 => String::new(),
            ports => format!(", but {ports} ports could not be had there"),
        };
        // Sockets are for good; an interface that is back is taken up again.
        let until = match to {
            Datapath::Portable => "a restart chooses anew",
            _ => "until it is back",
        };
        let text = format!(
            "worker {worker} has lost its engine ({why}), and its calls go on with {to}{silent}; {until}"
        );
        self.alarms.raise(MEDIA_ENGINE_LOST, Subject::Host, &text);
    }

    /// What a worker had lost is there again.
    pub(crate) fn regained(&mut self, worker: usize, by: Datapath) {
        tracing::info!(worker, %by, "media goes its usual way again");
        let usual = self.engine.clone().filter(|usual| usual.engine == by.name());
        let why = "it is back".to_owned();
        let back = || EngineRow { engine: by.name().to_owned(), why, fell_back: false };
        self.runs_with(worker, usual.unwrap_or_else(back));
        if self.engines.iter().all(|row| !row.fell_back) {
            self.alarms.clear(MEDIA_ENGINE_LOST, &Subject::Host);
        }
    }

    fn runs_with(&mut self, worker: usize, row: EngineRow) {
        if let Some(known) = self.engines.get_mut(worker) {
            show(worker, &known.engine, false);
            show(worker, &row.engine, true);
            *known = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::Alarms;

    #[test]
    fn an_engine_that_is_lost_raises_an_alarm_that_says_what_became_of_its_calls() {
        let alarms = Alarms::new();
        let mut telemetry = Telemetry::new(alarms.clone());
        telemetry.chosen(&Chosen { by: Datapath::Steer, why: "configured".into() }, 2);
        telemetry.fell_back(1, Datapath::Portable, "eth0 is gone", 0);
        let engines: Vec<_> =
            telemetry.engines().iter().map(|it| (it.engine.as_str(), it.why.as_str())).collect();
        assert_eq!(engines, [("steer", "configured"), ("portable", "eth0 is gone")]);
        telemetry.fell_back(0, Datapath::Portable, "eth0 is gone", 4);
        let [alarm] = &alarms.list()[..] else { panic!("one alarm") };
        assert!(alarm.text.starts_with("worker 0 has lost its engine (eth0 is gone)"));
        assert!(alarm.text.contains("4 ports could not be had"), "{}", alarm.text);
    }

    #[test]
    fn the_alarm_stands_until_every_worker_has_its_engine_again() {
        let alarms = Alarms::new();
        let mut telemetry = Telemetry::new(alarms.clone());
        telemetry.chosen(&Chosen { by: Datapath::Xdp, why: String::new() }, 2);
        for worker in [0, 1] {
            telemetry.fell_back(worker, Datapath::Steer, "eth0: it is down", 0);
        }
        telemetry.regained(0, Datapath::Xdp);
        let [alarm] = &alarms.list()[..] else { panic!("one alarm") };
        assert!(alarm.text.ends_with("until it is back"), "{}", alarm.text);
        telemetry.regained(1, Datapath::Xdp);
        assert!(alarms.list().is_empty());
    }
}
