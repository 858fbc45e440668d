//! Reliable provisional responses, for each leg on its own (RFC 3262): a carrier may insist on them
//! while Teams knows none (TDR-DLG-003, TDR-EM-024).

use super::attempt::Fork;
use super::{Ask, Call, Fate, Phase, authorized};
use crate::cause;
use crate::core::{Core, Owner};
use crate::io::{Event, PeerLeg};
use crate::leg::{self, SDP};
use crate::plan::{Plan, Reliable, Trunk, TrunkKind};
use crate::timers::Timer;
use bytes::Bytes;
use rand_core::RngCore;
use sdp::{Direction, Refusal};
use sip_core::usage::prack::{self, Heard, Overdue, QueueFull, REL100};
use sip_core::{Headers, Method, Name, Request, Response};

/// The provisional responses of a caller that has them sent reliably.
pub(super) struct Provisional {
    uas: prack::Uas,
    /// One that carried our description was acknowledged.
    described: bool,
}

impl Provisional {
    /// For a caller on `trunk` whose INVITE requires it, or may be required to take it.
    pub(super) fn wanted(
        core: &mut Core,
        plan: &Plan,
        trunk: usize,
        invite: &Request,
    ) -> Option<Self> {
        let has = |name| invite.headers.has_token(name, REL100);
        let wanted = match policy(plan.trunks.get(trunk)) {
            Reliable::Off => false,
            Reliable::Supported => has(Name::Require),
            Reliable::Required => has(Name::Require) || has(Name::Supported),
        };
        let uas = wanted.then(|| prack::Uas::new(invite, core.rng.next_u32()))?;
        Some(Self { uas, described: false })
    }
}

/// The trunk's word; never for Teams.
fn policy(trunk: Option<&Trunk>) -> Reliable {
    trunk.filter(|it| it.kind != TrunkKind::Teams).map_or(Reliable::Off, |it| it.reliable)
}

/// Whether an INVITE lacks what its trunk insists on: 421 (RFC 3262, 3).
pub(crate) fn lacks_reliable(trunk: Option<&Trunk>, headers: &Headers) -> bool {
    let has = |name| headers.has_token(name, REL100);
    policy(trunk) == Reliable::Required && !has(Name::Require) && !has(Name::Supported)
}

/// Says in our INVITE on `trunk` what we do there.
pub(super) fn announce(plan: &Plan, trunk: usize, headers: &mut Headers) {
    match policy(plan.trunks.get(trunk)) {
        Reliable::Off => {}
        Reliable::Supported => headers.push(Name::Supported, REL100),
        Reliable::Required => headers.push(Name::Require, REL100),
    }
}

/// Acknowledges a provisional response that was sent reliably; whether it is to be heard.
pub(super) fn take(fork: &mut Fork, core: &mut Core, plan: &Plan, response: &Response) -> bool {
    let rack = match fork.reliable.hear(response) {
        Heard::Unreliable => return true,
        Heard::Acknowledge(rack) => rack,
        Heard::Repeat | Heard::OutOfOrder => return false,
    };
    let mut prack = fork.leg.request(core, Method::Prack);
    prack.headers.push(Name::RAck, rack.to_string());
    if let Some(hop) = fork.leg.hop(core, plan) {
        core.request(hop, prack, Owner::Prack);
    }
    true
}

impl Call {
    /// Sends leg A a 18x. `passes` is what it may hear and say of early media, as it sees us.
    pub(super) fn inform(
        &mut self,
        core: &mut Core,
        status: u16,
        body: Option<Bytes>,
        passes: Option<Direction>,
    ) {
        let Phase::Setup(setup) = &self.phase else { return };
        let mut response = setup.response(&self.plan, &self.a, status);
        let invite = &setup.request.headers;
        authorized::tell(&self.plan, self.a.trunk, invite, &mut response.headers, passes);
        if let Some(body) = body {
            response.set_body(SDP, body);
        }
        let server = setup.server;
        let Some(reliable) = &mut self.reliable else { return core.respond(server, response) };
        match reliable.uas.respond(core.now.mono, response) {
            Ok(Some(response)) => {
                core.respond(server, response);
                self.arm_prack(core);
            }
            Ok(None) => {}
            Err(QueueFull) => core.emit(Event::Discarded { reason: "prack_queue_full" }),
        }
    }

    fn arm_prack(&self, core: &mut Core) {
        if let Some(due) = self.reliable.as_ref().and_then(|reliable| reliable.uas.due()) {
            let after = due.saturating_duration_since(core.now.mono);
            core.arm(after, Timer::Prack(self.id));
        }
    }

    /// Whether the 200 may go out now. Otherwise it waits for the PRACK of our description.
    pub(super) fn may_answer(&mut self, core: &Core) -> bool {
        self.reliable.as_mut().is_none_or(|reliable| reliable.uas.accept(core.now.mono))
    }

    /// Whether the caller has acknowledged our description, so that the 200 needs none.
    pub(super) fn is_described_reliably(&self) -> bool {
        self.reliable.as_ref().is_some_and(|reliable| reliable.described)
    }

    /// PRACK. One that acknowledges nothing that is out gets 481 (RFC 3262, 3).
    pub(super) fn prack(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let reliable = self.reliable.as_mut().filter(|_| ask.leg == PeerLeg::A);
        let acknowledged = reliable.and_then(|reliable| {
            let acknowledged = reliable.uas.prack(core.now.mono, &ask.request)?;
            reliable.described |= acknowledged.described;
            Some(acknowledged)
        });
        let Some(acknowledged) = acknowledged else { return self.answer(core, ask, 481) };
        let sdp = leg::sdp_of(&ask.request.headers, ask.request.body());
        if acknowledged.described && self.asks_for_offer() {
            self.answer(core, ask, 200);
            if self.a.negotiation.receive_answer(&sdp).is_err() {
                return self.give_up_early(core, 488, "prack_without_answer");
            }
            self.connect_a(core);
        } else if sdp.is_empty() {
            self.answer(core, ask, 200);
        } else {
            self.answer_prack_offer(core, ask, &sdp);
        }
        if let (Some(next), Phase::Setup(setup)) = (acknowledged.next, &self.phase) {
            core.respond(setup.server, next);
            self.arm_prack(core);
        }
        if acknowledged.answer {
            self.send_answer(core, None);
        }
        Fate::Lives
    }

    /// A PRACK may offer anew once the first offer is answered (RFC 3262, 5): it gets what leg A
    /// has agreed already, or stays without effect.
    fn answer_prack_offer(&mut self, core: &mut Core, ask: &Ask, offer: &[u8]) {
        let negotiation = &mut self.a.negotiation;
        let agreed = negotiation.stream().and(negotiation.last_local_media()).cloned();
        let answered = agreed.ok_or(Refusal::OutOfTurn).and_then(|agreed| {
            negotiation.receive_offer(offer)?;
            let answer = negotiation.answer_like(&agreed);
            answer.inspect_err(|_| negotiation.rollback())
        });
        let Ok((body, _)) = answered else {
            self.answer(core, ask, 488);
            return;
        };
        let mut response = self.reply(ask, 200);
        response.set_body(SDP, body);
        core.respond(ask.server, response);
        self.connect_a(core);
    }

    fn connect_a(&mut self, core: &mut Core) {
        let a = self.early_a();
        self.connect(core, a, None);
    }

    /// A reliable provisional response is to be sent again, or was never acknowledged.
    pub(crate) fn prack_overdue(&mut self, core: &mut Core) -> Fate {
        let overdue = self.reliable.as_mut().and_then(|it| it.uas.handle_timeout(core.now.mono));
        match (overdue, &self.phase) {
            (Some(Overdue::Repeat(response)), Phase::Setup(setup)) => {
                core.respond(setup.server, response);
                self.arm_prack(core);
                Fate::Lives
            }
            (Some(Overdue::GiveUp), Phase::Setup(_)) => {
                self.give_up_early(core, 504, "prack_missing")
            }
            _ => Fate::Lives,
        }
    }

    /// Ends a call that is not answered yet, at both sides, for what the caller did.
    fn give_up_early(&mut self, core: &mut Core, status: u16, word: &str) -> Fate {
        self.abandon(core, Some(cause::reason_of(status)));
        self.outcome(word);
        self.fail(core, status, word)
    }

    /// The callee has answered and hangs up while its 200 waits for the caller's PRACK.
    pub(super) fn answer_withdrawn(&mut self, core: &mut Core) -> Fate {
        if let Some(b) = self.b.take() {
            core.dialogs.remove(&b.key());
        }
        self.outcome("callee_hangup");
        self.fail(core, 480, "callee_hangup")
    }
}
