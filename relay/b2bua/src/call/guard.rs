//! What a call that calls somebody else, by REFER or a redirection, may still do, and what each of its
//! legs counts for at the fraud guard.

use super::Call;
use crate::admission::Full;
use crate::core::Core;
use crate::fraud::{LOOK, Toll};
use crate::io::PeerLeg;
use crate::party::Called;
use crate::plan::{RouteFrom, Tenant};
use crate::record::CLASSES_MAX;
use crate::reject::Reject;
use crate::timers::Timer;
use std::sync::Arc;

impl Call {
    /// Whether a leg of the call may have somebody else called, by the bounds that are in force now; the
    /// classes that this counts for, if it leads out of Teams.
    pub(super) fn may_call_again(
        &self,
        core: &mut Core,
        from: RouteFrom,
        called: Option<&Called>,
        emergency: bool,
    ) -> Result<Vec<Arc<str>>, Full> {
        let plan = Arc::clone(&core.plan);
        let tenant = plan.tenant(&self.tenant);
        let Some(tenant) = tenant else {
            return Err(Full { reject: Reject::UnknownTenant, why: "the tenant is gone".into() });
        };
        may_call(tenant, emergency)?;
        let now = core.now.mono;
        let classes = match called {
            Some(called) if from == RouteFrom::Teams && !emergency => {
                core.fraud.would_allow(now, tenant, &called.number)?
            }
            _ => Vec::new(),
        };
        core.admission.calls_again(now, tenant, (from, emergency))?;
        Ok(classes)
    }

    /// A leg goes to a number of these classes from now on, whatever it went to before.
    pub(super) fn takes_toll(&mut self, core: &mut Core, which: PeerLeg, toll: Option<Toll>) {
        self.toll_is_over(core, which);
        *self.toll(which) = toll;
    }

    /// A call goes out to a number of these classes.
    pub(super) fn begin_toll(&mut self, core: &mut Core, classes: Vec<Arc<str>>) -> Option<Toll> {
        if classes.is_empty() {
            return None;
        }
        for class in &classes {
            let known = &mut self.record.classes;
            if !known.iter().any(|it| **it == **class) && known.len() < CLASSES_MAX {
                known.push(class.to_string());
            }
        }
        let toll = core.fraud.begin(core.now.mono, &self.tenant, classes);
        core.look_at_ceilings_of(&self.tenant);
        Some(toll)
    }

    /// The leg is answered: its minutes count.
    pub(super) fn toll_runs(&mut self, core: &mut Core, which: PeerLeg) {
        let now = core.now.mono;
        if let Some(toll) = self.toll(which) {
            core.fraud.answered(now, toll);
        }
    }

    /// The leg is over, or goes elsewhere.
    pub(super) fn toll_is_over(&mut self, core: &mut Core, which: PeerLeg) {
        let now = core.now.mono;
        if let Some(toll) = self.toll(which).take() {
            core.fraud.ended(now, &toll);
        }
    }

    const fn toll(&mut self, which: PeerLeg) -> &mut Option<Toll> {
        match which {
            PeerLeg::A => &mut self.tolls.0,
            PeerLeg::B => &mut self.tolls.1,
        }
    }
}

/// Whether a tenant makes and takes calls at all.
pub(super) fn may_call(tenant: &Tenant, emergency: bool) -> Result<(), Full> {
    match tenant.suspended && !emergency {
        true => Err(Full {
            reject: Reject::TenantSuspended,
            why: format!("tenant {} is suspended", tenant.name),
        }),
        false => Ok(()),
    }
}

impl Core {
    /// Looks at the ceilings of all tenants: minutes have gone by, or a snapshot is new.
    pub(crate) fn look_at_ceilings(&mut self) {
        let plan = Arc::clone(&self.plan);
        let events = self.fraud.look(self.now.mono, &plan);
        events.into_iter().for_each(|event| self.emit(event));
        self.look_later();
    }

    /// [`LOOK`] is over.
    pub(crate) fn look_again(&mut self) {
        self.fraud.looking = false;
        self.look_at_ceilings();
    }

    fn look_at_ceilings_of(&mut self, tenant: &str) {
        let plan = Arc::clone(&self.plan);
        let events = self.fraud.look_at(self.now.mono, &plan, tenant);
        events.into_iter().for_each(|event| self.emit(event));
        self.look_later();
    }

    fn look_later(&mut self) {
        if !self.fraud.looking && !self.fraud.is_empty() {
            self.fraud.looking = true;
            self.arm(LOOK, Timer::Ceilings);
        }
    }
}
