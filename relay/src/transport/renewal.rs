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

/// How often connections that retire are looked at.
const LOOK: Duration = Duration::from_secs(32);

/// After so many looks without a message no transaction is left on one: an INVITE that rings is told of
/// within timer C, which is three minutes (RFC 3261, 16.6), and all others end within 64 times T1 (17).
const QUIET_LOOKS: u32 = 6;

/// After so many it goes all the same: a peer's keepalives do not hold it for ever.
const LOOKS_MAX: u32 = 20;

/// A connection that retires.
struct Retiring {
    id: FlowId,
    /// As they were counted last.
    messages: u32,
    /// Looks since then that found no other.
    quiet: u32,
}

impl Retiring {
    /// Whether it may go, as of this look; `None` for a connection that is closed.
    fn is_done(&mut self, messages: Option<u32>) -> bool {
        match messages {
            None => true,
            Some(now) if now != self.messages => {
                (self.messages, self.quiet) = (now, 0);
                false
            }
            Some(_) => {
                self.quiet += 1;
                self.quiet >= QUIET_LOOKS
            }
        }
    }
}

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
            let seen =
                |id: FlowId| Some(Retiring { id, messages: shared.flows.messages(id)?, quiet: 0 });
            flows.iter().for_each(|id| shared.flows.retires(*id));
            let mut left: Vec<Retiring> = flows.into_iter().filter_map(seen).collect();
            for _ in 0..LOOKS_MAX {
                tokio::time::sleep(LOOK).await;
                left.retain_mut(|one| {
                    let done = one.is_done(shared.flows.messages(one.id));
                    if done {
                        shared.flows.remove(one.id);
                    }
                    !done
                });
                if left.is_empty() {
                    return;
                }
            }
            left.into_iter().for_each(|one| shared.flows.remove(one.id));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_which_an_invite_rings_in_silence_is_kept_for_as_long_as_it_may_ring() {
        let mut one = Retiring { id: FlowId(1), messages: 7, quiet: 0 };
        assert!(!one.is_done(Some(8)), "a 180");
        let looks = (1..).find(|_| one.is_done(Some(8))).unwrap();
        assert!(LOOK * looks > Duration::from_secs(180), "timer C");
        assert!(Retiring { id: FlowId(1), messages: 7, quiet: 0 }.is_done(None), "closed");
    }
}
