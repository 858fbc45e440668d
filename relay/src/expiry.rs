//! When certificates of ours end: a gauge of the day, an alarm in time, and again as it comes nearer
//! (TDR-CRT-008).

use crate::alarms::{self, Alarms, Subject};
use crate::clock;
use crate::transport::Transports;
use certs::{Identities, Identity};
use metrics::gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

const DAY: Duration = Duration::from_secs(86_400);

/// So many days before the end the alarm rises, and rises anew.
const DAYS: [u32; 4] = [30, 14, 7, 1];

/// How often the calendar is looked at.
const GLANCE: Duration = Duration::from_secs(3600);

/// How near the end is, from far to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Less than so many days are left.
    Left(std::cmp::Reverse<u32>),
    /// It has ended.
    Ended,
}

/// How near the end of `identity` is; `None` where nobody has to be told yet. Of a certificate that lives
/// for a few weeks a third is its time to be renewed, and not before.
fn stage(identity: &Identity, now: SystemTime) -> Option<Stage> {
    let Ok(left) = identity.not_after().duration_since(now) else { return Some(Stage::Ended) };
    let due = |days: &&u32| left <= DAY * **days && DAY * **days < identity.lifetime() / 3;
    DAYS.iter().filter(due).min().map(|days| Stage::Left(std::cmp::Reverse(*days)))
}

/// What is to be said of a certificate that ends soon, has ended or has not begun; `None` if nothing is.
pub(crate) fn text(identity: &Identity, now: SystemTime) -> Option<String> {
    let day = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
    if identity.not_before() > now {
        return Some(format!("is not valid before {}", day(identity.not_before())));
    }
    let end = day(identity.not_after());
    match stage(identity, now)? {
        Stage::Ended => Some(format!("has ended on {end}: Teams refuses it")),
        Stage::Left(_) => {
            let left = identity.not_after().duration_since(now).unwrap_or_default();
            let days = left.as_secs() / DAY.as_secs();
            let unit = if days == 1 { "day" } else { "days" };
            Some(format!("ends on {end}, in {days} {unit}"))
        }
    }
}

/// Shows the days, and raises and clears alarms as time goes by and certificates change, until the sender
/// is gone.
pub(crate) async fn keep(
    mut identities: watch::Receiver<Identities>,
    transports: Transports,
    alarms: Alarms,
) {
    let (mut shown, mut told) = (BTreeSet::new(), BTreeMap::new());
    loop {
        let now = identities.borrow_and_update().clone();
        shown = show(&now, &shown);
        judge(&now, &mut told, &alarms, clock::now().wall);
        transports.forget_refusals();
        tokio::select! {
            changed = identities.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(GLANCE) => {}
        }
    }
}

/// Shows when each ends; whose days were shown before, and who is gone, has none: nobody is to be called for
/// one that nobody uses. Whose are shown now.
fn show(identities: &Identities, before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for (name, identity) in issued(identities) {
        let end = identity.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        end_of(name, end.as_secs_f64());
        shown.insert(name.to_owned());
    }
    for gone in before.difference(&shown) {
        end_of(gone, f64::NAN);
    }
    shown
}

fn end_of(name: &str, seconds: f64) {
    let name = name.to_owned();
    gauge!("tollgate_certificate_expiry_timestamp_seconds", "certificate" => name).set(seconds);
}

/// Those that do not only stand in for others.
fn issued(identities: &Identities) -> impl Iterator<Item = (&str, &Arc<Identity>)> {
    identities.all().filter(|(_, identity)| !identity.is_pending())
}

/// `told` is how near the end of each was when its alarm last rose.
fn judge(
    identities: &Identities,
    told: &mut BTreeMap<String, Stage>,
    alarms: &Alarms,
    now: SystemTime,
) {
    let mut standing = BTreeMap::new();
    for (name, identity) in issued(identities) {
        if let (Some(stage), Some(text)) = (stage(identity, now), text(identity, now)) {
            standing.insert(name.to_owned(), (stage, text));
        }
    }
    for name in told.keys().filter(|name| !standing.contains_key(*name)) {
        alarms.clear(alarms::CERTIFICATE_EXPIRING, &Subject::Certificate(name.clone()));
    }
    told.retain(|name, _| standing.contains_key(name));
    for (name, (stage, text)) in standing {
        let subject = Subject::Certificate(name.clone());
        // Nearer than when it was told: somebody is to hear of it again.
        if told.insert(name, stage).is_some_and(|before| before < stage) {
            alarms.clear(alarms::CERTIFICATE_EXPIRING, &subject);
        }
        alarms.raise(alarms::CERTIFICATE_EXPIRING, subject, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::lab::{Authority, Request};

    /// A certificate whose days are as given, counted from 2026-01-01.
    fn identity(days: (u32, u32)) -> Arc<Identity> {
        let names = &["sbc1.example.net"][..];
        let request = Request { names, days: Some(days), ..Request::default() };
        let leaf = Authority::new("Expiry").unwrap().issue(&request).unwrap();
        Arc::new(leaf.identity().unwrap())
    }

    fn day(days: u64) -> SystemTime {
        // 2026-01-01, and an hour.
        SystemTime::UNIX_EPOCH + DAY * 20_454 + DAY * u32::try_from(days).unwrap() + DAY / 24
    }

    fn text_of(alarms: &Alarms) -> Vec<String> {
        alarms.list().into_iter().map(|it| it.text).collect()
    }

    /// TDR-CRT-008
    #[test]
    fn the_alarm_rises_at_30_14_7_and_1_days_and_when_it_is_too_late() {
        let year = identity((0, 365));
        let identities = Identities::new([("wild".to_owned(), Arc::clone(&year))]);
        let (alarms, mut told) = (Alarms::new(), BTreeMap::new());
        let mut rises = Vec::new();
        let mut before: Option<Stage> = None;
        for today in 300..370 {
            judge(&identities, &mut told, &alarms, day(today));
            let stage = told.get("wild").copied();
            if stage != before {
                rises.push(today);
                before = stage;
            }
            assert_eq!(alarms.list().len(), usize::from(stage.is_some()));
        }
        // An hour into the day, less than 30 days are left on day 335.
        assert_eq!(rises, [335, 351, 358, 364, 365]);
        assert_eq!(text_of(&alarms), ["has ended on 2027-01-01T00:00:00Z: Teams refuses it"]);

        let renewed = Identities::new([("wild".to_owned(), identity((360, 700)))]);
        judge(&renewed, &mut told, &alarms, day(370));
        assert!(alarms.list().is_empty() && told.is_empty());
    }

    #[test]
    fn the_day_of_a_certificate_that_is_gone_is_shown_no_more() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let both = ["wild", "old"].map(|name| (name.to_owned(), identity((0, 365))));
        let [wild, _] = both.clone();
        metrics::with_local_recorder(&recorder, || {
            let shown = show(&Identities::new(both), &BTreeSet::new());
            assert_eq!(show(&Identities::new([wild]), &shown), ["wild".to_owned()].into());
        });
        let text = recorder.handle().render();
        let day = |name: &str| {
            let label = format!("{{certificate=\"{name}\"}} ");
            text.lines().find_map(|line| line.split_once(&label)).unwrap().1
        };
        assert_eq!((day("wild"), day("old")), ("1798761600", "NaN"));
    }

    #[test]
    fn a_certificate_that_lives_for_weeks_raises_no_alarm_before_it_is_due() {
        let quarter = identity((0, 90));
        assert_eq!(text(&quarter, day(62)), None, "28 days are left, and it is being renewed");
        assert_eq!(text(&quarter, day(80)).unwrap(), "ends on 2026-04-01T00:00:00Z, in 9 days");
        let week = identity((0, 6));
        assert_eq!(text(&week, day(3)), None);
        assert_eq!(text(&week, day(5)).unwrap(), "ends on 2026-01-07T00:00:00Z, in 0 days");
        let later = identity((30, 365));
        assert_eq!(text(&later, day(1)).unwrap(), "is not valid before 2026-01-31T00:00:00Z");
    }
}
