//! Under which number somebody calls for help: one that whoever answers can call back (TDR-EMG-005,
//! TDR-EMG-010).

use super::Call;
use super::numbers::Numbers;
use crate::callback::{Callbacks, LentNumber};
use crate::core::Core;
use crate::io::Output;
use crate::party::{Caller, number_in};
use crate::plan::{CALL_BACK, Pidf, Plan, Tenant};
use crate::routing::Trace;
use std::time::{Duration, Instant};

/// A number that stands for a place, and the user that it is to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elin {
    pub(crate) number: String,
    pub(crate) user: String,
}

/// Who is asked who has called under which number, and when.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) now: Instant,
    pub(crate) callbacks: &'a Callbacks,
}

/// Shows the caller of an emergency call under a number of the tenant, hidden or not; the ELIN among
/// them, if one is used.
pub(crate) fn show(
    asked: Asked<'_>,
    plan: &Plan,
    (index, pidf): (usize, Option<Pidf>),
    numbers: &mut Numbers,
    trace: &mut Trace,
) -> Option<Elin> {
    let tenant = plan.tenants.get(index)?;
    let owned = |user: &str| plan.numbers.tenant(&number_in(user)) == Some(index);
    let user = match numbers.caller.is_anonymous() {
        false => Some(numbers.caller.user.as_str()).filter(|user| !user.is_empty()),
        true => None,
    };
    let vouched = || numbers.crossing.vouched().find(|user| owned(user));
    let own = user.filter(|user| owned(user)).or_else(vouched).map(str::to_owned);
    if pidf == Some(Pidf::Elin)
        && let Some(elins) = elins(tenant, numbers, owned, trace)
    {
        let user = own.or_else(|| user.map(str::to_owned));
        let chosen = asked.callbacks.choose(asked.now, &tenant.name, &elins, user.as_deref());
        let number = chosen.cloned()?;
        show_as(numbers, &number, "ELIN", trace);
        return user.map(|user| Elin { number, user });
    }
    let hidden = numbers.caller.is_anonymous();
    match (own, &tenant.help.caller) {
        (Some(own), _) if hidden => show_as(numbers, &own, "its own number", trace),
        (Some(_), _) => {}
        (None, Some(default)) => show_as(numbers, default, "emergency_caller", trace),
        (None, None) => trace.note("the caller has no number that could be called back".to_owned()),
    }
    None
}

/// The numbers that stand for where the caller is: those that the location names and that are the
/// tenant's, else those of the tenant's table.
fn elins(
    tenant: &Tenant,
    numbers: &Numbers,
    owned: impl Fn(&str) -> bool,
    trace: &mut Trace,
) -> Option<Vec<String>> {
    let civic = numbers.crossing.civic();
    let named: Vec<String> = civic.elins().filter(|number| owned(number)).collect();
    if !named.is_empty() {
        return Some(named);
    }
    let is_here = |civic_of: &[(Box<str>, Box<str>)]| {
        !civic_of.is_empty() && civic_of.iter().all(|(element, text)| civic.says(element, text))
    };
    let locations = || tenant.help.locations.iter();
    let found = locations().find(|location| is_here(&location.civic));
    let found = found.or_else(|| locations().find(|location| location.civic.is_empty()));
    match found {
        Some(location) => {
            trace.note(format!("the caller is at location {}", location.name));
            Some(location.elins.iter().map(|elin| elin.to_string()).collect())
        }
        None => {
            trace.note("no location is where the caller is, and none is for such".to_owned());
            None
        }
    }
}

fn show_as(numbers: &mut Numbers, number: &str, why: &str, trace: &mut Trace) {
    trace.note(format!("calling {} shown as {number} ({why})", numbers.caller.user));
    numbers.crossing.reveal(number);
    numbers.caller = Caller::of_number(number);
}

impl Call {
    /// From now on whoever calls its ELIN reaches its caller.
    pub(super) fn lend_elin(&self, core: &mut Core) {
        let Some(elin) = &self.elin else { return };
        // A call may last: the time counts anew from its end.
        let keep = self.call_back().max(CALL_MAX);
        core.callbacks.lend((core.now.mono, keep), &self.tenant, &elin.number, &elin.user);
        self.have_kept(core, elin, keep);
    }

    /// The call is over: its caller can still be called back for the time that the tenant says.
    pub(super) fn keep_elin(&self, core: &mut Core) {
        let Some(elin) = &self.elin else { return };
        let keep = self.call_back();
        let now = (core.now.mono, keep);
        if core.callbacks.ended(now, &self.tenant, &elin.number, &elin.user) {
            self.have_kept(core, elin, keep);
        }
    }

    /// Has the next process know whom the number leads to: a call back does not ask whether we were
    /// started anew.
    fn have_kept(&self, core: &mut Core, elin: &Elin, keep: Duration) {
        core.outputs.push_back(Output::Lent(LentNumber {
            tenant: self.tenant.clone(),
            number: elin.number.clone(),
            user: elin.user.clone(),
            until: core.now.wall + keep,
        }));
    }

    fn call_back(&self) -> Duration {
        let tenant = self.own_tenant();
        tenant.map_or(CALL_BACK, |tenant| tenant.help.call_back())
    }
}

/// Longer than any call for help: whoever calls has the number to the end of the call.
const CALL_MAX: Duration = Duration::from_secs(24 * 3600);
