//! Every metric the daemon exports, with its meaning, and the log's format.
//!
//! Names and labels are an interface (docs/operations/metrics.md); labels are bounded by the
//! configuration, never a number or a Call-ID.

use crate::alarms::{
    Alarms, FRAUD_GUARD_FULL, FRAUD_GUARD_NEAR, MEDIA_PORTS_GONE, Subject, TRUNK_RESTING,
};
use crate::hook;
use b2bua::Plan;
use b2bua::fraud::Stage;
use b2bua::io::{Event, PeerLeg};
use b2bua::plan::RouteFrom;
use b2bua::record::Record;
use media::{DropReason, LegStats};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use sdp::Silence;
use std::time::{Duration, Instant};

/// Installs the recorder; the handle renders what `/metrics` shows.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    gauge!("tollgate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_gauge!("tollgate_build_info", "1; the label says which version runs");
    describe_gauge!("tollgate_config_generation", "The snapshot in force, counted from 1 at start");
    describe_gauge!(
        "tollgate_config_in_sync",
        "1 if the configuration in force is the one on disk, 0 if all or some of that does not hold"
    );
    describe_counter!(
        "tollgate_config_reloads_total",
        "Reloads, by result: applied; partial: but for tenants whose files do not hold; refused"
    );
    describe_gauge!("tollgate_calls_active", "Calls up now, by tenant and direction");
    describe_counter!("tollgate_calls_total", "Calls that are over, by how they ended");
    describe_counter!("tollgate_rejects_total", "Calls that Tollgate refused itself, by reason");
    describe_counter!("tollgate_sip_discards_total", "SIP messages that led nowhere, by reason");
    describe_counter!(
        "tollgate_peer_refusals_total",
        "Peers that were not let in, by listener and reason; not one SIP byte was answered"
    );
    describe_gauge!(
        "tollgate_trunk_target_resting",
        "Endpoints of the target that get no calls, as calls failed there one after the other"
    );
    describe_counter!(
        "tollgate_trunk_passed_over_total",
        "Targets of a trunk that a call did not try, by reason"
    );
    describe_gauge!(
        "tollgate_trunk_calls_active",
        "Calls on a trunk now: in, or out; what its limits bound"
    );
    describe_gauge!(
        "tollgate_fraud_guard_usage_ratio",
        "What a tenant has used of its ceiling on a class of destinations; from 1 on, calls are refused"
    );
    describe_gauge!("tollgate_trunk_target_up", "1 if the target answers our OPTIONS");
    describe_gauge!(
        "tollgate_options_age_seconds",
        "Seconds since OPTIONS was answered (out) or came in (in)"
    );
    describe_gauge!(
        "tollgate_certificate_expiry_timestamp_seconds",
        "When each certificate expires, in seconds since 1970"
    );
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
        "tollgate_media_transcoded_packets_total",
        "RTP packets sent on in another codec"
    );
    describe_gauge!("tollgate_media_ports_in_use", "Media ports that calls hold now");
    describe_gauge!("tollgate_registration_up", "1 while the trunk has us registered");
    describe_counter!(
        "tollgate_challenges_refused_total",
        "Challenges of a trunk that were not met: wrong user or secret, unknown algorithm or realm"
    );
    describe_gauge!(
        "tollgate_registrar_bindings",
        "Contacts that a trunk's PBX has registered with us and that hold now"
    );
    describe_counter!(
        "tollgate_registrar_refusals_total",
        "REGISTERs refused and INVITEs not believed by a trunk's registrar, by reason"
    );
    describe_counter!("tollgate_records_lost_total", "Call records that could not be written");
    describe_gauge!(
        "tollgate_alarm_active",
        "1 while the alarm stands; what each means is in docs/operations/metrics.md"
    );
    describe_gauge!(
        "tollgate_dns_age_seconds",
        "Seconds since all that leads to a target's name was last looked up well"
    );
    describe_counter!(
        "tollgate_dns_failures_total",
        "Look-ups for a target's name that failed or led to nothing"
    );
    describe_counter!(
        "tollgate_hook_requests_total",
        "Calls that a tenant's routing hook was asked about, by result"
    );
    describe_histogram!("tollgate_hook_seconds", "How long a tenant's routing hook took to answer");
    // A counter that has not risen yet should still be there to alert on.
    for result in ["applied", "partial", "refused"] {
        counter!("tollgate_config_reloads_total", "result" => result).absolute(0);
    }
    counter!("tollgate_records_lost_total").absolute(0);
    counter!("tollgate_media_notices_lost_total").absolute(0);
    counter!("tollgate_transcoding_refused_total").absolute(0);
    for reason in DropReason::ALL {
        counter!("tollgate_media_drops_total", "reason" => reason.as_str()).absolute(0);
    }
}

/// The word for a direction in labels and records.
pub const fn direction_word(direction: RouteFrom) -> &'static str {
    match direction {
        RouteFrom::Teams => "from_teams",
        RouteFrom::Carrier => "from_carrier",
    }
}

/// Turns the core's events into metrics and log lines.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Where what events say is raised as an alarm, and cleared again.
    pub alarms: Alarms,
    /// When OPTIONS last went well, by trunk, target and direction: shown as an age.
    options: Vec<(OptionsKey, Instant)>,
    /// The trunks whose calls were shown last.
    trunks: Vec<String>,
    hooks: hook::Health,
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

type OptionsKey = (String, String, &'static str);

/// Peers whose OPTIONS age is kept; a trunk has a handful of targets, and Microsoft some dozen
/// proxies.
const OPTIONS_KEYS_MAX: usize = 256;

impl Telemetry {
    /// Events that stand for an alarm are raised in `alarms`.
    pub(crate) fn new(alarms: Alarms) -> Self {
        Self { alarms, ..Self::default() }
    }

    /// Something happened in the core.
    pub fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::CallStarted { direction, tenant } => {
                let direction = direction_word(direction);
                gauge!("tollgate_calls_active", "tenant" => tenant, "direction" => direction)
                    .increment(1.0);
            }
            Event::CallEnded { direction, tenant, trunk, outcome } => {
                let direction = direction_word(direction);
                let active = gauge!("tollgate_calls_active", "tenant" => tenant.clone(), "direction" => direction);
                active.decrement(1.0);
                counter!(
                    "tollgate_calls_total",
                    "tenant" => tenant, "trunk" => trunk, "direction" => direction, "outcome" => outcome
                )
                .increment(1);
            }
            Event::Rejected { tenant, reason } => {
                let tenant = tenant.unwrap_or_default();
                counter!("tollgate_rejects_total", "tenant" => tenant, "reason" => reason.as_str())
                    .increment(1);
            }
            Event::Ceiling { tenant, class, stage, ratio, text } => {
                self.ceiling((tenant, class), stage, ratio, &text);
            }
            Event::Transcoded { was, now } => transcoded(was, now),
            Event::TranscodingRefused => {
                counter!("tollgate_transcoding_refused_total").increment(1);
            }
            Event::PassedOver { trunk, reason } => {
                counter!("tollgate_trunk_passed_over_total", "trunk" => trunk, "reason" => reason)
                    .increment(1);
            }
            Event::HookAsked { tenant, result, why } => {
                self.hooks.asked(now, &self.alarms, (tenant, result), why.as_deref());
            }
            Event::TargetRests { trunk, target, endpoints, why } => {
                self.target_rests((trunk, target), endpoints, why.as_deref());
            }
            Event::TargetUp { trunk, target, up, why } => {
                if up {
                    tracing::info!(trunk, target, why, "target answers OPTIONS");
                } else {
                    tracing::warn!(
                        trunk,
                        target,
                        why,
                        "target does not answer OPTIONS; new calls try the others first"
                    );
                }
                gauge!("tollgate_trunk_target_up", "trunk" => trunk, "target" => target)
                    .set(if up { 1.0 } else { 0.0 });
            }
            Event::Options { trunk, target, direction } => {
                self.options_seen(now, (trunk, target, direction));
            }
            Event::Registered { trunk, up, why } => {
                match up {
                    Some(false) => tracing::warn!(
                        trunk,
                        why,
                        "trunk does not have us registered; new calls try the others first"
                    ),
                    Some(true) | None => tracing::info!(trunk, why, "registration"),
                }
                gauge!("tollgate_registration_up", "trunk" => trunk).set(if up == Some(true) {
                    1.0
                } else {
                    0.0
                });
            }
            Event::ChallengeRefused { trunk, why } => {
                tracing::warn!(trunk, why, "trunk challenged a request and got no answer it takes");
                counter!("tollgate_challenges_refused_total", "trunk" => trunk).increment(1);
            }
            Event::Bindings { trunk, bindings, why } => {
                let bindings = bindings.unwrap_or(0);
                tracing::info!(trunk, bindings, why, "bindings at the registrar have changed");
                #[expect(clippy::cast_precision_loss, reason = "bindings are few")]
                gauge!("tollgate_registrar_bindings", "trunk" => trunk).set(bindings as f64);
            }
            Event::RegistrarRefused { trunk, source, reason } => {
                tracing::warn!(trunk, %source, reason, "registrar refused a request");
                counter!("tollgate_registrar_refusals_total", "trunk" => trunk, "reason" => reason)
                    .increment(1);
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
            Event::Discarded { reason } => {
                counter!("tollgate_sip_discards_total", "reason" => reason).increment(1);
            }
        }
    }

    /// A tenant comes near a ceiling of the fraud guard, reaches it, or is away from it again.
    fn ceiling(&self, (tenant, class): (String, String), stage: Stage, ratio: f64, text: &str) {
        gauge!(
            "tollgate_fraud_guard_usage_ratio",
            "tenant" => tenant.clone(), "class" => class.clone()
        )
        .set(ratio);
        let subject = Subject::Class { tenant, class };
        for (word, from) in [(FRAUD_GUARD_NEAR, Stage::Near), (FRAUD_GUARD_FULL, Stage::Full)] {
            self.alarms.set(word, subject.clone(), (stage >= from).then_some(text));
        }
    }

    /// Endpoints of a target rest, or do so no more.
    fn target_rests(&self, (trunk, target): (String, String), endpoints: usize, why: Option<&str>) {
        #[expect(clippy::cast_precision_loss, reason = "endpoints are few")]
        gauge!(
            "tollgate_trunk_target_resting",
            "trunk" => trunk.clone(), "target" => target.clone()
        )
        .set(endpoints as f64);
        let subject = Subject::Target { trunk, target };
        match (endpoints, why) {
            (0, _) => self.alarms.set(TRUNK_RESTING, subject, None),
            (_, Some(why)) => self.alarms.set(TRUNK_RESTING, subject, Some(why)),
            (_, None) => {}
        }
    }

    /// Another snapshot is in force.
    pub(crate) fn planned(&mut self, plan: &Plan) {
        self.hooks.planned(plan, &self.alarms);
    }

    /// Trunks that have wanted a media port and would get none.
    pub(crate) fn without_ports(&self, trunks: Vec<String>) {
        let alarm = |trunk| {
            let text = "every media port it may use is in use or at rest, and calls are refused";
            (Subject::Trunk(trunk), text.to_owned())
        };
        self.alarms.replace(MEDIA_PORTS_GONE, trunks.into_iter().map(alarm).collect());
    }

    fn options_seen(&mut self, now: Instant, key: OptionsKey) {
        if let Some((_, at)) = self.options.iter_mut().find(|(known, _)| *known == key) {
            *at = now;
        } else if self.options.len() < OPTIONS_KEYS_MAX {
            self.options.push((key, now));
        }
    }

    /// Once a second: gauges that are ages or sums.
    pub fn refresh(
        &mut self,
        now: Instant,
        media_ports_in_use: usize,
        trunks: Vec<(String, [u32; 2])>,
    ) {
        // A trunk that is gone carries nothing any more.
        let gone = self.trunks.iter().filter(|known| trunks.iter().all(|(name, _)| name != *known));
        let gone: Vec<_> = gone.map(|name| (name.clone(), [0, 0])).collect();
        for (trunk, calls) in trunks.iter().chain(&gone) {
            for (direction, calls) in ["in", "out"].into_iter().zip(calls) {
                gauge!(
                    "tollgate_trunk_calls_active",
                    "trunk" => trunk.clone(), "direction" => direction
                )
                .set(*calls);
            }
        }
        self.trunks = trunks.into_iter().map(|(name, _)| name).collect();
        for ((trunk, target, direction), at) in &self.options {
            let age = now.saturating_duration_since(*at).as_secs_f64();
            gauge!(
                "tollgate_options_age_seconds",
                "trunk" => trunk.clone(), "target" => target.clone(), "direction" => *direction
            )
            .set(age);
        }
        #[expect(clippy::cast_precision_loss, reason = "a port count fits in 53 bits")]
        gauge!("tollgate_media_ports_in_use").set(media_ports_in_use as f64);
    }

    /// The media counters of a call that is over.
    pub fn record(&self, record: &Record) {
        let Some(media) = &record.media else { return };
        let out = record.attempts.last().map(|attempt| attempt.trunk.clone());
        for (trunk, leg) in [(Some(record.trunk_in.clone()), media.a), (out, media.b)] {
            let Some(trunk) = trunk else { continue };
            ice(&trunk, leg.ice.as_ref());
            for (direction, packets) in [("in", leg.received_packets), ("out", leg.sent_packets)] {
                counter!(
                    "tollgate_media_packets_total",
                    "trunk" => trunk.clone(), "direction" => direction
                )
                .increment(packets);
            }
            for (direction, keys) in [("in", leg.keys), ("lost", leg.keys_lost)] {
                counter!(
                    "tollgate_keys_total",
                    "trunk" => trunk.clone(), "direction" => direction
                )
                .increment(keys);
            }
            quality(&trunk, &leg);
        }
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
const BUCKETS: &[(&str, &[f64])] = &[
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
pub fn media_drops(drops: &[u64; DropReason::ALL.len()]) {
    for (reason, count) in DropReason::ALL.iter().zip(drops) {
        counter!("tollgate_media_drops_total", "reason" => reason.as_str()).absolute(*count);
    }
}

/// Packets that went on in another codec, as the engine has summed them so far.
pub fn transcoded_packets(count: u64) {
    counter!("tollgate_media_transcoded_packets_total").absolute(count);
}

/// How long an age may be out of date.
pub const REFRESH: Duration = Duration::from_secs(1);
