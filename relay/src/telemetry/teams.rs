//! What an operator sees of how Microsoft sees us, and of who drains or is full: gauges and alarms that
//! say how things are, looked at now and then.

use crate::alarms::{self, Alarms, Subject};
use b2bua::io::{Crowded, CrowdedView, DrainView, FqdnView};
use metrics::{describe_gauge, gauge};
use std::collections::BTreeSet;
use std::time::Duration;

/// The same as a dashboard's: an age of minutes that is out of date by so much misleads nobody.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

pub(super) fn describe() {
    describe_gauge!(
        "tollgate_teams_seen_age_seconds",
        "Seconds since Microsoft last sent OPTIONS to an FQDN of ours, by its region"
    );
    describe_gauge!(
        "tollgate_teams_answered_age_seconds",
        "Seconds since Teams last took OPTIONS of ours under an FQDN"
    );
    describe_gauge!("tollgate_draining", "1 while the host, or a tenant, takes no new calls");
}

/// Ages that are shown, to end those that are none any more.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    seen: BTreeSet<(String, String, &'static str)>,
    answered: BTreeSet<(String, String)>,
    draining: BTreeSet<String>,
}

impl Shown {
    /// How Microsoft sees us.
    pub(crate) fn fqdns(&mut self, alarms: &Alarms, fqdns: &[FqdnView]) {
        let (mut seen, mut answered) = (BTreeSet::new(), BTreeSet::new());
        let (mut unseen, mut down) = (Vec::new(), Vec::new());
        for view in fqdns {
            let (trunk, fqdn) = (view.trunk.clone(), view.fqdn.clone());
            for region in &view.regions {
                seen_age(&trunk, &fqdn, region.region, region.ago.as_secs_f64());
                seen.insert((trunk.clone(), fqdn.clone(), region.region));
            }
            if let Some(ago) = view.answered_ago {
                answered_age(&trunk, &fqdn, ago.as_secs_f64());
                answered.insert((trunk.clone(), fqdn.clone()));
            }
            let subject = || Subject::Fqdn { trunk: trunk.clone(), fqdn: fqdn.clone() };
            if let Some(missing) = view.unseen {
                unseen.push((subject(), unseen_text(fqdn.as_str(), missing)));
            }
            if view.down {
                down.push((subject(), down_text(view)));
            }
        }
        for (trunk, fqdn, region) in self.seen.difference(&seen) {
            seen_age(trunk, fqdn, region, f64::NAN);
        }
        for (trunk, fqdn) in self.answered.difference(&answered) {
            answered_age(trunk, fqdn, f64::NAN);
        }
        (self.seen, self.answered) = (seen, answered);
        alarms.replace(alarms::TEAMS_UNSEEN, unseen);
        alarms.replace(alarms::TEAMS_DOWN, down);
    }

    /// Who drains.
    pub(crate) fn drains(&mut self, alarms: &Alarms, drains: &[DrainView]) {
        let mut draining = BTreeSet::new();
        let mut stands = Vec::new();
        for drain in drains {
            let subject = drain.tenant.clone().map_or(Subject::Host, Subject::Tenant);
            stands.push((subject, drain_text(drain)));
            draining.insert(drain.tenant.clone().unwrap_or_default());
        }
        for tenant in draining.union(&self.draining) {
            let is = f64::from(u8::from(draining.contains(tenant)));
            match tenant.is_empty() {
                true => gauge!("tollgate_draining").set(is),
                false => gauge!("tollgate_draining", "tenant" => tenant.clone()).set(is),
            }
        }
        self.draining = draining;
        alarms.replace(alarms::DRAINING, stands);
    }
}

/// Who has nearly all the calls that it may have.
pub(crate) fn crowded(alarms: &Alarms, crowded: Vec<CrowdedView>) {
    let stands = crowded.into_iter().map(|CrowdedView { who, calls, bound }| {
        let subject = match who {
            Crowded::Host => Subject::Host,
            Crowded::Trunk(trunk) => Subject::Trunk(trunk),
            Crowded::Tenant(tenant) => Subject::Tenant(tenant),
        };
        (subject, format!("{calls} calls of {bound} that are allowed"))
    });
    alarms.replace(alarms::CALLS_NEAR_LIMIT, stands.collect());
}

/// What an operator reads of a drain.
pub(crate) fn drain_text(drain: &DrainView) -> String {
    let calls = match drain.calls {
        0 => "no call is up".to_owned(),
        1 => "1 call is up".to_owned(),
        calls => format!("{calls} calls are up"),
    };
    let end = match (drain.tenant.is_some(), drain.left) {
        // As it was asked for, not a moment less.
        (_, Some(left)) => {
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            format!(", and ended in {seconds} s")
        }
        // Without a call it ends at once.
        (false, None) if drain.calls > 0 => ", and waited for".to_owned(),
        (_, None) => String::new(),
    };
    format!("no new calls but to emergency numbers; {calls}{end}")
}

fn unseen_text(fqdn: &str, missing: Duration) -> String {
    format!(
        "Microsoft takes our OPTIONS and has sent none for {} s: it cannot connect to {fqdn}; see to \
         firewall, DNS record and certificate (tollgate teams doctor)",
        missing.as_secs()
    )
}

fn down_text(view: &FqdnView) -> String {
    let last = view.last.first().map_or("", |(_, last)| last.as_str());
    format!("no target of Teams takes OPTIONS under {}: {last} (tollgate teams doctor)", view.fqdn)
}

fn seen_age(trunk: &str, fqdn: &str, region: &'static str, age: f64) {
    let (trunk, fqdn) = (trunk.to_owned(), fqdn.to_owned());
    gauge!(
        "tollgate_teams_seen_age_seconds",
        "trunk" => trunk, "fqdn" => fqdn, "region" => region
    )
    .set(age);
}

fn answered_age(trunk: &str, fqdn: &str, age: f64) {
    let (trunk, fqdn) = (trunk.to_owned(), fqdn.to_owned());
    gauge!("tollgate_teams_answered_age_seconds", "trunk" => trunk, "fqdn" => fqdn).set(age);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(up: bool, last: &str) -> FqdnView {
        FqdnView {
            trunk: "teams".into(),
            fqdn: "sbc1.example.net".into(),
            tenant: None,
            asks: true,
            up,
            down: !up,
            answered_ago: None,
            last: vec![("sip.pstnhub.microsoft.com:5061".into(), last.into())],
            regions: Vec::new(),
            unseen: None,
            invited: None,
            called_ago: None,
        }
    }

    fn words(alarms: &Alarms) -> Vec<(&'static str, String)> {
        alarms.list().into_iter().map(|it| (it.word, it.subject.to_string())).collect()
    }

    /// TDR-OPT-024 TDR-MON-003
    #[test]
    fn microsoft_falls_silent_and_the_alarm_names_the_fqdn_until_it_is_heard_again() {
        let (alarms, mut shown) = (Alarms::new(), Shown::default());
        let silent = FqdnView { unseen: Some(Duration::from_secs(301)), ..view(true, "200 OK") };
        shown.fqdns(&alarms, &[silent]);
        let subject = "trunk teams, sbc1.example.net".to_owned();
        assert_eq!(words(&alarms), [(alarms::TEAMS_UNSEEN, subject)]);
        assert!(alarms.list()[0].text.contains("firewall"));
        shown.fqdns(&alarms, &[view(true, "200 OK")]);
        assert!(words(&alarms).is_empty());
    }

    /// TDR-OPT-009 TDR-MON-003
    #[test]
    fn teams_refuses_our_options_and_the_alarm_says_with_what() {
        let (alarms, mut shown) = (Alarms::new(), Shown::default());
        shown.fqdns(&alarms, &[FqdnView { down: false, ..view(false, "timeout") }]);
        assert!(words(&alarms).is_empty(), "it may have been lost");
        shown.fqdns(&alarms, &[view(false, "403 Forbidden")]);
        assert_eq!(words(&alarms)[0].0, alarms::TEAMS_DOWN);
        assert!(alarms.list()[0].text.contains("403 Forbidden"));
    }

    #[test]
    fn a_drain_is_an_alarm_until_it_is_cancelled() {
        let (alarms, mut shown) = (Alarms::new(), Shown::default());
        let left = Some(Duration::from_secs(60));
        let host = DrainView { tenant: None, since: Duration::ZERO, left, calls: 2 };
        let tenant = DrainView { tenant: Some("contoso".into()), left: None, ..host.clone() };
        shown.drains(&alarms, &[host, tenant.clone()]);
        let texts: Vec<String> = alarms.list().into_iter().map(|it| it.text).collect();
        assert_eq!(
            texts,
            [
                "no new calls but to emergency numbers; 2 calls are up, and ended in 60 s",
                "no new calls but to emergency numbers; 2 calls are up"
            ]
        );
        shown.drains(&alarms, &[tenant]);
        assert_eq!(words(&alarms), [(alarms::DRAINING, "tenant contoso".to_owned())]);
    }
}
