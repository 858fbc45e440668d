//! Room for a call for help where there is none: an ordinary call gives way (TDR-EMG-002). Bounds of ours
//! hold no such call back; what is really used up, media ports and a carrier's channels, somebody else
//! has to give.

use super::B2bua;
use crate::call::Fate;
use crate::io::{CallId, Event, Flow};
use crate::party::Called;
use crate::plan::{Plan, RouteFrom};
use crate::routing::{self, Query, Trace};
use sip_core::Request;
use std::sync::Arc;

impl B2bua {
    /// Frees ports for this INVITE, if it calls for help and there are none for either of its legs. What
    /// it does not take is to be [taken back](crate::port_pool::PortPool::take_back).
    pub(super) fn make_room(&mut self, flow: &Flow, request: &Request) {
        if !crate::overload::is_emergency(&self.core, flow, request) {
            return;
        }
        let plan = Arc::clone(&self.core.plan);
        let Some(via) = plan.trunk_named(&flow.trunk) else { return };
        let out = leads_to(&plan, via, request, self.core.now.wall);
        let at = |trunk| plan.media_of(trunk).map(|(home, _)| home.bind);
        let both = out.is_some_and(|out| at(out) == at(via));
        for trunk in [Some(via), out].into_iter().flatten() {
            let now = self.core.now.mono;
            let given = both && self.core.ports.given_by().is_some();
            if given || self.core.ports.has_pairs(now, &plan, trunk, 1 + usize::from(both)) {
                continue;
            }
            let calls = self.calls.iter().rev();
            let mut ordinary = calls.filter(|(_, call)| call.is_preemptible());
            let worker = self.core.ports.given_by();
            let found = ordinary.find(|(_, call)| call.has_ports_of(&plan, trunk, worker));
            if let Some(id) = found.map(|(id, _)| *id) {
                self.preempt(id, true);
            }
        }
    }

    /// A call for help finds a carrier's trunk as full as it may be: the ordinary call that began last
    /// there gives way, and the call goes on.
    pub(super) fn make_way(&mut self) {
        while let Some((helped, trunk)) = self.core.preempting.pop() {
            let calls = || self.calls.iter().rev().filter(|(_, call)| call.is_preemptible());
            let found = calls().find(|(_, call)| call.goes_out_on(&trunk));
            let found = found.or_else(|| calls().find(|(_, call)| call.came_in_on(&trunk)));
            if let Some(id) = found.map(|(id, _)| *id) {
                self.preempt(id, false);
            }
            self.with(helped, |call, core| call.try_next(core));
        }
    }

    fn preempt(&mut self, id: CallId, gives_ports: bool) {
        let Some(call) = self.calls.get(&id) else { return };
        let tenant = call.tenant_name().to_owned();
        self.core.emit(Event::Preempted { call: id, tenant });
        self.with(id, |call, core| {
            let fate = call.give_way(core);
            if gives_ports && fate == Fate::Lives {
                call.give_ports(core);
            }
            fate
        });
    }
}

/// The trunk that a call to an emergency number tries first.
fn leads_to(
    plan: &Plan,
    via: usize,
    request: &Request,
    at: std::time::SystemTime,
) -> Option<usize> {
    let uri = request.request_uri().ok()?;
    let called = Called::of(&uri)?;
    let host = String::from_utf8_lossy(uri.host).to_ascii_lowercase();
    let tenant = plan.tenant_of_fqdn(&host)?;
    let query = Query {
        tenant,
        from: RouteFrom::Teams,
        via,
        called: &called.number,
        emergency: true,
        calling: "",
        at,
        draw: 0,
    };
    let decision = routing::decide(plan, &query, &mut Trace::default()).ok()?;
    decision.trunks.first().copied()
}
