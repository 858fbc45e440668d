//! What is shown of the user agent: to the operator, in metrics and to tests.

use super::B2bua;
use crate::call::{Explanation, Inquiry, explain};
use crate::io::{CallView, CrowdedView, DrainView, FqdnView, Now, TargetView};
use crate::microsoft::Microsoft;
use crate::trunk::Health;
use bytes::Bytes;
use std::time::Instant;

impl B2bua {
    /// The calls that are up, for the operator.
    pub fn calls(&self, now: Instant) -> Vec<CallView> {
        self.calls.values().map(|call| call.view(now)).collect()
    }

    /// The tenant whose call has a leg with this Call-ID, or calls with it. Cheap, however many calls are up.
    pub fn tenant_of(&self, call_id: &[u8]) -> Option<String> {
        let call_id = Bytes::copy_from_slice(call_id);
        let mut from = self.core.dialogs.range((call_id.clone(), Bytes::new())..);
        let (_, (call, _)) = from.next().filter(|(key, _)| key.0 == call_id)?;
        self.calls.get(call).map(|call| call.tenant_name().to_owned())
    }

    /// What far sides are told of a listener.
    pub fn advertised(&self, listener: &str) -> Option<std::net::SocketAddr> {
        let listeners = &self.core.plan.listeners;
        listeners.iter().find(|one| one.name == listener).map(|one| one.advertise)
    }

    /// What would become of a call that an operator imagines; nothing comes of it. Otherwise why it cannot
    /// be asked.
    pub fn explain(&mut self, now: Now, inquiry: &Inquiry) -> Result<Explanation, String> {
        self.core.now = now;
        explain(&mut self.core, inquiry)
    }

    /// The targets of all trunks, for the operator.
    pub fn targets(&self, now: Instant) -> Vec<TargetView> {
        Health::view(&self.core, now)
    }

    /// Calls on each trunk, in and out.
    pub fn trunk_calls(&self) -> Vec<(String, [u32; 2])> {
        let trunks = self.core.plan.trunks.iter();
        let calls = |trunk: &str| self.core.admission.trunk_calls(trunk);
        trunks.map(|trunk| (trunk.name.clone(), calls(&trunk.name))).collect()
    }

    /// Whether a tenant of this name is in force.
    pub fn has_tenant(&self, name: &str) -> bool {
        self.core.plan.tenants.named(name).is_some()
    }

    /// Who takes no new calls for a while.
    pub fn drains(&self, now: Now) -> Vec<DrainView> {
        self.core.drains.view(now, |tenant| match tenant {
            None => self.calls.len() + self.asking.len(),
            Some(name) => {
                let calls = self.calls.values().filter(|call| call.is_of(name)).count();
                calls + self.asking.values().filter(|asking| asking.is_of(name)).count()
            }
        })
    }

    /// What Microsoft makes of us: under the FQDNs that we send OPTIONS under, or all of this tenant
    /// beside the bases of its trunks.
    pub fn fqdns(&self, now: Instant, tenant: Option<&str>) -> Vec<FqdnView> {
        Microsoft::view(&self.core, now, tenant)
    }

    /// Who has nearly as many calls as it may have.
    pub fn crowded(&self) -> Vec<CrowdedView> {
        self.core.admission.crowded(&self.core.plan)
    }

    /// Media ports in use (not pairs).
    pub fn media_ports_in_use(&self) -> usize {
        self.core.ports.in_use()
    }

    /// The trunks whose media ports are all in use or at rest, and which have wanted one.
    pub fn trunks_without_ports(&mut self, now: Instant) -> Vec<String> {
        self.core.ports.wanting(now, &self.core.plan)
    }

    /// What is held: for leak tests and metrics.
    pub fn held(&self) -> Held {
        Held {
            calls: self.calls.len() + self.asking.len(),
            transactions: self.core.layer.len(),
            clients: self.core.clients.len(),
            servers: self.core.servers.len() + self.core.farewells.len(),
            dialogs: self.core.dialogs.len(),
            counted: self.core.admission.taken() + self.core.fraud.running(),
        }
    }
}

/// Sizes of the tables; all but `transactions` are zero when no call is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Calls, with those that wait for a routing hook or for their media to close.
    pub calls: usize,
    /// Transactions, with those that only wait for repeats.
    pub transactions: usize,
    /// Client transactions that somebody waits for.
    pub clients: usize,
    /// INVITE server transactions that somebody answers.
    pub servers: usize,
    /// Dialogs, by our tags.
    pub dialogs: usize,
    /// Places that calls take in limits, and those that run at the fraud guard.
    pub counted: usize,
}
