//! Where a Teams user is, as Microsoft says in a call that is being made or is up: our address follows
//! (TDR-LMO-003).
//!
//! The leg keeps its ports until both sides have agreed on others: who refuses, or is refused, is heard
//! where it was.

use super::renegotiate::Why;
use super::{Ask, Call, Fate, Phase, ports};
use crate::core::Core;
use crate::io::{Event, MediaPort, PeerLeg};
use crate::lmo::Said;
use crate::plan::{MediaPlace, Plan};
use bytes::Bytes;
use sdp::{Negotiation, Refusal, Stream};
use sip_core::Headers;
use std::sync::Arc;

/// Where a message on a leg of this trunk says that the user is, if the address follows there.
pub(super) fn said(plan: &Plan, trunk: usize, headers: &Headers) -> Option<MediaPlace> {
    plan.trunks.get(trunk)?.inside?;
    Said::of(headers)?.place()
}

impl Call {
    /// A response on this leg may say where its user is.
    pub(super) fn note_place(&mut self, which: PeerLeg, headers: &Headers) {
        if let Some(place) = said(&self.plan, self.trunk_of(which), headers) {
            *self.owed_move(which) = Some(place);
        }
    }

    /// Where the ports of a leg are to follow its user, as soon as they may.
    pub(super) fn owed_move(&mut self, which: PeerLeg) -> &mut Option<MediaPlace> {
        let [a, b] = &mut self.media.moves;
        match which {
            PeerLeg::A => a,
            PeerLeg::B => b,
        }
    }

    /// Ports for a leg whose user is there; `None` if those it has are, or none is free.
    pub(super) fn ports_there(
        &self,
        core: &mut Core,
        which: PeerLeg,
        place: MediaPlace,
    ) -> Option<MediaPort> {
        let plan = Arc::clone(&self.plan);
        let trunk = self.trunk_of(which);
        let has = self.media.ports?;
        if ports::is_at(&plan, trunk, place, has.of(which)) {
            return None;
        }
        let to = core.take_ports_at(&plan, (trunk, place), has.worker);
        if to.is_none() {
            self.note_move(core, "no_media_port");
        }
        to
    }

    /// Both sides have agreed on these ports.
    pub(super) fn has_moved(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        (place, to): (MediaPlace, MediaPort),
    ) {
        self.move_media(core, which, to);
        let result = match place {
            MediaPlace::Inside => "moved_inside",
            MediaPlace::Outside => "moved_outside",
        };
        self.note_move(core, result);
    }

    /// They have not: the leg stays where it is.
    pub(super) fn stays(&self, core: &mut Core, unused: MediaPort) {
        core.release_ports(unused);
        self.note_move(core, "move_refused");
    }

    fn note_move(&self, core: &mut Core, result: &'static str) {
        core.emit(Event::LocalMedia { tenant: self.tenant.clone(), result });
    }

    /// Makes our answer to the open offer in `ask`. It names the address for where the user is by now; if
    /// it cannot, a re-INVITE of ours will once that may be sent.
    pub(super) fn answer_from_there(
        &mut self,
        core: &mut Core,
        ask: &Ask,
        answer: impl FnOnce(&mut Negotiation) -> Result<(Bytes, Stream), Refusal>,
    ) -> Result<Bytes, Refusal> {
        let which = ask.leg;
        let said = said(&self.plan, self.trunk_of(which), &ask.request.headers);
        let place = said.or(*self.owed_move(which));
        let free = !self.is_being_transferred() && !self.is_renegotiating_on(which);
        let leg = self.leg(which).ok_or(Refusal::OutOfTurn)?;
        let at_once = free && leg.negotiation.may_answer_elsewhere();
        let there = place.filter(|_| at_once);
        let to = there.and_then(|place| Some((place, self.ports_there(core, which, place)?)));
        let leg = self.leg(which).ok_or(Refusal::OutOfTurn)?;
        if let Some((_, to)) = to {
            leg.negotiation.propose(to.advertise, to.rtp, to.rtp + 1);
        }
        match (answer(&mut leg.negotiation), to) {
            (Ok((body, _)), to) => {
                *self.owed_move(which) = place.filter(|_| !at_once);
                if let Some(to) = to {
                    self.has_moved(core, which, to);
                }
                Ok(body)
            }
            (Err(refusal), Some((_, to))) => {
                // Before the refusal goes out, all that was proposed is rolled back.
                self.stays(core, to);
                Err(refusal)
            }
            (Err(refusal), None) => Err(refusal),
        }
    }

    /// The user is elsewhere than we thought when we called: a re-INVITE tells our other address, as
    /// soon as one may be sent.
    pub(super) fn follow_user(&mut self, core: &mut Core) -> Fate {
        for which in [PeerLeg::A, PeerLeg::B] {
            let up = matches!(self.phase, Phase::Up(_));
            if !up || self.is_busy(which) || self.is_being_transferred() {
                continue;
            }
            let Some(place) = self.owed_move(which).take() else { continue };
            let last = self.leg(which).and_then(|leg| leg.negotiation.last_local_media().cloned());
            let Some(out) = last else { continue };
            if let Some(to) = self.ports_there(core, which, place)
                && self.renegotiate(core, which, Why::Moved(place, to), out) == Fate::Done
            {
                return Fate::Done;
            }
        }
        Fate::Lives
    }
}
