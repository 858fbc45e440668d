//! An INVITE without an offer, which a carrier may send and Teams must never see (TDR-OUT-009): the
//! callee is offered what we always can, and the caller what came of it (RFC 3261, 13.2.1).

use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::PeerLeg;
use crate::leg;
use crate::plan::RouteFrom;
use bytes::Bytes;
use sdp::{Media, Negotiation, Refusal};
use sip_core::Request;

/// The offer in a new INVITE; from a carrier that brings none, ours.
pub(super) fn offer(
    from: RouteFrom,
    negotiation: &mut Negotiation,
    sdp: &[u8],
) -> Result<Media, Refusal> {
    match from {
        RouteFrom::Carrier if sdp.is_empty() => Ok(Media::g711()),
        RouteFrom::Carrier | RouteFrom::Teams => negotiation.receive_offer(sdp),
    }
}

impl Call {
    /// Whether the caller brought no offer and has answered none of ours yet.
    pub(super) fn asks_for_offer(&self) -> bool {
        matches!(self.phase, Phase::Setup(_)) && self.a.negotiation.last_remote().is_none()
    }

    /// Our offer to the caller: what the callee has agreed to, so that no answer can name anything
    /// else.
    pub(super) fn offer_agreed(&mut self, answer: &Media) -> Option<Bytes> {
        let offer = answer.for_other_leg(None).ok()?;
        Some(self.a.negotiation.make_offer(&offer))
    }

    /// The ACK held no answer to our offer, or none that can be used. After a re-INVITE all stays
    /// as it was; a call that never agreed on anything is over.
    pub(super) fn offer_unanswered(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        ack: &Request,
    ) -> Fate {
        if self.leg(which).is_none_or(|leg| leg.negotiation.stream().is_some()) {
            return Fate::Lives;
        }
        let word = match leg::sdp_of(&ack.headers, ack.body()).is_empty() {
            true => "ack_without_answer",
            false => "ack_answer_refused",
        };
        self.hang_up(core, None, Some("SIP;cause=488"), word)
    }
}
