//! UPDATE from a carrier (RFC 3311): a refresh, or an offer that is answered here or becomes a
//! re-INVITE towards the other leg, as Teams takes none (TDR-DLG-001).

use super::renegotiate::Why;
use super::{Ask, Call, Fate, Phase};
use crate::core::Core;
use crate::leg::{self, SDP};
use crate::timers::Timer;
use sip_core::transaction::ServerId;
use sip_core::usage::session_timer::OPTION;
use sip_core::{Method, Name};
use std::time::Duration;

/// How long the other leg may take over an UPDATE's offer: the UPDATE must be answered within 32 s,
/// and its sender hear of it (RFC 3311, 5.2; RFC 4320, 4.2).
const ANSWER_MAX: Duration = Duration::from_secs(20);

impl Call {
    /// An UPDATE came in.
    pub(super) fn update(&mut self, core: &mut Core, ask: Ask) -> Fate {
        let trunk = self.leg(ask.leg).map(|leg| leg.trunk);
        if trunk.is_none_or(|trunk| leg::is_teams(&self.plan, trunk)) {
            return self.answer(core, &ask, 405);
        }
        if leg::sdp_of(&ask.request.headers, ask.request.body()).is_empty() {
            if !self.refuse_interval(core, &ask) {
                let mut response = self.reply(&ask, 200);
                self.session_answered(core, &ask, &mut response);
                core.respond(ask.server, response);
            }
            return Fate::Lives;
        }
        match self.phase {
            Phase::Setup(_) => self.early_offer(core, &ask),
            Phase::Up(_) | Phase::Ending => self.reinvite(core, ask),
        }
    }

    /// An offer in leg A's early dialog: answered here with what is agreed, once something is
    /// (RFC 3311, 5.2).
    fn early_offer(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let Some(leg) = self.leg(ask.leg) else { return Fate::Lives };
        let negotiation = &mut leg.negotiation;
        let Some(agreed) = negotiation.stream().and(negotiation.last_local_media()).cloned() else {
            // Theirs waits for our answer, or ours for theirs.
            let status = if negotiation.last_remote().is_some() { 500 } else { 491 };
            return self.refuse_until_later(core, ask, status);
        };
        let offered = leg::sdp_of(&ask.request.headers, ask.request.body());
        let answered =
            negotiation.receive_offer(&offered).and_then(|_| negotiation.answer_like(&agreed));
        match answered {
            Ok((body, _)) => {
                let mut response = self.reply(ask, 200);
                response.set_body(SDP, body);
                self.session_answered(core, ask, &mut response);
                core.respond(ask.server, response);
                let a = self.early_a();
                self.connect(core, a, None);
                Fate::Lives
            }
            Err(refusal) => self.refuse(core, ask, &refusal),
        }
    }

    /// The offer of an UPDATE goes to the other leg: it may not take too long.
    pub(super) fn limit_update(&self, core: &mut Core, ask: &Ask) {
        if ask.request.method == Method::Update {
            core.arm(ANSWER_MAX, Timer::Update { call: self.id, server: ask.server });
        }
    }

    /// The other leg has had its time.
    pub(crate) fn update_overdue(&mut self, core: &mut Core, server: ServerId) -> Fate {
        let Some(Why::Asked(asker)) = self.lapse(core, server) else { return Fate::Lives };
        if let Some(leg) = self.leg(asker.ask.leg) {
            leg.negotiation.rollback();
        }
        self.answer(core, &asker.ask, 504)
    }

    /// OPTIONS within the dialog: what we can, as outside of one (RFC 3261, 11.2).
    pub(super) fn options(&self, core: &mut Core, ask: &Ask) -> Fate {
        let mut response = self.reply(ask, 200);
        response.headers.push(Name::Accept, SDP);
        response.headers.push(Name::Supported, OPTION);
        core.respond(ask.server, response);
        Fate::Lives
    }
}
