//! What came of asking, as an operator sees it: a count, and an alarm per tenant whose hook fails.

use crate::alarms::{Alarms, HOOK_FAILING, Subject};
use b2bua::Plan;
use metrics::counter;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The alarm stays for as long after a failure: a hook that fails every other time is one alarm and one
/// line in the log, not one a call.
const RECOVERED: Duration = Duration::from_secs(60);

/// When each tenant's hook failed last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failed: BTreeMap<String, Instant>,
}

impl Health {
    /// A hook was asked: `why` says what went wrong, if anything did.
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        alarms: &Alarms,
        (tenant, result): (String, &'static str),
        why: Option<&str>,
    ) {
        counter!("tollgate_hook_requests_total", "tenant" => tenant.clone(), "result" => result)
            .increment(1);
        match why {
            Some(why) => {
                let text = format!("its routing hook fails: {why}");
                alarms.raise(HOOK_FAILING, Subject::Tenant(tenant.clone()), &text);
                self.failed.insert(tenant, now);
            }
            None if result == "late" => {}
            None => {
                let over = |at: &Instant| now.saturating_duration_since(*at) >= RECOVERED;
                if self.failed.get(&tenant).is_some_and(over) {
                    self.failed.remove(&tenant);
                    alarms.clear(HOOK_FAILING, &Subject::Tenant(tenant));
                }
            }
        }
    }

    /// Nobody waits for a hook that is not there any more.
    pub(crate) fn planned(&mut self, plan: &Plan, alarms: &Alarms) {
        self.failed.retain(|name, _| {
            let tenant = plan.tenant(name);
            let there = tenant.is_some_and(|tenant| tenant.hook.is_some());
            if !there {
                alarms.clear(HOOK_FAILING, &Subject::Tenant(name.clone()));
            }
            there
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_fails_every_other_time_is_an_alarm_each_time() {
        let (mut health, alarms) = (Health::default(), Alarms::default());
        let began = crate::clock::now().mono;
        for call in 0..10 {
            let now = began + Duration::from_secs(call);
            let fails = call % 2 == 0;
            let (result, why) = if fails { ("timeout", Some("slow")) } else { ("table", None) };
            health.asked(now, &alarms, ("contoso".to_owned(), result), why);
            assert_eq!(alarms.list().len(), 1);
        }
        let later = began + Duration::from_secs(80);
        health.asked(later, &alarms, ("contoso".to_owned(), "late"), None);
        assert_eq!(alarms.list().len(), 1, "what comes late is no good sign");
        health.asked(later, &alarms, ("contoso".to_owned(), "route"), None);
        assert!(alarms.list().is_empty());
    }
}
