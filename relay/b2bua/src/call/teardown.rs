//! The end of a call: BYE on both legs, the media's last counters, the record.

use super::{Ask, Call, Fate, Phase};
use crate::cause;
use crate::core::Core;
use crate::io::{Event, Output, PeerLeg};
use crate::leg;
use crate::record::Carried;
use crate::reject::Reject;
use crate::timers::Timer;
use sdp::CallStats;
use sip_core::Response;
use sip_core::transaction::ServerId;
use std::time::Duration;

/// How long the media engine may take to confirm a close; after it the record goes out without
/// counters and the ports are used again.
const MEDIA_CLOSE_MAX: Duration = Duration::from_secs(5);

impl Call {
    /// BYE on one leg ends the other.
    pub(super) fn bye(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let (which, request) = (ask.leg, &ask.request);
        core.respond(ask.server, Response::to(request, 200, None));
        let trunk = self.at(which).unwrap_or(&self.a).trunk;
        self.note_reason(trunk, &request.headers, None);
        match (&self.phase, which) {
            // RFC 3261, 15: the caller may end an early dialog with BYE; its INVITE gets 487.
            (Phase::Setup(_), PeerLeg::A) => self.cancelled(core, request),
            (Phase::Setup(_), PeerLeg::B) => self.answer_withdrawn(core),
            // The transferor need not wait for the outcome (TDR-XFR-017).
            (Phase::Up(_), _) if self.transfers.asked_by(which) => self.transferor_left(core),
            (Phase::Up(_), _) => {
                let word = match which {
                    _ if self.ended_by_ice() => "ice_failed",
                    PeerLeg::A => "caller_hangup",
                    PeerLeg::B => "callee_hangup",
                };
                let reason = cause::crossing(&request.headers);
                self.hang_up(core, Some(which), reason.as_deref(), word)
            }
            (Phase::Ending, _) => Fate::Lives,
        }
    }

    /// Whether Microsoft says that its checks found no way to us (TDR-DLG-041).
    fn ended_by_ice(&self) -> bool {
        let words = self.record.reason.as_deref().unwrap_or_default();
        words.contains("IceConnectivityChecksFailed")
    }

    /// Sends BYE on both legs, but not where the BYE came from, and ends the call.
    pub(super) fn hang_up(
        &mut self,
        core: &mut Core,
        but: Option<PeerLeg>,
        reason: Option<&str>,
        word: &str,
    ) -> Fate {
        let plan = std::sync::Arc::clone(&self.plan);
        self.drop_renegotiation(core);
        let gone = self.drop_transfer(core);
        for which in [PeerLeg::A, PeerLeg::B] {
            if but != Some(which)
                && gone != Some(which)
                && let Some(leg) = self.leg(which)
            {
                leg.bye(core, &plan, reason);
            }
        }
        self.end(core, word)
    }

    /// The host stops: whatever phase the call is in, both sides learn of it.
    pub(crate) fn shut_down(&mut self, core: &mut Core) -> Fate {
        match &self.phase {
            Phase::Setup(_) => {
                self.abandon(core, None);
                self.reject(core, Reject::Draining)
            }
            Phase::Up(_) => self.hang_up(core, None, Some("SIP;cause=503"), "shutdown"),
            Phase::Ending => Fate::Lives,
        }
    }

    /// Our 200 was never acknowledged (RFC 3261, 13.3.1.4). For a re-INVITE likewise: the far side
    /// is not there any more.
    pub(crate) fn ack_missing(&mut self, core: &mut Core, server: ServerId) -> Fate {
        let legs = [Some(&mut self.a), self.b.as_mut()].into_iter().flatten();
        let missed = |leg: &mut leg::Leg| leg.unacknowledged.take_if(|it| it.server == server);
        if legs.filter_map(missed).count() == 0 {
            // It was the leg's that has given its place away.
            return Fate::Lives;
        }
        match &self.phase {
            Phase::Up(_) => self.hang_up(core, None, Some("SIP;cause=408"), "ack_missing"),
            Phase::Setup(_) | Phase::Ending => Fate::Lives,
        }
    }

    /// The media could not be opened.
    pub(crate) fn media_failed(&mut self, core: &mut Core) -> Fate {
        match &self.phase {
            Phase::Setup(_) => {
                self.abandon(core, None);
                self.fail(core, 500, "media_failed")
            }
            Phase::Up(_) => self.hang_up(core, None, Some("SIP;cause=500"), "media_failed"),
            Phase::Ending => Fate::Lives,
        }
    }

    /// Both dialogs are over; the call waits for its counters.
    pub(super) fn end(&mut self, core: &mut Core, word: &str) -> Fate {
        if let Phase::Up(up) = &self.phase {
            self.record.talk = core.now.mono.saturating_duration_since(up.answered);
        }
        self.record.cause = word.to_owned();
        self.note_teams_leg();
        self.phase = Phase::Ending;
        core.dialogs.remove(&self.a.key());
        if let Some(b) = &self.b {
            core.dialogs.remove(&b.key());
        }
        self.end_transcoding(core);
        self.keep_elin(core);
        self.toll_is_over(core, PeerLeg::A);
        self.toll_is_over(core, PeerLeg::B);
        self.count_out(core, None);
        if let Some(moved) = self.trunk_moved.take() {
            core.admission.leave(&core.plan, &moved);
        }
        let of = (self.tenant.as_str(), self.direction);
        core.admission.end(&core.plan, &self.record.trunk_in, of);
        let Some(ports) = self.media.ports else { return self.finish(core, None) };
        core.outputs.push_back(Output::CloseMedia { call: self.id, worker: ports.worker });
        core.arm(MEDIA_CLOSE_MAX, Timer::MediaClose(self.id));
        Fate::Lives
    }

    /// The media engine has closed the call's ports, or has had its time.
    pub(crate) fn media_closed(
        &mut self,
        core: &mut Core,
        summary: Option<CallStats>,
        carried: Option<Box<[Carried; 2]>>,
    ) -> Fate {
        match self.phase {
            Phase::Ending => {
                self.record.carried = carried;
                self.finish(core, summary)
            }
            Phase::Setup(_) | Phase::Up(_) => Fate::Lives,
        }
    }

    fn finish(&mut self, core: &mut Core, summary: Option<CallStats>) -> Fate {
        if let Some(ports) = self.media.ports.take() {
            core.release_ports(ports.a);
            core.release_ports(ports.b);
        }
        self.record.media = summary.map(Box::new);
        let answered = self.record.status == 200;
        let outcome = if answered { "answered".to_owned() } else { self.record.cause.clone() };
        let trunk = self.record.attempts.last().map_or("", |attempt| attempt.trunk.as_str());
        core.emit(Event::CallEnded {
            direction: self.direction,
            tenant: self.tenant.clone(),
            trunk: trunk.to_owned(),
            outcome,
        });
        self.record.explain(&self.trace, &self.plan);
        Fate::Done
    }

    /// What remains of a call that is done.
    pub(crate) fn into_record(self) -> Output {
        Output::Record(Box::new(self.record.clipped()))
    }
}
