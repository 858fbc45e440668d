//! Session timers of an answered call, each leg for itself: a refresh never troubles the other leg
//! (RFC 4028; TDR-DLG-013, TDR-DLG-019).

use super::renegotiate::Why;
use super::{Ask, Call, Fate, Phase};
use crate::core::{Core, Owner};
use crate::credentials::Signed;
use crate::io::{Hop, PeerLeg};
use crate::timers::Timer;
use sip_core::transaction::ClientId;
use sip_core::usage::session_timer::Due;
use sip_core::{Method, Name, Response};
use std::sync::Arc;
use std::time::Duration;

/// A refresh that finds something else under way waits so long.
const BUSY: Duration = Duration::from_secs(2);

impl Call {
    /// A deadline of leg `which`'s session is there.
    pub(crate) fn session_due(&mut self, core: &mut Core, which: PeerLeg) -> Fate {
        if !matches!(self.phase, Phase::Up(_)) {
            return Fate::Lives;
        }
        let (id, now, busy) = (self.id, core.now.mono, self.is_busy(which));
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        if busy && !leg.session.by_update() && leg.session.put_off(now, BUSY) {
            core.arm(BUSY, Timer::Session { call: id, leg: which });
            return Fate::Lives;
        }
        let due = leg.session.due(now);
        leg.session.arm(core, id, which);
        match due {
            Some(Due::Refresh) => self.refresh(core, which),
            Some(Due::End) => {
                let reason = "SIP;cause=408;text=\"Session expired\"";
                self.hang_up(core, None, Some(reason), "session_expired")
            }
            None => Fate::Lives,
        }
    }

    /// Asks leg `which` whether it is there: by UPDATE where it takes that, else by a re-INVITE that
    /// changes nothing.
    fn refresh(&mut self, core: &mut Core, which: PeerLeg) -> Fate {
        let plan = Arc::clone(&self.plan);
        let id = self.id;
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        if !leg.session.by_update() {
            return match leg.negotiation.last_local_media().cloned() {
                Some(same) => self.renegotiate(core, which, Why::Refresh, same),
                None => Fate::Lives,
            };
        }
        let Some(hop) = leg.hop(core, &plan) else {
            return self.refresh_refused(core, which, 503);
        };
        let mut update = leg.request(core, Method::Update);
        leg.session.timer.offer(&mut update.headers);
        let client = core.request(hop, update, Owner::Update(id, which));
        leg.session.asks(client);
        Fate::Lives
    }

    /// Leg `which` has asked who we are: our UPDATE goes out again with credentials.
    pub(crate) fn update_signed(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        signed: Signed,
    ) -> Fate {
        if let Some(leg) = self.leg(which)
            && leg.session.has_asked(client)
        {
            let cseq = leg.dialog.next_cseq();
            let (after, _) = core.send_signed(signed, cseq);
            leg.session.asks(after);
        }
        Fate::Lives
    }

    /// A final response to our UPDATE on leg `which`.
    pub(crate) fn update_response(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        hop: &Hop,
        response: &Response,
    ) -> Fate {
        if self.leg(which).is_none_or(|leg| !leg.session.has_asked(client)) {
            return Fate::Lives;
        }
        if let Hop::Flow { flow, .. } = hop {
            self.heard_on(which, flow);
        }
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        match response.status {
            200..=299 => {
                leg.dialog.refresh(response);
                self.session_accepted(core, which, response);
                Fate::Lives
            }
            422 if leg.session.raise(&response.headers) => self.refresh(core, which),
            // It does not, whatever its Allow said.
            405 | 501 => {
                leg.session.takes_no_update();
                match self.is_busy(which) {
                    true => self.refresh_refused(core, which, response.status),
                    false => self.refresh(core, which),
                }
            }
            status => self.refresh_refused(core, which, status),
        }
    }

    /// Our UPDATE on leg `which` was never answered (408) or could not be sent (503).
    pub(crate) fn update_lost(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        status: u16,
    ) -> Fate {
        match self.leg(which).is_some_and(|leg| leg.session.has_asked(client)) {
            true => self.refresh_refused(core, which, status),
            false => Fate::Lives,
        }
    }

    /// Our refresh of leg `which` failed: the far side is gone, or is asked again later.
    pub(crate) fn refresh_refused(&mut self, core: &mut Core, which: PeerLeg, status: u16) -> Fate {
        if !matches!(self.phase, Phase::Up(_)) {
            return Fate::Lives;
        }
        if matches!(status, 408 | 481) {
            return self.hang_up(core, None, Some("SIP;cause=481"), "dialog_gone");
        }
        let id = self.id;
        if let Some(leg) = self.leg(which) {
            leg.session.timer.refused(core.now.mono);
            leg.session.arm(core, id, which);
        }
        Fate::Lives
    }

    /// Their 2xx to a session refresh request of ours.
    pub(super) fn session_accepted(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        response: &Response,
    ) {
        let id = self.id;
        if let Some(leg) = self.leg(which) {
            leg.session.accepted(core.now.mono, &response.headers);
            leg.session.arm(core, id, which);
        }
    }

    /// Our 2xx to a session refresh request of theirs.
    pub(super) fn session_answered(&mut self, core: &mut Core, ask: &Ask, response: &mut Response) {
        let id = self.id;
        if let Some(leg) = self.leg(ask.leg) {
            leg.session.timer.answer(core.now.mono, &ask.request.headers, &mut response.headers);
            leg.session.arm(core, id, ask.leg);
        }
    }

    /// Refuses a request whose session interval is too short; whether it was.
    pub(super) fn refuse_interval(&mut self, core: &mut Core, ask: &Ask) -> bool {
        let judged = self.leg(ask.leg).map(|leg| leg.session.timer.judge(&ask.request.headers));
        let Some(Err(small)) = judged else { return false };
        let mut response = self.reply(ask, 422);
        response.headers.push(Name::MinSe, small.min_s.to_string());
        core.respond(ask.server, response);
        true
    }
}
