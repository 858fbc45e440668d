//! FQDNs that Teams addressed and no tenant has: an alarm while they come, and a line for each, up to a rate
//! (TDR-IN-001).

use crate::alarms::{Alarms, Subject, UNKNOWN_FQDN};
use b2bua::Plan;
use std::time::{Duration, Instant};

/// Names that are kept: enough for a customer's mistake, and for the text of an alarm.
const KEPT_MAX: usize = 8;

/// One that has not come for so long is forgotten.
const KEPT: Duration = Duration::from_secs(3_600);

/// Lines that are logged within so long: whoever invents names without end does not fill the disk.
const LINES_MAX: u32 = 10;
const LINES_EVERY: Duration = Duration::from_secs(60);

/// The names of late.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    names: Vec<Stranger>,
    lines: Lines,
}

/// What is logged of them.
#[derive(Debug, Default)]
struct Lines {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Lines {
    /// Whether one more is written; if so, how many were left out before it.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        let over = |since| now.saturating_duration_since(since) >= LINES_EVERY;
        if self.since.is_none_or(over) {
            (self.since, self.written) = (Some(now), 0);
        }
        if self.written >= LINES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[derive(Debug)]
struct Stranger {
    trunk: String,
    fqdn: String,
    last: Instant,
}

impl Strangers {
    /// A request for this name came in on a trunk.
    pub(crate) fn seen(&mut self, now: Instant, alarms: &Alarms, (trunk, fqdn): (String, String)) {
        let known = |one: &&mut Stranger| one.trunk == trunk && one.fqdn == fqdn;
        if let Some(known) = self.names.iter_mut().find(known) {
            known.last = now;
            return;
        }
        if let Some(left_out) = self.lines.one_more(now) {
            tracing::warn!(trunk, fqdn, left_out, "Teams addresses an FQDN that no tenant has");
        }
        if self.names.len() >= KEPT_MAX {
            self.names.remove(0);
        }
        self.names.push(Stranger { trunk, fqdn, last: now });
        self.show(alarms);
    }

    /// Time has passed.
    pub(crate) fn refresh(&mut self, now: Instant, alarms: &Alarms) {
        self.keep(alarms, |one| now.saturating_duration_since(one.last) < KEPT);
    }

    /// Another snapshot is in force: some may be a tenant's now.
    pub(crate) fn planned(&mut self, plan: &Plan, alarms: &Alarms) {
        self.keep(alarms, |one| plan.tenant_of_fqdn(&one.fqdn).is_none());
    }

    fn keep(&mut self, alarms: &Alarms, keep: impl Fn(&Stranger) -> bool) {
        let before = self.names.len();
        self.names.retain(keep);
        if self.names.len() < before {
            self.show(alarms);
        }
    }

    fn show(&self, alarms: &Alarms) {
        let mut trunks: Vec<&str> = self.names.iter().map(|one| one.trunk.as_str()).collect();
        trunks.sort_unstable();
        trunks.dedup();
        let text = |trunk: &str| {
            let of = self.names.iter().filter(|one| one.trunk == trunk);
            let fqdns: Vec<&str> = of.map(|one| one.fqdn.as_str()).collect();
            format!("no tenant has {}", fqdns.join(", "))
        };
        let alarm = |trunk: &str| (Subject::Trunk(trunk.to_owned()), text(trunk));
        alarms.replace(UNKNOWN_FQDN, trunks.into_iter().map(alarm).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, KEPT_MAX, LINES_EVERY, LINES_MAX, Strangers};
    use crate::alarms::{Alarms, UNKNOWN_FQDN};
    use crate::clock;
    use b2bua::Plan;
    use std::collections::HashMap;

    fn texts(alarms: &Alarms) -> Vec<String> {
        let standing = alarms.list().into_iter().filter(|alarm| alarm.word == UNKNOWN_FQDN);
        standing.map(|alarm| format!("{}: {}", alarm.subject, alarm.text)).collect()
    }

    /// TDR-IN-001, TDR-OPT-023.
    #[test]
    fn an_alarm_names_each_unknown_fqdn_once_and_ends_when_it_is_known_or_comes_no_more() {
        let (alarms, mut strangers) = (Alarms::new(), Strangers::default());
        let now = clock::now().mono;
        let name = |fqdn: &str| ("teams".to_owned(), fqdn.to_owned());
        for fqdn in ["a.example.net", "b.example.net", "a.example.net"] {
            strangers.seen(now, &alarms, name(fqdn));
        }
        assert_eq!(texts(&alarms), ["trunk teams: no tenant has a.example.net, b.example.net"]);
        let fqdns = HashMap::from([("a.example.net".to_owned(), 0)]);
        let plan = Plan { fqdns: fqdns.into(), ..Plan::default() };
        strangers.planned(&plan, &alarms);
        assert_eq!(texts(&alarms), ["trunk teams: no tenant has b.example.net"]);
        strangers.refresh(now + KEPT, &alarms);
        assert_eq!(texts(&alarms), [""; 0]);
    }

    #[test]
    fn names_without_end_are_not_remembered() {
        let (alarms, mut strangers) = (Alarms::new(), Strangers::default());
        let now = clock::now().mono;
        for number in 0..100 {
            strangers.seen(now, &alarms, ("teams".to_owned(), format!("{number}.example.net")));
        }
        assert_eq!(strangers.names.len(), KEPT_MAX);
    }

    #[test]
    fn names_without_end_fill_the_log() {
        let (alarms, mut strangers) = (Alarms::new(), Strangers::default());
        let now = clock::now().mono;
        let mut seen = |now, number: u32| {
            strangers.seen(now, &alarms, ("teams".to_owned(), format!("{number}.example.net")));
            (strangers.lines.written, strangers.lines.left_out)
        };
        let mut last = (0, 0);
        for number in 0..100 {
            last = seen(now, number);
        }
        assert_eq!(last, (LINES_MAX, 90));
        // The next that is written says how many were not.
        assert_eq!(seen(now + LINES_EVERY, 100), (1, 0));
    }
}
