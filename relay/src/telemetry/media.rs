//! Metrics and log lines of what the media of calls did.

use super::handles::Handles;
use ::media::{DropReason, LegStats};
use b2bua::io::{Event, PeerLeg};
use b2bua::record::Fax;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use sdp::Silence;
use std::time::Duration;

/// What each means.
pub(super) fn describe() {
    describe_counter!(
        "tollgate_media_packets_total",
        "RTP packets of calls that are over, by trunk; in: received from it, out: sent to it"
    );
    describe_counter!(
        "tollgate_keys_total",
        "Keys (DTMF) of calls that are over, by trunk; in: pressed there, lost: it could not be told"
    );
    describe_counter!(
        "tollgate_media_lost_packets_total",
        "RTP packets of calls that are over that never came, by trunk; out: as the far side says"
    );
    describe_histogram!(
        "tollgate_media_loss_ratio",
        "The share of packets that never came, of each call that is over"
    );
    describe_histogram!(
        "tollgate_media_jitter_seconds",
        "Interarrival jitter (RFC 3550) at the end of each call"
    );
    describe_histogram!(
        "tollgate_media_round_trip_seconds",
        "To the trunk's far side and back, the mean of each call, as RTCP tells"
    );
    describe_histogram!(
        "tollgate_media_mos",
        "Mean opinion score (E-model) of each call that is over; only of codecs with known values"
    );
    describe_counter!(
        "tollgate_media_silences_total",
        "Times that no audio came from a trunk for 3 s, by cause; held and muted are no faults"
    );
    describe_counter!(
        "tollgate_media_notices_lost_total",
        "Notices of media that signalling did not take in time; counters of calls are never among them"
    );
    describe_counter!(
        "tollgate_ice_legs_total",
        "Legs with ICE of calls that are over, by how far it came"
    );
    describe_counter!("tollgate_ice_checks_total", "Connectivity checks of calls that are over");
    describe_counter!(
        "tollgate_ice_troubles_total",
        "Calls that were up while connectivity checks found no way, or none any more"
    );
    describe_counter!("tollgate_media_drops_total", "RTP and RTCP packets dropped, by reason");
    describe_counter!(
        "tollgate_dtls_handshakes_total",
        "DTLS handshakes that are over, by trunk; done, or how they failed"
    );
    describe_gauge!(
        "tollgate_transcoded_calls_active",
        "Calls whose speech is turned from one codec to another now, by both codecs"
    );
    describe_counter!(
        "tollgate_transcoded_calls_total",
        "Calls whose speech was turned from one codec to another, by both codecs"
    );
    describe_counter!(
        "tollgate_transcoding_refused_total",
        "Calls that were offered no transcoding, as too many are transcoded"
    );
    describe_counter!(
        "tollgate_faxes_total",
        "Calls that asked for a fax by T.38; refused: it stayed in the audio, or the call was refused"
    );
    describe_counter!(
        "tollgate_media_transcoded_packets_total",
        "RTP packets sent on in another codec"
    );
    describe_gauge!("tollgate_media_ports_in_use", "Media ports that calls hold now");
    // A counter that has not risen yet should still be there to alert on.
    counter!("tollgate_media_notices_lost_total").absolute(0);
    counter!("tollgate_transcoding_refused_total").absolute(0);
    for result in [Fax::T38, Fax::Refused] {
        counter!("tollgate_faxes_total", "result" => result.as_str()).absolute(0);
    }
    for reason in DropReason::ALL {
        counter!("tollgate_media_drops_total", "reason" => reason.as_str()).absolute(0);
    }
}

/// Something happened to the media of a call.
pub(super) fn event(event: Event) {
    match event {
        Event::Transcoded { was, now } => transcoded(was, now),
        Event::TranscodingRefused => {
            counter!("tollgate_transcoding_refused_total").increment(1);
        }
        Event::Fax { call, result } => {
            let result = result.as_str();
            tracing::info!(call = call.0, result, "fax by T.38");
            counter!("tollgate_faxes_total", "result" => result).increment(1);
        }
        Event::MediaFailed { call, why } => {
            tracing::warn!(call = call.0, why, "media could not be opened; the call ends");
        }
        Event::Handshake { call, trunk, result } => {
            if result != "done" {
                tracing::warn!(call = call.0, trunk, result, "DTLS made no keys");
            }
            counter!("tollgate_dtls_handshakes_total", "trunk" => trunk, "result" => result)
                .increment(1);
        }
        Event::Silence { call, tenant, trunk, leg, silence, after } => {
            let leg = if leg == PeerLeg::A { "a" } else { "b" };
            silent_or_not((call.0, tenant, trunk, leg), silence, after);
        }
        Event::IceTrouble { call, trunk, trouble } => {
            let trouble = trouble.as_str();
            tracing::warn!(call = call.0, trunk, trouble, "connectivity checks found no way");
            counter!("tollgate_ice_troubles_total", "trunk" => trunk, "trouble" => trouble)
                .increment(1);
        }
        Event::PassThrough { call, refused } => match refused {
            None => tracing::info!(call = call.0, "SRTP keys pass through"),
            Some(why) => tracing::info!(
                call = call.0,
                why,
                "SRTP keys do not pass through; the call is decrypted and encrypted again"
            ),
        },
        // No other is handed on here.
        _ => {}
    }
}

/// The counters of a leg of a call that is over.
pub(super) fn leg(handles: &mut Handles, trunk: &str, leg: &LegStats) {
    ice(trunk, leg.ice.as_ref());
    for (name, direction, count) in [
        ("tollgate_media_packets_total", "in", leg.received_packets),
        ("tollgate_media_packets_total", "out", leg.sent_packets),
        ("tollgate_keys_total", "in", leg.keys),
        ("tollgate_keys_total", "lost", leg.keys_lost),
    ] {
        let labels = [("trunk", trunk), ("direction", direction)];
        handles.counter(name, &labels).increment(count);
    }
    quality(trunk, leg);
}

/// The speech of a call is turned from one codec to another now, or not any more.
fn transcoded(
    was: Option<(&'static str, &'static str)>,
    now: Option<(&'static str, &'static str)>,
) {
    const ACTIVE: &str = "tollgate_transcoded_calls_active";
    if let Some((from, to)) = was {
        gauge!(ACTIVE, "in" => from, "out" => to).decrement(1.0);
    }
    if let Some((from, to)) = now {
        gauge!(ACTIVE, "in" => from, "out" => to).increment(1.0);
        counter!("tollgate_transcoded_calls_total", "in" => from, "out" => to).increment(1);
    }
}

/// How a leg's media was: what came in as we have measured it, what went out as its far side says.
fn quality(trunk: &str, leg: &LegStats) {
    let labels = |direction: &'static str| {
        [("trunk", trunk.to_owned()), ("direction", direction.to_owned())]
    };
    if let Some(ratio) = leg.loss_ratio() {
        counter!("tollgate_media_lost_packets_total", &labels("in")).increment(leg.lost_packets);
        histogram!("tollgate_media_loss_ratio", &labels("in")).record(ratio);
        histogram!("tollgate_media_jitter_seconds", &labels("in")).record(leg.jitter_ms / 1000.0);
    }
    if let Some(mos) = leg.mos {
        histogram!("tollgate_media_mos", &labels("in")).record(mos);
    }
    if let Some(round_trip) = leg.round_trip {
        histogram!("tollgate_media_round_trip_seconds", "trunk" => trunk.to_owned())
            .record(round_trip.as_secs_f64());
    }
    if let Some(told) = leg.told
        && leg.sent_packets > 0
    {
        let lost = u64::try_from(told.lost_packets).unwrap_or_default();
        counter!("tollgate_media_lost_packets_total", &labels("out")).increment(lost);
        #[expect(clippy::cast_precision_loss, reason = "packets of a call fit in 53 bits")]
        let ratio = lost as f64 / leg.sent_packets as f64;
        histogram!("tollgate_media_loss_ratio", &labels("out")).record(ratio.min(1.0));
        histogram!("tollgate_media_jitter_seconds", &labels("out")).record(told.jitter_ms / 1000.0);
        if let Some(mos) = told.mos {
            histogram!("tollgate_media_mos", &labels("out")).record(mos);
        }
    }
}

/// The upper bounds of what histograms tell apart: where users begin to notice, and where they hang up.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    ("tollgate_media_loss_ratio", &[0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]),
    ("tollgate_media_jitter_seconds", &[0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2]),
    ("tollgate_media_round_trip_seconds", &[0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0]),
    ("tollgate_media_mos", &[1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.3]),
];

/// A leg is not heard any more, or again.
fn silent_or_not(
    (call, tenant, trunk, leg): (u64, String, String, &'static str),
    silence: Option<Silence>,
    after: Option<Duration>,
) {
    let Some(cause) = silence else {
        tracing::info!(call, tenant, trunk, leg, ?after, "audio is heard again");
        return;
    };
    let word = cause.as_str();
    match cause.is_fault() {
        true => tracing::warn!(call, tenant, trunk, leg, cause = word, "no audio comes from a leg"),
        false => {
            tracing::info!(call, tenant, trunk, leg, cause = word, "no audio comes from a leg")
        }
    }
    counter!("tollgate_media_silences_total", "trunk" => trunk, "cause" => word).increment(1);
}

/// What came of ICE on a leg.
fn ice(trunk: &str, report: Option<&sdp::IceReport>) {
    let Some(report) = report else { return };
    let state = report.state.as_str();
    counter!("tollgate_ice_legs_total", "trunk" => trunk.to_owned(), "state" => state).increment(1);
    for (what, checks) in [
        ("received", report.checks_received),
        ("answered", report.checks_answered),
        ("sent", report.checks_sent),
    ] {
        counter!("tollgate_ice_checks_total", "trunk" => trunk.to_owned(), "what" => what)
            .increment(checks);
    }
}

/// Drops as the engine has summed them so far.
pub(crate) fn drops(drops: &[u64; DropReason::ALL.len()]) {
    for (reason, count) in DropReason::ALL.iter().zip(drops) {
        counter!("tollgate_media_drops_total", "reason" => reason.as_str()).absolute(*count);
    }
}

/// Packets that went on in another codec, as the engine has summed them so far.
pub(crate) fn transcoded_packets(count: u64) {
    counter!("tollgate_media_transcoded_packets_total").absolute(count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2bua::io::CallId;
    use metrics_exporter_prometheus::PrometheusBuilder;

    /// TDR-MON-001: what only long calls have, and calls in trouble.
    #[test]
    fn a_round_trip_and_trouble_with_ice_are_not_shown() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let round_trip = Some(Duration::from_millis(40));
            quality("teams", &LegStats { round_trip, ..LegStats::default() });
            event(Event::IceTrouble {
                call: CallId(1),
                trunk: "teams".to_owned(),
                trouble: sdp::ice::IceTrouble::Silent,
            });
        });
        let shown = recorder.handle().render();
        for sample in [
            "tollgate_media_round_trip_seconds_sum{trunk=\"teams\"} 0.04",
            "tollgate_ice_troubles_total{trunk=\"teams\",trouble=\"ice_silent\"} 1",
        ] {
            assert!(shown.lines().any(|line| line == sample), "{sample} in\n{shown}");
        }
    }
}
