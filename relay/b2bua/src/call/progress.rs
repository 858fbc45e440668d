//! Teams hears that a call makes its way though its carrier has not said a word yet: without that it would
//! try another trunk, and the callee's telephone would ring twice (TDR-FO-012).

use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::plan::RouteFrom;
use crate::timers::Timer;

impl Call {
    /// Has Teams told after a while, where the tenant wants that.
    pub(super) fn arm_progress(&self, core: &mut Core) {
        let tenant = self.own_tenant();
        let after = tenant.and_then(|tenant| tenant.progress_after);
        if let (RouteFrom::Teams, Some(after)) = (self.direction, after) {
            core.arm(after, Timer::Progress(self.id));
        }
    }

    /// Long enough: 183 without SDP, unless something was said already.
    pub(crate) fn progress_due(&mut self, core: &mut Core) -> Fate {
        if matches!(&self.phase, Phase::Setup(setup) if setup.ringing.told.is_none() && !setup.ringing.described)
        {
            self.ring(core, 183);
            // That word was ours: the callee's first is still to come.
            if let Phase::Setup(setup) = &mut self.phase {
                setup.ringing.told = None;
            }
        }
        Fate::Lives
    }
}
