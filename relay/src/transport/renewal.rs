//! Certificates that take the place of others under open connections (TDR-CRT-007): what we show from now
//! on is shown on new ones, and those that show what we do not any more go when nobody needs them.

use super::admission::InForce;
use super::flow::Origin;
use super::tcp::Way;
use super::{Shared, clock};
use crate::alarms::{self, Subject};
use b2bua::io::{Flow, FlowId, Target};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Without a message for so long no transaction is left on a connection (RFC 3261, 17: 64 times T1), but
/// for an INVITE that rings.
const QUIET: Duration = Duration::from_secs(32);

/// After so many times [`QUIET`] it goes all the same: no INVITE rings longer than timer C (RFC 3261, 16.6).
const QUIETS_MAX: u32 = 8;

/// After so long without another refusal, one is history.
const REFUSAL_STANDS: Duration = Duration::from_secs(3600);

impl Shared {
    /// Other certificates are in force: connections that we have opened with one that is gone are opened
    /// anew at once, before a call needs them (TDR-CON-001), and the old ones retire.
    pub(super) fn renew(self: &Arc<Self>, force: &Arc<InForce>) {
        let stale = self.flows.find(|open| {
            let shown = &open.secured.as_ref()?.shown;
            let again = match &open.origin {
                Origin::Opened(key, own_name) => {
                    Some(Target { own_name: own_name.clone(), ..key.target.clone() })
                }
                Origin::Accepted => None,
            };
            (!force.identities.has(shown.fingerprint())).then_some((open.flow.id, again))
        });
        if stale.is_empty() {
            return;
        }
        tracing::info!(
            connections = stale.len(),
            "certificate has changed; connections are renewed"
        );
        for (id, again) in &stale {
            self.flows.unpool(*id);
            if let Some(target) = again
                && let Ok(way) = Way::to(force, target)
            {
                self.send_by(way, target.clone(), None);
            }
        }
        self.retire(stale.into_iter().map(|(id, _)| id).collect());
    }

    /// Closes these when they are quiet. Dialogs do not notice: they are bound to no connection.
    fn retire(self: &Arc<Self>, flows: Vec<FlowId>) {
        let shared = Arc::clone(self);
        self.runtimes.core.spawn(async move {
            let seen = |id: FlowId| Some((id, shared.flows.messages(id)?));
            let mut left: Vec<(FlowId, u32)> = flows.into_iter().filter_map(seen).collect();
            for _ in 0..QUIETS_MAX {
                tokio::time::sleep(QUIET).await;
                left.retain_mut(|(id, before)| match shared.flows.messages(*id) {
                    Some(now) if now != *before => {
                        *before = now;
                        true
                    }
                    _ => {
                        shared.flows.remove(*id);
                        false
                    }
                });
                if left.is_empty() {
                    return;
                }
            }
            left.into_iter().for_each(|(id, _)| shared.flows.remove(id));
        });
    }

    /// Looks at a flow whose handshake began under `begun` with the eyes of now.
    pub(super) fn look_again(self: &Arc<Self>, begun: &Arc<InForce>, id: FlowId) {
        let now = self.force.load_full();
        if Arc::ptr_eq(begun, &now) {
            return;
        }
        let wall = clock::now().wall;
        let kept = self.flows.find(|open| {
            let shown = open.secured.as_ref().map(|secured| secured.shown.fingerprint());
            let same = open.flow.id == id;
            same.then(|| (now.keeps(begun, open, wall), shown))
        });
        match kept.first() {
            Some((false, _)) => self.flows.remove(id),
            Some((true, Some(shown))) if !now.identities.has(*shown) => {
                self.flows.unpool(id);
                self.retire(vec![id]);
            }
            _ => {}
        }
    }

    /// Whether the certificate on a flow is not the one that a request of ours should be seen with: it
    /// does not cover the name that the request goes by (TDR-CON-005), or is none of ours any more.
    pub(super) fn shows_another(&self, flow: &Flow, target: &Target) -> bool {
        let Some(own_name) = &target.own_name else { return false };
        let Some(shown) = self.flows.shown(flow.id) else { return false };
        let force = self.force.load();
        let Some(trunk) = force.plan.trunk_named(&target.trunk) else { return false };
        let Some(wanted) = force.tls.identity(trunk, &force.identities, Some(own_name)) else {
            return false;
        };
        let fits = || shown.covers(own_name) && force.identities.has(shown.fingerprint());
        wanted.fingerprint() != shown.fingerprint() && !fits()
    }

    /// A peer of a trunk was refused now.
    pub(super) fn note_refusal(&self, trunk: &str) {
        let now = clock::now().mono;
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.insert(trunk.to_owned(), now);
    }

    /// Ends the alarms of refused peers that `keep` does not want, by trunk and when it was.
    pub(super) fn forget_refusals(&self, keep: impl Fn(&str, Instant) -> bool) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|trunk, at| {
            let stays = keep(trunk, *at);
            if !stays {
                self.alarms.clear(alarms::PEER_REFUSED, &Subject::Trunk(trunk.clone()));
            }
            stays
        });
    }
}

impl super::Transports {
    /// Ends alarms of peers that were refused long ago.
    pub fn forget_refusals(&self) {
        let now = clock::now().mono;
        self.shared.forget_refusals(|_, at| now.saturating_duration_since(at) < REFUSAL_STANDS);
    }
}
