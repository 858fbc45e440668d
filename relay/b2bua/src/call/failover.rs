//! When a target gives way to the next one, by what its trunk and the call's route say, and what its
//! breaker learns of it.

use super::Call;
use super::attempt::Candidate;
use super::setup::Setup;
use crate::breaker::Failure;
use crate::core::Core;
use crate::plan::{Breaker, Failover, Plan, Tenant};
use std::sync::Arc;
use std::time::Duration;

/// A target that says nothing for so long gives way to the next, if nothing else is configured: three
/// of them fit in the 10 s that Microsoft allows before it fails over itself (TDR-FO-001, TDR-FO-006,
/// TDR-FO-012).
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What the route of a call says, which wins over what trunks say.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteTerms {
    failover: Option<Failover>,
    answer_timeout: Option<Duration>,
}

/// The target that is tried, for its breaker.
pub(super) struct Watched {
    target: String,
    breaker: Breaker,
}

impl RouteTerms {
    pub(super) fn of(tenant: Option<&Tenant>, route: Option<usize>) -> Self {
        let route = tenant.zip(route).and_then(|(tenant, route)| tenant.routes.get(route));
        Self {
            failover: route.and_then(|route| route.failover().cloned()),
            answer_timeout: route.and_then(|route| route.answer_timeout()),
        }
    }

    /// After which responses of this trunk the next target is tried.
    fn failover(&self, plan: &Plan, trunk: usize) -> Failover {
        let trunk = || plan.trunks.get(trunk)?.failover.clone();
        self.failover.clone().or_else(trunk).unwrap_or_default()
    }

    /// How long a target of this trunk may say nothing.
    pub(super) fn answer_timeout(&self, plan: &Plan, trunk: usize) -> Duration {
        let trunk = || plan.trunks.get(trunk)?.answer_timeout;
        self.answer_timeout.or_else(trunk).unwrap_or(SILENCE_MAX)
    }
}

impl Watched {
    /// Only what is configured is watched: neither a redirection nor a PBX that has registered.
    pub(super) fn of(plan: &Plan, candidate: &Candidate) -> Option<Self> {
        let trunk = plan.trunks.get(candidate.trunk)?;
        let configured =
            candidate.redirected.is_none() && trunk.targets.contains(&candidate.target);
        let breaker = trunk.breaker.filter(|_| configured)?;
        Some(Self { target: candidate.target.to_string(), breaker })
    }
}

impl Setup {
    /// Whether something that waits can be tried.
    fn has_another(&self) -> bool {
        self.waiting.iter().any(|candidate| candidate.to.is_ok())
    }
}

impl Call {
    /// Whether the next target is tried after the one on this trunk has answered so.
    pub(super) fn fails_over(&mut self, trunk: usize, status: u16) -> bool {
        let plan = Arc::clone(&self.plan);
        self.setup().is_some_and(|setup| setup.terms.failover(&plan, trunk).holds(status))
    }

    /// Whether a target that was to be tried has begun to rest meanwhile, or another call tries it.
    pub(super) fn has_begun_to_rest(&mut self, core: &Core, candidate: &Candidate) -> bool {
        let Ok(to) = &candidate.to else { return false };
        let another = !self.emergency && self.setup().is_some_and(|setup| setup.has_another());
        another && core.breakers.rests(core.now.mono, &to.endpoint()).is_some()
    }

    /// The target has answered.
    pub(super) fn target_answered_so(&mut self, core: &mut Core, trunk: usize, status: u16) {
        let plan = Arc::clone(&self.plan);
        let Some(setup) = self.setup() else { return };
        if status == 100 || setup.watched.is_none() {
            return;
        }
        // What the trunk says: a route that is easily content does not make a target better.
        match RouteTerms::default().failover(&plan, trunk).is_trouble(status) {
            true => self.target_in_trouble(core, Failure::Trouble(status)),
            false => {
                let to = setup.attempt.as_ref().map(|attempt| attempt.to());
                let event = to.and_then(|to| core.breakers.served(&to));
                event.into_iter().for_each(|event| core.emit(event));
            }
        }
    }

    /// A call has failed at the target for a reason of the target's.
    pub(super) fn target_in_trouble(&mut self, core: &mut Core, failure: Failure) {
        let Some(setup) = self.setup() else { return };
        let (Some(watched), Some(attempt)) = (&setup.watched, &setup.attempt) else { return };
        let of = (&attempt.to(), watched.target.as_str());
        let event = core.breakers.failed(core.now.mono, of, watched.breaker, failure);
        event.into_iter().for_each(|event| core.emit(event));
    }
}

impl Core {
    /// Follows a new snapshot in who may rest.
    pub(crate) fn let_rest(&mut self) {
        let plan = Arc::clone(&self.plan);
        let events = self.breakers.follow(&plan);
        events.into_iter().for_each(|event| self.emit(event));
    }
}
