//! The fraud guard: what each tenant has used of the destinations that cost, and whether there is room
//! for one more call.
//!
//! Only calls from Teams to the public network are watched. A stolen account or an open PBX behind a
//! tenant shows as calls that nobody ever made before; the ceiling is what a night of that may cost.

mod window;

use crate::admission::Full;
use crate::io::Event;
use crate::numbering::meant;
use crate::plan::{Ceiling, Plan, Tenant};
use crate::reject::Reject;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use window::{DAY, HOUR, Used, Window};

/// How often ceilings are looked at while nothing begins or ends: minutes go on by themselves.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// The ratio is told in steps of this many to one, so that a gauge is not set each time.
const STEPS: f64 = 100.0;

/// What all tenants have used.
#[derive(Debug)]
pub(crate) struct Fraud {
    /// Times are milliseconds from here on; what the records tell lies before it.
    origin: Instant,
    tenants: HashMap<String, Vec<Watched>>,
    /// Whether [`LOOK`] is under way.
    pub(crate) looking: bool,
}

/// One class of one tenant.
#[derive(Clone, Debug)]
struct Watched {
    class: Arc<str>,
    hour: Window,
    day: Window,
    /// Calls that are up, and until when their time is in the windows.
    up: u64,
    told: i64,
    shown: Option<(Stage, i64)>,
}

/// How near a ceiling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Far enough.
    Free,
    /// The alarm's share is reached.
    Near,
    /// No more calls.
    Full,
}

/// What a leg counts for: kept with the call and given back when the leg ends.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    tenant: String,
    classes: Vec<Arc<str>>,
    up: bool,
}

/// A call of an earlier life of this process, as its record tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// The tenant.
    pub tenant: String,
    /// The classes it counted for.
    pub classes: Vec<String>,
    /// How long ago it began.
    pub began_ago: Duration,
    /// How long ago it was answered.
    pub answered_ago: Duration,
    /// How long it was up.
    pub talk: Duration,
}

/// One of the four measures of a ceiling.
struct Measure {
    used: u64,
    most: u64,
    /// What one of `most` is of `used`: a call, or a minute in milliseconds.
    unit: u64,
    word: &'static str,
}

impl Measure {
    #[expect(clippy::cast_precision_loss, reason = "a share for a gauge")]
    fn ratio(&self) -> f64 {
        match self.most {
            0 => 1.0,
            most => self.used as f64 / (most * self.unit) as f64,
        }
    }

    const fn is_full(&self) -> bool {
        self.used >= self.most * self.unit
    }

    fn text(&self) -> String {
        format!("{} of {} {}", self.used / self.unit, self.most, self.word)
    }
}

/// A minute in milliseconds.
const MINUTE: u64 = 60_000;

impl Fraud {
    pub(crate) fn new(now: Instant) -> Self {
        Self { origin: now, tenants: HashMap::new(), looking: false }
    }

    /// Whether a tenant may call this number and which classes it counts for. Nothing is
    /// counted.
    pub(crate) fn would_allow(
        &self,
        now: Instant,
        tenant: &Tenant,
        number: &str,
    ) -> Result<Vec<Arc<str>>, Full> {
        if tenant.fraud.is_empty() {
            return Ok(Vec::new());
        }
        let (now, number) = (self.since(now), meant(tenant.country, number));
        let mut classes = Vec::new();
        for ceiling in tenant.fraud.iter().filter(|ceiling| ceiling.class.holds(&number)) {
            match self.watched(&tenant.name, &ceiling.class.name) {
                Some(watched) => watched.allows(now, ceiling)?,
                None => Watched::new(now, &ceiling.class.name).allows(now, ceiling)?,
            }
            if !classes.contains(&ceiling.class.name) {
                classes.push(Arc::clone(&ceiling.class.name));
            }
        }
        Ok(classes)
    }

    /// A call goes out that counts for these classes.
    pub(crate) fn begin(&mut self, now: Instant, tenant: &str, classes: Vec<Arc<str>>) -> Toll {
        let now = self.since(now);
        for class in &classes {
            let watched = self.watch(now, tenant, class);
            watched.hour.call(now, now);
            watched.day.call(now, now);
        }
        Toll { tenant: tenant.to_owned(), classes, up: false }
    }

    /// It is answered: its minutes count from now on.
    pub(crate) fn answered(&mut self, now: Instant, toll: &mut Toll) {
        if !std::mem::replace(&mut toll.up, true) {
            self.each(now, toll, |watched| watched.up += 1);
        }
    }

    /// It is over.
    pub(crate) fn ended(&mut self, now: Instant, toll: &Toll) {
        if toll.up {
            self.each(now, toll, |watched| watched.up = watched.up.saturating_sub(1));
        }
    }

    fn each(&mut self, now: Instant, toll: &Toll, act: impl Fn(&mut Watched)) {
        let now = self.since(now);
        for class in &toll.classes {
            let watched = self.watch(now, &toll.tenant, class);
            watched.tell(now);
            act(watched);
        }
    }

    /// What the records tell of the calls before this process began.
    pub(crate) fn remember(&mut self, now: Instant, past: &[PastCall]) {
        let now = self.since(now);
        let ago = |ago: Duration| now - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX / 2);
        for call in past {
            let (began, answered) = (ago(call.began_ago), ago(call.answered_ago));
            let ended = answered + i64::try_from(call.talk.as_millis()).unwrap_or(i64::MAX / 2);
            for class in &call.classes {
                let watched = self.watch(now, &call.tenant, &class.as_str().into());
                for window in [&mut watched.hour, &mut watched.day] {
                    window.call(now, began.min(now));
                    window.talk(now, 1, (answered, ended.min(now)));
                }
            }
        }
    }

    /// Looks at all ceilings: what has changed. What has aged away is forgotten.
    pub(crate) fn look(&mut self, now: Instant, plan: &Plan) -> Vec<Event> {
        let mut events = Vec::new();
        let at = self.since(now);
        for (name, all) in &mut self.tenants {
            let tenant = plan.tenant(name);
            look_at(at, name, all, tenant, &mut events);
        }
        self.tenants.retain(|_, all| !all.is_empty());
        events
    }

    /// The same for one tenant, of which something has just changed.
    pub(crate) fn look_at(&mut self, now: Instant, plan: &Plan, tenant: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let at = self.since(now);
        if let Some(all) = self.tenants.get_mut(tenant) {
            let of = plan.tenant(tenant);
            look_at(at, tenant, all, of, &mut events);
        }
        events
    }

    /// Calls whose minutes run, in all classes: none when no call is up.
    pub(crate) fn running(&self) -> usize {
        let all = self.tenants.values().flatten().map(|watched| watched.up);
        usize::try_from(all.sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    fn since(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.origin).as_millis();
        i64::try_from(since).unwrap_or(i64::MAX / 2)
    }

    fn watched(&self, tenant: &str, class: &Arc<str>) -> Option<&Watched> {
        self.tenants.get(tenant)?.iter().find(|watched| watched.class == *class)
    }

    fn watch(&mut self, now: i64, tenant: &str, class: &Arc<str>) -> &mut Watched {
        let all = self.tenants.entry(tenant.to_owned()).or_default();
        let at = all.iter().position(|watched| watched.class == *class).unwrap_or_else(|| {
            all.push(Watched::new(now, class));
            all.len() - 1
        });
        &mut all[at]
    }
}

/// Looks at the classes of one tenant. A class without a ceiling is kept while its calls go on, as
/// the ceiling may come back with a reload.
fn look_at(
    now: i64,
    name: &str,
    all: &mut Vec<Watched>,
    tenant: Option<&Tenant>,
    events: &mut Vec<Event>,
) {
    all.retain_mut(|watched| {
        watched.tell(now);
        let ceilings = tenant.into_iter().flat_map(|tenant| &tenant.fraud);
        let mut ceilings = ceilings.filter(|it| it.class.name == watched.class).peekable();
        let live = watched.up > 0
            || ceilings.peek().is_some()
                && !(watched.hour.is_empty(now) && watched.day.is_empty(now));
        let worst = ceilings.map(|ceiling| watched.stage(now, ceiling));
        let worst = worst.max_by(|one, two| one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)));
        let (stage, ratio, text) = worst.unwrap_or((Stage::Free, 0.0, String::new()));
        #[expect(clippy::cast_possible_truncation, reason = "a ratio is a few whole numbers")]
        let shown = (stage, (ratio * STEPS) as i64);
        if watched.shown.replace(shown) != Some(shown) {
            let (tenant, class) = (name.to_owned(), watched.class.to_string());
            events.push(Event::Ceiling { tenant, class, stage, ratio, text });
        }
        live
    });
}

impl Watched {
    fn new(now: i64, class: &Arc<str>) -> Self {
        Self {
            class: Arc::clone(class),
            hour: Window::new(HOUR),
            day: Window::new(DAY),
            up: 0,
            told: now,
            shown: None,
        }
    }

    /// Puts the time of the calls that are up into the windows, until now.
    fn tell(&mut self, now: i64) {
        let span = (self.told, now);
        self.told = now;
        if self.up > 0 {
            self.hour.talk(now, self.up, span);
            self.day.talk(now, self.up, span);
        }
    }

    fn measures(&self, now: i64, ceiling: &Ceiling) -> impl Iterator<Item = Measure> {
        let (hour, day) =
            (self.hour.used(now, self.up, self.told), self.day.used(now, self.up, self.told));
        let of = |used, most: Option<u32>, unit, word| {
            most.map(|most| Measure { used, most: most.into(), unit, word })
        };
        [
            of(hour.calls, ceiling.calls_per_hour, 1, "calls in an hour"),
            of(day.calls, ceiling.calls_per_day, 1, "calls in a day"),
            of(hour.talk_ms, ceiling.minutes_per_hour, MINUTE, "minutes in an hour"),
            of(day.talk_ms, ceiling.minutes_per_day, MINUTE, "minutes in a day"),
        ]
        .into_iter()
        .flatten()
    }

    fn allows(&self, now: i64, ceiling: &Ceiling) -> Result<(), Full> {
        let full: Vec<Measure> = self.measures(now, ceiling).filter(Measure::is_full).collect();
        if full.is_empty() {
            return Ok(());
        }
        let used: Vec<String> = full.iter().map(Measure::text).collect();
        let free = match self.frees(now, ceiling).as_secs().div_ceil(60) {
            0 => "none is let through".to_owned(),
            minutes => format!("free in {minutes} min at the earliest"),
        };
        let why = format!("fraud guard: class {} has used {}; {free}", self.class, used.join(", "));
        Err(Full { reject: Reject::FraudGuard, why })
    }

    /// How long until all four have room, if nothing more is used.
    fn frees(&self, now: i64, ceiling: &Ceiling) -> Duration {
        let mut still = self.clone();
        still.tell(now);
        let calls = |used: &Used| used.calls;
        let talk = |used: &Used| used.talk_ms;
        let times = [
            ceiling.calls_per_hour.map(|most| still.hour.frees(now, most.into(), calls)),
            ceiling.calls_per_day.map(|most| still.day.frees(now, most.into(), calls)),
            ceiling
                .minutes_per_hour
                .map(|most| still.hour.frees(now, u64::from(most) * MINUTE, talk)),
            ceiling
                .minutes_per_day
                .map(|most| still.day.frees(now, u64::from(most) * MINUTE, talk)),
        ];
        times.into_iter().flatten().max().unwrap_or_default()
    }

    /// How near a ceiling is, by what is nearest to it, and that in words.
    fn stage(&self, now: i64, ceiling: &Ceiling) -> (Stage, f64, String) {
        let nearest =
            self.measures(now, ceiling).max_by(|one, two| one.ratio().total_cmp(&two.ratio()));
        let Some(nearest) = nearest else { return (Stage::Free, 0.0, String::new()) };
        let ratio = nearest.ratio();
        let stage = match ratio {
            _ if nearest.is_full() => Stage::Full,
            ratio if ratio >= ceiling.alarm_at => Stage::Near,
            _ => Stage::Free,
        };
        (stage, ratio, format!("class {}: {} are used", self.class, nearest.text()))
    }
}

#[cfg(test)]
mod tests;
