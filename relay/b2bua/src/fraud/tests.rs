//! Ceilings at their boundaries, in virtual time.

use super::*;
use crate::numbering::Country;
use crate::plan::{Class, Prefixes, classes};

#[expect(clippy::disallowed_methods, reason = "a beginning to count from")]
fn beginning() -> Instant {
    Instant::now()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn class(name: &str) -> Arc<Class> {
    let prefixes: Prefixes = classes::built_in(name).unwrap().iter().copied().collect();
    let outside =
        (name == classes::INTERNATIONAL).then(|| classes::home(Country::of("DE").unwrap()));
    Arc::new(Class { name: name.into(), outside, prefixes })
}

fn contoso(ceilings: Vec<Ceiling>) -> Tenant {
    let country = Country::of("DE");
    Tenant { name: "contoso".into(), fraud: ceilings, country, ..Tenant::default() }
}

fn ceiling(name: &str) -> Ceiling {
    Ceiling { class: class(name), alarm_at: 0.8, ..Ceiling::default() }
}

/// A call that is taken, or the words for why not.
fn calls(fraud: &mut Fraud, now: Instant, tenant: &Tenant, number: &str) -> Result<Toll, String> {
    let classes = fraud.would_allow(now, tenant, number).map_err(|full| full.why)?;
    Ok(fraud.begin(now, &tenant.name, classes))
}

/// The stage that was told last.
fn stage(fraud: &mut Fraud, now: Instant, tenant: &Tenant) -> Option<(Stage, String)> {
    let mut events = Vec::new();
    let at = fraud.since(now);
    if let Some(all) = fraud.tenants.get_mut(&tenant.name) {
        look_at(at, &tenant.name, all, Some(tenant), &mut events);
    }
    fraud.tenants.retain(|_, all| !all.is_empty());
    match events.pop() {
        Some(Event::Ceiling { stage, text, .. }) => Some((stage, text)),
        _ => None,
    }
}

#[test]
fn the_last_call_of_a_ceiling_gets_through_and_the_next_does_not_until_the_hour_is_over() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let tenant = contoso(vec![Ceiling { calls_per_hour: Some(3), ..ceiling("premium") }]);
    for minute in [0, 10, 20] {
        calls(&mut fraud, start + minutes(minute), &tenant, "+49900123456").unwrap();
    }
    let now = start + minutes(20);
    let why = calls(&mut fraud, now, &tenant, "+49900123456").unwrap_err();
    assert_eq!(
        why,
        "fraud guard: class premium has used 3 of 3 calls in an hour; free in 41 min at the earliest"
    );
    assert!(calls(&mut fraud, now, &tenant, "+4989123456").is_ok(), "it is no premium number");
    assert!(calls(&mut fraud, start + minutes(60), &tenant, "+49900123456").is_err());
    assert!(calls(&mut fraud, start + minutes(61), &tenant, "+49900123456").is_ok());
    assert!(calls(&mut fraud, start + minutes(61), &tenant, "+49900123456").is_err());
}

#[test]
fn minutes_of_calls_that_are_up_count_before_they_end() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let tenant = contoso(vec![Ceiling { minutes_per_day: Some(60), ..ceiling("international") }]);
    let mut tolls: Vec<Toll> =
        (0..4).map(|_| calls(&mut fraud, start, &tenant, "+442079460000").unwrap()).collect();
    for toll in &mut tolls {
        fraud.answered(start, toll);
        fraud.answered(start, toll);
    }
    assert_eq!(stage(&mut fraud, start, &tenant).unwrap().0, Stage::Free);
    let (near, text) = stage(&mut fraud, start + minutes(12), &tenant).unwrap();
    assert_eq!(
        (near, text.as_str()),
        (Stage::Near, "class international: 48 of 60 minutes in a day are used")
    );
    let just_before = start + minutes(15) - Duration::from_millis(1);
    assert!(calls(&mut fraud, just_before, &tenant, "+442079460000").is_ok());
    let why = calls(&mut fraud, start + minutes(15), &tenant, "+442079460000").unwrap_err();
    assert!(why.contains("60 of 60 minutes in a day"), "{why}");
    assert_eq!(stage(&mut fraud, start + minutes(15), &tenant).unwrap().0, Stage::Full);
    for toll in &tolls {
        fraud.ended(start + minutes(15), toll);
    }
    // A quarter of an hour of them has aged once the day's last slot has.
    assert!(calls(&mut fraud, start + minutes(24 * 60), &tenant, "+33123456789").is_err());
    assert!(calls(&mut fraud, start + minutes(24 * 60 + 15), &tenant, "+33123456789").is_ok());
    let late = start + minutes(50 * 60);
    assert_eq!(stage(&mut fraud, late, &tenant).unwrap().0, Stage::Free);
    assert!(fraud.is_empty(), "what has aged away is forgotten");
}

#[test]
fn a_number_counts_for_each_class_that_holds_it() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let tenant = contoso(vec![
        Ceiling { calls_per_hour: Some(2), ..ceiling("international") },
        Ceiling { calls_per_hour: Some(1), ..ceiling("satellite") },
        Ceiling { calls_per_day: Some(9), ..ceiling("satellite") },
    ]);
    let toll = calls(&mut fraud, start, &tenant, "+88116123456").unwrap();
    assert_eq!(toll.classes, ["international".into(), "satellite".into()] as [Arc<str>; 2]);
    assert!(calls(&mut fraud, start, &tenant, "+88116123456").unwrap_err().contains("satellite"));
    assert!(calls(&mut fraud, start, &tenant, "+442079460000").is_ok());
    assert!(
        calls(&mut fraud, start, &tenant, "+442079460000").unwrap_err().contains("international")
    );
}

#[test]
fn a_number_counts_however_it_was_dialled() {
    let start = beginning();
    for dialled in ["+49900123456", "0900123456", "0049900123456", "49900123456"] {
        let mut fraud = Fraud::new(start);
        let tenant = contoso(vec![Ceiling { calls_per_hour: Some(0), ..ceiling("premium") }]);
        assert!(calls(&mut fraud, start, &tenant, dialled).is_err(), "{dialled}");
        assert!(calls(&mut fraud, start, &tenant, "0301234567").is_ok());
    }
    // Where nothing is known of a country.
    let satellite = vec![Ceiling { calls_per_hour: Some(0), ..ceiling("satellite") }];
    let tenant = Tenant { country: None, ..contoso(satellite) };
    for dialled in ["+88116123456", "0088116123456", "88116123456"] {
        assert!(calls(&mut Fraud::new(start), start, &tenant, dialled).is_err(), "{dialled}");
    }
}

#[test]
fn a_new_ceiling_is_measured_by_what_was_used_under_the_old_one() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let before = contoso(vec![Ceiling { calls_per_hour: Some(10), ..ceiling("premium") }]);
    for _ in 0..4 {
        calls(&mut fraud, start, &before, "+49900123456").unwrap();
    }
    let after = contoso(vec![Ceiling { calls_per_hour: Some(4), ..ceiling("premium") }]);
    assert!(calls(&mut fraud, start, &after, "+49900123456").is_err());
    assert_eq!(stage(&mut fraud, start, &after).unwrap().0, Stage::Full);
    assert!(stage(&mut fraud, start, &after).is_none(), "nothing has changed");
    let none = contoso(Vec::new());
    assert_eq!(stage(&mut fraud, start, &none).unwrap().0, Stage::Free);
    assert!(fraud.is_empty());
}

#[test]
fn a_restart_remembers_what_the_records_tell() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let tenant = contoso(vec![Ceiling {
        calls_per_hour: Some(2),
        minutes_per_day: Some(100),
        ..ceiling("premium")
    }]);
    let past = |ago, talk| PastCall {
        tenant: "contoso".into(),
        classes: vec!["premium".into()],
        began_ago: minutes(ago),
        answered_ago: minutes(ago),
        talk: minutes(talk),
    };
    fraud.remember(start, &[past(30, 5), past(180, 60), past(26 * 60, 60)]);
    assert!(calls(&mut fraud, start, &tenant, "+49900123456").is_ok());
    let why = calls(&mut fraud, start, &tenant, "+49900123456").unwrap_err();
    assert!(why.contains("2 of 2 calls in an hour"), "{why}");
    let used = fraud.watched("contoso", &"premium".into()).unwrap().day.used(0, 0, 0);
    assert_eq!(used, Used { calls: 3, talk_ms: 65 * MINUTE });
}

/// Against one that keeps every call: what is counted is what lay within the last hour, and at most
/// within the minute before it as well.
#[test]
fn what_is_counted_is_what_a_list_of_all_calls_says_but_for_one_slot() {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};
    let start = beginning();
    for seed in 0..40 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut below = |bound: u32| u64::from(rng.next_u32() % bound);
        let mut fraud = Fraud::new(start);
        let tenant =
            contoso(vec![Ceiling { calls_per_hour: Some(1_000_000), ..ceiling("premium") }]);
        // When each began, was answered and ended, in milliseconds.
        let mut all: Vec<(u64, Option<u64>, Option<u64>, Toll)> = Vec::new();
        let mut now = 0;
        for _ in 0..600 {
            now += below(90_000);
            let at = start + Duration::from_millis(now);
            match below(3) {
                0 => {
                    let toll = calls(&mut fraud, at, &tenant, "+49900123456").unwrap();
                    all.push((now, None, None, toll));
                }
                1 => {
                    if let Some(call) = all.iter_mut().find(|call| call.1.is_none()) {
                        fraud.answered(at, &mut call.3);
                        call.1 = Some(now);
                    }
                }
                _ => {
                    let up = |call: &&mut (u64, Option<u64>, Option<u64>, Toll)| {
                        call.1.is_some() && call.2.is_none()
                    };
                    if let Some(call) = all.iter_mut().find(up) {
                        fraud.ended(at, &call.3);
                        call.2 = Some(now);
                    }
                }
            }
            let within = |back: u64| {
                let first = now.saturating_sub(back);
                let began = all.iter().filter(|call| call.0 >= first).count() as u64;
                let talk = all.iter().filter_map(|(_, answered, ended, _)| {
                    let (from, to) = ((*answered)?.max(first), ended.unwrap_or(now));
                    Some(to.saturating_sub(from))
                });
                Used { calls: began, talk_ms: talk.sum() }
            };
            let Some(watched) = fraud.watched("contoso", &"premium".into()) else { continue };
            let used = watched.hour.used(now as i64, watched.up, watched.told);
            let (least, most) = (within(3_600_000), within(3_660_000));
            assert!((least.calls..=most.calls).contains(&used.calls), "{used:?} {least:?}");
            assert!((least.talk_ms..=most.talk_ms).contains(&used.talk_ms), "{used:?} {least:?}");
        }
    }
}

#[test]
fn what_ends_twice_or_was_never_answered_takes_no_minutes() {
    let start = beginning();
    let mut fraud = Fraud::new(start);
    let tenant = contoso(vec![Ceiling { minutes_per_hour: Some(1), ..ceiling("premium") }]);
    let toll = calls(&mut fraud, start, &tenant, "+49900123456").unwrap();
    fraud.ended(start, &toll);
    fraud.ended(start, &toll);
    assert!(calls(&mut fraud, start + minutes(30), &tenant, "+49900123456").is_ok());
}
