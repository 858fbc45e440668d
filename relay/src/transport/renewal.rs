//! Certificates that take the place of others under open connections (TDR-CRT-007): what we show from now
//! on is shown on new ones, and those that show what we do not any more go when nobody needs them.

use super::admission::InForce;
use super::flow::{Flows, Origin};
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

/// After so many it goes all the same, as soon as nothing is under way on it: a peer that goes on calling
/// over it does not hold it for ever.
const LOOKS_MAX: u32 = 20;

/// How often that is looked at then.
const GLANCE: Duration = Duration::from_secs(1);

/// And so long, at most: three times what an INVITE rings, as others begin while one does.
const RINGS_MAX: Duration = Duration::from_secs(540);

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

/// Closes each of these once nobody needs it, or in the first moment without a transaction after
/// [`LOOKS_MAX`].
async fn see_off(flows: &Flows, retiring: Vec<FlowId>) {
    retiring.iter().for_each(|id| flows.retires(*id));
    let seen = |id: FlowId| Some(Retiring { id, messages: flows.messages(id)?, quiet: 0 });
    let mut left: Vec<Retiring> = retiring.into_iter().filter_map(seen).collect();
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK).await;
        close(flows, &mut left, |one| {
            one.is_done(flows.messages(one.id)) && !flows.is_under_way(one.id)
        });
        if left.is_empty() {
            return;
        }
    }
    let last = tokio::time::Instant::now() + RINGS_MAX;
    while !left.is_empty() && tokio::time::Instant::now() < last {
        close(flows, &mut left, |one| !flows.is_under_way(one.id));
        tokio::time::sleep(GLANCE).await;
    }
    close(flows, &mut left, |_| true);
}

/// Closes those that are done.
fn close(flows: &Flows, left: &mut Vec<Retiring>, mut is_done: impl FnMut(&mut Retiring) -> bool) {
    left.retain_mut(|one| {
        let done = is_done(one);
        if done {
            flows.remove(one.id);
        }
        !done
    });
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
        self.runtimes.core.spawn(async move { see_off(&shared.flows, flows).await });
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
    use super::super::flow::Outgoing;
    use super::*;
    use sip_core::Message;
    use tokio::sync::mpsc;

    #[test]
    fn a_connection_on_which_an_invite_rings_in_silence_is_kept_for_as_long_as_it_may_ring() {
        let mut one = Retiring { id: FlowId(1), messages: 7, quiet: 0 };
        assert!(!one.is_done(Some(8)), "a 180");
        let looks = (1..).find(|_| one.is_done(Some(8))).unwrap();
        assert!(LOOK * looks > Duration::from_secs(180), "timer C");
        assert!(Retiring { id: FlowId(1), messages: 7, quiet: 0 }.is_done(None), "closed");
    }

    /// A connection that a far side has opened, and what it says on it.
    fn connection(flows: &Flows) -> (FlowId, mpsc::Receiver<Outgoing>) {
        let flow = Flow {
            id: flows.number(),
            listener: "teams".into(),
            transport: b2bua::plan::Transport::Tls,
            remote: "52.114.1.1:5061".parse().unwrap(),
            trunk: "teams".into(),
        };
        let id = flow.id;
        (id, flows.accept(flow, None))
    }

    fn message(first: &str, branch: &str, cseq: &str) -> Message {
        let text = format!(
            "{first}\r\nVia: SIP/2.0/TLS 52.114.1.1;branch=z9hG4bK{branch}\r\n\
             From: <sip:a@example.net>;tag=1\r\nTo: <sip:b@example.net>\r\nCall-ID: {branch}\r\n\
             CSeq: {cseq}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    fn comes(flows: &Flows, id: FlowId, branch: &str, method: &str) -> bool {
        let first = format!("{method} sip:b@example.net SIP/2.0");
        flows.hands_in(id, &message(&first, branch, &format!("1 {method}")))
    }

    fn answered(flows: &Flows, id: FlowId, branch: &str, status: u16, method: &str) {
        let first = format!("SIP/2.0 {status} So");
        assert!(flows.hands_in(id, &message(&first, branch, &format!("1 {method}"))));
    }

    /// Traffic of other calls until so many seconds have passed.
    async fn goes_on(flows: &Flows, id: FlowId, began: tokio::time::Instant, until_s: u64) {
        for n in 0.. {
            if began.elapsed() >= Duration::from_secs(until_s) {
                return;
            }
            let branch = format!("o{until_s}x{n}");
            assert!(comes(flows, id, &branch, "INVITE"), "{n}: closed at {:?}", began.elapsed());
            answered(flows, id, &branch, 486, "INVITE");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_is_not_cut_while_an_invite_rings_on_it() {
        let flows = Arc::new(Flows::new());
        let (id, _queue) = connection(&flows);
        let began = tokio::time::Instant::now();
        let retiring = Arc::clone(&flows);
        let retires = tokio::spawn(async move { see_off(&retiring, vec![id]).await });
        tokio::task::yield_now().await;
        goes_on(&flows, id, began, 600).await;
        assert!(comes(&flows, id, "rings", "INVITE"));
        answered(&flows, id, "rings", 180, "INVITE");
        goes_on(&flows, id, began, 700).await;
        assert!(began.elapsed() > LOOK * LOOKS_MAX);
        // The CANCEL has the branch of its INVITE, and another end.
        assert!(comes(&flows, id, "rings", "CANCEL"));
        answered(&flows, id, "rings", 200, "CANCEL");
        goes_on(&flows, id, began, 720).await;
        answered(&flows, id, "rings", 487, "INVITE");
        retires.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(740), "at once: {:?}", began.elapsed());
        assert!(!comes(&flows, id, "late", "INVITE"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_something_is_always_under_way_goes_at_last() {
        let flows = Arc::new(Flows::new());
        let (id, _queue) = connection(&flows);
        let began = tokio::time::Instant::now();
        let retiring = Arc::clone(&flows);
        let retires = tokio::spawn(async move { see_off(&retiring, vec![id]).await });
        tokio::task::yield_now().await;
        assert!(comes(&flows, id, "never", "INVITE"));
        retires.await.unwrap();
        let took = began.elapsed();
        let most = LOOK * LOOKS_MAX + RINGS_MAX;
        assert!(took >= most && took < most + GLANCE * 2, "{took:?}");
    }
}
