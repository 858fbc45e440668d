//! Fax by T.38: both legs go from speech to UDPTL and back, or neither does.

use super::renegotiate::Why;
use super::{Call, Fate};
use crate::core::Core;
use crate::io::{Event, PeerLeg};
use crate::plan::{FaxPolicy, Plan, SrtpPolicy, TrunkKind};
use crate::record::Fax;
use sdp::{IcePolicy, Media, Negotiation, Protocol, Refusal};

/// Whether a leg on `trunk` may agree one: Teams has none (TDR-SDP-013), and nothing of it is encrypted.
pub(crate) fn may_fax(plan: &Plan, trunk: usize) -> bool {
    plan.trunks.get(trunk).is_some_and(|trunk| {
        trunk.kind != TrunkKind::Teams
            && trunk.fax == FaxPolicy::T38
            && trunk.srtp != SrtpPolicy::Required
            && trunk.ice == IcePolicy::Off
    })
}

fn is_fax(negotiation: &Negotiation) -> bool {
    negotiation.stream().is_some_and(|stream| stream.protocol == Protocol::Udptl)
}

impl Call {
    /// Whether the call is a fax now.
    pub(super) fn is_fax(&self) -> bool {
        is_fax(&self.a.negotiation) && self.b.as_ref().is_some_and(|b| is_fax(&b.negotiation))
    }

    /// What the other leg must be offered because leg `which` goes from speech to a fax by this offer, or
    /// back; an error where it cannot follow.
    pub(super) fn turning(&self, which: PeerLeg, offer: &Media) -> Result<Option<Media>, Refusal> {
        let Some(other) = self.at(which.other()) else { return Ok(None) };
        let other = &other.negotiation;
        match (is_fax(other), offer.fax.is_some()) {
            (false, false) | (true, true) => Ok(None),
            (false, true) if other.can_fax() => Ok(Some(offer.clone())),
            (false, true) => Err(Refusal::NoFax),
            (true, false) => {
                let speech = offer.for_other_leg(None)?;
                other.can_offer(&speech).then_some(Some(speech)).ok_or(Refusal::NoCommonCodec)
            }
        }
    }

    /// Leg `on` has answered our offer of a fax by one without any stream: it is offered speech again.
    pub(super) fn speaks_again(&mut self, core: &mut Core, on: PeerLeg) -> Fate {
        let before = self.leg(on).and_then(|leg| {
            leg.negotiation.abandon();
            leg.negotiation.last_local_media().cloned()
        });
        before.map_or(Fate::Lives, |speech| self.renegotiate(core, on, Why::Told, speech))
    }

    /// Notes what became of a fax, for the record and those who count: once each, and what was refused
    /// is forgotten if it is agreed later.
    pub(super) fn note_fax(&mut self, core: &mut Core, result: Fax) {
        let known = self.record.fax;
        if known == Some(result) || known == Some(Fax::T38) {
            return;
        }
        self.record.fax = Some(result);
        core.emit(Event::Fax { call: self.id, result });
    }
}
