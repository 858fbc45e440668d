//! Where a Teams user is, as Microsoft says in a call that is being made or is up: our address follows
//! (TDR-LMO-003).

use super::renegotiate::Why;
use super::{Call, Fate, Phase, setup};
use crate::core::Core;
use crate::io::{Event, PeerLeg};
use crate::lmo::Said;
use crate::plan::MediaPlace;
use sip_core::Headers;
use std::sync::Arc;

impl Call {
    /// A message of this leg may say where its user is.
    pub(super) fn note_place(&mut self, which: PeerLeg, headers: &Headers) {
        let optimised = self.plan.trunks.get(self.trunk_of(which));
        if optimised.is_none_or(|trunk| trunk.inside.is_none()) {
            return;
        }
        if let Some(place) = Said::of(headers).and_then(|said| said.place()) {
            self.media.moves = Some((which, place));
        }
    }

    /// The address of the leg becomes that for where its user is, in what is described next.
    pub(super) fn follow_place(&mut self, core: &mut Core, which: PeerLeg) -> bool {
        let Some((_, place)) = self.media.moves.take_if(|(leg, _)| *leg == which) else {
            return false;
        };
        let plan = Arc::clone(&self.plan);
        let (trunk, ports) = (self.trunk_of(which), self.media.ports);
        let Some(port) = ports.map(|ports| ports.of(which)) else { return false };
        if setup::is_at(&plan, trunk, place, port) {
            return false;
        }
        let Some(to) = core.take_ports_at(&plan, trunk, place) else {
            core.emit(Event::LocalMedia { tenant: self.tenant.clone(), result: "no_media_port" });
            return false;
        };
        self.move_media(core, which, to);
        let result = match place {
            MediaPlace::Inside => "moved_inside",
            MediaPlace::Outside => "moved_outside",
        };
        core.emit(Event::LocalMedia { tenant: self.tenant.clone(), result });
        if let Some(leg) = self.leg(which) {
            leg.negotiation.relocate(to.advertise, to.rtp, to.rtp + 1);
        }
        true
    }

    /// The user is elsewhere than we thought when we called: a re-INVITE tells our other address, as
    /// soon as one may be sent.
    pub(super) fn follow_user(&mut self, core: &mut Core) -> Fate {
        let Some((which, _)) = self.media.moves else { return Fate::Lives };
        if !matches!(self.phase, Phase::Up(_)) || self.is_busy(which) {
            return Fate::Lives;
        }
        if !self.follow_place(core, which) {
            return Fate::Lives;
        }
        let last = self.leg(which).and_then(|leg| leg.negotiation.last_local_media().cloned());
        last.map_or(Fate::Lives, |out| self.renegotiate(core, which, Why::Moved, out))
    }
}
