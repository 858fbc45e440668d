//! A tenant of Microsoft's and its way to the first call: what has to be set up there, and whether it is.
//!
//! ```text
//! onboard.rs     what a Teams admin has to do, filled in from the configuration (pure)
//! powershell.rs  its commands, quoted so that no value is read as one
//! judge.rs       what was found, line by line, with what to do about it (pure)
//! facts.rs       what there is to be found
//! probe.rs       finding it: DNS, connections, TLS, OPTIONS, the daemon, the clock
//! wire.rs        one connection to Teams, and one to ourselves as Teams would make it
//! ```

mod facts;
mod judge;
pub(crate) mod onboard;
mod powershell;
mod probe;
mod wire;

pub(crate) use judge::{Finding, Verdict, judge};
pub(crate) use probe::look;

use b2bua::Plan;
use b2bua::plan::{Model, Tenant};

/// How Microsoft knows an FQDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// As the carrier's trunk itself.
    Base,
    /// As a name below it, which a customer's voice routes lead to; it has no trunk of its own.
    Derived,
    /// As a trunk in the customer's own tenant.
    Classic,
}

impl Known {
    /// How the FQDN of a tenant is known on this trunk.
    pub(crate) fn of(plan: &Plan, trunk: usize, tenant: &Tenant, fqdn: &str) -> Self {
        match (plan.base_of(trunk) == fqdn, tenant.model) {
            (true, _) => Self::Base,
            (false, Model::Carrier) => Self::Derived,
            (false, Model::Classic) => Self::Classic,
        }
    }
}

/// The FQDNs of a tenant, each with the trunk that it belongs to: the one whose base it is, or is below,
/// else the first that the tenant uses.
fn places<'a>(plan: &Plan, tenant: &'a Tenant) -> Vec<(&'a str, usize)> {
    let trunks = plan.teams_trunks_of(tenant);
    let place = |fqdn: &'a String| {
        let below = |trunk: &usize| {
            let rest = fqdn.strip_suffix(plan.base_of(*trunk));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let found = trunks.iter().copied().find(below).or_else(|| trunks.first().copied())?;
        Some((fqdn.as_str(), found))
    };
    tenant.own_fqdns().filter_map(place).collect()
}
