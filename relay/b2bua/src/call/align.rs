//! After the answer: leg A was given one fork's codecs early, and another fork has answered with
//! others (TDR-EM-021, TDR-EM-022).

use super::renegotiate::Why;
use super::{Call, Fate};
use crate::core::Core;
use crate::io::PeerLeg;
use sdp::Media;

impl Call {
    /// Offers leg A what leg B has agreed, where leg A could say what nobody there understands.
    pub(super) fn align(&mut self, core: &mut Core) -> Fate {
        match self.agreed_by_the_winner() {
            Some(out) if !self.is_busy(PeerLeg::A) => {
                self.renegotiate(core, PeerLeg::A, Why::Told, out)
            }
            _ => Fate::Lives,
        }
    }

    /// What leg A must be offered, if anything.
    fn agreed_by_the_winner(&self) -> Option<Media> {
        let b = self.b.as_ref()?;
        let (theirs, ours) = (b.negotiation.stream()?, self.a.negotiation.stream()?);
        let foreign = ours
            .payloads
            .iter()
            .filter(|payload| payload.is_speech())
            .any(|payload| !theirs.payloads.iter().any(|known| known.same_encoding(payload)));
        if !foreign || self.is_transcoded() {
            return None;
        }
        let agreed = b.negotiation.last_remote()?.for_other_leg(None).ok()?;
        Some(Media { direction: self.asked_direction(PeerLeg::B), ..agreed })
    }
}
