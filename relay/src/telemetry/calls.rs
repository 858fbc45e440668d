//! What became of calls, by the tenant's FQDN: attempts and how they ended, the codes that each side was
//! given, what Microsoft said of it (TDR-MON-001, TDR-MON-002).

use super::handles::Handles;
use crate::alarms::{Alarms, Subject, TENANT_NOT_AT_TEAMS};
use crate::direction;
use b2bua::codes::meaning;
use b2bua::io::CallId;
use b2bua::plan::RouteFrom;
use b2bua::record::Record;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attempts count for the ratios for so long.
const WINDOW: Duration = Duration::from_secs(3600);
/// They are counted together that came within so much of it.
const SLOT: Duration = Duration::from_secs(300);
/// FQDNs whose ratios are kept: those of a host with ten thousand tenants, both ways.
const KEYS_MAX: usize = 20_000;

/// What each means.
pub(super) fn describe() {
    describe_counter!(
        "tollgate_attempts_total",
        "Calls that are over, by the FQDN of their Teams leg, direction and result"
    );
    describe_gauge!(
        "tollgate_answer_seizure_ratio",
        "Of the attempts of the last hour, the share that was answered (ASR)"
    );
    describe_gauge!(
        "tollgate_network_effectiveness_ratio",
        "Of the attempts of the last hour, the share that reached somebody: answered, busy, no answer, declined (NER)"
    );
    describe_histogram!(
        "tollgate_post_dial_delay_seconds",
        "From the INVITE to the first sign that it rings, or to the answer"
    );
    describe_counter!(
        "tollgate_sip_final_responses_total",
        "Final responses to INVITEs: received from a trunk, or sent to it"
    );
    describe_counter!(
        "tollgate_microsoft_codes_total",
        "What Microsoft said when calls failed or ended, by its own code; other: one that is not known"
    );
    describe_counter!(
        "tollgate_local_media_total",
        "Legs with Local Media Optimization, by where their media address is"
    );
    describe_counter!(
        "tollgate_preempted_total",
        "Calls that gave way to an emergency call where there was no room, by tenant"
    );
}

/// Where the media address of a leg with Local Media Optimization is, or why it stays.
pub(super) fn local_media(tenant: String, result: &'static str) {
    if result == "lmo_path_unknown" {
        tracing::warn!(
            tenant,
            result,
            "Teams names a way of media that leads to no SBC of the tenant; the address outside is used"
        );
    }
    if matches!(result, "move_refused" | "no_media_port") {
        tracing::warn!(
            tenant,
            result,
            "a Teams user is elsewhere than before; its call keeps the media address it has"
        );
    }
    counter!("tollgate_local_media_total", "tenant" => tenant, "result" => result).increment(1);
}

/// A call has given way to an emergency call.
pub(super) fn preempted(call: CallId, tenant: String) {
    tracing::warn!(call = call.0, tenant, "a call gives way to an emergency call");
    counter!("tollgate_preempted_total", "tenant" => tenant).increment(1);
}

/// The upper bounds of what the histogram tells apart: from the blink of an eye to a caller who has gone.
pub(super) const BUCKETS: &[(&str, &[f64])] =
    &[("tollgate_post_dial_delay_seconds", &[0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])];

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Busy,
    NoAnswer,
    Declined,
    Cancelled,
    Failed,
}

impl Outcome {
    fn of(record: &Record) -> Self {
        let rang = record.ringing.is_some();
        match record.status {
            200..=299 => Self::Answered,
            486 | 600 => Self::Busy,
            603 => Self::Declined,
            408 | 480 | 487 if rang => Self::NoAnswer,
            487 => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether the network did what it could (TDR-MON-002).
    const fn is_effective(self) -> bool {
        matches!(self, Self::Answered | Self::Busy | Self::NoAnswer | Self::Declined)
    }
}

/// An FQDN and a direction.
type Key = (Arc<str>, &'static str);

/// The attempts of the last hour.
#[derive(Debug, Default)]
pub(super) struct Ratios {
    of: HashMap<Key, VecDeque<Slot>>,
    /// When slots began, and whose: in this order they are over.
    began: VecDeque<(Instant, Key)>,
    /// Whose shares are others than what is shown.
    changed: HashSet<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    since: Instant,
    attempts: u32,
    answered: u32,
    effective: u32,
}

impl Slot {
    fn is_over(since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= WINDOW
    }
}

impl Ratios {
    fn count(&mut self, now: Instant, key: Key, outcome: Outcome) {
        if self.of.len() >= KEYS_MAX && !self.of.contains_key(&key) {
            return;
        }
        let slots = self.of.entry(key.clone()).or_default();
        let current = slots.back().filter(|slot| now.saturating_duration_since(slot.since) < SLOT);
        if current.is_none() {
            slots.push_back(Slot { since: now, attempts: 0, answered: 0, effective: 0 });
            self.began.push_back((now, key.clone()));
        }
        if let Some(slot) = slots.back_mut() {
            slot.attempts += 1;
            slot.answered += u32::from(outcome == Outcome::Answered);
            slot.effective += u32::from(outcome.is_effective());
        }
        self.changed.insert(key);
    }

    /// ASR and NER of each whose have changed; none of who has made no attempt within the hour, who is
    /// forgotten.
    fn shares(&mut self, now: Instant) -> Vec<(Key, Option<(f64, f64)>)> {
        while let Some((since, _)) = self.began.front()
            && Slot::is_over(*since, now)
        {
            self.changed.extend(self.began.pop_front().map(|(_, key)| key));
        }
        let mut shares = Vec::new();
        for key in self.changed.drain() {
            let Some(slots) = self.of.get_mut(&key) else { continue };
            slots.retain(|slot| !Slot::is_over(slot.since, now));
            let sum = |count: fn(&Slot) -> u32| slots.iter().map(count).map(f64::from).sum::<f64>();
            let attempts = sum(|slot| slot.attempts);
            let share = (attempts > 0.0).then(|| {
                (sum(|slot| slot.answered) / attempts, sum(|slot| slot.effective) / attempts)
            });
            if share.is_none() {
                self.of.remove(&key);
            }
            shares.push((key, share));
        }
        shares
    }

    /// Shows those that have changed.
    pub(super) fn show(&mut self, now: Instant) {
        for ((fqdn, direction), share) in self.shares(now) {
            let (asr, ner) = share.unwrap_or((f64::NAN, f64::NAN));
            let labels = [("fqdn", fqdn.to_string()), ("direction", direction.to_owned())];
            gauge!("tollgate_answer_seizure_ratio", &labels).set(asr);
            gauge!("tollgate_network_effectiveness_ratio", &labels).set(ner);
        }
    }

    /// A call is over.
    pub(super) fn record(&mut self, now: Instant, handles: &mut Handles, record: &Record) {
        let Some(fqdn) = record.fqdn.clone() else { return };
        let (direction, outcome) = (direction::word(record.direction), Outcome::of(record));
        let labels = [("fqdn", &*fqdn), ("direction", direction), ("result", outcome.word())];
        handles.counter("tollgate_attempts_total", &labels).increment(1);
        if let Some(ringing) = record.ringing {
            histogram!(
                "tollgate_post_dial_delay_seconds",
                "fqdn" => fqdn.clone(), "direction" => direction
            )
            .record(ringing.as_secs_f64());
        }
        self.count(now, (fqdn.into(), direction), outcome);
    }
}

/// Raises an alarm for a tenant whose FQDN Microsoft does not have, and clears it once a call gets through
/// there (TDR-MT-013).
pub(super) fn known_at_teams(alarms: &Alarms, record: &Record) {
    let Some(tenant) = &record.tenant else { return };
    let unknown = record.microsoft.as_ref().and_then(|said| said.sub_code) == Some(NO_TRUNK_CONFIG);
    let reached = record.direction == RouteFrom::Carrier && Outcome::of(record).is_effective();
    if !unknown && !reached {
        return;
    }
    let text = unknown.then(|| {
        let fqdn = record.fqdn.as_deref().unwrap_or_default();
        format!(
            "Microsoft answers 403 (510532): no tenant there has {fqdn}; the Teams admin adds and verifies it as a domain, with a licensed user on it"
        )
    });
    alarms.set(TENANT_NOT_AT_TEAMS, Subject::Tenant(tenant.clone()), text.as_deref());
}

/// "No trunk config was found".
const NO_TRUNK_CONFIG: u32 = 510_532;

/// The final responses of both sides, and what Microsoft said.
pub(super) fn codes(handles: &mut Handles, record: &Record) {
    let mut response = |trunk: &str, direction: &str, code: &str| {
        let labels = [("trunk", trunk), ("direction", direction), ("code", code)];
        handles.counter("tollgate_sip_final_responses_total", &labels).increment(1);
    };
    if (200..700).contains(&record.status) {
        response(&record.trunk_in, "sent", &record.status.to_string());
    }
    for attempt in &record.attempts {
        let status = attempt.outcome.parse::<u16>();
        if status.is_ok_and(|status| (200..700).contains(&status)) {
            response(&attempt.trunk, "received", &attempt.outcome);
        }
    }
    let Some(said) = &record.microsoft else { return };
    let code = match said.sub_code {
        Some(code) if meaning(said.status, Some(code)).is_some() => code.to_string(),
        Some(_) => "other".to_owned(),
        None => "none".to_owned(),
    };
    let tenant = record.tenant.clone().unwrap_or_default();
    counter!("tollgate_microsoft_codes_total", "tenant" => tenant, "code" => code).increment(1);
    if said.status.is_some() {
        tracing::info!(
            call = record.call,
            tenant = record.tenant,
            status = said.status,
            code = said.sub_code,
            guid = said.guid,
            phrase = said.phrase,
            meaning = said.meaning().map(|it| it.means),
            direction = crate::direction::word(record.direction),
            "Microsoft refused a call"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    fn key() -> Key {
        ("contoso.sbc1.example.net".into(), "from_carrier")
    }

    /// TDR-MON-002: NER counts who was reached, ASR who answered, and both forget after an hour.
    #[test]
    fn a_busy_user_is_no_fault_of_the_network() {
        let (now, mut ratios) = (zero(), Ratios::default());
        for outcome in [
            Outcome::Answered,
            Outcome::Busy,
            Outcome::NoAnswer,
            Outcome::Declined,
            Outcome::Cancelled,
            Outcome::Failed,
            Outcome::Failed,
            Outcome::Failed,
        ] {
            ratios.count(now, key(), outcome);
        }
        assert_eq!(ratios.shares(now), [(key(), Some((0.125, 0.5)))]);
        assert_eq!(ratios.shares(now), [], "what is shown is not shown again");
        let later = now + WINDOW / 2;
        ratios.count(later, key(), Outcome::Answered);
        let (_, share) = ratios.shares(later).remove(0);
        assert!(share.is_some_and(|(asr, _)| (asr - 2.0 / 9.0).abs() < 1e-9));
        assert_eq!(ratios.shares(now + WINDOW), [(key(), Some((1.0, 1.0)))]);
        assert_eq!(ratios.shares(later + WINDOW), [(key(), None)], "shown as unknown once");
        assert_eq!(ratios.shares(later + WINDOW), []);
    }

    #[test]
    fn a_day_of_attempts_takes_no_more_room_than_an_hour() {
        let (now, mut ratios) = (zero(), Ratios::default());
        for minute in 0..1440 {
            let now = now + Duration::from_secs(60 * minute);
            ratios.count(now, key(), Outcome::Answered);
            ratios.shares(now);
        }
        assert!(ratios.of[&key()].len() <= 13 && ratios.began.len() <= 13);
    }
}
