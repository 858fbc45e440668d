//! Where a REFER leads: its Refer-To, judged, and ruled on like a new call of the tenant.

use super::Call;
use super::Parties;
use super::attempt::{Candidate, Referred};
use super::candidates::candidates;
use super::numbers::{self, Numbers, Whose};
use super::ruling::{self, Question, Ruling};
use crate::core::Core;
use crate::headers::Crossing;
use crate::io::{Event, PeerLeg};
use crate::party::{Called, Caller};
use crate::plan::{Plan, RouteFrom, TrunkKind};
use crate::routing::{self, Trace};
use rand_core::RngCore as _;
use sip_core::Uri;
use sip_core::usage::refer::Refer;
use std::sync::Arc;

/// Why a REFER is not accepted.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) why: String,
}

/// Where the target is, and how it is named there.
pub(super) struct Destination {
    pub(super) candidates: Vec<Candidate>,
    pub(super) emergency: bool,
    /// What it counts for at the fraud guard.
    pub(super) classes: Vec<Arc<str>>,
    pub(super) called: Called,
    /// Who calls, and what else is said of them.
    pub(super) caller: (Caller, Crossing),
    pub(super) whose: Whose,
    pub(super) referred: Referred,
}

impl Call {
    /// Where a Refer-To leads: back to Teams with its URI as it is (TDR-XFR-013, TDR-XFR-015), or,
    /// for a number at a name of ours, by the tenant's routes. Nowhere else: a far side must not
    /// make us call its friends.
    pub(super) fn destination(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        trunk: usize,
        refer: &Refer,
    ) -> Result<Destination, Refused> {
        let nowhere = || Refused {
            status: 403,
            why: "Refer-To leads nowhere that this call may go".to_owned(),
        };
        let plan = Arc::clone(&self.plan);
        let uri = Uri::parse(&refer.target).map_err(|_| nowhere())?;
        let host = String::from_utf8_lossy(uri.host).to_ascii_lowercase();
        let of = plan.trunks.get(trunk).ok_or_else(nowhere)?;
        let by = refer.referred_by.clone();
        let known = of.targets.iter().map(|target| &target.host).chain(&of.peer_names);
        let caller = self.staying(which);
        if of.kind == TrunkKind::Teams && known.into_iter().any(|name| *name == host) {
            // The URI goes as it is; a Teams user has no number in it.
            let unnamed = Called { user: String::new(), number: String::new() };
            let called = Called::of(&uri).unwrap_or(unnamed);
            let mut candidates = candidates(core, &plan, (&[trunk], &self.fqdn), false);
            candidates.sort_by_key(|candidate| candidate.target.host != host);
            let referred = Referred { uri: Some(refer.target.clone()), by };
            let (emergency, classes, whose) = (false, Vec::new(), self.whose());
            let names =
                Destination { candidates, emergency, classes, called, caller, whose, referred };
            return Ok(names);
        }
        let called = Called::of(&uri).ok_or_else(nowhere)?;
        self.routed(core, (trunk, &host), called, caller)?.ok_or_else(nowhere)
    }

    /// Where the routes of the tenant lead, as they are now: an INVITE born inside a call follows the
    /// newest plan. `None` where the one who asks may not have it called.
    fn routed(
        &mut self,
        core: &mut Core,
        (trunk, host): (usize, &str),
        called: Called,
        (caller, crossing): (Caller, Crossing),
    ) -> Result<Option<Destination>, Refused> {
        let newest = Arc::clone(&core.plan);
        let name = self.plan.trunks.get(trunk).map_or("", |trunk| trunk.name.as_str());
        let (Some(tenant), Some(via)) =
            (newest.tenants.named(&self.tenant), newest.trunk_named(name))
        else {
            return Ok(None);
        };
        let from = direction_of(&newest, via);
        let mut trace = Trace::default();
        let emergency = newest
            .tenants
            .get(tenant)
            .is_some_and(|tenant| routing::is_emergency(tenant, from, &called.number));
        let mut numbers = Numbers { called, caller, crossing };
        let stranger = Whose { tenant: None, from, emergency };
        // Who stays is named as inside already: only the number that is called is the trunk's.
        let mut received = numbers.clone();
        numbers::received(&newest, via, stranger, &mut received, &mut trace);
        numbers.called = received.called;
        let ours = match from {
            RouteFrom::Teams => newest.tenant_of_fqdn(host) == Some(tenant),
            // From a carrier, only to the tenant itself: nobody calls out at its cost.
            RouteFrom::Carrier => {
                newest.listeners.iter().any(|it| it.advertise.ip().to_string() == host)
                    && newest.numbers.tenant(&numbers.called.number) == Some(tenant)
            }
        };
        if !ours {
            return Ok(None);
        }
        let (at, draw) = (core.now.wall, core.rng.next_u64());
        let question = Question { tenant, from, via, numbers, emergency, at, draw, behind: None };
        let ruled = ruling::again(&newest, question, &mut trace);
        let why = match &ruled {
            Ok(ruling) => &ruling.decision.why,
            Err(refused) => &refused.why,
        };
        self.trace.note(format!("transfer: {why}"));
        let Ruling { numbers, decision, .. } = ruled.map_err(|refused| {
            core.emit(Event::Rejected {
                tenant: Some(self.tenant.clone()),
                reason: refused.reject,
            });
            // A transferor is told that it may not, whatever the reason is called elsewhere.
            Refused { status: 403, why: refused.why }
        })?;
        // The call goes on with the trunks it began with: one that is new is not among them.
        let names = decision.trunks.iter().filter_map(|trunk| newest.trunks.get(*trunk));
        let trunks: Vec<usize> =
            names.filter_map(|trunk| self.plan.trunk_named(&trunk.name)).collect();
        let plan = Arc::clone(&self.plan);
        let emergency = decision.emergency;
        Ok(Some(Destination {
            candidates: candidates(core, &plan, (&trunks, &self.fqdn), emergency),
            emergency,
            classes: Vec::new(),
            called: numbers.called,
            caller: (numbers.caller, numbers.crossing),
            whose: Whose { tenant: Some(tenant), from, emergency },
            // Referred-By names people of the transferor's network, whom a carrier does not know.
            referred: Referred { uri: None, by: None },
        }))
    }

    /// The one who stays, as the caller of the target.
    fn staying(&self, which: PeerLeg) -> (Caller, Crossing) {
        let Parties { caller, called: callee, crossing, .. } = &self.parties;
        match which {
            // What the INVITE of the call said of its caller holds for no one else.
            PeerLeg::A => (Caller::of_called(callee), Crossing::default()),
            PeerLeg::B => (caller.clone(), crossing.clone()),
        }
    }
}

/// The direction of what a trunk asks for.
pub(super) fn direction_of(plan: &Plan, trunk: usize) -> RouteFrom {
    let trunk = plan.trunks.get(trunk);
    trunk.map_or(RouteFrom::Teams, |trunk| routing::direction_from(trunk.kind))
}
