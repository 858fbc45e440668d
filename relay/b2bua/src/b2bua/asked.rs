//! Calls that wait for a tenant's routing hook, and what ends their wait.

use super::B2bua;
use crate::call::incoming::Begun;
use crate::call::{ASKING_MAX, Call};
use crate::hook::{Failure, RouteAnswer};
use crate::io::{CallId, Event};
use sip_core::Request;

impl B2bua {
    /// Whether one more call may wait.
    pub(super) fn may_ask(&self) -> bool {
        self.asking.len() < ASKING_MAX
    }

    /// A new INVITE has become this.
    pub(super) fn begun(&mut self, id: CallId, begun: Begun) {
        match begun {
            Begun::Call(call) => {
                self.calls.insert(id, call);
            }
            Begun::Asks(asking) => {
                self.asking.insert(id, asking);
            }
            Begun::Refused => {}
        }
    }

    /// The hook has answered. That it comes too late is counted, and no more.
    pub(super) fn route_answered(&mut self, id: CallId, tenant: String, answer: RouteAnswer) {
        let Some(asking) = self.asking.remove(&id) else {
            return self.core.emit(Event::HookAsked { tenant, result: "late", why: None });
        };
        let call = asking.answered(&mut self.core, answer);
        self.decided(id, call);
    }

    /// The hook has not answered in time.
    pub(super) fn route_overdue(&mut self, id: CallId) {
        let Some(asking) = self.asking.remove(&id) else { return };
        let why = "there was no answer in time".to_owned();
        let call = asking.answered(&mut self.core, RouteAnswer::Failed(Failure::Timeout, why));
        self.decided(id, call);
    }

    /// The caller cancels a call that waits; whether it is one.
    pub(super) fn route_cancelled(&mut self, id: CallId, cancel: &Request) -> bool {
        let Some(asking) = self.asking.remove(&id) else { return false };
        asking.cancelled(&mut self.core, cancel);
        self.decided(id, None);
        true
    }

    /// The host stops: nobody waits any more.
    pub(super) fn stop_asking(&mut self) {
        for id in self.asking.keys().copied().collect::<Vec<_>>() {
            self.stop_asking_about(id);
        }
    }

    /// The host or the tenant of this call stops: it is refused.
    pub(super) fn stop_asking_about(&mut self, id: CallId) {
        let Some(asking) = self.asking.remove(&id) else { return };
        asking.shut_down(&mut self.core);
        self.decided(id, None);
    }

    fn decided(&mut self, id: CallId, call: Option<Call>) {
        match call {
            Some(call) => {
                self.calls.insert(id, Box::new(call));
            }
            None => self.core.servers.forget(id),
        }
    }
}
