//! Requests of the callee's side before it has answered, each on the early dialog of its fork
//! (RFC 3261, 12.2.2; RFC 3311).

use super::{Ask, Call, Fate, Phase, authorized};
use crate::core::Core;
use crate::io::PeerLeg;
use crate::leg::{self, SDP};
use bytes::Bytes;
use sdp::{Direction, Media};
use sip_core::Method;

impl Call {
    /// Whether the far side's tag is one of leg `which`: of the leg, or of a fork that it may become.
    pub(crate) fn knows(&self, which: PeerLeg, remote_tag: &Bytes) -> bool {
        match (which, &self.b, &self.phase) {
            (PeerLeg::B, None, Phase::Setup(setup)) => {
                setup.attempt.as_ref().is_some_and(|attempt| attempt.has_fork(remote_tag))
            }
            _ => self.remote_tag(which) == Some(remote_tag),
        }
    }

    /// A request on an early dialog of leg B.
    pub(super) fn asked_early(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let teams = leg::is_teams(&self.plan, attempt.trunk);
        let fork = attempt.fork_of_mut(&ask.request);
        let takes_refer = fork.as_ref().is_some_and(|fork| fork.leg.identity.takes_refer());
        if fork.is_none_or(|fork| fork.leg.dialog.receive(&ask.request).is_err()) {
            return self.answer(core, ask, 500);
        }
        match ask.request.method {
            Method::Bye => self.fork_leaves(core, ask),
            Method::Update if !teams => self.fork_updates(core, ask),
            Method::Options => self.options(core, ask),
            Method::Info if !teams => self.info(core, ask),
            Method::Notify => self.answer(core, ask, 481),
            // Our own INVITE has no answer yet (RFC 3261, 14.2).
            Method::Invite => self.answer(core, ask, 491),
            // It has answered, which we have not heard yet: later it is welcome (TDR-XFR-001).
            Method::Refer if takes_refer => self.answer(core, ask, 491),
            _ => self.answer(core, ask, 405),
        }
    }

    /// The callee may not send BYE before it has answered (RFC 3261, 15); one that does is gone all
    /// the same (TDR-DLG-044). The call ends with the last fork.
    fn fork_leaves(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        self.answer(core, ask, 200);
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let carried = attempt.carried().is_some();
        if !attempt.was_last(&ask.request) {
            self.another_is_heard(core, carried);
            return Fate::Lives;
        }
        self.abandon(core, None);
        self.outcome("callee_hangup");
        self.fail(core, 480, "callee_hangup")
    }

    /// UPDATE: 491 as long as our offer has no answer there, else answered with what leg A has.
    fn fork_updates(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let offered = leg::sdp_of(&ask.request.headers, ask.request.body());
        let authorized = authorized::said(&ask.request.headers);
        if offered.is_empty() {
            self.answer(core, ask, 200);
            return self.fork_authorizes(core, ask, authorized);
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let agreed =
            self.a.negotiation.stream().map(|stream| Media::of(stream, Direction::SendRecv));
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let media = agreed.unwrap_or_else(|| setup.invitation.offer.clone());
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let trunk = attempt.trunk;
        let Some(fork) = attempt.fork_of_mut(&ask.request) else { return Fate::Lives };
        let negotiation = &mut fork.leg.negotiation;
        leg::may_restart_ice(core, negotiation);
        if negotiation.stream().is_none() {
            return self.answer(core, ask, 491);
        }
        let answered =
            negotiation.receive_offer(&offered).and_then(|_| negotiation.answer_like(&media));
        let Ok((body, _)) = answered else {
            negotiation.rollback();
            return self.answer(core, ask, 488);
        };
        if let Some(theirs) = negotiation.last_remote().cloned() {
            fork.has_offered(theirs, authorized);
        }
        let early = fork.described();
        let mut response = self.reply(ask, 200);
        response.set_body(SDP, body);
        core.respond(ask.server, response);
        if let Some(early) = early.filter(|_| !leg::rings_locally(&plan, trunk, self.whose())) {
            self.fork_described(core, 183, &early);
        }
        Fate::Lives
    }

    /// An UPDATE without an offer says which early media may pass (RFC 5009).
    fn fork_authorizes(
        &mut self,
        core: &mut Core,
        ask: &Ask,
        authorized: Option<Direction>,
    ) -> Fate {
        let (plan, whose) = (std::sync::Arc::clone(&self.plan), self.whose());
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let trunk = attempt.trunk;
        if let Some(fork) = attempt.fork_of_mut(&ask.request)
            && fork.authorize(authorized)
            && let Some(early) = fork.described()
            && !leg::rings_locally(&plan, trunk, whose)
        {
            self.fork_described(core, 183, &early);
        }
        Fate::Lives
    }
}
