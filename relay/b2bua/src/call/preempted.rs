//! A call that gives way to one for help (RFC 4411).

use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::MediaPort;
use crate::plan::{MediaPlace, Plan};
use crate::port_pool;

/// What its far sides are told: Q.850 has a cause for it, and so has SIP.
const WHY: &str = "Q.850;cause=8, Preemption;cause=3;text=\"Generic Preemption\"";

impl Call {
    /// Whether it may have to: it helps nobody.
    pub(crate) fn is_preemptible(&self) -> bool {
        !self.emergency && !matches!(self.phase, Phase::Ending)
    }

    /// Whether a leg on this trunk whose far side is there could have one of its pairs of ports, on this
    /// worker if it has to be on one.
    pub(crate) fn has_ports_for(
        &self,
        plan: &Plan,
        leg: (usize, MediaPlace),
        worker: Option<usize>,
    ) -> bool {
        let fits = |port: &MediaPort| port_pool::fits(plan, leg, port);
        self.media.ports.is_some_and(|ports| {
            worker.is_none_or(|worker| worker == ports.worker) && (fits(&ports.a) || fits(&ports.b))
        })
    }

    pub(crate) fn goes_out_on(&self, trunk: &str) -> bool {
        self.trunk_out.as_deref() == Some(trunk)
    }

    pub(crate) fn came_in_on(&self, trunk: &str) -> bool {
        self.record.trunk_in == trunk
    }

    pub(crate) fn tenant_name(&self) -> &str {
        &self.tenant
    }

    /// Ends for the sake of another.
    pub(crate) fn give_way(&mut self, core: &mut Core) -> Fate {
        match &self.phase {
            Phase::Setup(_) => {
                self.abandon(core, Some(WHY.to_owned()));
                self.outcome("preempted");
                self.fail(core, 503, "preempted")
            }
            Phase::Up(_) => self.hang_up(core, None, Some(WHY), "preempted"),
            Phase::Ending => Fate::Lives,
        }
    }

    /// Its ports are another's: they close first and open next, on the same worker, so that nobody waits.
    pub(crate) fn give_ports(&mut self, core: &mut Core) {
        if let Some(ports) = self.media.ports.take() {
            core.ports.give(ports.worker, [ports.a, ports.b]);
        }
    }

    /// Whether a trunk that is full is to lose a call first, for this one for help.
    pub(super) fn pushes(&mut self, core: &mut Core, trunk: &str) -> bool {
        let emergency = self.emergency;
        let Some(setup) = self.setup().filter(|setup| emergency && !setup.pushed) else {
            return false;
        };
        setup.pushed = true;
        core.preempting.push((self.id, trunk.to_owned()));
        true
    }
}
