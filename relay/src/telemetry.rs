//! Every metric the daemon exports, with its meaning, and the log's format.
//!
//! Names and labels are an interface (docs/operations/metrics.md); labels are bounded by the
//! configuration, never a number or a Call-ID.

mod calls;
mod engine;
mod handles;
pub(crate) mod media;
pub(crate) mod teams;
mod trunks;

pub use engine::EngineRow;
pub(crate) use engine::counted;

use crate::alarms::{
    Alarms, FRAUD_GUARD_FULL, FRAUD_GUARD_NEAR, MEDIA_PORTS_GONE, Subject, TRUNK_RESTING,
};
use crate::direction;
use crate::hook;
use crate::strangers::Strangers;
use b2bua::Plan;
use b2bua::fraud::Stage;
use b2bua::io::Event;
use b2bua::record::Record;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::{Duration, Instant};

/// Installs the recorder; the handle renders what `/metrics` shows.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in media::BUCKETS.iter().chain(calls::BUCKETS) {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    media::describe();
    teams::describe();
    calls::describe();
    engine::describe();
    trunks::describe();
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
    describe_counter!(
        "tollgate_acme_orders_total",
        "Certificates asked for by ACME: issued, failed"
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
    describe_gauge!(
        "tollgate_trunk_calls_active",
        "Calls on a trunk now: in, or out; what its limits bound"
    );
    describe_gauge!(
        "tollgate_fraud_guard_usage_ratio",
        "What a tenant has used of its ceiling on a class of destinations; from 1 on, calls are refused"
    );
    describe_gauge!(
        "tollgate_options_age_seconds",
        "Seconds since OPTIONS was answered (out) or came in (in)"
    );
    describe_gauge!(
        "tollgate_certificate_expiry_timestamp_seconds",
        "When each certificate expires, in seconds since 1970"
    );
    describe_gauge!(
        "tollgate_sip_connections_open",
        "TCP and TLS connections for SIP that are open or being opened, both ways"
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
    for result in ["issued", "failed"] {
        counter!("tollgate_acme_orders_total", "result" => result).absolute(0);
    }
    counter!("tollgate_records_lost_total").absolute(0);
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
    /// Gauges of how Microsoft sees us, and of who drains.
    pub(crate) teams: teams::Shown,
    ratios: calls::Ratios,
    handles: handles::Handles,
    strangers: Strangers,
    /// What each media worker runs with, and what all began with.
    engines: Vec<EngineRow>,
    engine: Option<EngineRow>,
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
                let direction = direction::word(direction);
                let labels = [("tenant", &*tenant), ("direction", direction)];
                self.handles.gauge("tollgate_calls_active", &labels).increment(1.0);
            }
            Event::CallEnded { direction, tenant, trunk, outcome } => {
                let direction = direction::word(direction);
                let (tenant, direction) = (("tenant", &*tenant), ("direction", direction));
                let active = self.handles.gauge("tollgate_calls_active", &[tenant, direction]);
                active.decrement(1.0);
                let labels = [tenant, ("trunk", &trunk), direction, ("outcome", &outcome)];
                self.handles.counter("tollgate_calls_total", &labels).increment(1);
            }
            Event::Rejected { tenant, reason } => {
                let tenant = tenant.unwrap_or_default();
                counter!("tollgate_rejects_total", "tenant" => tenant, "reason" => reason.as_str())
                    .increment(1);
            }
            Event::Ceiling { tenant, class, stage, ratio, text } => {
                self.ceiling((tenant, class), stage, ratio, &text);
            }
            Event::HookAsked { tenant, result, why } => {
                self.hooks.asked(now, &self.alarms, (tenant, result), why.as_deref());
            }
            Event::TargetRests { trunk, target, endpoints, why } => {
                self.target_rests((trunk, target), endpoints, why.as_deref());
            }
            Event::UnknownFqdn { trunk, fqdn } => {
                self.strangers.seen(now, &self.alarms, (trunk, fqdn));
            }
            Event::Options { trunk, target, direction } => {
                self.options_seen(now, (trunk, target, direction));
            }
            Event::Transcoded { .. }
            | Event::TranscodingRefused
            | Event::Fax { .. }
            | Event::MediaFailed { .. }
            | Event::Handshake { .. }
            | Event::Silence { .. }
            | Event::IceTrouble { .. }
            | Event::PassThrough { .. } => media::event(event),
            Event::PassedOver { .. }
            | Event::TargetUp { .. }
            | Event::Registered { .. }
            | Event::ChallengeRefused { .. }
            | Event::Bindings { .. }
            | Event::RegistrarRefused { .. } => trunks::event(event),
            Event::LocalMedia { tenant, result } => calls::local_media(tenant, result),
            Event::Preempted { call, tenant } => calls::preempted(call, tenant),
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
        self.strangers.planned(plan, &self.alarms);
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
        self.ratios.show(now);
        self.strangers.refresh(now, &self.alarms);
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

    /// A call is over.
    pub fn record(&mut self, now: Instant, record: &Record) {
        calls::codes(&mut self.handles, record);
        self.ratios.record(now, &mut self.handles, record);
        calls::known_at_teams(&self.alarms, record);
        let Some(media) = &record.media else { return };
        let out = record.attempts.last().map(|attempt| &attempt.trunk);
        for (trunk, leg) in [(Some(&record.trunk_in), &media.a), (out, &media.b)] {
            let Some(trunk) = trunk else { continue };
            media::leg(&mut self.handles, trunk, leg);
        }
    }
}

/// TCP and TLS connections that are open or being opened.
pub(crate) fn connections(open: usize) {
    #[expect(clippy::cast_precision_loss, reason = "connections fit in 53 bits")]
    gauge!("tollgate_sip_connections_open").set(open as f64);
}

/// How long an age may be out of date.
pub const REFRESH: Duration = Duration::from_secs(1);
