//! Room for a call for help where there is none: an ordinary call gives way (TDR-EMG-002). Bounds of ours
//! hold no such call back; what is really used up, media ports and a carrier's channels, somebody else
//! has to give.

use super::B2bua;
use crate::call::Fate;
use crate::call::incoming::{Arrival, Open};
use crate::io::{CallId, Event};
use crate::plan::{MediaPlace, Plan};
use std::sync::Arc;

impl B2bua {
    /// Frees ports for this INVITE, if it calls for help and there are none for either of its legs. What
    /// it does not take is to be [taken back](crate::port_pool::PortPool::take_back).
    pub(super) fn make_room(&mut self, arrival: &Arrival, open: &Open) {
        let Some([mut a, b]) = arrival.legs_for_help(&mut self.core, open) else { return };
        let plan = Arc::clone(&self.core.plan);
        if !self.has_room(&plan, a, 0) {
            // It will have its ports in the other place, and there the other leg may want the last.
            a.1 = a.1.other();
            self.has_room(&plan, a, 0);
        }
        self.has_room(&plan, b, usize::from(shares_ports(&plan, a, b)));
    }

    /// Whether there is a pair of ports for this leg beside so many others; if need be somebody gives way.
    fn has_room(&mut self, plan: &Plan, leg: (usize, MediaPlace), others: usize) -> bool {
        if self.core.ports.has_pairs(self.core.now.mono, plan, leg, others + 1) {
            return true;
        }
        let calls = self.calls.iter().rev();
        let mut ordinary = calls.filter(|(_, call)| call.is_preemptible());
        let worker = self.core.ports.given_by();
        let found = ordinary.find(|(_, call)| call.has_ports_for(plan, leg, worker));
        let found = found.map(|(id, _)| *id);
        found.into_iter().for_each(|id| self.preempt(id, true));
        found.is_some()
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

/// Whether two legs have their ports out of the same ones.
fn shares_ports(plan: &Plan, one: (usize, MediaPlace), other: (usize, MediaPlace)) -> bool {
    let at = |(trunk, place)| plan.media_at(trunk, place);
    at(one).zip(at(other)).is_some_and(|((one, ports), (other, others))| {
        one.bind == other.bind && ports.start() <= others.end() && others.start() <= ports.end()
    })
}
